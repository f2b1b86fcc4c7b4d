//! What an instance tracks, summed up: one fault forbids it to be master, weights add up.

use crate::model::VrrpTracking;

/// What one thing that is tracked means for the priority.
pub fn part(works: bool, weight: i32) -> VrrpTracking {
    let (fault, weight) = match (weight, works) {
        (0, works) => (!works, 0),
        (1.., true) | (..=-1, false) => (false, weight),
        (1.., false) | (..=-1, true) => (false, 0),
    };
    VrrpTracking { fault, weight }
}

/// Results in a row and what they come to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict {
    works: Option<bool>,
    /// How many in a row have said otherwise.
    others: u32,
}

impl Verdict {
    /// Takes in a result; answers where the verdict is another one now. The first success is one at once.
    pub fn take(&mut self, passed: bool, rise: u32, fall: u32) -> Option<bool> {
        if self.works == Some(passed) {
            self.others = 0;
            return None;
        }
        self.others += 1;
        let needed = match (passed, self.works) {
            (true, None) => 1,
            (true, Some(_)) => rise,
            (false, _) => fall,
        };
        if self.others < needed {
            return None;
        }
        (self.works, self.others) = (Some(passed), 0);
        Some(passed)
    }
}

/// Sums up what is tracked: any fault is a fault, weights are added.
pub fn sum(parts: impl IntoIterator<Item = VrrpTracking>) -> VrrpTracking {
    parts
        .into_iter()
        .fold(VrrpTracking::default(), |sum, part| VrrpTracking {
            fault: sum.fault || part.fault,
            weight: sum.weight.saturating_add(part.weight),
        })
}

/// The priority that counts: the owner's is never changed, every other one stays between 1 and 254, as keepalived has
/// it.
pub fn effective_priority(priority: u8, weight: i32) -> u8 {
    match priority {
        255 => 255,
        // It is between 1 and 254.
        _ => i32::from(priority).saturating_add(weight).clamp(1, 254) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_added_and_clamped_and_the_owner_stays() {
        let cases = [
            (100, 0, 100),
            (100, -20, 80),
            (100, -253, 1),
            (100, 253, 254),
            (1, i32::MIN, 1),
            (254, i32::MAX, 254),
            (255, -100, 255),
        ];
        for (priority, weight, effective) in cases {
            assert_eq!(effective_priority(priority, weight), effective, "{priority} {weight:+}");
        }
    }

    #[test]
    fn weights_are_for_failures_or_for_what_works() {
        let cases = [
            (true, 0, (false, 0)),
            (false, 0, (true, 0)),
            (true, -30, (false, 0)),
            (false, -30, (false, -30)),
            (true, 30, (false, 30)),
            (false, 30, (false, 0)),
        ];
        for (works, weight, (fault, sum)) in cases {
            assert_eq!(
                part(works, weight),
                VrrpTracking { fault, weight: sum },
                "{works} {weight:+}"
            );
        }
    }

    #[test]
    fn results_in_a_row_make_a_verdict() {
        let told = |results: &str| {
            let mut verdict = Verdict::default();
            let tell = |result| match verdict.take(result == '+', 2, 3) {
                Some(true) => 'U',
                Some(false) => 'D',
                None => '.',
            };
            results.chars().map(tell).collect::<String>()
        };
        assert_eq!(told("+++"), "U..");
        assert_eq!(told("+--+---"), "U.....D");
        assert_eq!(told("---+-++"), "..D...U");
        assert_eq!(told("--+---"), "..U..D");
    }

    #[test]
    fn one_fault_is_enough() {
        let part = |fault, weight| VrrpTracking { fault, weight };
        assert_eq!(sum([]), VrrpTracking::default());
        assert_eq!(sum([part(false, -10), part(true, 0), part(false, 30)]), part(true, 20));
        assert_eq!(sum([part(false, i32::MAX), part(false, 1)]), part(false, i32::MAX));
    }
}
