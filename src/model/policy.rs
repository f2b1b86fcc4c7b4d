//! How a pool behaves as a whole, and the commands that are run when something changes.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A command of the user's, one type everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program's absolute path and its arguments.
    pub argv: Vec<String>,
    /// The user it runs as.
    pub user: String,
    /// After this long it is killed with all that it has started.
    pub timeout: Duration,
}

/// The commands for the two ways something can change; either may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// Run when it comes up.
    pub up: Option<Arc<Command>>,
    /// Run when it goes down.
    pub down: Option<Arc<Command>>,
}

/// What becomes of destinations in a service of ours that ipvsd never put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignDestinations {
    /// They are taken out.
    #[default]
    Remove,
    /// They stay as they are.
    Keep,
}

/// How a pool behaves as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPolicy {
    /// The weights of the servers of a tier that are up have to add up to this much; at least 1. A tier whose weights
    /// add up to less has its quorum with all of them.
    pub quorum: u32,
    /// The quorum is gained with this much more and lost with more than this much less; less than `quorum`.
    pub hysteresis: u32,
    /// Run when the pool gains or loses its quorum.
    pub quorum_notify: Notify,
    /// How the pool comes back from a backup tier or the sorry server.
    pub return_mode: ReturnMode,
    /// Where fewer per cent than this of a tier's servers would remain, those stay in that are in; 0 for never.
    pub panic_threshold: u32,
    /// How long a server that comes back takes to its full weight; `None` for at once.
    pub slow_start: Option<Duration>,
    /// How long a server that is to be taken out may keep its connections at weight 0; `None` where it is taken out at
    /// once.
    pub drain_timeout: Option<Duration>,
    /// Probe only while a virtual address of this pool is on this host.
    pub ha_suspend: bool,
    /// The daemon's end runs the commands as if everybody went down (keepalived's `omega`).
    pub notify_on_stop: bool,
    /// What becomes of destinations in its services that somebody else has put there.
    pub foreign_destinations: ForeignDestinations,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            quorum: 1,
            hysteresis: 0,
            quorum_notify: Notify::default(),
            return_mode: ReturnMode::Auto,
            panic_threshold: 0,
            slow_start: None,
            drain_timeout: None,
            ha_suspend: false,
            notify_on_stop: false,
            foreign_destinations: ForeignDestinations::default(),
        }
    }
}

/// Which part of a pool serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Nothing is known of servers that serve as the table has it: everything stays as it was found.
    Pending,
    /// The real servers of this tier.
    Servers(u32),
    /// The sorry server.
    Sorry,
    /// Nobody.
    Nobody,
}

/// How a pool comes back from a backup tier to a better one that can serve again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReturnMode {
    /// At once.
    #[default]
    Auto,
    /// When the operator says so, or the tier that serves can no longer.
    Manual,
    /// Once the better one could have served for this long without a break.
    Delayed(Duration),
}
