//! What an instance tracks, summed up: one fault forbids it to be master, weights add up.

use std::time::Duration;

use crate::model::{Instant, VrrpFinding, VrrpTracking};

/// No single thing that is tracked lowers the priority by more: below that is a fault.
const MOST: i64 = 253;

/// What one thing that is tracked means for the priority; of a number what keepalived's `track_file` means by it.
pub fn part(finding: VrrpFinding, weight: i32) -> VrrpTracking {
    let (fault, weight) = match (finding, weight) {
        (VrrpFinding::Works(works), 0) => (!works, 0),
        (VrrpFinding::Works(true), 1..) | (VrrpFinding::Works(false), ..=-1) => (false, weight),
        (VrrpFinding::Works(false), 1..) | (VrrpFinding::Works(true), ..=-1) => (false, 0),
        (VrrpFinding::Value(value), 0) => (value != 0, 0),
        (VrrpFinding::Value(value), weight) => {
            let product = value.saturating_mul(i64::from(weight));
            // It is between -253 and 253.
            (product < -MOST, product.clamp(-MOST, MOST) as i32)
        }
    };
    VrrpTracking { fault, weight }
}

/// Whether something that is tracked is worth a word, for it keeps from being master or makes that less likely.
pub fn is_failing(finding: VrrpFinding, weight: i32) -> bool {
    match finding {
        VrrpFinding::Works(works) => !works,
        VrrpFinding::Value(_) => {
            let part = part(finding, weight);
            part.fault || part.weight < 0
        }
    }
}

/// A change that counts once it has lasted for some time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lasting {
    counts: Option<bool>,
    other_since: Option<Instant>,
}

impl Lasting {
    /// Takes in what is so now; answers where something else counts from now on. What is seen first counts at once.
    pub fn take(&mut self, seen: bool, delay: Duration, now: Instant) -> Option<bool> {
        if self.counts == Some(seen) {
            self.other_since = None;
            return None;
        }
        let since = *self.other_since.get_or_insert(now);
        if self.counts.is_some() && now.since(since) < delay {
            return None;
        }
        (self.counts, self.other_since) = (Some(seen), None);
        Some(seen)
    }
}

/// Results in a row and what they come to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict {
    works: Option<bool>,
    /// How many in a row have said otherwise.
    others: u32,
}

impl Verdict {
    /// Takes in a result; answers where the verdict is another one now. The first result is one at once, as keepalived
    /// has it.
    pub fn take(&mut self, passed: bool, rise: u32, fall: u32) -> Option<bool> {
        if self.works == Some(passed) {
            self.others = 0;
            return None;
        }
        self.others += 1;
        let needed = match (passed, self.works) {
            (_, None) => 1,
            (true, Some(_)) => rise,
            (false, Some(_)) => fall,
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
                part(VrrpFinding::Works(works), weight),
                VrrpTracking { fault, weight: sum },
                "{works} {weight:+}"
            );
            assert_eq!(is_failing(VrrpFinding::Works(works), weight), !works);
        }
    }

    #[test]
    fn a_number_counts_times_its_weight() {
        let cases = [
            // number, weight, fault, added, worth a word
            (0, 0, false, 0, false),
            (1, 0, true, 0, true),
            (-1, 0, true, 0, true),
            (0, 1, false, 0, false),
            (20, 1, false, 20, false),
            (-20, 1, false, -20, true),
            (20, -2, false, -40, true),
            (253, -1, false, -253, true),
            (254, -1, true, -253, true),
            (-1, 254, true, -253, true),
            (1000, 1, false, 253, false),
            (i64::MIN, 254, true, -253, true),
            (i64::MIN, -254, false, 253, false),
        ];
        for (value, weight, fault, added, word) in cases {
            let finding = VrrpFinding::Value(value);
            let wanted = VrrpTracking { fault, weight: added };
            assert_eq!(part(finding, weight), wanted, "{value} times {weight}");
            assert_eq!(is_failing(finding, weight), word, "{value} times {weight}");
        }
    }

    #[test]
    fn a_change_counts_once_it_has_lasted() {
        let told = |seen: &str, delay: u64| {
            let mut lasting = Lasting::default();
            let tell = |(second, letter): (usize, char)| {
                let now = Instant::after_start(Duration::from_secs(second as u64));
                match lasting.take(letter == '+', Duration::from_secs(delay), now) {
                    Some(true) => 'U',
                    Some(false) => 'D',
                    None => '.',
                }
            };
            seen.chars().enumerate().map(tell).collect::<String>()
        };
        assert_eq!(told("+--+", 0), "UD.U");
        assert_eq!(told("---++++", 2), "D....U.");
        assert_eq!(told("+-+-+--+", 2), "U.......");
        assert_eq!(told("+---+---", 2), "U..D....");
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
        assert_eq!(told("-+-++---"), "D...U..D");
    }

    #[test]
    fn one_fault_is_enough() {
        let part = |fault, weight| VrrpTracking { fault, weight };
        assert_eq!(sum([]), VrrpTracking::default());
        assert_eq!(sum([part(false, -10), part(true, 0), part(false, 30)]), part(true, 20));
        assert_eq!(sum([part(false, i32::MAX), part(false, 1)]), part(false, i32::MAX));
    }
}
