//! What an instance tracks, summed up: one fault forbids it to be master, weights add up.

use crate::model::VrrpTracking;

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
    fn one_fault_is_enough() {
        let part = |fault, weight| VrrpTracking { fault, weight };
        assert_eq!(sum([]), VrrpTracking::default());
        assert_eq!(sum([part(false, -10), part(true, 0), part(false, 30)]), part(true, 20));
        assert_eq!(sum([part(false, i32::MAX), part(false, 1)]), part(false, i32::MAX));
    }
}
