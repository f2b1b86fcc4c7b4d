//! The bytes of ARP (RFC 826, RFC 5227) and of neighbour discovery (RFC 4861) as whole Ethernet frames.
//!
//! Pure: builds frames and reads them. A frame that is not what is looked for is `None`, whatever its bytes are;
//! nothing here can panic on input.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::Mac;

/// The Ethernet type of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// The Ethernet type of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK: u8 = 1;
const OPTION_TARGET_LINK: u8 = 2;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

/// All IPv6 hosts of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    /// Who has this address?
    Request,
    /// I have it.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// What it does.
    pub operation: ArpOperation,
    /// Who speaks.
    pub sender_mac: Mac,
    /// The address the speaker claims; 0.0.0.0 in a probe, which claims nothing.
    pub sender: Ipv4Addr,
    /// Whom it is told; zero in a request.
    pub target_mac: Mac,
    /// The address it is about.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Asks whether anybody has `address`, without claiming it (RFC 5227, 2.1.1).
    pub fn probe(mac: Mac, address: Ipv4Addr) -> Self {
        Self {
            operation: ArpOperation::Request,
            sender_mac: mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac::ZERO,
            target: address,
        }
    }

    /// Tells everybody that `address` is at `mac`, in either form: some neighbours learn only from one of them.
    pub fn gratuitous(operation: ArpOperation, mac: Mac, address: Ipv4Addr) -> Self {
        Self {
            operation,
            sender_mac: mac,
            sender: address,
            target_mac: match operation {
                ArpOperation::Request => Mac::ZERO,
                ArpOperation::Reply => mac,
            },
            target: address,
        }
    }

    /// The frame that carries this packet to everybody.
    pub fn broadcast_frame(&self) -> Vec<u8> {
        let mut frame = ethernet(Mac::BROADCAST, self.sender_mac, ETHERTYPE_ARP, 28);
        // Ethernet, IPv4, and the lengths of their addresses.
        frame.extend([0, 1, 8, 0, 6, 4, 0]);
        frame.push(match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        });
        frame.extend(self.sender_mac.0);
        frame.extend(self.sender.octets());
        frame.extend(self.target_mac.0);
        frame.extend(self.target.octets());
        frame
    }

    /// Reads an Ethernet frame; `None` where it is no ARP request or reply for IPv4 over Ethernet.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        if array::<2>(frame, 12)? != ETHERTYPE_ARP.to_be_bytes() || array(frame, 14)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        Some(Self {
            operation: match array(frame, 20)? {
                [0, 1] => ArpOperation::Request,
                [0, 2] => ArpOperation::Reply,
                _ => return None,
            },
            sender_mac: Mac(array(frame, 22)?),
            sender: Ipv4Addr::from(array::<4>(frame, 28)?),
            target_mac: Mac(array(frame, 32)?),
            target: Ipv4Addr::from(array::<4>(frame, 38)?),
        })
    }

    /// Whether this packet, heard while probing for `address`, says that another host has it or probes for it too.
    pub fn contests(&self, address: Ipv4Addr, own: Mac) -> bool {
        let probes_too = self.sender.is_unspecified() && self.target == address;
        self.sender_mac != own && (self.sender == address || probes_too)
    }
}

/// A neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Who has this address?
    Solicitation {
        /// The address.
        target: Ipv6Addr,
        /// The asker's Ethernet address; never there in a probe.
        source_link: Option<Mac>,
    },
    /// I have it.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// The speaker is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what the listener knew.
        replaces: bool,
        /// The speaker's Ethernet address.
        target_link: Option<Mac>,
    },
}

/// A neighbour discovery message with its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourFrame {
    /// The Ethernet address it goes to.
    pub destination_mac: Mac,
    /// The Ethernet address it comes from.
    pub source_mac: Mac,
    /// The address it comes from; unspecified in a probe.
    pub source: Ipv6Addr,
    /// The address it goes to.
    pub destination: Ipv6Addr,
    /// What it says.
    pub message: Neighbour,
}

impl NeighbourFrame {
    /// Asks whether anybody has `address`, without claiming it (RFC 4862, 5.4.2).
    pub fn probe(mac: Mac, address: Ipv6Addr) -> Self {
        let destination = solicited_node(address);
        Self {
            destination_mac: multicast_mac(destination),
            source_mac: mac,
            source: Ipv6Addr::UNSPECIFIED,
            destination,
            message: Neighbour::Solicitation {
                target: address,
                source_link: None,
            },
        }
    }

    /// Asks who has `address`, in the name of `source`, which is at `mac` (RFC 4861, 7.2.2).
    pub fn question(mac: Mac, source: Ipv6Addr, address: Ipv6Addr) -> Self {
        Self {
            source,
            message: Neighbour::Solicitation {
                target: address,
                source_link: Some(mac),
            },
            ..Self::probe(mac, address)
        }
    }

    /// Tells everybody that `address` is at `mac` (RFC 4861, 7.2.6).
    pub fn unsolicited(mac: Mac, address: Ipv6Addr, router: bool) -> Self {
        Self {
            destination_mac: multicast_mac(ALL_NODES),
            source_mac: mac,
            source: address,
            destination: ALL_NODES,
            message: Neighbour::Advertisement {
                target: address,
                router,
                solicited: false,
                replaces: true,
                target_link: Some(mac),
            },
        }
    }

    /// The frame's bytes.
    pub fn frame(&self) -> Vec<u8> {
        let icmp = self.icmp();
        let mut frame = ethernet(
            self.destination_mac,
            self.source_mac,
            ETHERTYPE_IPV6,
            IPV6_HEADER + icmp.len(),
        );
        // An ICMPv6 message of this file is at most 32 bytes long.
        frame.extend([0x60, 0, 0, 0, 0, icmp.len() as u8, ICMPV6, HOP_LIMIT]);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(icmp);
        frame
    }

    fn icmp(&self) -> Vec<u8> {
        let (kind, flags, target, option, link) = match self.message {
            Neighbour::Solicitation { target, source_link } => {
                (SOLICITATION, 0, target, OPTION_SOURCE_LINK, source_link)
            }
            Neighbour::Advertisement {
                target,
                router,
                solicited,
                replaces,
                target_link,
            } => {
                let flag = |set, bit| if set { bit } else { 0 };
                let flags = flag(router, FLAG_ROUTER) | flag(solicited, FLAG_SOLICITED) | flag(replaces, FLAG_OVERRIDE);
                (ADVERTISEMENT, flags, target, OPTION_TARGET_LINK, target_link)
            }
        };
        let mut icmp = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        icmp.extend(target.octets());
        if let Some(mac) = link {
            icmp.extend([option, 1]);
            icmp.extend(mac.0);
        }
        let checksum = checksum(self.source, self.destination, &icmp);
        icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
        icmp
    }

    /// Reads an Ethernet frame; `None` where it is no valid solicitation or advertisement (RFC 4861, 7.1: hop limit
    /// 255, a right checksum, no option of length 0).
    pub fn parse(frame: &[u8]) -> Option<Self> {
        if array::<2>(frame, 12)? != ETHERTYPE_IPV6.to_be_bytes() {
            return None;
        }
        let [version, _, _, _, high, low, next, hops] = array::<8>(frame, ETHERNET_HEADER)?;
        if version >> 4 != 6 || next != ICMPV6 || hops != HOP_LIMIT {
            return None;
        }
        let source = Ipv6Addr::from(array::<16>(frame, ETHERNET_HEADER + 8)?);
        let destination = Ipv6Addr::from(array::<16>(frame, ETHERNET_HEADER + 24)?);
        let length = usize::from(u16::from_be_bytes([high, low]));
        let icmp = frame.get(ETHERNET_HEADER + IPV6_HEADER..)?.get(..length)?;
        if checksum(source, destination, icmp) != 0 {
            return None;
        }
        let [kind, code, _, _, flags, ..] = array::<8>(icmp, 0)?;
        let target = Ipv6Addr::from(array::<16>(icmp, 8)?);
        if code != 0 || target.is_multicast() {
            return None;
        }
        let options = icmp.get(24..)?;
        let message = match kind {
            SOLICITATION => Neighbour::Solicitation {
                target,
                source_link: link_option(options, OPTION_SOURCE_LINK)?,
            },
            ADVERTISEMENT => Neighbour::Advertisement {
                target,
                router: flags & FLAG_ROUTER != 0,
                solicited: flags & FLAG_SOLICITED != 0,
                replaces: flags & FLAG_OVERRIDE != 0,
                target_link: link_option(options, OPTION_TARGET_LINK)?,
            },
            _ => return None,
        };
        Some(Self {
            destination_mac: Mac(array(frame, 0)?),
            source_mac: Mac(array(frame, 6)?),
            source,
            destination,
            message,
        })
    }

    /// The host that, by this message heard while probing for `address`, has it or probes for it too.
    pub fn contests(&self, address: Ipv6Addr, own: Mac) -> Option<Mac> {
        let mac = match self.message {
            Neighbour::Solicitation { target, .. } if target == address && self.source.is_unspecified() => {
                self.source_mac
            }
            Neighbour::Advertisement {
                target, target_link, ..
            } if target == address => target_link.unwrap_or(self.source_mac),
            Neighbour::Solicitation { .. } | Neighbour::Advertisement { .. } => return None,
        };
        (mac != own).then_some(mac)
    }
}

/// The multicast group that the owner of `address` listens to (RFC 4291, 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&address.octets()[13..]);
    Ipv6Addr::from(group)
}

/// The Ethernet address of an IPv6 multicast group (RFC 2464, 7).
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

fn ethernet(destination: Mac, source: Mac, kind: u16, payload: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_HEADER + payload);
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(kind.to_be_bytes());
    frame
}

/// `N` bytes of `bytes` from `at` on.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The Ethernet address in the options, if there is one; `None` where the options are malformed.
fn link_option(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units] = array(options, 0)?;
        let length = usize::from(units) * 8;
        if length == 0 {
            return None;
        }
        let option = options.get(..length)?;
        if kind == wanted && units == 1 && found.is_none() {
            found = Some(Mac(array(option, 2)?));
        }
        options = options.get(length..)?;
    }
    Some(found)
}

/// The checksum of an ICMPv6 message with its pseudo-header (RFC 8200, 8.1); 0 over a message that carries a right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8]) -> u16 {
    let mut sum = u64::from(ICMPV6) + icmp.len() as u64;
    let (source, destination) = (source.octets(), destination.octets());
    for bytes in [&source[..], &destination[..], icmp] {
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests;
