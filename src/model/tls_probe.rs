//! Settings of probes over TLS.

use std::path::PathBuf;
use std::time::Duration;

use super::TalkStep;

/// A TLS handshake, and a conversation where steps are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProbe {
    /// The handshake.
    pub tls: TlsSettings,
    /// What is said after it.
    pub steps: Vec<TalkStep>,
}

/// How a TLS connection is made: TLS 1.2 or 1.3, never an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The name that is asked for (SNI) and that the certificate has to be for; may be an address, which no SNI has.
    pub server_name: Option<String>,
    /// Whose certificates are taken as good.
    pub trust: Trust,
    /// A certificate that ends sooner than this is worth a warning.
    pub expiry_warning: Duration,
    /// The files with this host's own certificate chain and its key, both PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Whose certificates are taken as good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those of the system's certificate authorities.
    System,
    /// Those of the certificate authorities in this PEM file.
    File(PathBuf),
    /// Everybody's: the certificate is not verified.
    Anybody,
}
