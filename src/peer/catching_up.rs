//! Whether a director that is back knows enough of the other one's connections to take over from it.

/// How often in a row the share has to be reached: the first count may be from before anything was sent.
const IN_A_ROW: u32 = 2;

/// Whether this director has this share, in per cent, of the connections that the other one has.
pub fn caught_up(own: u64, theirs: u64, share: u32) -> bool {
    u128::from(own) * 100 >= u128::from(theirs) * u128::from(share)
}

/// Takes in one comparison; answers with how often it has been reached in a row, and whether that is often enough.
pub fn settle(before: u32, reached: bool) -> (u32, bool) {
    let after = if reached { before.saturating_add(1) } else { 0 };
    (after, after >= IN_A_ROW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_is_always_reached() {
        for (own, theirs, share, reached) in [
            (0, 0, 90, true),
            (0, 1, 90, false),
            (89, 100, 90, false),
            (90, 100, 90, true),
            (200, 100, 100, true),
            (u64::MAX, u64::MAX, 100, true),
            (u64::MAX / 2, u64::MAX, 100, false),
        ] {
            assert_eq!(caught_up(own, theirs, share), reached, "{own} of {theirs}");
        }
    }

    #[test]
    fn it_has_to_be_reached_twice_in_a_row() {
        let mut count = 0;
        let mut settled = Vec::new();
        for reached in [true, false, true, true, true] {
            let done;
            (count, done) = settle(count, reached);
            settled.push(done);
        }
        assert_eq!(settled, [false, false, false, true, true]);
    }
}
