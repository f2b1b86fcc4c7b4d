//! What this host has: interfaces, addresses, hardware addresses.
//!
//! Values that the `net` room reads and the thinking rooms judge.

use std::fmt;
use std::net::IpAddr;

/// An Ethernet address, shown as `02:00:5e:10:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every host of the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Nobody: what an ARP request says where it asks.
    pub const ZERO: Self = Self([0; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Whether hosts behind it find each other's hardware address by asking (ARP, neighbour discovery).
    pub resolves: bool,
    /// Its Ethernet address, where it has one.
    pub mac: Option<Mac>,
    /// The largest packet in bytes.
    pub mtu: u32,
}

/// How far an address is good for (`RT_SCOPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressScope {
    /// Everywhere.
    Global,
    /// On its own link.
    Link,
    /// On this host only: never chosen as the source of what leaves it.
    Host,
    /// A number that the kernel gives no name here.
    Other(u8),
}

impl AddressScope {
    /// The scope with this number of the kernel's.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Global,
            253 => Self::Link,
            254 => Self::Host,
            other => Self::Other(other),
        }
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Global => 0,
            Self::Link => 253,
            Self::Host => 254,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for AddressScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Link => f.write_str("link"),
            Self::Host => f.write_str("host"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}

/// One address on an interface of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// The interface.
    pub device: String,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix; 32 or 128 for the address alone.
    pub prefix: u8,
    /// How far it is good for.
    pub scope: AddressScope,
    /// The label (IPv4 only).
    pub label: Option<String>,
    /// Who put it there (`IFA_PROTO`), 0 where nobody said so or the kernel is older than 5.18.
    pub owner: u8,
    /// The kernel found another host with it (duplicate address detection failed): it is not used.
    pub duplicate: bool,
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.device)
    }
}
