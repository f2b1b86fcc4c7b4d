//! One pool: from the states of its members to the destinations of a service.

use std::collections::BTreeMap;

use super::Standing;
use crate::model::{
    AdminState, DestinationKey, DestinationSpec, RealServer, ServerState, Service, ServiceKey, VirtualServer,
};

/// Which part of a pool serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// No member is known to be up and some have no verdict yet: everything stays as it was found.
    Pending,
    /// The real servers of this tier.
    Servers(u32),
    /// The sorry server.
    Sorry,
    /// Nobody.
    Nobody,
}

/// The tier that serves: the lowest one in which somebody with a weight is up, else the sorry server.
///
/// `standings` runs parallel to the pool's real servers. A member without a verdict holds back the tiers above its own.
pub fn active_tier(pool: &VirtualServer, standings: &[Standing]) -> Tier {
    let members = || {
        pool.real_servers
            .iter()
            .zip(standings)
            .filter(|(server, _)| !server.disabled)
    };
    let could_serve = |state: ServerState| {
        members()
            .filter(move |(_, standing)| standing.state == state && standing.weight > 0)
            .map(|(server, _)| server.tier)
            .min()
    };
    match (could_serve(ServerState::Up), could_serve(ServerState::Unknown)) {
        (Some(up), Some(unknown)) if unknown < up => Tier::Pending,
        (Some(up), _) => Tier::Servers(up),
        (None, Some(_)) => Tier::Pending,
        (None, None) if pool.sorry_server.is_some() => Tier::Sorry,
        (None, None) => Tier::Nobody,
    }
}

/// The destinations that one service of the pool should have, given its members' standings and what the table
/// holds.
///
/// Who is up in the active tier has its weight, which is 0 for the drained. Who is down, or waits in a higher tier, is absent, or has weight 0
/// with `inhibit_on_failure`. Who has no verdict yet stays as `current` has it.
pub fn destinations(
    pool: &VirtualServer,
    standings: &[Standing],
    service: &ServiceKey,
    current: Option<&Service>,
) -> BTreeMap<DestinationKey, DestinationSpec> {
    let tier = active_tier(pool, standings);
    let found = |key: &DestinationKey| current.and_then(|service| service.destinations.get(key)).copied();
    let mut wanted = BTreeMap::new();
    for (server, standing) in pool
        .real_servers
        .iter()
        .zip(standings)
        .filter(|(server, _)| !server.disabled)
    {
        let key = server.destination(service);
        let as_found = || {
            found(&key).map(|found| DestinationSpec {
                weight: match standing.admin {
                    AdminState::Ready => found.weight,
                    AdminState::Drain | AdminState::Maint => 0,
                },
                ..server.spec
            })
        };
        let spec = match (standing.state, serves(server, tier)) {
            (ServerState::Up, Some(true)) => Some(DestinationSpec {
                weight: standing.weight,
                ..server.spec
            }),
            (ServerState::Up | ServerState::Down, Some(false)) | (ServerState::Down, Some(true)) => {
                standby(server.spec, pool.inhibit_on_failure)
            }
            (ServerState::Down, None) => standby(server.spec, pool.inhibit_on_failure),
            (ServerState::Unknown, _) | (ServerState::Up, None) => as_found(),
        };
        wanted.extend(spec.map(|spec| (key, spec)));
    }
    if let Some(sorry) = &pool.sorry_server {
        let key = sorry.destination(service);
        let spec = match tier {
            Tier::Sorry => Some(sorry.spec),
            Tier::Pending => found(&key).map(|found| DestinationSpec {
                weight: found.weight,
                ..sorry.spec
            }),
            Tier::Servers(_) | Tier::Nobody => standby(sorry.spec, sorry.inhibit),
        };
        if let Some(spec) = spec {
            // A sorry server may be a real server as well; whichever role serves decides.
            let role = wanted.entry(key).or_insert(spec);
            if role.weight == 0 {
                *role = spec;
            }
        }
    }
    wanted
}

/// Whether a server's tier is the one that serves; `None` while that is pending.
///
/// Lower tiers than the active one count as serving: nobody with a weight is up there.
fn serves(server: &RealServer, tier: Tier) -> Option<bool> {
    match tier {
        Tier::Pending => None,
        Tier::Servers(active) => Some(server.tier <= active),
        Tier::Sorry | Tier::Nobody => Some(true),
    }
}

/// A destination that takes no new connections: weight 0, or not there at all.
fn standby(spec: DestinationSpec, inhibit: bool) -> Option<DestinationSpec> {
    inhibit.then_some(DestinationSpec { weight: 0, ..spec })
}

#[cfg(test)]
mod tests;
