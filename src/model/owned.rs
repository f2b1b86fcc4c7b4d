//! What ipvsd owns in its network namespace.

use std::collections::BTreeSet;

use super::{ServiceKey, VirtualAddress};

/// What ipvsd has written and may therefore remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    /// Services in the kernel's table.
    pub services: BTreeSet<ServiceKey>,
    /// Those of them whose real servers were given connection thresholds, which a cheap read does not show.
    pub with_thresholds: BTreeSet<ServiceKey>,
    /// Addresses on devices.
    pub addresses: BTreeSet<VirtualAddress>,
}
