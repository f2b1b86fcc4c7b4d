//! The packet filter (nf_tables): a table of ours that refuses what is for some of this host's addresses and was not taken
//! by IPVS before.
//!
//! The table is ours alone and is always written whole, in one transaction: no packet ever sees half of it. What others
//! have in the packet filter is neither read nor changed.

pub mod answer;
pub mod batch;
mod expression;
pub mod ruleset;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};

use self::answer::Told;
use self::ruleset::Before;
use super::NetError;

const CAPABILITY: &str = "CAP_NET_ADMIN";
/// The group that is told of every change (`NFNLGRP_NFTABLES`).
const CHANGES: u32 = 7;
/// What the kernel says at once fits in.
const LONGEST: usize = 1 << 16;

/// A socket of the packet filter, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct PacketFilter {
    socket: Socket,
    /// The socket's own number, by which the kernel says who has changed something.
    port: u32,
    /// The number of the next request.
    sequence: u32,
}

impl PacketFilter {
    /// Opens a socket.
    ///
    /// # Errors
    /// [`NetError::NoFilter`] where the kernel has no packet filter, [`NetError::Kernel`].
    pub fn open() -> Result<Self, NetError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            let port = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok((socket, port))
        };
        let (socket, port) = open().map_err(|cause| put_into_words(cause, "open a netfilter socket"))?;
        Ok(Self {
            socket,
            port,
            sequence: 1,
        })
    }

    /// By which [`watch`] knows changes made here.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// From now on nothing is taken that is for one of these addresses and that IPVS leaves to this host, whatever was
    /// refused before; without any address the table goes. `before` is whose table it is that may be there. Blocks for as
    /// long as the kernel takes, where it loads its modules first.
    ///
    /// # Errors
    /// [`NetError::FilterTableInUse`], [`NetError::NoFilter`], [`NetError::NotPermitted`], [`NetError::Kernel`]. Then
    /// everything is as it was.
    pub fn refuse(&mut self, addresses: &BTreeSet<IpAddr>, before: Before) -> Result<(), NetError> {
        let action = match addresses.is_empty() {
            true => "remove the packet filter's table inet ipvsd",
            false => "write the packet filter's table inet ipvsd",
        };
        let batch = ruleset::ruleset(self.sequence, addresses, before);
        let (first, last) = (self.sequence, batch.last());
        self.sequence = last.wrapping_add(2);
        self.exchange(&batch.finish(), first, last)
            .map_err(|cause| match cause.raw_os_error() {
                Some(libc::EEXIST) if before == Before::NotOurs => NetError::FilterTableInUse,
                _ => put_into_words(cause, action),
            })
    }

    /// Sends a batch; the kernel has answered when that is done.
    fn exchange(&self, batch: &[u8], first: u32, last: u32) -> io::Result<()> {
        // A transaction is one datagram. What the system grants anybody is enough for some thousand addresses.
        const GRANTED: usize = 100_000;
        if batch.len() > GRANTED {
            setsockopt(&self.socket, sockopt::SndBufForce, &(2 * batch.len()))?;
        }
        self.socket.send(batch, 0)?;
        loop {
            let mut buffer = Vec::with_capacity(LONGEST);
            self.socket.recv(&mut buffer, libc::MSG_DONTWAIT)?;
            for told in answer::told(&buffer) {
                match told {
                    // An answer to a batch before this one.
                    Told::Answer { sequence, .. } if !(first..=last).contains(&sequence) => {}
                    Told::Answer { errno: 0, sequence } if sequence == last => return Ok(()),
                    Told::Answer { errno: 0, .. } | Told::Change { .. } => {}
                    Told::Answer { errno, .. } => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }
}

/// What whoever watches has noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// Somebody else has changed our table.
    Change,
    /// What was changed before, or just now, is not known: watching has begun, or something told has got lost.
    Unknown,
}

/// Tells whenever somebody else has changed our table, or may have, first of all once it would be noticed. `own` is the
/// port of the socket that changes it here. Returns only where watching is no longer possible.
///
/// # Errors
/// [`NetError::NoFilter`], [`NetError::NotPermitted`], [`NetError::Kernel`].
pub async fn watch(own: u32, mut tell: impl FnMut(Noticed)) -> Result<(), NetError> {
    let problem = |cause| put_into_words(cause, "watch the packet filter");
    let mut socket = TokioSocket::new(NETLINK_NETFILTER).map_err(problem)?;
    socket.socket_mut().bind_auto().map_err(problem)?;
    socket.socket_ref().add_membership(CHANGES).map_err(problem)?;
    tell(Noticed::Unknown);
    let mut buffer = Vec::with_capacity(LONGEST);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer).await {
            Ok(()) => {
                let by_others = |told| matches!(told, Told::Change { port } if port != own);
                if answer::told(&buffer).any(by_others) {
                    tell(Noticed::Change);
                }
            }
            // What was told has got lost.
            Err(cause) if cause.raw_os_error() == Some(libc::ENOBUFS) => tell(Noticed::Unknown),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(problem(cause)),
        }
    }
}

fn put_into_words(cause: io::Error, action: &str) -> NetError {
    match cause.raw_os_error() {
        // No netfilter; no nf_tables; none for both families, or without one of the expressions.
        Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT) => NetError::NoFilter {
            action: action.to_owned(),
            cause,
        },
        _ => NetError::from_io(cause, action.to_owned(), "", CAPABILITY),
    }
}
