//! Destinations that are to go, alone or with their service, and still have connections: they stay at weight 0 until those are gone, or for
//! `drain_timeout`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Config, DestinationKey, DestinationSpec, Instant, Service, ServiceKey, Table, VirtualAddress, VirtualServer,
};

/// What is on its way out, with the time until which it may stay.
#[derive(Debug, Clone, Default)]
pub(super) struct Drains {
    until: BTreeMap<(ServiceKey, DestinationKey), Instant>,
    /// Whole services that the configuration no longer has.
    leaving: BTreeMap<ServiceKey, Leaving>,
    /// Up to when times that are over have been seen to.
    seen: Instant,
}

/// A service that leaves slowly.
#[derive(Debug, Clone)]
struct Leaving {
    until: Instant,
    /// Its address on this host, which stays as long.
    address: Option<VirtualAddress>,
}

impl Drains {
    /// Adds to what a pool's service should have the destinations that leave slowly.
    pub(super) fn add(
        &mut self,
        server: &VirtualServer,
        key: ServiceKey,
        wanted: &mut Service,
        believed: &Table,
        now: Instant,
    ) {
        let Some(timeout) = server.policy.drain_timeout else {
            return;
        };
        let Some(current) = believed.services.get(&key) else {
            return;
        };
        for (destination, found) in &current.destinations {
            if wanted.destinations.contains_key(destination) {
                self.until.remove(&(key, *destination));
                continue;
            }
            let until = *self.until.entry((key, *destination)).or_insert(now + timeout);
            if until > now && !believed.idle.contains(&(key, *destination)) {
                let spec = DestinationSpec { weight: 0, ..*found };
                wanted.destinations.insert(*destination, spec);
            }
        }
    }

    /// A new configuration: services that it drops leave slowly where the old one says so, and those that come back stay.
    pub(super) fn drop_services(&mut self, old: &Config, new: &Config, now: Instant) {
        let kept: BTreeSet<_> = new.virtual_servers.iter().flat_map(|server| &server.services).collect();
        self.leaving.retain(|key, _| !kept.contains(key));
        for server in &old.virtual_servers {
            let Some(timeout) = server.policy.drain_timeout else {
                continue;
            };
            for key in server.services.iter().filter(|key| !kept.contains(key)) {
                let address = key.address().and_then(|address| {
                    let device = server.device.clone()?;
                    Some(VirtualAddress { device, address })
                });
                self.leaving.entry(*key).or_insert(Leaving {
                    until: now + timeout,
                    address,
                });
            }
        }
    }

    /// The services that leave slowly, with what they should still have: their destinations that have connections, at
    /// weight 0.
    pub(super) fn leaving_services(&mut self, believed: &Table, now: Instant) -> Vec<(ServiceKey, Service)> {
        let mut services = Vec::new();
        self.leaving.retain(|key, leaving| {
            let Some(found) = believed.services.get(key).filter(|_| now < leaving.until) else {
                return false;
            };
            let busy = found
                .destinations
                .iter()
                .filter(|(destination, _)| !believed.idle.contains(&(*key, **destination)));
            let destinations: BTreeMap<_, _> = busy
                .map(|(destination, spec)| (*destination, DestinationSpec { weight: 0, ..*spec }))
                .collect();
            let goes_on = !destinations.is_empty();
            if goes_on {
                let spec = found.spec.clone();
                services.push((*key, Service { spec, destinations }));
            }
            goes_on
        });
        services
    }

    /// The virtual addresses of the services that leave slowly.
    pub(super) fn addresses(&self) -> impl Iterator<Item = VirtualAddress> + '_ {
        self.leaving.values().filter_map(|leaving| leaving.address.clone())
    }

    /// Forgets what has left the table, and what is drained no longer.
    pub(super) fn clean(&mut self, believed: &Table, draining: &BTreeSet<ServiceKey>) {
        let is_there = |(key, destination): &(ServiceKey, DestinationKey)| {
            let service = believed.services.get(key);
            service.is_some_and(|service| service.destinations.contains_key(destination))
        };
        self.until.retain(|at, _| draining.contains(&at.0) && is_there(at));
    }

    /// When the first one has to go.
    pub(super) fn next(&self) -> Option<Instant> {
        self.times().filter(|until| *until > self.seen).min()
    }

    /// Whether the time of somebody is over since this was asked last.
    pub(super) fn came_due(&mut self, now: Instant) -> bool {
        let seen = std::mem::replace(&mut self.seen, now);
        self.times().any(|until| seen < until && until <= now)
    }

    fn times(&self) -> impl Iterator<Item = Instant> + '_ {
        let services = self.leaving.values().map(|leaving| leaving.until);
        self.until.values().copied().chain(services)
    }
}
