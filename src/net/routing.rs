//! Routes and policy rules that ipvsd has put into this host's tables, read and changed over rtnetlink.
//!
//! Ours carry a number of their own in the kernel's field for who made them (`rtm_protocol`, `FRA_PROTOCOL`), the one that
//! our addresses carry: `ip route show table all proto 77`. What does not carry it is never taken out and never replaced.

mod message;

use futures_util::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use nix::libc;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;

use self::message::{OURS, number_of, owner_of, route_message, route_of, rule_message, rule_of, set_table};
use super::exchange::Exchange;
use super::host::{NEW, os_error};
use super::links::Connection;
use super::{AddOptions, Change, HostNetwork, NetError, module};
use crate::model::{Family, Link, VrrpRoute, VrrpRule};

/// A connection for routes and rules, and the interfaces as they were when it was opened.
#[derive(Debug)]
pub struct HostRouting {
    exchange: Exchange,
    links: Vec<Link>,
}

impl HostRouting {
    /// Opens the connection.
    ///
    /// # Errors
    /// [`NetError::Kernel`] where no netlink socket can be had, else as [`HostNetwork::links`].
    pub fn connect(network: &HostNetwork) -> Result<Self, NetError> {
        let links = network.links()?;
        // With strict checks the kernel leaves out what is not asked for, where others keep a million routes.
        let exchange = Exchange::open(true)?;
        Ok(Self { exchange, links })
    }

    /// The routes that are ours.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub fn routes(&self) -> Result<Vec<VrrpRoute>, NetError> {
        let mut found = Vec::new();
        for family in [Family::Inet, Family::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = number_of(family);
            filter.header.protocol = OURS;
            for message in self.list(filter)? {
                // Without IPv6 the kernel answers with all that it has.
                if message.header.protocol == OURS && message.header.address_family == number_of(family) {
                    found.extend(route_of(&message, &self.links));
                }
            }
        }
        Ok(found)
    }

    fn list(&self, filter: RouteMessage) -> Result<Vec<RouteMessage>, NetError> {
        let found = nothing_there(
            self.exchange
                .list("list the routes", &RouteNetlinkMessage::GetRoute(filter)),
        )?;
        let routes = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        });
        Ok(routes.collect())
    }

    /// Puts a route into its table. One that is there already stays as it is, whoever has made it; another one of ours in
    /// its place is replaced.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`], [`NetError::NotPermitted`], [`NetError::RouteInUse`] where somebody else's is in its
    /// place, [`NetError::NextHopNotThere`], [`NetError::Kernel`] also where its source is not here.
    pub fn add_route(&self, route: &VrrpRoute) -> Result<Change, NetError> {
        let action = format!("add route {route}");
        with_ipv6(route.to.family(), &action)?;
        let message = route_message(route, &self.links)?;
        let device = route.device.as_deref().unwrap_or_default();
        let add = || {
            let message = RouteNetlinkMessage::NewRoute(message.clone());
            self.exchange.change(&action, device, message, NEW)
        };
        let taken = match add() {
            Ok(()) => return Ok(Change::Made),
            Err(error) => match os_error(&error) {
                Some(libc::EEXIST) => error,
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH) if route.via.is_some() && !route.onlink => {
                    return Err(NetError::NextHopNotThere {
                        route: route.to_string(),
                    });
                }
                _ => return Err(error),
            },
        };
        let mut filter = RouteMessage::default();
        filter.header.address_family = number_of(route.to.family());
        set_table(&mut filter, route.table);
        for message in self.list(filter)? {
            let Some(found) = route_of(&message, &self.links).filter(|found| found.key() == route.key()) else {
                continue;
            };
            if found.is(route) {
                return Ok(Change::AlreadySo);
            }
            if message.header.protocol == OURS {
                self.remove_route(&found)?;
                return add().map(|()| Change::Made);
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
    pub fn remove_route(&self, route: &VrrpRoute) -> Result<Change, NetError> {
        let message = match route_message(route, &self.links) {
            Ok(message) => message,
            // It has gone with its interface.
            Err(NetError::NoSuchDevice { .. }) => return Ok(Change::AlreadySo),
            Err(error) => return Err(error),
        };
        let device = route.device.as_deref().unwrap_or_default();
        let (action, message) = (
            format!("take out route {route}"),
            RouteNetlinkMessage::DelRoute(message),
        );
        match self.exchange.change(&action, device, message, 0) {
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
    pub fn rules(&self) -> Result<Vec<(VrrpRule, u8)>, NetError> {
        let mut found = Vec::new();
        for family in [Family::Inet, Family::Inet6] {
            let mut filter = RuleMessage::default();
            filter.header.family = number_of(family);
            let filter = RouteNetlinkMessage::GetRule(filter);
            for message in nothing_there(self.exchange.list("list the rules", &filter))? {
                if let RouteNetlinkMessage::NewRule(rule) = message
                    && rule.header.family == number_of(family)
                {
                    found.extend(rule_of(&rule));
                }
            }
        }
        Ok(found)
    }

    /// Puts a rule in. One that is there already stays as it is, whoever has made it.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`] also where the kernel has no rules.
    pub fn add_rule(&self, rule: &VrrpRule) -> Result<Change, NetError> {
        let action = format!("add rule {rule}");
        with_ipv6(rule.family, &action)?;
        let message = RouteNetlinkMessage::NewRule(rule_message(rule));
        match self.exchange.change(&action, "", message, NEW) {
            Ok(()) => Ok(Change::Made),
            Err(error) if os_error(&error) == Some(libc::EEXIST) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }

    /// Takes a rule out if it is there and ours.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`].
    pub fn remove_rule(&self, rule: &VrrpRule) -> Result<Change, NetError> {
        // The kernel does not look at who has made it when it takes one out.
        let found = self.rules()?;
        if !found
            .iter()
            .any(|(found, owner)| found == rule && *owner == AddOptions::OWNER)
        {
            return Ok(Change::AlreadySo);
        }
        let message = RouteNetlinkMessage::DelRule(rule_message(rule));
        match self.exchange.change(&format!("take out rule {rule}"), "", message, 0) {
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
