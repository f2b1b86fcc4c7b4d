//! Watches this host's interfaces: told is when one starts to work or ceases to.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;

use super::NetError;
use super::host::Connection;

/// Tells of every interface that comes up or gets its carrier, or loses either: its name, and whether it works now.
/// Returns only where watching is no longer possible.
///
/// # Errors
/// [`NetError::Kernel`] where no netlink socket can be had, or the kernel closes it.
pub async fn watch(mut tell: impl FnMut(String, bool)) -> Result<(), NetError> {
    let problem = |cause: std::io::Error| NetError::Kernel {
        action: "watch the interfaces".to_owned(),
        cause,
    };
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(problem)?;
    let connection = Connection::of(connection);
    let mut links = HashMap::new();
    let mut found = handle.link().get().execute();
    while let Ok(Some(message)) = found.try_next().await {
        links.insert(message.header.index, works(&message));
    }
    while let Some((message, _)) = messages.next().await {
        let (message, works) = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                let works = works(&message);
                (message, works)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => (message, false),
            _ => continue,
        };
        let before = links.insert(message.header.index, works).unwrap_or(false);
        if before != works
            && let Some(name) = name_of(&message)
        {
            tell(name, works);
        }
    }
    drop(connection);
    Err(problem(std::io::ErrorKind::ConnectionAborted.into()))
}

/// The names of the interfaces that work: up, and with a carrier or whatever stands for one.
///
/// # Errors
/// [`NetError::Kernel`] where they cannot be listed.
pub async fn working() -> Result<BTreeSet<String>, NetError> {
    let problem = |cause: std::io::Error| NetError::Kernel {
        action: "list the interfaces".to_owned(),
        cause,
    };
    let (connection, handle, _) = rtnetlink::new_connection().map_err(problem)?;
    let connection = Connection::of(connection);
    let found = handle.link().get().execute().try_collect::<Vec<_>>().await;
    drop(connection);
    let found = found.map_err(|error| problem(std::io::Error::other(error)))?;
    Ok(found
        .iter()
        .filter(|message| works(message))
        .filter_map(name_of)
        .collect())
}

/// Tells whenever something has changed about the interfaces or their addresses, whoever changed it. Returns only where
/// watching is no longer possible.
///
/// # Errors
/// [`NetError::Kernel`] where no netlink socket can be had, or the kernel closes it.
pub async fn watch_addresses(mut tell: impl FnMut()) -> Result<(), NetError> {
    let problem = |cause: std::io::Error| NetError::Kernel {
        action: "watch the addresses".to_owned(),
        cause,
    };
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, _handle, mut messages) = rtnetlink::new_multicast_connection(&groups).map_err(problem)?;
    let connection = Connection::of(connection);
    while messages.next().await.is_some() {
        tell();
    }
    drop(connection);
    Err(problem(std::io::ErrorKind::ConnectionAborted.into()))
}

/// Up, and with a carrier or whatever stands for one.
fn works(message: &LinkMessage) -> bool {
    message.header.flags.contains(LinkFlags::Up | LinkFlags::Running)
}

fn name_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}
