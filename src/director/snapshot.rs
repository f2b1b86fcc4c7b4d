//! What a director knows, for the process after it; and what the one before knew, taken over where it still fits.
//!
//! A check is the same one while its target and all its settings are. Whoever goes by checks that are all known starts
//! in the state that they give; whoever does not stays as it was found, until its own first verdict. What is taken over
//! leads to no event and no command of its own: nothing has happened. Where the table tells another tale than the file,
//! which may be a second older, neither is believed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Director;
use super::checks::{Advised, CheckSlot, Subscriber, Target};
use super::history::History;
use super::pools::{Member, Pool, Pools};
use crate::health::{self, Check, Inputs, Seat};
use crate::model::{
    Action, Advice, AdviceSnapshot, CheckSnapshot, CheckSpec, Config, DestinationKey, DestinationSpec, DrainSnapshot,
    Instant, LeavingSnapshot, MachineSnapshot, MemberSnapshot, PoolSnapshot, ServerState, Snapshot, Transition,
};

/// What the process before knew.
#[derive(Debug, Clone)]
pub(super) struct Recalled {
    snapshot: Snapshot,
    age: Duration,
    /// When it was written down.
    taken: Instant,
}

impl Recalled {
    pub(super) fn new(snapshot: Snapshot, age: Duration, now: Instant) -> Self {
        let taken = now - age;
        Self { snapshot, age, taken }
    }
}

/// What a director knows, before it is put into words.
#[derive(Debug)]
pub struct Notes {
    now: Instant,
    checks: Vec<CheckNotes>,
    pools: Vec<PoolSnapshot>,
    drains: Vec<DrainSnapshot>,
    services: Vec<LeavingSnapshot>,
}

#[derive(Debug)]
struct CheckNotes {
    target: Target,
    spec: Arc<CheckSpec>,
    machine: MachineSnapshot,
    advised: Advised,
    history: History,
}

impl Notes {
    /// Puts them into words.
    pub fn snapshot(self) -> Snapshot {
        let mut digests = Digests::default();
        let check = |notes: CheckNotes| CheckSnapshot {
            target: text_of(&notes.target),
            settings: digests.of(&notes.spec),
            machine: notes.machine,
            since: self.now.age_of(notes.history.since),
            advised: AdviceSnapshot {
                weight: notes.advised.advice.weight,
                state: notes.advised.advice.state,
                max_connections: notes.advised.advice.max_connections,
                drain: notes.advised.drain,
            },
            results: notes.history.snapshot(self.now),
        };
        Snapshot {
            checks: self.checks.into_iter().map(check).collect(),
            pools: self.pools,
            drains: self.drains,
            services: self.services,
        }
    }
}

impl Director {
    /// What is to be kept for the next process.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.notes(now).snapshot()
    }

    /// What [`Self::snapshot`] is made of, taken down in no time, so that its words can be found elsewhere: those of ten
    /// thousand checks take longer than probes can wait.
    pub fn notes(&self, now: Instant) -> Notes {
        let check = |slot: &CheckSlot| CheckNotes {
            target: slot.target,
            spec: Arc::clone(&slot.spec),
            machine: slot.machine.snapshot(now),
            advised: slot.advised,
            history: slot.history.clone(),
        };
        let (drains, services) = self.drains.snapshot(&self.config, now);
        Notes {
            now,
            checks: self.pools.checks().slots().map(check).collect(),
            pools: self.pools.all().iter().map(|pool| pool_snapshot(pool, now)).collect(),
            drains,
            services,
        }
    }

    /// Another number whenever [`Director::snapshot`] has something that is worth keeping: a verdict, not every result.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes over what the process before knew and this configuration still has.
    pub(super) fn recall(&mut self, config: &Config, now: Instant, actions: &mut Vec<Action>) {
        let Some(Recalled { snapshot, age, taken }) = self.recalled.take() else {
            return;
        };
        let Snapshot {
            checks,
            pools,
            drains,
            services,
        } = snapshot;
        let known = self.pools.recall_checks(&checks, taken, now);
        self.pools.recall_pools(&pools, config, taken);
        self.drains
            .restore((drains, services), config, &self.owned.services, taken, now);
        let of = self.pools.checks().slots().count();
        self.to_be_doubted = true;
        if known > 0 || !pools.is_empty() {
            actions.push(Action::Report(Transition::StateTakenOver { checks: known, of, age }));
        }
    }
}

impl Director {
    /// The file may lag behind the table: whoever was killed between writing the one and the other has left a server out
    /// that the file has up, or in that it has down. A server of which the two tell different things, in a service that
    /// is there, stays as it was found until its own next verdict, as if nothing were known. The same goes for whoever
    /// does not serve by what an agent had said.
    ///
    /// A service that is gone says nothing about its servers: that was no verdict of ours.
    pub(super) fn doubt_what_was_recalled(&mut self, now: Instant) {
        let Some(believed) = self
            .believed
            .clone()
            .filter(|_| std::mem::take(&mut self.to_be_doubted))
        else {
            return;
        };
        let config = Arc::clone(&self.config);
        for (index, server) in config.virtual_servers.iter().enumerate() {
            let mut doubted = BTreeSet::new();
            let mut sorry_serves = false;
            let foreseen = self.pools.foreseen(&config, index, &believed, now);
            let tier = foreseen.machine.tier();
            for key in &server.services {
                let Some(service) = believed.services.get(key) else {
                    continue;
                };
                let found = &service.destinations;
                let desired = &health::destinations(server, tier, &foreseen.seats, key, Some(service));
                let weighs = |destinations: &BTreeMap<DestinationKey, DestinationSpec>, destination| {
                    destinations.get(&destination).is_some_and(|spec| spec.weight > 0)
                };
                let sorry = server.sorry_server.as_ref().map(|sorry| sorry.destination(key));
                sorry_serves |= sorry.is_some_and(|sorry| weighs(found, sorry));
                for (place, real) in server.real_servers.iter().enumerate() {
                    let destination = real.destination(key);
                    let told = match self.pools.judged(index, place) {
                        ServerState::Up => match (weighs(desired, destination), weighs(found, destination)) {
                            (true, false) => true,
                            (false, true) => self.pools.is_kept_out_by_advice(&config, index, place),
                            (true, true) | (false, false) => false,
                        },
                        ServerState::Down => !weighs(desired, destination) && weighs(found, destination),
                        ServerState::Unknown => false,
                    };
                    // Whoever is the sorry server as well may serve as that.
                    if told && !real.disabled && sorry != Some(destination) {
                        doubted.insert(place);
                    }
                }
            }
            if !doubted.is_empty() && sorry_serves {
                // Which tier serves follows from verdicts that are not believed.
                if let Some(pool) = self.pools.pool_mut(index) {
                    pool.machine = health::Pool::default();
                }
            }
            for place in doubted {
                self.pools.doubt(&config, index, place, now);
            }
        }
    }
}

impl Pools {
    /// Whether a member would serve if none of its checks had advised anything.
    fn is_kept_out_by_advice(&self, config: &Config, pool: usize, place: usize) -> bool {
        let mut inputs = self.inputs(config, pool, place);
        let serves = |inputs: &Inputs| health::standing(inputs).can_serve();
        !serves(&inputs) && {
            inputs.advised.clear();
            serves(&inputs)
        }
    }

    /// Takes back the verdicts of a member's checks, for all who go by them, and the advice that keeps it out.
    fn doubt(&mut self, config: &Config, pool: usize, place: usize, now: Instant) {
        let by_advice = self.is_kept_out_by_advice(config, pool, place);
        let checks = self.pool(pool).map(|pool| pool.members[place].checks.clone());
        for check in checks.into_iter().flatten() {
            let Some(slot) = self.checks_mut().get_mut(check) else {
                continue;
            };
            // What a probe of this process has found already is no hearsay.
            let is_hearsay = slot.recalled || slot.machine.progress(&slot.spec).0 > 0;
            if !is_hearsay || slot.machine.held_until().is_some() {
                continue;
            }
            slot.machine.doubt();
            slot.recalled = false;
            if by_advice {
                slot.advised.forget_what_keeps_out();
            }
            slot.history.since = now;
            for Subscriber { pool, server } in slot.subscribers.clone() {
                let state = self.judged(pool, server);
                if let Some(member) = self.pool_mut(pool).and_then(|pool| pool.members.get_mut(server)) {
                    (member.state, member.since) = (state, now);
                }
                self.restand(config, pool, server);
            }
        }
    }

    /// Answers with how many checks are known.
    fn recall_checks(&mut self, snapshots: &[CheckSnapshot], taken: Instant, now: Instant) -> usize {
        let mut known: HashMap<(&str, &str), Option<&CheckSnapshot>> = HashMap::with_capacity(snapshots.len());
        for snapshot in snapshots {
            let key = (snapshot.target.as_str(), snapshot.settings.as_str());
            // Two that only differ in what is never shown, a password: nobody knows whose verdict is whose.
            known
                .entry(key)
                .and_modify(|twice| *twice = None)
                .or_insert(Some(snapshot));
        }
        let mut digests = Digests::default();
        let mut count = 0;
        for slot in self.checks_mut().slots_mut() {
            let (target, settings) = (text_of(&slot.target), digests.of(&slot.spec));
            let Some(snapshot) = known.get(&(target.as_str(), settings.as_str())).copied().flatten() else {
                continue;
            };
            let last = snapshot.results.last().map(|result| taken.before_millis(result.0));
            let in_a_row = last.is_some_and(|last| now.since(last) <= longest_pause(&slot.spec));
            slot.machine = Check::restored(&snapshot.machine, &slot.spec, taken, in_a_row);
            slot.history = History::restored(&snapshot.results, taken.before_millis(snapshot.since), taken);
            slot.advised = Advised {
                advice: Advice {
                    weight: snapshot.advised.weight,
                    state: snapshot.advised.state,
                    max_connections: snapshot.advised.max_connections,
                },
                drain: snapshot.advised.drain,
            };
            slot.recalled = true;
            count += 1;
        }
        count
    }

    fn recall_pools(&mut self, snapshots: &[PoolSnapshot], config: &Config, taken: Instant) {
        let known: BTreeMap<&str, &PoolSnapshot> = snapshots.iter().map(|pool| (pool.name.as_str(), pool)).collect();
        for (index, server) in config.virtual_servers.iter().enumerate() {
            let snapshot = known.get(server.name.as_str()).copied();
            if let (Some(snapshot), Some(pool)) = (snapshot, self.pool_mut(index)) {
                pool.machine = health::Pool::restored(&snapshot.machine, server, taken);
            }
            let members: HashMap<&str, &MemberSnapshot> = snapshot
                .map(|pool| {
                    pool.members
                        .iter()
                        .map(|member| (member.server.as_str(), member))
                        .collect()
                })
                .unwrap_or_default();
            for place in 0..server.real_servers.len() {
                let state = self.judged(index, place);
                let Some(pool) = self.pool_mut(index) else { continue };
                let Some(member) = pool.members.get_mut(place) else {
                    continue;
                };
                member.state = state;
                let snapshot = members.get(member.id.server.as_str()).copied();
                if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.state == state && !member.disabled) {
                    member.since = taken.before_millis(snapshot.since);
                    let standing = pool.seats[place].standing.clone();
                    pool.seats[place] = Seat::restored(&snapshot.seat, standing, taken);
                }
                self.restand(config, index, place);
            }
        }
    }
}

fn pool_snapshot(pool: &Pool, now: Instant) -> PoolSnapshot {
    let member = |(member, seat): (&Member, &Seat)| MemberSnapshot {
        server: member.id.server.clone(),
        state: member.state,
        since: now.age_of(member.since),
        seat: seat.snapshot(now),
    };
    let present = |(member, _): &(&Member, &Seat)| !member.disabled;
    PoolSnapshot {
        name: pool.name.clone(),
        machine: pool.machine.snapshot(now),
        members: pool
            .members
            .iter()
            .zip(&pool.seats)
            .filter(present)
            .map(member)
            .collect(),
    }
}

/// How long after a result the next one may come and still be one in a row with it.
pub(super) fn longest_pause(spec: &CheckSpec) -> Duration {
    let interval = spec.interval.max(spec.retry_interval).max(spec.down_interval);
    interval.saturating_mul(2).saturating_add(spec.timeout)
}

pub(super) fn text_of(target: &Target) -> String {
    let Target { address, path } = target;
    match path {
        None => address.to_string(),
        Some(path) => format!("{address} by way of {} ({:?})", path.server, path.forwarding),
    }
}

/// Digests of settings; checks that share them are many.
#[derive(Default)]
pub(super) struct Digests(HashMap<*const CheckSpec, String>);

impl Digests {
    /// The same for the same settings, passwords left out. A version of ipvsd that has other settings has other digests,
    /// and starts without verdicts then.
    pub(super) fn of(&mut self, spec: &Arc<CheckSpec>) -> String {
        let digest = || {
            let digest = Sha256::digest(format!("{spec:?}"));
            digest.iter().take(8).fold(String::new(), |mut text, byte| {
                // Writing to a text cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        self.0.entry(Arc::as_ptr(spec)).or_insert_with(digest).clone()
    }
}
