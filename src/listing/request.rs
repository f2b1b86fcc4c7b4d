//! What can be asked of a listing, by whichever command line.

use super::{Order, View};
use crate::model::ServiceKey;

/// What a listing is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum What {
    /// All services with their destinations.
    #[default]
    Services,
    /// One service with its destinations.
    Service(ServiceKey),
    /// The connection table, with the columns of persistence engines or without.
    Connections {
        /// With the columns.
        persistence: bool,
    },
    /// The connection timeouts.
    Timeouts,
    /// The sync daemons.
    Daemons,
}

/// A listing; without anything said, the plain table with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// What it is about.
    pub what: What,
    /// The columns of destinations.
    pub view: View,
    /// The order of services and destinations.
    pub order: Order,
    /// No names.
    pub numeric: bool,
    /// JSON in place of a table.
    pub json: bool,
}

/// The columns asked for; any of them may be asked for at once, and one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Columns {
    /// `--stats`
    pub statistics: bool,
    /// `--rate`
    pub rates: bool,
    /// `--thresholds`
    pub thresholds: bool,
    /// `--persistent-conn`
    pub persistent_connections: bool,
    /// `--tun-info`
    pub tunnels: bool,
    /// `--exact`
    pub exact: bool,
}

impl Columns {
    /// The view that wins.
    pub fn view(self) -> View {
        let exact = self.exact;
        if self.statistics {
            View::Statistics { exact }
        } else if self.rates {
            View::Rates { exact }
        } else if self.thresholds {
            View::Thresholds
        } else if self.persistent_connections {
            View::PersistentConnections
        } else if self.tunnels {
            View::TunnelInfo
        } else {
            View::Plain
        }
    }
}
