//! A client that keeps asking while something breaks, and tells afterwards when it failed and how.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use crate::client::{identity, is_http, question};
use crate::{Failure, Host};

/// At the longest, in milliseconds: whoever stops it waits so long.
const LOOK_EVERY: u128 = 50;

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

/// What a request has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A connection: nothing is said on it, and who took it is not known.
    Connection,
    /// An answer.
    Answer,
}

/// Opens a new connection at fixed times, whatever became of the ones before.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Result<Vec<Attempt>>>>>,
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
        Self::wishing(Wish::Answer, host, address, every, timeout, duration)
    }

    /// As [`Self::start`], content with what is wished for.
    pub fn wishing(
        wish: Wish,
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
            .spawn(move || probe(&stopped, wish, address, every, timeout, Instant::now() + duration))?;
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
        let mut attempts = thread.join().map_err(|_| anyhow!("the prober's thread panicked"))???;
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

/// All requests in one thread: on user-mode Linux a thread for each would cost more than all the rest of a request.
fn probe(
    stop: &AtomicBool,
    wish: Wish,
    address: SocketAddr,
    every: Duration,
    timeout: Duration,
    end: Instant,
) -> Result<Vec<Attempt>> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot watch connections")?;
    let mut attempts = Vec::new();
    let mut pending: BTreeMap<u64, Request> = BTreeMap::new();
    let mut events = [EpollEvent::empty(); 64];
    let (mut next, mut number) = (Instant::now(), 0);
    loop {
        let now = Instant::now();
        let goes_on = now < end && !stop.load(Ordering::Relaxed);
        if !goes_on && pending.is_empty() {
            return Ok(attempts);
        }
        if goes_on && now >= next {
            number += 1;
            match Request::start(&epoll, number, address, now) {
                Ok(request) => drop(pending.insert(number, request)),
                Err(failure) => attempts.push(Attempt {
                    at: now,
                    took: now.elapsed(),
                    outcome: Err(failure),
                }),
            }
            // A machine that was busy does not get its missed probes all at once.
            next = (next + every).max(now);
        }
        // The oldest is the first to run out of time.
        let oldest = pending.values().next().map(|request| request.at + timeout);
        let due = oldest.into_iter().chain(goes_on.then_some(next)).min().unwrap_or(now);
        // Rounded up: a wake before the time is in vain.
        let wait = (due.saturating_duration_since(Instant::now()) + Duration::from_micros(999)).as_millis();
        let wait = EpollTimeout::try_from(wait.min(LOOK_EVERY)).unwrap_or(EpollTimeout::ZERO);
        let count = match epoll.wait(&mut events, wait) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error).context("cannot watch connections"),
        };
        let mut ended = Vec::new();
        for event in &events[..count] {
            let request = pending.get_mut(&event.data());
            if let Some(outcome) = request.and_then(|request| request.go_on(&epoll, event.data(), wish)) {
                ended.push((event.data(), outcome));
            }
        }
        let now = Instant::now();
        let late = pending.iter().take_while(|(_, request)| now >= request.at + timeout);
        ended.extend(late.map(|(number, _)| (*number, Err(Failure::TimedOut))));
        for (number, outcome) in ended {
            if let Some(Request { at, .. }) = pending.remove(&number) {
                let took = at.elapsed();
                attempts.push(Attempt { at, took, outcome });
            }
        }
    }
}

/// One request under way.
struct Request {
    at: Instant,
    address: SocketAddr,
    stream: TcpStream,
    is_sent: bool,
    answer: Vec<u8>,
}

impl Request {
    fn start(epoll: &Epoll, number: u64, address: SocketAddr, at: Instant) -> Result<Self, Failure> {
        const EINPROGRESS: i32 = Errno::EINPROGRESS as i32;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error.into()),
            _ => {}
        }
        let stream = TcpStream::from(socket);
        let added = epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT, number));
        added.map_err(|_| Failure::Local)?;
        Ok(Self {
            at,
            address,
            stream,
            is_sent: false,
            answer: Vec::new(),
        })
    }

    /// Does what can be done without waiting; the outcome, where that was the end of it.
    fn go_on(&mut self, epoll: &Epoll, number: u64, wish: Wish) -> Option<Result<String, Failure>> {
        self.try_go_on(epoll, number, wish).transpose()
    }

    fn try_go_on(&mut self, epoll: &Epoll, number: u64, wish: Wish) -> Result<Option<String>, Failure> {
        if !self.is_sent {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            if wish == Wish::Connection {
                return Ok(Some(String::new()));
            }
            self.stream.write_all(question(self.address).as_bytes())?;
            self.is_sent = true;
            let mut reading = EpollEvent::new(EpollFlags::EPOLLIN, number);
            epoll.modify(&self.stream, &mut reading).map_err(|_| Failure::Local)?;
        }
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) if is_http(&self.answer) => return Ok(Some(identity(&self.answer))),
                Ok(0) => return Err(Failure::Reset),
                Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if !is_http(&self.answer) && self.answer.ends_with(b"\n") {
                return Ok(Some(identity(&self.answer)));
            }
        }
    }
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

    /// The longest time from one request to the next: the machine was busy with something else where that is long.
    pub fn longest_pause(&self) -> Duration {
        let pauses = self.attempts.windows(2);
        pauses
            .map(|pair| pair[1].at.saturating_duration_since(pair[0].at))
            .max()
            .unwrap_or_default()
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
