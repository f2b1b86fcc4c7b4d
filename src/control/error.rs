//! What keeps a verb from talking to the daemon.

use std::io;
use std::path::PathBuf;

/// Why the daemon was not asked, or its answer not understood.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("nobody listens on {}", path.display())]
    NotRunning {
        /// The socket that was looked for.
        path: PathBuf,
    },
    /// The socket is there and this user may not write to it.
    #[error(
        "permission denied on {} (run it as root, or as a member of the group that the configuration allows: \
         [control] group = \"...\")",
        path.display()
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon took the request and did not answer in time.
    #[error("the daemon has not answered for {seconds} s (is it stopped, or very busy? its log may say)")]
    TimedOut {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The daemon went away in the midst of it.
    #[error("the daemon hung up without an answer (has it been stopped? its log may say)")]
    HungUp,
    /// An answer that is none of this version's.
    #[error("the daemon's answer cannot be read: {0} (is it of another version? restart it, or use its own `ipvsd`)")]
    Unreadable(String),
    /// Anything else.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}
