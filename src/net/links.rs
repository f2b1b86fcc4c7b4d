//! Watches this host's interfaces: told is when one starts to work or ceases to.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use super::NetError;

/// The task that reads a socket; it ends with its owner.
#[derive(Debug)]
pub(super) struct Connection(JoinHandle<()>);

impl Connection {
    pub(super) fn of(reads: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(reads))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

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
    let mut links = Links::default();
    // Where they cannot be listed they become known by what is told of them.
    let found = listed(&handle).await.unwrap_or_default();
    let _ = links.are(&found);
    while let Some((message, _)) = messages.next().await {
        let changes = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                links.is(&message).into_iter().collect()
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
                links.is_gone(message.header.index).into_iter().collect()
            }
            // What is told may have got lost.
            NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => match listed(&handle).await {
                Ok(found) => links.are(&found),
                Err(error) => return Err(problem(std::io::Error::other(error))),
            },
            _ => continue,
        };
        for (name, works) in changes {
            tell(name, works);
        }
    }
    drop(connection);
    Err(problem(std::io::ErrorKind::ConnectionAborted.into()))
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

async fn listed(handle: &Handle) -> Result<Vec<LinkMessage>, rtnetlink::Error> {
    handle.link().get().execute().try_collect().await
}

/// The interfaces as they were last told of, by their numbers: the name, and whether it works.
#[derive(Debug, Default)]
struct Links(BTreeMap<u32, (String, bool)>);

/// An interface that works, or does not any more.
type Turn = (String, bool);

impl Links {
    /// One was told of.
    fn is(&mut self, message: &LinkMessage) -> Option<Turn> {
        let (name, works) = (name_of(message)?, works(message));
        let before = self.0.insert(message.header.index, (name.clone(), works));
        let worked = before.is_some_and(|(_, worked)| worked);
        (worked != works).then_some((name, works))
    }

    /// One is no more.
    fn is_gone(&mut self, index: u32) -> Option<Turn> {
        let (name, worked) = self.0.remove(&index)?;
        worked.then_some((name, false))
    }

    /// These are all.
    fn are(&mut self, found: &[LinkMessage]) -> Vec<Turn> {
        let present: BTreeSet<u32> = found.iter().map(|message| message.header.index).collect();
        let gone: Vec<u32> = self
            .0
            .keys()
            .copied()
            .filter(|index| !present.contains(index))
            .collect();
        // Another one may have the name of one that is gone.
        let ended: Vec<_> = gone.into_iter().filter_map(|index| self.is_gone(index)).collect();
        ended
            .into_iter()
            .chain(found.iter().filter_map(|message| self.is(message)))
            .collect()
    }
}

/// Up, and with a carrier or whatever stands for one.
pub(super) fn works(message: &LinkMessage) -> bool {
    message.header.flags.contains(LinkFlags::Up | LinkFlags::Running)
}

fn name_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, works: bool) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if works {
            message.header.flags = LinkFlags::Up | LinkFlags::Running;
        }
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message
    }

    fn turn(name: &str, works: bool) -> Turn {
        (name.to_owned(), works)
    }

    #[test]
    fn what_turns_is_told_once_and_what_is_gone_is_forgotten() {
        let mut links = Links::default();
        assert_eq!(
            links.are(&[link(1, "lo", true), link(2, "eth0", false)]),
            [turn("lo", true)]
        );
        assert_eq!(links.is(&link(2, "eth0", false)), None);
        assert_eq!(links.is(&link(2, "eth0", true)), Some(turn("eth0", true)));
        assert_eq!(links.is(&link(2, "eth0", true)), None);
        for number in 3..100 {
            assert_eq!(links.is(&link(number, "veth", true)), Some(turn("veth", true)));
            assert_eq!(links.is_gone(number), Some(turn("veth", false)));
        }
        assert_eq!(links.is_gone(99), None);
        assert_eq!(links.0.len(), 2);
    }

    #[test]
    fn what_was_missed_is_told_after_all() {
        let mut links = Links::default();
        let _ = links.are(&[
            link(1, "lo", true),
            link(2, "eth0", true),
            link(3, "eth1", false),
            link(4, "tap", true),
        ]);
        // One has gone, one has come up, and one was made anew under its name.
        let found = [link(1, "lo", true), link(3, "eth1", true), link(5, "tap", true)];
        let turns = [
            turn("eth0", false),
            turn("tap", false),
            turn("eth1", true),
            turn("tap", true),
        ];
        assert_eq!(links.are(&found), turns);
        assert_eq!(links.are(&found), []);
    }
}
