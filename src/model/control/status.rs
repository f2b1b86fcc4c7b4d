//! The pools and who serves in them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{ServiceKey, UnixTime};

/// The daemon and its pools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The number of the schema.
    pub schema: u32,
    /// When this was said.
    pub time: UnixTime,
    /// The version of the running daemon.
    pub version: String,
    /// When the daemon was started.
    pub started: UnixTime,
    /// When the configuration was taken over.
    pub configured: UnixTime,
    /// The files of the configuration beside what is in use.
    #[serde(default)]
    pub configuration: ConfigurationStatus,
    /// Why the kernel's table cannot be read; null where it can.
    pub kernel_trouble: Option<String>,
    /// Until when nothing is written to the kernel's table (`ipvsd pause`); null where it is written.
    #[serde(default)]
    pub paused_until: Option<UnixTime>,
    /// What operators want otherwise than the files say.
    #[serde(default)]
    pub deviations: Vec<Deviation>,
    /// The services that somebody else keeps changing, and that wait for their repair.
    #[serde(default)]
    pub contested: Vec<ContestedService>,
    /// The virtual routers by their names.
    #[serde(default)]
    pub vrrp_instances: Vec<VrrpStatus>,
    /// The pools in the order of the configuration.
    pub virtual_servers: Vec<PoolStatus>,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpStatus {
    /// Its name.
    pub name: String,
    /// The interface it speaks on.
    pub interface: String,
    /// Its number.
    pub virtual_router_id: u8,
    /// `initialize`, `backup`, `master`, `fault`.
    pub state: String,
    /// Since when; null where it has been nothing else since the daemon's start.
    pub since: Option<UnixTime>,
    /// The priority that counts now.
    pub priority: u8,
    /// Who is master, as far as it knows.
    pub master: Option<IpAddr>,
    /// Its addresses are on this host.
    pub holds_addresses: bool,
    /// Its addresses.
    pub virtual_addresses: Vec<IpAddr>,
    /// The routes that go with them, in the words of ip-route(8).
    #[serde(default)]
    pub routes: Vec<String>,
    /// The rules that go with them, in the words of ip-rule(8).
    #[serde(default)]
    pub rules: Vec<String>,
    /// The device with the virtual MAC that they are on, and the MAC; null where they have the interface's.
    #[serde(default)]
    pub vmac: Option<String>,
    /// Its addresses take what is sent to this host itself, and not only what IPVS forwards.
    #[serde(default = "accepts")]
    pub accept: bool,
    /// Why they may take it although they should not; null where all is as it should be.
    #[serde(default)]
    pub accept_trouble: Option<String>,
    /// Why it cannot speak; null where it can.
    pub trouble: Option<String>,
    /// What it tracks and what does not work of it.
    #[serde(default)]
    pub failing: Vec<String>,
}

/// An ipvsd that says nothing of it takes everything.
fn accepts() -> bool {
    true
}

/// The files of the configuration beside what is in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// The first of them.
    pub file: String,
    /// They are not those any more that are in use.
    pub changed: bool,
    /// They were refused since; null where they were not.
    pub refused: Option<RefusedFiles>,
}

/// Files of a configuration that cannot be used, or take too much away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFiles {
    /// When they were read.
    pub time: UnixTime,
    /// Why they were refused, in a sentence.
    pub why: String,
}

/// What operators want of one server otherwise than the files say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// The virtual server's name.
    pub virtual_server: String,
    /// The real server.
    pub server: String,
    /// `drain`, `weight 50% until the next reload`, `added with weight 1`, `removed`, with commas.
    pub what: String,
    /// Who said the last of it: `root`, `uid 1000`.
    pub by: String,
    /// When.
    pub since: UnixTime,
}

/// A service that somebody else keeps changing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContestedService {
    /// Which.
    pub service: ServiceKey,
    /// When it is put right again.
    pub until: UnixTime,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The virtual server's name.
    pub name: String,
    /// Its services, such as `tcp 192.0.2.200:80`.
    pub services: Vec<ServiceKey>,
    /// Who serves: `the pool`, `backup tier 1`, `sorry server 192.0.2.20:80`; null where that is nobody, or not known yet.
    pub serving: Option<String>,
    /// Since when.
    pub serving_since: UnixTime,
    /// Whether that waits for somebody's first verdict.
    pub pending: bool,
    /// Whether the weights of those who are up reach its quorum; null before that is known.
    pub quorum: Option<bool>,
    /// Whether so few servers are up that failed ones are kept in.
    pub panic: bool,
    /// Whether its checks are suspended, for none of its addresses is on this host.
    pub suspended: bool,
    /// Whether its services are out of the table, for its virtual router is master elsewhere.
    #[serde(default)]
    pub elsewhere: bool,
    /// Who could serve again and is not gone back to yet.
    pub awaited: Option<String>,
    /// Its members in the order of the configuration.
    pub real_servers: Vec<ServerStatus>,
    /// Who serves when none of them can.
    pub sorry_server: Option<SorryStatus>,
}

/// One member of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its address and port.
    pub server: String,
    /// 0 serves first.
    pub tier: u32,
    /// What its checks say: `up`, `down`, `unknown`; `disabled` where nobody asks.
    pub state: String,
    /// Since when.
    pub since: UnixTime,
    /// What the operator says: `ready`, `drain`, `maint`.
    pub admin: String,
    /// The weight of the configuration.
    pub configured_weight: u32,
    /// The weight it has while it serves: the configuration's, the operator's or its checks'; null where it has none of
    /// its own yet and stays as it was found.
    pub effective_weight: Option<u32>,
    /// Its weight in the kernel, in the pool's first service; null where it is not there.
    pub kernel_weight: Option<u32>,
    /// The check that failed, where one did.
    pub check: Option<String>,
    /// How the last probe of that check failed.
    pub cause: Option<String>,
}

/// The sorry server of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SorryStatus {
    /// Its address and port.
    pub server: String,
    /// Whether it serves.
    pub serving: bool,
    /// Its weight in the kernel, in the pool's first service; null where it is not there.
    pub kernel_weight: Option<u32>,
}
