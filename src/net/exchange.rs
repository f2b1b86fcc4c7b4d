//! Questions to the kernel over rtnetlink and their answers, one at a time and without a turn of the runtime in between:
//! the kernel works while it is asked, and has answered when it was.
//!
//! An answer is whole, or an error: a socket that breaks in the middle is never an empty list, nor a change that was made.

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

/// How long the kernel may take for one answer.
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
    /// The answer is whole; `true` where a list has changed while it was read.
    End(bool),
}

impl Exchange {
    /// Opens one; with `strict` checks the kernel leaves out of a list what was not asked for, and refuses questions that it
    /// does not understand.
    ///
    /// # Errors
    /// [`NetError::Kernel`] where no netlink socket can be had.
    pub(super) fn open(strict: bool) -> Result<Self, NetError> {
        let open = || {
            let socket = Socket::new(protocols::NETLINK_ROUTE)?;
            SockRef::from(&socket).set_read_timeout(Some(DEADLINE))?;
            if strict {
                socket.set_netlink_get_strict_chk(true)?;
            }
            Ok(socket)
        };
        let socket = open().map_err(|cause| NetError::Kernel {
            action: "open a route netlink socket".to_owned(),
            cause,
        })?;
        let buffer = vec![0; LONGEST];
        Ok(Self(Mutex::new(Talk {
            socket,
            number: 0,
            buffer,
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
            while !matches!(talk.read()?.last(), Some(Part::End(_))) {}
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
            let unread = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not understood");
            match talk.read()?.pop() {
                Some(Part::Inner(found)) => Ok(found),
                Some(Part::Unknown | Part::End(_)) | None => Err(unread()),
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

    fn with<T>(&self, talk: impl FnOnce(&mut Talk) -> io::Result<T>) -> io::Result<T> {
        talk(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
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
            for part in self.read()? {
                match part {
                    Part::Inner(message) => found.push(message),
                    Part::Unknown => {}
                    Part::End(interrupted) => {
                        changed |= interrupted;
                        return Ok((!changed).then_some(found));
                    }
                }
            }
        }
    }

    /// The next datagram of the answer to the last question.
    fn read(&mut self) -> io::Result<Vec<Part>> {
        loop {
            let length = match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            // Else it answers a question whose time was over.
            if let Some(parts) = parts(datagram, self.number)? {
                return Ok(parts);
            }
        }
    }
}

/// The messages of a datagram; `None` where they answer another question than the one with this number.
///
/// # Errors
/// The kernel's own, as an OS error; `InvalidData` where the datagram cannot be taken apart.
pub fn parts(mut datagram: &[u8], number: u32) -> io::Result<Option<Vec<Part>>> {
    let broken = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut parts = Vec::new();
    while !datagram.is_empty() {
        let message = NetlinkBuffer::new_checked(datagram).map_err(broken)?;
        let length = message.length() as usize;
        if message.sequence_number() != number {
            return Ok(None);
        }
        let interrupted = message.flags() & NLM_F_DUMP_INTR != 0;
        let bytes = datagram.get(..length).unwrap_or_default();
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => parts.push(Part::Inner(message)),
            Ok(NetlinkPayload::Done(_)) => parts.push(Part::End(interrupted)),
            Ok(NetlinkPayload::Error(error)) => match error.code {
                Some(_) => return Err(error.to_io()),
                None => parts.push(Part::End(interrupted)),
            },
            Ok(NetlinkPayload::Overrun(_)) => return Err(io::Error::other("messages of the kernel were lost")),
            Ok(_) => parts.push(Part::Unknown),
            Err(error) => {
                debug!("a message of the kernel's is not understood: {error}");
                parts.push(Part::Unknown);
            }
        }
        datagram = datagram.get(length.next_multiple_of(ALIGNED)..).unwrap_or_default();
    }
    Ok(Some(parts))
}

fn in_words(cause: io::Error, action: &str, device: &str) -> NetError {
    match cause.kind() {
        io::ErrorKind::WouldBlock => NetError::NoAnswer {
            action: action.to_owned(),
            seconds: DEADLINE.as_secs(),
        },
        _ => NetError::from_io(cause, action.to_owned(), device, CAPABILITY),
    }
}

#[cfg(test)]
mod tests;
