//! The checks that run: each target is probed once for all the pools that check it alike, and the result is judged
//! once. Who the subscribers of a check are is all that differs between pools.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use super::hearsay::Hearsay;
use super::history::History;
use super::hold::Holding;
use super::paths::{Path, Paths};
use super::pools::Member;
use crate::health::Check;
use crate::model::{
    Action, Advice, CheckSpec, CheckState, HoldId, Instant, LocalTrouble, ProbeId, ProbeSpec, ProbeWarning, Table,
    WeightAdvice,
};

/// Names one check of one target. Never used twice in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CheckId(pub(super) u64);

/// A member of a pool that goes by a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subscriber {
    pub(super) pool: usize,
    pub(super) server: usize,
}

/// What a check has said about its server beside its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Advised {
    /// What it has advised so far.
    pub(super) advice: Advice,
    /// Its last probe that said anything found the server asking for no new connections.
    pub(super) drain: bool,
}

impl Advised {
    /// As if it had never asked for no connections; a weight that is one stays.
    pub(super) fn forget_what_keeps_out(&mut self) {
        self.drain = false;
        self.advice.state = None;
        let nothing = [WeightAdvice::Absolute(0), WeightAdvice::Percent(0)];
        self.advice.weight = self.advice.weight.filter(|weight| !nothing.contains(weight));
    }
}

/// What a member's check before has found, for a new one to start from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    pub(super) state: CheckState,
    pub(super) advised: Advised,
}

/// One check and whom it is for.
#[derive(Debug, Clone)]
pub(super) struct CheckSlot {
    pub(super) spec: Arc<CheckSpec>,
    pub(super) machine: Check,
    /// In the order of the configuration.
    pub(super) subscribers: Vec<Subscriber>,
    /// This host's trouble that was told of last; `None` once a probe has said something about the server.
    pub(super) trouble: Option<LocalTrouble>,
    /// What the last probe that passed warned of.
    pub(super) warning: Option<ProbeWarning>,
    pub(super) advised: Advised,
    pub(super) holding: Holding,
    pub(super) history: History,
    pub(super) target: Target,
    /// Its verdict is the one of an earlier process; no probe of this one has said anything.
    pub(super) recalled: bool,
    /// What the other director says, as long as nothing of this host's own counts.
    pub(super) hearsay: Option<Hearsay>,
    /// It was made for the configuration that is being taken over, so no probe has said anything yet.
    fresh: bool,
}

/// Where the probes of a check go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// The way through the kernel's table; `None` for one past it.
    pub(super) path: Option<Path>,
}

/// A probe that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finished {
    pub(super) probe: ProbeId,
    pub(super) check: CheckId,
    /// When it had been due.
    pub(super) due: Instant,
    /// When it was started.
    pub(super) started: Instant,
}

/// All checks of all pools.
#[derive(Debug, Clone, Default)]
pub(super) struct Checks {
    /// Each in a box: new ones come in order, and such a map is half empty.
    slots: BTreeMap<CheckId, Box<CheckSlot>>,
    /// Few checks go to one target, many subscribers to one check.
    by_target: BTreeMap<Target, Vec<CheckId>>,
    /// In the order of their starts, so mostly few of them: a tree of one leaf.
    running: BTreeMap<ProbeId, Finished>,
    holds: HashMap<HoldId, CheckId>,
    paths: Paths,
    last_hold: u64,
    last_check: u64,
    last_probe: u64,
}

impl CheckSlot {
    /// Whether its probes go through the kernel's table.
    pub(super) fn goes_through_the_table(&self) -> bool {
        self.target.path.is_some()
    }
}

impl Checks {
    /// Starts to take over a configuration: nobody subscribes to anything until [`Checks::subscribe`].
    pub(super) fn unsubscribe_all(&mut self) {
        for slot in self.slots.values_mut() {
            slot.subscribers.clear();
        }
    }

    /// The members of a pool of which nothing has changed go by the checks that they went by.
    pub(super) fn subscribe_again(&mut self, pool: usize, members: &[Member]) {
        for (server, member) in members.iter().enumerate() {
            for check in &member.checks {
                if let Some(slot) = self.slots.get_mut(check) {
                    slot.subscribers.push(Subscriber { pool, server });
                }
            }
        }
    }

    /// Makes a member go by a check of a target: by the one that is there for others, or was before, if it has the
    /// same settings, with all that it knows; else by a new one.
    ///
    /// A new one starts from what the member's own check before has found. Of several members the one that was up
    /// decides: a changed setting takes nobody out.
    pub(super) fn subscribe(
        &mut self,
        spec: &Arc<CheckSpec>,
        target: Target,
        subscriber: Subscriber,
        before: Before,
        now: Instant,
    ) -> CheckId {
        let found = before.state;
        let slots = &mut self.slots;
        let at_target = self.by_target.entry(target).or_default();
        let alike = |check: &&CheckId| {
            let slot = slots.get(check);
            slot.is_some_and(|slot| Arc::ptr_eq(&slot.spec, spec) || slot.spec == *spec)
        };
        if let Some(check) = at_target.iter().find(alike).copied() {
            if let Some(slot) = slots.get_mut(&check) {
                slot.subscribers.push(subscriber);
                let better = slot.machine.state() == CheckState::Unknown || found == CheckState::Up;
                if slot.fresh && better && found != CheckState::Unknown {
                    slot.machine = Check::carrying_on(found, spec.initial);
                }
            }
            return check;
        }
        if let Some(path) = target.path {
            self.paths.want(path);
        }
        self.last_check += 1;
        let check = CheckId(self.last_check);
        at_target.push(check);
        let slot = CheckSlot {
            spec: Arc::clone(spec),
            machine: Check::carrying_on(found, spec.initial),
            subscribers: vec![subscriber],
            trouble: None,
            warning: None,
            advised: before.advised,
            holding: Holding::default(),
            history: History::new(now),
            target,
            recalled: false,
            hearsay: None,
            fresh: true,
        };
        slots.insert(check, Box::new(slot));
        check
    }

    /// Ends the taking over: forgets the checks that nobody goes by any more, and answers with the new ones, and with
    /// the connections that were held for those that are gone.
    pub(super) fn settle(&mut self) -> (Vec<(CheckId, Arc<CheckSpec>)>, Vec<HoldId>) {
        let mut closed = Vec::new();
        self.slots.retain(|_, slot| {
            let stays = !slot.subscribers.is_empty();
            if !stays {
                closed.extend(slot.holding.take_open());
            }
            stays
        });
        for hold in &closed {
            self.holds.remove(hold);
        }
        let slots = &self.slots;
        self.by_target.retain(|_, checks| {
            checks.retain(|check| slots.contains_key(check));
            !checks.is_empty()
        });
        self.paths
            .retain(&slots.values().filter_map(|slot| slot.target.path).collect());
        self.running.retain(|_, finished| slots.contains_key(&finished.check));
        let mut added = Vec::new();
        for (check, slot) in &mut self.slots {
            if std::mem::take(&mut slot.fresh) {
                added.push((*check, Arc::clone(&slot.spec)));
            }
        }
        (added, closed)
    }

    /// All checks.
    pub(super) fn slots(&self) -> impl Iterator<Item = &CheckSlot> {
        self.slots.values().map(|slot| &**slot)
    }

    /// All checks.
    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut CheckSlot> {
        self.slots.values_mut().map(|slot| &mut **slot)
    }

    /// All checks with their names.
    pub(super) fn numbered_mut(&mut self) -> impl Iterator<Item = (CheckId, &mut CheckSlot)> {
        self.slots.iter_mut().map(|(check, slot)| (*check, &mut **slot))
    }

    pub(super) fn get(&self, check: CheckId) -> Option<&CheckSlot> {
        self.slots.get(&check).map(|slot| &**slot)
    }

    pub(super) fn get_mut(&mut self, check: CheckId) -> Option<&mut CheckSlot> {
        self.slots.get_mut(&check).map(|slot| &mut **slot)
    }

    /// The checks that this host cannot carry out, for a reason that goes away with an interface.
    pub(super) fn cut_off(&self) -> Vec<(CheckId, Arc<CheckSpec>)> {
        let cut_off = |slot: &CheckSlot| slot.trouble.as_ref().is_some_and(LocalTrouble::is_of_an_interface);
        let slots = self.slots.iter().filter(|(_, slot)| cut_off(slot));
        slots.map(|(check, slot)| (*check, Arc::clone(&slot.spec))).collect()
    }

    /// Members whose checks go through the kernel's table; with `without_mark` those that no mark is left for.
    pub(super) fn in_the_path(&self, without_mark: bool) -> impl Iterator<Item = Subscriber> + '_ {
        let such = move |slot: &&CheckSlot| {
            let path = slot.target.path.as_ref();
            path.is_some_and(|path| !without_mark || self.paths.mark(path).is_none())
        };
        self.slots
            .values()
            .map(Box::as_ref)
            .filter(such)
            .filter_map(|slot| slot.subscribers.first().copied())
    }

    /// Starts a probe of a check, if the check is still there.
    pub(super) fn start_probe(&mut self, check: CheckId, due: Instant, now: Instant) -> Option<Action> {
        let slot = self.slots.get(&check)?;
        self.last_probe += 1;
        let probe = ProbeId(self.last_probe);
        let (target, timeout) = (slot.target.address, slot.spec.timeout);
        let spec = self.probe_of(slot);
        let started = now;
        self.running.insert(
            probe,
            Finished {
                probe,
                check,
                due,
                started,
            },
        );
        Some(Action::StartProbe {
            probe,
            spec,
            target,
            timeout,
        })
    }

    /// Starts to hold a connection to a check's target.
    pub(super) fn start_hold(&mut self, check: CheckId) -> Option<(HoldId, Action)> {
        let slot = self.slots.get(&check)?;
        self.last_hold += 1;
        let hold = HoldId(self.last_hold);
        self.holds.insert(hold, check);
        let (target, timeout) = (slot.target.address, slot.spec.timeout);
        let spec = self.probe_of(slot);
        let action = Action::OpenHold {
            hold,
            spec,
            target,
            timeout,
        };
        Some((hold, action))
    }

    /// What a connection that has ended was held for.
    pub(super) fn finish_hold(&mut self, hold: HoldId) -> Option<CheckId> {
        self.holds.remove(&hold)
    }

    /// What is tried, with the mark of its way where it has one.
    fn probe_of(&self, slot: &CheckSlot) -> Arc<ProbeSpec> {
        let Some(path) = slot.target.path else {
            return Arc::clone(&slot.spec.probe);
        };
        let mut probe = ProbeSpec::clone(&slot.spec.probe);
        probe.origin.fwmark = self.paths.mark(&path);
        probe.origin.through = Some(path.server);
        Arc::new(probe)
    }

    /// The ways through the kernel's table that checks need.
    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The ways through the kernel's table that checks need.
    pub(super) fn paths_mut(&mut self) -> &mut Paths {
        &mut self.paths
    }

    /// Whether a check's probes would reach its server, going by the table: those that go past it always do.
    pub(super) fn is_open(&self, check: CheckId, table: Option<&Table>) -> bool {
        let path = self.slots.get(&check).and_then(|slot| slot.target.path);
        path.is_none_or(|path| table.is_some_and(|table| self.paths.is_open(&path, table)))
    }

    /// The probe that was started last.
    pub(super) fn last_probe(&self) -> ProbeId {
        ProbeId(self.last_probe)
    }

    /// What a probe that has ended was for; `None` where its check is no longer configured.
    pub(super) fn finish_probe(&mut self, probe: ProbeId) -> Option<Finished> {
        self.running.remove(&probe)
    }
}
