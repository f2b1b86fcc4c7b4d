//! How far apart the clocks of two directors are, by the time that comes with each sign of life.
//!
//! What is on its way for long seems to be of a clock that is behind; of the last few signs of life the one that was the
//! fastest says most.

use std::collections::VecDeque;

use crate::model::{PEER_CLOCKS_APART, PeerWish, PeerWord, UnixTime};

/// How many signs of life are looked at together.
const LOOKED_AT: usize = 8;

/// How many it takes until anything is said.
const ENOUGH: usize = 3;

/// One of fewer milliseconds is none any more.
const AGREES: i64 = 2000;

/// By how many milliseconds the other director's clock is ahead of this one's; negative where it is behind.
pub(super) fn ahead(theirs: UnixTime, own: UnixTime) -> i64 {
    let millis = |time: UnixTime| i64::try_from(time.millis()).unwrap_or(i64::MAX);
    millis(theirs) - millis(own)
}

/// What the other director has said, with the ends of drains by this one's clock.
pub(super) fn by_own_clock(words: &mut [PeerWord], ahead: i64) {
    let move_back = |time: UnixTime| {
        let millis = i64::try_from(time.millis()).unwrap_or(i64::MAX).saturating_sub(ahead);
        UnixTime::from_millis(u64::try_from(millis).unwrap_or(0))
    };
    for word in words {
        match &mut word.wish {
            PeerWish::State { drain_until, .. } => *drain_until = drain_until.map(move_back),
            PeerWish::Weight { .. } => {}
        }
    }
}

/// What there is to say of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// They are apart: the other one's is ahead by so many milliseconds, or behind.
    Apart(i64),
    /// They were, and are no more.
    Together,
}

/// The two clocks, over time.
#[derive(Debug, Clone, Default)]
pub struct Clocks {
    samples: VecDeque<i64>,
    /// It was said that they are apart.
    apart: bool,
}

impl Clocks {
    /// Takes in by how much the other one's clock seemed to be ahead; answers with what there is to say.
    pub fn heard(&mut self, ahead: i64) -> Option<Turn> {
        if self.samples.len() == LOOKED_AT {
            self.samples.pop_front();
        }
        self.samples.push_back(ahead);
        let ahead = self.ahead()?;
        match (self.apart, ahead.abs()) {
            (false, PEER_CLOCKS_APART..) => {
                self.apart = true;
                Some(Turn::Apart(ahead))
            }
            (true, ..AGREES) => {
                self.apart = false;
                Some(Turn::Together)
            }
            (false | true, _) => None,
        }
    }

    /// By how many milliseconds the other one's is ahead; `None` where that is not known yet.
    pub fn ahead(&self) -> Option<i64> {
        self.samples
            .iter()
            .copied()
            .max()
            .filter(|_| self.samples.len() >= ENOUGH)
    }

    /// The other one cannot be heard any more; what was said of its clock stands.
    pub fn lost(&mut self) {
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_said_once_when_it_begins_and_once_when_it_ends() {
        let mut clocks = Clocks::default();
        let mut hear = |ahead: i64, times: usize| -> Vec<Turn> {
            let turns = (0..times).filter_map(|_| clocks.heard(ahead));
            turns.collect()
        };
        assert_eq!(hear(2999, 20), []);
        assert_eq!(hear(7000, 20), [Turn::Apart(7000)]);
        assert_eq!(hear(2500, 20), [], "nearly");
        assert_eq!(hear(-10, 20), [Turn::Together]);
        assert_eq!(hear(-7_200_000, 20), [Turn::Apart(-7_200_000)]);
        assert_eq!(hear(7_200_000, 20), [], "it was said that they are apart");
        assert_eq!(hear(i64::MIN + 1, 20), []);
    }

    #[test]
    fn what_is_late_is_no_clock_that_is_behind() {
        let mut clocks = Clocks::default();
        for delay in [0, 20_000, 9000, 100, 8000, 7000, 6000, 5000, 4000, 3000] {
            assert_eq!(clocks.heard(-delay), None);
        }
        assert_eq!(clocks.ahead(), Some(-100));
        clocks.lost();
        assert_eq!(clocks.ahead(), None);
    }

    #[test]
    fn the_end_of_a_drain_is_set_to_this_clock() {
        let at = |seconds: u64| UnixTime::from_millis(1_800_000_000_000 + seconds * 1000);
        let word = |end| PeerWord {
            virtual_server: "web".to_owned(),
            server: "192.0.2.11:80".to_owned(),
            wish: PeerWish::State {
                state: crate::model::AdminState::Drain,
                drain_until: Some(end),
                drain_for: Some(600_000),
            },
            by: "root".to_owned(),
            at: at(3600),
        };
        for (theirs, own) in [(at(3600), at(0)), (at(0), at(3600))] {
            let ten_minutes = std::time::Duration::from_secs(600);
            let mut words = [word(theirs.after(ten_minutes))];
            by_own_clock(&mut words, ahead(theirs, own));
            assert_eq!(words, [word(own.after(ten_minutes))]);
        }
        let mut words = [word(UnixTime::from_millis(5))];
        by_own_clock(&mut words, i64::MAX);
        by_own_clock(&mut words, i64::MIN);
    }
}
