//! Routes and policy rules that ipvsd has put into this host's tables, read and changed over rtnetlink.
//!
//! Ours carry a number of their own in the kernel's field for who made them (`rtm_protocol`, `FRA_PROTOCOL`), the one that
//! our addresses carry: `ip route show table all proto 77`. What does not carry it is never taken out and never replaced.

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, IpVersion, MulticastGroup};

use std::net::IpAddr;

use super::host::{Connection, answer, os_error};
use super::{AddOptions, Change, HostNetwork, NetError, module};
use crate::model::{AddressScope, Family, Link, Prefix, VrrpRoute, VrrpRule};

/// What our routes and rules carry. The kernel gives a meaning to numbers up to 4 only.
const OURS: RouteProtocol = RouteProtocol::Other(AddOptions::OWNER);

/// A connection for routes and rules, and the interfaces as they were when it was opened.
#[derive(Debug)]
pub struct HostRouting {
    handle: Handle,
    links: Vec<Link>,
    _connection: Connection,
}

impl HostRouting {
    /// Opens the connection.
    ///
    /// # Errors
    /// [`NetError::Kernel`] where no netlink socket can be had, else as [`HostNetwork::links`].
    pub async fn connect(network: &HostNetwork) -> Result<Self, NetError> {
        let links = network.links().await?;
        // With strict checks the kernel leaves out what is not asked for, where others keep a million routes.
        let connection = rtnetlink::new_connection_with_strict_check();
        let (connection, handle, _) = connection.map_err(|cause| NetError::Kernel {
            action: "open a route netlink socket".to_owned(),
            cause,
        })?;
        Ok(Self {
            handle,
            links,
            _connection: Connection::of(connection),
        })
    }

    /// The routes that are ours.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub async fn routes(&self) -> Result<Vec<VrrpRoute>, NetError> {
        let mut found = Vec::new();
        for family in [Family::Inet, Family::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = number_of(family);
            filter.header.protocol = OURS;
            for message in self.list(filter).await? {
                // Without IPv6 the kernel answers with all that it has.
                if message.header.protocol == OURS && message.header.address_family == number_of(family) {
                    found.extend(route_of(&message, &self.links));
                }
            }
        }
        Ok(found)
    }

    async fn list(&self, filter: RouteMessage) -> Result<Vec<RouteMessage>, NetError> {
        let request = self.handle.route().get(filter).execute().try_collect::<Vec<_>>();
        nothing_there(answer("list the routes", "", request).await)
    }

    /// Puts a route into its table. One that is there already stays as it is, whoever has made it; another one of ours in
    /// its place is replaced.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`], [`NetError::NotPermitted`], [`NetError::RouteInUse`] where somebody else's is in its
    /// place, [`NetError::Kernel`] also where its next hop or its source is not here.
    pub async fn add_route(&self, route: &VrrpRoute) -> Result<Change, NetError> {
        let action = format!("add route {route}");
        with_ipv6(route.to.family(), &action)?;
        let message = route_message(route, &self.links)?;
        let device = route.device.as_deref().unwrap_or_default();
        let add = || answer(&action, device, self.handle.route().add(message.clone()).execute());
        let taken = match add().await {
            Ok(()) => return Ok(Change::Made),
            Err(error) if os_error(&error) == Some(libc::EEXIST) => error,
            Err(error) => return Err(error),
        };
        let mut filter = RouteMessage::default();
        filter.header.address_family = number_of(route.to.family());
        set_table(&mut filter, route.table);
        for message in self.list(filter).await? {
            let Some(found) = route_of(&message, &self.links).filter(|found| found.key() == route.key()) else {
                continue;
            };
            if found.is(route) {
                return Ok(Change::AlreadySo);
            }
            if message.header.protocol == OURS {
                self.remove_route(&found).await?;
                return add().await.map(|()| Change::Made);
            }
            return Err(NetError::RouteInUse {
                route: route.to_string(),
                other: format!("{found} proto {}", u8::from(message.header.protocol)),
            });
        }
        Err(taken)
    }

    /// Takes a route out of its table if it is there and ours.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`].
    pub async fn remove_route(&self, route: &VrrpRoute) -> Result<Change, NetError> {
        let message = match route_message(route, &self.links) {
            Ok(message) => message,
            // It has gone with its interface.
            Err(NetError::NoSuchDevice { .. }) => return Ok(Change::AlreadySo),
            Err(error) => return Err(error),
        };
        let request = self.handle.route().del(message).execute();
        let device = route.device.as_deref().unwrap_or_default();
        match answer(&format!("take out route {route}"), device, request).await {
            Ok(()) => Ok(Change::Made),
            Err(NetError::NoSuchDevice { .. }) => Ok(Change::AlreadySo),
            Err(error) => match os_error(&error) {
                Some(libc::ESRCH | libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => Ok(Change::AlreadySo),
                _ => Err(error),
            },
        }
    }

    /// The rules that look something up in a table, each with who has made it; 0 where nobody said so.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub async fn rules(&self) -> Result<Vec<(VrrpRule, u8)>, NetError> {
        let mut found = Vec::new();
        for (version, family) in [(IpVersion::V4, Family::Inet), (IpVersion::V6, Family::Inet6)] {
            let request = self.handle.rule().get(version).execute().try_collect::<Vec<_>>();
            let messages = nothing_there(answer("list the rules", "", request).await)?;
            let own = messages
                .iter()
                .filter(|message| message.header.family == number_of(family));
            found.extend(own.filter_map(rule_of));
        }
        Ok(found)
    }

    /// Puts a rule in. One that is there already stays as it is, whoever has made it.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`] also where the kernel has no rules.
    pub async fn add_rule(&self, rule: &VrrpRule) -> Result<Change, NetError> {
        let action = format!("add rule {rule}");
        with_ipv6(rule.family, &action)?;
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule_message(rule);
        match answer(&action, "", request.execute()).await {
            Ok(()) => Ok(Change::Made),
            Err(error) if os_error(&error) == Some(libc::EEXIST) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// Takes a rule out if it is there and ours.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`].
    pub async fn remove_rule(&self, rule: &VrrpRule) -> Result<Change, NetError> {
        // The kernel does not look at who has made it when it takes one out.
        let found = self.rules().await?;
        if !found
            .iter()
            .any(|(found, owner)| found == rule && *owner == AddOptions::OWNER)
        {
            return Ok(Change::AlreadySo);
        }
        let request = self.handle.rule().del(rule_message(rule)).execute();
        match answer(&format!("take out rule {rule}"), "", request).await {
            Ok(()) => Ok(Change::Made),
            Err(error) if os_error(&error) == Some(libc::ENOENT) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }
}

/// Tells whenever a route or a rule of ours has been taken out, whoever did it. Those that go with an interface or with
/// their source are not told. Returns only where watching is no longer possible.
///
/// # Errors
/// [`NetError::Kernel`] where no netlink socket can be had, or the kernel closes it.
pub async fn watch(mut tell: impl FnMut()) -> Result<(), NetError> {
    let problem = |cause: std::io::Error| NetError::Kernel {
        action: "watch the routes".to_owned(),
        cause,
    };
    let groups = [
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];
    let (connection, _handle, mut messages) = rtnetlink::new_multicast_connection(&groups).map_err(problem)?;
    let connection = Connection::of(connection);
    while let Some((message, _)) = messages.next().await {
        let ours = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(message)) => message.header.protocol == OURS,
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRule(message)) => {
                owner_of(message) == AddOptions::OWNER
            }
            // What is told may have got lost.
            NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => true,
            _ => false,
        };
        if ours {
            tell();
        }
    }
    drop(connection);
    Err(problem(std::io::ErrorKind::ConnectionAborted.into()))
}

fn with_ipv6(family: Family, action: &str) -> Result<(), NetError> {
    match family == Family::Inet6 && !module::summon_ipv6() {
        true => Err(NetError::Ipv6Off {
            action: action.to_owned(),
            device: "all".to_owned(),
        }),
        false => Ok(()),
    }
}

/// A table that is not there, or a family that the kernel does not have, is an empty list.
fn nothing_there<T>(found: Result<Vec<T>, NetError>) -> Result<Vec<T>, NetError> {
    match found {
        Err(error) => match os_error(&error) {
            Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => Ok(Vec::new()),
            _ => Err(error),
        },
        found => found,
    }
}

fn number_of(family: Family) -> AddressFamily {
    match family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
    }
}

/// The header has eight bits for it.
fn set_table(message: &mut RouteMessage, table: u32) {
    message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes.push(RouteAttribute::Table(table));
}

fn route_message(route: &VrrpRoute, links: &[Link]) -> Result<RouteMessage, NetError> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = number_of(route.to.family());
    header.destination_prefix_length = route.to.length;
    header.protocol = OURS;
    header.scope = route.scope.number().into();
    header.kind = RouteType::Unicast;
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
    if let Some(device) = &route.device {
        let Some(link) = links.iter().find(|link| link.name == *device) else {
            return Err(NetError::NoSuchDevice { device: device.clone() });
        };
        attributes.push(RouteAttribute::Oif(link.index));
    }
    Ok(message)
}

/// A route with one next hop; `None` for other kinds.
fn route_of(message: &RouteMessage, links: &[Link]) -> Option<VrrpRoute> {
    let header = &message.header;
    let family = match header.address_family {
        AddressFamily::Inet => Family::Inet,
        AddressFamily::Inet6 => Family::Inet6,
        _ => return None,
    };
    let plain = header.kind == RouteType::Unicast && header.tos == 0 && header.source_prefix_length == 0;
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

fn rule_message(rule: &VrrpRule) -> RuleMessage {
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
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(OURS));
    message
}

fn owner_of(message: &RuleMessage) -> u8 {
    let mut owners = message.attributes.iter().filter_map(|attribute| match attribute {
        RuleAttribute::Protocol(owner) => Some(u8::from(*owner)),
        _ => None,
    });
    owners.next().unwrap_or_default()
}

/// A rule that looks something up and asks for nothing that ours do not, and who has made it.
fn rule_of(message: &RuleMessage) -> Option<(VrrpRule, u8)> {
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
            RuleAttribute::FwMask(mask) | RuleAttribute::SuppressPrefixLen(mask) if *mask != u32::MAX => return None,
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
        };
        let everything = VrrpRoute {
            to: Prefix::all(Family::Inet),
            via: None,
            scope: AddressScope::Link,
            metric: 0,
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
        let bare = VrrpRule {
            family: Family::Inet,
            priority: 1000,
            from: Some(Prefix::of(ip("192.0.2.200"), 32)),
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            table: 100,
        };
        let full = VrrpRule {
            family: Family::Inet6,
            from: Some(Prefix::of(ip("2001:db8::"), 64)),
            to: Some(Prefix::of(ip("2001:db8:1::"), 64)),
            iif: Some("lo".to_owned()),
            oif: Some("eth0".to_owned()),
            fwmark: Some(1),
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
            table: 100,
        };
        let with = |attribute| {
            let mut message = rule_message(&rule);
            message.attributes.push(attribute);
            rule_of(&message)
        };
        assert_eq!(with(RuleAttribute::FwMask(0xff)), None);
        assert_eq!(with(RuleAttribute::SuppressPrefixLen(0)), None);
        assert!(with(RuleAttribute::FwMask(u32::MAX)).is_some());
        assert!(with(RuleAttribute::SuppressPrefixLen(u32::MAX)).is_some());
        let mut inverted = rule_message(&rule);
        inverted.header.flags |= RuleFlags::Invert;
        assert_eq!(rule_of(&inverted), None);
        let mut goes = rule_message(&rule);
        goes.header.action = RuleAction::Blackhole;
        assert_eq!(rule_of(&goes), None);
    }
}
