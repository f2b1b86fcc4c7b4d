//! Sockets that have done their probe and are kept for the next ones: those whose connection is not quite over yet,
//! and those that are ready.
//!
//! Pure but for what a socket is: the type is left open. A bounded number is kept, and none for long without use.

use std::collections::VecDeque;
use std::time::Duration;

/// How many sockets are kept of each family, ready or not. A thousand probes a second take some tens in turns.
pub(super) const MOST: usize = 256;

/// How long a connection may take to be over before its socket is closed like any other.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a socket is kept that no probe needs.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(10);

/// The kept sockets of one family; times are since the start.
#[derive(Debug)]
pub(super) struct Sockets<S> {
    /// This side has said that it is done; the oldest first.
    closing: VecDeque<(Duration, S)>,
    /// The one that was used last at the back, and used first.
    ready: VecDeque<(Duration, S)>,
}

impl<S> Default for Sockets<S> {
    fn default() -> Self {
        Self {
            closing: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }
}

/// What has become of a connection that this side is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// The other side is not.
    Open,
    /// It is over.
    Over,
    /// It was broken off.
    Broken,
}

impl<S> Sockets<S> {
    /// A socket that is ready.
    pub(super) fn take(&mut self) -> Option<S> {
        self.ready.pop_back().map(|(_, socket)| socket)
    }

    /// Keeps a socket whose connection this side is done with. Where there are too many, the oldest is closed.
    pub(super) fn keep(&mut self, socket: S, now: Duration) {
        if self.closing.len() + self.ready.len() >= MOST && self.ready.pop_front().is_none() {
            self.closing.pop_front();
        }
        self.closing.push_back((now, socket));
    }

    /// The sockets that are not ready yet, the oldest first.
    pub(super) fn closing(&self) -> impl Iterator<Item = &S> {
        self.closing.iter().map(|(_, socket)| socket)
    }

    /// Takes in what has become of the oldest connections, in the order of [`Self::closing`]. Those that are over are
    /// ready if `renew` says so.
    pub(super) fn sort(&mut self, states: &[Closing], now: Duration, renew: impl Fn(&S) -> bool) {
        let rest = self.closing.split_off(states.len().min(self.closing.len()));
        let looked_at = std::mem::replace(&mut self.closing, rest);
        let mut open = Vec::new();
        for ((since, socket), state) in looked_at.into_iter().zip(states) {
            match state {
                Closing::Over if renew(&socket) => self.ready.push_back((now, socket)),
                Closing::Open => open.push((since, socket)),
                Closing::Over | Closing::Broken => (),
            }
        }
        for entry in open.into_iter().rev() {
            self.closing.push_front(entry);
        }
    }

    /// Closes those whose connection goes on for too long, and those that were not needed for long.
    pub(super) fn give_up(&mut self, now: Duration) {
        close_old(&mut self.closing, PATIENCE, now);
        close_old(&mut self.ready, KEPT_FOR, now);
    }

    /// When [`Self::give_up`] has something to do.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        let closing = self.closing.front().map(|(since, _)| *since + PATIENCE);
        let ready = self.ready.front().map(|(since, _)| *since + KEPT_FOR);
        closing.into_iter().chain(ready).min()
    }

    /// How many are kept.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.closing.len() + self.ready.len()
    }
}

fn close_old<S>(sockets: &mut VecDeque<(Duration, S)>, most: Duration, now: Duration) {
    while sockets.front().is_some_and(|(since, _)| *since + most <= now) {
        sockets.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::ZERO;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn only_a_socket_whose_connection_is_over_is_used_again() {
        let mut sockets = Sockets::default();
        for socket in ["over", "open", "broken", "stubborn", "not looked at"] {
            sockets.keep(socket, START);
        }
        assert_eq!(sockets.take(), None);
        let states = [Closing::Over, Closing::Open, Closing::Broken, Closing::Over];
        sockets.sort(&states, START, |socket| *socket != "stubborn");
        assert_eq!(sockets.closing().collect::<Vec<_>>(), [&"open", &"not looked at"]);
        assert_eq!((sockets.take(), sockets.take()), (Some("over"), None));
    }

    #[test]
    fn the_one_that_was_used_last_is_used_first_and_the_others_go_in_time() {
        let mut sockets = Sockets::default();
        for at in 0..3 {
            sockets.keep(at, second(at));
            sockets.sort(&[Closing::Over], second(at), |_| true);
        }
        assert_eq!(sockets.take(), Some(2));
        assert_eq!(sockets.next_wake(), Some(KEPT_FOR));
        sockets.give_up(KEPT_FOR);
        assert_eq!((sockets.len(), sockets.next_wake()), (1, Some(second(1) + KEPT_FOR)));
        sockets.keep(3, second(3));
        assert_eq!(sockets.next_wake(), Some(second(3) + PATIENCE));
        sockets.give_up(second(3) + PATIENCE);
        assert_eq!((sockets.take(), sockets.len()), (Some(1), 0));
    }

    proptest! {
        #[test]
        fn a_bounded_number_is_kept_and_none_is_lost_or_used_twice(
            steps in prop::collection::vec((0..5u8, 0..600usize), 0..60),
        ) {
            let mut sockets = Sockets::default();
            let (mut made, mut taken, mut now) = (Vec::new(), Vec::new(), START);
            for (step, count) in steps {
                match step {
                    0 | 1 => for _ in 0..count {
                        made.push(Rc::new(made.len()));
                        sockets.keep(Rc::clone(&made[made.len() - 1]), now);
                    },
                    2 => {
                        let state = |number: usize| [Closing::Open, Closing::Over, Closing::Broken][number % 3];
                        let states: Vec<_> = sockets.closing().take(count).map(|socket| state(**socket)).collect();
                        sockets.sort(&states, now, |_| true);
                    }
                    3 => taken.extend((0..count).map_while(|_| sockets.take())),
                    _ => {
                        now += Duration::from_millis(count as u64);
                        sockets.give_up(now);
                        prop_assert!(sockets.next_wake().is_none_or(|wake| wake > now));
                    }
                }
                prop_assert!(sockets.len() <= MOST);
                let alive = made.iter().filter(|socket| Rc::strong_count(socket) > 1).count();
                prop_assert_eq!(alive, sockets.len() + taken.len());
            }
        }
    }
}
