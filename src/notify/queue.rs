//! What waits to be told to one receiver: bounded, the oldest is left out where there is too much.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// How much may wait. Of more, the oldest would tell of what is long past.
pub(super) const MOST_WAITING: usize = 1024;

/// What waits for one receiver.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    stirred: Notify,
    /// Nobody waits for more any longer.
    last_call: watch::Sender<bool>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    /// So many were left out since that was asked last.
    lost: u64,
    /// So many were taken out and are not told yet.
    under_way: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                items: VecDeque::new(),
                lost: 0,
                under_way: 0,
            }),
            stirred: Notify::new(),
            last_call: watch::Sender::new(false),
        }
    }
}

impl<T> Queue<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        // Nothing that holds it can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in; never waits.
    pub(super) fn push(&self, item: T) {
        let mut waiting = self.waiting();
        if waiting.items.len() >= MOST_WAITING {
            waiting.items.pop_front();
            waiting.lost += 1;
        }
        waiting.items.push_back(item);
        drop(waiting);
        self.stirred.notify_one();
    }

    /// Takes out the oldest one, and says how many were left out before it. Whoever asks again has told it.
    pub(super) async fn next(&self) -> (T, u64) {
        loop {
            if let Some(found) = self.take() {
                return found;
            }
            self.stirred.notified().await;
        }
    }

    /// All that waits at this moment, to be told together with what was taken out before, and how many more were left out
    /// since.
    pub(super) fn rest(&self) -> (Vec<T>, u64) {
        let mut waiting = self.waiting();
        let items: Vec<_> = waiting.items.drain(..).collect();
        waiting.under_way += items.len();
        (items, std::mem::take(&mut waiting.lost))
    }

    /// Keeps of what waits only what is still wanted.
    pub(super) fn keep(&self, wanted: impl Fn(&T) -> bool) {
        self.waiting().items.retain(wanted);
    }

    /// From now on nobody gathers: the process ends, or becomes another program.
    pub(super) fn call_the_last(&self) {
        self.last_call.send_replace(true);
    }

    /// It goes on.
    pub(super) fn take_back_the_call(&self) {
        self.last_call.send_replace(false);
    }

    /// Returns when nobody is to gather any longer.
    pub(super) async fn called_the_last(&self) {
        // The sender is our own.
        let _ = self.last_call.subscribe().wait_for(|called| *called).await;
    }

    /// Whether everything has been told.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.waiting();
        waiting.items.is_empty() && waiting.under_way == 0
    }

    /// How much has not been told by now, with what was left out and nobody knows of yet.
    pub(super) fn untold(&self) -> u64 {
        let waiting = self.waiting();
        let items = waiting.items.len() + waiting.under_way;
        waiting.lost + u64::try_from(items).unwrap_or(u64::MAX)
    }

    fn take(&self) -> Option<(T, u64)> {
        let mut waiting = self.waiting();
        let item = waiting.items.pop_front();
        waiting.under_way = usize::from(item.is_some());
        item.map(|item| (item, std::mem::take(&mut waiting.lost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn order_is_kept_and_the_oldest_is_left_out() {
        let queue = Queue::default();
        assert!(queue.is_idle());
        for number in 0..MOST_WAITING + 3 {
            queue.push(number);
        }
        assert_eq!(queue.next().await, (3, 3));
        assert_eq!(queue.next().await, (4, 0));
        let (rest, lost) = queue.rest();
        assert_eq!((rest.len(), rest[0], lost), (MOST_WAITING - 2, 5, 0));
        assert!(!queue.is_idle(), "the last one is not told yet");
        assert!(queue.take().is_none() && queue.is_idle());
    }

    #[tokio::test]
    async fn what_overflows_while_more_is_gathered_is_told_with_it() {
        let queue = Queue::default();
        queue.push(0);
        assert_eq!(queue.next().await, (0, 0));
        for number in 1..MOST_WAITING + 3 {
            queue.push(number);
        }
        assert_eq!(queue.untold(), MOST_WAITING as u64 + 3);
        let (rest, lost) = queue.rest();
        assert_eq!((rest.len(), rest[0], lost), (MOST_WAITING, 3, 2));
        assert_eq!(
            queue.untold(),
            MOST_WAITING as u64 + 1,
            "the rest and the first one are on their way"
        );
        queue.push(7);
        assert_eq!(queue.next().await, (7, 0), "nothing is told twice");
        queue.push(8);
        queue.push(9);
        queue.keep(|number| *number != 8);
        assert_eq!(queue.untold(), 2);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let queue = std::sync::Arc::new(Queue::default());
        let waits = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.push("news");
        assert_eq!(waits.await.expect("it ends"), ("news", 0));
    }
}
