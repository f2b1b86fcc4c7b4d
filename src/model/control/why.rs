//! Why a server is in the state it is in.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::EventRecord;
use crate::model::{ServiceKey, UnixTime};

/// Everything that is known of a server, once for each pool that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The number of the schema.
    pub schema: u32,
    /// When this was said.
    pub time: UnixTime,
    /// The server, in each pool.
    pub servers: Vec<ServerReport>,
}

/// A server in one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// The virtual server's name.
    pub virtual_server: String,
    /// The real server.
    pub server: String,
    /// What its checks say: `up`, `down`, `unknown`; `disabled` where nobody asks.
    pub state: String,
    /// Since when.
    pub since: UnixTime,
    /// The reasons for where it stands, one sentence each, the weightiest first.
    pub reasons: Vec<String>,
    /// 0 serves first.
    pub tier: u32,
    /// Who serves in the pool, as in the status.
    pub serving: Option<String>,
    /// What the operator says: `ready`, `drain`, `maint`.
    pub admin: String,
    /// Since when; null where nobody has said anything.
    pub admin_since: Option<UnixTime>,
    /// Who said it: a user's name or number.
    pub admin_by: Option<String>,
    /// When a drain gives up the connections that are left.
    pub drain_until: Option<UnixTime>,
    /// The weight of the configuration.
    pub configured_weight: u32,
    /// The operator's weight.
    pub operator_weight: Option<u32>,
    /// What its checks advise: `30`, `50%`.
    pub advised_weight: Option<String>,
    /// What comes of it; null where the server stays as it was found.
    pub effective_weight: Option<u32>,
    /// Its checks in the order of the configuration.
    pub checks: Vec<CheckReport>,
    /// What the kernel has, a service each.
    pub kernel: Vec<KernelDestination>,
    /// What has happened to it of late, the oldest first.
    pub events: Vec<EventRecord>,
}

/// One check of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub probe_type: String,
    /// Where it connects.
    pub target: SocketAddr,
    /// `up`, `down`, `unknown`.
    pub state: String,
    /// Since when.
    pub since: UnixTime,
    /// How many results in a row speak against the state.
    pub against: u32,
    /// How many are needed to change it.
    pub needed: u32,
    /// This host's trouble that keeps it from a verdict.
    pub local_trouble: Option<String>,
    /// What the last probe that passed warned of.
    pub warning: Option<String>,
    /// The last results, the oldest first.
    pub results: Vec<ProbeReport>,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// When the probe ended.
    pub time: UnixTime,
    /// `success`, `failure`, `drain`, `no_verdict`, `local_trouble`.
    pub outcome: String,
    /// How long it took, in microseconds.
    pub latency_us: u64,
    /// Why it did not succeed.
    pub cause: Option<String>,
}

/// A server in one service of the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDestination {
    /// The service.
    pub service: ServiceKey,
    /// Its weight; null where it is not there.
    pub weight: Option<u32>,
    /// Connections in an active state; null where nobody could tell.
    pub active_connections: Option<u32>,
    /// All others.
    pub inactive_connections: Option<u32>,
}
