//! What has happened since the start, for those who ask and those who follow.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, watch};

use crate::director::EventRing;
use crate::model::control::{EventKind, EventRecord, Level, Reply};

/// How many events are taken out at a time.
const BATCH: usize = 64;

/// The last events, shared by the loop that writes them and the tasks that read them.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    ring: Arc<Mutex<EventRing>>,
    last: watch::Sender<u64>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            ring: Arc::default(),
            last: watch::Sender::new(0),
        }
    }

    fn ring(&self) -> MutexGuard<'_, EventRing> {
        // Nothing that holds it can panic half way.
        self.ring.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Keeps an event, and answers with it as it is kept.
    pub(super) fn push(&self, event: EventRecord) -> Arc<EventRecord> {
        let event = self.ring().push(event);
        self.last.send_replace(event.number);
        event
    }

    /// The last events about a server of a pool.
    pub(super) fn about(&self, virtual_server: &str, server: &str, most: usize) -> Vec<EventRecord> {
        self.ring().about(virtual_server, server, most)
    }

    /// Gives the last `count` events and, with `follow`, all that come, until nobody takes them any more.
    pub(super) async fn tell(self, count: Option<u32>, follow: bool, replies: mpsc::Sender<Reply>) {
        let mut news = self.last.subscribe();
        let (mut next, end) = {
            let ring = self.ring();
            (ring.first_of_last(count), ring.last())
        };
        while follow || next <= end {
            news.mark_unchanged();
            let batch: Vec<_> = self.ring().from(next, BATCH).cloned().collect();
            let Some(first) = batch.first() else {
                let changed = async { news.changed().await.is_ok() };
                let goes_on = tokio::select! {
                    changed = changed => changed,
                    () = replies.closed() => false,
                };
                if !goes_on {
                    return;
                }
                continue;
            };
            if first.number > next && replies.send(Reply::Event(missed(next, first))).await.is_err() {
                return;
            }
            for event in batch {
                next = event.number + 1;
                if replies.send(Reply::Event((*event).clone())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What stands for the events from a number on that are no longer kept.
fn missed(from: u64, first: &EventRecord) -> EventRecord {
    let text = format!(
        "{} events were too many to tell (the log has them)",
        first.number - from
    );
    EventRecord {
        number: first.number - 1,
        ..EventRecord::new(first.time, EventKind::Missed, Level::Warning, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::director::EVENTS;
    use crate::model::UnixTime;

    fn event(text: &str) -> EventRecord {
        EventRecord::new(UnixTime::default(), EventKind::Server, Level::Info, text.to_owned())
    }

    async fn next(replies: &mut mpsc::Receiver<Reply>) -> Option<(u64, String)> {
        match replies.recv().await? {
            Reply::Event(event) => Some((event.number, event.text)),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_last_events_are_told_and_those_that_come_followed() {
        let journal = Journal::new();
        for text in ["a", "b", "c"] {
            journal.push(event(text));
        }
        let (sender, mut replies) = mpsc::channel(1);
        tokio::spawn(journal.clone().tell(Some(2), false, sender));
        assert_eq!(next(&mut replies).await, Some((2, "b".to_owned())));
        assert_eq!(next(&mut replies).await, Some((3, "c".to_owned())));
        assert_eq!(next(&mut replies).await, None);

        let (sender, mut replies) = mpsc::channel(1);
        let telling = tokio::spawn(journal.clone().tell(Some(0), true, sender));
        tokio::task::yield_now().await;
        journal.push(event("d"));
        assert_eq!(next(&mut replies).await, Some((4, "d".to_owned())));
        drop(replies);
        telling.await.expect("it ends when nobody listens");
    }

    #[tokio::test]
    async fn a_follower_that_falls_behind_is_told_how_much_it_has_missed() {
        let journal = Journal::new();
        journal.push(event("first"));
        let (sender, mut replies) = mpsc::channel(1);
        tokio::spawn(journal.clone().tell(None, true, sender));
        assert_eq!(next(&mut replies).await, Some((1, "first".to_owned())));
        tokio::task::yield_now().await;
        for number in 0..EVENTS + 9 {
            journal.push(event(&number.to_string()));
        }
        let told = next(&mut replies).await.expect("a line");
        assert!(told.0 == 10 && told.1.starts_with("9 events"), "{told:?}");
        assert_eq!(next(&mut replies).await, Some((11, "9".to_owned())));
    }
}
