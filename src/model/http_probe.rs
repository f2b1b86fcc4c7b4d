//! Settings of HTTP probes.

use std::ops::RangeInclusive;

use super::{Bytes, Pattern, TlsSettings};

/// One HTTP request and what its answer has to be. Redirects are answers like others, never followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// The protocol.
    pub version: HttpVersion,
    /// A token such as `GET`.
    pub method: String,
    /// The path with its query, from the slash on.
    pub path: String,
    /// The name of the `Host` header; `None` for the address and port that the probe goes to.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The request's body.
    pub body: Option<Bytes>,
    /// The statuses that are good.
    pub status: Vec<RangeInclusive<u16>>,
    /// The statuses by which a server asks for no new connections.
    pub drain_status: Vec<RangeInclusive<u16>>,
    /// What the answer's body has to be.
    pub expect: Option<BodyTest>,
    /// The most of it that is read, in bytes.
    pub body_limit: usize,
}

/// The protocol of an HTTP probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1; servers may answer in 1.0.
    Http1,
    /// HTTP/2, without TLS with prior knowledge.
    Http2,
}

/// What a body has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyTest {
    /// These bytes are in it.
    Contains(Bytes),
    /// There is a match in it.
    Matches(Pattern),
    /// There is no match in it.
    MatchesNot(Pattern),
    /// It has this SHA-256 digest.
    Sha256([u8; 32]),
}
