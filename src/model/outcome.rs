//! What a probe found: its outcome, how long it took, and the causes of failures in words.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::Advice;

/// Everything one probe came back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The verdict on this one try.
    pub outcome: ProbeOutcome,
    /// From the probe's start to its end.
    pub latency: Duration,
    /// Something that is no failure yet.
    pub warning: Option<ProbeWarning>,
    /// What was advised about the server's weight and state; the advised number of connections is not followed.
    pub advice: Option<Advice>,
}

impl From<ProbeOutcome> for ProbeResult {
    fn from(outcome: ProbeOutcome) -> Self {
        Self {
            outcome,
            latency: Duration::ZERO,
            warning: None,
            advice: None,
        }
    }
}

/// The verdict of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The server answered as it should.
    Success,
    /// The server is at fault.
    Failure(FailureCause),
    /// The server is well and asks for no new connections, for as long as it goes on to say so.
    Drain(FailureCause),
    /// Nobody said anything about the server, as when an agent is not there.
    NoVerdict(FailureCause),
    /// This host is at fault: no verdict about the server.
    Local(LocalTrouble),
}

/// Something an operator should see to before it becomes a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeWarning {
    /// The server's certificate ends soon: after so many whole days.
    CertificateExpires {
        /// Days that are left.
        days: u64,
    },
    /// The server's certificate has ended, and the check does not verify it.
    CertificateExpired,
}

impl fmt::Display for ProbeWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateExpires { days: 1 } => f.write_str("the certificate expires in 1 day"),
            Self::CertificateExpires { days } => write!(f, "the certificate expires in {days} days"),
            Self::CertificateExpired => f.write_str("the certificate has expired"),
        }
    }
}

/// How a server failed a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureCause {
    /// Nobody listens on the port.
    Refused,
    /// No connection within the check's timeout.
    TimedOut,
    /// The connection was reset.
    Reset,
    /// The network says that the host cannot be reached.
    HostUnreachable,
    /// The network says that there is no way to it.
    NetworkUnreachable,
    /// Another error of the system, by its number.
    Errno(i32),
    /// The server took the connection and then kept silent for the rest of the timeout.
    Stalled(Stage),
    /// The server closed the connection where it had to say something.
    Closed(Stage),
    /// The server said something else than it should.
    Unexpected {
        /// What it was about, for example `answer` or `status`.
        what: &'static str,
        /// What had been expected.
        wanted: Excerpt,
        /// What came.
        got: Excerpt,
    },
    /// The server's answer is not of the protocol.
    Malformed {
        /// The protocol.
        protocol: &'static str,
        /// What is wrong with the answer.
        why: Cow<'static, str>,
    },
    /// No TLS connection came about, or the certificate is not good.
    Tls(Cow<'static, str>),
    /// A server, or somebody who watches it, says itself that it must not be used.
    Said(Excerpt),
    /// The server does not let this host in, in its own words.
    Denied(Excerpt),
    /// A script ended with another status than 0.
    Exit {
        /// The status.
        code: i32,
        /// The first line of its output.
        said: Excerpt,
    },
    /// A script was ended by a signal.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// It is the other director that has found so, in its words.
    Peer(Box<str>),
    /// The watched file is not there.
    NoFile,
    /// The answer is longer than a probe reads.
    TooLong {
        /// Which.
        what: Stage,
        /// The most that is read, in bytes.
        limit: usize,
    },
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
            Self::Stalled(stage) => write!(f, "no answer in time: {stage} is missing"),
            Self::Closed(stage) => write!(f, "connection closed: {stage} is missing"),
            Self::Unexpected { what, wanted, got } => write!(f, "{what} is {got}, not {wanted}"),
            Self::Malformed { protocol, why } => write!(f, "the answer is no {protocol}: {why}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Said(words) => write!(f, "it says {words}"),
            Self::Denied(words) => write!(f, "refused: {words}"),
            Self::Exit { code, said } => write!(f, "exit status {code}, saying {said}"),
            Self::Killed { signal } => write!(f, "killed by signal {signal}"),
            Self::Peer(why) => write!(f, "the peer says: {why}"),
            Self::NoFile => f.write_str("the file is not there"),
            Self::TooLong { what, limit } => write!(f, "{what} is longer than {limit} bytes"),
        }
    }
}

/// What a server owes next, once it has taken a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The end of the connection's set-up.
    Connection,
    /// The end of the TLS handshake.
    TlsHandshake,
    /// An answer to what was sent, or what it has to say unasked.
    Answer,
    /// The status and the headers of an HTTP answer.
    Headers,
    /// The body of an HTTP answer.
    Body,
    /// What a server says before it is asked.
    Greeting,
    /// The answer to a login.
    Login,
    /// The answer to a query.
    Query,
    /// The echo of a ping.
    Echo,
    /// The end of a script.
    Exit,
    /// The content of a file.
    File,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "the connection",
            Self::TlsHandshake => "the end of the TLS handshake",
            Self::Answer => "the expected answer",
            Self::Headers => "the status line and headers",
            Self::Body => "the end of the body",
            Self::Greeting => "the greeting",
            Self::Login => "the answer to the login",
            Self::Query => "the answer to the query",
            Self::Echo => "the echo",
            Self::Exit => "the end of the script",
            Self::File => "the file's content",
        })
    }
}

/// A few words of a server, fit for one line of a log: at most 60 characters, nothing that a terminal would obey.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    const LONGEST: usize = 60;

    /// What to show of these bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        // A character has at most four bytes.
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(Self::LONGEST * 4)]);
        let shown: String = text.chars().take(Self::LONGEST).flat_map(char::escape_debug).collect();
        let cut = text.chars().nth(Self::LONGEST).is_some() || bytes.len() > Self::LONGEST * 4;
        let dots = if cut { "..." } else { "" };
        Self(format!("\"{shown}{dots}\"").into())
    }

    /// Words of our own, shown as they are.
    pub fn words(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Trouble on this host that kept a probe from saying anything about the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    /// This host itself has no route to the address (`ENETUNREACH` before a packet was sent).
    NoRoute,
    /// The check's `source_address` is not on this host.
    SourceAddress,
    /// The check's `device` is not there.
    Device,
    /// Something that the check needs on this host is not there or not usable.
    Setup(Box<str>),
    /// The probe was started or its timer ran so late that a time-out means nothing.
    LateTimer,
}

impl LocalTrouble {
    /// One word for it, for counters; it stays the same.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FileDescriptors => "file_descriptors",
            Self::LocalPorts => "local_ports",
            Self::Memory => "memory",
            Self::Forbidden => "forbidden",
            Self::InterfaceDown => "interface_down",
            Self::NoRoute => "no_route",
            Self::SourceAddress => "source_address",
            Self::Device => "device",
            Self::Setup(_) => "setup",
            Self::LateTimer => "late_timer",
        }
    }

    /// Whether it goes away when an own interface works again.
    pub fn is_of_an_interface(&self) -> bool {
        match self {
            Self::InterfaceDown | Self::NoRoute | Self::SourceAddress | Self::Device => true,
            Self::FileDescriptors
            | Self::LocalPorts
            | Self::Memory
            | Self::Forbidden
            | Self::Setup(_)
            | Self::LateTimer => false,
        }
    }

    /// Whether it keeps many probes at once from running, so that it need not be told of each server.
    pub fn is_of_the_whole_host(&self) -> bool {
        match self {
            Self::FileDescriptors | Self::LocalPorts | Self::Memory | Self::InterfaceDown | Self::LateTimer => true,
            Self::Forbidden | Self::NoRoute | Self::SourceAddress | Self::Device | Self::Setup(_) => false,
        }
    }
}

impl fmt::Display for LocalTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::FileDescriptors => "out of file descriptors (raise LimitNOFILE)",
            Self::LocalPorts => "out of local ports (widen net.ipv4.ip_local_port_range)",
            Self::Memory => "out of buffer memory",
            Self::Forbidden => "forbidden on this host (a packet filter on the way out, or a missing capability?)",
            Self::InterfaceDown => "own interface is down (`ip link` shows which)",
            Self::NoRoute => "no route from this host (is an own interface down?)",
            Self::SourceAddress => "the check's source_address is not on this host",
            Self::Device => "the check's device is not on this host",
            Self::Setup(why) => return write!(f, "the check cannot be carried out: {why}"),
            Self::LateTimer => "this host was too busy to keep the time",
        };
        f.write_str(words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(Excerpt::of("-ERR\r\n").to_string(), r#""-ERR\r\n""#);
        assert_eq!(
            Excerpt::of("x".repeat(61)).to_string(),
            format!("\"{}...\"", "x".repeat(60))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_server_reach_a_terminal_as_commands(bytes: Vec<u8>) {
            let shown = Excerpt::of(bytes).to_string();
            prop_assert!(shown.chars().all(|letter| !letter.is_control()));
            prop_assert!(shown.len() < 60 * 12);
        }
    }
}
