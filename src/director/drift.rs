//! What somebody else changes in services of ours: how long it can have been wrong, who keeps doing it, and how patiently
//! it is put right then.
//!
//! One change is repaired at once. A service that is changed again and again is quarrelled over: writing it every few
//! seconds for ever helps nobody, so its repairs get rarer while the quarrel lasts. What the director itself decides
//! meanwhile (a server that fails or returns, an operator's word) is still written at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Director;
use super::foreign::is_foreign;
use crate::model::{Action, FoundProcess, Instant, Service, ServiceKey, Step, Transition};
use crate::plan;

/// So many changes of one service by somebody else within [`WINDOW`] are a quarrel.
pub(super) const DRIFTS: usize = 6;
const WINDOW: Duration = Duration::from_secs(300);
/// How long a service that is quarrelled over waits for its first repair; twice as long for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// It never waits longer than this while nobody serves in it.
const LONGEST_WITHOUT_SERVERS: Duration = Duration::from_secs(30);
/// A quarrel is over once nobody has touched the service for so long.
const CALM: Duration = Duration::from_secs(600);

/// Programs that write IPVS tables, the likeliest first.
const RIVALS: &[&str] = &[
    "keepalived",
    "kube-proxy",
    "kube-router",
    "ldirectord",
    "ipvsadm",
    "seesaw_ncc",
    "dockerd",
];
/// Writes tables of other network namespaces than its own.
const REACHES_ELSEWHERE: &str = "dockerd";

/// What is remembered of changes by others.
#[derive(Debug, Clone, Default)]
pub(super) struct Drifts {
    /// When the last read of the table was asked for: what it shows is not older.
    pub(super) asked: Instant,
    /// When the last read was asked for that found the table as it was left.
    right: Option<Instant>,
    contested: BTreeMap<ServiceKey, Contest>,
    /// Quarrels that are told of once it is known who runs here.
    untold: BTreeSet<ServiceKey>,
}

/// A service that somebody else changed of late.
#[derive(Debug, Clone)]
struct Contest {
    /// When it was first found changed.
    first: Instant,
    /// How often since then.
    count: u32,
    /// The last times.
    recent: VecDeque<Instant>,
    quarrel: Option<Quarrel>,
}

/// A service that somebody else keeps changing.
#[derive(Debug, Clone)]
struct Quarrel {
    /// How long it waits for its repair.
    pause: Duration,
    /// It was found changed, and waits.
    held: Option<Held>,
    /// Since when it is as it should be.
    right: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Held {
    since: Instant,
    /// What it was given last: only what differs from that is written meanwhile.
    given: Service,
}

/// What one look at the table has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The services whose change is told and repaired at once.
    pub(super) repaired: BTreeSet<ServiceKey>,
    /// The services whose repair waits from now on.
    pub(super) held: BTreeSet<ServiceKey>,
    /// The services that nobody has touched for a long time now, with how long they were quarrelled over.
    pub(super) calm: Vec<(ServiceKey, Duration)>,
}

impl Drifts {
    /// Takes in what a read has shown: the services that are not as they were left, with how they were left.
    pub(super) fn look(&mut self, changed: BTreeMap<ServiceKey, Service>, now: Instant) -> Look {
        let mut look = Look::default();
        for (key, contest) in &mut self.contested {
            let Some(quarrel) = &mut contest.quarrel else { continue };
            if quarrel.held.is_some() || changed.contains_key(key) {
                continue;
            }
            let right = *quarrel.right.get_or_insert(now);
            if now.since(right) >= CALM {
                look.calm.push((*key, now.since(contest.first)));
            }
        }
        for (key, _) in &look.calm {
            self.contested.remove(key);
        }
        for (key, given) in changed {
            let contest = self.contested.entry(key).or_insert_with(|| Contest {
                first: now,
                count: 0,
                recent: VecDeque::new(),
                quarrel: None,
            });
            if contest.was_changed(given, now) {
                look.held.insert(key);
            } else if contest.quarrel.is_none() {
                look.repaired.insert(key);
            }
        }
        self.contested
            .retain(|_, contest| contest.quarrel.is_some() || contest.recent.iter().any(|at| now.since(*at) < WINDOW));
        if look.repaired.is_empty() && look.held.is_empty() {
            self.right = Some(self.asked);
        }
        look
    }

    /// For how long at most something can have been wrong that is found now.
    pub(super) fn wrong_for(&self, now: Instant) -> Duration {
        self.right.map_or(Duration::ZERO, |right| now.since(right))
    }

    /// Takes out the steps that have to wait, of those that make a service what it should be.
    pub(super) fn admit(
        &mut self,
        key: &ServiceKey,
        wanted: &Service,
        actual: Option<&Service>,
        steps: &mut Vec<Step>,
        now: Instant,
    ) {
        let quarrel = self.contested.get_mut(key).and_then(|contest| contest.quarrel.as_mut());
        let Some(quarrel) = quarrel else { return };
        let Some(held) = &mut quarrel.held else { return };
        let pause = match serves(wanted) && !actual.is_some_and(serves) {
            true => quarrel.pause.min(LONGEST_WITHOUT_SERVERS),
            false => quarrel.pause,
        };
        if now.since(held.since) >= pause {
            quarrel.held = None;
            return;
        }
        let given = std::mem::replace(&mut held.given, wanted.clone());
        steps.retain(|step| match plan::subject(step) {
            // Without its service there is nothing to put a destination into.
            (_, Some(destination)) => {
                actual.is_some() && given.destinations.get(&destination) != wanted.destinations.get(&destination)
            }
            (_, None) => given.spec != wanted.spec,
        });
    }

    /// The services whose repair waits.
    pub(super) fn held(&self, now: Instant) -> impl Iterator<Item = (&ServiceKey, Duration)> {
        let held = move |contest: &Contest| {
            let quarrel = contest.quarrel.as_ref()?;
            let held = quarrel.held.as_ref()?;
            Some(quarrel.pause.saturating_sub(now.since(held.since)))
        };
        self.contested
            .iter()
            .filter_map(move |(key, contest)| Some((key, held(contest)?)))
    }

    /// A new configuration, and with it a new beginning for all.
    pub(super) fn forget(&mut self) {
        self.contested.clear();
        self.untold.clear();
    }
}

impl Contest {
    /// Somebody has changed it; answers with whether its repair has to wait from now on.
    fn was_changed(&mut self, given: Service, now: Instant) -> bool {
        let held = Held { since: now, given };
        let Some(quarrel) = &mut self.quarrel else {
            self.count += 1;
            self.recent.retain(|at| now.since(*at) < WINDOW);
            self.recent.push_back(now);
            if self.recent.len() >= DRIFTS {
                self.quarrel = Some(Quarrel {
                    pause: FIRST_PAUSE,
                    held: Some(held),
                    right: None,
                });
            }
            return self.quarrel.is_some();
        };
        if quarrel.held.is_some() {
            // It is wrong anyway.
            return false;
        }
        self.count += 1;
        quarrel.pause = (quarrel.pause * 2).min(LONGEST_PAUSE);
        quarrel.held = Some(held);
        quarrel.right = None;
        true
    }
}

/// Whether a service has somebody who takes new connections.
fn serves(service: &Service) -> bool {
    service.destinations.values().any(|spec| spec.weight > 0)
}

/// Who could have done it, of the programs that run: those that reach this network namespace, each once.
fn suspects(found: &[FoundProcess]) -> Vec<String> {
    let likely = |name: &&str| {
        let mut running = found.iter().filter(|process| process.name == **name);
        let process = running.find(|process| process.here || process.name == REACHES_ELSEWHERE)?;
        Some(format!("{} (pid {})", process.name, process.pid))
    };
    RIVALS.iter().filter_map(likely).collect()
}

impl Director {
    /// Tells what somebody else had changed when the table was read: `before` is how it was left.
    pub(super) fn tell_of_drift(&mut self, before: &crate::model::Table, now: Instant, actions: &mut Vec<Action>) {
        let after = self.believed.as_deref();
        let ours = self.config.virtual_servers.iter().flat_map(|server| &server.services);
        let paths = self.pools.checks().paths().services().map(|(key, _)| key);
        let mut changed = BTreeMap::new();
        let (mut repairs, mut deeds) = (BTreeMap::new(), BTreeMap::new());
        for key in ours.copied().chain(paths) {
            let Some(left) = before.services.get(&key) else {
                continue;
            };
            let found = after.and_then(|table| table.services.get(&key));
            let mut steps = Vec::new();
            plan::service_steps(key, left, found, &mut steps);
            let concerns_us = |step: &Step| match plan::subject(step) {
                (_, Some(destination)) => found.is_none() || !is_foreign(&key, &destination, &self.ours),
                (_, None) => true,
            };
            steps.retain(concerns_us);
            if steps.is_empty() {
                continue;
            }
            let mut deed = Vec::new();
            match found {
                Some(found) => plan::service_steps(key, found, Some(left), &mut deed),
                None => deed.push(Step::RemoveService { service: key }),
            }
            deed.retain(concerns_us);
            changed.insert(key, left.clone());
            repairs.insert(key, steps);
            deeds.insert(key, deed);
        }
        let within = self.drifts.wrong_for(now);
        let look = self.drifts.look(changed, now);
        let take = |of: &mut BTreeMap<ServiceKey, Vec<Step>>| -> Vec<Step> {
            look.repaired
                .iter()
                .filter_map(|key| of.remove(key))
                .flatten()
                .collect()
        };
        if !look.repaired.is_empty() {
            actions.push(Action::Report(Transition::TableDrifted {
                deeds: take(&mut deeds),
                steps: take(&mut repairs),
                within,
            }));
        }
        self.tell_of_ends(look.calm, actions);
        if !look.held.is_empty() {
            self.drifts.untold.extend(look.held);
            actions.push(Action::FindProcesses { names: RIVALS });
        }
    }

    /// The table is as it was left: tells which quarrels are over.
    pub(super) fn tell_of_calm(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let look = self.drifts.look(BTreeMap::new(), now);
        self.tell_of_ends(look.calm, actions);
    }

    fn tell_of_ends(&self, calm: Vec<(ServiceKey, Duration)>, actions: &mut Vec<Action>) {
        for (service, lasted) in calm {
            let virtual_server = self.name_of_service(&service);
            actions.push(Action::Report(Transition::QuarrelEnded {
                virtual_server,
                service,
                lasted,
            }));
        }
    }

    /// Tells of quarrels, now that it is known who runs here.
    pub(super) fn processes_found(&mut self, found: &[FoundProcess], now: Instant, actions: &mut Vec<Action>) {
        let suspects = suspects(found);
        for service in std::mem::take(&mut self.drifts.untold) {
            let Some(contest) = self.drifts.contested.get(&service) else {
                continue;
            };
            let Some(quarrel) = &contest.quarrel else { continue };
            actions.push(Action::Report(Transition::Quarrel {
                virtual_server: self.name_of_service(&service),
                service,
                times: contest.count,
                within: now.since(contest.first),
                pause: quarrel.pause,
                suspects: suspects.clone(),
            }));
        }
    }

    /// The name of the virtual server that has a service; `None` for a service of ipvsd's own.
    fn name_of_service(&self, service: &ServiceKey) -> Option<String> {
        let mut servers = self.config.virtual_servers.iter();
        servers
            .find(|server| server.services.contains(service))
            .map(|server| server.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_reach_the_table_are_suspected_each_once() {
        let process = |name: &str, pid, here| FoundProcess {
            name: name.to_owned(),
            pid,
            here,
        };
        let found = [
            process("dockerd", 300, false),
            process("keepalived", 810, true),
            process("keepalived", 811, true),
            process("kube-proxy", 900, false),
        ];
        assert_eq!(suspects(&found), ["keepalived (pid 810)", "dockerd (pid 300)"]);
        assert_eq!(suspects(&[]), [""; 0]);
    }
}
