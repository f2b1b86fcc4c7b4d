//! When the kernel's table is read, in how much detail, and what is taken from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Director, Kernel, may_have_thresholds, services_with_thresholds};
use crate::model::{Action, Instant, ServiceKey, Table};

impl Director {
    /// Takes over a table that was just read, and tells of what somebody else had changed in services of ours.
    pub(super) fn look(&mut self, table: Table, now: Instant, actions: &mut Vec<Action>) {
        self.kernel = Kernel::Idle;
        self.unreadable = None;
        self.compare_all = true;
        self.plan_next_read(now);
        self.pools
            .checks_mut()
            .paths_mut()
            .make_way(&table, &self.owned.services);
        let before = self.believed.replace(Arc::new(table));
        if before.is_none() {
            self.details = Arc::new(self.services_to_read_in_full());
            self.doubt_what_was_recalled(now);
        }
        // A table that is a guess says nothing about what others have done, nor one that somebody is at work on.
        let certain = !std::mem::take(&mut self.uncertain) && self.pause.is_none();
        let before = before.filter(|_| certain).unwrap_or_default();
        self.tell_of_drift(&before, now, actions);
    }

    fn plan_next_read(&mut self, now: Instant) {
        // Where nothing is written there is nothing to be put right.
        let again = (!self.settings.observe).then_some(self.config.reconcile.interval);
        self.next_read = again.map(|interval| now + interval);
    }

    /// The table is as it was when there was nothing to do.
    pub(super) fn look_at_the_same(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.kernel = Kernel::Idle;
        self.unreadable = None;
        self.plan_next_read(now);
        self.tell_of_calm(now, actions);
        if self.pause.is_none() {
            self.ask_for_addresses(actions);
        }
    }

    /// The services whose destinations have to be read in full: those whose configuration has thresholds, and those
    /// where the kernel has any, for a threshold that is no longer configured has to go. Before the first look the
    /// record says where it may have some.
    pub(super) fn services_to_read_in_full(&self) -> BTreeSet<ServiceKey> {
        let configured = self.config.virtual_servers.iter().flat_map(|server| &server.services);
        let has_thresholds = |key: &&ServiceKey| match &self.believed {
            None => may_have_thresholds(key, &self.owned),
            Some(table) => table.services.get(*key).is_some_and(|service| {
                let mut found = service.destinations.values();
                found.any(|spec| spec.upper_threshold != 0 || spec.lower_threshold != 0)
            }),
        };
        let mut services = services_with_thresholds(&self.config);
        services.extend(configured.filter(has_thresholds));
        services
    }

    pub(super) fn read(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.kernel = Kernel::Reading;
        self.drifts.asked = now;
        let settled = self.settled && !self.compare_all && !self.uncertain;
        actions.push(Action::ReadTable {
            details: Arc::clone(&self.details),
            known: self.believed.clone().filter(|_| settled),
        });
    }

    pub(super) fn read_if_due(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.kernel == Kernel::Idle && self.next_read.is_some_and(|at| at <= now) {
            self.next_read = None;
            self.read(now, actions);
        }
    }
}
