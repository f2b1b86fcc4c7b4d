//! Which of two connections between the same two directors lives, and when the next one is tried.

use std::time::Duration;

/// How long it waits after the first failure.
const FIRST: Duration = Duration::from_millis(200);

/// How long at most.
const LONGEST: Duration = Duration::from_secs(5);

/// Who has opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// This director.
    Us,
    /// The other one.
    Them,
}

/// Whether a new connection takes the place of the one that lives.
///
/// Both directors have to come to the same answer, whatever they saw first: of two that cross each other, the one that
/// was opened by the director with the lower key lives. A second one from the same side says that the first one is dead.
pub(super) fn takes_its_place(living: Opener, new: Opener, ours_is_lower: bool) -> bool {
    let preferred = match ours_is_lower {
        true => Opener::Us,
        false => Opener::Them,
    };
    living == new || new == preferred
}

/// How long to wait before the next try after so many failures in a row; `random` is any number, each as likely as the
/// others: two directors do not try in step for ever.
pub(super) fn pause(failures: u32, random: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    doubled / 2 + doubled / 2 * (random % 1024) / 1024
}

/// For how long nothing may be heard before a connection is dead: three signs of life of the slower one, and a second for
/// a host that is busy.
pub(super) fn silence(own: Duration, theirs: Duration) -> Duration {
    own.max(theirs.min(Duration::from_secs(60))) * 3 + Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_the_same_one_in_whatever_order_they_see_them() {
        // The connections by who has opened them, as the director with the lower key sees it.
        for (lower_sees, higher_sees) in [
            ([Opener::Us, Opener::Them], [Opener::Us, Opener::Them]),
            ([Opener::Us, Opener::Them], [Opener::Them, Opener::Us]),
            ([Opener::Them, Opener::Us], [Opener::Us, Opener::Them]),
            ([Opener::Them, Opener::Us], [Opener::Them, Opener::Us]),
        ] {
            let kept = |order: [Opener; 2], is_lower| match takes_its_place(order[0], order[1], is_lower) {
                true => order[1],
                false => order[0],
            };
            assert_eq!(kept(lower_sees, true), Opener::Us, "{lower_sees:?}");
            assert_eq!(kept(higher_sees, false), Opener::Them, "{higher_sees:?}");
        }
    }

    #[test]
    fn whoever_calls_again_has_lost_the_first_one() {
        for opener in [Opener::Us, Opener::Them] {
            for lower in [true, false] {
                assert!(takes_its_place(opener, opener, lower));
            }
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_never_vanish() {
        for random in [0, 1, 511, 1023, u32::MAX] {
            let pauses: Vec<_> = (0..40).map(|failures| pause(failures, random)).collect();
            assert!(pauses.is_sorted(), "{pauses:?}");
            assert!(pauses[0] >= FIRST / 2 && pauses[39] <= LONGEST, "{pauses:?}");
        }
    }

    #[test]
    fn a_peer_that_names_an_endless_interval_is_not_waited_for_endlessly() {
        let second = Duration::from_secs(1);
        assert_eq!(silence(second, second), Duration::from_secs(4));
        assert_eq!(silence(second, Duration::MAX), Duration::from_secs(181));
    }
}
