//! Macvlans: devices with a hardware address of their own on another interface.
//!
//! They are made in bridge mode. In private mode a multicast frame that comes from the device's own hardware address,
//! as another master's adverts do, is seen by the device alone; in bridge mode by the interface below, which virtual
//! routers listen on.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkInfo, LinkMessage, MacVlanMode};
use nix::libc;
use rtnetlink::LinkMacVlan;

use super::host::{NEW, os_error};
use super::{Change, HostNetwork, NetError};
use crate::model::{Link, Mac};

/// An interface, and what there is to know of it for a macvlan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What every interface has.
    pub link: Link,
    /// The number of the interface below it.
    pub below: Option<u32>,
    /// It is a macvlan in bridge mode.
    pub bridges: bool,
}

impl HostNetwork {
    /// The interfaces, and what they are on.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub fn layers(&self) -> Result<Vec<Layer>, NetError> {
        Ok(self.list_links()?.iter().map(layer_of).collect())
    }

    /// Makes a macvlan of this name and hardware address, down, on an interface.
    ///
    /// # Errors
    /// [`NetError::NotEthernet`], [`NetError::NoMacvlan`] where the kernel has none, [`NetError::NotPermitted`],
    /// [`NetError::Kernel`] also where there is an interface of that name.
    pub fn add_macvlan(&self, name: &str, on: &Link, mac: Mac) -> Result<(), NetError> {
        if on.mac.is_none() || on.loopback {
            return Err(NetError::NotEthernet {
                device: on.name.clone(),
            });
        }
        let message = LinkMacVlan::new(name, on.index, MacVlanMode::Bridge).address(mac.0.to_vec());
        let message = RouteNetlinkMessage::NewLink(message.build());
        let action = format!("make macvlan {name} on {}", on.name);
        match self.exchange.change(&action, &on.name, message, NEW) {
            Err(error) if os_error(&error) == Some(libc::EOPNOTSUPP) => Err(NetError::NoMacvlan {
                device: name.to_owned(),
            }),
            done => done,
        }
    }

    /// Takes away an interface that was made; where it is gone it is so already.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`].
    pub fn remove_link(&self, link: &Link) -> Result<Change, NetError> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        let message = RouteNetlinkMessage::DelLink(message);
        let action = format!("take away interface {}", link.name);
        match self.exchange.change(&action, &link.name, message, 0) {
            Ok(()) => Ok(Change::Made),
            Err(NetError::NoSuchDevice { .. }) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }
}

fn layer_of(message: &LinkMessage) -> Layer {
    let mut layer = Layer {
        link: super::host::link_of(message),
        below: None,
        bridges: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(index) => layer.below = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                let macvlan = infos.contains(&LinkInfo::Kind(InfoKind::MacVlan));
                let bridges = |info: &LinkInfo| match info {
                    LinkInfo::Data(InfoData::MacVlan(data)) => data.contains(&InfoMacVlan::Mode(MacVlanMode::Bridge)),
                    _ => false,
                };
                layer.bridges = macvlan && infos.iter().any(bridges);
            }
            _ => {}
        }
    }
    layer
}
