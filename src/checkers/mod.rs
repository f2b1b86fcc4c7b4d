//! The probes: one file a protocol. Each connects as it is told and says what it found.
//!
//! A hand: it never decides whether a server is up, never retries and never keeps state between two probes. What is
//! wrong with this host (no file descriptors, no local ports) is told apart from what is wrong with the server.

mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{ProbeKind, ProbeOutcome};

/// Runs one probe to its end, which comes within `timeout`.
pub async fn probe(kind: &ProbeKind, target: SocketAddr, timeout: Duration) -> ProbeOutcome {
    match kind {
        ProbeKind::Tcp => tcp::probe(target, timeout).await,
    }
}
