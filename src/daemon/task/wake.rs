//! Waiting until something is due.

use std::time::Instant;

/// Returns at a time that somebody wants to be woken at; never where nobody does.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        // The runtime's timers go by whole milliseconds, rounded up: what is due already would wait for the next one.
        Some(at) if at <= Instant::now() => tokio::task::yield_now().await,
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

    /// Whether it needs no more than a turn of the runtime.
    fn comes_at_once(at: Instant) -> bool {
        let mut waiting = pin!(sleep_until(Some(at)));
        let mut context = Context::from_waker(Waker::noop());
        let mut turns = (0..2).map(|_| waiting.as_mut().poll(&mut context));
        turns.any(|turn| turn.is_ready())
    }

    #[tokio::test]
    async fn what_is_due_already_does_not_wait_for_the_next_tick_of_a_timer() {
        assert!(comes_at_once(Instant::now()));
        assert!(!comes_at_once(Instant::now() + Duration::from_secs(60)));
    }
}
