//! One check: results in a row, towards a verdict.

use std::time::Duration;

use crate::model::{CheckSpec, CheckState, Initial};

/// The state of one check of one real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    state: CheckState,
    /// Whether a probe has succeeded while it was up, or brought it up; until then `first_fall` counts.
    seen_up: bool,
    /// Results in a row that speak against the state.
    against: u32,
    /// What these results were; before the first verdict both may speak against the state.
    successes: bool,
}

impl Check {
    /// A check that has not run yet.
    pub fn new(initial: Initial) -> Self {
        let state = match initial {
            Initial::Up => CheckState::Up,
            Initial::Down | Initial::FirstResult => CheckState::Unknown,
        };
        Self {
            state,
            seen_up: false,
            against: 0,
            successes: false,
        }
    }

    /// A check that takes over the verdict of the one it replaces, so that a changed setting is no change of state.
    pub fn carrying_on(state: CheckState, initial: Initial) -> Self {
        match state {
            CheckState::Unknown => Self::new(initial),
            CheckState::Up | CheckState::Down => Self {
                state,
                seen_up: state == CheckState::Up,
                against: 0,
                successes: false,
            },
        }
    }

    /// The verdict so far.
    pub fn state(&self) -> CheckState {
        self.state
    }

    /// Takes one result in and answers with the state after it.
    pub fn observe(&mut self, success: bool, spec: &CheckSpec) -> CheckState {
        let fall = if self.seen_up { spec.fall } else { spec.first_fall };
        let (opposite, needed) = match (self.state, success) {
            (CheckState::Up, true) | (CheckState::Down, false) => {
                self.seen_up |= success;
                self.against = 0;
                return self.state;
            }
            (CheckState::Up | CheckState::Unknown, false) => (CheckState::Down, fall),
            (CheckState::Down, true) => (CheckState::Up, spec.rise),
            (CheckState::Unknown, true) => match spec.initial {
                Initial::Down => (CheckState::Up, spec.rise),
                Initial::Up | Initial::FirstResult => (CheckState::Up, 1),
            },
        };
        if self.successes != success {
            (self.successes, self.against) = (success, 0);
        }
        self.against += 1;
        if self.against >= needed {
            self.state = opposite;
            self.against = 0;
            self.seen_up |= success;
        }
        self.state
    }

    /// How long it is from the last probe to the next one; `random` is any number, each as likely as the others.
    ///
    /// Chance has no say while a verdict is being reached: what is promised of that time holds.
    pub fn next_interval(&self, spec: &CheckSpec, random: u64) -> Duration {
        let interval = match self.state {
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
