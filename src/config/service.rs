//! The services of a virtual server, and the settings the kernel keeps for each: scheduler, flags, persistence.

use super::address::{self, MOST_SERVICES};
use super::checks::read_fwmark;
use super::hints;
use super::problem::Place;
use super::reader::{Item, Reader, shorten};
use crate::model::{Family, Netmask, Protocol, Scheduler, ServiceFlags, ServiceKey, ServiceSpec};

/// The longest persistence in seconds, 31 days, as ipvsadm(8) takes it.
const LONGEST_PERSISTENCE: u32 = 2_678_400;
const PROTOCOLS: [(&str, Protocol); 3] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
const FAMILIES: [(&str, Family); 2] = [("inet", Family::Inet), ("inet6", Family::Inet6)];

pub(super) fn is_udp_or_mark(service: &ServiceKey) -> bool {
    match service {
        ServiceKey::Address { protocol, .. } => *protocol == Protocol::Udp,
        ServiceKey::Fwmark { .. } => true,
    }
}

pub(super) fn read_services(
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
            let mark = read_fwmark(reader, item);
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

pub(super) fn read_scheduler(reader: &mut Reader, item: Option<&Item<'_>>) -> Scheduler {
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

pub(super) fn read_flags(reader: &mut Reader, item: &Item<'_>, scheduler: &Scheduler) -> ServiceFlags {
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

pub(super) fn read_persistence(
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
