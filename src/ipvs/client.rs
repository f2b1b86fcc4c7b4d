//! Requests in batches, each answer given back to its own request; dumps of any size; a deadline on every call.

use std::collections::HashSet;
use std::hash::Hash;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::decode::{self, Body, DecodeError};
use super::encode::{self, Request};
use super::error::IpvsError;
use super::explain;
use super::socket::{Socket, Transport};
use crate::model::{
    KernelInfo, ListedDestination, ListedService, Refusal, RefusalKind, ServiceKey, Step, StepOutcome, SyncDaemon,
    SyncRole, Timeouts,
};

/// How many requests go into one datagram. Refusals echo their requests, and 256 of them fit a default receive buffer.
const WINDOW: usize = 128;
/// The kernel fills dump datagrams up to 32 KiB where the buffer allows it; an echoed window is smaller.
const BUFFER: usize = 64 << 10;
/// Loading a module on a slow machine takes seconds.
const DEADLINE: Duration = Duration::from_secs(15);
/// How many datagrams that nobody waits for any more are passed over before the next request.
const STALE: u32 = 1 << 16;
/// How often a dump that was changed under way is read again.
const DUMP_TRIES: u32 = 5;
/// Between two tries: time for the kernel to move a table of services that has grown (Linux 7.1).
const DUMP_PAUSE: Duration = Duration::from_millis(20);
/// A connection to the kernel's IPVS in one network namespace.
pub struct Client<T = Socket> {
    transport: T,
    family: u16,
    sequence: u32,
    deadline: Duration,
    /// Answers to requests that were given up may still come.
    stale: bool,
    buffer: Box<[u8]>,
    out: Vec<u8>,
}

/// A refusal with its error number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The kernel's error number, or one of the C library's where no answer of the kernel came.
    pub errno: i32,
    /// The refusal in words.
    pub refusal: Refusal,
}

impl<T> std::fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("family", &self.family)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects in the network namespace of the calling thread; the kernel loads its module where it has one.
    ///
    /// # Errors
    /// [`IpvsError::NoIpvs`] where it has none.
    pub fn connect() -> Result<Self, IpvsError> {
        Self::over(Socket::open()?)
    }
}

impl<T: Transport> Client<T> {
    pub(super) fn over(transport: T) -> Result<Self, IpvsError> {
        let mut client = Self {
            transport,
            family: 0,
            sequence: 0,
            deadline: DEADLINE,
            stale: false,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            out: Vec::new(),
        };
        client.resolve()?;
        Ok(client)
    }

    /// The `IPVS` family's number; asking for it by name makes the kernel load the module.
    fn resolve(&mut self) -> Result<(), IpvsError> {
        self.sequence = self.sequence.wrapping_add(1);
        self.out.clear();
        encode::family_request(&mut self.out, self.sequence, "IPVS");
        self.send()?;
        let mut family = None;
        let errno = self.answers(self.sequence, |attributes| {
            family = Some(decode::family_id(attributes)?);
            Ok(())
        })?;
        match (Errno::from_raw(errno.0), family) {
            (_, Some(family)) => {
                self.family = family;
                Ok(())
            }
            (Errno::ENOENT, None) => Err(IpvsError::NoIpvs),
            (_, None) => Err(IpvsError::Refused {
                errno: errno.0,
                message: format!("cannot find the kernel's IPVS: {}", Errno::from_raw(errno.0).desc()),
            }),
        }
    }

    fn send(&mut self) -> Result<(), IpvsError> {
        if self.stale {
            self.drain();
        }
        self.transport.send(&self.out).map_err(|cause| IpvsError::Socket {
            action: "send to the kernel",
            cause,
        })
    }

    /// Passes over what is queued. A buffer that overflowed takes no new answer before it is empty, and a dump that
    /// was given up keeps the kernel from starting another one.
    fn drain(&mut self) {
        let now = Instant::now();
        for _ in 0..STALE {
            match self.transport.receive(&mut self.buffer, now) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.stale = false;
                    return;
                }
                Err(error) if is(&error, Errno::ENOBUFS) || is(&error, Errno::EMSGSIZE) => {}
                Err(_) => return,
            }
        }
    }

    /// Receives one datagram and hands its messages on; answers to older requests are passed over by `take`.
    fn receive(&mut self, end: Instant, mut take: impl FnMut(decode::Message<'_>)) -> Result<(), IpvsError> {
        // Until the datagram has been read to its end.
        self.stale = true;
        let length = match self.transport.receive(&mut self.buffer, end) {
            Ok(Some(length)) => length,
            Ok(None) => return Err(IpvsError::NoAnswer(self.deadline)),
            Err(error) if is(&error, Errno::ENOBUFS) => return Err(IpvsError::AnswersLost),
            Err(cause) => {
                return Err(IpvsError::Socket {
                    action: "receive from the kernel",
                    cause,
                });
            }
        };
        for message in decode::messages(&self.buffer[..length]) {
            take(message?);
        }
        self.stale = false;
        Ok(())
    }

    /// Collects the answers to one request until it is acknowledged or its dump has ended; answers with the error
    /// number (0 for done) and the kernel's text.
    fn answers(
        &mut self,
        sequence: u32,
        mut take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(i32, Option<String>), IpvsError> {
        let end = Instant::now() + self.deadline;
        let mut ended = None;
        let mut interrupted = false;
        let mut taken = Ok(());
        while ended.is_none() {
            self.receive(end, |message| {
                if message.sequence != sequence {
                    return;
                }
                interrupted |= message.interrupted;
                match message.body {
                    Body::Ack { errno, text } | Body::Done { errno, text } => ended = Some((errno, text)),
                    // What cannot be understood does not end the reading: a dump has to be read to its end.
                    Body::Data(attributes) if taken.is_ok() => taken = take(attributes),
                    Body::Data(_) | Body::Other => {}
                }
            })?;
        }
        if interrupted {
            return Err(IpvsError::Changing);
        }
        taken?;
        Ok(ended.unwrap_or_default())
    }

    /// One request; `take` gets the attributes of each answer.
    fn ask(
        &mut self,
        request: &Request<'_>,
        take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), IpvsError> {
        self.sequence = self.sequence.wrapping_add(1);
        self.out.clear();
        request.encode(&mut self.out, self.family, self.sequence, !request.is_dump());
        self.send()?;
        match self.answers(self.sequence, take)? {
            (0, _) => Ok(()),
            (errno, text) => {
                let message = explain::refusal(request, errno, text.as_deref()).message;
                Err(IpvsError::Refused { errno, message })
            }
        }
    }

    /// A dump into a list, each key once; read again where it was changed under way.
    ///
    /// The kernel's place in a dump is a number in an order that changes when something is added, and since Linux
    /// 7.1 when the table of services grows: entries move behind the place and are not told, as many others are told
    /// twice, and that is the only sign. Where somebody never stops writing, the last try has to do.
    fn dump<V, K: Eq + Hash>(
        &mut self,
        request: &Request<'_>,
        decode: impl Fn(&[u8]) -> Result<V, DecodeError>,
        key: impl Fn(&V) -> K,
    ) -> Result<Vec<V>, IpvsError> {
        let mut best = None;
        for number in 0..DUMP_TRIES {
            if number > 0 {
                thread::sleep(DUMP_PAUSE);
            }
            let mut found = Vec::new();
            match self.ask(request, |attributes| {
                found.push(decode(attributes)?);
                Ok(())
            }) {
                Ok(()) => {
                    let told = found.len();
                    let mut seen = HashSet::with_capacity(told);
                    found.retain(|value| seen.insert(key(value)));
                    if found.len() == told {
                        return Ok(found);
                    }
                    best = Some(found);
                }
                Err(IpvsError::Changing) => {}
                Err(error) => return Err(error),
            }
        }
        best.ok_or(IpvsError::Changing)
    }

    /// Writes steps in this order; one refusal does not spoil the rest. One outcome a step, in order.
    ///
    /// Where answers are lost, what became of a step is not known: its outcome is a transient refusal, and the table
    /// has to be read again.
    pub fn apply(&mut self, steps: &[Step]) -> Vec<StepOutcome> {
        let results = self.write(steps).into_iter();
        steps
            .iter()
            .zip(results)
            .map(|(step, result)| StepOutcome {
                step: step.clone(),
                result: result.map_err(|refused| refused.refusal),
            })
            .collect()
    }

    /// As [`Client::apply`]: one result a step, with the error number of what was refused.
    pub fn write(&mut self, steps: &[Step]) -> Vec<Result<(), Refused>> {
        let mut results = Vec::with_capacity(steps.len());
        for window in steps.chunks(WINDOW) {
            let requests: Vec<_> = window.iter().map(Request::from).collect();
            results.append(&mut self.send_window(&requests));
        }
        results
    }

    /// Sends one window as one datagram. Only the last request asks for an acknowledgement: the kernel works in
    /// order and reports every refusal, so silence before the last answer means done.
    fn send_window(&mut self, requests: &[Request<'_>]) -> Vec<Result<(), Refused>> {
        let first = self.sequence.wrapping_add(1);
        self.out.clear();
        for (index, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            request.encode(&mut self.out, self.family, self.sequence, index + 1 == requests.len());
        }
        if let Err(error) = self.send() {
            // The kernel has seen nothing of it; a send buffer that somebody made small may hold the half.
            let too_long = matches!(&error, IpvsError::Socket { cause, .. } if is(cause, Errno::EMSGSIZE));
            if too_long && requests.len() > 1 {
                let (front, back) = requests.split_at(requests.len() / 2);
                let mut results = self.send_window(front);
                results.append(&mut self.send_window(back));
                return results;
            }
            let kind = match error.is_transient() {
                true => RefusalKind::Transient,
                false => RefusalKind::Permanent,
            };
            let refused = |request| {
                let message = format!("cannot {}: {error}", explain::what(request));
                Err(Refused {
                    errno: error.errno(),
                    refusal: Refusal { kind, message },
                })
            };
            return requests.iter().map(refused).collect();
        }
        let mut results: Vec<Result<(), Refused>> = vec![Ok(()); requests.len()];
        let mut end = Instant::now() + self.deadline;
        let mut ended = false;
        let mut trouble = None;
        while !ended {
            let received = self.receive(end, |message| {
                let index = message.sequence.wrapping_sub(first) as usize;
                let (Some(request), Body::Ack { errno, text }) = (requests.get(index), message.body) else {
                    return;
                };
                if errno != 0 {
                    let refusal = explain::refusal(request, errno, text.as_deref());
                    results[index] = Err(Refused { errno, refusal });
                }
                ended |= index + 1 == requests.len();
            });
            match received {
                Ok(()) => {}
                // All was carried out; what the buffer still holds are refusals to be told.
                Err(IpvsError::AnswersLost) if trouble.is_none() => {
                    trouble = Some(IpvsError::AnswersLost);
                    end = Instant::now();
                }
                Err(error) => {
                    trouble = trouble.or(Some(error));
                    break;
                }
            }
        }
        if let Some(error) = trouble {
            self.stale = true;
            for (result, request) in results.iter_mut().zip(requests).filter(|(result, _)| result.is_ok()) {
                let message = format!("do not know whether I could {}: {error}", explain::what(request));
                *result = Err(Refused {
                    errno: error.errno(),
                    refusal: Refusal {
                        kind: RefusalKind::Transient,
                        message,
                    },
                });
            }
        }
        results
    }

    /// All services without their destinations, in the kernel's order, each once.
    ///
    /// # Errors
    /// As every call: no answer in time, no privilege, an answer that cannot be understood.
    pub fn services(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        self.dump(&Request::GetServices, decode::service, |service| service.key)
    }

    /// One service without its destinations.
    ///
    /// # Errors
    /// [`IpvsError::Refused`] where there is no such service.
    pub fn service(&mut self, key: &ServiceKey) -> Result<ListedService, IpvsError> {
        let mut found = Err(DecodeError::Missing("service"));
        self.ask(&Request::GetService(*key), |attributes| {
            found = decode::service(attributes);
            Ok(())
        })?;
        Ok(found?)
    }

    /// The destinations of a service with all their figures, in the kernel's order, each once; none where there is no
    /// such service.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<ListedDestination>, IpvsError> {
        let family = key.family();
        let decode = |attributes: &[u8]| decode::destination(attributes, family);
        self.dump(&Request::GetDests(*key), decode, |destination| destination.key)
    }

    /// Version and size of the connection table.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn info(&mut self) -> Result<KernelInfo, IpvsError> {
        let mut found = Err(DecodeError::Missing("version"));
        self.ask(&Request::GetInfo, |attributes| {
            found = decode::info(attributes);
            Ok(())
        })?;
        Ok(found?)
    }

    /// The connection timeouts.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        let mut found = Err(DecodeError::Missing("timeouts"));
        self.ask(&Request::GetConfig, |attributes| {
            found = decode::timeouts(attributes);
            Ok(())
        })?;
        Ok(found?)
    }

    /// Sets the connection timeouts; 0 leaves one as it is.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), IpvsError> {
        self.ask(&Request::SetConfig(*timeouts), |_| Ok(()))
    }

    /// The sync daemons that run, the master first.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, IpvsError> {
        self.dump(&Request::GetDaemons, decode::daemon, |daemon| daemon.role)
    }

    /// Starts a sync daemon.
    ///
    /// # Errors
    /// Where it runs already, the interface is missing or down, or a tunnel mixes address families.
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), IpvsError> {
        self.ask(&Request::NewDaemon(daemon), |_| Ok(()))
    }

    /// Stops a sync daemon.
    ///
    /// The kernel forgets to acknowledge a stop that follows a start at once; so the daemons are read where no answer
    /// comes within a second.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), IpvsError> {
        let deadline = std::mem::replace(&mut self.deadline, Duration::from_secs(1));
        let stopped = self.ask(&Request::DelDaemon(role), |_| Ok(()));
        self.deadline = deadline;
        match stopped {
            Err(IpvsError::NoAnswer(_)) if self.sync_daemons()?.iter().all(|daemon| daemon.role != role) => Ok(()),
            other => other,
        }
    }

    /// Sets the counters of one service, or of all, to zero.
    ///
    /// # Errors
    /// Where there is no such service.
    pub fn zero(&mut self, service: Option<ServiceKey>) -> Result<(), IpvsError> {
        self.ask(&Request::Zero(service), |_| Ok(()))
    }

    /// Removes every service of this network namespace, whoever made it.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn flush(&mut self) -> Result<(), IpvsError> {
        self.ask(&Request::Flush, |_| Ok(()))
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
