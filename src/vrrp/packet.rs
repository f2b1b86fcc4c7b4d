//! The bytes of an advert: version 2 (RFC 3768, 5.1) and version 3 (RFC 9568, 5.1), over IPv4 and IPv6.
//!
//! Pure. What is wrong with a packet that is refused has a name each; nothing here can panic on input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::model::{Family, VrrpAdvert, VrrpAuthentication, VrrpChecksum, VrrpPassword, VrrpVersion};

/// The protocol's number in the IP header.
pub const PROTOCOL: u8 = 112;
/// The time to live that every advert is sent with, and without which none is heeded: it has passed no router.
pub const TTL: u8 = 255;
/// Where adverts are sent over IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts are sent over IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The longest advert: 255 IPv6 addresses.
pub const LONGEST: usize = HEADER + 255 * 16;

const HEADER: usize = 8;
const CHECKSUM: usize = 6;
const AUTHENTICATION: usize = 8;
const ADVERTISEMENT: u8 = 1;
/// The interval of version 3 has 12 bits.
const LONGEST_INTERVAL_V3: u128 = 0x0fff;

/// What the IP header of an advert says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it was sent.
    pub destination: IpAddr,
    /// The time to live, or hop limit, that it came in with.
    pub ttl: u8,
}

/// Why a packet is no advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum PacketError {
    /// It has passed a router, or was made by somebody who is not on this segment.
    #[error("its time to live is {0} and not 255: it does not come from this segment")]
    Ttl(u8),
    /// Less than a header.
    #[error("it is cut off after {0} bytes")]
    Short(usize),
    /// Neither 2 nor 3.
    #[error("it is of version {0}, known are 2 and 3")]
    Version(u8),
    /// Version 2 knows IPv4 only.
    #[error("it is of version 2 over IPv6, which there is not")]
    Version2OverIpv6,
    /// It is no advertisement.
    #[error("it is of type {0}, known is 1 (advertisement)")]
    Kind(u8),
    /// The number 0.
    #[error("its virtual_router_id is 0")]
    RouterId,
    /// No time from one advert to the next.
    #[error("its interval is 0")]
    Interval,
    /// It should be longer for the addresses it names.
    #[error("it names {addresses} addresses, for which {length} bytes are too few")]
    Addresses {
        /// How many it names.
        addresses: u8,
        /// How long it is.
        length: usize,
    },
    /// It was damaged, or is of a protocol that is only like this one.
    #[error("its checksum is wrong")]
    Checksum,
    /// A packet whose source and destination are of two families.
    #[error("its source and its destination are of different families")]
    Families,
}

/// What a packet as short as a header of IPv4 is about: from where to where, and what is in it.
///
/// # Errors
/// [`PacketError::Short`] where it is not even that.
pub fn open_ipv4(packet: &[u8]) -> Result<(Envelope, &[u8]), PacketError> {
    let short = PacketError::Short(packet.len());
    let header: &[u8; 20] = packet.first_chunk().ok_or(short)?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let [_, _, _, _, _, _, _, _, ttl, _, _, _, a, b, c, d, e, f, g, h] = *header;
    let envelope = Envelope {
        source: Ipv4Addr::new(a, b, c, d).into(),
        destination: Ipv4Addr::new(e, f, g, h).into(),
        ttl,
    };
    match length >= header.len() {
        true => Ok((envelope, packet.get(length..).ok_or(short)?)),
        false => Err(short),
    }
}

/// Writes an advert that goes from `source` to `destination`. The interval is rounded to what the version can say.
pub fn encode(advert: &VrrpAdvert, source: IpAddr, destination: IpAddr, checksum: VrrpChecksum) -> Vec<u8> {
    let count = advert.addresses.len().min(255);
    let mut bytes = Vec::with_capacity(HEADER + count * 16 + AUTHENTICATION);
    let version = match advert.version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    };
    let [high, low] = interval_field(advert);
    bytes.extend([
        version << 4 | ADVERTISEMENT,
        advert.virtual_router_id,
        advert.priority,
        // It is at most 255.
        count as u8,
        high,
        low,
        0,
        0,
    ]);
    for address in advert.addresses.iter().take(count) {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    let covered = bytes_covered(advert.version, source, destination, checksum, bytes.len());
    if advert.version == VrrpVersion::V2 {
        bytes.extend(match advert.authentication {
            VrrpAuthentication::None | VrrpAuthentication::Other(_) => [0; AUTHENTICATION],
            VrrpAuthentication::Password(VrrpPassword(password)) => password,
        });
    }
    let sum = !fold(covered + sum(&bytes));
    bytes[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The two bytes before the checksum: version 2 has the kind of authentication and seconds there, version 3 hundredths
/// of a second.
fn interval_field(advert: &VrrpAdvert) -> [u8; 2] {
    match advert.version {
        VrrpVersion::V2 => {
            let kind = match advert.authentication {
                VrrpAuthentication::None => 0,
                VrrpAuthentication::Password(_) => 1,
                VrrpAuthentication::Other(kind) => kind,
            };
            // It is at most 255.
            [kind, advert.interval.as_secs().min(255) as u8]
        }
        // It has 12 bits.
        VrrpVersion::V3 => (((advert.interval.as_millis() + 5) / 10).min(LONGEST_INTERVAL_V3) as u16).to_be_bytes(),
    }
}

/// Reads an advert.
///
/// Bytes after its end are left alone. The checksum of version 3 over IPv4 may cover the packet's addresses or not.
///
/// # Errors
/// What is wrong with it, the time to live first.
pub fn decode(bytes: &[u8], envelope: &Envelope) -> Result<VrrpAdvert, PacketError> {
    let Envelope {
        source,
        destination,
        ttl,
    } = *envelope;
    if ttl != TTL {
        return Err(PacketError::Ttl(ttl));
    }
    let family = Family::of(source);
    if family != Family::of(destination) {
        return Err(PacketError::Families);
    }
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or(PacketError::Short(bytes.len()))?;
    let [first, virtual_router_id, priority, count, high, low, _, _] = *header;
    let version = match first >> 4 {
        2 => VrrpVersion::V2,
        3 => VrrpVersion::V3,
        other => return Err(PacketError::Version(other)),
    };
    if first & 0x0f != ADVERTISEMENT {
        return Err(PacketError::Kind(first & 0x0f));
    }
    if version == VrrpVersion::V2 && family == Family::Inet6 {
        return Err(PacketError::Version2OverIpv6);
    }
    if virtual_router_id == 0 {
        return Err(PacketError::RouterId);
    }
    let each = match family {
        Family::Inet => 4,
        Family::Inet6 => 16,
    };
    let end_of_addresses = HEADER + usize::from(count) * each;
    let length = match version {
        VrrpVersion::V2 => end_of_addresses + AUTHENTICATION,
        VrrpVersion::V3 => end_of_addresses,
    };
    let too_few = PacketError::Addresses {
        addresses: count,
        length: bytes.len(),
    };
    let message = bytes.get(..length).ok_or(too_few)?;
    let right = [VrrpChecksum::Rfc5798, VrrpChecksum::Rfc9568].iter().any(|form| {
        let covered = bytes_covered(version, source, destination, *form, message.len());
        fold(covered + sum(message)) == 0xffff
    });
    if !right {
        return Err(PacketError::Checksum);
    }
    let (interval, authentication) = match version {
        VrrpVersion::V2 => {
            let data = message.last_chunk().copied().unwrap_or_default();
            let authentication = match high {
                0 => VrrpAuthentication::None,
                1 => VrrpAuthentication::Password(VrrpPassword(data)),
                other => VrrpAuthentication::Other(other),
            };
            (Duration::from_secs(low.into()), authentication)
        }
        VrrpVersion::V3 => {
            let hundredths = u16::from_be_bytes([high & 0x0f, low]);
            (
                Duration::from_millis(u64::from(hundredths) * 10),
                VrrpAuthentication::None,
            )
        }
    };
    if interval.is_zero() {
        return Err(PacketError::Interval);
    }
    let addresses = message.get(HEADER..end_of_addresses).unwrap_or_default();
    Ok(VrrpAdvert {
        version,
        virtual_router_id,
        priority,
        interval,
        authentication,
        addresses: addresses.chunks_exact(each).filter_map(address).collect(),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        _ => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
    }
}

/// What the checksum covers beside the advert's own bytes, summed up (RFC 5798, 5.2.8; RFC 8200, 8.1).
fn bytes_covered(
    version: VrrpVersion,
    source: IpAddr,
    destination: IpAddr,
    checksum: VrrpChecksum,
    length: usize,
) -> u32 {
    let header = u32::from(PROTOCOL) + u32::try_from(length).unwrap_or(u32::MAX);
    match (version, source, destination, checksum) {
        (VrrpVersion::V2, _, _, _) => 0,
        (VrrpVersion::V3, IpAddr::V6(source), IpAddr::V6(destination), _) => {
            header + sum(&source.octets()) + sum(&destination.octets())
        }
        (VrrpVersion::V3, IpAddr::V4(source), IpAddr::V4(destination), VrrpChecksum::Rfc5798) => {
            header + sum(&source.octets()) + sum(&destination.octets())
        }
        (VrrpVersion::V3, _, _, _) => 0,
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
