//! One check: results in a row, towards a verdict.

use std::time::Duration;

use super::flap::Damping;
use crate::model::{CheckSpec, CheckState, Initial, Instant, MachineSnapshot};

/// The state of one check of one real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What the results say, flapping or not.
    verdict: CheckState,
    /// Whether a probe has succeeded while it was up, or brought it up; until then `first_fall` counts.
    seen_up: bool,
    /// Results in a row that speak against the state.
    against: u32,
    /// What these results were; before the first verdict both may speak against the state.
    successes: bool,
    damping: Damping,
}

impl Check {
    /// A check that has not run yet.
    pub fn new(initial: Initial) -> Self {
        let verdict = match initial {
            Initial::Up => CheckState::Up,
            Initial::Down | Initial::FirstResult => CheckState::Unknown,
        };
        Self {
            verdict,
            seen_up: false,
            against: 0,
            successes: false,
            damping: Damping::default(),
        }
    }

    /// A check that takes over the verdict of the one it replaces, so that a changed setting is no change of state.
    pub fn carrying_on(state: CheckState, initial: Initial) -> Self {
        match state {
            CheckState::Unknown => Self::new(initial),
            CheckState::Up | CheckState::Down => Self {
                verdict: state,
                seen_up: state == CheckState::Up,
                ..Self::new(initial)
            },
        }
    }

    /// What it knows, for its successor.
    pub fn snapshot(&self, now: Instant) -> MachineSnapshot {
        MachineSnapshot {
            verdict: self.verdict,
            seen_up: self.seen_up,
            against: self.against,
            successes: self.successes,
            flap: self.damping.snapshot(now),
        }
    }

    /// The successor of the check that a snapshot was made of, at `taken`. `in_a_row`: the time between is short enough
    /// for its next result to follow the last ones.
    ///
    /// However it was made, no verdict changes without a probe.
    pub fn restored(snapshot: &MachineSnapshot, spec: &CheckSpec, taken: Instant, in_a_row: bool) -> Self {
        let mut check = Self {
            verdict: snapshot.verdict,
            seen_up: snapshot.seen_up,
            against: 0,
            successes: snapshot.successes,
            damping: Damping::default(),
        };
        if let (Some(flap), Some(snapshot)) = (&spec.flap, &snapshot.flap) {
            check.damping = Damping::restored(snapshot, flap, taken);
        }
        if in_a_row {
            let towards_up = match check.verdict {
                CheckState::Up => false,
                CheckState::Down => true,
                CheckState::Unknown => check.successes,
            };
            let needed = check.needed(towards_up, spec);
            check.against = snapshot.against.min(needed.saturating_sub(1));
        }
        check
    }

    /// Takes the verdict back: what comes next decides, with as many results as ever.
    pub fn doubt(&mut self) {
        (self.verdict, self.against) = (CheckState::Unknown, 0);
    }

    /// The verdict so far: down while it is held down.
    pub fn state(&self) -> CheckState {
        match self.held_until() {
            Some(_) => CheckState::Down,
            None => self.verdict,
        }
    }

    /// Until when it is held down for changing too often; `None` where it is not.
    pub fn held_until(&self) -> Option<Instant> {
        self.damping.held_until()
    }

    /// Takes one result in and answers with the state after it.
    pub fn observe(&mut self, success: bool, spec: &CheckSpec, now: Instant) -> CheckState {
        let before = self.verdict;
        self.count(success, spec);
        if let Some(flap) = &spec.flap {
            let changed = before != CheckState::Unknown && before != self.verdict;
            self.damping.observe(changed, now, flap);
        }
        self.state()
    }

    fn count(&mut self, success: bool, spec: &CheckSpec) {
        let asked_for = match success {
            true => CheckState::Up,
            false => CheckState::Down,
        };
        if self.verdict == asked_for {
            self.seen_up |= success;
            self.against = 0;
            return;
        }
        if self.successes != success {
            (self.successes, self.against) = (success, 0);
        }
        self.against += 1;
        if self.against >= self.needed(success, spec) {
            self.verdict = asked_for;
            self.against = 0;
            self.seen_up |= success;
        }
    }

    /// How many such results in a row turn the verdict.
    fn needed(&self, success: bool, spec: &CheckSpec) -> u32 {
        match (self.verdict, success) {
            (_, false) if self.seen_up => spec.fall,
            (_, false) => spec.first_fall,
            (CheckState::Unknown, true) if spec.initial != Initial::Down => 1,
            (_, true) => spec.rise,
        }
    }

    /// How many results in a row speak against the verdict, and how many of them turn it.
    pub fn progress(&self, spec: &CheckSpec) -> (u32, u32) {
        let towards_up = match self.verdict {
            CheckState::Up => false,
            CheckState::Down => true,
            CheckState::Unknown => self.successes || self.against == 0,
        };
        (self.against, self.needed(towards_up, spec))
    }

    /// How long it is from the last probe to the next one; `random` is any number, each as likely as the others.
    ///
    /// Chance has no say while a verdict is being reached: what is promised of that time holds.
    pub fn next_interval(&self, spec: &CheckSpec, random: u64) -> Duration {
        let interval = match self.verdict {
            CheckState::Unknown => return spec.retry_interval,
            CheckState::Up | CheckState::Down if self.against > 0 => return spec.retry_interval,
            CheckState::Up => spec.interval,
            CheckState::Down => spec.down_interval,
        };
        let jitter = spec.jitter.of(interval);
        interval - jitter + share(jitter * 2, random)
    }
}

/// A moment within a time, chosen by a random number of 64 bits.
pub fn share(time: Duration, random: u64) -> Duration {
    let nanos = (time.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
