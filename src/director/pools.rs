//! The members of every pool: their states, the tier that serves, and what a new configuration keeps.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::checks::{Before, CheckId, CheckSlot, Checks, Subscriber, Target};
use super::paths::Path;
use crate::health::{self, Advised, Found, Inputs, PoolNews, Seat, Standing, Tier};
use crate::model::{
    AdminState, CheckSpec, CheckState, Config, DestinationKey, FailureCause, Family, HoldId, Instant, RealServer,
    ServerId, ServerState, ServiceKey, Table, Transition, Via, VirtualServer, WeightAdvice,
};

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: ServerId,
    pub(super) checks: Vec<CheckId>,
    /// Nobody probes it, so its state means nothing once it is enabled again.
    pub(super) disabled: bool,
    /// As its checks have it.
    pub(super) state: ServerState,
    pub(super) since: Instant,
    wishes: Wishes,
}

/// What the operator wants of one member; kept over a reload.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    pub(super) state: AdminState,
    pub(super) weight: Option<WeightAdvice>,
}

#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) members: Vec<Member>,
    /// One for each member: what counts for it.
    pub(super) seats: Vec<Seat>,
    /// What decides which tier serves.
    pub(super) machine: health::Pool,
    /// When it has to be looked at again.
    wake: Option<Instant>,
    /// Its checks are suspended.
    pub(super) suspended: bool,
}

impl Pool {
    fn look(&mut self, server: &VirtualServer, believed: &Table, ordered_back: bool, now: Instant) -> Vec<PoolNews> {
        let keys = server.services.iter();
        // Looked up once: there may be thousands of them, and each member asks.
        let services: Vec<_> = keys
            .filter_map(|key| Some((key, believed.services.get(key)?)))
            .collect();
        let weighs = |destination: &dyn Fn(&ServiceKey) -> DestinationKey| {
            let mut found = services.iter();
            found.any(|(key, service)| {
                let found = service.destinations.get(&destination(key));
                found.is_some_and(|spec| spec.weight > 0)
            })
        };
        let found = Found {
            member: &|index| weighs(&|key| server.real_servers[index].destination(key)),
            sorry: server
                .sorry_server
                .as_ref()
                .is_some_and(|sorry| weighs(&|key| sorry.destination(key))),
        };
        self.machine.look(server, &mut self.seats, found, ordered_back, now)
    }
}

/// What taking a configuration over has come to.
pub(super) struct Taken {
    /// The checks that are new, with their settings.
    pub(super) added: Vec<(CheckId, Arc<CheckSpec>)>,
    /// The held connections that nobody wants any more.
    pub(super) closed: Vec<HoldId>,
    /// The pools that are new or of which something has changed.
    pub(super) changed: BTreeSet<usize>,
}

/// All pools, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Pools {
    pools: Vec<Pool>,
    checks: Checks,
    /// When which pools have to be looked at again.
    wakes: BTreeSet<(Instant, usize)>,
}

impl Pools {
    /// Takes a configuration over; `before` is the one that these pools are of.
    ///
    /// A check that is the same as before (same target, same settings) goes on as if nothing had happened, running
    /// probe included, whoever it is for now. One whose settings changed keeps its verdict and starts counting anew. A
    /// pool of which nothing has changed stays as it is.
    pub(super) fn load(&mut self, before: &Config, config: &Config, now: Instant) -> Taken {
        let mut old_pools: Vec<_> = std::mem::take(&mut self.pools).into_iter().map(Some).collect();
        let old_places: HashMap<&str, usize> = (0..)
            .zip(&before.virtual_servers)
            .map(|(place, server)| (server.name.as_str(), place))
            .collect();
        self.checks.unsubscribe_all();
        let mut changed = BTreeSet::new();
        for (pool_index, server) in config.virtual_servers.iter().enumerate() {
            // Nearly always where it was.
            let is_it = |place: &usize| {
                before
                    .virtual_servers
                    .get(*place)
                    .is_some_and(|old| old.name == server.name)
            };
            let place = Some(pool_index)
                .filter(is_it)
                .or_else(|| old_places.get(server.name.as_str()).copied());
            let old_pool = place.and_then(|place| old_pools.get_mut(place)?.take());
            let pool = match (place.and_then(|place| before.virtual_servers.get(place)), old_pool) {
                (Some(old), Some(pool)) if old == server => {
                    self.checks.subscribe_again(pool_index, &pool.members);
                    pool
                }
                (_, old_pool) => {
                    changed.insert(pool_index);
                    self.rebuilt(server, pool_index, old_pool, now)
                }
            };
            self.pools.push(pool);
        }
        let (added, closed) = self.checks.settle();
        // Not before all have subscribed: a later one may know more of a new check.
        for pool in changed.iter().copied() {
            for server in 0..self.pools[pool].members.len() {
                let state = self.judged(pool, server);
                let member = &mut self.pools[pool].members[server];
                if member.state != state {
                    member.state = state;
                    member.since = now;
                }
                self.restand(config, pool, server);
            }
        }
        let wakes = self.pools.iter().enumerate();
        self.wakes = wakes.filter_map(|(index, pool)| Some((pool.wake?, index))).collect();
        Taken { added, closed, changed }
    }

    /// The pool of a virtual server that is new or has changed, with what its members had before.
    fn rebuilt(&mut self, server: &VirtualServer, pool_index: usize, old_pool: Option<Pool>, now: Instant) -> Pool {
        let old_members: HashMap<&str, (&Member, &Seat)> = old_pool
            .iter()
            .flat_map(|pool| pool.members.iter().zip(&pool.seats))
            .map(|(member, seat)| (member.id.server.as_str(), (member, seat)))
            .collect();
        let mut members = Vec::with_capacity(server.real_servers.len());
        let mut seats = Vec::with_capacity(server.real_servers.len());
        for (server_index, real_server) in server.real_servers.iter().enumerate() {
            let id = name_of(server, real_server);
            let old = old_members.get(id.server.as_str()).copied();
            let wishes = old.map(|(member, _)| member.wishes).unwrap_or_default();
            let old = old.filter(|(member, _)| !member.disabled);
            let subscriber = Subscriber {
                pool: pool_index,
                server: server_index,
            };
            let wanted = match real_server.disabled {
                true => &[][..],
                false => &real_server.checks,
            };
            let subscribe = |spec: &Arc<CheckSpec>| {
                let before = old.map(|(old, _)| self.found_before(old, spec)).unwrap_or_default();
                let target = target_of(server, real_server, spec);
                self.checks.subscribe(spec, target, subscriber, before, now)
            };
            let checks = wanted.iter().map(subscribe).collect();
            let state = old.map_or(ServerState::Unknown, |(old, _)| old.state);
            let seat = old.map(|(_, seat)| seat.clone());
            seats.push(seat.unwrap_or_else(|| Seat::new(Standing::plain(0, state))));
            members.push(Member {
                id,
                checks,
                disabled: real_server.disabled,
                state,
                since: old.map_or(now, |(old, _)| old.since),
                wishes,
            });
        }
        let suspended = old_pool.as_ref().is_some_and(|pool| pool.suspended);
        Pool {
            name: server.name.clone(),
            members,
            seats,
            machine: old_pool.map(|pool| pool.machine).unwrap_or_default(),
            wake: None,
            suspended,
        }
    }

    /// What a member's checks before have found of what a check looks at: the one of the same name or with the same
    /// probe, else all of them together. What the other director says is not theirs.
    fn found_before(&self, old: &Member, spec: &CheckSpec) -> Before {
        let by_name = self.slots(old).find(|slot| slot.spec.name == spec.name);
        let by_probe = || self.slots(old).find(|slot| slot.spec.probe == spec.probe);
        let all = || health::server_state(self.slots(old).map(|slot| slot.machine.state()));
        let state = match by_name.or_else(by_probe) {
            Some(slot) => slot.machine.state(),
            None => match all() {
                ServerState::Unknown => CheckState::Unknown,
                ServerState::Up => CheckState::Up,
                ServerState::Down => CheckState::Down,
            },
        };
        // Changed settings are no reason to take back what it advised.
        let advised = by_name.map(|slot| slot.advised).unwrap_or_default();
        Before { state, advised }
    }

    /// The checks of all members.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// The checks of all members.
    pub(super) fn checks_mut(&mut self) -> &mut Checks {
        &mut self.checks
    }

    /// All pools, in the order of the configuration.
    pub(super) fn all(&self) -> &[Pool] {
        &self.pools
    }

    /// One pool, by its place in the configuration.
    pub(super) fn pool_mut(&mut self, pool: usize) -> Option<&mut Pool> {
        self.pools.get_mut(pool)
    }

    /// One pool, by its place in the configuration.
    pub(super) fn pool(&self, pool: usize) -> Option<&Pool> {
        self.pools.get(pool)
    }

    /// The names of a member.
    pub(super) fn name(&self, pool: usize, server: usize) -> ServerId {
        self.pools[pool].members[server].id.clone()
    }

    /// What counts for each of a pool's members, in the order of the configuration, and what the pool remembers of it.
    pub fn seats(&self, pool: usize) -> &[Seat] {
        &self.pools[pool].seats
    }

    /// What decides which tier of a pool serves.
    pub fn machine(&self, pool: usize) -> &health::Pool {
        &self.pools[pool].machine
    }

    /// Where a member is: its pool and its place in it.
    pub fn find(&self, server: &ServerId) -> Option<(usize, usize)> {
        let pool = self.find_pool(&server.virtual_server)?;
        let members = &self.pools[pool].members;
        Some((
            pool,
            members.iter().position(|member| member.id.server == server.server)?,
        ))
    }

    /// The place of the pool of this virtual server.
    pub fn find_pool(&self, virtual_server: &str) -> Option<usize> {
        self.pools.iter().position(|pool| pool.name == virtual_server)
    }

    /// The names of all pools.
    pub fn pool_names(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().map(|pool| pool.name.as_str())
    }

    /// The names of a pool's members, in the order of the configuration.
    pub fn member_names(&self, pool: usize) -> impl Iterator<Item = &ServerId> {
        self.pools[pool].members.iter().map(|member| &member.id)
    }

    /// All that is said about one member; [`health::standing`] makes of it what counts.
    pub fn inputs(&self, config: &Config, pool: usize, server: usize) -> Inputs {
        let member = &self.pools[pool].members[server];
        self.inputs_of(&config.virtual_servers[pool].real_servers[server], member)
    }

    pub(super) fn inputs_of(&self, real_server: &RealServer, member: &Member) -> Inputs {
        let advised = |slot: &CheckSlot| {
            let counting = slot.counting_advice();
            let asked = match counting.drain {
                true => AdminState::Drain,
                false => AdminState::Ready,
            };
            let state = counting.advice.state.map_or(asked, |state| asked.max(state.into()));
            let weight = counting.advice.weight;
            (weight.is_some() || state != AdminState::Ready).then(|| Advised {
                check: slot.spec.name.clone(),
                weight,
                state,
            })
        };
        Inputs {
            configured_weight: real_server.spec.weight,
            operator_weight: member.wishes.weight,
            operator_state: member.wishes.state,
            advised: self.slots(member).filter_map(advised).collect(),
            checks: member.state,
        }
    }

    /// What counts for one member.
    pub fn standing(&self, pool: usize, server: usize) -> &Standing {
        &self.pools[pool].seats[server].standing
    }

    /// The checks that a member goes by.
    pub(super) fn slots<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a CheckSlot> {
        member.checks.iter().filter_map(|check| self.checks.get(*check))
    }

    /// What the operator wants of a member, to be changed; [`Pools::restand`] makes it count.
    pub(super) fn wishes_mut(&mut self, pool: usize, server: usize) -> &mut Wishes {
        &mut self.pools[pool].members[server].wishes
    }

    /// Works out anew what counts for a member; answers with what counted before where that was something else.
    pub(super) fn restand(&mut self, config: &Config, pool: usize, server: usize) -> Option<Standing> {
        let standing = health::standing(&self.inputs(config, pool, server));
        let seat = &mut self.pools[pool].seats[server];
        (seat.standing != standing).then(|| std::mem::replace(&mut seat.standing, standing))
    }

    /// How many members of all pools are up, down, and without a verdict.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted| {
            self.pools
                .iter()
                .flat_map(|pool| &pool.seats)
                .filter(|seat| seat.standing.state == wanted)
                .count()
        };
        (
            count(ServerState::Up),
            count(ServerState::Down),
            count(ServerState::Unknown),
        )
    }

    /// A member's state as its checks have it now.
    pub(super) fn judged(&self, pool: usize, server: usize) -> ServerState {
        let member = &self.pools[pool].members[server];
        health::server_state(self.slots(member).map(CheckSlot::state))
    }

    /// Renews a member's state from its checks; answers with the change, if there is one.
    pub(super) fn update_server(
        &mut self,
        pool: usize,
        server: usize,
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

    /// Looks at a pool anew, by what its members are and what the table holds; answers with what is to be told.
    pub(super) fn look(
        &mut self,
        config: &Config,
        pool: usize,
        believed: &Table,
        ordered_back: bool,
        now: Instant,
    ) -> Vec<PoolNews> {
        let here = &mut self.pools[pool];
        let news = here.look(&config.virtual_servers[pool], believed, ordered_back, now);
        if let Some(wake) = here.wake.take() {
            self.wakes.remove(&(wake, pool));
        }
        here.wake = here.machine.next_look(&config.virtual_servers[pool], &here.seats, now);
        self.wakes.extend(here.wake.map(|at| (at, pool)));
        news
    }

    /// A pool as it would be after a look at it.
    pub(super) fn foreseen(&self, config: &Config, pool: usize, believed: &Table, now: Instant) -> Pool {
        let mut foreseen = self.pools[pool].clone();
        foreseen.look(&config.virtual_servers[pool], believed, false, now);
        foreseen
    }

    /// When a pool has to be looked at next.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The pools that have to be looked at now.
    pub(super) fn woken(&mut self, now: Instant) -> Vec<usize> {
        let mut woken = Vec::new();
        while let Some((at, pool)) = self.wakes.first().copied()
            && at <= now
        {
            self.wakes.remove(&(at, pool));
            self.pools[pool].wake = None;
            woken.push(pool);
        }
        woken
    }

    /// Whether the checks of a pool are suspended.
    pub fn is_suspended(&self, pool: usize) -> bool {
        self.pools[pool].suspended
    }

    /// Suspends the checks of a pool or lets them go on; answers whether that is a change.
    pub(super) fn suspend(&mut self, pool: usize, suspended: bool) -> bool {
        std::mem::replace(&mut self.pools[pool].suspended, suspended) != suspended
    }

    /// The checks of all members of a pool.
    pub(super) fn checks_of(&self, pool: usize) -> impl Iterator<Item = CheckId> {
        self.pools[pool]
            .members
            .iter()
            .flat_map(|member| member.checks.iter().copied())
    }
}

pub(super) fn name_of(server: &VirtualServer, real_server: &RealServer) -> ServerId {
    ServerId {
        virtual_server: server.name.clone(),
        server: address_of(server, real_server).to_string(),
    }
}

/// The address and port that a member is known by: its own port, else that of the pool's first service, else 0.
pub(super) fn address_of(server: &VirtualServer, real_server: &RealServer) -> SocketAddr {
    let service_port = || server.services.first().and_then(ServiceKey::port);
    let port = real_server.port.or_else(service_port).unwrap_or(0);
    SocketAddr::new(real_server.address, port)
}

/// Where a check connects: its own address, else the real server's; its own port, else the real server's, else that of
/// the pool's first service. Through the table it is the pool's first virtual address.
fn target_of(server: &VirtualServer, real_server: &RealServer, spec: &CheckSpec) -> Target {
    let first = server.services.first();
    let service_port = || first.and_then(ServiceKey::port);
    let port = spec
        .connect_port
        .or(real_server.port)
        .or_else(service_port)
        .unwrap_or(0);
    let virtual_address = first.and_then(ServiceKey::address).filter(|_| spec.via == Via::Path);
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

/// What a tier is called in reports.
pub(super) fn tier_name(server: &VirtualServer, tier: Tier) -> Option<String> {
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
