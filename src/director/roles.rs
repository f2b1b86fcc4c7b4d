//! Pools that are programmed only where their virtual router is master (`program_when = "master"`).
//!
//! A director that is a real server itself must not have their services while another one forwards to it: its own IPVS
//! would take the packets and send them back. But what still comes to an address that is here, by neighbours who do not
//! know of the new master yet, has to be forwarded, or it is lost. So whoever leaves keeps the services until the address
//! has gone; and from the moment that the other one has spoken until then, what is new is served by this host itself,
//! where it is one of the real servers: that is right for a client's packets and for those that the new master forwards.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Director;
use crate::model::{
    Action, DestinationKey, Scheduler, Service, ServiceKey, Table, Transition, VirtualServer, VrrpServing,
};

/// What holds for the services of a pool on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Programmed {
    /// They have to be in the table.
    Here,
    /// They have to be in the table for a moment yet.
    Leaving,
    /// They have to be out of it.
    Elsewhere,
    /// It is not known yet where: what is there stays as it was found.
    AsFound,
}

impl Director {
    /// The traffic of a virtual router is served here, still here, or elsewhere.
    pub(super) fn role_changed(&mut self, router: String, serving: VrrpServing, actions: &mut Vec<Action>) {
        let before = self.roles.insert(router.clone(), serving);
        if before == Some(serving) {
            return;
        }
        let is_here = |serving| serving != VrrpServing::Elsewhere;
        let concerned = |name: &Option<String>| name.as_ref() == Some(&router);
        for server in self
            .config
            .virtual_servers
            .iter()
            .filter(|server| concerned(&server.program_with))
        {
            self.compare_all = true;
            if before.map(is_here) == Some(is_here(serving)) {
                continue;
            }
            let (virtual_server, router) = (server.name.clone(), router.clone());
            actions.push(Action::Report(Transition::RoleChanged {
                virtual_server,
                router,
                serves: is_here(serving),
            }));
        }
    }

    /// Forgets virtual routers that are no longer configured.
    pub(super) fn forget_roles(&mut self) {
        let config = &self.config;
        self.roles
            .retain(|name, _| config.vrrp_instances.iter().any(|spec| spec.name == *name));
    }

    pub(super) fn programmed(&self, server: &VirtualServer) -> Programmed {
        let Some(router) = &server.program_with else {
            return Programmed::Here;
        };
        match self.roles.get(router) {
            Some(VrrpServing::Here) => Programmed::Here,
            Some(VrrpServing::Leaving) => Programmed::Leaving,
            Some(VrrpServing::Elsewhere) => Programmed::Elsewhere,
            None => Programmed::AsFound,
        }
    }
}

/// The services of a pool as they were found.
pub(super) fn as_found(server: &VirtualServer, believed: &Table) -> impl Iterator<Item = (ServiceKey, Service)> {
    let services = server.services.iter();
    services.filter_map(|key| Some((*key, believed.services.get(key)?.clone())))
}

/// Where this host is a real server that takes connections, it takes all new ones; open ones stay where they are. Those
/// that hash refuse whom they would have given to a server of weight 0, and stay as they are.
pub(super) fn take_new_ones_alone(service: &mut Service, own: Option<&BTreeSet<IpAddr>>) {
    let is_own = |key: &DestinationKey| own.is_some_and(|own| own.contains(&key.address));
    let refuses = matches!(service.spec.scheduler, Scheduler::Sh | Scheduler::Dh);
    let mut destinations = service.destinations.iter();
    if refuses || !destinations.any(|(key, spec)| is_own(key) && spec.weight > 0) {
        return;
    }
    for (key, spec) in &mut service.destinations {
        if !is_own(key) {
            spec.weight = 0;
        }
    }
}
