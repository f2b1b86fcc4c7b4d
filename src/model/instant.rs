//! Our own point in time, so that thinking rooms are told the time and never ask for it.

use std::ops::{Add, Sub};
use std::time::Duration;

/// How long before the program's start points in time can lie: what an earlier process has seen.
const BEFORE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A point in time: how long after the program's start, or before it, by a clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Default for Instant {
    fn default() -> Self {
        Self::START
    }
}

impl Instant {
    /// The program's start.
    pub const START: Self = Self(BEFORE);

    /// The point this long after the start.
    pub fn after_start(elapsed: Duration) -> Self {
        Self::START + elapsed
    }

    /// How long after the start; zero before it.
    pub fn since_start(self) -> Duration {
        self.0.saturating_sub(BEFORE)
    }

    /// As a number, in whole milliseconds, for where room counts; [`Instant::from_millis`] is the way back.
    pub fn to_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// The point in time of a number.
    pub fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// How long before this point another one lies, in whole milliseconds; 0 where it does not.
    pub fn age_of(self, earlier: Self) -> u64 {
        u64::try_from(self.since(earlier).as_millis()).unwrap_or(u64::MAX)
    }

    /// The point so many milliseconds before this one.
    pub fn before_millis(self, age: u64) -> Self {
        self - Duration::from_millis(age)
    }

    /// How long before this point another one lies, in milliseconds; negative where it lies ahead.
    pub fn distance_to(self, other: Self) -> i64 {
        let millis = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match other <= self {
            true => millis(self.age_of(other)),
            false => -millis(other.age_of(self)),
        }
    }

    /// The point at a distance of [`Instant::distance_to`].
    pub fn at_distance(self, millis: i64) -> Self {
        let distance = Duration::from_millis(millis.unsigned_abs());
        match millis > 0 {
            true => self - distance,
            false => self + distance,
        }
    }

    /// How long after `earlier`; zero where it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The first point that is not before this one and a whole number of steps after the start.
    pub fn round_up(self, step: Duration) -> Self {
        let over = self.since_start().as_nanos().checked_rem(step.as_nanos()).unwrap_or(0);
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

    #[test]
    fn what_was_before_the_start_is_told_from_it() {
        let before = Instant::START - Duration::from_secs(90);
        assert_eq!(
            Instant::after_start(Duration::from_secs(10)).since(before),
            Duration::from_secs(100)
        );
        assert_eq!(
            (before.since_start(), before + Duration::from_secs(90)),
            (Duration::ZERO, Instant::START)
        );
        assert_eq!(Instant::from_millis(before.to_millis()), before);
        assert_eq!(Instant::default(), Instant::START);
    }
}
