//! Others who change the table again and again: it is put back ever more rarely, and that is said ever more rarely.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// What others change is changed back no more often than this.
const PAUSE: Duration = Duration::from_secs(1);
/// Nor more rarely than this.
const LONGEST: Duration = Duration::from_secs(60);
/// So many changes are put back before the pause grows: a firewall that is loaded anew changes it once or twice.
const PATIENCE: u32 = 3;
/// A quarrel is over once nobody has touched the table for so long.
const OVER: Duration = Duration::from_secs(300);

/// How often others have changed the table lately.
#[derive(Default)]
pub(super) struct Quarrel {
    changes: u32,
    last: Option<Instant>,
}

impl Quarrel {
    /// Somebody has changed it. Answers with how long to wait before it is put back, and says so where that is news.
    pub(super) fn goes_on(&mut self, now: Instant) -> Duration {
        let (pause, says) = self.count(now);
        match self.changes {
            1 => warn!("somebody else has changed the packet filter's table inet ipvsd; it is written anew"),
            changes if says => warn!(
                "somebody else has changed the packet filter's table inet ipvsd, {changes} times by now; it is written \
                 anew in {} s (`nft monitor` shows what is changed)",
                pause.as_secs()
            ),
            _ => {}
        }
        pause
    }

    fn count(&mut self, now: Instant) -> (Duration, bool) {
        if self.last.is_some_and(|last| now.duration_since(last) > OVER) {
            self.changes = 0;
        }
        self.last = Some(now);
        self.changes = self.changes.saturating_add(1);
        let doublings = self.changes.saturating_sub(PATIENCE).min(16);
        let pause = LONGEST.min(PAUSE * 2_u32.pow(doublings));
        (pause, self.changes.is_power_of_two())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarrel_is_carried_on_and_told_of_ever_more_rarely_and_forgotten() {
        let mut quarrel = Quarrel::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        let mut told = Vec::new();
        for number in 1..=64 {
            let (pause, says) = quarrel.count(now);
            pauses.push(pause.as_secs());
            told.extend(says.then_some(number));
            now += pause;
        }
        assert_eq!(pauses[..10], [1, 1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses[63], 60);
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(quarrel.count(now + OVER + PAUSE), (PAUSE, true));
    }
}
