//! What differs from the kernel's table is written, one batch at a time, and what becomes of each step is taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::desired::{self, desired_services};
use super::roles::{self, Programmed};
use super::{Director, Kernel, keep_foreign, our_destinations};
use crate::model::{
    Action, DestinationKey, Instant, Owned, RefusalKind, Scheduler, ServiceKey, Step, StepOutcome, Table, Transition,
    VirtualServer,
};
use crate::plan;

/// How often in a row the table is written without a pause; whoever keeps changing it would be fought for ever.
const WRITES_WITHOUT_PAUSE: u32 = 3;

/// How often in a row the table is written before addresses and readiness wait for it no longer; with the pauses, some
/// seconds.
const WRITES_WAITED_FOR: u32 = 10;

/// How many refusals of one batch are told one by one.
pub(super) const MOST_REFUSALS: usize = 50;

impl Director {
    pub(super) fn absorb(&mut self, outcomes: Vec<StepOutcome>, now: Instant, actions: &mut Vec<Action>) {
        self.kernel = Kernel::Idle;
        if let Some(believed) = &mut self.believed {
            plan::absorb(Arc::make_mut(believed), &outcomes);
        }
        let mut read_at = None;
        let mut refusals = Vec::new();
        for outcome in &outcomes {
            let Err(refusal) = &outcome.result else { continue };
            self.settled = false;
            match refusal.kind {
                // A destination of a service that was refused a moment ago is refused for that reason only.
                RefusalKind::TableChanged if self.lacks_its_service(&outcome.step) => continue,
                RefusalKind::TableChanged => read_at = Some(now + self.pause_between_writes()),
                RefusalKind::Transient => read_at = read_at.or(Some(now + self.pause_between_writes())),
                RefusalKind::Permanent => {
                    let left_alone = (outcome.step.clone(), now + self.settings.refused_for);
                    self.refused.insert(plan::subject(&outcome.step), left_alone);
                }
            }
            // Once is a rival; time and again it is something that the table as read does not show.
            if refusal.kind != RefusalKind::TableChanged || self.writes_in_a_row == WRITES_WITHOUT_PAUSE + 1 {
                refusals.push(&refusal.message);
            }
        }
        actions.extend(refusals_told(&refusals));
        if let Some(at) = read_at {
            self.uncertain = true;
            self.next_read = Some(self.next_read.map_or(at, |planned| planned.min(at)));
        }
        self.read_if_due(now, actions);
    }

    /// Writes what differs, if the table is known, no other batch is under way, and nobody wants it left alone.
    pub(super) fn write(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.pause.is_some()
            || self.believed.is_none()
            || self.kernel != Kernel::Idle
            || (!self.compare_all && self.dirty.is_empty())
        {
            return;
        }
        let full = std::mem::take(&mut self.compare_all);
        let dirty = std::mem::take(&mut self.dirty);
        let pools: Vec<_> = match full {
            true => (0..self.config.virtual_servers.len()).collect(),
            false => dirty.into_iter().collect(),
        };
        for pool in &pools {
            self.review(*pool, now, actions);
        }
        let Some(believed) = &self.believed else { return };
        if full {
            self.ours = our_destinations(&self.config, &self.owned, believed);
        }
        let mut wanted = Table::default();
        let mut pool_of = BTreeMap::new();
        if full {
            wanted.services.extend(self.pools.checks().paths().services());
            wanted.services.extend(self.drains.leaving_services(believed, now));
        }
        for pool in &pools {
            let server = &self.config.virtual_servers[*pool];
            match self.programmed(server) {
                Programmed::Here | Programmed::Leaving => {}
                Programmed::Elsewhere => continue,
                Programmed::AsFound => {
                    wanted.services.extend(roles::as_found(server, believed));
                    continue;
                }
            }
            for (key, mut service) in desired_services(&self.config, &self.pools, *pool, believed) {
                if self.programmed(server) == Programmed::Leaving {
                    roles::take_new_ones_alone(&mut service, self.addresses.as_ref());
                }
                keep_foreign(&key, &mut service, believed, &self.ours);
                self.drains.add(server, key, &mut service, believed, now);
                wanted.services.insert(key, service);
                pool_of.insert(key, server);
            }
        }
        let rebuild: BTreeSet<_> = std::mem::take(&mut self.rebuild)
            .into_iter()
            .flat_map(|pool| self.config.virtual_servers[pool].services.iter().copied())
            .collect();
        let mut steps = Vec::new();
        for (key, service) in &wanted.services {
            let actual = believed.services.get(key);
            let mut of_service = Vec::new();
            match rebuild.contains(key) {
                true => plan::rebuild_steps(*key, service, actual, &mut of_service),
                false => {
                    plan::service_steps(*key, service, actual, &mut of_service);
                    self.drifts.admit(key, service, actual, &mut of_service, now);
                }
            }
            let filled = rebuild.contains(key) || actual.is_none_or(|actual| actual.destinations.is_empty());
            if filled
                && service.spec.scheduler == Scheduler::Mh
                && let Some(server) = pool_of.get(key)
            {
                let full = |destination: &DestinationKey| desired::configured_weight(server, key, destination);
                of_service = plan::add_with_slots(of_service, full);
            }
            steps.append(&mut of_service);
        }
        if full {
            steps.extend(plan::removals(&wanted, believed, &self.owned.services));
            let slow = |server: &&VirtualServer| server.policy.drain_timeout.is_some();
            let draining = self.config.virtual_servers.iter().filter(slow);
            let draining = draining.flat_map(|server| server.services.iter().copied()).collect();
            self.drains.clean(believed, &draining);
        }
        if full {
            // A repair that waits is something to do.
            self.settled = steps.is_empty() && self.drifts.held(now).next().is_none();
        }
        steps.retain(|step| !self.is_refused(step));
        if full {
            self.full_comparison(&steps, actions);
        }
        if steps.is_empty() {
            return;
        }
        self.kernel = Kernel::Writing;
        if full && !self.settings.observe {
            // What a comparison led to is looked at once more, at once unless somebody else keeps writing.
            self.writes_in_a_row += 1;
            self.next_read = Some(now + self.pause_between_writes());
        }
        actions.push(Action::ApplySteps(steps));
    }

    pub(super) fn pause_between_writes(&self) -> Duration {
        match self.writes_in_a_row > WRITES_WITHOUT_PAUSE {
            true => self.settings.retry_after,
            false => Duration::ZERO,
        }
    }

    /// Whether the kernel has refused just this a moment ago. Another step on the same service or destination is
    /// tried: one that cannot be changed can still be taken out.
    fn is_refused(&self, step: &Step) -> bool {
        let same = |(refused, _): &(Step, Instant)| refused == step;
        self.refused.get(&plan::subject(step)).is_some_and(same) || self.lacks_its_service(step)
    }

    /// Whether this is about a destination of a service that the kernel refused to add.
    fn lacks_its_service(&self, step: &Step) -> bool {
        let (service, destination) = plan::subject(step);
        let is_there = |table: &Table| table.services.contains_key(&service);
        destination.is_some()
            && self.refused.contains_key(&(service, None))
            && !self.believed.as_deref().is_some_and(is_there)
    }

    /// What goes with a comparison of the whole table: what will be owned is put on record before it is written,
    /// and addresses are asked for once the table behind them is right, or as right as it gets.
    fn full_comparison(&mut self, steps: &[Step], actions: &mut Vec<Action>) {
        if self.settings.observe {
            return self.announce_ready(actions);
        }
        let servers = &self.config.virtual_servers;
        let configured: BTreeSet<_> = servers
            .iter()
            .flat_map(|server| server.services.iter().copied())
            .chain(self.pools.checks().paths().services().map(|(key, _)| key))
            .collect();
        // What the kernel still has of ours is owned until it is gone, also where its removal was refused.
        let believed = self.believed.as_ref();
        let is_there = |key: &&ServiceKey| believed.is_some_and(|table| table.services.contains_key(*key));
        let left_over = self.owned.services.iter().filter(is_there).copied();
        let services: BTreeSet<_> = configured.into_iter().chain(left_over).collect();
        let owned = Owned {
            services,
            with_thresholds: (*self.details).clone(),
            destinations: self.ours.clone(),
            addresses: &(&self.wanted_addresses() | &self.owned.addresses) - &self.moving_addresses(),
        };
        if owned != self.owned {
            self.owned = owned;
            actions.push(Action::RecordOwned(self.owned.clone()));
        }
        // One step that never succeeds does not keep the addresses of all other services from being held.
        if !steps.is_empty() && self.writes_in_a_row <= WRITES_WAITED_FOR {
            return;
        }
        if steps.is_empty() {
            self.writes_in_a_row = 0;
        }
        self.ask_for_addresses(actions);
        self.announce_ready(actions);
    }
}

/// One line for each refusal of a batch, and one for all that would be too many.
fn refusals_told(messages: &[&String]) -> Vec<Action> {
    let tell = |message: String| Action::Report(Transition::StepRefused { message });
    let mut told: Vec<_> = messages
        .iter()
        .take(MOST_REFUSALS)
        .copied()
        .cloned()
        .map(tell)
        .collect();
    let more = messages.len().saturating_sub(MOST_REFUSALS);
    if more > 0 {
        told.push(tell(format!(
            "{more} more changes were refused with these (`ipvsd plan` lists what differs)"
        )));
    }
    told
}
