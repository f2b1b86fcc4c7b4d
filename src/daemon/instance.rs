//! One daemon a network namespace.
//!
//! An abstract unix socket says that somebody is there: it belongs to the network namespace and goes with the
//! process, so nothing stale is ever left behind. Whoever finds it taken asks the kernel for the holder's pid.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

const NAME: &[u8] = b"ipvsd/director";

/// Proof that this process is the one that manages its network namespace, for as long as it lives.
#[derive(Debug)]
pub struct Instance {
    _listener: UnixListener,
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
    Socket(#[from] std::io::Error),
}

fn pid_text(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" with pid {pid}")).unwrap_or_default()
}

impl Instance {
    /// Claims the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`InstanceError::Taken`] where another process has it, with that process's pid.
    pub fn claim() -> Result<Self, InstanceError> {
        let address = SocketAddr::from_abstract_name(NAME)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => {
                hang_up_on_callers(listener.try_clone()?)?;
                Ok(Self { _listener: listener })
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(InstanceError::Taken {
                pid: holder_of(&address),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whoever asks for the pid connects and leaves; unless somebody takes the connections, the queue is full one day and
/// the next one who asks waits for ever.
fn hang_up_on_callers(listener: UnixListener) -> std::io::Result<()> {
    let hang_up = move || {
        for caller in listener.incoming() {
            if caller.is_err() {
                // Without a free descriptor the call stays in the queue and is refused again at once.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    };
    std::thread::Builder::new()
        .name("instance".to_owned())
        .spawn(hang_up)
        .map(drop)
}

fn holder_of(address: &SocketAddr) -> Option<i32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    let credentials = getsockopt(&stream, PeerCredentials).ok()?;
    Some(credentials.pid()).filter(|pid| *pid > 0)
}
