//! Whether the threads of virtual routers still live: each counts how often it has looked around, which it does for every
//! question, and a count that stays the same for too long has nobody behind it.
//!
//! A thread that hangs keeps its addresses beside those of a successor, so this is found out sooner than it is of the
//! thread that writes the kernel's table.

use std::time::Duration;

use crate::model::Instant;

/// For the thread that speaks. It never waits for anybody, and after so long another router has taken over from it at any
/// usual interval; a host that is short of processors gives it its turn sooner.
const SPEAKING: Duration = Duration::from_secs(10);

/// For the thread that keeps the addresses. It waits for the kernel, which may load a module for the first device with a
/// virtual MAC, and for two seconds on each device that takes no announcement.
const KEEPING: Duration = Duration::from_secs(30);

/// A thread that has not moved for longer than it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// Which one, and what is wrong with it.
    pub what: &'static str,
    /// How long it may take.
    pub limit: Duration,
}

/// How often each of the threads had looked around when that was asked.
#[derive(Debug, Default)]
pub struct Turns {
    speaking: Seen,
    keeping: Seen,
}

/// A count, and when it was seen first.
#[derive(Debug, Default)]
struct Seen(Option<(u64, Instant)>);

impl Seen {
    /// For how long nothing has come of the questions. One that was answered counts as asked when the answer was seen:
    /// whatever lies between two questions, the host may have stood still.
    fn since(&mut self, turns: u64, now: Instant) -> Duration {
        match self.0 {
            Some((known, since)) if known == turns => now.since(since),
            Some(_) | None => {
                self.0 = Some((turns, now));
                Duration::ZERO
            }
        }
    }
}

impl Turns {
    /// Takes in the counts of the thread that speaks and of the one that keeps the addresses, and answers with one that
    /// hangs. To be asked every few seconds.
    pub fn stuck(&mut self, (speaking, keeping): (u64, u64), now: Instant) -> Option<Stuck> {
        let threads = [
            (
                self.speaking.since(speaking, now),
                Stuck {
                    what: "the thread of the virtual routers has not moved",
                    limit: SPEAKING,
                },
            ),
            (
                self.keeping.since(keeping, now),
                Stuck {
                    what: "the thread of the virtual routers' addresses has not moved",
                    limit: KEEPING,
                },
            ),
        ];
        let mut hanging = threads.into_iter().filter(|(since, stuck)| *since > stuck.limit);
        hanging.next().map(|(_, stuck)| stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    /// The limits of what hangs at these times, in seconds, with these counts.
    fn limits(asked: &[(u64, (u64, u64))]) -> Vec<Option<u64>> {
        let mut turns = Turns::default();
        let stuck = asked.iter().map(|(seconds, counts)| turns.stuck(*counts, at(*seconds)));
        stuck.map(|stuck| Some(stuck?.limit.as_secs())).collect()
    }

    #[test]
    fn threads_that_move_are_well_however_rarely_somebody_asks() {
        let asked = [(0, (0, 0)), (5, (1, 1)), (605, (2, 2)), (610, (900, 3))];
        assert_eq!(limits(&asked), [None; 4]);
    }

    #[test]
    fn each_thread_has_a_time_of_its_own() {
        let speaks_no_more = [
            (100, (7, 1)),
            (105, (7, 2)),
            (110, (7, 3)),
            (111, (7, 4)),
            (200, (7, 5)),
            (205, (8, 6)),
        ];
        assert_eq!(limits(&speaks_no_more), [None, None, None, Some(10), Some(10), None]);
        let keeps_no_more = [(0, (1, 7)), (15, (2, 7)), (30, (3, 7)), (31, (4, 7)), (35, (5, 8))];
        assert_eq!(limits(&keeps_no_more), [None, None, None, Some(30), None]);
    }

    #[test]
    fn what_hangs_is_named_and_the_one_that_speaks_first() {
        let mut turns = Turns::default();
        assert_eq!(turns.stuck((1, 1), at(0)), None);
        let first = turns.stuck((1, 1), at(60)).expect("both hang");
        assert_eq!(first.what, "the thread of the virtual routers has not moved");
        let second = turns.stuck((2, 1), at(61)).expect("one hangs");
        assert_eq!(
            second.what,
            "the thread of the virtual routers' addresses has not moved"
        );
    }

    #[test]
    fn a_thread_that_stood_still_begins_anew() {
        let asked = [(0, (1, 0)), (20, (1, 1)), (25, (2, 2)), (34, (2, 3)), (36, (2, 4))];
        assert_eq!(limits(&asked), [None, Some(10), None, None, Some(10)]);
    }
}
