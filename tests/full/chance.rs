//! Chance that can be repeated, and what a test has to say where nothing failed.

use std::fmt;
use std::io::Write;
use std::time::Duration;

/// The generator of one test; says its seed at once, so that a failure can be repeated with `IPVSD_SEED`.
pub(crate) fn seeded(test: &str, seed: u64) -> fastrand::Rng {
    let told = std::env::var("IPVSD_SEED").ok().map(|text| text.parse());
    let seed = told.map_or(seed, |told| told.expect("IPVSD_SEED is a number"));
    measured(test, format_args!("seed {seed}"));
    fastrand::Rng::with_seed(seed)
}

/// A line that the suite shows also where the test passes: past the harness, which keeps what passing tests print.
pub(crate) fn measured(test: &str, what: impl fmt::Display) {
    // Where nobody listens, nothing is lost but the line.
    let _ = writeln!(std::io::stderr(), "measured: {test}: {what}");
}

/// Sleeps for up to `longest`.
pub(crate) fn pause(chance: &mut fastrand::Rng, longest: Duration) {
    let longest = u64::try_from(longest.as_micros()).expect("a short time");
    std::thread::sleep(Duration::from_micros(chance.u64(0..=longest)));
}

/// Times in a row, told by their smallest, middle, ninetieth of a hundred and largest.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of a hundred did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| self.percentile(percent).as_millis();
        write!(
            f,
            "{} times, {} ms at least, {} in the middle, {} of nine in ten, {} at most",
            self.0.len(),
            at(0),
            at(50),
            at(90),
            at(100)
        )
    }
}
