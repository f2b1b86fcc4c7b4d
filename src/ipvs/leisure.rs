//! Work that nobody waits for, on a host whose processors are wanted for something else.

use std::thread;
use std::time::{Duration, Instant};

/// The least that is worth a pause.
const PIECE: Duration = Duration::from_millis(1);
/// The longest pause, and so the longest that somebody waits who comes in one.
const LONGEST: Duration = Duration::from_millis(5);

/// Pauses between pieces of work, each twice as long as the piece before it took, 5 ms at most, as long as nobody is in a
/// hurry.
///
/// A thread that looks at ten thousand entries is ready to run for a tenth of a second on a slow machine. Where others
/// keep the processors busy, whoever sends probes would share them with it and be late.
#[derive(Debug)]
pub(super) struct Leisure<H> {
    hurry: H,
    since: Instant,
}

impl<H: Fn() -> bool> Leisure<H> {
    /// Begins the first piece. `hurry` says whether somebody waits by now.
    pub(super) fn new(hurry: H) -> Self {
        Self {
            hurry,
            since: Instant::now(),
        }
    }

    /// Ends a piece and begins the next one; what was too short goes on.
    pub(super) fn pause(&mut self) {
        let worked = self.since.elapsed();
        if worked < PIECE {
            return;
        }
        if !(self.hurry)() {
            thread::sleep((worked * 2).min(LONGEST));
        }
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a pause takes after as much work.
    fn pause_after(work: Duration, hurry: bool) -> Duration {
        let mut leisure = Leisure::new(|| hurry);
        thread::sleep(work);
        let begin = Instant::now();
        leisure.pause();
        begin.elapsed()
    }

    #[test]
    fn a_pause_is_longer_than_the_work_before_it_unless_somebody_waits() {
        let work = Duration::from_millis(2);
        assert!(pause_after(work, false) >= work * 2);
        // A machine that is busy may take its time for the other one; a hundred times in a row it does not.
        assert!((0..100).any(|_| pause_after(work, true) < work * 2));
    }

    #[test]
    fn a_pause_has_an_end() {
        assert!((0..100).any(|_| pause_after(LONGEST * 3, false) < LONGEST * 3));
    }
}
