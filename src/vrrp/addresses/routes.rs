//! The routes and rules of a master: put in after its addresses, taken out before them, put back where somebody has taken
//! one out.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::ledger::Belongings;
use super::{AGAIN, Keeper};
use crate::model::{VrrpRoute, VrrpRule};
use crate::net::{AddOptions, HostNetwork, HostRouting, NetError, routing};

/// The routes and rules that are there.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// Ours.
    routes: Vec<VrrpRoute>,
    /// All that could be ours, with who has made them.
    rules: Vec<(VrrpRule, u8)>,
}

impl Routing {
    fn see(host: &HostRouting) -> Result<Self, NetError> {
        Ok(Self {
            routes: host.routes()?,
            rules: host.rules()?,
        })
    }

    fn has_route(&self, route: &VrrpRoute) -> bool {
        self.routes.iter().any(|found| found.is(route))
    }

    fn has_rule(&self, rule: &VrrpRule) -> bool {
        self.rules.iter().any(|(found, _)| found == rule)
    }

    /// All of these are there.
    fn has_all(&self, wanted: &Belongings) -> bool {
        wanted.routes.iter().all(|route| self.has_route(route)) && wanted.rules.iter().all(|rule| self.has_rule(rule))
    }

    /// Some of these are there and were put there by ipvsd.
    pub(super) fn has_ours(&self, wanted: &Belongings) -> bool {
        let ours = |rule: &VrrpRule| {
            let mut rules = self.rules.iter();
            rules.any(|(found, owner)| found == rule && *owner == AddOptions::OWNER)
        };
        wanted.routes.iter().any(|route| self.has_route(route)) || wanted.rules.iter().any(ours)
    }
}

/// Stirs whenever one is taken out by somebody, for good.
pub(super) async fn watch(stirred: Arc<Notify>) {
    loop {
        if let Err(problem) = routing::watch(|| stirred.notify_one()).await {
            warn!("{problem}; it is tried again");
        }
        tokio::time::sleep(AGAIN).await;
        stirred.notify_one();
    }
}

impl Keeper {
    /// Looks which are there, where some are to be; puts those back that are missing, at once and after that once a
    /// second.
    pub(super) fn look_at_routes(&mut self) -> Result<Routing, NetError> {
        let told = self.specs.iter().any(|spec| Belongings::of(spec).has_routing());
        if !told && !self.held.values().any(|held| held.has_routing()) {
            return Ok(Routing::default());
        }
        let network = self.network()?;
        let found = Routing::see(&HostRouting::connect(&network)?)?;
        let lacks: Vec<_> = self
            .held
            .values()
            .filter(|held| !found.has_all(held))
            .cloned()
            .collect();
        if lacks.is_empty() {
            return Ok(found);
        }
        if self.repaired.is_some_and(|at| at.elapsed() < AGAIN) {
            self.troubled = true;
            return Ok(found);
        }
        self.repaired = Some(Instant::now());
        for wanted in lacks {
            self.put_in(&network, &wanted)?;
        }
        Ok(found)
    }

    /// Puts routes and rules in that are not there.
    pub(super) fn put_in(&mut self, network: &HostNetwork, wanted: &Belongings) -> Result<(), NetError> {
        if !wanted.has_routing() {
            return Ok(());
        }
        let host = HostRouting::connect(network)?;
        let found = Routing::see(&host)?;
        for route in wanted.routes.iter().filter(|route| !found.has_route(route)) {
            let result = host.add_route(route);
            self.note_routing(&format!("route {route}"), result, "added");
        }
        for rule in wanted.rules.iter().filter(|rule| !found.has_rule(rule)) {
            let result = host.add_rule(rule);
            self.note_routing(&format!("rule {rule}"), result, "added");
        }
        Ok(())
    }

    /// Takes routes and rules out that are there and ours, but for those of `kept`; answers with whether all have gone.
    pub(super) fn take_out(
        &mut self,
        network: &HostNetwork,
        gone: &[Arc<Belongings>],
        kept: &[Arc<Belongings>],
    ) -> Result<bool, NetError> {
        let rules: BTreeSet<_> = gone.iter().flat_map(|gone| &gone.rules).collect();
        let routes: BTreeSet<_> = gone.iter().flat_map(|gone| &gone.routes).collect();
        let rules = rules
            .into_iter()
            .filter(|rule| !kept.iter().any(|kept| kept.rules.contains(rule)));
        let routes = routes
            .into_iter()
            .filter(|route| !kept.iter().any(|kept| kept.routes.contains(route)));
        let (rules, routes): (Vec<_>, Vec<_>) = (rules.collect(), routes.collect());
        if rules.is_empty() && routes.is_empty() {
            return Ok(true);
        }
        let host = HostRouting::connect(network)?;
        let mut all_gone = true;
        for rule in rules {
            let result = host.remove_rule(rule);
            match &result {
                Ok(_) => self.ledger.change(|record| drop(record.rules.take(rule))),
                Err(_) => all_gone = false,
            }
            self.note_routing(&format!("rule {rule}"), result, "taken out");
        }
        for route in routes {
            let result = host.remove_route(route);
            match &result {
                Ok(_) => self.ledger.change(|record| drop(record.routes.take(route))),
                Err(_) => all_gone = false,
            }
            self.note_routing(&format!("route {route}"), result, "taken out");
        }
        Ok(all_gone)
    }
}
