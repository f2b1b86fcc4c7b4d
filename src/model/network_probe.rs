//! Settings of probes of name, mail, directory and other network services.

use super::{Bytes, Login, Pattern, TlsSettings};

/// One DNS question, and what its answer has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProbe {
    /// Over TCP instead of UDP.
    pub tcp: bool,
    /// The name that is asked for.
    pub name: String,
    /// The type of record, by its number.
    pub record_type: u16,
    /// The response code that is good, by its number.
    pub rcode: u16,
    /// One of the answers has to be this, as dig(1) shows it.
    pub expect: Option<String>,
}

/// A datagram, and what has to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpProbe {
    /// What is sent.
    pub payload: Bytes,
    /// What has to come back.
    pub reply: ReplyTest,
}

/// What has to come back to a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyTest {
    /// Nothing has to; an ICMP error is a failure.
    Silence,
    /// Any datagram.
    Anything,
    /// A datagram with these bytes in it.
    Contains(Bytes),
    /// A datagram with a match in it.
    Matches(Pattern),
}

/// A conversation with a mail server up to its second greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// TLS starts after STARTTLS instead of at once.
    pub starttls: bool,
    /// The name that is given to EHLO.
    pub helo: String,
}

/// A bind to an LDAP directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// The DN and its password; `None` for an anonymous bind.
    pub login: Option<Login>,
}

/// A call of gRPC's health service, version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// The service that is asked for; empty for the server as a whole.
    pub service: String,
    /// The `:authority`; `None` for the address and port.
    pub host: Option<String>,
}
