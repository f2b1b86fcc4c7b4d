//! Destinations that are to go, alone or with their service, and still have connections: they stay at weight 0 until
//! those are gone, or for `drain_timeout`.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use crate::model::{
    Config, DestinationKey, DestinationSpec, DrainSnapshot, Instant, LeavingSnapshot, Service, ServiceKey, Table,
    VirtualAddress, VirtualServer,
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
            let latest = now + timeout;
            let until = (*self.until.entry((key, *destination)).or_insert(latest)).min(latest);
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
        for (key, timeout, address) in slow_services(old).filter(|(key, ..)| !kept.contains(key)) {
            let until = now + timeout;
            self.leaving.entry(key).or_insert(Leaving { until, address });
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

    /// All that is on its way out, and what would be on it if the configuration lost it.
    pub(super) fn snapshot(&self, config: &Config, now: Instant) -> (Vec<DrainSnapshot>, Vec<LeavingSnapshot>) {
        let destination = |((service, destination), until): (&(ServiceKey, DestinationKey), &Instant)| DrainSnapshot {
            service: *service,
            destination: *destination,
            left: until.age_of(now),
        };
        let leaving = self.leaving.iter().map(|(service, leaving)| LeavingSnapshot {
            service: *service,
            address: leaving.address.clone(),
            left: leaving.until.age_of(now),
            begun: true,
        });
        let may_leave = slow_services(config).map(|(service, timeout, address)| LeavingSnapshot {
            service,
            address,
            left: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            begun: false,
        });
        (
            self.until.iter().map(destination).collect(),
            leaving.chain(may_leave).collect(),
        )
    }

    /// Takes over what was on its way out when a snapshot was made, at `taken`, and begins with what a configuration
    /// lost since, as far as it is owned.
    pub(super) fn restore(
        &mut self,
        (drains, services): (Vec<DrainSnapshot>, Vec<LeavingSnapshot>),
        config: &Config,
        owned: &BTreeSet<ServiceKey>,
        taken: Instant,
        now: Instant,
    ) {
        for drain in drains {
            let until = taken + Duration::from_millis(drain.left);
            self.until.insert((drain.service, drain.destination), until);
        }
        let kept: BTreeSet<_> = config
            .virtual_servers
            .iter()
            .flat_map(|server| &server.services)
            .collect();
        let lost = |leaving: &LeavingSnapshot| owned.contains(&leaving.service) && !kept.contains(&leaving.service);
        for service in services.into_iter().filter(lost) {
            let from = if service.begun { taken } else { now };
            let leaving = Leaving {
                until: from + Duration::from_millis(service.left),
                address: service.address,
            };
            self.leaving.insert(service.service, leaving);
        }
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

/// The services that leave slowly, with the time that they have for it and the address that they need.
fn slow_services(config: &Config) -> impl Iterator<Item = (ServiceKey, Duration, Option<VirtualAddress>)> + '_ {
    let slow = config.virtual_servers.iter();
    let slow = slow.filter_map(|server| Some((server, server.policy.drain_timeout?)));
    slow.flat_map(|(server, timeout)| {
        server.services.iter().map(move |service| {
            let address = service.address().zip(server.device.clone());
            let address = address.map(|(address, device)| VirtualAddress { device, address });
            (*service, timeout, address)
        })
    })
}
