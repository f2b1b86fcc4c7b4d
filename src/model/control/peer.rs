//! The link to the other director, and what differs.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Difference, UnixTime};

/// How the link to the other director is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The number of the schema.
    pub schema: u32,
    /// When this was said.
    pub time: UnixTime,
    /// Where the other director listens.
    pub address: SocketAddr,
    /// Where this one does.
    pub listen: SocketAddr,
    /// This director's public key, which the other one's configuration has to have; null where there is none.
    pub key: Option<String>,
    /// The public key that the other one has to have.
    pub peer_key: String,
    /// Whether they are connected.
    pub connected: bool,
    /// Since when; null where they are not.
    pub since: Option<UnixTime>,
    /// Whether this director has opened the connection; null where there is none.
    pub opened_here: Option<bool>,
    /// The version of ipvsd there; null where they are not connected.
    pub version: Option<String>,
    /// The last trouble with the link, or with somebody who has called; null where there was none.
    pub trouble: Option<String>,
    /// When that was.
    pub trouble_since: Option<UnixTime>,
    /// How many checks this director has.
    pub checks: usize,
    /// How many of them go by the other one's verdicts, for want of own ones.
    pub checks_by_peer: usize,
    /// How many connections this kernel had, when they were counted last for [`preempt_after_sync`]; null where they were
    /// not.
    ///
    /// [`preempt_after_sync`]: crate::model::VrrpSpec::preempt_share
    pub connections: Option<u64>,
    /// How many the other one's had then.
    pub peer_connections: Option<u64>,
    /// Whether the two were compared since they are connected.
    pub compared: bool,
    /// Why they cannot be compared; null where there is no such reason.
    pub not_compared: Option<String>,
    /// What differs for some seconds at least, in order.
    pub differences: Vec<Difference>,
    /// By how many milliseconds the other one's clock is ahead of this one's, negative where it is behind; null where
    /// that is not known.
    pub clock_ahead_ms: Option<i64>,
    /// What the other one is not told, for it is longer than a message may be: `words`, `verdicts`, `configuration`.
    #[serde(default)]
    pub not_told: Vec<String>,
    /// How much of what the other one has said since they are connected is of a kind that this version does not know.
    #[serde(default)]
    pub passed_over: u64,
}
