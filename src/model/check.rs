//! Checks: what to probe, when, and what a probe found.

use std::fmt;
use std::time::Duration;

/// One check of a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// Its name in the configuration, or the probe's type where it has none.
    pub name: String,
    /// What is tried.
    pub probe: ProbeKind,
    /// The port it connects to; `None` for the real server's own.
    pub port: Option<u16>,
    /// From one probe's start to the next one's, while nothing changes.
    pub interval: Duration,
    /// From one probe's start to the next one's, while a verdict is being reached.
    pub retry_interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that bring a server up.
    pub rise: u32,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// What holds before the first verdict.
    pub initial: Initial,
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// A TCP connection is opened and closed (keepalived's `TCP_CHECK`).
    Tcp,
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
        }
    }
}

/// What holds for a server before its check has reached a verdict.
///
/// In every mode a failed first probe is a verdict at once: one failure is enough for a server that was never seen up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initial {
    /// It serves from the start (keepalived without `alpha`).
    Up,
    /// It stays out until `rise` probes in a row have succeeded (keepalived's `alpha`).
    Down,
    /// The first result decides; until then the kernel's table is left as found.
    #[default]
    FirstResult,
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The server answered as it should.
    Success,
    /// The server is at fault.
    Failure(FailureCause),
    /// This host is at fault: no verdict about the server.
    Local(LocalTrouble),
}

/// How a server failed a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCause {
    /// Nobody listens on the port.
    Refused,
    /// No answer within the check's timeout.
    TimedOut,
    /// The connection was reset.
    Reset,
    /// The network says that the host cannot be reached.
    HostUnreachable,
    /// The network says that there is no way to it.
    NetworkUnreachable,
    /// Another error of `connect(2)`, by its number.
    Errno(i32),
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Reset => f.write_str("connection reset"),
            Self::HostUnreachable => f.write_str("host unreachable"),
            Self::NetworkUnreachable => f.write_str("network unreachable"),
            Self::Errno(number) => write!(f, "errno {number}"),
        }
    }
}

/// Trouble on this host that kept a probe from saying anything about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalTrouble {
    /// No file descriptor left in the process or the system (`EMFILE`, `ENFILE`).
    FileDescriptors,
    /// No local port left (`EADDRNOTAVAIL`, `EADDRINUSE`).
    LocalPorts,
    /// No memory or buffer space (`ENOMEM`, `ENOBUFS`).
    Memory,
    /// Forbidden here (`EPERM`, `EACCES`), for example by a local packet filter.
    Forbidden,
    /// This host's own interface towards the server is down or has no carrier.
    InterfaceDown,
    /// The probe was started or its timer ran so late that a time-out means nothing.
    LateTimer,
}

impl LocalTrouble {
    /// Whether it keeps many probes at once from running, so that it need not be told of each server.
    pub fn is_of_the_whole_host(self) -> bool {
        match self {
            Self::FileDescriptors | Self::LocalPorts | Self::Memory | Self::InterfaceDown | Self::LateTimer => true,
            Self::Forbidden => false,
        }
    }
}

impl fmt::Display for LocalTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileDescriptors => "out of file descriptors (raise LimitNOFILE)",
            Self::LocalPorts => "out of local ports (widen net.ipv4.ip_local_port_range)",
            Self::Memory => "out of buffer memory",
            Self::Forbidden => "forbidden on this host (a packet filter on the way out?)",
            Self::InterfaceDown => "own interface is down (`ip link` shows which)",
            Self::LateTimer => "this host was too busy to keep the time",
        })
    }
}
