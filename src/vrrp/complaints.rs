//! Adverts that are not heeded, told once and then counted: a stranger's thousands a second make no thousand lines.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::Instant;

/// How long the same complaint is only counted.
const QUIET: Duration = Duration::from_secs(60);
/// How many are kept apart; the rest is one for each instance or interface.
const MOST: usize = 256;

/// What was complained of, by the instance or interface, the sender and the words.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    known: BTreeMap<(String, Option<IpAddr>, String), (Instant, u64)>,
}

impl Complaints {
    /// Takes in one; answers with how many there were since it was told, where it is to be told now.
    pub(super) fn take(&mut self, about: &str, source: IpAddr, what: &str, now: Instant) -> Option<u64> {
        let mut key = (about.to_owned(), Some(source), what.to_owned());
        if self.known.len() >= MOST && !self.known.contains_key(&key) {
            self.known.retain(|_, (told, _)| now.since(*told) < QUIET);
            if self.known.len() >= MOST {
                // Senders are easily made up, and much of the words is theirs.
                (key.1, key.2) = (None, String::new());
            }
        }
        match self.known.get_mut(&key) {
            None => {
                self.known.insert(key, (now, 0));
                Some(1)
            }
            Some((told, count)) => {
                *count += 1;
                if now.since(*told) < QUIET {
                    return None;
                }
                *told = now;
                Some(std::mem::take(count))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_same_is_told_once_a_minute_with_its_number() {
        let mut complaints = Complaints::default();
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
        assert_eq!(complaints.take("VI_1", source, "a password", at(0)), Some(1));
        for second in 1..60 {
            assert_eq!(complaints.take("VI_1", source, "a password", at(second)), None);
        }
        assert_eq!(complaints.take("VI_1", source, "a password", at(61)), Some(60));
        assert_eq!(complaints.take("VI_1", source, "a version", at(61)), Some(1));
    }

    #[test]
    fn senders_that_are_made_up_do_not_fill_the_memory() {
        let mut complaints = Complaints::default();
        let told: u64 = (0..100_000_u32)
            .filter_map(|number| {
                let what = format!("{} addresses", number % 5000);
                complaints.take("VI_1", Ipv4Addr::from(number).into(), &what, at(1))
            })
            .sum();
        assert!(told <= MOST as u64 + 1, "{told}");
        assert!(complaints.known.len() <= MOST + 1);
        // A minute later they are forgotten, however often they came.
        let other = Ipv4Addr::new(192, 0, 2, 9).into();
        assert_eq!(complaints.take("VI_2", other, "a password", at(62)), Some(1));
        assert_eq!(complaints.known.len(), 1);
    }
}
