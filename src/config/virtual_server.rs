//! `[[virtual_server]]`: its table as a whole, and the rules between virtual servers.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::tree::Table;

use super::checks::NamedChecks;
use super::forwarding;
use super::policy::{self, OnDown};
use super::pool::{self, Front};
use super::problem::Place;
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::service::{is_udp_or_mark, read_flags, read_persistence, read_scheduler, read_services};
use super::vrrp::{Follower, Moving};
use crate::model::{Family, Forwarding, ServerDefaults, ServiceFlags, ServiceKey, ServiceSpec, VirtualServer};

/// The virtual servers read so far, and what no two of them may share.
#[derive(Default)]
pub(super) struct Assembly<'t> {
    /// The virtual servers in the order of the files.
    pub(super) virtual_servers: Vec<VirtualServer>,
    names: HashMap<&'t str, Place>,
    pub(super) services: HashMap<ServiceKey, Place>,
    addresses: HashMap<IpAddr, usize>,
    /// Virtual servers whose addresses are on this host, for good or as a virtual router's.
    pub(super) followers: Vec<Follower>,
    /// Real servers by address, with their place and their virtual server's number.
    servers: Vec<(IpAddr, Place, usize)>,
}

impl<'t> Assembly<'t> {
    /// Takes in the virtual servers of one file.
    pub(super) fn read(&mut self, reader: &mut Reader, checks: &mut NamedChecks<'_>, item: &'t Item<'_>) {
        for (at, table) in reader.tables(item, "virtual_server") {
            self.read_one(reader, checks, at, table);
        }
    }

    /// Warns of real servers that are virtual addresses of other virtual servers.
    pub(super) fn warn_of_chains(&self, reader: &mut Reader) {
        let virtual_addresses = self.addresses.keys();
        let (Some(first), Some(last)) = (virtual_addresses.clone().min(), virtual_addresses.max()) else {
            return;
        };
        // Real servers are usually elsewhere altogether, and there are many of them.
        let near = |server: &&(IpAddr, Place, usize)| *first <= server.0 && server.0 <= *last;
        for (address, place, number) in self.servers.iter().filter(near) {
            match self.addresses.get(address) {
                Some(other) if other != number => {
                    let name = self.virtual_servers.get(*other).map_or("", |server| &server.name);
                    reader.warning_at(
                        *place,
                        format!("real server {address} is a virtual address of \"{name}\""),
                        "IPVS does not balance a packet twice: name the real servers themselves",
                    );
                }
                Some(_) | None => {}
            }
        }
    }

    /// Warns of real servers that are this director itself, in services that every director has: a packet that the other
    /// director sends here is taken by this one's table, and sent back.
    pub(super) fn warn_of_loops(&self, reader: &mut Reader, own: &BTreeSet<IpAddr>, moving: &HashMap<usize, Moving>) {
        for (address, place, number) in &self.servers {
            let (Some(server), Some(Moving { named, instance, .. })) =
                (self.virtual_servers.get(*number), moving.get(number))
            else {
                continue;
            };
            let is_own = own.contains(address) || instance.source == Some(*address);
            let loops = || {
                let mut members = server.members();
                members.any(|(found, forwarding)| found == *address && forwarding != Forwarding::Nat)
            };
            if is_own && server.program_with.is_none() && loops() {
                let text = format!(
                    "real server {address} is this director itself: what the other director sends it comes back"
                );
                let name = match named {
                    true => String::new(),
                    false => format!("vrrp_instance = \"{}\" and ", shorten(&instance.name)),
                };
                let hint = format!("add {name}program_when = \"master\" to the virtual_server, on all directors");
                reader.warning_at(*place, text, hint);
            }
        }
    }

    fn read_one(&mut self, reader: &mut Reader, checks: &mut NamedChecks<'_>, at: usize, table: &'t Table<'_>) {
        let [
            name,
            address,
            fwmark,
            family,
            protocol,
            scheduler,
            flags,
            one_packet,
            persistence_timeout,
            persistence_netmask,
            persistence_engine,
            forward,
            tun,
            sorry_server,
            inhibit_on_failure,
            check,
            device,
            vrrp_instance,
            program_when,
            real_server,
        ] = reader.pick(table, Scope::VirtualServer);
        reader.report_unknown(table, &[Scope::VirtualServer, Scope::PoolKeys]);
        let number = self.virtual_servers.len();
        let errors = reader.ledger.errors();
        let name = self.read_name(reader, at, name);
        let services = read_services(reader, at, address, fwmark, family, protocol);
        for (place, service) in &services {
            if let Some(first) = self.services.get(service) {
                reader.second(
                    place.offset,
                    *first,
                    format!("{service} is served twice"),
                    "merge the two pools",
                );
            } else {
                self.services.insert(*service, *place);
            }
            if let Some(address) = service.address() {
                self.addresses.insert(address, number);
            }
        }
        let services: Vec<ServiceKey> = services.into_iter().map(|(_, service)| service).collect();
        let family = services.first().map_or(Family::Inet, ServiceKey::family);
        let by_mark = fwmark.is_some();

        let scheduler = read_scheduler(reader, scheduler);
        let mut spec = ServiceSpec::new(scheduler, family);
        if let Some(item) = flags {
            spec.flags = read_flags(reader, item, &spec.scheduler);
        }
        if spec.scheduler.hashes_the_client() {
            spec.flags = spec.flags.with(ServiceFlags::SCHEDULER_1);
        }
        read_persistence(
            reader,
            &mut spec,
            &services,
            persistence_timeout,
            persistence_netmask,
            persistence_engine,
        );
        if let Some(item) = one_packet
            && reader.boolean(item, "one_packet") == Some(true)
        {
            spec.flags = spec.flags.with(ServiceFlags::ONE_PACKET);
            if services.iter().any(|service| !is_udp_or_mark(service)) {
                reader.error(
                    item.span().start,
                    "`one_packet` is for udp and firewall marks only",
                    "add protocol = \"udp\", or take `one_packet` out",
                );
            }
        }
        if let Some(item) = address
            && !spec.flags.contains(ServiceFlags::PERSISTENT)
            && persistence_timeout.is_none()
            && services.iter().any(|service| service.port() == Some(0))
        {
            reader.error(
                item.span().start,
                "port 0, which is every port, needs persistence",
                "add persistence_timeout = \"300s\", or name the port",
            );
        }
        let forwarding = forwarding::read(reader, forward, tun, Forwarding::Nat);
        if let (Some(_), Some(item)) = (device, vrrp_instance) {
            reader.error(
                item.span().start,
                "a virtual_server has a `device` or a `vrrp_instance`, not both",
                "with `device` its addresses are here for good, with `vrrp_instance` where the master is",
            );
        } else if let Some(item) = device.or(vrrp_instance) {
            let instance = vrrp_instance.and_then(|item| reader.string(item, "vrrp_instance"));
            if device.is_some() || instance.is_some() {
                self.followers.push(Follower {
                    place: reader.place(item.span().start),
                    instance: instance.map(str::to_owned),
                    virtual_server: number,
                });
            }
        }
        let program_with = program_when.and_then(|item| read_program_when(reader, item, vrrp_instance));
        let device = device.and_then(|item| read_device(reader, item, by_mark));
        let inhibit = inhibit_on_failure.and_then(|item| {
            let inhibit = reader.boolean(item, "inhibit_on_failure")?;
            if !inhibit && spec.scheduler.hashes_the_client() {
                reader.warning(
                    item.span().start,
                    format!(
                        "with scheduler {} a failed server stays at weight 0 all the same",
                        spec.scheduler
                    ),
                    "taking it out would move clients of the other servers",
                );
            }
            Some(inhibit)
        });
        let policy = policy::read(reader, table, &spec.scheduler, by_mark, inhibit);
        let inhibit = inhibit.unwrap_or(false) || policy.on_down == Some(OnDown::Keep);
        let default_checks = check.map(|item| checks.list(reader, item)).unwrap_or_default();

        let mut ports: Vec<u16> = services.iter().filter_map(ServiceKey::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let front = Front {
            services: &services,
            ports: &ports,
            forwarding,
            checks: &default_checks,
            notify: &policy.notify,
        };
        let sorry = sorry_server.and_then(|item| pool::read_sorry_server(reader, &front, item));
        let real = real_server
            .map(|item| pool::read_real_servers(reader, checks, &front, item))
            .unwrap_or_default();
        if let Some((place, sorry)) = &sorry {
            for (_, server) in &real {
                let same = server.address == sorry.address
                    && (server.port == sorry.port || server.port.is_none() || sorry.port.is_none());
                if same && server.spec.forwarding != sorry.spec.forwarding {
                    reader.error_at(
                        *place,
                        format!(
                            "the sorry server is also a real server, but with forward = \"{}\" instead of \"{}\"",
                            sorry.spec.forwarding, server.spec.forwarding
                        ),
                        "one destination has one way of forwarding: make them equal",
                    );
                }
            }
        }
        // Where something was wrong, what is left of the pool says nothing.
        if reader.ledger.errors() == errors {
            warn_of_thin_pools(reader, at, &name, &real, sorry.is_some());
            policy::warn_of_no_effect(reader, &policy, &real, sorry.is_some());
        }
        self.servers
            .extend(sorry.iter().map(|(place, server)| (server.address, *place, number)));
        self.servers
            .extend(real.iter().map(|(place, server)| (server.address, *place, number)));
        self.virtual_servers.push(VirtualServer {
            name,
            inhibit_on_failure: inhibit || spec.scheduler.hashes_the_client(),
            services,
            spec,
            real_servers: real.into_iter().map(|(_, server)| server).collect(),
            sorry_server: sorry.map(|(_, server)| server),
            policy: policy.policy,
            device,
            program_with,
            defaults: ServerDefaults {
                forwarding,
                checks: default_checks,
                notify: policy.notify,
            },
        });
    }

    fn read_name(&mut self, reader: &mut Reader, at: usize, name: Option<&'t Item<'_>>) -> String {
        let Some(item) = name else {
            reader.missing(at, "the virtual_server has no `name`", "write name = \"web\"");
            return String::new();
        };
        reader
            .name(item, "virtual_servers", &mut self.names)
            .unwrap_or_default()
    }
}

/// The virtual router whose master has the services, where only that one has.
fn read_program_when(reader: &mut Reader, item: &Item<'_>, instance: Option<&Item<'_>>) -> Option<String> {
    let only = reader.word(item, "program_when", &[("master", true), ("always", false)])?;
    if !only {
        return None;
    }
    let Some(instance) = instance else {
        let text = "`program_when = \"master\"` does not say whose master";
        reader.missing(item.span().start, text, "add vrrp_instance = \"VI_1\"");
        return None;
    };
    reader.string(instance, "vrrp_instance").map(str::to_owned)
}

fn read_device(reader: &mut Reader, item: &Item<'_>, by_mark: bool) -> Option<String> {
    if by_mark {
        reader.error(
            item.span().start,
            "a fwmark service has no address to put on a `device`",
            "take `device` out",
        );
        return None;
    }
    reader.device(item)
}

fn warn_of_thin_pools(
    reader: &mut Reader,
    at: usize,
    name: &str,
    real: &[(Place, crate::model::RealServer)],
    sorry: bool,
) {
    let enabled = || real.iter().map(|(_, server)| server).filter(|server| !server.disabled);
    let alternative = match sorry {
        true => "the sorry server serves all the time",
        false => "its clients are refused",
    };
    if real.is_empty() {
        reader.warning(
            at,
            format!("virtual_server \"{}\" has no real server: {alternative}", shorten(name)),
            "add [[virtual_server.real_server]]",
        );
        return;
    }
    let servers = enabled().count();
    if servers == 0 {
        reader.warning(
            at,
            format!("every real server of \"{}\" is disabled: {alternative}", shorten(name)),
            "",
        );
        return;
    }
    let unchecked = enabled().filter(|server| server.checks.is_empty()).count();
    if unchecked > 0 {
        let whose = match unchecked == servers {
            true => "the real servers".to_owned(),
            false => format!("{unchecked} of {servers} real servers"),
        };
        reader.warning(
            at,
            format!("{whose} of \"{}\" have no check: they are taken as up", shorten(name)),
            "add check = [{ type = \"tcp\" }]",
        );
    }
}
