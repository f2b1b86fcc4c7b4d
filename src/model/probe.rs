//! Probes: what is tried on a real server, with its settings.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{
    DnsProbe, GrpcProbe, HttpProbe, LdapProbe, MysqlProbe, Pattern, PostgresqlProbe, RedisProbe, SmtpProbe, TlsProbe,
    UdpProbe,
};

/// What is tried, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// What is tried.
    pub kind: ProbeKind,
    /// From where.
    pub origin: Origin,
}

impl ProbeSpec {
    /// A probe without any setting about where it comes from.
    pub fn new(kind: ProbeKind) -> Self {
        Self {
            kind,
            origin: Origin::default(),
        }
    }
}

/// From where a probe connects; the kernel chooses what is not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The source address.
    pub address: Option<IpAddr>,
    /// The device it leaves by (`SO_BINDTODEVICE`), at most 15 bytes.
    pub device: Option<String>,
    /// Its firewall mark (`SO_MARK`).
    pub fwmark: Option<u32>,
    /// The real server that the mark leads to, where the target is a virtual address: the source is then the address
    /// that this host has towards that server, and connections are ended by a reset.
    pub through: Option<IpAddr>,
}

/// The types of probe, by the word that the configuration has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeType {
    /// `tcp`
    Tcp,
    /// `tls`
    Tls,
    /// `http`
    Http,
    /// `https`
    Https,
    /// `script`
    Script,
    /// `file`
    File,
    /// `mysql`
    Mysql,
    /// `postgresql`
    Postgresql,
    /// `redis`
    Redis,
    /// `dns`
    Dns,
    /// `udp`
    Udp,
    /// `ping`
    Ping,
    /// `smtp`
    Smtp,
    /// `ldap`
    Ldap,
    /// `grpc`
    Grpc,
    /// `agent`
    Agent,
}

impl ProbeType {
    /// Every type.
    pub const ALL: [Self; 16] = [
        Self::Tcp,
        Self::Tls,
        Self::Http,
        Self::Https,
        Self::Script,
        Self::File,
        Self::Mysql,
        Self::Postgresql,
        Self::Redis,
        Self::Dns,
        Self::Udp,
        Self::Ping,
        Self::Smtp,
        Self::Ldap,
        Self::Grpc,
        Self::Agent,
    ];

    /// The word of the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Https => "https",
            Self::Script => "script",
            Self::File => "file",
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
            Self::Dns => "dns",
            Self::Udp => "udp",
            Self::Ping => "ping",
            Self::Smtp => "smtp",
            Self::Ldap => "ldap",
            Self::Grpc => "grpc",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for ProbeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// A TCP connection is opened, talked over where steps are given, and closed (keepalived's `TCP_CHECK`).
    Tcp(Vec<TalkStep>),
    /// The same over TLS.
    Tls(TlsProbe),
    /// An HTTP request, over TLS where it has settings for that (keepalived's `HTTP_GET` and `SSL_GET`).
    Http(HttpProbe),
    /// A program of the user's (keepalived's `MISC_CHECK`).
    Script(ScriptProbe),
    /// A file in which somebody writes how the server is (keepalived's `FILE_CHECK`).
    File(FileProbe),
    /// A login to MySQL or MariaDB, and what can be asked there.
    Mysql(MysqlProbe),
    /// A login to PostgreSQL, and what can be asked there.
    Postgresql(PostgresqlProbe),
    /// A PING of Redis, and its role.
    Redis(RedisProbe),
    /// A DNS question.
    Dns(DnsProbe),
    /// A datagram and its reply (keepalived's `UDP_CHECK`).
    Udp(UdpProbe),
    /// An ICMP echo of the server's family (keepalived's `PING_CHECK`).
    Ping,
    /// A mail server's greetings (keepalived's `SMTP_CHECK`).
    Smtp(SmtpProbe),
    /// A bind to an LDAP directory.
    Ldap(LdapProbe),
    /// A call of gRPC's health service.
    Grpc(GrpcProbe),
    /// A program on the server that says how it is (HAProxy's `agent-check`).
    Agent(AgentProbe),
}

impl ProbeKind {
    /// Its type.
    pub fn probe_type(&self) -> ProbeType {
        match self {
            Self::Tcp(_) => ProbeType::Tcp,
            Self::Tls(_) => ProbeType::Tls,
            Self::Http(HttpProbe { tls: None, .. }) => ProbeType::Http,
            Self::Http(HttpProbe { tls: Some(_), .. }) => ProbeType::Https,
            Self::Script(_) => ProbeType::Script,
            Self::File(_) => ProbeType::File,
            Self::Mysql(_) => ProbeType::Mysql,
            Self::Postgresql(_) => ProbeType::Postgresql,
            Self::Redis(_) => ProbeType::Redis,
            Self::Dns(_) => ProbeType::Dns,
            Self::Udp(_) => ProbeType::Udp,
            Self::Ping => ProbeType::Ping,
            Self::Smtp(_) => ProbeType::Smtp,
            Self::Ldap(_) => ProbeType::Ldap,
            Self::Grpc(_) => ProbeType::Grpc,
            Self::Agent(_) => ProbeType::Agent,
        }
    }

    /// Whether it goes to a port.
    pub fn needs_port(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Tls(_) | Self::Http(_) | Self::Agent(_) => true,
            Self::Mysql(_) | Self::Postgresql(_) | Self::Redis(_) => true,
            Self::Dns(_) | Self::Udp(_) | Self::Smtp(_) | Self::Ldap(_) | Self::Grpc(_) => true,
            Self::Script(_) | Self::File(_) | Self::Ping => false,
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.probe_type().fmt(f)
    }
}

/// One step of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TalkStep {
    /// These bytes are sent.
    Send(Bytes),
    /// These bytes must come, wherever in what is received after the step before.
    Expect(Bytes),
    /// A match must come, as above.
    ExpectMatch(Pattern),
}

/// A program that is run, and how its exit status is read: 0 is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptProbe {
    /// The program by its absolute path, and its arguments.
    pub argv: Vec<String>,
    /// The user that it runs as.
    pub user: String,
    /// A status from 2 to 255 is well too, and advises the weight that is 2 lower.
    pub dynamic_weight: bool,
}

/// A file with a weight or a state in its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProbe {
    /// Its absolute path.
    pub path: PathBuf,
    /// Without the file the server is well.
    pub missing_is_up: bool,
}

/// An agent that answers every connection with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentProbe {
    /// What it is sent first.
    pub send: Option<Bytes>,
}

/// Bytes as they go over the wire; shown as text as far as they are some.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
