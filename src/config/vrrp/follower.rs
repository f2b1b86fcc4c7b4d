//! Virtual servers whose addresses are where an instance is master, and those whose addresses are on a device for good.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::problem::Place;
use super::super::reader::{Reader, shorten};
use super::{Routers, key_of, vmac};
use crate::model::{AddressScope, Family, Forwarding, ServiceKey, VirtualServer, VrrpAddress, VrrpSpec};

const SERVE_ELSEWHERE: &str = "take `accept` out there, or let other hosts serve";

/// A virtual server whose addresses are on this host.
pub(in crate::config) struct Follower {
    /// Where it says so.
    pub(in crate::config) place: Place,
    /// They are where this instance is master; `None` for those that are on a device for good.
    pub(in crate::config) instance: Option<String>,
    /// Its number.
    pub(in crate::config) virtual_server: usize,
}

/// A virtual server whose addresses, or one of them, are where an instance is master.
pub(in crate::config) struct Moving {
    /// Where it names the instance, or else where the address stands.
    pub(in crate::config) place: Place,
    /// It names the instance; else that has the address in its own `virtual_address`.
    pub(in crate::config) named: bool,
    /// The instance.
    pub(in crate::config) instance: Arc<VrrpSpec>,
}

/// The virtual servers that move with an instance, by their numbers. `places` is where their services are.
pub(in crate::config) fn moving(
    followers: &[Follower],
    places: &HashMap<ServiceKey, Place>,
    virtual_servers: &[VirtualServer],
    specs: &[Arc<VrrpSpec>],
) -> HashMap<usize, Moving> {
    let mut by_name = HashMap::new();
    let mut by_address = HashMap::new();
    for spec in specs {
        by_name.insert(&*spec.name, spec);
        by_address.extend(spec.addresses.iter().map(|held| (held.address, spec)));
    }
    let mut moving = HashMap::new();
    for follower in followers {
        let spec = follower.instance.as_deref().and_then(|name| by_name.get(name));
        moving.extend(spec.map(|spec| {
            let found = Moving {
                place: follower.place,
                named: true,
                instance: Arc::clone(spec),
            };
            (follower.virtual_server, found)
        }));
    }
    for (number, server) in virtual_servers.iter().enumerate() {
        let held = |service: &ServiceKey| Some((*by_address.get(&service.address()?)?, *places.get(service)?));
        if !moving.contains_key(&number)
            && let Some((spec, place)) = server.services.iter().find_map(held)
        {
            let found = Moving {
                place,
                named: false,
                instance: Arc::clone(spec),
            };
            moving.insert(number, found);
        }
    }
    moving
}

impl Routers<'_> {
    /// Takes in what a virtual server says about where its addresses are.
    pub(in crate::config) fn follow(
        &mut self,
        reader: &mut Reader,
        follower: &Follower,
        virtual_servers: &[VirtualServer],
    ) {
        let Some(server) = virtual_servers.get(follower.virtual_server) else {
            return;
        };
        reader.file = follower.place.file;
        match &follower.instance {
            Some(name) => self.refer(reader, follower.place.offset, name, server),
            None => self.keep_apart(reader, follower.place.offset, server),
        }
    }

    /// A virtual server whose addresses are where an instance is master.
    fn refer(&mut self, reader: &mut Reader, at: usize, name: &str, server: &VirtualServer) {
        let services = &server.services;
        // Those of a mark may still be programmed by its role.
        if server.program_with.is_none() && services.iter().all(|service| service.address().is_none()) {
            if !services.is_empty() {
                let text = "a fwmark service has no address that could follow a `vrrp_instance`";
                let hint = "take it out; list the addresses in the instance's `virtual_address`";
                reader.error(at, text, hint);
            }
            return;
        }
        let place = reader.place(at);
        let mut known: Vec<_> = self.names.keys().copied().collect();
        known.sort_unstable();
        let Some(draft) = self.drafts.iter_mut().find(|draft| draft.spec.name == name) else {
            let hint = match known.is_empty() {
                true => "add [[vrrp_instance]]".to_owned(),
                false => format!("there are: {}", known.join(", ")),
            };
            reader.error(at, format!("there is no vrrp_instance \"{}\"", shorten(name)), hint);
            return;
        };
        if !draft.accepts && serves_itself(server) {
            reader.error(at, keeps_clients_away(name), SERVE_ELSEWHERE);
        }
        for address in services.iter().filter_map(ServiceKey::address) {
            let own = Family::of(address);
            let device = vmac::device(&draft.spec);
            let key = key_of(address, &device);
            if draft.spec.addresses.iter().any(|held| held.address == address) {
                continue;
            }
            if let Some(first) = self.addresses.get(&key) {
                let text = format!("virtual address {address} belongs to another instance");
                reader.second(at, *first, text, "name that instance here");
                continue;
            }
            self.addresses.insert(key, place);
            draft.spec.addresses.push(VrrpAddress {
                address,
                prefix: own.host_prefix(),
                device,
                scope: AddressScope::Global,
                label: None,
                unadvertised: *draft.family.get_or_insert(own) != own,
            });
            draft.spec.family = draft.family.unwrap_or(own);
        }
    }

    /// Virtual servers whose real server is this director itself, at addresses that take nothing but what IPVS forwards,
    /// though they follow no instance. `places` is where their services are.
    pub(in crate::config) fn examine_refused(
        &self,
        reader: &mut Reader,
        followers: &[Follower],
        places: &HashMap<ServiceKey, Place>,
        virtual_servers: &[VirtualServer],
    ) {
        let refusing = self.drafts.iter().filter(|draft| !draft.accepts);
        let refusing: HashMap<_, _> = refusing
            .flat_map(|draft| draft.spec.addresses.iter().map(|held| (held.address, &draft.spec.name)))
            .collect();
        let follow = followers.iter().filter(|follower| follower.instance.is_some());
        let follow: HashSet<_> = follow.map(|follower| follower.virtual_server).collect();
        for (number, server) in virtual_servers.iter().enumerate() {
            let refused = |service: &ServiceKey| Some((*refusing.get(&service.address()?)?, *places.get(service)?));
            if !follow.contains(&number)
                && serves_itself(server)
                && let Some((name, place)) = server.services.iter().find_map(refused)
            {
                reader.error_at(place, keeps_clients_away(name), SERVE_ELSEWHERE);
            }
        }
    }

    /// A virtual server that keeps its addresses on a device for good.
    fn keep_apart(&self, reader: &mut Reader, at: usize, server: &VirtualServer) {
        let device = server.device.as_deref().unwrap_or_default();
        for address in server.services.iter().filter_map(ServiceKey::address) {
            if let Some(first) = self.addresses.get(&key_of(address, device)) {
                let text = format!("{address} follows a vrrp_instance and is on a `device` for good");
                reader.second(at, *first, text, "write `vrrp_instance` in place of `device`");
                return;
            }
        }
    }
}

fn keeps_clients_away(name: &str) -> String {
    let name = shorten(name);
    format!("`accept = false` in \"{name}\" keeps clients from what this director serves itself")
}

/// Whether a process of this director may be a real server behind the service's own address, as far as that can be known.
fn serves_itself(server: &VirtualServer) -> bool {
    let mut members = server.members();
    let here = members.any(|(address, forwarding)| forwarding != Forwarding::Nat && address.is_loopback());
    here || server.program_with.is_some()
}
