//! What can go wrong between this program and the kernel's IPVS.

use std::io;

use nix::errno::Errno;

use super::decode::DecodeError;

/// Why the kernel's IPVS could not be asked or did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum IpvsError {
    /// The kernel has no family `IPVS`: no module, or a kernel built without it.
    #[error(
        "this kernel has no IPVS (load it with `modprobe ip_vs`; cloud and container kernels may lack the module: \
         install the distribution's full kernel, on Debian linux-image-amd64)"
    )]
    NoIpvs,
    /// A netlink socket cannot be opened or used.
    #[error("cannot {action}: {cause}{}", remedy(cause))]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The error.
        cause: io::Error,
    },
    /// The kernel has not answered in time.
    #[error("the kernel has not answered within {0:?} (is a module being loaded, or the machine stalled?)")]
    NoAnswer(std::time::Duration),
    /// The socket's buffer overflowed and answers are lost.
    #[error("answers of the kernel were lost because the socket's buffer overflowed (raise net.core.rmem_max)")]
    AnswersLost,
    /// The kernel refused.
    #[error("{message}")]
    Refused {
        /// The error number.
        errno: i32,
        /// What was tried, why it was refused and the remedy.
        message: String,
    },
    /// An answer cannot be understood.
    #[error("{0} (a kernel newer than this program?)")]
    Decode(#[from] DecodeError),
    /// The table kept changing while it was read.
    #[error("the kernel's table kept changing while it was read (who else is writing it?)")]
    Changing,
    /// `/proc/net/ip_vs` cannot be read.
    #[error("cannot read {path}: {cause}{}", remedy(cause))]
    Proc {
        /// The file.
        path: &'static str,
        /// The error.
        cause: io::Error,
    },
    /// The thread that talks to the kernel has ended.
    #[error("the netlink thread has ended (a bug; please report it)")]
    ThreadEnded,
}

/// What helps against an error of the system, where that is known.
fn remedy(cause: &io::Error) -> &'static str {
    use nix::libc;
    match cause.raw_os_error() {
        Some(libc::ENOENT) => " (is /proc mounted?)",
        Some(libc::EMFILE) => " (raise LimitNOFILE)",
        Some(libc::ENFILE) => " (raise fs.file-max)",
        Some(libc::EPERM | libc::EACCES) => " (run as root, or with CAP_NET_ADMIN)",
        _ => "",
    }
}

impl IpvsError {
    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::AnswersLost | Self::Changing => true,
            Self::Refused { errno, .. } => super::explain::is_transient(*errno),
            Self::Socket { cause, .. } | Self::Proc { cause, .. } => {
                cause.raw_os_error().is_some_and(super::explain::is_transient)
            }
            Self::NoIpvs | Self::Decode(_) | Self::ThreadEnded => false,
        }
    }

    /// The error number that says it best.
    pub fn errno(&self) -> i32 {
        let number = match self {
            Self::Refused { errno, .. } => return *errno,
            Self::Socket { cause, .. } | Self::Proc { cause, .. } => {
                return cause.raw_os_error().unwrap_or(Errno::EIO as i32);
            }
            Self::NoIpvs => Errno::ENOPROTOOPT,
            Self::NoAnswer(_) => Errno::ETIMEDOUT,
            Self::AnswersLost => Errno::ENOBUFS,
            Self::Decode(_) => Errno::EPROTO,
            Self::Changing => Errno::EAGAIN,
            Self::ThreadEnded => Errno::EPIPE,
        };
        number as i32
    }

    /// Whether what was to be created is there already.
    pub fn already_exists(&self) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == Errno::EEXIST as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_that_of_the_cause() {
        let shown = |errno| {
            let (path, cause) = ("/proc/thread-self/net/ip_vs", io::Error::from_raw_os_error(errno));
            IpvsError::Proc { path, cause }.to_string()
        };
        assert!(
            shown(nix::libc::ENOENT).ends_with("(is /proc mounted?)"),
            "{}",
            shown(nix::libc::ENOENT)
        );
        assert!(
            shown(nix::libc::EMFILE).ends_with("(raise LimitNOFILE)"),
            "{}",
            shown(nix::libc::EMFILE)
        );
    }
}
