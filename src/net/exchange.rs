//! Questions to the kernel over rtnetlink and their answers, one at a time and without a turn of the runtime in between:
//! the kernel works on a question while it is sent, and on a list while it is read.
//!
//! An answer is whole, or an error: what breaks off in the middle is never a short list, nor a change that was made. After
//! that the next question has a new socket, for what is still to come in would be in its way.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, protocols};
use socket2::SockRef;
use tracing::debug;

use super::NetError;

/// How long an answer may be missing after a question was sent. Sending itself takes as long as the kernel has others at
/// work on its interfaces.
const DEADLINE: Duration = Duration::from_secs(5);
const CAPABILITY: &str = "CAP_NET_ADMIN";
/// More than the kernel puts into one datagram.
const LONGEST: usize = 64 << 10;
/// How often a list is read that changes while it is.
const READINGS: u32 = 8;
/// Netlink messages begin at multiples of it (`NLMSG_ALIGNTO`).
const ALIGNED: usize = 4;

/// A route netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Exchange(Mutex<Talk>);

#[derive(Debug)]
struct Talk {
    socket: Socket,
    strict: bool,
    /// An answer was not read to its end.
    broken: bool,
    /// The number of the last question, which its answer carries.
    number: u32,
    buffer: Vec<u8>,
}

/// One message of an answer.
#[derive(Debug)]
pub enum Part {
    /// A thing that was asked for.
    Inner(RouteNetlinkMessage),
    /// Something that is not understood, of a list that may hold anything.
    Unknown,
    /// The answer is whole.
    End,
}

/// What is in one datagram.
#[derive(Debug, Default)]
pub struct Parts {
    /// Its messages, in their order.
    pub parts: Vec<Part>,
    /// The list that they are of has changed while it was made. The kernel says so once, in whatever message comes next.
    pub interrupted: bool,
}

impl Exchange {
    /// Opens one; with `strict` checks the kernel leaves out of a list what was not asked for, and refuses questions that it
    /// does not understand.
    ///
    /// # Errors
    /// [`NetError::Kernel`] where no netlink socket can be had.
    pub(super) fn open(strict: bool) -> Result<Self, NetError> {
        let socket = open(strict).map_err(|cause| NetError::Kernel {
            action: "open a route netlink socket".to_owned(),
            cause,
        })?;
        Ok(Self(Mutex::new(Talk {
            socket,
            strict,
            broken: false,
            number: 0,
            buffer: vec![0; LONGEST],
        })))
    }

    /// Has something changed and waits until it is; `flags` are those beside `NLM_F_REQUEST` and `NLM_F_ACK`.
    ///
    /// # Errors
    /// What the kernel has against it, in the words of [`NetError::from_io`]; [`NetError::NoAnswer`].
    pub(super) fn change(
        &self,
        action: &str,
        device: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetError> {
        let changed = self.with(|talk| {
            talk.ask(message, NLM_F_ACK | flags)?;
            while !matches!(talk.read()?.parts.last(), Some(Part::End)) {}
            Ok(())
        });
        changed.map_err(|cause| in_words(cause, action, device))
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// As [`Exchange::change`].
    pub(super) fn one(
        &self,
        action: &str,
        device: &str,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, NetError> {
        let found = self.with(|talk| {
            talk.ask(message, 0)?;
            match talk.read()?.parts.pop() {
                Some(Part::Inner(found)) => Ok(found),
                Some(Part::Unknown | Part::End) | None => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the kernel's answer is not understood",
                )),
            }
        });
        found.map_err(|cause| in_words(cause, action, device))
    }

    /// Asks for a list. What is not understood is not in it.
    ///
    /// # Errors
    /// As [`Exchange::change`]; also where it changes each time it is read.
    pub(super) fn list(
        &self,
        action: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetError> {
        let listed = self.with(|talk| {
            for _ in 0..READINGS {
                if let Some(found) = talk.list(message.clone())? {
                    return Ok(found);
                }
            }
            Err(io::Error::other(format!(
                "it has changed {READINGS} times while it was read"
            )))
        });
        listed.map_err(|cause| in_words(cause, action, ""))
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Talk) -> io::Result<T>) -> io::Result<T> {
        let mut talk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without descriptors the old one may still do.
        if talk.broken
            && let Ok(socket) = open(talk.strict)
        {
            (talk.socket, talk.broken) = (socket, false);
        }
        ask(&mut talk)
    }
}

fn open(strict: bool) -> io::Result<Socket> {
    let socket = Socket::new(protocols::NETLINK_ROUTE)?;
    SockRef::from(&socket).set_read_timeout(Some(DEADLINE))?;
    if strict {
        socket.set_netlink_get_strict_chk(true)?;
    }
    Ok(socket)
}

impl Talk {
    fn ask(&mut self, question: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.number = self.number.wrapping_add(1);
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.number;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// `None` where it has changed meanwhile.
    fn list(&mut self, question: RouteNetlinkMessage) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        self.ask(question, NLM_F_DUMP)?;
        let (mut found, mut changed) = (Vec::new(), false);
        loop {
            let Parts { parts, interrupted } = self.read()?;
            changed |= interrupted;
            for part in parts {
                match part {
                    Part::Inner(message) => found.push(message),
                    Part::Unknown => {}
                    Part::End => return Ok((!changed).then_some(found)),
                }
            }
        }
    }

    /// The next datagram of the answer to the last question.
    fn read(&mut self) -> io::Result<Parts> {
        loop {
            let length = match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.broken = true;
                    return Err(match error.kind() {
                        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                        _ => error,
                    });
                }
                Ok(length) => length,
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            match parts(datagram, self.number) {
                Ok(Some(parts)) => return Ok(parts),
                // It answers a question whose time was over.
                Ok(None) => {}
                Err(error) => {
                    // The kernel's own errors are whole answers.
                    self.broken |= error.raw_os_error().is_none();
                    return Err(error);
                }
            }
        }
    }
}

/// The messages of a datagram; `None` where they answer another question than the one with this number.
///
/// # Errors
/// The kernel's own, as an OS error; `InvalidData` where the datagram cannot be taken apart.
pub fn parts(mut datagram: &[u8], number: u32) -> io::Result<Option<Parts>> {
    let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut found = Parts::default();
    while !datagram.is_empty() {
        let message = NetlinkBuffer::new_checked(datagram).map_err(broken)?;
        let length = message.length() as usize;
        if message.sequence_number() != number {
            return Ok(None);
        }
        found.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        let bytes = datagram.get(..length).unwrap_or_default();
        found.parts.push(part(bytes)?);
        datagram = datagram.get(length.next_multiple_of(ALIGNED)..).unwrap_or_default();
    }
    Ok(Some(found))
}

fn part(message: &[u8]) -> io::Result<Part> {
    let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
        Ok(message) => message,
        Err(error) => {
            debug!("a message of the kernel's is not understood: {error}");
            return Ok(Part::Unknown);
        }
    };
    match message.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Part::Inner(message)),
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        // A list that could not be made to its end says so there.
        NetlinkPayload::Done(done) if done.code < 0 => Err(io::Error::from_raw_os_error(done.code.saturating_neg())),
        NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => Ok(Part::End),
        NetlinkPayload::Overrun(_) => Err(io::Error::other("messages of the kernel were lost")),
        _ => Ok(Part::Unknown),
    }
}

fn in_words(cause: io::Error, action: &str, device: &str) -> NetError {
    match cause.kind() {
        io::ErrorKind::TimedOut if cause.raw_os_error().is_none() => NetError::NoAnswer {
            action: action.to_owned(),
            seconds: DEADLINE.as_secs(),
        },
        _ => NetError::from_io(cause, action.to_owned(), device, CAPABILITY),
    }
}

#[cfg(test)]
mod tests;
