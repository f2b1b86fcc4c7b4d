//! Which network namespace this thread is in.
//!
//! Namespaces of one host share `/run`, so what is kept there is keyed by namespace. Inode numbers come again when a
//! namespace is gone; its cookie (`SO_NETNS_COOKIE`, Linux 5.14) never does while the host is up.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::libc;
use nix::sys::socket::sockopt::GetStruct;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::NetError;

/// `SO_NETNS_COOKIE` of include/uapi/asm-generic/socket.h.
const SO_NETNS_COOKIE: libc::c_int = 71;

#[derive(Clone, Copy)]
struct NamespaceCookie;
nix::getsockopt_impl!(NamespaceCookie, libc::SOL_SOCKET, SO_NETNS_COOKIE, u64, GetStruct<u64>);

/// One network namespace during one boot of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceId {
    /// The inode of `/proc/thread-self/ns/net`: distinct among the namespaces that are there at one time.
    pub inode: u64,
    /// The kernel's own number of it, never given twice during a boot; `None` before Linux 5.14.
    pub cookie: Option<u64>,
    /// Which boot of the host.
    pub boot: String,
}

/// The network namespace of the calling thread.
///
/// # Errors
/// [`NetError::Kernel`] where `/proc` is not mounted or no socket can be had.
pub fn current() -> Result<NamespaceId, NetError> {
    let explain = |cause: io::Error| NetError::Kernel {
        action: "tell which network namespace this is (is /proc mounted?)".to_owned(),
        cause,
    };
    let inode = fs::metadata("/proc/thread-self/ns/net").map_err(explain)?.ino();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(explain)?;
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(explain)?;
    Ok(NamespaceId {
        inode,
        cookie: nix::sys::socket::getsockopt(&socket, NamespaceCookie).ok(),
        boot: boot.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

    #[test]
    fn the_same_thread_is_in_the_same_namespace() {
        let id = super::current().unwrap();
        assert_ne!(id.inode, 0);
        assert_eq!(id, super::current().unwrap());
    }
}
