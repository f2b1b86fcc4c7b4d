//! Flap damping: a check that keeps changing its mind is held down for a while, longer each time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Flap, FlapSnapshot, Instant};

/// The changes of one check, and how long it is held down for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Damping {
    /// When it changed, as far back as that counts.
    changes: VecDeque<Instant>,
    /// It is held down until then.
    until: Option<Instant>,
    /// The last hold: how long it was, and when it ended or will.
    last: Option<(Duration, Instant)>,
}

impl Damping {
    /// What it remembers, for its successor; `None` where that is nothing.
    pub(super) fn snapshot(&self, now: Instant) -> Option<FlapSnapshot> {
        let at = |at: Instant| now.distance_to(at);
        let millis = |hold: Duration| u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        (*self != Self::default()).then(|| FlapSnapshot {
            changes: self.changes.iter().map(|change| now.age_of(*change)).collect(),
            until: self.until.map(at),
            last: self.last.map(|(hold, end)| (millis(hold), at(end))),
        })
    }

    /// The successor of the one that a snapshot was made of. No hold lasts longer than the longest from there.
    pub(super) fn restored(snapshot: &FlapSnapshot, flap: &Flap, taken: Instant) -> Self {
        let at = |distance: i64| taken.at_distance(distance).min(taken + flap.longest);
        let hold = |millis: u64| Duration::from_millis(millis).min(flap.longest);
        let newest = snapshot.changes.len().saturating_sub(flap.changes as usize);
        Self {
            changes: snapshot.changes[newest..]
                .iter()
                .map(|age| taken.before_millis(*age))
                .collect(),
            until: snapshot.until.map(at),
            last: snapshot.last.map(|(length, end)| (hold(length), at(end))),
        }
    }

    /// Until when it is held down; `None` where it is not.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.until
    }

    /// Takes in that a probe has ended, and whether it changed the verdict.
    ///
    /// A hold ends with the first probe after its time. What changes while it lasts does not count: nobody saw it.
    pub(super) fn observe(&mut self, changed: bool, now: Instant, flap: &Flap) {
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        // A change by the very probe that ends a hold is what the hold had kept back.
        let ended = self.until.take().is_some();
        if !changed || ended {
            return;
        }
        self.changes.push_back(now);
        while self.changes.front().is_some_and(|at| now.since(*at) > flap.within) {
            self.changes.pop_front();
        }
        if self.changes.len() < flap.changes as usize {
            return;
        }
        self.changes.clear();
        let recently = self.last.filter(|(_, end)| now.since(*end) <= flap.within * 2);
        let hold = recently.map_or(flap.hold_down, |(hold, _)| (hold * 2).min(flap.longest));
        self.until = Some(now + hold);
        self.last = Some((hold, now + hold));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAP: Flap = Flap {
        changes: 3,
        within: Duration::from_secs(100),
        hold_down: Duration::from_secs(60),
        longest: Duration::from_secs(200),
    };

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    /// Changes at these seconds; answers with the seconds that it is held from and until.
    fn holds(changes: &[u64]) -> Vec<(u64, u64)> {
        let (mut damping, mut holds) = (Damping::default(), Vec::new());
        for now in 0..=5000 {
            let before = damping.held_until();
            damping.observe(changes.contains(&now), at(now), &FLAP);
            if let Some(until) = damping.held_until().filter(|_| before.is_none()) {
                holds.push((now, until.since_start().as_secs()));
            }
        }
        holds
    }

    #[test]
    fn a_hold_begins_with_the_last_of_so_many_changes_in_so_long_a_time() {
        assert_eq!(holds(&[10, 60, 110]), [(110, 170)]);
        assert_eq!(holds(&[10, 60, 111]), []);
        assert_eq!(holds(&[10, 60, 111, 150]), [(150, 210)]);
        assert_eq!(holds(&[]), []);
    }

    #[test]
    fn holds_double_up_to_the_longest_and_start_anew_after_a_quiet_time() {
        let row = [
            1, 2, 3, /* until 63 */ 70, 71, 72, /* 192 */ 200, 201, 202, /* 402 */ 410, 411, 412,
        ];
        assert_eq!(holds(&row), [(3, 63), (72, 192), (202, 402), (412, 612)]);
        let quiet = [1, 2, 3, /* until 63 */ 262, 263, 264];
        assert_eq!(holds(&quiet), [(3, 63), (264, 324)]);
    }

    #[test]
    fn what_changes_while_it_is_held_does_not_count() {
        assert_eq!(holds(&[1, 2, 3, 20, 30, 40, 63, 64, 65]), [(3, 63)]);
    }
}
