//! A kernel that is played, and what goes wrong on the way to it and back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::tests::{acknowledged, data, done, interrupted};
use super::super::*;
use crate::ipvs::encode::{GENERIC_HEADER, HEADER};
use crate::model::{DestinationKey, DestinationSpec, Family, Scheduler, ServiceSpec};

const FAMILY: u16 = 28;
pub(super) const SERVICES: u16 = 4;
pub(super) const DESTINATIONS: u8 = 5;
/// Messages of a dump in one datagram.
const TOLD_AT_ONCE: usize = 3;

pub(super) type Table = BTreeMap<ServiceKey, (ServiceSpec, BTreeMap<DestinationKey, DestinationSpec>)>;

pub(super) fn service(number: u16) -> ServiceKey {
    format!("tcp 192.0.2.200:{}", 80 + number).parse().unwrap()
}

pub(super) fn destination(number: u8) -> DestinationKey {
    format!("198.18.0.{number}:80").parse().unwrap()
}

pub(super) fn spec(scheduler: Scheduler) -> ServiceSpec {
    ServiceSpec::new(scheduler, Family::Inet)
}

/// What goes wrong with one datagram of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Well,
    /// The system call fails, and the kernel has seen nothing.
    Fails(Errno),
    /// The kernel refuses one of the requests, and carries the others out.
    Refuses(usize, Errno),
    /// The socket's buffer takes so many answers and no more.
    Overflows(usize),
    /// The answers come after the client has given up.
    Late,
    /// A dump is said to have been interrupted.
    Interrupted,
}

/// What goes wrong with one datagram of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiving {
    Well,
    /// Nothing comes in time, though more is queued.
    Nothing,
    /// The system call fails, and the answer is still queued.
    Fails(Errno),
    /// The datagram does not fit, and is gone.
    TooLong,
    /// The datagram ends within a message, so many bytes before the end of one. A datagram that ends between two
    /// cannot be told from a whole one, and the kernel makes none: what does not fit is said to be too long.
    Short(usize),
    /// Something else comes before it.
    Garbage(u8),
    /// It comes twice.
    Twice,
}

/// A kernel with a table, and what goes wrong on the way to it and back.
pub(super) struct Faulty {
    pub(super) table: Table,
    queue: VecDeque<Vec<u8>>,
    held_back: Vec<Vec<u8>>,
    overflown: bool,
    pub(super) sending: VecDeque<Sending>,
    pub(super) receiving: VecDeque<Receiving>,
    /// The sequence numbers of the requests that were carried out.
    pub(super) carried_out: BTreeSet<u32>,
}

impl Faulty {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
            queue: VecDeque::new(),
            held_back: Vec::new(),
            overflown: false,
            sending: VecDeque::new(),
            receiving: VecDeque::new(),
            carried_out: BTreeSet::new(),
        }
    }

    /// Answers one request of the family IPVS.
    fn answer(&mut self, request: &[u8], refused: Option<Errno>, is_interrupted: bool) -> Vec<Vec<u8>> {
        let flags = u16::from_ne_bytes(request[6..8].try_into().unwrap());
        let sequence = u32::from_ne_bytes(request[8..12].try_into().unwrap());
        let (command, attributes) = (request[HEADER], &request[HEADER + GENERIC_HEADER..]);
        let told: Vec<Vec<u8>> = match command {
            4 => {
                let services = self.table.iter();
                services
                    .map(|(key, (spec, _))| told(&Request::NewService(*key, spec), sequence))
                    .collect()
            }
            8 => {
                let key = service_in(attributes);
                let destinations = self.table.get(&key).into_iter().flat_map(|(_, found)| found);
                destinations
                    .map(|(destination, spec)| told(&Request::NewDest(key, *destination, spec), sequence))
                    .collect()
            }
            _ => {
                let outcome = match refused {
                    Some(errno) => Err(errno),
                    None => self.carry_out(command, attributes),
                };
                if outcome.is_ok() {
                    self.carried_out.insert(sequence);
                }
                return match outcome {
                    Err(errno) => vec![acknowledged(sequence, errno as i32)],
                    Ok(()) if flags & 4 != 0 => vec![acknowledged(sequence, 0)],
                    Ok(()) => Vec::new(),
                };
            }
        };
        if let Some(errno) = refused {
            return vec![acknowledged(sequence, errno as i32)];
        }
        let end = match is_interrupted {
            true => interrupted(done(sequence, 0)),
            false => done(sequence, 0),
        };
        let mut datagrams: Vec<_> = told.chunks(TOLD_AT_ONCE).map(<[_]>::concat).collect();
        datagrams.push(end);
        datagrams
    }

    fn carry_out(&mut self, command: u8, attributes: &[u8]) -> Result<(), Errno> {
        let key = service_in(attributes);
        let full = |attributes| decode::service(attributes).unwrap().spec;
        match command {
            1 if self.table.contains_key(&key) => return Err(Errno::EEXIST),
            1 => {
                self.table.insert(key, (full(attributes), BTreeMap::new()));
                return Ok(());
            }
            _ => {}
        }
        let (spec, destinations) = self.table.get_mut(&key).ok_or(Errno::ESRCH)?;
        match command {
            2 => *spec = full(attributes),
            3 => drop(self.table.remove(&key)),
            7 => {
                let named = (0..=u8::MAX).map(destination).find(|key| names(attributes, key));
                destinations.remove(&named.unwrap()).ok_or(Errno::ENOENT)?;
            }
            5 | 6 => {
                let found = decode::destination(attributes, Family::Inet).unwrap();
                match (command, destinations.contains_key(&found.key)) {
                    (5, true) => return Err(Errno::EEXIST),
                    (6, false) => return Err(Errno::ENOENT),
                    _ => drop(destinations.insert(found.key, found.spec)),
                }
            }
            other => unreachable!("nobody sends {other}"),
        }
        Ok(())
    }
}

/// The service that the attributes of a request name.
fn service_in(attributes: &[u8]) -> ServiceKey {
    let is_named = |key: &ServiceKey| {
        let mut nest = Vec::new();
        encode::service(&mut nest, key, None);
        // Past the length, which is another one where the settings follow.
        attributes[2..].starts_with(&nest[2..])
    };
    (0..SERVICES).map(service).find(is_named).unwrap()
}

/// Whether the attributes of a request end with this destination's key.
fn names(attributes: &[u8], key: &DestinationKey) -> bool {
    let mut nest = Vec::new();
    encode::destination_nest(&mut nest, key, None);
    attributes.ends_with(&nest)
}

pub(super) fn told(request: &Request<'_>, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out, FAMILY, sequence, false);
    out
}

impl Transport for Faulty {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if u16::from_ne_bytes(datagram[4..6].try_into().unwrap()) == 16 {
            let sequence = u32::from_ne_bytes(datagram[8..12].try_into().unwrap());
            let mut attributes = vec![6, 0, 1, 0];
            attributes.extend_from_slice(&FAMILY.to_ne_bytes());
            attributes.extend_from_slice(&[0; 2]);
            self.queue.push_back(data(sequence, &attributes));
            self.queue.push_back(acknowledged(sequence, 0));
            return Ok(());
        }
        let fault = self.sending.pop_front().unwrap_or(Sending::Well);
        if let Sending::Fails(errno) = fault {
            return Err(errno.into());
        }
        let mut rest = datagram;
        let (mut answers, mut number) = (Vec::new(), 0);
        let count = datagram.len();
        while !rest.is_empty() {
            let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            let refused = match fault {
                Sending::Refuses(which, errno) if which % (count / length).max(1) == number => Some(errno),
                _ => None,
            };
            answers.extend(self.answer(&rest[..length], refused, fault == Sending::Interrupted));
            rest = &rest[length..];
            number += 1;
        }
        match fault {
            Sending::Overflows(room) => {
                self.overflown |= answers.len() > room;
                answers.truncate(room);
                self.queue.extend(answers);
            }
            Sending::Late => self.held_back.extend(answers),
            _ => self.queue.extend(answers),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _: Instant) -> io::Result<Option<usize>> {
        if std::mem::take(&mut self.overflown) {
            return Err(Errno::ENOBUFS.into());
        }
        let fault = self.receiving.pop_front().unwrap_or(Receiving::Well);
        match fault {
            Receiving::Nothing => return Ok(None),
            Receiving::Fails(errno) => return Err(errno.into()),
            Receiving::Garbage(byte) => {
                let garbage = [byte; 21];
                buffer[..garbage.len()].copy_from_slice(&garbage);
                return Ok(Some(garbage.len()));
            }
            _ => {}
        }
        let Some(answer) = self.queue.pop_front() else {
            // What was late comes when nobody waits for it any more.
            self.queue.extend(self.held_back.drain(..));
            return Ok(None);
        };
        let mut length = answer.len();
        match fault {
            Receiving::TooLong => return Err(Errno::EMSGSIZE.into()),
            Receiving::Short(missing) => {
                let first = u32::from_ne_bytes(answer[..4].try_into().unwrap()) as usize;
                length = first - (1 + missing % (first - 1));
            }
            Receiving::Twice => self.queue.push_front(answer.clone()),
            _ => {}
        }
        buffer[..length].copy_from_slice(&answer[..length]);
        Ok(Some(length))
    }
}
