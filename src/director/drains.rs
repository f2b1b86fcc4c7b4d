//! Destinations that are to go and still have connections: they stay at weight 0 until those are gone, or for
//! `drain_timeout`.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DestinationKey, DestinationSpec, Instant, Service, ServiceKey, Table, VirtualServer};

/// What is on its way out, with the time until which it may stay.
#[derive(Debug, Default)]
pub(super) struct Drains {
    until: BTreeMap<(ServiceKey, DestinationKey), Instant>,
    /// Up to when times that are over have been seen to.
    seen: Instant,
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
        self.until.values().filter(|until| **until > self.seen).min().copied()
    }

    /// Whether the time of somebody is over since this was asked last.
    pub(super) fn came_due(&mut self, now: Instant) -> bool {
        let seen = std::mem::replace(&mut self.seen, now);
        self.until.values().any(|until| seen < *until && *until <= now)
    }
}
