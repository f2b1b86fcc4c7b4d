//! What a director knows, for the process after it; and what the one before knew, taken over where it still fits.
//!
//! A check is the same one while its target and all its settings are. Whoever goes by checks that are all known starts
//! in the state that they give; whoever does not stays as it was found, until its own first verdict. What is taken over
//! leads to no event and no command of its own: nothing has happened.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Director;
use super::checks::{Advised, CheckSlot, Target};
use super::history::History;
use super::pools::{Member, Pool, Pools};
use crate::health::{self, Check, Seat};
use crate::model::{
    Action, Advice, AdviceSnapshot, CheckSnapshot, CheckSpec, Config, Instant, MemberSnapshot, PoolSnapshot, Snapshot,
    Transition,
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

impl Director {
    /// What is to be kept for the next process.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut digests = Digests::default();
        let mut check = |slot: &CheckSlot| CheckSnapshot {
            target: text_of(&slot.target),
            settings: digests.of(&slot.spec),
            machine: slot.machine.snapshot(now),
            since: now.age_of(slot.history.since),
            advised: AdviceSnapshot {
                weight: slot.advised.advice.weight,
                state: slot.advised.advice.state,
                max_connections: slot.advised.advice.max_connections,
                drain: slot.advised.drain,
            },
            results: slot.history.snapshot(now),
        };
        let (drains, services) = self.drains.snapshot(&self.config, now);
        Snapshot {
            checks: self.pools.checks().slots().map(&mut check).collect(),
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
        if known > 0 || !pools.is_empty() {
            actions.push(Action::Report(Transition::StateTakenOver { checks: known, of, age }));
        }
    }
}

impl Pools {
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
fn longest_pause(spec: &CheckSpec) -> Duration {
    let interval = spec.interval.max(spec.retry_interval).max(spec.down_interval);
    interval.saturating_mul(2).saturating_add(spec.timeout)
}

fn text_of(target: &Target) -> String {
    let Target { address, path } = target;
    match path {
        None => address.to_string(),
        Some(path) => format!("{address} by way of {} ({:?})", path.server, path.forwarding),
    }
}

/// Digests of settings; checks that share them are many.
#[derive(Default)]
struct Digests(HashMap<*const CheckSpec, String>);

impl Digests {
    /// The same for the same settings, passwords left out. A version of ipvsd that has other settings has other digests,
    /// and starts without verdicts then.
    fn of(&mut self, spec: &Arc<CheckSpec>) -> String {
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
