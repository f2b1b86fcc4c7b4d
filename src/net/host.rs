//! Interfaces and addresses of this host, read and changed over rtnetlink.
//!
//! Every change can be asked for twice: what is already so is said to be so.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec};

use super::exchange::Exchange;
use super::links::works;
use super::{NetError, module};
use crate::model::{AddressScope, Family, HostAddress, Link, Mac, Prefix, VirtualAddress};

/// The flags of what is to be made and must not be there.
pub(super) const NEW: u16 = NLM_F_EXCL | NLM_F_CREATE;

/// A valid lifetime without end.
const FOREVER: u32 = u32::MAX;

/// What became of a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Made,
    /// It was so already.
    AlreadySo,
}

/// How an address is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddOptions {
    /// How far it is good for; the kernel keeps none of its own for IPv6 and derives it from the address.
    pub scope: AddressScope,
    /// The label, at most 15 bytes; IPv4 only, left out for IPv6.
    pub label: Option<String>,
    /// The length of its network's prefix; `None` for the address alone, /32 or /128.
    pub prefix: Option<u8>,
    /// The tag that says who put it there (`IFA_PROTO`); kernels older than 5.18 leave it out.
    pub owner: u8,
    /// Without a route to its network by the device, where it has a prefix (`IFA_F_NOPREFIXROUTE`).
    pub unrouted: bool,
    /// Never chosen as a source by itself; IPv6 only (a preferred lifetime of 0), IPv4 has the scope for it.
    pub deprecated: bool,
}

impl AddOptions {
    /// The tag on what ipvsd puts on a host; a number that no header of the kernel's names.
    pub const OWNER: u8 = 77;

    /// A director's virtual address: good everywhere.
    pub fn director() -> Self {
        Self {
            scope: AddressScope::Global,
            label: None,
            prefix: None,
            owner: Self::OWNER,
            unrouted: false,
            deprecated: true,
        }
    }
}

/// This host at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its interfaces.
    pub links: Vec<Link>,
    /// The names of those that work: up, and with a carrier or whatever stands for one.
    pub working: BTreeSet<String>,
    /// The addresses on them, in the kernel's order.
    pub addresses: Vec<HostAddress>,
}

/// An open rtnetlink connection in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct HostNetwork {
    pub(super) exchange: Exchange,
}

impl HostNetwork {
    /// Opens the connection.
    ///
    /// # Errors
    /// [`NetError::Kernel`] where no netlink socket can be had.
    pub fn connect() -> Result<Self, NetError> {
        Ok(Self {
            exchange: Exchange::open(false)?,
        })
    }

    pub(super) fn list_links(&self) -> Result<Vec<LinkMessage>, NetError> {
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let found = self.exchange.list("list the interfaces", &all)?;
        let links = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        Ok(links.collect())
    }

    /// The interfaces, by their number.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub fn links(&self) -> Result<Vec<Link>, NetError> {
        let mut links: Vec<_> = self.list_links()?.iter().map(link_of).collect();
        links.sort_unstable_by_key(|link| link.index);
        Ok(links)
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`] where there is none.
    pub fn link(&self, device: &str) -> Result<Link, NetError> {
        let nothing = || NetError::NoSuchDevice {
            device: device.to_owned(),
        };
        if device.len() >= libc::IFNAMSIZ {
            return Err(nothing());
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(device.to_owned()));
        let message = RouteNetlinkMessage::GetLink(message);
        match self.exchange.one("find an interface", device, message)? {
            RouteNetlinkMessage::NewLink(message) => {
                // The kernel takes an alternative name for it as well.
                let found = Some(link_of(&message)).filter(|link| link.name == device);
                found.ok_or_else(nothing)
            }
            _ => Err(nothing()),
        }
    }

    /// Switches an interface on or off.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`], [`NetError::NotPermitted`].
    pub fn set_link(&self, device: &str, up: bool) -> Result<Change, NetError> {
        let link = self.link(device)?;
        if link.up == up {
            return Ok(Change::AlreadySo);
        }
        let message = LinkMessageBuilder::<LinkUnspec>::new().index(link.index);
        let (message, word) = match up {
            true => (message.up(), "up"),
            false => (message.down(), "down"),
        };
        let message = RouteNetlinkMessage::SetLink(message.build());
        let action = format!("set interface {device} {word}");
        self.exchange.change(&action, device, message, 0)?;
        Ok(Change::Made)
    }

    /// The addresses of all interfaces, in the kernel's order.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub fn addresses(&self) -> Result<Vec<HostAddress>, NetError> {
        self.addresses_on(&self.links()?)
    }

    /// Looks at interfaces and addresses.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub fn survey(&self) -> Result<Survey, NetError> {
        let found = self.list_links()?;
        let links: Vec<_> = found.iter().map(link_of).collect();
        let working = found.iter().zip(&links).filter(|(message, _)| works(message));
        Ok(Survey {
            working: working.map(|(_, link)| link.name.clone()).collect(),
            addresses: self.addresses_on(&links)?,
            links,
        })
    }

    /// The addresses of these interfaces.
    pub(super) fn addresses_on(&self, links: &[Link]) -> Result<Vec<HostAddress>, NetError> {
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let found = self.exchange.list("list the addresses", &all)?;
        let addresses = found.iter().filter_map(|message| {
            let RouteNetlinkMessage::NewAddress(message) = message else {
                return None;
            };
            let link = links.iter().find(|link| link.index == message.header.index)?;
            address_of(message, &link.name)
        });
        Ok(addresses.collect())
    }

    /// The interface of this host that has the address, if any has.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NoAnswer`].
    pub fn holder_of(&self, address: IpAddr) -> Result<Option<HostAddress>, NetError> {
        let addresses = self.addresses()?;
        Ok(addresses.into_iter().find(|held| held.address == address))
    }

    /// Puts an address on its device, as /32 or /128 unless told and, for IPv6, without the kernel's own duplicate detection.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`], [`NetError::NotPermitted`], [`NetError::Ipv6Off`], [`NetError::Kernel`].
    pub fn add_address(&self, vip: &VirtualAddress, options: &AddOptions) -> Result<Change, NetError> {
        let link = self.link(&vip.device)?;
        self.add_address_to(link.index, vip, options)
    }

    /// As [`HostNetwork::add_address`], on the device that has this number as far as is known.
    ///
    /// # Errors
    /// As [`HostNetwork::add_address`].
    pub fn add_address_to(&self, index: u32, vip: &VirtualAddress, options: &AddOptions) -> Result<Change, NetError> {
        let VirtualAddress { device, address } = vip;
        let action = format!("put {address} on {device}");
        if address.is_ipv6() && !module::summon_ipv6() {
            return Err(NetError::Ipv6Off {
                action,
                device: device.clone(),
            });
        }
        let prefix = options.prefix.unwrap_or(Family::of(*address).host_prefix());
        let mut message = match *address {
            IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new()
                .address(address, prefix)
                .build(),
            IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new()
                .address(address, prefix)
                .build(),
        };
        message.header.index = index;
        message.header.scope = options.scope.number().into();
        message
            .attributes
            .push(AddressAttribute::Protocol(AddressProtocol::Other(options.owner)));
        let mut flags = AddressFlags::empty();
        flags.set(AddressFlags::Noprefixroute, options.unrouted);
        match address {
            IpAddr::V4(_) => message
                .attributes
                .extend(options.label.clone().map(AddressAttribute::Label)),
            IpAddr::V6(_) => {
                message.header.flags |= AddressHeaderFlags::Nodad;
                flags |= AddressFlags::Nodad;
                if options.deprecated {
                    let mut lifetime = CacheInfo::default();
                    lifetime.ifa_preferred = 0;
                    lifetime.ifa_valid = FOREVER;
                    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
                }
            }
        }
        if !flags.is_empty() {
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        let message = RouteNetlinkMessage::NewAddress(message);
        match self.exchange.change(&action, device, message, NEW) {
            Ok(()) => Ok(Change::Made),
            Err(error) => match (os_error(&error), address) {
                (Some(libc::EEXIST), _) => Ok(Change::AlreadySo),
                (Some(libc::EACCES), IpAddr::V6(_)) => Err(NetError::Ipv6Off {
                    action,
                    device: device.clone(),
                }),
                (Some(libc::EINVAL), IpAddr::V4(_)) if self.has_another_scope(vip, prefix, options.scope) => {
                    Err(NetError::OtherScope {
                        address: format!("{address}/{prefix}"),
                        device: device.clone(),
                    })
                }
                _ => Err(error),
            },
        }
    }

    /// Whether the device has an address of the same network with another scope.
    fn has_another_scope(&self, vip: &VirtualAddress, prefix: u8, scope: AddressScope) -> bool {
        let network = |address| Prefix::of(address, prefix);
        let held = self.addresses().unwrap_or_default();
        let mut others = held
            .iter()
            .filter(|held| held.device == vip.device && held.scope != scope);
        others.any(|held| held.prefix == prefix && network(held.address) == network(vip.address))
    }

    /// Takes an address off its device; where the address or the device is gone, it is so already.
    ///
    /// # Errors
    /// [`NetError::NotPermitted`], [`NetError::Kernel`].
    pub fn remove_address(&self, vip: &VirtualAddress) -> Result<Change, NetError> {
        self.remove_address_of(vip, Family::of(vip.address).host_prefix())
    }

    /// Takes an address with a prefix of this length off its device, as [`HostNetwork::remove_address`].
    ///
    /// # Errors
    /// As [`HostNetwork::remove_address`].
    pub fn remove_address_of(&self, vip: &VirtualAddress, prefix: u8) -> Result<Change, NetError> {
        let VirtualAddress { device, address } = vip;
        let link = match self.link(device) {
            Ok(link) => link,
            Err(NetError::NoSuchDevice { .. }) => return Ok(Change::AlreadySo),
            Err(error) => return Err(error),
        };
        let mut message = AddressMessage::default();
        message.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.index = link.index;
        message.header.prefix_len = prefix;
        message.attributes.push(AddressAttribute::Local(*address));
        // Without it the kernel does not look at the prefix of an IPv4 address, and takes off the host's own /24.
        message.attributes.push(AddressAttribute::Address(*address));
        let message = RouteNetlinkMessage::DelAddress(message);
        let action = format!("take {address} off {device}");
        match self.exchange.change(&action, device, message, 0) {
            Ok(()) => Ok(Change::Made),
            Err(error) if os_error(&error) == Some(libc::EADDRNOTAVAIL) => Ok(Change::AlreadySo),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn os_error(error: &NetError) -> Option<i32> {
    match error {
        NetError::Kernel { cause, .. } => cause.raw_os_error(),
        NetError::NoSuchDevice { .. }
        | NetError::DeviceDown { .. }
        | NetError::NotEthernet { .. }
        | NetError::NotPermitted { .. }
        | NetError::Ipv6Off { .. }
        | NetError::OtherScope { .. }
        | NetError::AddressInUse { .. }
        | NetError::RouteInUse { .. }
        | NetError::NextHopNotThere { .. }
        | NetError::FilterTableInUse
        | NetError::NoMacvlan { .. }
        | NetError::NoFilter { .. }
        | NetError::DeviceInUse { .. }
        | NetError::MacInUse { .. }
        | NetError::NoSuchSysctl { .. }
        | NetError::BadSysctlValue { .. }
        | NetError::NoAnswer { .. } => None,
    }
}

pub(super) fn link_of(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        up: flags.contains(LinkFlags::Up),
        loopback: flags.contains(LinkFlags::Loopback),
        resolves: ethernet && !flags.contains(LinkFlags::Noarp),
        mac: None,
        mtu: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) if ethernet => link.mac = bytes.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    link
}

fn address_of(message: &AddressMessage, device: &str) -> Option<HostAddress> {
    let (mut local, mut peer, mut label, mut owner, mut duplicate) = (None, None, None, 0, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::Label(text) => label = Some(text.clone()),
            AddressAttribute::Protocol(tag) => owner = u8::from(*tag),
            AddressAttribute::Flags(flags) => duplicate = flags.contains(AddressFlags::Dadfailed),
            _ => {}
        }
    }
    Some(HostAddress {
        device: device.to_owned(),
        address: local.or(peer)?,
        prefix: message.header.prefix_len,
        scope: AddressScope::from_number(message.header.scope.into()),
        label,
        owner,
        duplicate,
    })
}
