//! `[[virtual_server]]`: its services, their settings, and the rules between virtual servers.

use std::collections::HashMap;
use std::net::IpAddr;

use super::tree::Table;

use super::address::{self, MOST_SERVICES};
use super::checks::NamedChecks;
use super::forwarding;
use super::hints::{self, Scope};
use super::pool::{self, Front};
use super::problem::Place;
use super::reader::{Item, Reader, shorten};
use crate::model::{
    Family, Forwarding, Netmask, Protocol, Scheduler, ServiceFlags, ServiceKey, ServiceSpec, VirtualServer,
};

/// The longest persistence in seconds, 31 days, as ipvsadm(8) takes it.
const LONGEST_PERSISTENCE: u32 = 2_678_400;
/// The most characters of a name.
const LONGEST_NAME: usize = 64;

const PROTOCOLS: [(&str, Protocol); 3] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
const FAMILIES: [(&str, Family); 2] = [("inet", Family::Inet), ("inet6", Family::Inet6)];

/// The virtual servers read so far, and what no two of them may share.
#[derive(Default)]
pub(super) struct Assembly<'t> {
    /// The virtual servers in the order of the files.
    pub(super) virtual_servers: Vec<VirtualServer>,
    names: HashMap<&'t str, Place>,
    services: HashMap<ServiceKey, Place>,
    addresses: HashMap<IpAddr, usize>,
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
        for (address, place, number) in &self.servers {
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
            real_server,
        ] = reader.fields(table, Scope::VirtualServer);
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
        let default_checks = check.map(|item| checks.list(reader, item)).unwrap_or_default();

        let mut ports: Vec<u16> = services.iter().filter_map(ServiceKey::port).collect();
        ports.sort_unstable();
        ports.dedup();
        let front = Front {
            services: &services,
            ports: &ports,
            forwarding,
            checks: &default_checks,
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
        }
        self.servers
            .extend(real.iter().map(|(place, server)| (server.address, *place, number)));
        self.virtual_servers.push(VirtualServer {
            name,
            inhibit_on_failure: inhibit.unwrap_or(false) || spec.scheduler.hashes_the_client(),
            services,
            spec,
            real_servers: real.into_iter().map(|(_, server)| server).collect(),
            sorry_server: sorry.map(|(_, server)| server),
            device,
        });
    }

    fn read_name(&mut self, reader: &mut Reader, at: usize, name: Option<&'t Item<'_>>) -> String {
        let Some(item) = name else {
            reader.missing(at, "the virtual_server has no `name`", "write name = \"web\"");
            return String::new();
        };
        let Some(name) = reader.string(item, "name") else {
            return String::new();
        };
        let at = item.span().start;
        let fits = !name.is_empty()
            && name.chars().count() <= LONGEST_NAME
            && !name.contains(|letter: char| letter.is_whitespace() || letter.is_control());
        if !fits {
            reader.error(
                at,
                format!("`{}` cannot be a name", shorten(name)),
                format!("1 to {LONGEST_NAME} characters without blanks"),
            );
        } else if let Some(first) = self.names.get(name) {
            reader.second(
                at,
                *first,
                format!("two virtual_servers are called \"{name}\""),
                "rename one of them",
            );
        } else {
            self.names.insert(name, reader.place(at));
        }
        name.to_owned()
    }
}

fn is_udp_or_mark(service: &ServiceKey) -> bool {
    match service {
        ServiceKey::Address { protocol, .. } => *protocol == Protocol::Udp,
        ServiceKey::Fwmark { .. } => true,
    }
}

fn read_services(
    reader: &mut Reader,
    at: usize,
    address: Option<&Item<'_>>,
    fwmark: Option<&Item<'_>>,
    family: Option<&Item<'_>>,
    protocol: Option<&Item<'_>>,
) -> Vec<(Place, ServiceKey)> {
    let wanted = protocol.map(|item| reader.word(item, "protocol", &PROTOCOLS));
    if let Some(item) = family
        && fwmark.is_none()
    {
        reader.error(
            item.span().start,
            "`family` goes with `fwmark` only",
            "take it out: an address says its family itself",
        );
    }
    match (address, fwmark) {
        (None, None) => {
            reader.missing(
                at,
                "the virtual_server has neither `address` nor `fwmark`",
                "write address = \"192.0.2.200:80\"",
            );
            Vec::new()
        }
        (Some(_), Some(item)) => {
            reader.error(
                item.span().start,
                "a virtual_server has `address` or `fwmark`, not both",
                "write two virtual_servers",
            );
            Vec::new()
        }
        (None, Some(item)) => {
            let family = match family {
                Some(item) => reader.word(item, "family", &FAMILIES),
                None => Some(Family::Inet),
            };
            if let Some(item) = protocol {
                reader.error(
                    item.span().start,
                    "a fwmark service has no `protocol`",
                    "take it out: whatever carries the mark is balanced",
                );
            }
            let mark = reader.number(item, "fwmark", 1..=u32::MAX);
            match (mark, family) {
                (Some(mark), Some(family)) => {
                    vec![(reader.place(item.span().start), ServiceKey::Fwmark { mark, family })]
                }
                (None, _) | (_, None) => Vec::new(),
            }
        }
        // An unknown protocol has been complained about; any stands in for it, so that the addresses are read too.
        (Some(item), None) => {
            let services = read_addresses(reader, item, wanted.flatten().unwrap_or(Protocol::Tcp));
            match wanted {
                Some(None) => Vec::new(),
                Some(Some(_)) | None => services,
            }
        }
    }
}

fn read_addresses(reader: &mut Reader, item: &Item<'_>, protocol: Protocol) -> Vec<(Place, ServiceKey)> {
    let mut services: Vec<(Place, ServiceKey)> = Vec::new();
    let mut total = 0;
    let mut family = None;
    let mut written = 0;
    for element in reader.one_or_list(item) {
        written += 1;
        let Some(text) = reader.string(element, "address") else {
            continue;
        };
        let at = element.span().start;
        let range = match address::service(text) {
            Ok(range) => range,
            Err(unusable) => {
                reader.error(at, unusable.text, unusable.hint);
                continue;
            }
        };
        total += range.count;
        if total > MOST_SERVICES {
            reader.error(
                at,
                format!("more than {MOST_SERVICES} addresses in one virtual_server"),
                "use a firewall mark for so many: fwmark = 1",
            );
            break;
        }
        if *family.get_or_insert(Family::of(range.first)) != Family::of(range.first) {
            reader.error(
                at,
                "IPv4 and IPv6 addresses cannot share a pool",
                "write one virtual_server for each family",
            );
            continue;
        }
        let place = reader.place(at);
        services.extend(range.services(protocol).map(|service| (place, service)));
    }
    if written == 0 {
        reader.missing(
            item.span().start,
            "`address` is an empty list",
            "write address = \"192.0.2.200:80\"",
        );
    }
    services
}

fn read_scheduler(reader: &mut Reader, item: Option<&Item<'_>>) -> Scheduler {
    let Some(item) = item else { return Scheduler::Wlc };
    let Some(name) = reader.string(item, "scheduler") else {
        return Scheduler::Wlc;
    };
    if let Some(known) = Scheduler::ALL.into_iter().find(|scheduler| scheduler.name() == name) {
        return known;
    }
    let names = || Scheduler::ALL.iter().map(Scheduler::name);
    let near = match names().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(near) => format!("did you mean \"{near}\"? "),
        None => String::new(),
    };
    reader.error(
        item.span().start,
        format!("there is no scheduler \"{}\"", shorten(name)),
        format!("{near}known: {}", hints::list(names())),
    );
    Scheduler::Wlc
}

fn read_flags(reader: &mut Reader, item: &Item<'_>, scheduler: &Scheduler) -> ServiceFlags {
    let mut flags = ServiceFlags::NONE;
    for element in reader.one_or_list(item) {
        let Some(name) = reader.string(element, "flags") else {
            continue;
        };
        let (flag, fits) = match name {
            "flag-1" => (ServiceFlags::SCHEDULER_1, true),
            "flag-2" => (ServiceFlags::SCHEDULER_2, true),
            "flag-3" => (ServiceFlags::SCHEDULER_3, true),
            "sh-fallback" => (ServiceFlags::SCHEDULER_1, *scheduler == Scheduler::Sh),
            "sh-port" => (ServiceFlags::SCHEDULER_2, *scheduler == Scheduler::Sh),
            "mh-fallback" => (ServiceFlags::SCHEDULER_1, *scheduler == Scheduler::Mh),
            "mh-port" => (ServiceFlags::SCHEDULER_2, *scheduler == Scheduler::Mh),
            _ => {
                let known = [
                    "sh-port",
                    "sh-fallback",
                    "mh-port",
                    "mh-fallback",
                    "flag-1",
                    "flag-2",
                    "flag-3",
                ];
                reader.error(
                    element.span().start,
                    format!("there is no flag \"{}\"", shorten(name)),
                    hints::unknown_word(name, &known),
                );
                continue;
            }
        };
        if !fits {
            let hint = match scheduler {
                Scheduler::Sh | Scheduler::Mh => format!("write \"{scheduler}{}\"", &name[2..]),
                _ => format!("it goes with scheduler = \"{}\"", &name[..2]),
            };
            reader.error(
                element.span().start,
                format!("flag \"{name}\" does not fit scheduler {scheduler}"),
                hint,
            );
            continue;
        }
        flags = flags.with(flag);
    }
    flags
}

fn read_persistence(
    reader: &mut Reader,
    spec: &mut ServiceSpec,
    services: &[ServiceKey],
    timeout: Option<&Item<'_>>,
    netmask: Option<&Item<'_>>,
    engine: Option<&Item<'_>>,
) {
    if let Some(item) = timeout
        && let Some(seconds) = reader.seconds(item, "persistence_timeout", 1..=LONGEST_PERSISTENCE)
    {
        spec.persistence_timeout = seconds;
        spec.flags = spec.flags.with(ServiceFlags::PERSISTENT);
    }
    for (item, key) in [(netmask, "persistence_netmask"), (engine, "persistence_engine")] {
        if let (Some(item), None) = (item, timeout) {
            reader.error(
                item.span().start,
                format!("`{key}` does nothing without `persistence_timeout`"),
                "add persistence_timeout = \"300s\"",
            );
        }
    }
    if let Some(item) = netmask
        && let Some(first) = services.first()
        && let Some(mask) = read_netmask(reader, item, first.family())
    {
        spec.netmask = mask;
    }
    if let Some(item) = engine
        && let Some(name) = reader.word(item, "persistence_engine", &[("sip", "sip")])
    {
        if services.iter().any(|service| !is_udp_or_mark(service)) {
            reader.error(
                item.span().start,
                "`persistence_engine` \"sip\" is for udp and firewall marks only",
                "add protocol = \"udp\", or take it out",
            );
        }
        spec.persistence_engine = Some(name.to_owned());
    }
}

fn read_netmask(reader: &mut Reader, item: &Item<'_>, family: Family) -> Option<Netmask> {
    let at = item.span().start;
    if family == Family::Inet6 {
        let prefix = reader.number(item, "persistence_netmask", 1..=128)?;
        return u8::try_from(prefix).ok().map(Netmask::V6);
    }
    if let super::tree::Value::Integer(_) = item.get_ref() {
        let prefix = reader.number(item, "persistence_netmask", 1..=32)?;
        let bits = u32::MAX.checked_shl(32 - prefix)?;
        return Some(Netmask::V4(std::net::Ipv4Addr::from_bits(bits)));
    }
    let text = reader.string(item, "persistence_netmask")?;
    match text.parse::<std::net::Ipv4Addr>() {
        Ok(mask) if mask.to_bits() != 0 => {
            if mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() != 32 {
                reader.warning(
                    at,
                    format!("`persistence_netmask` {mask} has holes"),
                    "the kernel takes it; is it meant?",
                );
            }
            Some(Netmask::V4(mask))
        }
        Ok(_) | Err(_) => {
            reader.error(
                at,
                format!("`persistence_netmask` cannot be \"{}\"", shorten(text)),
                "\"255.255.255.0\", or a prefix length: 24",
            );
            None
        }
    }
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
