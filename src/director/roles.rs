//! Pools that are programmed only where their virtual router is master (`program_when = "master"`).
//!
//! A director that is a real server itself must not have their services while another one forwards to it: its own IPVS
//! would take the packets and send them back. Whoever leaves keeps them until the other one has spoken.

use super::Director;
use crate::model::{Action, Service, ServiceKey, Table, Transition, VirtualServer};

/// What holds for the services of a pool on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Programmed {
    /// They have to be in the table.
    Here,
    /// They have to be out of it.
    Elsewhere,
    /// It is not known yet where: what is there stays as it was found.
    AsFound,
}

impl Director {
    /// A virtual router has begun to serve on this host, or has ceased to.
    pub(super) fn role_changed(&mut self, router: String, serves: bool, actions: &mut Vec<Action>) {
        if self.roles.insert(router.clone(), serves) == Some(serves) {
            return;
        }
        let concerned = |name: &Option<String>| name.as_ref() == Some(&router);
        for server in self
            .config
            .virtual_servers
            .iter()
            .filter(|server| concerned(&server.program_with))
        {
            self.compare_all = true;
            let (virtual_server, router) = (server.name.clone(), router.clone());
            actions.push(Action::Report(Transition::RoleChanged {
                virtual_server,
                router,
                serves,
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
            Some(true) => Programmed::Here,
            Some(false) => Programmed::Elsewhere,
            None => Programmed::AsFound,
        }
    }
}

/// The services of a pool as they were found.
pub(super) fn as_found(server: &VirtualServer, believed: &Table) -> impl Iterator<Item = (ServiceKey, Service)> {
    let services = server.services.iter();
    services.filter_map(|key| Some((*key, believed.services.get(key)?.clone())))
}
