//! A new configuration: what it keeps of the one before, and what it changes at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::pools::Taken;
use super::{Director, Kernel, foreign};
use crate::health;
use crate::model::{Action, Config, Instant, VirtualServer};

impl Director {
    pub(super) fn load(&mut self, config: Arc<Config>, now: Instant, actions: &mut Vec<Action>) {
        let Taken { added, closed, changed } = self.pools.load(&self.config, &config, now);
        self.revision += 1;
        actions.extend(closed.into_iter().map(Action::CloseHold));
        self.tell_of_closed_paths(actions);
        // Not all first probes at once: a millisecond apart, or closer where they would not fit into one interval.
        let spread = |interval: Duration, count: u32| Duration::from_millis(1).min(interval / count.max(1));
        let count = u32::try_from(added.len()).unwrap_or(u32::MAX);
        let mut due = now;
        for (check, spec) in added {
            match spec.warmup {
                Some(warmup) => self
                    .schedule
                    .set(check, now + health::share(warmup, self.chance.next())),
                None => {
                    self.schedule.set(check, due);
                    due = due + spread(spec.interval, count);
                }
            }
        }
        self.schedule.retain(|check| self.pools.checks().get(check).is_some());
        self.drains.drop_services(&self.config, &config, now);
        self.recall(&config, now, actions);
        let before = std::mem::replace(&mut self.config, config);
        self.forget_roles();
        self.details = Arc::new(self.services_to_read_in_full());
        self.returns.clear();
        self.rebuild.clear();
        self.suspend_checks(now, actions);
        self.refused.clear();
        self.drifts.forget();
        // A table that is known is changed at once, and looked at behind that: all of it.
        let is_known = self.believed.is_some() && !self.uncertain && !self.settings.observe;
        self.settled = false;
        match is_known && self.concerns_only(&before, &changed) {
            true => self.dirty.extend(changed),
            false => {
                self.dirty.clear();
                self.compare_all = true;
            }
        }
        // A batch that is under way ends in a read as well; see `absorb`.
        if self.kernel == Kernel::Idle && !is_known {
            self.read(now, actions);
        } else {
            self.next_read = Some(now);
        }
    }

    /// Whether a new configuration means other destinations in some pools' services and nothing else, so that writing
    /// these first leaves nothing out: no service comes or goes, nothing is to be put on record before.
    fn concerns_only(&self, before: &Config, changed: &BTreeSet<usize>) -> bool {
        let (old, new) = (&before.virtual_servers, &self.config.virtual_servers);
        let same = |(old, new): (&VirtualServer, &VirtualServer)| {
            old.name == new.name && old.services == new.services && old.program_with == new.program_with
        };
        let keeps_foreign = |pool: &usize| foreign::keeps(&new[*pool]) || foreign::keeps(&old[*pool]);
        old.len() == new.len()
            && old.iter().zip(new).all(same)
            && !changed.iter().any(keeps_foreign)
            && *self.details == self.owned.with_thresholds
            && self.pools.checks().paths().services().next().is_none()
    }
}
