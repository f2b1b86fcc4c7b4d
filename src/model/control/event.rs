//! One thing that has happened, as it is kept and told.

use serde::{Deserialize, Serialize};

use super::SCHEMA;
use crate::model::UnixTime;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For the record.
    Info,
    /// Somebody should look.
    Warning,
    /// Something does not work.
    Error,
}

/// What kind of thing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A real server went up or down.
    Server,
    /// Another part of a pool serves.
    Tier,
    /// An operator's word.
    Admin,
    /// A probe passed and found something to see to, or could not be carried out.
    Probe,
    /// The kernel's table: drift, refusals, trouble with reading it.
    Table,
    /// A configuration was taken over or refused.
    Configuration,
    /// A virtual router became or ceased to be master, or hears what it should not.
    Vrrp,
    /// The other director: the link to it, what is taken of its word, what differs.
    Peer,
    /// So many events were not told, because they were too many or no longer kept.
    Missed,
}

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The number of the schema.
    pub schema: u32,
    /// Counted from 1 since the daemon's start, without a gap.
    pub number: u64,
    /// When it happened.
    pub time: UnixTime,
    /// How much it matters.
    pub level: Level,
    /// What kind of thing.
    pub kind: EventKind,
    /// The virtual server's name, where it is about one.
    pub virtual_server: Option<String>,
    /// The real server, where it is about one.
    pub server: Option<String>,
    /// The state before, where one was left.
    pub from: Option<String>,
    /// The state now.
    pub to: Option<String>,
    /// The check that decided.
    pub check: Option<String>,
    /// Why.
    pub cause: Option<String>,
    /// How long the state before had lasted, in milliseconds.
    pub lasted_ms: Option<u64>,
    /// All of it in a sentence.
    pub text: String,
}

impl EventRecord {
    /// An event in a sentence and nothing else, without a number yet.
    pub fn new(time: UnixTime, kind: EventKind, level: Level, text: String) -> Self {
        Self {
            schema: SCHEMA,
            number: 0,
            time,
            level,
            kind,
            virtual_server: None,
            server: None,
            from: None,
            to: None,
            check: None,
            cause: None,
            lasted_ms: None,
            text,
        }
    }
}
