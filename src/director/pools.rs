//! The members of every pool: their states, the tier that serves, and what a new configuration keeps.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::checks::{CheckId, Checks, Subscriber, Target};
use super::paths::Path;
use crate::health::{self, Tier};
use crate::model::{
    CheckSpec, CheckState, Config, FailureCause, Family, HoldId, Instant, RealServer, ServerId, ServerState,
    Transition, Via, VirtualServer,
};

#[derive(Debug)]
struct Member {
    id: ServerId,
    checks: Vec<CheckId>,
    /// Nobody probes it, so its state means nothing once it is enabled again.
    disabled: bool,
    state: ServerState,
    since: Instant,
}

#[derive(Debug)]
struct Pool {
    name: String,
    members: Vec<Member>,
    tier: Option<Tier>,
    tier_since: Instant,
}

/// All pools, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Pools {
    pools: Vec<Pool>,
    checks: Checks,
}

impl Pools {
    /// Takes a configuration over and answers with the checks that are new, with their settings, and with the held
    /// connections that nobody wants any more.
    ///
    /// A check that is the same as before (same target, same settings) goes on as if nothing had happened, running
    /// probe included, whoever it is for now. One whose settings changed keeps its verdict and starts counting anew.
    pub(super) fn load(&mut self, config: &Config, now: Instant) -> (Vec<(CheckId, Arc<CheckSpec>)>, Vec<HoldId>) {
        let old_pools: HashMap<String, Pool> = std::mem::take(&mut self.pools)
            .into_iter()
            .map(|pool| (pool.name.clone(), pool))
            .collect();
        self.checks.unsubscribe_all();
        for (pool_index, server) in config.virtual_servers.iter().enumerate() {
            let old_pool = old_pools.get(&server.name);
            let old_members: HashMap<&str, &Member> = old_pool
                .map(|pool| {
                    pool.members
                        .iter()
                        .map(|member| (member.id.server.as_str(), member))
                        .collect()
                })
                .unwrap_or_default();
            let mut members = Vec::with_capacity(server.real_servers.len());
            for (server_index, real_server) in server.real_servers.iter().enumerate() {
                let id = name_of(server, real_server);
                let old = old_members.get(id.server.as_str()).filter(|member| !member.disabled);
                let subscriber = Subscriber {
                    pool: pool_index,
                    server: server_index,
                };
                let wanted = real_server.checks.iter().filter(|_| !real_server.disabled);
                let checks = wanted
                    .map(|spec| {
                        let found = old.map_or(CheckState::Unknown, |old| self.found_before(old, spec));
                        let target = target_of(server, real_server, spec);
                        self.checks.subscribe(spec, target, subscriber, found)
                    })
                    .collect();
                members.push(Member {
                    id,
                    checks,
                    disabled: real_server.disabled,
                    state: old.map_or(ServerState::Unknown, |old| old.state),
                    since: old.map_or(now, |old| old.since),
                });
            }
            self.pools.push(Pool {
                name: server.name.clone(),
                members,
                tier: old_pool.and_then(|pool| pool.tier),
                tier_since: old_pool.map_or(now, |pool| pool.tier_since),
            });
        }
        let added = self.checks.settle();
        // Not before all have subscribed: a later one may know more of a new check.
        for pool in 0..self.pools.len() {
            for server in 0..self.pools[pool].members.len() {
                let state = self.judged(pool, server);
                let member = &mut self.pools[pool].members[server];
                if member.state != state {
                    member.state = state;
                    member.since = now;
                }
            }
        }
        added
    }

    /// What a member's checks before have found of what a check looks at: the one of the same name or with the same
    /// probe, else all of them together.
    fn found_before(&self, old: &Member, spec: &CheckSpec) -> CheckState {
        let slots = || old.checks.iter().filter_map(|check| self.checks.get(*check));
        let by_name = slots().find(|slot| slot.spec.name == spec.name);
        let by_probe = || slots().find(|slot| slot.spec.probe == spec.probe);
        match (by_name.or_else(by_probe), old.state) {
            (Some(slot), _) => slot.machine.state(),
            (None, ServerState::Unknown) => CheckState::Unknown,
            (None, ServerState::Up) => CheckState::Up,
            (None, ServerState::Down) => CheckState::Down,
        }
    }

    /// The checks of all members.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// The checks of all members.
    pub(super) fn checks_mut(&mut self) -> &mut Checks {
        &mut self.checks
    }

    /// The names of a member.
    pub(super) fn name(&self, Subscriber { pool, server }: Subscriber) -> ServerId {
        self.pools[pool].members[server].id.clone()
    }

    /// The states of a pool's members, in the order of the configuration.
    pub fn states(&self, pool: usize) -> Vec<ServerState> {
        self.pools[pool].members.iter().map(|member| member.state).collect()
    }

    /// How many members of all pools are up, down, and without a verdict.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted| {
            self.pools
                .iter()
                .flat_map(|pool| &pool.members)
                .filter(|m| m.state == wanted)
                .count()
        };
        (
            count(ServerState::Up),
            count(ServerState::Down),
            count(ServerState::Unknown),
        )
    }

    fn judged(&self, pool: usize, server: usize) -> ServerState {
        let checks = &self.pools[pool].members[server].checks;
        health::server_state(
            checks
                .iter()
                .filter_map(|check| self.checks.get(*check))
                .map(|slot| slot.machine.state()),
        )
    }

    /// Renews a member's state from its checks; answers with the change, if there is one.
    pub(super) fn update_server(
        &mut self,
        Subscriber { pool, server }: Subscriber,
        check: &str,
        cause: Option<&FailureCause>,
        now: Instant,
    ) -> Option<Transition> {
        let to = self.judged(pool, server);
        let member = &mut self.pools[pool].members[server];
        if member.state == to {
            return None;
        }
        let from = std::mem::replace(&mut member.state, to);
        let lasted = now.since(std::mem::replace(&mut member.since, now));
        Some(Transition::ServerChanged {
            server: member.id.clone(),
            from,
            to,
            check: check.to_owned(),
            cause: cause.cloned(),
            lasted,
        })
    }

    /// Renews a pool's active tier; answers with the change, if there is one worth telling.
    pub(super) fn update_tier(&mut self, config: &Config, pool: usize, now: Instant) -> Option<Transition> {
        let server = &config.virtual_servers[pool];
        let tier = health::active_tier(server, &self.states(pool));
        let found = &mut self.pools[pool];
        let from = found.tier.replace(tier);
        if tier == Tier::Pending || from == Some(tier) {
            found.tier = from;
            return None;
        }
        let lasted = now.since(std::mem::replace(&mut found.tier_since, now));
        // A pool whose first tier serves from the start has nothing to tell.
        if from.is_none() && tier == Tier::Servers(0) {
            return None;
        }
        let virtual_server = server.name.clone();
        let (from, to) = (from.and_then(|tier| tier_name(server, tier)), tier_name(server, tier));
        Some(Transition::TierChanged {
            virtual_server,
            from,
            to,
            lasted,
        })
    }
}

fn name_of(server: &VirtualServer, real_server: &RealServer) -> ServerId {
    let server_name = match real_server.port {
        Some(port) => SocketAddr::new(real_server.address, port).to_string(),
        None => server.services.first().map_or_else(
            || real_server.address.to_string(),
            |service| real_server.destination(service).to_string(),
        ),
    };
    ServerId {
        virtual_server: server.name.clone(),
        server: server_name,
    }
}

/// Where a check connects: its own address, else the real server's; its own port, else the real server's, else that of
/// the pool's first service. Through the table it is the pool's first virtual address.
fn target_of(server: &VirtualServer, real_server: &RealServer, spec: &CheckSpec) -> Target {
    let first = server.services.first();
    let service_port = || first.and_then(crate::model::ServiceKey::port);
    let port = spec
        .connect_port
        .or(real_server.port)
        .or_else(service_port)
        .unwrap_or(0);
    let virtual_address = first
        .and_then(crate::model::ServiceKey::address)
        .filter(|_| spec.via == Via::Path);
    let address = virtual_address.or(spec.connect_ip).unwrap_or(real_server.address);
    let path = virtual_address.map(|address| Path {
        family: Family::of(address),
        server: real_server.address,
        forwarding: real_server.spec.forwarding,
    });
    Target {
        address: SocketAddr::new(address, port),
        path,
    }
}

fn tier_name(server: &VirtualServer, tier: Tier) -> Option<String> {
    match tier {
        Tier::Servers(0) => Some("the pool".to_owned()),
        Tier::Servers(tier) => Some(format!("backup tier {tier}")),
        Tier::Sorry => server.sorry_server.as_ref().map(|sorry| match server.services.first() {
            Some(service) => format!("sorry server {}", sorry.destination(service)),
            None => format!("sorry server {}", sorry.address),
        }),
        Tier::Pending | Tier::Nobody => None,
    }
}
