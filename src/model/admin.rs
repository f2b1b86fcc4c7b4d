//! What an operator may want of servers and pools beside what the configuration says.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ServerId, StateAdvice, WeightAdvice};

/// How somebody wants a server used, whatever its checks say; of several wishes the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// It may serve.
    #[default]
    Ready,
    /// No new connections: weight 0, and the destination stays where it is.
    Drain,
    /// As if it were down: no traffic at all, while its checks go on.
    Maint,
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        })
    }
}

impl From<StateAdvice> for AdminState {
    fn from(advice: StateAdvice) -> Self {
        match advice {
            StateAdvice::Ready => Self::Ready,
            StateAdvice::Drain => Self::Drain,
            StateAdvice::Maint => Self::Maint,
        }
    }
}

/// How long an operator's wish holds; over restarts in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lasting {
    /// Until operators take it back.
    #[default]
    UntilTakenBack,
    /// Until the next reload; what held before it holds again then.
    UntilReload,
}

/// Where the weight that a server has comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WeightSource {
    /// `weight` in the configuration.
    #[default]
    Configuration,
    /// The operator.
    Operator,
    /// The check of this name: an agent, a script or a file.
    Advice(String),
}

impl fmt::Display for WeightSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("the configuration"),
            Self::Operator => f.write_str("the operator"),
            Self::Advice(check) => write!(f, "check {check}"),
        }
    }
}

/// What an operator asks of the running director. It holds until asked otherwise, over reloads too, and ends with
/// the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorOrder {
    /// Use a server like this; [`AdminState::Ready`] takes back the operator's own wish and nobody else's.
    SetState {
        /// Which.
        server: ServerId,
        /// How.
        state: AdminState,
    },
    /// Give a server this weight, 0 to 2147483647, or so many hundredths of the configured one, in place of that; `None`
    /// takes it back.
    SetWeight {
        /// Which.
        server: ServerId,
        /// The weight.
        weight: Option<WeightAdvice>,
    },
    /// Go back from a backup tier or the sorry server to the best tier that can serve.
    Return {
        /// The virtual server's name.
        virtual_server: String,
    },
    /// Write nothing to the kernel's table for so long.
    Pause {
        /// From now on.
        duration: Duration,
    },
    /// Write again.
    Resume,
    /// Take the destinations of a virtual server out and put them in again in the order of their addresses, so that a
    /// hash scheduler builds the table that every other director has.
    Rebuild {
        /// The virtual server's name.
        virtual_server: String,
    },
}

/// What an [`OperatorOrder`] is about is not in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// No such virtual server.
    #[error("there is no virtual server {name} (known are: {known})")]
    NoVirtualServer {
        /// What was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// No such real server in it.
    #[error("virtual server {virtual_server} has no real server {server} (it has: {known})")]
    NoServer {
        /// Where it was looked for.
        virtual_server: String,
        /// What was asked for.
        server: String,
        /// The names that there are.
        known: String,
    },
}
