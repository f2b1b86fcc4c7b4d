//! Real servers inside a service, and how packets are forwarded to them.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Family, ParseKeyError};

/// What the kernel knows a destination by, inside one service. Shown and parsed as `192.0.2.11:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DestinationKey {
    /// The real server's address.
    pub address: IpAddr,
    /// The real server's port; 0 in firewall-mark services and services of every port.
    pub port: u16,
}

/// By address (as [`order_of_addresses`] has them), then by port.
impl Ord for DestinationKey {
    fn cmp(&self, other: &Self) -> Ordering {
        order_of_addresses(self.address, other.address).then_with(|| self.port.cmp(&other.port))
    }
}

impl PartialOrd for DestinationKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// IPv4 before IPv6, each by its number: the order of the standard library, which compares byte by byte and takes
/// several times as long. Tables are sorted by it, and looked through for every destination.
pub(super) fn order_of_addresses(one: IpAddr, other: IpAddr) -> Ordering {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.to_bits().cmp(&other.to_bits()),
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits().cmp(&other.to_bits()),
        (one, other) => one.is_ipv6().cmp(&other.is_ipv6()),
    }
}

impl DestinationKey {
    /// The destination at this address and port.
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }

    /// The family of the address.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

impl FromStr for DestinationKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let socket: SocketAddr = text.parse().map_err(|_| ParseKeyError(text.to_owned()))?;
        Ok(Self::new(socket.ip(), socket.port()))
    }
}

impl Serialize for DestinationKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DestinationKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How a packet reaches the real server (`IP_VS_CONN_F_*`), by the words of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// Network address translation (`-m`, Masq).
    Nat,
    /// Direct routing (`-g`, Route).
    Dr,
    /// Through a tunnel (`-i`, Tunnel).
    Tun(Tunnel),
    /// To this host itself; the kernel shows it for a destination that is a local address.
    Local,
    /// Cache bypass; only ever read from a kernel.
    Bypass,
    /// A method number that no kernel header names, 5 to 7.
    Other(u8),
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat => f.write_str("nat"),
            Self::Dr => f.write_str("dr"),
            Self::Tun(tunnel) => write!(f, "tun {tunnel}"),
            Self::Local => f.write_str("local"),
            Self::Bypass => f.write_str("bypass"),
            Self::Other(number) => write!(f, "method-{number}"),
        }
    }
}

/// The tunnel to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// The encapsulation.
    pub kind: TunnelKind,
    /// The checksum of the outer header.
    pub checksum: TunnelChecksum,
}

impl Tunnel {
    /// Plain IP in IP, what every kernel with IPVS has.
    pub const IPIP: Self = Self {
        kind: TunnelKind::Ipip,
        checksum: TunnelChecksum::None,
    };
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TunnelKind::Ipip => f.write_str("ipip")?,
            TunnelKind::Gue { port } => write!(f, "gue:{port}")?,
            TunnelKind::Gre => f.write_str("gre")?,
            TunnelKind::Other(number) => write!(f, "type-{number}")?,
        }
        match self.checksum {
            TunnelChecksum::None => Ok(()),
            TunnelChecksum::Csum => f.write_str(" csum"),
            TunnelChecksum::Remcsum => f.write_str(" remcsum"),
            TunnelChecksum::Other(bits) => write!(f, " flags-{bits}"),
        }
    }
}

/// The encapsulation of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation to a UDP port.
    Gue {
        /// The UDP port of the real server's decapsulator, never 0.
        port: u16,
    },
    /// Generic routing encapsulation.
    Gre,
    /// A type number that this program has no name for; never 0, 1 or 2.
    Other(u8),
}

/// The checksum option of a tunnel's outer header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelChecksum {
    /// No checksum.
    None,
    /// A checksum over the encapsulated packet.
    Csum,
    /// Remote checksum offload (gue only).
    Remcsum,
    /// Bits that this program has no name for; never 0, 1 or 2.
    Other(u16),
}

impl TunnelChecksum {
    /// The option with these `IP_VS_TUNNEL_ENCAP_FLAG_*` bits.
    pub fn from_bits(bits: u16) -> Self {
        match bits {
            0 => Self::None,
            1 => Self::Csum,
            2 => Self::Remcsum,
            other => Self::Other(other),
        }
    }

    /// The `IP_VS_TUNNEL_ENCAP_FLAG_*` bits.
    pub fn bits(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Csum => 1,
            Self::Remcsum => 2,
            Self::Other(bits) => bits,
        }
    }
}

/// The settings of a destination, as the kernel keeps them; a change replaces them as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationSpec {
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// Its share of new connections, 0 to 2147483647; 0 takes no new ones and keeps the old.
    pub weight: u32,
    /// With this many connections it takes no more; 0 for no limit.
    pub upper_threshold: u32,
    /// Once over the upper threshold, it takes new ones again below this many; 0 for three quarters of the upper.
    pub lower_threshold: u32,
}

impl DestinationSpec {
    /// A destination without connection thresholds.
    pub fn new(forwarding: Forwarding, weight: u32) -> Self {
        Self {
            forwarding,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }
}

impl fmt::Display for DestinationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} weight {}", self.forwarding, self.weight)?;
        if self.upper_threshold != 0 {
            write!(f, " uthreshold {}", self.upper_threshold)?;
        }
        if self.lower_threshold != 0 {
            write!(f, " lthreshold {}", self.lower_threshold)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Protocol, ServiceKey};

    /// Few addresses and ports, so that equal ones are among them.
    fn keys() -> impl Strategy<Value = DestinationKey> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            prop::sample::select(vec![0, 1, 255]).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        ];
        (address, 79_u16..82).prop_map(|(address, port)| DestinationKey { address, port })
    }

    proptest! {
        #[test]
        fn the_order_is_the_standard_librarys(one in keys(), other in keys(), protocol in 0_usize..3) {
            let expected = (one.address, one.port).cmp(&(other.address, other.port));
            prop_assert_eq!(one.cmp(&other), expected);
            let service = |key: DestinationKey| ServiceKey::Address {
                protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][protocol],
                address: key.address,
                port: key.port,
            };
            prop_assert_eq!(service(one).cmp(&service(other)), expected);
        }
    }
}
