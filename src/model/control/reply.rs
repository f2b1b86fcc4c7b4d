//! Replies: one line each; what `--json` prints is the same object.

use serde::{Deserialize, Serialize};

use super::{EventRecord, SCHEMA, Status, Why};

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
    /// To `drain`, `maint`, `ready` and `weight`.
    Changed(Changed),
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
    /// Several servers could be meant.
    AmbiguousServer,
    /// No virtual server has that name.
    UnknownVirtualServer,
    /// The configuration cannot be used; the running one stays.
    BadConfiguration,
    /// The program on disk cannot take over; the running one goes on.
    BadProgram,
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
    /// Each problem of a bad configuration, with its place.
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
