//! What ipvsd owns in its network namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::{DestinationKey, ServiceKey, VirtualAddress};

/// What ipvsd has written and may therefore remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owned {
    /// Services in the kernel's table.
    pub services: BTreeSet<ServiceKey>,
    /// Those of them whose real servers were given connection thresholds, which a cheap read does not show.
    pub with_thresholds: BTreeSet<ServiceKey>,
    /// Of the services where others' destinations stay: the destinations that ipvsd has put there.
    pub destinations: BTreeMap<ServiceKey, BTreeSet<DestinationKey>>,
    /// Addresses on devices.
    pub addresses: BTreeSet<VirtualAddress>,
}
