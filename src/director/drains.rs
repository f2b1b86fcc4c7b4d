//! Destinations that are to go and still have connections: they stay at weight 0 until those are gone, or for
//! `drain_timeout`. So do all of a service that the configuration no longer has, and the address that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{
    Config, DestinationKey, DestinationSpec, DrainSnapshot, Instant, LeavingSnapshot, Service, ServiceKey, Table,
    VirtualAddress, VirtualServer,
};

/// What is on its way out, with the time until which it may stay.
#[derive(Debug, Default)]
pub(super) struct Drains {
    until: BTreeMap<(ServiceKey, DestinationKey), Instant>,
    /// The services that are on their way out.
    leaving: BTreeMap<ServiceKey, Leaving>,
    /// Up to when times that are over have been seen to.
    seen: Instant,
}

/// How a service is on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaving {
    until: Instant,
    address: Option<VirtualAddress>,
}

impl Drains {
    /// The services of one configuration that the next one no longer has begin to leave, where they are to do so slowly.
    pub(super) fn leave(&mut self, before: &Config, after: &Config, now: Instant) {
        for (service, timeout, address) in slow_services(before) {
            let until = now + timeout;
            self.leaving.entry(service).or_insert(Leaving { until, address });
        }
        self.keep_left(after);
    }

    /// Those that are configured stay.
    fn keep_left(&mut self, config: &Config) {
        for service in config.virtual_servers.iter().flat_map(|server| &server.services) {
            self.leaving.remove(service);
        }
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
    /// lost since.
    pub(super) fn restore(
        &mut self,
        drains: Vec<DrainSnapshot>,
        services: Vec<LeavingSnapshot>,
        config: &Config,
        taken: Instant,
        now: Instant,
    ) {
        for drain in drains {
            let until = taken + Duration::from_millis(drain.left);
            self.until.insert((drain.service, drain.destination), until);
        }
        for service in services {
            let from = if service.begun { taken } else { now };
            let leaving = Leaving {
                until: from + Duration::from_millis(service.left),
                address: service.address,
            };
            self.leaving.insert(service.service, leaving);
        }
        self.keep_left(config);
    }

    /// Adds to what is wanted the services that leave slowly, as long as they have connections and time.
    pub(super) fn add_services(
        &self,
        wanted: &mut Table,
        believed: &Table,
        owned: &BTreeSet<ServiceKey>,
        now: Instant,
    ) {
        for (key, leaving) in &self.leaving {
            let Some(found) = believed.services.get(key).filter(|_| owned.contains(key)) else {
                continue;
            };
            let mut destinations = found.destinations.keys();
            if leaving.until <= now || destinations.all(|destination| believed.idle.contains(&(*key, *destination))) {
                continue;
            }
            let mut service = found.clone();
            for spec in service.destinations.values_mut() {
                spec.weight = 0;
            }
            wanted.services.entry(*key).or_insert(service);
        }
    }

    /// The addresses that services on their way out still need.
    pub(super) fn addresses<'a>(&'a self, believed: &'a Table) -> impl Iterator<Item = VirtualAddress> + 'a {
        let there = self
            .leaving
            .iter()
            .filter(|(key, _)| believed.services.contains_key(key));
        there.filter_map(|(_, leaving)| leaving.address.clone())
    }

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

    /// Forgets what has left the table, and what is drained no longer.
    pub(super) fn clean(&mut self, believed: &Table, draining: &BTreeSet<ServiceKey>) {
        let is_there = |(key, destination): &(ServiceKey, DestinationKey)| {
            let service = believed.services.get(key);
            service.is_some_and(|service| service.destinations.contains_key(destination))
        };
        self.until.retain(|at, _| draining.contains(&at.0) && is_there(at));
        self.leaving.retain(|key, _| believed.services.contains_key(key));
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
