//! When it is worth a word that the link is up or down: one that comes and goes is not told of each time, and one that
//! stays down is not kept quiet.

use std::time::Duration;

use crate::model::Instant;

/// A link that has lasted for so long is worth a word when it ends.
const LASTED: Duration = Duration::from_secs(10);

/// One that comes and goes is told of once in so long.
const REMINDER: Duration = Duration::from_secs(60);

/// The link, over time.
#[derive(Debug, Clone, Default)]
pub struct Outages {
    /// When it came up last.
    since: Option<Instant>,
    /// When it was said that it is down.
    said: Option<Instant>,
    /// It comes and goes, and nothing is said of it for a while.
    quiet: bool,
    /// Why it is down, where that was not said.
    unsaid: Option<String>,
}

impl Outages {
    /// It is up; answers with whether that is worth a word. `was_down`: it is not one connection in place of another.
    pub fn connected(&mut self, was_down: bool, now: Instant) -> bool {
        self.since = Some(now);
        self.unsaid = None;
        was_down && !self.quiet
    }

    /// It is down; answers with whether that is worth a word now.
    pub fn lost(&mut self, why: &str, now: Instant) -> bool {
        let within = |since: Option<Instant>, time: Duration| since.is_some_and(|since| now.since(since) < time);
        self.quiet = within(self.said, REMINDER) && within(self.since, LASTED);
        match self.quiet {
            true => self.unsaid = Some(why.to_owned()),
            false => (self.said, self.unsaid) = (Some(now), None),
        }
        !self.quiet
    }

    /// When it has to be said that it is down after all.
    pub fn next(&self) -> Option<Instant> {
        let said = self.said.filter(|_| self.unsaid.is_some());
        said.map(|said| said + REMINDER)
    }

    /// Why it is still down, where it is time to say so.
    pub fn remind(&mut self, now: Instant) -> Option<String> {
        self.next().filter(|at| *at <= now)?;
        // The next word is that it is up again.
        (self.said, self.quiet) = (Some(now), false);
        self.unsaid.take()
    }

    /// It is to another director from now on.
    pub fn renewed(&mut self) {
        self.unsaid = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_link_that_lasted_is_told_of_and_one_that_comes_and_goes_once_a_minute() {
        let mut link = Outages::default();
        assert!(link.connected(true, at(0)));
        assert!(!link.connected(false, at(1)), "one in place of another");
        assert!(link.lost("reset", at(100)));
        assert!(link.connected(true, at(101)));
        for second in (105..160).step_by(5) {
            assert!(!link.lost("reset", at(second)), "{second}");
            assert_eq!(link.next(), Some(at(160)));
            assert!(!link.connected(true, at(second + 1)), "{second}");
            assert_eq!((link.next(), link.remind(at(second + 1))), (None, None));
        }
        assert!(link.lost("reset", at(161)));
        assert!(link.connected(true, at(162)));
        // It has lasted.
        assert!(link.lost("silent", at(173)));
        assert_eq!(link.next(), None);
    }

    #[test]
    fn a_link_that_was_lost_in_quiet_and_stays_down_is_told_of() {
        let mut link = Outages::default();
        assert!(link.connected(true, at(0)) && link.lost("reset", at(20)));
        assert!(link.connected(true, at(21)));
        // The last word was that it is up.
        assert!(!link.lost("refused", at(25)));
        assert_eq!((link.next(), link.remind(at(79))), (Some(at(80)), None));
        assert_eq!(link.remind(at(80)), Some("refused".to_owned()));
        assert_eq!((link.next(), link.remind(at(200))), (None, None));
        assert!(link.connected(true, at(300)), "that it is up again is a word");
        // And from the beginning.
        assert!(link.lost("reset", at(400)) && link.connected(true, at(401)));
        assert!(!link.lost("reset", at(402)));
        link.renewed();
        assert_eq!(link.next(), None);
    }
}
