//! Waiting for a condition of the world, always with an end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks every 10 ms until the condition holds; fails with `what` when `limit` has passed.
pub fn wait_until(what: &str, limit: Duration, condition: impl FnMut() -> bool) -> Result<()> {
    wait(what, limit, |_| Duration::ZERO, condition)
}

/// As [`wait_until`], for a limit that the program under test has promised: what this thread itself was woken too late
/// by is added, because a machine that did not run us has not run the program either.
pub fn wait_in_time(what: &str, limit: Duration, condition: impl FnMut() -> bool) -> Result<()> {
    wait(what, limit, |slept| slept.saturating_sub(LOOK_EVERY), condition)
}

/// The last look always starts after the end: what was so in time is not missed for a look that took long.
fn wait(
    what: &str,
    limit: Duration,
    late: impl Fn(Duration) -> Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    let mut end = start + limit;
    loop {
        let look = Instant::now();
        if condition() {
            return Ok(());
        }
        if look >= end {
            bail!("waited {:?} in vain: {what}", start.elapsed());
        }
        let sleep = Instant::now();
        thread::sleep(LOOK_EVERY);
        end += late(sleep.elapsed());
    }
}
