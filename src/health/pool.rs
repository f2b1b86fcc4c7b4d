//! One pool: from its members and the tier that serves to the destinations of a service.

use std::collections::BTreeMap;

use super::seat::{STEPS, Seat};
use crate::model::{
    AdminState, DestinationKey, DestinationSpec, RealServer, ServerState, Service, ServiceKey, Tier, VirtualServer,
};

/// The highest weight that the kernel takes.
const MOST: u32 = 2_147_483_647;

/// The destinations that one service of the pool should have, given the tier that serves, its members and what the
/// table holds.
///
/// Who is up in that tier has its weight, which is 0 for the drained. Who is down, or waits in another tier, is absent,
/// or has weight 0 with `inhibit_on_failure`. Who has no verdict yet stays as `current` has it.
///
/// The lookup table of a hash scheduler depends on the order in which destinations came in, so there all of them are
/// in from the start, at weight 0 where need be, and never leave.
pub fn destinations(
    pool: &VirtualServer,
    tier: Tier,
    seats: &[Seat],
    service: &ServiceKey,
    current: Option<&Service>,
) -> BTreeMap<DestinationKey, DestinationSpec> {
    let found = |key: &DestinationKey| current.and_then(|service| service.destinations.get(key)).copied();
    let scale = scale(pool, tier, seats);
    let hashed = pool.spec.scheduler.hashes_the_client();
    let mut wanted = BTreeMap::new();
    let members = pool.real_servers.iter().zip(seats);
    for (server, seat) in members.filter(|(server, _)| !server.disabled) {
        let key = server.destination(service);
        let standing = &seat.standing;
        let with = |weight| Some(DestinationSpec { weight, ..server.spec });
        let as_found = || match (found(&key), standing.admin) {
            (Some(_), AdminState::Drain | AdminState::Maint) => with(0),
            (Some(found), AdminState::Ready) => with(found.weight),
            (None, _) => hashed.then(|| with(0)).flatten(),
        };
        let standby = || pool.inhibit_on_failure.then(|| with(0)).flatten();
        let spec = match (seat.counts_as(), place(server, tier)) {
            (ServerState::Unknown, _) | (ServerState::Up, Place::Open) => as_found(),
            (ServerState::Down, _) => standby(),
            (ServerState::Up, Place::Serving) => with(weight(seat, scale)),
            // Whoever is up without a weight keeps its connections, whatever the tier.
            (ServerState::Up, Place::Passed) if standing.weight == 0 => with(0),
            (ServerState::Up, Place::Behind) if standing.admin == AdminState::Drain && found(&key).is_some() => with(0),
            (ServerState::Up, Place::Passed | Place::Behind) => standby(),
        };
        wanted.extend(spec.map(|spec| (key, spec)));
    }
    if let Some(sorry) = &pool.sorry_server {
        let key = sorry.destination(service);
        let with = |weight| DestinationSpec { weight, ..sorry.spec };
        let spec = match tier {
            Tier::Sorry => Some(sorry.spec),
            Tier::Pending => found(&key).map(|found| with(found.weight)),
            Tier::Servers(_) | Tier::Nobody => sorry.inhibit.then(|| with(0)),
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

/// Where a server stands as to the tier that serves.
enum Place {
    /// In it.
    Serving,
    /// In a better one, which serves no longer or not yet again.
    Passed,
    /// In one that waits.
    Behind,
    /// Nothing is decided.
    Open,
}

fn place(server: &RealServer, tier: Tier) -> Place {
    match tier {
        Tier::Pending => Place::Open,
        Tier::Servers(active) if server.tier == active => Place::Serving,
        Tier::Servers(active) if server.tier > active => Place::Behind,
        Tier::Servers(_) | Tier::Sorry | Tier::Nobody => Place::Passed,
    }
}

/// What all weights are multiplied by, so that a weight below 10 has tenths: 10 while such a server is on its way to
/// its full weight, else 1. Schedulers with a slow start go by the weights' ratios alone.
fn scale(pool: &VirtualServer, tier: Tier, seats: &[Seat]) -> u32 {
    let serving = || {
        let members = pool.real_servers.iter().zip(seats);
        members.filter(|(server, seat)| {
            let is_in = matches!(place(server, tier), Place::Serving);
            is_in && !server.disabled && seat.counts_as() == ServerState::Up
        })
    };
    let too_small = |(_, seat): (_, &Seat)| seat.tenths() < STEPS && (1..STEPS).contains(&seat.standing.weight);
    let fits = |(_, seat): (_, &Seat)| seat.standing.weight <= MOST / STEPS;
    match serving().any(too_small) && serving().all(fits) {
        true => STEPS,
        false => 1,
    }
}

fn weight(seat: &Seat, scale: u32) -> u32 {
    let full = u64::from(seat.standing.weight) * u64::from(scale);
    let share = (full * u64::from(seat.tenths()) / u64::from(STEPS)).max(full.min(1));
    u32::try_from(share).unwrap_or(MOST)
}

#[cfg(test)]
mod tests;
