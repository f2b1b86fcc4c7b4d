//! One daemon a network namespace.
//!
//! An abstract unix socket says that somebody is there: it belongs to the network namespace and goes with the
//! process, so nothing stale is ever left behind. Whoever finds it taken asks the kernel for the holder's pid.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use socket2::{Domain, SockAddr, Socket, Type};

/// The leading NUL makes it abstract: a name in the network namespace, not a file.
const NAME: &str = "\0ipvsd/director";

/// Proof that this process is the one that manages its network namespace, for as long as it lives.
#[derive(Debug)]
pub struct Instance {
    listener: Socket,
}

impl AsFd for Instance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Why this process cannot be the one.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another process manages this network namespace.
    #[error("ipvsd already runs in this network namespace{} (reload it with `kill -HUP`, or stop it first)", pid_text(*pid))]
    Taken {
        /// The other's process id, where the kernel tells it; a process of another pid namespace has none here.
        pid: Option<i32>,
    },
    /// The socket cannot be made at all.
    #[error("cannot claim this network namespace: {0}")]
    Socket(#[from] io::Error),
}

fn pid_text(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" with pid {pid}")).unwrap_or_default()
}

impl Instance {
    /// The claim that the program before in this process has left open, if it is one.
    pub fn inherited(descriptor: OwnedFd) -> Option<Self> {
        let listener = Socket::from(descriptor);
        let own = SockAddr::unix(NAME).ok()?;
        let is_claim = listener.local_addr().is_ok_and(|address| address == own);
        is_claim.then_some(Self { listener })
    }

    /// Claims the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`InstanceError::Taken`] where another process has it, with that process's pid.
    pub fn claim() -> Result<Self, InstanceError> {
        let address = SockAddr::unix(NAME)?;
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match listener.bind(&address).and_then(|()| listener.listen(libc::SOMAXCONN)) {
            Ok(()) => Ok(Self { listener }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Err(InstanceError::Taken {
                pid: holder_of(&address),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a process manages the network namespace of the calling thread.
pub fn is_running() -> bool {
    match SockAddr::unix(NAME).and_then(|address| call(&address)) {
        Ok(_) => true,
        // Its queue of callers is full.
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// The pid of the process that listens, which the kernel tells whoever connects.
///
/// The holder never takes these calls, so that holding costs it nothing. They queue; once the queue is full (4096, as
/// `net.core.somaxconn` says), the kernel turns callers away at once, for they do not wait, and the pid stays unknown.
fn holder_of(address: &SockAddr) -> Option<i32> {
    let credentials = getsockopt(&call(address).ok()?, PeerCredentials).ok()?;
    Some(credentials.pid()).filter(|pid| *pid > 0)
}

fn call(address: &SockAddr) -> io::Result<Socket> {
    let caller = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    caller.connect(address)?;
    Ok(caller)
}
