//! `[[vrrp_instance]]` and `[[vrrp_sync_group]]`: their tables, and the rules between them and the virtual servers.
//!
//! | file | what |
//! |---|---|
//! | `instance` | keys of an instance that have rules of their own |
//! | `address` | one virtual address |
//! | `route`, `rule` | one of its routes and rules |
//! | `vmac` | the virtual MAC |
//! | `track` | what is tracked |
//! | `notify` | commands |
//! | `group` | sync groups |
//! | `follower` | virtual servers whose addresses follow an instance |

mod address;
mod follower;
mod group;
mod instance;
mod notify;
mod route;
mod rule;
mod track;
mod vmac;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::address::read_address;
pub(super) use self::follower::{Follower, Moving, moving};
use self::instance::{read_accept, read_interval, read_password, read_peers, read_preempt};
use self::route::read_route;
use self::rule::read_rule;
use self::track::TrackedServer;
use super::problem::Place;
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::sync::{self, Wait};
use super::tree::Table;
use crate::model::{
    Config, Family, Garp, RouteKey, VirtualServer, VrrpAddress, VrrpChecksum, VrrpNotify, VrrpRule, VrrpSpec,
    VrrpSyncGroup, VrrpVersion,
};

/// The most addresses that an advert can name.
const MOST_ADDRESSES: usize = 255;
const DAY: Duration = Duration::from_secs(86_400);

/// The virtual routers read so far, and what no two of them may share.
#[derive(Default)]
pub(super) struct Routers<'t> {
    drafts: Vec<Draft>,
    groups: Vec<VrrpSyncGroup>,
    names: HashMap<&'t str, Place>,
    group_names: HashMap<&'t str, Place>,
    addresses: HashMap<AddressKey, Place>,
    routes: HashMap<RouteKey, Place>,
    rules: HashMap<VrrpRule, Place>,
    /// The groups that name instances, by instance.
    grouped: BTreeMap<String, Place>,
    /// Instances that wait for connections before they take over.
    waits: Vec<Wait>,
}

/// One instance, before its virtual servers are known.
struct Draft {
    place: Place,
    /// Where its table begins.
    table: Place,
    /// Where its number stands; `None` where that or its interface is missing or wrong.
    number: Option<Place>,
    /// Where its addresses stand, or its table where only virtual servers have them.
    addresses: Place,
    spec: VrrpSpec,
    notify: Option<VrrpNotify>,
    /// What is sent to its addresses is taken where IPVS does not forward it.
    accepts: bool,
    /// What its addresses of other settings were given as; none yet where virtual servers bring them.
    family: Option<Family>,
    /// The virtual servers whose quorum or tier it tracks.
    tracked: Vec<TrackedServer>,
    /// It has something in `virtual_address`, whatever that is.
    listed: bool,
    /// Where its virtual MAC stands.
    vmac: Option<Place>,
}

impl<'t> Routers<'t> {
    /// Takes in the instances of one file.
    pub(super) fn read_instances(&mut self, reader: &mut Reader, item: &'t Item<'_>) {
        for (at, table) in reader.tables(item, "vrrp_instance") {
            self.read_instance(reader, at, table);
        }
    }

    fn read_instance(&mut self, reader: &mut Reader, at: usize, table: &'t Table<'_>) {
        let [
            name,
            interface,
            virtual_router_id,
            priority,
            version,
            state,
            advert_int,
            preempt,
            preempt_delay,
            preempt_after_sync,
            password,
            use_vmac,
            vmac_xmit_base,
            source_address,
            peers,
            checksum,
            garp_master_repeat,
            garp_master_delay,
            garp_master_refresh,
            garp_master_refresh_repeat,
            garp_lower_prio_repeat,
            virtual_address,
            accept,
            routes,
            rules,
            track_interface,
            track_quorum,
            track_tier,
            track_script,
            track_process,
            track_file,
            track_program,
            notify_master,
            notify_backup,
            notify_fault,
            notify_stop,
            notify_any,
        ] = reader.fields(table, Scope::VrrpInstance);
        let name = match name {
            Some(item) => reader.name(item, "vrrp_instances", &mut self.names).unwrap_or_default(),
            None => {
                reader.missing(at, "the vrrp_instance has no `name`", "write name = \"VI_1\"");
                String::new()
            }
        };
        let interface_at = interface.map_or(at, |item| item.span().start);
        let interface = match interface {
            Some(item) => reader.device(item),
            None => {
                reader.missing(at, "the vrrp_instance has no `interface`", "write interface = \"eth0\"");
                None
            }
        };
        let number_at = virtual_router_id.map_or(at, |item| item.span().start);
        let number = match virtual_router_id {
            Some(item) => reader.number(item, "virtual_router_id", 1..=255),
            None => {
                reader.missing(
                    at,
                    "the vrrp_instance has no `virtual_router_id`",
                    "a number from 1 to 255 that all its directors have and nobody else on the segment",
                );
                None
            }
        };
        let byte = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let version =
            version
                .and_then(|item| reader.number(item, "version", 2..=3))
                .map_or(VrrpVersion::V3, |version| match version {
                    2 => VrrpVersion::V2,
                    _ => VrrpVersion::V3,
                });
        let priority = priority
            .and_then(|item| reader.number(item, "priority", 1..=255))
            .map_or(100, byte);
        let owner = priority == u8::MAX;
        let state = state.and_then(|item| reader.word(item, "state", &[("master", true), ("backup", false)]));
        let mut spec = VrrpSpec {
            name,
            interface: interface.clone().unwrap_or_default(),
            family: Family::Inet,
            virtual_router_id: number.map_or(1, byte),
            version,
            priority,
            advert_interval: Duration::from_secs(1),
            starts_as_master: state.unwrap_or(owner),
            preempt: true,
            preempt_delay: Duration::ZERO,
            preempt_after_sync: Duration::ZERO,
            preempt_share: None,
            password: None,
            vmac: None,
            source: None,
            peers: Vec::new(),
            checksum: VrrpChecksum::default(),
            garp: Garp::default(),
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            tracks: Vec::new(),
        };
        if let Some(interval) = advert_int.and_then(|item| read_interval(reader, item, version)) {
            spec.advert_interval = interval;
        }
        read_preempt(reader, &mut spec, preempt, preempt_delay);
        if let Some(item) = preempt_after_sync {
            (spec.preempt_after_sync, spec.preempt_share) = sync::read_wait(reader, item).unwrap_or_default();
            if !spec.preempt || spec.is_owner() {
                let text = "`preempt_after_sync` is for instances that take over from others and own no addresses";
                reader.error(item.span().start, text, "take it out");
            } else if !spec.preempt_after_sync.is_zero() {
                let place = reader.place(item.span().start);
                self.waits.push(Wait {
                    place,
                    at_most: spec.preempt_after_sync,
                    by_share: spec.preempt_share.is_some(),
                });
            }
        }
        if let Some(item) = password {
            spec.password = read_password(reader, item, version);
        }
        if let Some(item) = checksum {
            let words = [("rfc5798", VrrpChecksum::Rfc5798), ("rfc9568", VrrpChecksum::Rfc9568)];
            spec.checksum = reader.word(item, "checksum", &words).unwrap_or_default();
            if version == VrrpVersion::V2 {
                let hint = "take it out; version 2 has one form only";
                reader.warning(item.span().start, "`checksum` is for version 3", hint);
            }
        }
        let garp = &mut spec.garp;
        for (item, key, value, least) in [
            (garp_master_repeat, "garp_master_repeat", &mut garp.repeat, 1),
            (
                garp_master_refresh_repeat,
                "garp_master_refresh_repeat",
                &mut garp.refresh_repeat,
                1,
            ),
            (
                garp_lower_prio_repeat,
                "garp_lower_prio_repeat",
                &mut garp.lower_priority_repeat,
                0,
            ),
        ] {
            *value = item
                .and_then(|item| reader.number(item, key, least..=100))
                .unwrap_or(*value);
        }
        for (item, key, value) in [
            (garp_master_delay, "garp_master_delay", &mut garp.delay),
            (garp_master_refresh, "garp_master_refresh", &mut garp.refresh),
        ] {
            let duration = item.and_then(|item| reader.duration(item, key, Duration::ZERO..=DAY));
            *value = duration.unwrap_or(*value);
        }
        let vmac = vmac::read(reader, use_vmac, vmac_xmit_base, &mut spec);
        let mut family = None;
        if let Some(item) = source_address {
            spec.source = reader.ip_address(item, "source_address");
            family = spec.source.map(Family::of);
        }
        if let Some(item) = peers {
            read_peers(reader, item, &mut spec, &mut family);
        }
        if let Some(item) = virtual_address {
            self.read_addresses(reader, item, &mut spec, &mut family);
        }
        if let Some(item) = routes {
            self.read_routes(reader, item, &mut spec);
        }
        if let Some(item) = rules {
            self.read_rules(reader, item, &mut spec);
        }
        let mut tracked = Vec::new();
        if let Some(item) = track_interface {
            track::read_interfaces(reader, item, &mut spec);
        }
        if let Some(item) = track_quorum {
            tracked.extend(track::read_quorums(reader, item, &mut spec));
        }
        if let Some(item) = track_tier {
            tracked.extend(track::read_tiers(reader, item, &mut spec));
        }
        if let Some(item) = track_script {
            track::read_scripts(reader, item, &mut spec);
        }
        if let Some(item) = track_process {
            track::read_processes(reader, item, &mut spec);
        }
        if let Some(item) = track_file {
            track::read_files(reader, item, &mut spec);
        }
        if let Some(item) = track_program {
            track::read_program(reader, item, &mut spec);
        }
        if let Some(item) = peers {
            vmac::examine_peers(reader, item, &spec);
        }
        spec.family = family.unwrap_or(Family::Inet);
        let accepts = accept.is_none_or(|item| read_accept(reader, item, &spec));
        let commands = [notify_master, notify_backup, notify_fault, notify_stop, notify_any];
        let notify = notify::read(reader, commands);
        let place = reader.place(interface_at);
        self.drafts.push(Draft {
            place,
            table: reader.place(at),
            number: (interface.is_some() && number.is_some()).then(|| reader.place(number_at)),
            addresses: reader.place(virtual_address.map_or(at, |item| item.span().start)),
            spec,
            notify,
            accepts,
            family,
            tracked,
            listed: virtual_address.is_some_and(|item| reader.one_or_list(item).next().is_some()),
            vmac,
        });
    }

    fn read_addresses(
        &mut self,
        reader: &mut Reader,
        item: &'t Item<'_>,
        spec: &mut VrrpSpec,
        family: &mut Option<Family>,
    ) {
        for element in reader.one_or_list(item) {
            let at = element.span().start;
            let Some(address) = read_address(reader, element, &vmac::device(spec)) else {
                continue;
            };
            let own = Family::of(address.address);
            let advertised = !address.unadvertised;
            if advertised && *family.get_or_insert(own) != own {
                reader.error(
                    at,
                    format!("{} is of another family than the rest of this instance", address.address),
                    "give it an instance of its own and bind the two in a [[vrrp_sync_group]], or write excluded = true",
                );
                continue;
            }
            if self.is_new(reader, at, &address) {
                spec.addresses.push(address);
            }
        }
    }

    fn is_new(&mut self, reader: &mut Reader, at: usize, address: &VrrpAddress) -> bool {
        let key = key_of(address.address, &address.device);
        if let Some(first) = self.addresses.get(&key) {
            let text = format!("virtual address {} is there twice", address.address);
            reader.second(
                at,
                *first,
                text,
                "it can be on one device of one director only: take one out",
            );
            return false;
        }
        self.addresses.insert(key, reader.place(at));
        true
    }

    fn read_routes(&mut self, reader: &mut Reader, item: &'t Item<'_>, spec: &mut VrrpSpec) {
        for element in reader.one_or_list(item) {
            let at = element.span().start;
            let Some(route) = read_route(reader, element) else {
                continue;
            };
            if let Some(first) = self.routes.get(&route.key()) {
                let text = format!(
                    "there are two routes to {} with the same `table` and `metric`",
                    route.to
                );
                reader.second(at, *first, text, "the kernel keeps one: give it another metric");
                continue;
            }
            self.routes.insert(route.key(), reader.place(at));
            if let Some(via) = route.via
                && spec.addresses.iter().any(|own| own.address == via)
            {
                let text = format!("`via` {via} is a `virtual_address` of the instance itself");
                reader.error(at, text, "a next hop is another host: say which");
                continue;
            }
            spec.routes.push(route);
        }
    }

    fn read_rules(&mut self, reader: &mut Reader, item: &'t Item<'_>, spec: &mut VrrpSpec) {
        for element in reader.one_or_list(item) {
            let at = element.span().start;
            let Some(rule) = read_rule(reader, element) else {
                continue;
            };
            if let Some(first) = self.rules.get(&rule) {
                let text = format!("the rule \"{rule}\" is there twice");
                reader.second(at, *first, text, "one instance can have it: take one out");
                continue;
            }
            self.rules.insert(rule.clone(), reader.place(at));
            spec.rules.push(rule);
        }
    }

    /// What the tables mean, once all are read; answers with the waits for connections, and where they stand.
    pub(super) fn finish(
        mut self,
        reader: &mut Reader,
        virtual_servers: &[VirtualServer],
        config: &mut Config,
    ) -> Vec<Wait> {
        let mut specs = Vec::with_capacity(self.drafts.len());
        let mut numbers = HashMap::new();
        for draft in &self.drafts {
            examine(reader, draft, &mut numbers);
        }
        vmac::finish(reader, &mut self.drafts, virtual_servers);
        for Draft {
            place,
            spec,
            notify,
            accepts,
            listed,
            tracked,
            ..
        } in self.drafts
        {
            reader.file = place.file;
            for TrackedServer { place, name, what } in tracked {
                if !virtual_servers.iter().any(|server| server.name == name) {
                    let text = format!("there is no virtual_server \"{}\"", shorten(&name));
                    reader.error_at(
                        place,
                        text,
                        format!("its {what} can be tracked where it is in this configuration"),
                    );
                }
            }
            if spec.addresses.is_empty() && !listed && !spec.name.is_empty() {
                let hint = "add virtual_address = [\"192.0.2.100/24\"], or name the instance in a virtual_server";
                let text = format!("vrrp_instance \"{}\" has no virtual address", shorten(&spec.name));
                reader.missing(place.offset, text, hint);
            }
            if !accepts {
                let addresses = spec.addresses.iter().map(|held| held.address);
                config.refused_addresses.extend(addresses);
            }
            if let Some(notify) = notify {
                config.vrrp_notify.insert(spec.name.clone(), notify);
            }
            specs.push(Arc::new(spec));
        }
        (config.vrrp_instances, config.vrrp_sync_groups) = (specs, self.groups);
        self.waits
    }
}

/// An address, with the device that it is on where other devices may have it too.
type AddressKey = (IpAddr, Option<String>);

fn key_of(address: IpAddr, device: &str) -> AddressKey {
    let is_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    (address, is_local.then(|| device.to_owned()))
}

/// What holds for an instance whoever has brought its addresses: its own table or virtual servers.
fn examine(reader: &mut Reader, draft: &Draft, numbers: &mut HashMap<(String, Family, u8), Place>) {
    let spec = &draft.spec;
    if spec.version == VrrpVersion::V2 && spec.family == Family::Inet6 {
        let hint = "take `version = 2` out: IPv6 needs version 3";
        reader.error_at(draft.table, "VRRP version 2 is for IPv4 only", hint);
    }
    let advertised = spec.advertised().count();
    if advertised > MOST_ADDRESSES {
        let text = format!("{advertised} virtual addresses are too many for one instance");
        let hint = format!("an advert names {MOST_ADDRESSES} at most: list the others with excluded = true");
        reader.error_at(draft.addresses, text, hint);
    }
    let Some(place) = draft.number else { return };
    match numbers.entry((spec.interface.clone(), spec.family, spec.virtual_router_id)) {
        Entry::Vacant(vacant) => drop(vacant.insert(place)),
        Entry::Occupied(first) => {
            reader.file = place.file;
            let text = format!(
                "virtual_router_id {} is used twice on {}",
                spec.virtual_router_id, spec.interface
            );
            let hint = "each virtual router of a segment has its own number";
            reader.second(place.offset, *first.get(), text, hint);
        }
    }
}
