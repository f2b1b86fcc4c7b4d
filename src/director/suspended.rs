//! Pools with `ha_suspend`: while none of their addresses is on this host, nobody is probed and all states stay.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Director;
use super::pools::CheckId;
use crate::model::{Action, Instant, Transition};

impl Director {
    pub(super) fn addresses_found(&mut self, addresses: BTreeSet<IpAddr>, now: Instant, actions: &mut Vec<Action>) {
        self.addresses = Some(addresses);
        self.suspend_checks(now, actions);
    }

    /// Suspends checks and lets them go on, as addresses have come and gone. Those that go on start at once, a
    /// millisecond apart.
    pub(super) fn suspend_checks(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(addresses) = &self.addresses else { return };
        let mut due = now;
        for (pool, server) in self.config.virtual_servers.iter().enumerate() {
            let mut own = server.services.iter().filter_map(|service| service.address());
            let suspended = server.policy.ha_suspend && !own.any(|address| addresses.contains(&address));
            if !self.pools.suspend(pool, suspended) {
                continue;
            }
            if !suspended {
                for check in self.pools.checks_of(pool) {
                    self.schedule.set(check, due);
                    due = due + Duration::from_millis(1);
                }
            }
            let virtual_server = server.name.clone();
            actions.push(Action::Report(Transition::ChecksSuspended {
                virtual_server,
                suspended,
            }));
        }
    }

    /// After how long a suspended check asks again whether it may go on; `None` for one that is not suspended.
    pub(super) fn suspended_interval(&self, check: CheckId) -> Option<Duration> {
        let slot = self.pools.check(check)?;
        self.pools.is_suspended(slot.pool).then_some(slot.spec.interval)
    }
}
