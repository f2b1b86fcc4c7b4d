//! One check: results in a row, towards a verdict.

use std::time::Duration;

use crate::model::{CheckSpec, CheckState, Initial};

/// The state of one check of one real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    state: CheckState,
    /// Whether a probe has ever succeeded; until then one failure is enough.
    seen_up: bool,
    /// Results in a row that speak against the state.
    against: u32,
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
            },
        }
    }

    /// The verdict so far.
    pub fn state(&self) -> CheckState {
        self.state
    }

    /// Takes one result in and answers with the state after it.
    pub fn observe(&mut self, success: bool, spec: &CheckSpec) -> CheckState {
        self.seen_up |= success;
        let (opposite, needed) = match (self.state, success) {
            (CheckState::Up, true) | (CheckState::Down, false) => {
                self.against = 0;
                return self.state;
            }
            (CheckState::Up, false) => (CheckState::Down, if self.seen_up { spec.fall } else { 1 }),
            (CheckState::Down, true) => (CheckState::Up, spec.rise),
            (CheckState::Unknown, true) => match spec.initial {
                Initial::Down => (CheckState::Up, spec.rise),
                Initial::Up | Initial::FirstResult => (CheckState::Up, 1),
            },
            (CheckState::Unknown, false) => (CheckState::Down, 1),
        };
        self.against += 1;
        if self.against >= needed {
            self.state = opposite;
            self.against = 0;
        }
        self.state
    }

    /// How many results in a row speak against the state, and how many of them change it.
    pub fn progress(&self, spec: &CheckSpec) -> (u32, u32) {
        let needed = match self.state {
            CheckState::Up if self.seen_up => spec.fall,
            CheckState::Up => 1,
            CheckState::Down => spec.rise,
            CheckState::Unknown if spec.initial == Initial::Down => spec.rise,
            CheckState::Unknown => 1,
        };
        (self.against, needed)
    }

    /// How long after the start of the last probe the next one starts.
    pub fn next_interval(&self, spec: &CheckSpec) -> Duration {
        if self.against > 0 || self.state == CheckState::Unknown {
            spec.retry_interval
        } else {
            spec.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ProbeKind, ProbeSpec};

    fn spec(initial: Initial) -> CheckSpec {
        CheckSpec {
            name: "tcp".to_owned(),
            probe: Arc::new(ProbeSpec::new(ProbeKind::Tcp(Vec::new()))),
            connect_ip: None,
            connect_port: None,
            interval: Duration::from_secs(6),
            retry_interval: Duration::from_secs(3),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            initial,
        }
    }

    /// Runs results (`+` success, `-` failure) and writes the state after each: `u`nknown, `U`p, `D`own; a small
    /// `r` behind it where the next probe comes after the retry interval.
    fn run(initial: Initial, results: &str) -> String {
        let spec = spec(initial);
        let mut check = Check::new(initial);
        let mut seen = String::new();
        for result in results.chars() {
            seen.push(match check.observe(result == '+', &spec) {
                CheckState::Unknown => 'u',
                CheckState::Up => 'U',
                CheckState::Down => 'D',
            });
            if check.next_interval(&spec) == spec.retry_interval {
                seen.push('r');
            }
        }
        seen
    }

    #[test]
    fn the_transition_table_holds() {
        let cases = [
            (Initial::FirstResult, "+", "U"),
            (Initial::FirstResult, "-", "D"),
            (Initial::FirstResult, "+---", "UUrUrD"),
            (Initial::FirstResult, "+--+---", "UUrUrUUrUrD"),
            (Initial::FirstResult, "-++", "DDrU"),
            (Initial::FirstResult, "-+-++", "DDrDDrU"),
            (Initial::Up, "+", "U"),
            (Initial::Up, "-", "D"),
            (Initial::Up, "+--", "UUrUr"),
            (Initial::Down, "++", "urU"),
            (Initial::Down, "+-++", "urDDrU"),
            (Initial::Down, "-+", "DDr"),
            (Initial::Down, "++---", "urUUrUrD"),
        ];
        for (initial, results, wanted) in cases {
            assert_eq!(run(initial, results), wanted, "{initial:?} {results}");
        }
    }

    #[test]
    fn a_replaced_check_keeps_its_verdict_and_forgets_its_count() {
        let spec = spec(Initial::FirstResult);
        let mut up = Check::carrying_on(CheckState::Up, spec.initial);
        assert_eq!(up.observe(false, &spec), CheckState::Up);
        let mut down = Check::carrying_on(CheckState::Down, spec.initial);
        assert_eq!(down.observe(true, &spec), CheckState::Down);
        assert_eq!(
            Check::carrying_on(CheckState::Unknown, Initial::Up),
            Check::new(Initial::Up)
        );
    }
}
