//! The pool of one virtual server: its real servers and its sorry server, with the rules the kernel has for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::tree::{Table, Value};

use super::address;
use super::checks::NamedChecks;
use super::command::read_command;
use super::forwarding;
use super::problem::Place;
use super::reader::{Item, Reader, kind};
use super::scope::Scope;
use crate::model::{
    CheckSpec, Command, DestinationKey, DestinationSpec, Family, Forwarding, Notify, RealServer, ServiceKey,
    SorryServer, Via,
};

/// The highest weight and threshold: the kernel reads both as signed 32-bit numbers.
const MOST: u32 = 2_147_483_647;
/// The most destinations of one virtual server: its services times its real servers.
const MOST_DESTINATIONS: usize = 1 << 20;
const HIGHEST_TIER: u32 = 1000;

/// What a pool has to fit to.
pub(super) struct Front<'f> {
    /// The services; empty where none could be read, and then nothing is compared with them.
    pub(super) services: &'f [ServiceKey],
    /// The ports of the services, each once; empty for a firewall mark.
    pub(super) ports: &'f [u16],
    /// The forwarding of servers that say nothing else.
    pub(super) forwarding: Forwarding,
    /// The checks of servers that say nothing else.
    pub(super) checks: &'f [CheckSpec],
    /// The commands of servers that say nothing else.
    pub(super) notify: &'f Notify,
}

impl Front<'_> {
    fn family(&self) -> Option<Family> {
        self.services.first().map(ServiceKey::family)
    }

    fn is_fwmark(&self) -> bool {
        self.services.first().is_some_and(|service| service.port().is_none())
    }

    fn is_virtual_address(&self, address: IpAddr) -> bool {
        self.services.iter().any(|service| service.address() == Some(address))
    }
}

/// The checks of the pool's servers that say nothing else, and the port of these servers.
type Shared = (Option<u16>, Vec<Arc<CheckSpec>>);

/// Reads the real servers of one pool; those with a problem are left out.
pub(super) fn read_real_servers(
    reader: &mut Reader,
    checks: &mut NamedChecks<'_>,
    front: &Front<'_>,
    item: &Item<'_>,
) -> Vec<(Place, RealServer)> {
    let tables = reader.tables(item, "virtual_server.real_server");
    let destinations = tables.len().saturating_mul(front.services.len());
    if destinations > MOST_DESTINATIONS {
        reader.error(
            item.span().start,
            format!(
                "{} real servers behind {} services are too many",
                tables.len(),
                front.services.len()
            ),
            format!(
                "at most {MOST_DESTINATIONS} destinations in one virtual_server; a firewall mark needs only one service"
            ),
        );
        return Vec::new();
    }
    let mut servers = Vec::with_capacity(tables.len());
    let mut shared = None;
    let mut seen: BTreeMap<DestinationKey, Place> = BTreeMap::new();
    for (at, table) in tables {
        let Some((address_at, server)) = read_real_server(reader, checks, front, at, table, &mut shared) else {
            continue;
        };
        let place = reader.place(address_at);
        let own = [server.port.unwrap_or(0)];
        let ports: &[u16] = match server.port {
            Some(_) => &own,
            None if front.ports.is_empty() => &own,
            None => front.ports,
        };
        let mut first = None;
        for port in ports {
            let earlier = *seen.entry(DestinationKey::new(server.address, *port)).or_insert(place);
            if earlier != place {
                first = Some(earlier);
            }
        }
        if let Some(first) = first {
            let name = show(server.address, server.port);
            reader.second(
                address_at,
                first,
                format!("real server {name} is in this pool twice"),
                "add up their weights in one",
            );
        }
        servers.push((place, server));
    }
    servers
}

fn read_real_server(
    reader: &mut Reader,
    checks: &mut NamedChecks<'_>,
    front: &Front<'_>,
    at: usize,
    table: &Table<'_>,
    shared: &mut Option<Shared>,
) -> Option<(usize, RealServer)> {
    let [
        address,
        weight,
        tier,
        uthreshold,
        lthreshold,
        forward,
        tun,
        disabled,
        check_port,
        check,
        notify_up,
        notify_down,
    ] = reader.fields(table, Scope::RealServer);
    let forwarding = forwarding::read(reader, forward, tun, front.forwarding);
    let weight = weight.map_or(Some(1), |item| reader.number(item, "weight", 0..=MOST));
    let tier = tier.map_or(Some(0), |item| reader.number(item, "tier", 0..=HIGHEST_TIER));
    let disabled = disabled.map_or(Some(false), |item| reader.boolean(item, "disabled"));
    let (upper, lower) = read_thresholds(reader, uthreshold, lthreshold);
    let mut command = |item: Option<&Item<'_>>, key, default: &Option<Arc<Command>>| match item {
        Some(item) => read_command(reader, item, key),
        None => default.clone(),
    };
    let notify = Notify {
        up: command(notify_up, "notify_up", &front.notify.up),
        down: command(notify_down, "notify_down", &front.notify.down),
    };
    let own_checks = check.map(|item| checks.list(reader, item));
    let check_at = check.map(|item| item.span().start);
    let wanted_port = check_port.map(|item| reader.port(item, "check_port"));
    let Some(address_item) = address else {
        reader.missing(
            at,
            "the real_server has no `address`",
            "write address = \"192.0.2.11:80\"",
        );
        return None;
    };
    let (address_at, address, port) = read_address(reader, address_item)?;
    let port = fit(reader, front, address_at, "real server", address, port, forwarding);

    let checks = own_checks.as_deref().unwrap_or(front.checks);
    if let Some(item) = check_port
        && !front.services.is_empty()
        && checks.iter().all(|check| check.connect_port.is_some())
    {
        let why = match checks.is_empty() {
            true => "this real server has no check",
            false => "its checks name their own ports",
        };
        reader.warning(item.span().start, "`check_port` has no effect", why);
    }
    let probed = match (wanted_port, port, front.ports) {
        (Some(port), _, _) => port,
        (None, Some(port), _) if port != 0 => Some(port),
        (None, None, [port]) if *port != 0 => Some(*port),
        (None, _, _) => {
            if !front.services.is_empty() && checks.iter().any(wants_port) {
                let why = match front.ports {
                    [] => "a fwmark service has none",
                    [_] => "its service is for every port",
                    _ => "its services have several",
                };
                reader.missing(
                    check_at.unwrap_or(address_at),
                    format!("the check of {address} has no port: {why}"),
                    "add check_port = 80 to the real_server, or connect_port = 80 to the check",
                );
            }
            None
        }
    };
    if let Some(check) = checks.iter().find(|check| !reaches(check, address)) {
        reader.error(
            check_at.unwrap_or(address_at),
            format!(
                "check `{}` of {address} comes from an address of the other family",
                check.name
            ),
            "give it a `source_address` of the real server's family, or `connect_ip`",
        );
    }
    if let Some(check) = checks.iter().find(|check| check.via == Via::Path)
        && let Some(why) = no_path(front, forwarding)
    {
        reader.error(
            check_at.unwrap_or(address_at),
            format!(
                "check `{}` of {address} cannot go by `via = \"path\"`: {why}",
                check.name
            ),
            "it proves the virtual address on real servers behind \"dr\" and \"tun\"; leave `via` out",
        );
    }
    let checks = match (&own_checks, &*shared) {
        (Some(own), _) => with_port(own, probed),
        (None, Some((port, checks))) if *port == probed => checks.clone(),
        (None, _) => shared.insert((probed, with_port(front.checks, probed))).1.clone(),
    };
    let spec = DestinationSpec {
        forwarding,
        weight: weight?,
        upper_threshold: upper,
        lower_threshold: lower,
    };
    let server = RealServer {
        address,
        port,
        spec,
        tier: tier?,
        disabled: disabled?,
        notify,
        checks,
    };
    Some((address_at, server))
}

/// The checks with the port filled in that they probe unless they name one themselves.
fn with_port(checks: &[CheckSpec], probed: Option<u16>) -> Vec<Arc<CheckSpec>> {
    let with_port = |check: &CheckSpec| CheckSpec {
        connect_port: check.connect_port.or(probed),
        ..check.clone()
    };
    checks.iter().map(with_port).map(Arc::new).collect()
}

/// Whether a check goes to a port and names none.
fn wants_port(check: &CheckSpec) -> bool {
    check.connect_port.is_none() && check.probe.kind.needs_port()
}

/// Why a check cannot take the way of clients to a server; `None` where it can.
fn no_path(front: &Front<'_>, forwarding: Forwarding) -> Option<&'static str> {
    match forwarding {
        Forwarding::Dr | Forwarding::Tun(_) if front.services.iter().all(|key| key.address().is_none()) => {
            (!front.services.is_empty()).then_some("a fwmark service has no address")
        }
        Forwarding::Dr | Forwarding::Tun(_) => None,
        Forwarding::Nat | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => {
            Some("it is behind NAT, where the server knows nothing of the virtual address")
        }
    }
}

/// Whether a check's source address is of the family that it connects to.
fn reaches(check: &CheckSpec, address: IpAddr) -> bool {
    let target = check.connect_ip.unwrap_or(address);
    check
        .probe
        .origin
        .address
        .is_none_or(|source| Family::of(source) == Family::of(target))
}

fn read_address(reader: &mut Reader, item: &Item<'_>) -> Option<(usize, IpAddr, Option<u16>)> {
    let text = reader.string(item, "address")?;
    let at = item.span().start;
    match address::real_server(text) {
        Ok((address, port)) => Some((at, address, port)),
        Err(unusable) => {
            reader.error(at, unusable.text, unusable.hint);
            None
        }
    }
}

fn read_thresholds(reader: &mut Reader, upper: Option<&Item<'_>>, lower: Option<&Item<'_>>) -> (u32, u32) {
    let at = lower.map_or(0, |item| item.span().start);
    let upper = upper.map_or(Some(0), |item| reader.number(item, "uthreshold", 0..=MOST));
    let lower = lower.map_or(Some(0), |item| reader.number(item, "lthreshold", 0..=MOST));
    let (Some(upper), Some(lower)) = (upper, lower) else {
        return (0, 0);
    };
    if lower > upper {
        let hint = match upper {
            0 => "set uthreshold too: lthreshold counts only with it".to_owned(),
            _ => format!("at most {upper}"),
        };
        reader.error(at, format!("`lthreshold` {lower} is above `uthreshold` {upper}"), hint);
    }
    (upper, lower)
}

/// Holds one server against the services it stands behind; answers with its port as the pool keeps it.
fn fit(
    reader: &mut Reader,
    front: &Front<'_>,
    at: usize,
    what: &str,
    address: IpAddr,
    port: Option<u16>,
    forwarding: Forwarding,
) -> Option<u16> {
    let Some(family) = front.family() else { return port };
    let method = match forwarding {
        Forwarding::Dr => "dr",
        Forwarding::Tun(_) => "tun",
        Forwarding::Nat | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => "nat",
    };
    let keeps_port = method != "nat";
    if Family::of(address) != family && method != "tun" {
        let name = |family| match family {
            Family::Inet => "IPv4",
            Family::Inet6 => "IPv6",
        };
        reader.error(
            at,
            format!(
                "{what} {address} is {}, its service {}",
                name(Family::of(address)),
                name(family)
            ),
            format!("only forward = \"tun\" crosses families, not \"{method}\""),
        );
    }
    if front.is_virtual_address(address) {
        reader.error(
            at,
            format!("{what} {address} is the virtual address itself"),
            "give the server's own address; packets would come back to this director",
        );
    }
    let port = port?;
    if front.is_fwmark() {
        if keeps_port && port != 0 {
            reader.error(
                at,
                format!("a fwmark service with forward = \"{method}\" keeps the client's port, but {what} {address} has port {port}"),
                format!("write address = \"{address}\" without a port"),
            );
        }
        return (port != 0).then_some(port);
    }
    if front.ports == [0] {
        if port != 0 {
            reader.error(
                at,
                format!("the service is for every port, but {what} {address} has port {port}"),
                format!("write address = \"{address}\" without a port"),
            );
        }
        return None;
    }
    if port == 0 {
        reader.error(
            at,
            format!("{what} {address} has port 0"),
            "leave the port out for the service's own",
        );
        return None;
    }
    if keeps_port && front.ports.iter().any(|service| *service != port) {
        let hint = match front.ports {
            [service] => format!("write \"{}\", or forward = \"nat\"", show(address, Some(*service))),
            _ => format!("write address = \"{address}\" without a port, or forward = \"nat\""),
        };
        reader.error(
            at,
            format!("forward = \"{method}\" cannot change the port, but {what} {address} has port {port}"),
            hint,
        );
    }
    Some(port)
}

/// Reads the sorry server: an address, or a table.
pub(super) fn read_sorry_server(
    reader: &mut Reader,
    front: &Front<'_>,
    item: &Item<'_>,
) -> Option<(Place, SorryServer)> {
    let (address_item, forwarding, inhibit) = match item.get_ref() {
        Value::String(_) => (item, front.forwarding, false),
        Value::Table(table) => {
            let [address, forward, tun, inhibit] = reader.fields(table, Scope::SorryServer);
            let forwarding = forwarding::read(reader, forward, tun, front.forwarding);
            let inhibit = inhibit.map_or(Some(false), |item| reader.boolean(item, "inhibit"));
            let Some(address) = address else {
                reader.missing(
                    item.span().start,
                    "the sorry_server has no `address`",
                    "write sorry_server = { address = \"192.0.2.20:80\" }",
                );
                return None;
            };
            (address, forwarding, inhibit?)
        }
        other => {
            reader.error(
                item.span().start,
                format!("`sorry_server` must be an address or a table, not {}", kind(other)),
                "write sorry_server = \"192.0.2.20:80\"",
            );
            return None;
        }
    };
    let (at, address, port) = read_address(reader, address_item)?;
    let port = fit(reader, front, at, "sorry server", address, port, forwarding);
    let server = SorryServer {
        address,
        port,
        spec: DestinationSpec::new(forwarding, 1),
        inhibit,
    };
    Some((reader.place(at), server))
}

/// An address with its port where it has one.
fn show(address: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}
