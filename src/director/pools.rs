//! The members of every pool: their checks, their states, the tier that serves, and what a new configuration keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::history::History;
use crate::health::{self, Advised, Check, Found, Inputs, PoolNews, Seat, Standing, Tier};
use crate::model::{
    Action, AdminState, Advice, CheckSpec, CheckState, Config, DestinationKey, FailureCause, Instant, LocalTrouble,
    ProbeId, ProbeWarning, RealServer, ServerId, ServerState, ServiceKey, Table, Transition, VirtualServer,
};

/// Names one check of one real server of one pool. Never used twice in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CheckId(pub(super) u64);

/// One check and where it belongs.
#[derive(Debug)]
pub(super) struct CheckSlot {
    pub(super) spec: Arc<CheckSpec>,
    pub(super) machine: Check,
    pub(super) pool: usize,
    pub(super) server: usize,
    /// This host's trouble that was told of last; `None` once a probe has said something about the server.
    pub(super) trouble: Option<LocalTrouble>,
    /// What the last probe that passed warned of.
    pub(super) warning: Option<ProbeWarning>,
    /// What it has advised about the server so far.
    pub(super) advice: Advice,
    /// Its last probe that said anything found the server asking for no new connections.
    pub(super) asks_drain: bool,
    pub(super) history: History,
    pub(super) target: SocketAddr,
}

/// A probe that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finished {
    pub(super) check: CheckId,
    /// When it had been due.
    pub(super) due: Instant,
    /// When it was started.
    pub(super) started: Instant,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: ServerId,
    pub(super) checks: Vec<CheckId>,
    /// Nobody probes it, so its state means nothing once it is enabled again.
    disabled: bool,
    /// As its checks have it.
    pub(super) state: ServerState,
    pub(super) since: Instant,
    wishes: Wishes,
}

/// What the operator wants of one member; kept over a reload.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    pub(super) state: AdminState,
    pub(super) weight: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Pool {
    name: String,
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

/// All pools, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Pools {
    pools: Vec<Pool>,
    checks: BTreeMap<CheckId, CheckSlot>,
    running: HashMap<ProbeId, Finished>,
    /// When which pools have to be looked at again.
    wakes: BTreeSet<(Instant, usize)>,
    last_check: u64,
    last_probe: u64,
}

impl Pools {
    /// Takes a configuration over and answers with the checks that are new, with their intervals.
    ///
    /// A check that is the same as before (same pool by name, same server, same settings) goes on as if nothing had
    /// happened, running probe included. One whose settings changed keeps its verdict and starts counting anew.
    pub(super) fn load(&mut self, config: &Config, now: Instant) -> Vec<(CheckId, Duration)> {
        let old_pools: HashMap<String, Pool> = std::mem::take(&mut self.pools)
            .into_iter()
            .map(|pool| (pool.name.clone(), pool))
            .collect();
        let mut old_checks = std::mem::take(&mut self.checks);
        let mut added = Vec::new();
        self.wakes.clear();
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
            let old_seats: HashMap<&str, &Seat> = old_pool
                .map(|pool| {
                    let names = pool.members.iter().map(|member| member.id.server.as_str());
                    names.zip(&pool.seats).collect()
                })
                .unwrap_or_default();
            let mut members = Vec::with_capacity(server.real_servers.len());
            let mut seats = Vec::with_capacity(server.real_servers.len());
            for (server_index, real_server) in server.real_servers.iter().enumerate() {
                let id = name_of(server, real_server);
                let old = old_members.get(id.server.as_str());
                let wishes = old.map(|member| member.wishes).unwrap_or_default();
                let old = old.filter(|member| !member.disabled);
                let (state, since) = old.map_or((None, now), |member| (Some(member.state), member.since));
                let mut unclaimed = old.map(|member| member.checks.clone()).unwrap_or_default();
                let advised: HashMap<String, (Advice, bool)> = unclaimed
                    .iter()
                    .filter_map(|check| old_checks.get(check))
                    .map(|slot| (slot.spec.name.clone(), (slot.advice, slot.asks_drain)))
                    .collect();
                let mut checks = Vec::with_capacity(real_server.checks.len());
                if !real_server.disabled {
                    for spec in &real_server.checks {
                        let target = target_of(server, real_server, spec);
                        let same = unclaimed.iter().position(|check| {
                            old_checks
                                .get(check)
                                .is_some_and(|slot| slot.spec == *spec && slot.target == target)
                        });
                        let (check, slot) = match same.map(|index| unclaimed.swap_remove(index)) {
                            Some(check) => (check, old_checks.remove(&check)),
                            None => (self.next_check_id(), None),
                        };
                        let slot = match slot {
                            Some(slot) => CheckSlot {
                                pool: pool_index,
                                server: server_index,
                                ..slot
                            },
                            None => {
                                added.push((check, spec.interval));
                                // Changed settings are no reason to take back what it advised.
                                let (advice, asks_drain) = advised.get(&spec.name).copied().unwrap_or_default();
                                CheckSlot {
                                    advice,
                                    asks_drain,
                                    ..new_slot(spec, target, state, (pool_index, server_index), now)
                                }
                            }
                        };
                        self.checks.insert(check, slot);
                        checks.push(check);
                    }
                }
                let (state, disabled) = (state.unwrap_or(ServerState::Unknown), real_server.disabled);
                let seat = old.and_then(|_| old_seats.get(id.server.as_str()).copied()).cloned();
                seats.push(seat.unwrap_or_else(|| Seat::new(Standing::plain(0, state))));
                members.push(Member {
                    id,
                    checks,
                    disabled,
                    state,
                    since,
                    wishes,
                });
            }
            self.pools.push(Pool {
                name: server.name.clone(),
                members,
                seats,
                machine: old_pool.map(|pool| pool.machine.clone()).unwrap_or_default(),
                wake: None,
                suspended: old_pool.is_some_and(|pool| pool.suspended),
            });
            for server_index in 0..self.pools[pool_index].members.len() {
                let state = self.judged(pool_index, server_index);
                let member = &mut self.pools[pool_index].members[server_index];
                if member.state != state {
                    member.state = state;
                    member.since = now;
                }
                self.restand(config, pool_index, server_index);
            }
        }
        let checks = &self.checks;
        self.running.retain(|_, finished| checks.contains_key(&finished.check));
        added
    }

    fn next_check_id(&mut self) -> CheckId {
        self.last_check += 1;
        CheckId(self.last_check)
    }

    pub(super) fn check(&self, check: CheckId) -> Option<&CheckSlot> {
        self.checks.get(&check)
    }

    pub(super) fn check_mut(&mut self, check: CheckId) -> Option<&mut CheckSlot> {
        self.checks.get_mut(&check)
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
            let asked = match slot.asks_drain {
                true => AdminState::Drain,
                false => AdminState::Ready,
            };
            let state = slot.advice.state.map_or(asked, |state| asked.max(state.into()));
            let weight = slot.advice.weight;
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

    fn slots<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a CheckSlot> {
        member.checks.iter().filter_map(|check| self.checks.get(check))
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

    pub(super) fn start_probe(&mut self, check: CheckId, due: Instant, now: Instant) -> Option<Action> {
        let slot = self.checks.get(&check)?;
        self.last_probe += 1;
        let probe = ProbeId(self.last_probe);
        self.running.insert(
            probe,
            Finished {
                check,
                due,
                started: now,
            },
        );
        Some(Action::StartProbe {
            probe,
            spec: Arc::clone(&slot.spec.probe),
            target: slot.target,
            timeout: slot.spec.timeout,
        })
    }

    pub(super) fn finish_probe(&mut self, probe: ProbeId) -> Option<Finished> {
        self.running.remove(&probe)
    }

    fn judged(&self, pool: usize, server: usize) -> ServerState {
        let member = &self.pools[pool].members[server];
        health::server_state(self.slots(member).map(|slot| slot.machine.state()))
    }

    /// Renews a member's state from its checks; answers with the change, if there is one.
    pub(super) fn update_server(
        &mut self,
        pool: usize,
        server: usize,
        check: String,
        cause: Option<FailureCause>,
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
            check,
            cause,
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
        let server = &config.virtual_servers[pool];
        let weighs = |key: &ServiceKey, destination: DestinationKey| {
            let service = believed.services.get(key);
            let found = service.and_then(|service| service.destinations.get(&destination));
            found.is_some_and(|spec| spec.weight > 0)
        };
        let services = || server.services.iter();
        let found = Found {
            member: &|index| services().any(|key| weighs(key, server.real_servers[index].destination(key))),
            sorry: server
                .sorry_server
                .as_ref()
                .is_some_and(|sorry| services().any(|key| weighs(key, sorry.destination(key)))),
        };
        let here = &mut self.pools[pool];
        let news = here.machine.look(server, &mut here.seats, found, ordered_back, now);
        if let Some(wake) = here.wake.take() {
            self.wakes.remove(&(wake, pool));
        }
        here.wake = here.machine.next_look(server, &here.seats, now);
        self.wakes.extend(here.wake.map(|at| (at, pool)));
        news
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

fn new_slot(
    spec: &Arc<CheckSpec>,
    target: SocketAddr,
    server_state: Option<ServerState>,
    (pool, server): (usize, usize),
    now: Instant,
) -> CheckSlot {
    let machine = match server_state {
        None | Some(ServerState::Unknown) => Check::new(spec.initial),
        Some(ServerState::Up) => Check::carrying_on(CheckState::Up, spec.initial),
        Some(ServerState::Down) => Check::carrying_on(CheckState::Down, spec.initial),
    };
    CheckSlot {
        spec: Arc::clone(spec),
        machine,
        pool,
        server,
        trouble: None,
        warning: None,
        advice: Advice::default(),
        asks_drain: false,
        history: History::new(now),
        target,
    }
}

fn name_of(server: &VirtualServer, real_server: &RealServer) -> ServerId {
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
/// the pool's first service.
fn target_of(server: &VirtualServer, real_server: &RealServer, spec: &CheckSpec) -> SocketAddr {
    let service_port = || server.services.first().and_then(ServiceKey::port);
    let port = spec
        .connect_port
        .or(real_server.port)
        .or_else(service_port)
        .unwrap_or(0);
    SocketAddr::new(spec.connect_ip.unwrap_or(real_server.address), port)
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
