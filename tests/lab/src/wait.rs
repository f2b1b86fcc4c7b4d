//! Waiting for a condition of the world, always with an end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks every 10 ms until the condition holds; fails with `what` when `limit` has passed.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("waited {limit:?} in vain: {what}");
        }
        thread::sleep(LOOK_EVERY);
    }
}
