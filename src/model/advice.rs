//! What a server, or somebody who watches it, advises beside "well" or "ill".

use std::fmt;

use serde::{Deserialize, Serialize};

/// Advice about one server; what is `None` was not mentioned and stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advice {
    /// The weight that it should have.
    pub weight: Option<WeightAdvice>,
    /// How an administrator would want it.
    pub state: Option<StateAdvice>,
    /// The most connections that it should get.
    pub max_connections: Option<u32>,
}

impl Advice {
    /// Takes over what newer advice mentions.
    pub fn follow(&mut self, newer: Self) {
        self.weight = newer.weight.or(self.weight);
        self.state = newer.state.or(self.state);
        self.max_connections = newer.max_connections.or(self.max_connections);
    }
}

/// An advised weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightAdvice {
    /// This weight.
    Absolute(u32),
    /// So many hundredths of the configured weight.
    Percent(u32),
}

/// An advised state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateAdvice {
    /// It may serve.
    Ready,
    /// It should get no new connections.
    Drain,
    /// It should get nothing at all.
    Maint,
}

impl WeightAdvice {
    /// The configured weight, which takes back what was advised before.
    pub const AS_CONFIGURED: Self = Self::Percent(100);
}

impl fmt::Display for WeightAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(weight) => write!(f, "{weight}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}
