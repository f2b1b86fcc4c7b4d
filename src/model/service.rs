//! Virtual services: how the kernel names one, and the settings it keeps for it.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::destination::order_of_addresses;
use super::{Scheduler, ServiceFlags};

/// An address family, by the names of keepalived.conf(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 (`AF_INET`).
    Inet,
    /// IPv6 (`AF_INET6`).
    Inet6,
}

impl Family {
    /// The family that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Inet,
            IpAddr::V6(_) => Self::Inet6,
        }
    }

    /// The prefix length of one single host: 32 or 128 bits.
    pub fn host_prefix(self) -> u8 {
        match self {
            Self::Inet => 32,
            Self::Inet6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Inet6 => "inet6",
        })
    }
}

/// A transport protocol that IPVS balances, by its IP protocol number.
///
/// The kernel takes any number, so a table written by somebody else may hold [`Protocol::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, number 6.
    Tcp,
    /// UDP, number 17.
    Udp,
    /// SCTP, number 132.
    Sctp,
    /// Any other number; never 6, 17 or 132.
    Other(u16),
}

impl Protocol {
    /// The protocol with this IP protocol number.
    pub fn from_number(number: u16) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }

    /// The IP protocol number.
    pub fn number(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Sctp => f.write_str("sctp"),
            Self::Other(number) => write!(f, "proto-{number}"),
        }
    }
}

impl FromStr for Protocol {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => text
                .strip_prefix("proto-")
                .and_then(|number| number.parse().ok())
                .map(Self::from_number)
                .ok_or_else(|| ParseKeyError(text.to_owned())),
        }
    }
}

/// What the kernel knows a virtual service by, inside one network namespace.
///
/// IPv4 and IPv6 services of one firewall mark are two services. Shown and parsed as `tcp 192.0.2.200:80`,
/// `udp [2001:db8::1]:53`, `fwmark 1` and `fwmark 1 inet6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// A service by protocol, virtual address and port; port 0 means every port (persistent services only).
    Address {
        /// The transport protocol.
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The virtual port; 0 is every port.
        port: u16,
    },
    /// A service by the firewall mark that netfilter puts on packets.
    Fwmark {
        /// The mark; the kernel takes 0 for "no mark", so it is never 0 in a working service.
        mark: u32,
        /// The family of the packets.
        family: Family,
    },
}

/// Those with an address first, by protocol, address (as [`order_of_addresses`] has them) and port; then the marks.
impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (
                Self::Address {
                    protocol,
                    address,
                    port,
                },
                Self::Address {
                    protocol: other_protocol,
                    address: other_address,
                    port: other_port,
                },
            ) => protocol
                .cmp(other_protocol)
                .then_with(|| order_of_addresses(*address, *other_address))
                .then_with(|| port.cmp(other_port)),
            (
                Self::Fwmark { mark, family },
                Self::Fwmark {
                    mark: other_mark,
                    family: other_family,
                },
            ) => (mark, family).cmp(&(other_mark, other_family)),
            (Self::Address { .. }, Self::Fwmark { .. }) => Ordering::Less,
            (Self::Fwmark { .. }, Self::Address { .. }) => Ordering::Greater,
        }
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ServiceKey {
    /// The family of the service's packets.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// The virtual address, where the service has one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address { address, .. } => Some(*address),
            Self::Fwmark { .. } => None,
        }
    }

    /// The virtual port, where the service has one (0 is every port).
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address { port, .. } => Some(*port),
            Self::Fwmark { .. } => None,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                protocol,
                address,
                port,
            } => write!(f, "{protocol} {}", SocketAddr::new(*address, *port)),
            Self::Fwmark {
                mark,
                family: Family::Inet,
            } => write!(f, "fwmark {mark}"),
            Self::Fwmark {
                mark,
                family: Family::Inet6,
            } => write!(f, "fwmark {mark} inet6"),
        }
    }
}

/// A service or destination key that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no service or destination (wanted: `tcp 192.0.2.200:80`, `fwmark 1 inet6`, `192.0.2.11:80`)")]
pub struct ParseKeyError(pub String);

impl FromStr for ServiceKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseKeyError(text.to_owned());
        let mut words = text.split(' ');
        let (Some(first), Some(second), third, None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(wrong());
        };
        match (first, third) {
            ("fwmark", family) => {
                let family = match family {
                    None | Some("inet") => Family::Inet,
                    Some("inet6") => Family::Inet6,
                    Some(_) => return Err(wrong()),
                };
                Ok(Self::Fwmark {
                    mark: second.parse().map_err(|_| wrong())?,
                    family,
                })
            }
            (protocol, None) => {
                let socket: SocketAddr = second.parse().map_err(|_| wrong())?;
                let protocol = protocol.parse().map_err(|_| wrong())?;
                Ok(Self::Address {
                    protocol,
                    address: socket.ip(),
                    port: socket.port(),
                })
            }
            (_, Some(_)) => Err(wrong()),
        }
    }
}

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which clients count as one for persistence: a mask over the client address.
///
/// The kernel keeps an IPv4 mask as its bits (a mask with holes is possible) and an IPv6 one as a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Netmask {
    /// An IPv4 mask, `255.255.255.255` for "each client for itself".
    V4(Ipv4Addr),
    /// An IPv6 prefix length, 1 to 128; 128 for "each client for itself".
    V6(u8),
}

impl Netmask {
    /// The mask that keeps every single client apart.
    pub fn host(family: Family) -> Self {
        match family {
            Family::Inet => Self::V4(Ipv4Addr::BROADCAST),
            Family::Inet6 => Self::V6(128),
        }
    }

    /// Whether every client counts for itself.
    pub fn is_host(self) -> bool {
        match self {
            Self::V4(mask) => mask == Ipv4Addr::BROADCAST,
            Self::V6(prefix) => prefix == 128,
        }
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(mask) => write!(f, "{mask}"),
            Self::V6(prefix) => write!(f, "{prefix}"),
        }
    }
}

/// The settings of a virtual service, as the kernel keeps them; a change replaces them as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// How a destination is chosen.
    pub scheduler: Scheduler,
    /// Persistence, one-packet scheduling and the scheduler's own flags.
    pub flags: ServiceFlags,
    /// How long a client sticks to its destination, in seconds; counts only with [`ServiceFlags::PERSISTENT`].
    pub persistence_timeout: u32,
    /// Which clients count as one for persistence.
    pub netmask: Netmask,
    /// The persistence engine (the kernel has `sip`), at most 16 bytes.
    pub persistence_engine: Option<String>,
}

impl ServiceSpec {
    /// A service without persistence and flags.
    pub fn new(scheduler: Scheduler, family: Family) -> Self {
        Self {
            scheduler,
            flags: ServiceFlags::NONE,
            persistence_timeout: 0,
            netmask: Netmask::host(family),
            persistence_engine: None,
        }
    }
}

impl fmt::Display for ServiceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scheduler {}", self.scheduler)?;
        let flags = self.flags.scheduler_flag_names(&self.scheduler);
        if !flags.is_empty() {
            write!(f, " flags {}", flags.join(","))?;
        }
        if self.flags.contains(ServiceFlags::PERSISTENT) {
            write!(f, " persistence_timeout {}s", self.persistence_timeout)?;
        }
        if !self.netmask.is_host() {
            write!(f, " netmask {}", self.netmask)?;
        }
        if let Some(engine) = &self.persistence_engine {
            write!(f, " persistence_engine {engine}")?;
        }
        if self.flags.contains(ServiceFlags::ONE_PACKET) {
            f.write_str(" one_packet")?;
        }
        Ok(())
    }
}
