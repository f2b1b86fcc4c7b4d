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
    /// What counts of all wishes, the worst: `ready`, `drain`, `maint`.
    pub admin: String,
    /// What operators want of it; null where that is nothing.
    pub operator: Option<OperatorReport>,
    /// What its checks advise.
    pub advised: Vec<AdviceReport>,
    /// The weight of the configuration.
    pub configured_weight: u32,
    /// What comes of all that; null where the server stays as it was found.
    pub effective_weight: Option<u32>,
    /// Whose weight that is: `the configuration`, `the operator`, `check agent`.
    pub weight_from: String,
    /// Its checks in the order of the configuration.
    pub checks: Vec<CheckReport>,
    /// What the kernel has, a service each.
    pub kernel: Vec<KernelDestination>,
    /// What has happened to it of late, the oldest first.
    pub events: Vec<EventRecord>,
}

/// What operators want of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorReport {
    /// `ready`, `drain`, `maint`.
    pub state: String,
    /// The weight that they have given it; null for none.
    pub weight: Option<u32>,
    /// The share of the configured weight in per cent that they have given it; null for none.
    #[serde(default)]
    pub percent: Option<u32>,
    /// Some of that holds until the next reload.
    #[serde(default)]
    pub until_reload: bool,
    /// Who said the last of it: `root`, `uid 1000`.
    pub by: String,
    /// When.
    pub since: UnixTime,
    /// When a drain becomes maintenance.
    pub drain_until: Option<UnixTime>,
}

/// What one check advises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdviceReport {
    /// The check's name.
    pub check: String,
    /// `ready`, `drain`, `maint`.
    pub state: String,
    /// `30`, `50%`; null for none.
    pub weight: Option<String>,
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
    /// The state is what the other director says: this one has no verdict of its own.
    #[serde(default)]
    pub by_peer: bool,
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
