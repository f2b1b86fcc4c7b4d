//! What a route and a rule are in rtnetlink's words, there and back; pure.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use crate::model::{AddressScope, Family, Link, Prefix, RouteKind, VrrpRoute, VrrpRule};
use crate::net::{AddOptions, NetError};

/// What our routes and rules carry. The kernel gives a meaning to numbers up to 4 only.
pub(super) const OURS: RouteProtocol = RouteProtocol::Other(AddOptions::OWNER);

pub(super) fn number_of(family: Family) -> AddressFamily {
    match family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
    }
}

/// The header has eight bits for it.
pub(super) fn set_table(message: &mut RouteMessage, table: u32) {
    message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes.push(RouteAttribute::Table(table));
}

fn type_of(kind: RouteKind) -> RouteType {
    match kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
    }
}

pub(super) fn route_message(route: &VrrpRoute, links: &[Link]) -> Result<RouteMessage, NetError> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = number_of(route.to.family());
    header.destination_prefix_length = route.to.length;
    header.protocol = OURS;
    header.scope = route.scope.number().into();
    header.kind = type_of(route.kind);
    header.flags.set(RouteFlags::Onlink, route.onlink);
    set_table(&mut message, route.table);
    let attributes = &mut message.attributes;
    if route.to.length != 0 {
        attributes.push(RouteAttribute::Destination(route.to.address.into()));
    }
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if let Some(mtu) = route.mtu {
        attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    if let Some(device) = &route.device {
        let Some(link) = links.iter().find(|link| link.name == *device) else {
            return Err(NetError::NoSuchDevice { device: device.clone() });
        };
        attributes.push(RouteAttribute::Oif(link.index));
    }
    Ok(message)
}

/// A route with one next hop, or none where nothing is sent on; `None` for other kinds.
pub(super) fn route_of(message: &RouteMessage, links: &[Link]) -> Option<VrrpRoute> {
    let header = &message.header;
    let family = match header.address_family {
        AddressFamily::Inet => Family::Inet,
        AddressFamily::Inet6 => Family::Inet6,
        _ => return None,
    };
    let kind = RouteKind::ALL.into_iter().find(|kind| type_of(*kind) == header.kind)?;
    let plain = header.tos == 0 && header.source_prefix_length == 0;
    if !plain || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut route = VrrpRoute {
        to: Prefix::all(family),
        via: None,
        device: None,
        source: None,
        table: header.table.into(),
        metric: 0,
        scope: match family {
            Family::Inet => AddressScope::from_number(header.scope.into()),
            Family::Inet6 => AddressScope::Global,
        },
        kind,
        onlink: header.flags.contains(RouteFlags::Onlink),
        mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.to = Prefix {
                    address: address_of(to)?,
                    length: header.destination_prefix_length,
                }
            }
            RouteAttribute::Gateway(via) => route.via = Some(address_of(via)?),
            RouteAttribute::PrefSource(source) => route.source = Some(address_of(source)?),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            // An IPv6 route on which nothing is sent is on the loopback for the kernel.
            RouteAttribute::Oif(_) if !kind.is_unicast() => {}
            RouteAttribute::Oif(index) => {
                route.device = links
                    .iter()
                    .find(|link| link.index == *index)
                    .map(|link| link.name.clone());
            }
            RouteAttribute::MultiPath(_) | RouteAttribute::Via(_) | RouteAttribute::Encap(_) => return None,
            _ => {}
        }
    }
    Some(route)
}

fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

pub(super) fn rule_message(rule: &VrrpRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = number_of(rule.family);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.src_len = rule.from.map_or(0, |from| from.length);
    message.header.dst_len = rule.to.map_or(0, |to| to.length);
    let attributes = &mut message.attributes;
    attributes.extend(rule.from.map(|from| RuleAttribute::Source(from.address)));
    attributes.extend(rule.to.map(|to| RuleAttribute::Destination(to.address)));
    attributes.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    attributes.extend(rule.fwmark.map(RuleAttribute::FwMark));
    attributes.extend(rule.fwmask.map(RuleAttribute::FwMask));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(OURS));
    message
}

pub(super) fn owner_of(message: &RuleMessage) -> u8 {
    let mut owners = message.attributes.iter().filter_map(|attribute| match attribute {
        RuleAttribute::Protocol(owner) => Some(u8::from(*owner)),
        _ => None,
    });
    owners.next().unwrap_or_default()
}

/// A rule that looks something up and asks for nothing that ours do not, and who has made it.
pub(super) fn rule_of(message: &RuleMessage) -> Option<(VrrpRule, u8)> {
    let header = &message.header;
    let family = match header.family {
        AddressFamily::Inet => Family::Inet,
        AddressFamily::Inet6 => Family::Inet6,
        _ => return None,
    };
    if header.action != RuleAction::ToTable || header.tos != 0 || header.flags.contains(RuleFlags::Invert) {
        return None;
    }
    let mut rule = VrrpRule {
        family,
        priority: 0,
        from: None,
        to: None,
        iif: None,
        oif: None,
        fwmark: None,
        fwmask: None,
        table: header.table.into(),
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => {
                rule.from = Some(Prefix {
                    address: *address,
                    length: header.src_len,
                });
            }
            RuleAttribute::Destination(address) => {
                rule.to = Some(Prefix {
                    address: *address,
                    length: header.dst_len,
                });
            }
            RuleAttribute::Iifname(name) => rule.iif = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.clone()),
            RuleAttribute::FwMark(mark) => rule.fwmark = Some(*mark).filter(|mark| *mark != 0),
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::FwMask(mask) => rule.fwmask = Some(*mask).filter(|mask| *mask != u32::MAX),
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => return None,
            RuleAttribute::L3MDev(true)
            | RuleAttribute::UidRange(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_)
            | RuleAttribute::SuppressIfGroup(_)
            | RuleAttribute::TunId(_) => return None,
            _ => {}
        }
    }
    Some((rule, owner_of(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Vec<Link> {
        vec![Link {
            index: 7,
            name: "eth0".to_owned(),
            up: true,
            loopback: false,
            resolves: true,
            mac: None,
            mtu: 1500,
        }]
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_asked_for_is_what_is_found() {
        let plain = VrrpRoute {
            to: Prefix::of(ip("198.51.100.0"), 24),
            via: Some(ip("192.0.2.1")),
            device: Some("eth0".to_owned()),
            source: Some(ip("192.0.2.200")),
            table: 100,
            metric: 10,
            scope: AddressScope::Global,
            kind: RouteKind::Unicast,
            onlink: true,
            mtu: Some(1400),
        };
        let everything = VrrpRoute {
            to: Prefix::all(Family::Inet),
            via: None,
            scope: AddressScope::Link,
            metric: 0,
            onlink: false,
            mtu: None,
            ..plain.clone()
        };
        let six = VrrpRoute {
            to: Prefix::of(ip("2001:db8:1::"), 64),
            via: Some(ip("fe80::1")),
            source: None,
            table: 70_000,
            ..plain.clone()
        };
        for route in [plain, everything, six] {
            let message = route_message(&route, &links()).expect("a message");
            assert_eq!(message.header.protocol, OURS);
            assert_eq!(route_of(&message, &links()), Some(route.clone()));
            let nowhere = route_message(&route, &[]);
            assert!(matches!(nowhere, Err(NetError::NoSuchDevice { .. })), "{nowhere:?}");
        }
        for kind in [RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Prohibit] {
            let route = VrrpRoute {
                to: Prefix::of(ip("2001:db8:1::"), 64),
                via: None,
                device: None,
                source: None,
                table: 100,
                metric: 1024,
                scope: AddressScope::Global,
                kind,
                onlink: false,
                mtu: None,
            };
            let mut message = route_message(&route, &links()).expect("a message");
            // So the kernel shows it, with the number of the loopback.
            message.attributes.push(RouteAttribute::Oif(7));
            assert_eq!(route_of(&message, &links()), Some(route));
        }
        let bare = VrrpRule {
            family: Family::Inet,
            priority: 1000,
            from: Some(Prefix::of(ip("192.0.2.200"), 32)),
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            fwmask: None,
            table: 100,
        };
        let full = VrrpRule {
            family: Family::Inet6,
            from: Some(Prefix::of(ip("2001:db8::"), 64)),
            to: Some(Prefix::of(ip("2001:db8:1::"), 64)),
            iif: Some("lo".to_owned()),
            oif: Some("eth0".to_owned()),
            fwmark: Some(1),
            fwmask: Some(0xff),
            table: 70_000,
            ..bare.clone()
        };
        for rule in [bare, full] {
            let message = rule_message(&rule);
            assert_eq!(rule_of(&message), Some((rule, AddOptions::OWNER)));
        }
    }

    #[test]
    fn what_asks_for_more_than_ours_is_something_else() {
        let rule = VrrpRule {
            family: Family::Inet,
            priority: 1000,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: Some(1),
            fwmask: None,
            table: 100,
        };
        let with = |attribute| {
            let mut message = rule_message(&rule);
            message.attributes.push(attribute);
            rule_of(&message)
        };
        assert_eq!(with(RuleAttribute::SuppressPrefixLen(0)), None);
        let [narrow, whole] = [0xff, u32::MAX].map(|mask| with(RuleAttribute::FwMask(mask)).map(|(found, _)| found));
        assert_ne!(narrow, Some(rule.clone()));
        assert_eq!(whole, Some(rule.clone()), "the kernel says it of every mark");
        assert!(with(RuleAttribute::SuppressPrefixLen(u32::MAX)).is_some());
        let mut inverted = rule_message(&rule);
        inverted.header.flags |= RuleFlags::Invert;
        assert_eq!(rule_of(&inverted), None);
        let mut goes = rule_message(&rule);
        goes.header.action = RuleAction::Blackhole;
        assert_eq!(rule_of(&goes), None);
    }
}
