//! What is known of this host, for the rooms that judge it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Facts about this host's network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// The interfaces by name, sorted.
    pub interfaces: Vec<String>,
    /// Every address on any interface.
    pub addresses: BTreeSet<IpAddr>,
    /// Kernel settings by their dotted names; one that this kernel does not have is not in here.
    pub sysctls: BTreeMap<String, String>,
}
