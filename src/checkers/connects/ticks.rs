//! Deadlines by the thousand, gathered in ticks: one timer for all that end in the same hundredth of a second.
//!
//! Pure: it is told how much time has passed and asks no clock.

use std::collections::BTreeMap;
use std::time::Duration;

/// From one tick to the next. A deadline passes at the first tick that is not before it, never early.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// One tick, counted from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

impl Tick {
    /// The first tick that is not before this time since the start.
    pub(super) fn not_before(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX))
    }

    /// The last tick that has passed at this time since the start.
    fn passed(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX))
    }

    /// When it is, since the start.
    fn time(self) -> Duration {
        Duration::from_nanos(self.0.saturating_mul(TICK.as_nanos() as u64))
    }
}

/// What waits for which tick.
#[derive(Debug)]
pub(super) struct Ticks<T> {
    /// How many of those in the list still wait; a tick that nobody waits for is not kept.
    waiting: BTreeMap<Tick, (usize, Vec<T>)>,
}

impl<T> Default for Ticks<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Ticks<T> {
    pub(super) fn insert(&mut self, tick: Tick, item: T) {
        let (count, items) = self.waiting.entry(tick).or_default();
        *count += 1;
        items.push(item);
    }

    /// One of those that wait for a tick waits no longer. Which one is not looked up: it still comes with the others
    /// of its tick, and whoever takes them has to know.
    pub(super) fn forget_one(&mut self, tick: Tick) {
        if let Some((count, _)) = self.waiting.get_mut(&tick) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&tick);
            }
        }
    }

    /// When the next tick is that somebody waits for, since the start.
    pub(super) fn next(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|(tick, _)| tick.time())
    }

    /// Takes out those of the first tick that has passed, the forgotten ones among them included.
    pub(super) fn pop_passed(&mut self, now: Duration) -> Option<Vec<T>> {
        let first = self.waiting.first_entry()?;
        (*first.key() <= Tick::passed(now)).then(|| first.remove().1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_deadline_passes_at_the_first_tick_that_is_not_before_it() {
        for (deadline, passes) in [(0, 0), (1, 10), (9, 10), (10, 10), (11, 20), (1000, 1000)] {
            let mut ticks = Ticks::default();
            ticks.insert(Tick::not_before(millis(deadline)), ());
            assert_eq!(ticks.next(), Some(millis(passes)), "{deadline}");
            if passes > 0 {
                assert_eq!(ticks.pop_passed(millis(passes - 1)), None, "{deadline}");
            }
            assert_eq!(ticks.pop_passed(millis(passes)), Some(vec![()]), "{deadline}");
            assert_eq!(ticks.next(), None);
        }
    }

    #[test]
    fn nobody_is_woken_for_what_was_forgotten() {
        let mut ticks = Ticks::default();
        let (early, late) = (Tick::not_before(millis(20)), Tick::not_before(millis(30)));
        ticks.insert(early, 'a');
        ticks.insert(early, 'b');
        ticks.insert(late, 'c');
        ticks.forget_one(early);
        assert_eq!(ticks.next(), Some(millis(20)));
        ticks.forget_one(early);
        assert_eq!(ticks.next(), Some(millis(30)));
        ticks.forget_one(early);
        assert_eq!(ticks.pop_passed(millis(99)), Some(vec!['c']));
    }

    proptest! {
        #[test]
        fn all_that_wait_come_once_in_time_and_in_order(
            deadlines in prop::collection::vec((0..500u64, any::<bool>()), 0..100),
        ) {
            let mut ticks = Ticks::default();
            for (number, (deadline, _)) in deadlines.iter().enumerate() {
                ticks.insert(Tick::not_before(millis(*deadline)), number);
            }
            for (deadline, forgotten) in &deadlines {
                if *forgotten {
                    ticks.forget_one(Tick::not_before(millis(*deadline)));
                }
            }
            let mut came = vec![None; deadlines.len()];
            while let Some(next) = ticks.next() {
                for number in ticks.pop_passed(next).expect("somebody waits for it") {
                    prop_assert_eq!(came[number].replace(next), None);
                }
            }
            for ((deadline, forgotten), came) in deadlines.iter().zip(came) {
                let in_time = |at| at >= millis(*deadline) && at < millis(*deadline) + TICK;
                prop_assert!(came.map_or(*forgotten, in_time));
            }
        }
    }
}
