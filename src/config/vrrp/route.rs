//! One of the `routes` of an instance.

use std::net::{IpAddr, Ipv4Addr};

use super::super::checks::optional;
use super::super::reader::{Item, Reader, shorten};
use super::super::scope::Scope;
use super::super::tree::Value;
use crate::model::{AddressScope, Family, MAIN_TABLE, Prefix, RouteKind, VrrpRoute};

/// The kernel's metric of an IPv6 route that has none (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;
/// Where the kernel keeps this host's own addresses (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;
/// The least that a link has to carry: RFC 791, RFC 8200.
const LEAST_MTU: u32 = 68;
const LEAST_MTU_V6: u32 = 1280;
/// The kernel makes this of everything above.
const MOST_MTU: u32 = 65_520;

pub(super) fn read_route(reader: &mut Reader, item: &Item<'_>) -> Option<VrrpRoute> {
    let at = item.span().start;
    let table = reader.table(item, "routes")?;
    let [to, via, device, source, table, metric, scope, kind, onlink, mtu] = reader.fields(table, Scope::VrrpRoute);
    let Some(to) = to else {
        let hint = "write { to = \"198.51.100.0/24\", via = \"192.0.2.1\" }";
        reader.missing(at, "the route has no `to`", hint);
        return None;
    };
    let kinds = RouteKind::ALL.map(|kind| (kind.name(), kind));
    let kind = optional(kind, |item| reader.word(item, "type", &kinds));
    let of_hops = [
        (via, "via"),
        (device, "device"),
        (source, "source"),
        (scope, "scope"),
        (onlink, "onlink"),
        (mtu, "mtu"),
    ];
    let sends_nothing = kind.flatten().filter(|kind| !kind.is_unicast());
    if let Some(kind) = sends_nothing {
        for (item, key) in of_hops {
            if let Some(item) = item {
                let text = format!("a route of the type {} cannot have `{key}`", kind.name());
                reader.error(item.span().start, text, "take it out: nothing is sent on");
            }
        }
        if of_hops.iter().any(|(item, _)| item.is_some()) {
            return None;
        }
    } else if kind.is_some() && via.is_none() && device.is_none() {
        let hint = "say the next hop, via = \"192.0.2.1\", or the interface, device = \"eth0\"";
        reader.missing(at, "the route has neither `via` nor `device`", hint);
    }
    let hop = optional(via, |item| read_host(reader, item, "via"));
    let preferred = optional(source, |item| read_host(reader, item, "source"));
    let to_at = to.span().start;
    let others = hop.flatten().or(preferred.flatten()).map(Family::of);
    let to = read_to(reader, to, others);
    let on = optional(device, |item| reader.device(item));
    let table = optional(table, |item| read_table(reader, item));
    let metric = optional(metric, |item| reader.number(item, "metric", 0..=u32::MAX));
    let words = [
        ("global", AddressScope::Global),
        ("link", AddressScope::Link),
        ("host", AddressScope::Host),
    ];
    let wanted = optional(scope, |item| reader.word(item, "scope", &words));
    let onlink_at = onlink.map(|item| item.span().start);
    let onlink = optional(onlink, |item| reader.boolean(item, "onlink"));
    let mtu_at = mtu.map(|item| item.span().start);
    let mtu = optional(mtu, |item| reader.number(item, "mtu", LEAST_MTU..=MOST_MTU));
    // What was said and cannot be used has been named.
    let (to, hop, preferred, on) = (to?, hop?, preferred?, on?);
    let (table, metric, wanted) = (table?.unwrap_or(MAIN_TABLE), metric?.unwrap_or(0), wanted?);
    let (kind, onlink, mtu) = (kind?.unwrap_or_default(), onlink?.unwrap_or_default(), mtu?);
    let family = to.family();
    if let (Family::Inet6, Some(at), Some(mtu)) = (family, mtu_at, mtu)
        && mtu < LEAST_MTU_V6
    {
        let text = format!("`mtu` of an IPv6 route cannot be {mtu}");
        reader.error(at, text, format!("a number from {LEAST_MTU_V6} to {MOST_MTU}"));
        return None;
    }
    if let (Family::Inet6, Some(item), Some("lo")) = (family, device, on.as_deref()) {
        let text = "an IPv6 route by lo sends nothing on";
        reader.error(
            item.span().start,
            text,
            "say what is meant: type = \"unreachable\" in place of `device`",
        );
        return None;
    }
    for (item, key, address) in [(via, "via", hop), (source, "source", preferred)] {
        if let (Some(item), Some(address)) = (item, address)
            && Family::of(address) != family
        {
            let text = format!("`{key}` {address} is of another family than `to`");
            reader.error(
                item.span().start,
                text,
                "IPv4 goes by IPv4, IPv6 by IPv6: make them alike",
            );
            return None;
        }
    }
    if let (Some(item), Some(IpAddr::V6(address)), None) = (via, hop, &on)
        && address.is_unicast_link_local()
    {
        let text = format!("`via` {address} is on every link");
        reader.error(item.span().start, text, "say on which: device = \"eth0\"");
        return None;
    }
    if let Some(at) = onlink_at
        && onlink
        && (hop.is_none() || on.is_none())
    {
        let text = "`onlink` says nothing without `via` and `device`";
        reader.error(at, text, "say which next hop is on which link");
        return None;
    }
    if kind.is_unicast() && hop.is_none() && on.is_none() {
        return None;
    }
    let natural = match (family, hop) {
        (Family::Inet, None) if kind.is_unicast() => AddressScope::Link,
        (Family::Inet | Family::Inet6, _) => AddressScope::Global,
    };
    if let (Some(item), Some(wanted)) = (scope, wanted) {
        let at = item.span().start;
        if family == Family::Inet6 {
            reader.error(at, "an IPv6 route has no `scope`", "take it out; the kernel keeps none");
            return None;
        }
        if hop.is_some() && wanted != AddressScope::Global {
            let text = format!("a route with `via` cannot have the scope {wanted}");
            reader.error(
                at,
                text,
                "take `scope` out: what is behind a next hop is not on the link",
            );
            return None;
        }
    }
    if to.address.is_multicast() {
        let text = format!("`to` cannot be {to}: it is multicast");
        reader.error(to_at, text, "a network or a host");
        return None;
    }
    Some(VrrpRoute {
        to,
        via: hop,
        device: on,
        source: preferred,
        table,
        metric: match (family, metric) {
            (Family::Inet6, 0) => METRIC_V6,
            (_, metric) => metric,
        },
        scope: wanted.unwrap_or(natural),
        kind,
        onlink,
        mtu,
    })
}

/// `to`: a network, a host, or `default`, which is of the family of the other addresses.
fn read_to(reader: &mut Reader, item: &Item<'_>, family: Option<Family>) -> Option<Prefix> {
    if let Value::String(_) = item.get_ref()
        && reader.string(item, "to") == Some("default")
    {
        if family.is_none() {
            let text = "`to` = \"default\" can be IPv4 or IPv6";
            reader.error(item.span().start, text, "write \"0.0.0.0/0\" or \"::/0\"");
        }
        return family.map(Prefix::all);
    }
    read_prefix(reader, item, "to")
}

/// A network or a host.
pub(super) fn read_prefix(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Prefix> {
    let text = reader.string(item, key)?;
    let at = item.span().start;
    let (host, length) = match text.split_once('/') {
        Some((host, length)) => (host, Some(length)),
        None => (text, None),
    };
    let address: Option<IpAddr> = host.parse().ok();
    let longest = address.map_or(0, |address| Family::of(address).host_prefix());
    let length = match length {
        None => Some(longest),
        Some(length) => length.parse().ok().filter(|length| *length <= longest),
    };
    let (Some(address), Some(length)) = (address, length) else {
        let text = format!("`{key}` cannot be \"{}\"", shorten(text));
        reader.error(
            at,
            text,
            "a network or a host: \"198.51.100.0/24\", \"2001:db8:1::/64\"",
        );
        return None;
    };
    let prefix = Prefix::of(address, length);
    if prefix.address != address {
        let text = format!("`{key}` {address}/{length} has bits behind its prefix");
        let hint = format!("the network is \"{}/{length}\"", prefix.address);
        reader.error(at, text, hint);
        return None;
    }
    if length == longest && address.is_unspecified() {
        let text = format!("`{key}` cannot be {address}");
        reader.error(at, text, format!("write \"{address}/0\" for everything"));
        return None;
    }
    Some(prefix)
}

/// The address of a host.
fn read_host(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<IpAddr> {
    let address = reader.ip_address(item, key)?;
    let is_broadcast = address == Ipv4Addr::BROADCAST;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_broadcast {
        let hint = match key {
            "via" => "the address of a router on one of this host's links",
            _ => "an address of this host, by custom a `virtual_address` of the instance",
        };
        reader.error(item.span().start, format!("`{key}` cannot be {address}"), hint);
        return None;
    }
    Some(address)
}

/// A table, by its number or by one of the two names that every host has.
pub(super) fn read_table(reader: &mut Reader, item: &Item<'_>) -> Option<u32> {
    const WORDS: [(&str, u32); 2] = [("main", MAIN_TABLE), ("default", 253)];
    let at = item.span().start;
    let hint = "1 to 4294967295 but for 255, \"main\" (254) or \"default\" (253)";
    if let Value::String(_) = item.get_ref() {
        let text = reader.string(item, "table")?;
        let found = WORDS.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let said = format!("`table` cannot be \"{}\"", shorten(text));
            let hint = match text {
                "local" => "table 255 is the kernel's own: it holds this host's addresses",
                _ => "names of /etc/iproute2/rt_tables are not read: write the number",
            };
            reader.error(at, said, hint);
        }
        return found.map(|(_, number)| *number);
    }
    let number = reader.number(item, "table", 0..=u32::MAX)?;
    if number == 0 || number == LOCAL_TABLE {
        let what = match number {
            0 => "no table has that number",
            _ => "it is the kernel's own and holds this host's addresses",
        };
        reader.error(at, format!("`table` cannot be {number}: {what}"), hint);
        return None;
    }
    Some(number)
}
