//! What a director has learnt of its servers and pools, in a form that outlives the process.
//!
//! All times are ages: milliseconds before the snapshot was made, so that no clock that was set meanwhile, and no start
//! of another process, changes what they mean. Those that may lie ahead are signed and negative then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckState, DestinationKey, ServerState, ServiceKey, StateAdvice, Tier, VirtualAddress, WeightAdvice};

/// Everything that a director knows and its configuration, the kernel and its operators do not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The checks.
    pub checks: Vec<CheckSnapshot>,
    /// The pools.
    pub pools: Vec<PoolSnapshot>,
    /// The destinations that are on their way out.
    pub drains: Vec<DrainSnapshot>,
    /// The services that leave slowly once no configuration has them.
    pub services: Vec<LeavingSnapshot>,
}

/// One check of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSnapshot {
    /// Where its probes go.
    pub target: String,
    /// A digest of all its settings: the check is the same one while both are the same.
    pub settings: String,
    /// Its verdict so far.
    pub machine: MachineSnapshot,
    /// How long it has that verdict.
    pub since: u64,
    /// What it has advised, and whether its last probe found the server asking for no new connections.
    #[serde(default, skip_serializing_if = "AdviceSnapshot::is_none")]
    pub advised: AdviceSnapshot,
    /// The last results, the oldest first.
    pub results: Vec<ResultSnapshot>,
}

/// What leads a check to its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSnapshot {
    /// What the results say, flapping or not.
    pub verdict: CheckState,
    /// Whether a probe has succeeded while it was up, or brought it up.
    pub seen_up: bool,
    /// Results in a row that speak against the verdict.
    pub against: u32,
    /// Whether these were successes.
    pub successes: bool,
    /// Its changes of late, and what followed; absent where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap: Option<FlapSnapshot>,
}

/// The changes of one check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlapSnapshot {
    /// When it changed, as far back as that counts.
    pub changes: Vec<u64>,
    /// It is held down until then.
    pub until: Option<i64>,
    /// The last hold: how long it was, and when it ended or will.
    pub last: Option<(u64, i64)>,
}

/// What a check has advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdviceSnapshot {
    /// The weight.
    pub weight: Option<WeightAdvice>,
    /// The state.
    pub state: Option<StateAdvice>,
    /// The most connections.
    pub max_connections: Option<u32>,
    /// The last probe that said anything found the server asking for no new connections.
    pub drain: bool,
}

impl AdviceSnapshot {
    /// Whether it says nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// One result: its age, how long the probe took in microseconds, what it found, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultSnapshot(pub u64, pub u32, pub ProbeFound, pub Option<String>);

/// What became of one probe, without its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeFound {
    /// The server is well.
    Success,
    /// It is not.
    Failure,
    /// It is well and wants no new connections.
    Drain,
    /// Nothing was learnt.
    NoVerdict,
    /// This host was at fault.
    LocalTrouble,
}

impl ProbeFound {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Drain => "drain",
            Self::NoVerdict => "no_verdict",
            Self::LocalTrouble => "local_trouble",
        }
    }
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSnapshot {
    /// The virtual server's name.
    pub name: String,
    /// What decides which tier serves.
    pub machine: TierSnapshot,
    /// The members.
    pub members: Vec<MemberSnapshot>,
}

/// How a service leaves that the configuration no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeavingSnapshot {
    /// Which.
    pub service: ServiceKey,
    /// The address that it needs on a device of this host.
    pub address: Option<VirtualAddress>,
    /// How long it may keep its connections from when it begins to leave, or how much longer, in milliseconds.
    pub left: u64,
    /// It has begun to leave.
    pub begun: bool,
}

/// What a pool remembers of who served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSnapshot {
    /// Whether a tier has its quorum, where that was ever decided.
    pub quorum: BTreeMap<u32, bool>,
    /// What was told of the pool's quorum.
    pub held: Option<bool>,
    /// What was decided on.
    pub serving: Option<Tier>,
    /// It was decided while better servers had no verdict.
    pub tentative: bool,
    /// What was told of who serves.
    pub told: Option<Tier>,
    /// Since when that serves.
    pub since: u64,
    /// A better tier that could serve, and since when.
    pub better: Option<(Tier, u64)>,
    /// Too few servers were up and the failed ones were kept in.
    pub panicking: bool,
}

/// What a pool remembers of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSnapshot {
    /// The real server's address and port.
    pub server: String,
    /// Its state by its checks.
    pub state: ServerState,
    /// How long it has that state.
    pub since: u64,
    /// What its pool remembers of it.
    pub seat: SeatSnapshot,
}

/// What a pool remembers of a member's seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatSnapshot {
    /// Whether it took new connections by the last look.
    pub inside: Option<bool>,
    /// It was down since it last served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_down: bool,
    /// When it came back, while it is on its way to its full weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_back: Option<u64>,
}

/// A destination that is on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainSnapshot {
    /// In which service.
    pub service: ServiceKey,
    /// Which.
    pub destination: DestinationKey,
    /// How much longer it may stay, in milliseconds; 0 where its time is over.
    pub left: u64,
}
