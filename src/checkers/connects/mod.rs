//! The plain TCP probes of all servers together: a connection each, opened and closed, without a word.
//!
//! A thousand of them a second is what a large director does all day, so they have a way of their own: no task and no
//! timer each, timeouts gathered in ticks (`ticks`), readiness in batches, and sockets that are used again (`sockets`).
//! A hand like the other probes: it says what it found, in the same words.
//!
//! A server sees what it sees of any client that connects and closes: after the handshake this side sends its FIN. A
//! socket is used again once the server's FIN has come too; one whose server takes its time is closed after a second,
//! and one whose probe failed at once, so that no error of one probe can be found by another.

mod sockets;
mod ticks;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::{blame, fault};
use crate::model::{FailureCause, Origin, ProbeId, ProbeKind, ProbeOutcome, ProbeResult, ProbeSpec};
use sockets::{Closing, Sockets};
use ticks::{Tick, Ticks};

/// How many connections that are closing are looked at in one go.
const LOOKED_AT: usize = 64;

/// After how many fresh sockets it is looked once more within a tick.
const FRESH: usize = LOOKED_AT / 2;

/// How many are taken note of in one go.
const BATCH: usize = 256;

/// All plain TCP probes that are under way, and the sockets that are kept for the next ones.
#[derive(Debug)]
pub struct Connects {
    start: Instant,
    watch: AsyncFd<Watch>,
    running: Vec<Slot>,
    /// Slots that nobody runs in.
    vacant: Vec<usize>,
    deadlines: Ticks<Token>,
    sockets: [Sockets<Kept>; 2],
    /// When connections that are closing were looked at last, and how many fresh sockets were made since.
    looked: [(Option<Tick>, usize); 2],
    finished: Vec<(ProbeId, ProbeResult)>,
}

/// The place of a probe, and how many were there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    slot: u32,
    turn: u32,
}

#[derive(Debug, Default)]
struct Slot {
    turn: u32,
    probe: Option<Running>,
}

/// A connection that is being opened.
#[derive(Debug)]
struct Running {
    probe: ProbeId,
    target: SocketAddr,
    started: Instant,
    deadline: Tick,
    socket: Kept,
}

/// A socket, and whether it is watched.
#[derive(Debug)]
struct Kept {
    socket: Socket,
    watched: bool,
}

/// The kernel's list of what is watched. Each socket tells once, and not again before it has a new connection.
#[derive(Debug)]
struct Watch(Epoll);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl Token {
    fn pack(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.slot)
    }

    fn unpack(data: u64) -> Self {
        Self {
            slot: (data & u64::from(u32::MAX)) as u32,
            turn: (data >> 32) as u32,
        }
    }
}

impl Connects {
    /// Nothing under way yet. Has to be called within a runtime.
    ///
    /// # Errors
    /// The kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            start: Instant::now(),
            watch: register(Watch(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))?,
            running: Vec::new(),
            vacant: Vec::new(),
            deadlines: Ticks::default(),
            sockets: Default::default(),
            looked: [(None, 0); 2],
            finished: Vec::new(),
        })
    }

    /// Whether a probe is one of these: a connection without a word, from wherever the kernel chooses.
    pub fn takes(spec: &ProbeSpec) -> bool {
        let without_a_word = matches!(&spec.kind, ProbeKind::Tcp(steps) if steps.is_empty());
        without_a_word && spec.origin == Origin::default()
    }

    /// Starts a probe; its result comes with [`Self::finished`], at most a tick (10 ms) after its timeout.
    pub fn start(&mut self, probe: ProbeId, target: SocketAddr, timeout: Duration) {
        let started = Instant::now();
        let opened = self
            .socket(target, started)
            .and_then(|socket| self.open(socket, probe, target, started, timeout));
        if let Err(outcome) = opened {
            self.finish(probe, target, started, Instant::now(), outcome);
        }
    }

    fn open(
        &mut self,
        mut socket: Kept,
        probe: ProbeId,
        target: SocketAddr,
        started: Instant,
        timeout: Duration,
    ) -> Result<(), ProbeOutcome> {
        // The handshake's last packet and the FIN that follows at once are one; where the kernel does not know this, two.
        let _ = socket.socket.set_tcp_quickack(false);
        match socket.socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                return Err(fault::of_connect(&error));
            }
            Ok(()) | Err(_) => (),
        }
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.running.push(Slot::default());
            self.running.len() - 1
        });
        let token = Token {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            turn: self.running[slot].turn,
        };
        // Not before it connects: until then it says that it is closed.
        let events = EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT;
        let mut event = EpollEvent::new(events, token.pack());
        let watch = &self.watch.get_ref().0;
        let watched = match socket.watched {
            true => watch.modify(&socket.socket, &mut event),
            false => watch.add(&socket.socket, event),
        };
        if let Err(error) = watched {
            self.vacant.push(slot);
            return Err(fault::of(&error.into()));
        }
        socket.watched = true;
        let deadline = Tick::not_before(self.since_start(started) + timeout);
        self.deadlines.insert(deadline, token);
        self.running[slot].probe = Some(Running {
            probe,
            target,
            started,
            deadline,
            socket,
        });
        Ok(())
    }

    /// When [`Self::finished`] has to be asked even if nothing gets ready.
    pub fn next_wake(&self) -> Option<Instant> {
        if !self.finished.is_empty() {
            return Some(self.start);
        }
        let kept = self.sockets.iter().filter_map(Sockets::next_wake);
        let next = self.deadlines.next().into_iter().chain(kept).min();
        next.map(|next| self.start + next)
    }

    /// Returns when [`Self::finished`] may have something to say.
    pub async fn ready(&self) {
        match self.watch.readable().await {
            // What comes from here on says so again.
            Ok(mut guard) => guard.clear_ready(),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        }
    }

    /// The probes that have ended, and how. One that has come to an end by now is never judged by its timeout.
    pub fn finished(&mut self) -> Vec<(ProbeId, ProbeResult)> {
        let mut events = [EpollEvent::empty(); BATCH];
        loop {
            let count = self.watch.get_ref().0.wait(&mut events, EpollTimeout::ZERO);
            let (count, now) = (count.unwrap_or(0), Instant::now());
            for event in &events[..count] {
                self.connected(Token::unpack(event.data()), event.events(), now);
            }
            if count < events.len() {
                break;
            }
        }
        self.time_out();
        std::mem::take(&mut self.finished)
    }

    /// A connection has come about, or has failed to.
    fn connected(&mut self, token: Token, events: EpollFlags, now: Instant) {
        let Some(running) = self.leave(token) else { return };
        self.deadlines.forget_one(running.deadline);
        let Running {
            probe,
            target,
            started,
            socket,
            ..
        } = running;
        let failed = match events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
            true => socket.socket.take_error().unwrap_or_else(Some),
            false => None,
        };
        if let Some(error) = failed {
            return self.finish(probe, target, started, now, fault::of(&error));
        }
        // As a close does, the server gets a FIN now.
        if socket.socket.shutdown(Shutdown::Write).is_ok() {
            let since = self.since_start(now);
            self.sockets[family(target)].keep(socket, since);
        }
        self.finish(probe, target, started, now, ProbeOutcome::Success);
    }

    /// Ends the probes whose time is over.
    fn time_out(&mut self) {
        let now = Instant::now();
        let since = self.since_start(now);
        for sockets in &mut self.sockets {
            sockets.give_up(since);
        }
        while let Some(tokens) = self.deadlines.pop_passed(since) {
            for token in tokens {
                if let Some(running) = self.leave(token) {
                    let outcome = ProbeOutcome::Failure(FailureCause::TimedOut);
                    self.finish(running.probe, running.target, running.started, now, outcome);
                }
            }
        }
    }

    /// Takes a probe out of its place; `None` where it has left already.
    fn leave(&mut self, token: Token) -> Option<Running> {
        let slot = self.running.get_mut(token.slot as usize)?;
        let running = slot.probe.take_if(|_| slot.turn == token.turn)?;
        slot.turn = slot.turn.wrapping_add(1);
        self.vacant.push(token.slot as usize);
        Some(running)
    }

    fn finish(&mut self, probe: ProbeId, target: SocketAddr, started: Instant, now: Instant, outcome: ProbeOutcome) {
        let result = ProbeResult {
            latency: now.saturating_duration_since(started),
            ..blame(outcome, target, &Origin::default()).into()
        };
        self.finished.push((probe, result));
    }

    /// A socket without a connection.
    fn socket(&mut self, target: SocketAddr, now: Instant) -> Result<Kept, ProbeOutcome> {
        let since = self.since_start(now);
        let family = family(target);
        let sockets = &mut self.sockets[family];
        if let Some(kept) = sockets.take() {
            return Ok(kept);
        }
        // Not each time: what was closing a moment ago still is.
        let tick = Some(Tick::not_before(since));
        let (looked, fresh) = &mut self.looked[family];
        if *looked != tick || *fresh >= FRESH {
            (*looked, *fresh) = (tick, 0);
            look(sockets, since);
            if let Some(kept) = sockets.take() {
                return Ok(kept);
            }
        }
        *fresh += 1;
        let socket = Socket::new(
            Domain::for_address(target),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        );
        Ok(Kept {
            socket: socket.map_err(|error| fault::of(&error))?,
            watched: false,
        })
    }

    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }
}

/// Which of the two pools is an address's.
fn family(target: SocketAddr) -> usize {
    usize::from(target.is_ipv6())
}

/// Sees which connections are over by now, and makes their sockets ready.
fn look(sockets: &mut Sockets<Kept>, now: Duration) {
    let closing = sockets.closing().take(LOOKED_AT);
    let mut polled: Vec<_> = closing
        .map(|kept| PollFd::new(kept.socket.as_fd(), PollFlags::empty()))
        .collect();
    if polled.is_empty() || poll(&mut polled, PollTimeout::ZERO).is_err() {
        return;
    }
    let state = |polled: &PollFd<'_>| match polled.revents() {
        Some(events) if events.contains(PollFlags::POLLERR) => Closing::Broken,
        Some(events) if events.contains(PollFlags::POLLHUP) => Closing::Over,
        Some(_) | None => Closing::Open,
    };
    let states: Vec<_> = polled.iter().map(state).collect();
    // Both sides have said that they are done, so that this sends nothing.
    sockets.sort(&states, now, |kept| kept.socket.connect(&nowhere()).is_ok());
}

/// The address that a socket is connected to in order to have no connection (connect(2), `AF_UNSPEC`).
#[allow(unsafe_code, reason = "socket2 has no safe constructor for it")]
fn nowhere() -> SockAddr {
    let storage = SockAddrStorage::zeroed();
    let length = storage.size_of();
    // SAFETY: the storage is all zeros, which is a valid address of that length: AF_UNSPEC is 0.
    unsafe { SockAddr::new(storage, length) }
}

/// Hands the list of what is watched to the runtime.
#[allow(unsafe_code, reason = "tokio's safe constructor is deprecated in favour of this one")]
fn register(watch: Watch) -> io::Result<AsyncFd<Watch>> {
    // SAFETY: it owns its descriptor, gives the same one for as long as it lives, and is only ever lent out by
    // reference, so that it is closed after the runtime has let go of it.
    Ok(unsafe { AsyncFd::register(watch) }?)
}

#[cfg(test)]
mod tests;
