//! The table that a configuration asks for, given the states of all servers and what the kernel holds.

use std::collections::BTreeSet;

use super::pools::Pools;
use crate::health::{self, Found, Seat, Standing};
use crate::model::{
    Config, DestinationKey, Instant, Owned, RealServer, ServerState, Service, ServiceKey, Table, VirtualServer,
};

/// What the services of one pool should hold, given the configuration, its members and the tier that serves.
pub(super) fn desired_services<'a>(
    config: &'a Config,
    pools: &'a Pools,
    pool: usize,
    believed: &'a Table,
) -> impl Iterator<Item = (ServiceKey, Service)> + 'a {
    let server = &config.virtual_servers[pool];
    let (tier, seats) = (pools.machine(pool).tier(), pools.seats(pool));
    server.services.iter().map(move |key| {
        let destinations = health::destinations(server, tier, seats, key, believed.services.get(key));
        (
            *key,
            Service {
                spec: server.spec.clone(),
                destinations,
            },
        )
    })
}

/// The weight that the configuration has for a destination; 0 for one that is not a real server of this pool.
pub(super) fn configured_weight(server: &VirtualServer, service: &ServiceKey, destination: &DestinationKey) -> u32 {
    let mut servers = server.real_servers.iter();
    servers
        .find(|real| real.destination(service) == *destination)
        .map_or(0, |real| real.spec.weight)
}

/// The services whose configuration uses what a cheap read of the table does not show: connection thresholds.
///
/// In other services a threshold that somebody else set goes unnoticed. Tunnels are always read in full.
pub fn services_with_thresholds(config: &Config) -> BTreeSet<ServiceKey> {
    let uses = |server: &&VirtualServer| {
        server
            .real_servers
            .iter()
            .any(|server| server.spec.upper_threshold != 0 || server.spec.lower_threshold != 0)
    };
    config
        .virtual_servers
        .iter()
        .filter(uses)
        .flat_map(|server| server.services.iter().copied())
        .collect()
}

/// Whether the real servers of a service in the kernel may have thresholds, going by the record alone: ipvsd has given
/// it some, or somebody else has made it.
pub fn may_have_thresholds(service: &ServiceKey, owned: &Owned) -> bool {
    owned.with_thresholds.contains(service) || !owned.services.contains(service)
}

/// The table that a configuration asks for where nobody probes: every server taken as up. Services that are programmed
/// only where a virtual router is master are as they are found, in the table or not: nobody knows the master either.
pub fn table_without_checks(config: &Config, current: &Table) -> Table {
    let nobody = Found {
        member: &|_| false,
        sorry: false,
    };
    let services = config.virtual_servers.iter().flat_map(|server| {
        let up = |real: &RealServer| Seat::new(Standing::plain(real.spec.weight, ServerState::Up));
        let mut seats: Vec<_> = server.real_servers.iter().map(up).collect();
        let mut machine = health::Pool::default();
        machine.look(server, &mut seats, nobody, false, Instant::START);
        server.services.iter().filter_map(move |key| {
            let current = current.services.get(key);
            if server.program_with.is_some() && current.is_none() {
                return None;
            }
            let destinations = health::destinations(server, machine.tier(), &seats, key, current);
            let spec = server.spec.clone();
            Some((*key, Service { spec, destinations }))
        })
    });
    Table {
        services: services.collect(),
        ..Table::default()
    }
}
