//! Replies: one line each; what `--json` prints is the same object.

use serde::{Deserialize, Serialize};

use super::{EventRecord, PeerStatus, SCHEMA, Status, Why};
use crate::model::{UnixTime, VirtualAddress};

/// One line from the daemon, with its kind in the member `reply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To `status`.
    Status(Status),
    /// To `why`.
    Why(Why),
    /// To `events`: one of several lines.
    Event(EventRecord),
    /// To `reload`, where the new configuration is in use.
    Reloaded(Reloaded),
    /// To `upgrade`, from the new program once it is ready.
    Upgraded(Upgraded),
    /// To `drain`, `maint`, `ready`, `weight`, `add` and `remove`.
    Changed(Changed),
    /// To `plan`.
    Plan(Plan),
    /// To `pause` and `resume`.
    Paused(Paused),
    /// To `peer`.
    Peer(PeerStatus),
    /// To anything that was not done.
    Refused(Refused),
}

impl Reply {
    /// The reply as one line, its line feed included.
    pub fn encode(&self) -> Vec<u8> {
        // A vector takes every byte, and no member here is of a kind that JSON lacks.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The reply in a line.
    ///
    /// # Errors
    /// Where it is none of this version's.
    pub fn decode(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

/// A new configuration is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The number of the schema.
    pub schema: u32,
    /// How many virtual servers it has.
    pub virtual_servers: usize,
    /// How many real servers they have together.
    pub real_servers: usize,
    /// What somebody should look at, one line each.
    pub warnings: Vec<String>,
}

/// Another program has taken the daemon's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The number of the schema.
    pub schema: u32,
    /// The version of the program before.
    pub from: String,
    /// The version that answers.
    pub to: String,
}

/// What a reload or `apply` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The number of the schema.
    pub schema: u32,
    /// The first file of the configuration.
    pub configuration: String,
    /// Whether it is a running daemon's, with the states that its checks have found; without one all servers count as up.
    pub daemon: bool,
    /// The changes of the kernel's table in order, one sentence each.
    pub steps: Vec<String>,
    /// The virtual addresses that are put on devices.
    pub put: Vec<VirtualAddress>,
    /// The virtual addresses that are taken off them.
    pub take: Vec<VirtualAddress>,
    /// The real servers that come in once their checks have passed.
    pub waiting: Vec<WaitingServer>,
    /// What somebody should look at, one line each; that a reload would be refused is one.
    pub warnings: Vec<String>,
}

/// A real server that comes in once its checks have passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingServer {
    /// The virtual server's name.
    pub virtual_server: String,
    /// The real server.
    pub server: String,
}

impl Plan {
    /// Whether nothing would change at once.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.put.is_empty() && self.take.is_empty()
    }
}

/// Whether the kernel's table is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The number of the schema.
    pub schema: u32,
    /// Until when it is not; null where it is.
    pub until: Option<UnixTime>,
}

/// What an operator's word has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The number of the schema.
    pub schema: u32,
    /// The servers that were meant, one entry a pool.
    pub servers: Vec<ChangedServer>,
    /// What somebody should look at, one line each.
    pub warnings: Vec<String>,
}

/// One server that was meant, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedServer {
    /// The virtual server's name.
    pub virtual_server: String,
    /// The real server.
    pub server: String,
    /// Whether it was otherwise before.
    pub changed: bool,
    /// What the operator wants of it now: `ready`, `drain` or `maint`.
    pub operator_state: String,
    /// The weight that the operator has given it; null for none.
    pub operator_weight: Option<u32>,
    /// The share of the configured weight in per cent that the operator has given it; null for none.
    #[serde(default)]
    pub operator_percent: Option<u32>,
    /// How it differs from the files: `added` or `removed`; null where it is in them.
    #[serde(default)]
    pub deviation: Option<String>,
    /// What counts of all wishes, the worst: its checks may advise otherwise.
    pub admin: String,
    /// What its checks say: `up`, `down`, `unknown`, `disabled`.
    pub state: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The request cannot be read.
    BadRequest,
    /// No pool has such a server.
    UnknownServer,
    /// A server does not fit to the virtual server that it is to be added to.
    UnfitServer,
    /// The caller may look, and not change anything; or may not even look.
    Denied,
    /// Several servers could be meant.
    AmbiguousServer,
    /// No virtual server has that name.
    UnknownVirtualServer,
    /// No virtual router has that name.
    UnknownVrrpInstance,
    /// There is no other director in the configuration.
    NoPeer,
    /// The virtual router has nothing to hand over.
    NotMaster,
    /// The configuration cannot be used; the running one stays.
    BadConfiguration,
    /// The program on disk cannot take over; the running one goes on.
    BadProgram,
    /// The configuration takes away more than `remove_limit` allows; the running one stays.
    RemovesTooMuch,
    /// Too many callers, or the daemon is stopping.
    Busy,
}

/// Something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The number of the schema.
    pub schema: u32,
    /// The kind, for the program.
    pub trouble: Trouble,
    /// The whole sentence, for a person: the thing, the reason, the remedy.
    pub message: String,
    /// What could be meant instead.
    pub candidates: Vec<String>,
    /// Each problem of a bad configuration, with its place; or what a reload would take away.
    pub problems: Vec<String>,
}

impl Refused {
    /// A refusal in one sentence.
    pub fn new(trouble: Trouble, message: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA,
            trouble,
            message: message.into(),
            candidates: Vec::new(),
            problems: Vec::new(),
        }
    }
}
