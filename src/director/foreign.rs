//! Destinations that somebody else has put into a service of ours, and that stay there
//! (`foreign_destinations = "keep"`).
//!
//! Pure. Whose a destination is, the configuration and the record say: it is ours if it is or was configured while the
//! service was ours. Everything else in the service is somebody else's, whatever its weight.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Config, DestinationKey, ForeignDestinations, Owned, Service, ServiceKey, Table, VirtualServer};

/// The destinations that are ours, of the services where others' stay.
pub type OurDestinations = BTreeMap<ServiceKey, BTreeSet<DestinationKey>>;

/// Whether others' destinations stay in the services of a virtual server.
pub(super) fn keeps(server: &VirtualServer) -> bool {
    server.policy.foreign_destinations == ForeignDestinations::Keep
}

/// The destinations that are ours: the configured ones, and those on record that are still there. A service of ours that
/// has no such record was one without others' destinations, so all of it is ours.
pub fn our_destinations(config: &Config, owned: &Owned, table: &Table) -> OurDestinations {
    let services = config.virtual_servers.iter().filter(|server| keeps(server));
    let services = services.flat_map(|server| server.services.iter().map(move |key| (server, key)));
    let ours = services.map(|(server, key)| {
        let found = table.services.get(key);
        let found = found
            .into_iter()
            .flat_map(|service| service.destinations.keys().copied());
        let before: BTreeSet<_> = match owned.destinations.get(key) {
            Some(recorded) => found.filter(|destination| recorded.contains(destination)).collect(),
            None if owned.services.contains(key) => found.collect(),
            None => BTreeSet::new(),
        };
        let configured = server.real_servers.iter().map(|real| real.destination(key));
        let sorry = server.sorry_server.iter().map(|sorry| sorry.destination(key));
        (*key, configured.chain(sorry).chain(before).collect())
    });
    ours.collect()
}

/// Adds others' destinations, as they are, to what a service should have.
pub fn keep_foreign(key: &ServiceKey, wanted: &mut Service, table: &Table, ours: &OurDestinations) {
    let (Some(ours), Some(found)) = (ours.get(key), table.services.get(key)) else {
        return;
    };
    let foreign = found
        .destinations
        .iter()
        .filter(|(destination, _)| !ours.contains(destination));
    wanted
        .destinations
        .extend(foreign.map(|(destination, spec)| (*destination, *spec)));
}

/// Whether a destination is somebody else's and stays.
pub(super) fn is_foreign(key: &ServiceKey, destination: &DestinationKey, ours: &OurDestinations) -> bool {
    ours.get(key).is_some_and(|ours| !ours.contains(destination))
}
