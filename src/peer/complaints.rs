//! Trouble with the other director, or with somebody who says to be: the last of it for whoever asks, and in the log once
//! in a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// The same again is said after so long.
const REMINDER: Duration = Duration::from_secs(3600);

/// Anything is said no more often than this, by each of the two kinds.
const PAUSE: Duration = Duration::from_secs(60);

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The other director's, as far as can be told: where it is to be is where it happened.
    Peer,
    /// Somebody's who has called.
    Caller,
}

#[derive(Debug, Default)]
struct Kind {
    last: Option<(String, Instant)>,
    /// So many were not said since.
    unsaid: u64,
}

/// What was complained of.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaints(Arc<Mutex<[Kind; 2]>>);

impl Complaints {
    fn kinds(&self) -> MutexGuard<'_, [Kind; 2]> {
        // Nothing that holds it can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in, and says it where it is time.
    pub(super) fn say(&self, whose: Whose, text: &str) {
        if let Some(line) = self.take(whose, text, Instant::now()) {
            warn!("{line}");
        }
    }

    /// The other director is there: what comes next is news.
    pub(super) fn forget(&self) {
        let [peer, _] = &mut *self.kinds();
        *peer = Kind::default();
    }

    fn take(&self, whose: Whose, text: &str, now: Instant) -> Option<String> {
        let [peer, caller] = &mut *self.kinds();
        let kind = match whose {
            Whose::Peer => peer,
            Whose::Caller => caller,
        };
        let wait = match &kind.last {
            None => Duration::ZERO,
            Some((last, _)) if whose == Whose::Peer && last == text => REMINDER,
            Some(_) => PAUSE,
        };
        if kind.last.as_ref().is_some_and(|(_, at)| now.duration_since(*at) < wait) {
            kind.unsaid += 1;
            return None;
        }
        kind.last = Some((text.to_owned(), now));
        Some(match std::mem::take(&mut kind.unsaid) {
            0 => text.to_owned(),
            unsaid => format!("{text} ({unsaid} more such since the last line)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_callers_are_one_line_a_minute() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let mut lines = Vec::new();
        for number in 0..1000 {
            let at = start + Duration::from_millis(90 * number);
            lines.extend(complaints.take(Whose::Caller, &format!("caller {number}"), at));
        }
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].contains("more such"), "{lines:?}");
    }

    #[test]
    fn the_peers_trouble_is_said_once_until_it_is_another_or_the_peer_was_there() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let says = |text, seconds| {
            complaints
                .take(Whose::Peer, text, start + Duration::from_secs(seconds))
                .is_some()
        };
        assert!(says("refused", 0));
        assert!(!says("refused", 61));
        assert!(!says("no route", 30));
        assert!(says("no route", 62));
        complaints.forget();
        assert!(says("no route", 63));
    }
}
