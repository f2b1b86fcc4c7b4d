//! Our own point in time, so that thinking rooms are told the time and never ask for it.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: how long after the program's start, by a clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The program's start.
    pub const START: Self = Self(Duration::ZERO);

    /// The point this long after the start.
    pub fn after_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the start.
    pub fn since_start(self) -> Duration {
        self.0
    }

    /// How long after `earlier`; zero where it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The first point that is not before this one and a whole number of steps after the start.
    pub fn round_up(self, step: Duration) -> Self {
        let over = self.0.as_nanos().checked_rem(step.as_nanos()).unwrap_or(0);
        match u64::try_from(over) {
            Ok(0) | Err(_) => self,
            Ok(over) => self + (step - Duration::from_nanos(over)),
        }
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rounded_is_never_earlier() {
        let millis = |millis| Instant::after_start(Duration::from_millis(millis));
        for (at, rounded) in [(0, 0), (1, 10), (10, 10), (11, 20), (99_999, 100_000)] {
            assert_eq!(millis(at).round_up(Duration::from_millis(10)), millis(rounded), "{at}");
        }
        assert_eq!(millis(7).round_up(Duration::ZERO), millis(7));
    }
}
