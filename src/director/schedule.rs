//! Which check is due when: a heap of times, one entry a check that counts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::checks::CheckId;
use crate::model::Instant;

/// The times at which checks are due.
///
/// A check has one time; setting it again makes the old one void. Void entries leave the heap when they come up.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<(Instant, CheckId)>>,
    due: HashMap<CheckId, Instant>,
}

impl Schedule {
    /// Makes a check due at a time, and at that time only.
    pub(super) fn set(&mut self, check: CheckId, at: Instant) {
        self.due.insert(check, at);
        self.heap.push(Reverse((at, check)));
    }

    /// Makes a check that is due later due at this time; one that is not due at all (its probe runs) stays so.
    pub(super) fn bring_forward(&mut self, check: CheckId, at: Instant) {
        if self.due.get(&check).is_some_and(|due| *due > at) {
            self.set(check, at);
        }
    }

    /// Forgets the checks that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(CheckId) -> bool) {
        self.due.retain(|check, _| keep(*check));
        let due = &self.due;
        self.heap.retain(|Reverse((at, check))| due.get(check) == Some(at));
    }

    /// The earliest time in the heap; a void entry may make it earlier than need be.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the next check that is due by `now`, with the time it was due at.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(CheckId, Instant)> {
        while let Some(Reverse((at, check))) = self.heap.peek().copied() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.due.get(&check) == Some(&at) {
                self.due.remove(&check);
                return Some((check, at));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_last_time_set_counts_and_only_once() {
        let mut schedule = Schedule::default();
        schedule.set(CheckId(1), at(1));
        schedule.set(CheckId(2), at(2));
        schedule.set(CheckId(1), at(3));
        assert_eq!(schedule.pop_due(at(2)), Some((CheckId(2), at(2))));
        assert_eq!(schedule.pop_due(at(2)), None);
        assert_eq!(schedule.next_due(), Some(at(3)));
        assert_eq!(schedule.pop_due(at(9)), Some((CheckId(1), at(3))));
        assert_eq!(schedule.pop_due(at(9)), None);
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn only_what_is_due_later_is_brought_forward() {
        let mut schedule = Schedule::default();
        schedule.set(CheckId(1), at(5));
        schedule.set(CheckId(2), at(1));
        for check in 1..4 {
            schedule.bring_forward(CheckId(check), at(3));
        }
        assert_eq!(schedule.pop_due(at(9)), Some((CheckId(2), at(1))));
        assert_eq!(schedule.pop_due(at(9)), Some((CheckId(1), at(3))));
        assert_eq!(schedule.pop_due(at(9)), None);
    }

    #[test]
    fn a_forgotten_check_is_never_due() {
        let mut schedule = Schedule::default();
        schedule.set(CheckId(1), at(1));
        schedule.set(CheckId(2), at(1));
        schedule.retain(|check| check == CheckId(2));
        assert_eq!(schedule.pop_due(at(1)), Some((CheckId(2), at(1))));
        assert_eq!(schedule.pop_due(at(1)), None);
    }
}
