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
