//! A client that keeps asking while something breaks, and tells afterwards when it failed and how.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::client::request;
use crate::{Failure, Host};

const STACK: usize = 128 * 1024;

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it was started.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Who answered, or why nobody did.
    pub outcome: Result<String, Failure>,
}

/// Opens a new connection at fixed times, whatever became of the ones before.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Attempt>>>>,
}

impl Prober {
    /// Asks `address` every `every`, for `duration` at most; each request may take `timeout`.
    pub fn start(
        host: &Host,
        address: SocketAddr,
        every: Duration,
        timeout: Duration,
        duration: Duration,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = host
            .namespace
            .spawn(move || probe(&stopped, address, every, timeout, Instant::now() + duration))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends it, waits for the requests under way, and tells what happened.
    pub fn stop(mut self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until its time is over, and tells what happened.
    pub fn finish(mut self) -> Result<Report> {
        self.join()
    }

    fn join(&mut self) -> Result<Report> {
        let thread = self.thread.take().context("the prober was asked twice")?;
        let mut attempts = thread.join().map_err(|_| anyhow!("the prober's thread panicked"))??;
        attempts.sort_by_key(|attempt| attempt.at);
        Ok(Report { attempts })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its findings are not wanted any more.
            let _ = thread.join();
        }
    }
}

fn probe(stop: &AtomicBool, address: SocketAddr, every: Duration, timeout: Duration, end: Instant) -> Vec<Attempt> {
    let attempts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let mut next = Instant::now();
        while next < end && !stop.load(Ordering::Relaxed) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let at = Instant::now();
            let attempts = &attempts;
            let attempt = move || {
                let outcome = request(address, None, timeout);
                let attempt = Attempt {
                    at,
                    took: at.elapsed(),
                    outcome,
                };
                attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
            };
            if thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, attempt)
                .is_err()
            {
                let attempt = Attempt {
                    at,
                    took: Duration::ZERO,
                    outcome: Err(Failure::Local),
                };
                attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
            }
            // A machine that was busy does not get its missed probes all at once.
            next = (next + every).max(at);
        }
    });
    attempts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What a prober saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// Every request in the order of their starts.
    pub attempts: Vec<Attempt>,
}

impl Report {
    /// The requests that got no answer.
    pub fn failures(&self) -> Vec<&Attempt> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.outcome.is_err())
            .collect()
    }

    /// What was started at or after an instant.
    pub fn since(&self, instant: Instant) -> Self {
        Self {
            attempts: self
                .attempts
                .iter()
                .filter(|attempt| attempt.at >= instant)
                .cloned()
                .collect(),
        }
    }

    /// When the last request was started that got no answer.
    pub fn last_failure(&self) -> Option<Instant> {
        self.failures().last().map(|attempt| attempt.at)
    }

    /// How many requests each server answered.
    pub fn answered_by(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for identity in self
            .attempts
            .iter()
            .filter_map(|attempt| attempt.outcome.as_deref().ok())
        {
            *counts.entry(identity).or_default() += 1;
        }
        counts
    }

    /// The longest stretch in which no request was started that then succeeded.
    pub fn longest_gap(&self) -> Duration {
        let starts = self
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome.is_ok())
            .map(|attempt| attempt.at);
        let edges = self.attempts.first().map(|first| first.at).into_iter();
        let end = self.attempts.last().map(|last| last.at).into_iter();
        let times: Vec<Instant> = edges.chain(starts).chain(end).collect();
        times
            .windows(2)
            .map(|pair| pair[1].saturating_duration_since(pair[0]))
            .max()
            .unwrap_or_default()
    }
}

impl fmt::Display for Report {
    /// Totals, and the failures with their times since the first request, ten at most.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures();
        write!(
            f,
            "{} requests, {} failed, answered by {:?}",
            self.attempts.len(),
            failures.len(),
            self.answered_by()
        )?;
        let Some(first) = self.attempts.first() else {
            return Ok(());
        };
        for failure in failures.iter().take(10) {
            let cause = failure
                .outcome
                .as_ref()
                .err()
                .map_or_else(String::new, ToString::to_string);
            write!(
                f,
                "\n  at {} ms: {cause} after {} ms",
                (failure.at - first.at).as_millis(),
                failure.took.as_millis()
            )?;
        }
        Ok(())
    }
}
