//! Answers of the IPVS family, from bytes. Total: any bytes give a value or an error that names what is wrong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::encode::{GENERIC_HEADER, HEADER};
use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, KernelInfo, ListedDestination, ListedService, Netmask,
    Protocol, Scheduler, ServiceFlags, ServiceKey, ServiceSpec, Statistics, SyncDaemon, SyncRole, Timeouts, Tunnel,
    TunnelChecksum, TunnelKind,
};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An attribute that has to be there is not.
    #[error("the kernel's answer lacks {0}")]
    Missing(&'static str),
    /// An attribute is too short, or its value is none that the kernel has.
    #[error("the kernel's answer has a bad {0}")]
    Bad(&'static str),
    /// A message is longer than what holds it.
    #[error("the kernel's answer is cut off")]
    CutOff,
}

/// One netlink message of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The sequence number of the request that it answers.
    pub sequence: u32,
    /// The dump was changed under way and may be inconsistent.
    pub interrupted: bool,
    /// What it says.
    pub body: Body<'a>,
}

/// What a netlink message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// A request is done (`errno` 0) or was refused, with the kernel's text where it gave one.
    Ack {
        /// The error number, positive; 0 for done.
        errno: i32,
        /// The kernel's own words (extended acknowledgement).
        text: Option<String>,
    },
    /// A dump is at its end, with its own error number.
    Done {
        /// The error number, positive; 0 for complete.
        errno: i32,
        /// The kernel's own words (extended acknowledgement).
        text: Option<String>,
    },
    /// A generic-netlink answer: its attributes.
    Data(&'a [u8]),
    /// Anything else (`NLMSG_NOOP`).
    Other,
}

/// Splits a datagram into its messages; ends with an error where one is cut off.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = u32_at(rest, 0)
            .map(|length| length as usize)
            .filter(|length| (HEADER..=rest.len()).contains(length));
        let Some(length) = length else {
            rest = &[];
            return Some(Err(DecodeError::CutOff));
        };
        let message = &rest[..length];
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message_of(message))
    })
}

fn message_of(message: &[u8]) -> Result<Message<'_>, DecodeError> {
    let kind = u16_at(message, 4).ok_or(DecodeError::CutOff)?;
    let flags = u16_at(message, 6).ok_or(DecodeError::CutOff)?;
    let sequence = u32_at(message, 8).ok_or(DecodeError::CutOff)?;
    let payload = &message[HEADER..];
    let errno = || {
        u32_at(payload, 0)
            .map(|number| number.cast_signed().saturating_neg())
            .ok_or(DecodeError::CutOff)
    };
    let body = match kind {
        NLMSG_ERROR => Body::Ack {
            errno: errno()?,
            text: extended_text(payload, echoed(payload, flags).saturating_add(4), flags),
        },
        NLMSG_DONE => Body::Done {
            errno: if payload.is_empty() { 0 } else { errno()? },
            text: extended_text(payload, 4, flags),
        },
        0..16 => Body::Other,
        _ => Body::Data(payload.get(GENERIC_HEADER..).ok_or(DecodeError::CutOff)?),
    };
    Ok(Message {
        sequence,
        interrupted: flags & NLM_F_DUMP_INTR != 0,
        body,
    })
}

/// How much of the refused request a refusal repeats: all of it, or its header alone.
fn echoed(payload: &[u8], flags: u16) -> usize {
    if flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        u32_at(payload, 4).map_or(HEADER, |length| length as usize)
    }
}

/// The text of an extended acknowledgement, whose attributes start at the next multiple of four.
fn extended_text(payload: &[u8], start: usize, flags: u16) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let attributes = payload.get(start.checked_next_multiple_of(4)?..)?;
    let text = find(attributes, NLMSGERR_ATTR_MSG)?;
    Some(string(text)?.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The attributes of a nest: type and payload. Ends at the first one that is cut off.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, payload)| payload)
}

/// A string up to its NUL, or to its end.
fn string(payload: &[u8]) -> Option<&str> {
    let text = payload.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()
}

/// The attributes of one nest by their numbers, each looked up in constant time.
struct Nest<'a, const N: usize>([Option<&'a [u8]>; N]);

impl<'a, const N: usize> Nest<'a, N> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut found = [None; N];
        for (kind, payload) in attributes(bytes) {
            if let Some(slot) = found.get_mut(usize::from(kind)) {
                *slot = Some(payload);
            }
        }
        Self(found)
    }

    fn get(&self, kind: usize) -> Option<&'a [u8]> {
        self.0.get(kind).copied().flatten()
    }

    fn need(&self, kind: usize, name: &'static str) -> Result<&'a [u8], DecodeError> {
        self.get(kind).ok_or(DecodeError::Missing(name))
    }

    fn u32(&self, kind: usize, name: &'static str) -> Result<u32, DecodeError> {
        u32_at(self.need(kind, name)?, 0).ok_or(DecodeError::Bad(name))
    }

    fn u16(&self, kind: usize, name: &'static str) -> Result<u16, DecodeError> {
        u16_at(self.need(kind, name)?, 0).ok_or(DecodeError::Bad(name))
    }

    fn u32_or_0(&self, kind: usize) -> u32 {
        self.get(kind).and_then(|payload| u32_at(payload, 0)).unwrap_or(0)
    }
}

fn family(number: u16) -> Result<Family, DecodeError> {
    match number {
        2 => Ok(Family::Inet),
        10 => Ok(Family::Inet6),
        _ => Err(DecodeError::Bad("address family")),
    }
}

fn address(payload: &[u8], family: Family) -> Result<IpAddr, DecodeError> {
    let bad = DecodeError::Bad("address");
    match family {
        Family::Inet => {
            let octets: [u8; 4] = payload.get(..4).and_then(|octets| octets.try_into().ok()).ok_or(bad)?;
            Ok(Ipv4Addr::from(octets).into())
        }
        Family::Inet6 => {
            let octets: [u8; 16] = payload.get(..16).and_then(|octets| octets.try_into().ok()).ok_or(bad)?;
            Ok(Ipv6Addr::from(octets).into())
        }
    }
}

fn port(payload: &[u8]) -> Result<u16, DecodeError> {
    u16_at(payload, 0).map(u16::from_be).ok_or(DecodeError::Bad("port"))
}

/// A family's number, from the answer to [`super::encode::family_request`].
///
/// # Errors
/// Where the number is missing.
pub fn family_id(attributes: &[u8]) -> Result<u16, DecodeError> {
    Nest::<2>::new(attributes).u16(1, "family number")
}

/// A service, from the attributes of an answer to `GET_SERVICE`; without its destinations.
///
/// # Errors
/// Names what is missing or bad.
pub fn service(attributes: &[u8]) -> Result<ListedService, DecodeError> {
    let nest = Nest::<13>::new(find(attributes, 1).ok_or(DecodeError::Missing("service"))?);
    let family = family(nest.u16(1, "address family")?)?;
    let key = match nest.get(5) {
        Some(mark) => ServiceKey::Fwmark {
            mark: u32_at(mark, 0).ok_or(DecodeError::Bad("firewall mark"))?,
            family,
        },
        None => ServiceKey::Address {
            protocol: Protocol::from_number(nest.u16(2, "protocol")?),
            address: address(nest.need(3, "service address")?, family)?,
            port: port(nest.need(4, "service port")?)?,
        },
    };
    let mask = nest.need(9, "netmask")?;
    let netmask = match family {
        Family::Inet => {
            let octets: [u8; 4] = mask.try_into().map_err(|_| DecodeError::Bad("netmask"))?;
            Netmask::V4(Ipv4Addr::from(octets))
        }
        Family::Inet6 => {
            let prefix = u32_at(mask, 0).and_then(|prefix| u8::try_from(prefix).ok());
            Netmask::V6(prefix.ok_or(DecodeError::Bad("netmask"))?)
        }
    };
    let scheduler = string(nest.need(6, "scheduler")?).ok_or(DecodeError::Bad("scheduler"))?;
    let engine = match nest.get(11) {
        Some(name) => Some(string(name).ok_or(DecodeError::Bad("persistence engine"))?).filter(|name| !name.is_empty()),
        None => None,
    };
    let spec = ServiceSpec {
        scheduler: Scheduler::from_name(scheduler),
        flags: ServiceFlags::from_bits(nest.u32(7, "flags")?),
        persistence_timeout: nest.u32(8, "timeout")?,
        netmask,
        persistence_engine: engine.map(str::to_owned),
    };
    let statistics = statistics(nest.get(12), nest.get(10));
    Ok(ListedService {
        key,
        spec,
        statistics,
        destinations: Vec::new(),
    })
}

/// A destination of a service of this family, from the attributes of an answer to `GET_DEST`.
///
/// # Errors
/// Names what is missing or bad.
pub fn destination(attributes: &[u8], service_family: Family) -> Result<ListedDestination, DecodeError> {
    let nest = Nest::<16>::new(find(attributes, 2).ok_or(DecodeError::Missing("destination"))?);
    let family = match nest.get(11) {
        Some(number) => family(u16_at(number, 0).ok_or(DecodeError::Bad("address family"))?)?,
        None => service_family,
    };
    let key = DestinationKey::new(
        address(nest.need(1, "destination address")?, family)?,
        port(nest.need(2, "destination port")?)?,
    );
    let forwarding = match nest.u32(3, "forwarding method")? & 7 {
        0 => Forwarding::Nat,
        1 => Forwarding::Local,
        2 => Forwarding::Tun(tunnel(&nest)?),
        3 => Forwarding::Dr,
        4 => Forwarding::Bypass,
        other => Forwarding::Other(other as u8),
    };
    let spec = DestinationSpec {
        forwarding,
        weight: nest.u32(4, "weight")?,
        upper_threshold: nest.u32(5, "upper threshold")?,
        lower_threshold: nest.u32(6, "lower threshold")?,
    };
    Ok(ListedDestination {
        key,
        spec,
        active_connections: nest.u32_or_0(7),
        inactive_connections: nest.u32_or_0(8),
        persistent_connections: nest.u32_or_0(9),
        statistics: statistics(nest.get(12), nest.get(10)),
    })
}

fn tunnel(nest: &Nest<'_, 16>) -> Result<Tunnel, DecodeError> {
    let bad = DecodeError::Bad("tunnel");
    let kind = match nest.get(13) {
        None => 0,
        Some(kind) => *kind.first().ok_or(bad)?,
    };
    let kind = match kind {
        0 => TunnelKind::Ipip,
        1 => TunnelKind::Gue {
            port: nest.get(14).map_or(Ok(0), port)?,
        },
        2 => TunnelKind::Gre,
        other => TunnelKind::Other(other),
    };
    let checksum = match nest.get(15) {
        None => TunnelChecksum::None,
        Some(bits) => TunnelChecksum::from_bits(u16_at(bits, 0).ok_or(bad)?),
    };
    Ok(Tunnel { kind, checksum })
}

/// The 64-bit figures, or the 32-bit ones of a kernel without them; zeros where there are none.
fn statistics(wide: Option<&[u8]>, narrow: Option<&[u8]>) -> Statistics {
    let mut numbers = [0u64; 11];
    for (kind, payload) in attributes(wide.or(narrow).unwrap_or(&[])) {
        let number = match payload.len() {
            8 => payload.try_into().ok().map(u64::from_ne_bytes),
            4 => u32_at(payload, 0).map(u64::from),
            _ => None,
        };
        if let (Some(slot), Some(number)) = (numbers.get_mut(usize::from(kind)), number) {
            *slot = number;
        }
    }
    Statistics {
        connections: numbers[1],
        packets_in: numbers[2],
        packets_out: numbers[3],
        bytes_in: numbers[4],
        bytes_out: numbers[5],
        connections_per_second: numbers[6],
        packets_in_per_second: numbers[7],
        packets_out_per_second: numbers[8],
        bytes_in_per_second: numbers[9],
        bytes_out_per_second: numbers[10],
    }
}

/// A sync daemon, from the attributes of an answer to `GET_DAEMON`.
///
/// # Errors
/// Names what is missing or bad.
pub fn daemon(attributes: &[u8]) -> Result<SyncDaemon, DecodeError> {
    let nest = Nest::<9>::new(find(attributes, 3).ok_or(DecodeError::Missing("sync daemon"))?);
    let role = match nest.u32(1, "sync daemon's state")? {
        1 => SyncRole::Master,
        2 => SyncRole::Backup,
        _ => return Err(DecodeError::Bad("sync daemon's state")),
    };
    let group = match (nest.get(5), nest.get(6)) {
        (_, Some(group)) => Some(address(group, Family::Inet6)?),
        (Some(group), None) => Some(address(group, Family::Inet)?),
        (None, None) => None,
    };
    Ok(SyncDaemon {
        role,
        interface: string(nest.need(2, "sync daemon's interface")?)
            .ok_or(DecodeError::Bad("sync daemon's interface"))?
            .to_owned(),
        sync_id: nest.u32(3, "sync id")?,
        max_length: nest.get(4).and_then(|payload| u16_at(payload, 0)).unwrap_or(0),
        group,
        port: nest.get(7).and_then(|payload| u16_at(payload, 0)).unwrap_or(0),
        ttl: nest.get(8).and_then(|payload| payload.first().copied()).unwrap_or(0),
    })
}

/// The connection timeouts, from the attributes of an answer to `GET_CONFIG`.
///
/// # Errors
/// Names what is missing or bad.
pub fn timeouts(attributes: &[u8]) -> Result<Timeouts, DecodeError> {
    let nest = Nest::<7>::new(attributes);
    Ok(Timeouts {
        tcp: nest.u32(4, "tcp timeout")?,
        tcp_fin: nest.u32(5, "tcp fin timeout")?,
        udp: nest.u32(6, "udp timeout")?,
    })
}

/// What the kernel tells about its IPVS, from the attributes of an answer to `GET_INFO`.
///
/// # Errors
/// Names what is missing or bad.
pub fn info(attributes: &[u8]) -> Result<KernelInfo, DecodeError> {
    let nest = Nest::<3>::new(attributes);
    Ok(KernelInfo {
        version: nest.u32(1, "version")?,
        connection_table_size: nest.u32(2, "connection table size")?,
    })
}
