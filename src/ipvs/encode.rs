//! Requests of the IPVS family as bytes: netlink header, generic-netlink header, nested attributes.
//!
//! Appends to one buffer, so that a batch is one allocation. Numbers are those of `linux/ip_vs.h`; integers are in
//! host order except where the kernel says `__be`.

use std::net::IpAddr;

use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, Netmask, ServiceKey, ServiceSpec, Step, SyncDaemon, SyncRole,
    Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};

/// Length of a netlink header.
pub const HEADER: usize = 16;
/// Length of a generic-netlink header.
pub const GENERIC_HEADER: usize = 4;

/// The longest payload of a fixed length: an IPv6 address.
const LONGEST: usize = 16;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLA_F_NESTED: u16 = 0x8000;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Create a service.
    NewService(ServiceKey, &'a ServiceSpec),
    /// Replace a service's settings.
    SetService(ServiceKey, &'a ServiceSpec),
    /// Remove a service.
    DelService(ServiceKey),
    /// One service.
    GetService(ServiceKey),
    /// All services, as a dump.
    GetServices,
    /// Create a destination.
    NewDest(ServiceKey, DestinationKey, &'a DestinationSpec),
    /// Replace a destination's settings.
    SetDest(ServiceKey, DestinationKey, &'a DestinationSpec),
    /// Remove a destination.
    DelDest(ServiceKey, DestinationKey),
    /// All destinations of a service, as a dump; empty where there is no such service.
    GetDests(ServiceKey),
    /// Start a sync daemon.
    NewDaemon(&'a SyncDaemon),
    /// Stop a sync daemon.
    DelDaemon(SyncRole),
    /// The sync daemons that run, as a dump.
    GetDaemons,
    /// Set connection timeouts; 0 leaves one as it is.
    SetConfig(Timeouts),
    /// The connection timeouts.
    GetConfig,
    /// Version and size of the connection table.
    GetInfo,
    /// Set the counters of one service, or of all, to zero.
    Zero(Option<ServiceKey>),
    /// Remove every service.
    Flush,
}

impl<'a> From<&'a Step> for Request<'a> {
    fn from(step: &'a Step) -> Self {
        match step {
            Step::AddService { service, spec } => Self::NewService(*service, spec),
            Step::SetService { service, spec } => Self::SetService(*service, spec),
            Step::RemoveService { service } => Self::DelService(*service),
            Step::AddDestination {
                service,
                destination,
                spec,
            } => Self::NewDest(*service, *destination, spec),
            Step::SetDestination {
                service,
                destination,
                spec,
            } => Self::SetDest(*service, *destination, spec),
            Step::RemoveDestination { service, destination } => Self::DelDest(*service, *destination),
        }
    }
}

impl Request<'_> {
    /// The `IPVS_CMD_*` number.
    pub fn command(&self) -> u8 {
        match self {
            Self::NewService(..) => 1,
            Self::SetService(..) => 2,
            Self::DelService(_) => 3,
            Self::GetService(_) | Self::GetServices => 4,
            Self::NewDest(..) => 5,
            Self::SetDest(..) => 6,
            Self::DelDest(..) => 7,
            Self::GetDests(_) => 8,
            Self::NewDaemon(_) => 9,
            Self::DelDaemon(_) => 10,
            Self::GetDaemons => 11,
            Self::SetConfig(_) => 12,
            Self::GetConfig => 13,
            Self::GetInfo => 15,
            Self::Zero(_) => 16,
            Self::Flush => 17,
        }
    }

    /// Whether the answer is a dump.
    pub fn is_dump(&self) -> bool {
        matches!(self, Self::GetServices | Self::GetDests(_) | Self::GetDaemons)
    }

    /// Appends the request; `acknowledge` asks the kernel to say that it is done even where all is well.
    pub fn encode(&self, out: &mut Vec<u8>, family: u16, sequence: u32, acknowledge: bool) {
        let flags =
            NLM_F_REQUEST | if self.is_dump() { NLM_F_DUMP } else { 0 } | if acknowledge { NLM_F_ACK } else { 0 };
        let start = begin(out, family, flags, sequence, self.command());
        match self {
            Self::NewService(key, spec) | Self::SetService(key, spec) => service(out, key, Some(spec)),
            Self::DelService(key) | Self::GetService(key) | Self::GetDests(key) | Self::Zero(Some(key)) => {
                service(out, key, None);
            }
            Self::NewDest(key, destination, spec) | Self::SetDest(key, destination, spec) => {
                service(out, key, None);
                destination_nest(out, destination, Some(spec));
            }
            Self::DelDest(key, destination) => {
                service(out, key, None);
                destination_nest(out, destination, None);
            }
            Self::NewDaemon(daemon) => daemon_nest(out, daemon),
            Self::DelDaemon(role) => nest(out, 3, |out| attribute(out, 1, &role_number(*role).to_ne_bytes())),
            Self::SetConfig(timeouts) => {
                for (kind, seconds) in [(4, timeouts.tcp), (5, timeouts.tcp_fin), (6, timeouts.udp)] {
                    attribute(out, kind, &seconds.to_ne_bytes());
                }
            }
            Self::GetServices | Self::GetDaemons | Self::GetConfig | Self::GetInfo | Self::Zero(None) | Self::Flush => {
            }
        }
        finish(out, start);
    }
}

/// Appends a request for the number of a generic-netlink family (`CTRL_CMD_GETFAMILY`).
pub fn family_request(out: &mut Vec<u8>, sequence: u32, name: &str) {
    const GENL_ID_CTRL: u16 = 16;
    const GETFAMILY: u8 = 3;
    const FAMILY_NAME: u16 = 2;
    let start = begin(out, GENL_ID_CTRL, NLM_F_REQUEST | NLM_F_ACK, sequence, GETFAMILY);
    text(out, FAMILY_NAME, name);
    finish(out, start);
}

fn begin(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, command: u8) -> usize {
    let start = out.len();
    // The length is filled in at the end; no port, for the kernel knows it.
    let mut headers = [0; HEADER + GENERIC_HEADER];
    headers[4..6].copy_from_slice(&kind.to_ne_bytes());
    headers[6..8].copy_from_slice(&flags.to_ne_bytes());
    headers[8..12].copy_from_slice(&sequence.to_ne_bytes());
    headers[HEADER..].copy_from_slice(&[command, 1, 0, 0]);
    out.extend_from_slice(&headers);
    start
}

fn finish(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// An attribute of a fixed length, appended in one piece: a table has a hundred thousand of them.
fn attribute<const N: usize>(out: &mut Vec<u8>, kind: u16, payload: &[u8; N]) {
    const { assert!(N <= LONGEST, "room for the payload") };
    let mut whole = [0; 4 + LONGEST];
    whole[..2].copy_from_slice(&((N + 4) as u16).to_ne_bytes());
    whole[2..4].copy_from_slice(&kind.to_ne_bytes());
    whole[4..4 + N].copy_from_slice(payload);
    out.extend_from_slice(&whole[..(4 + N).next_multiple_of(4)]);
}

/// A string with its NUL.
fn text(out: &mut Vec<u8>, kind: u16, text: &str) {
    let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn nest(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
    fill(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    out[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// The kernel's number of a family (`AF_INET`, `AF_INET6`).
pub(super) fn family_number(family: Family) -> u16 {
    match family {
        Family::Inet => 2,
        Family::Inet6 => 10,
    }
}

pub(super) fn role_number(role: SyncRole) -> u32 {
    match role {
        SyncRole::Master => 1,
        SyncRole::Backup => 2,
    }
}

fn address(out: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => attribute(out, kind, &address.octets()),
        IpAddr::V6(address) => attribute(out, kind, &address.octets()),
    }
}

/// Appends the service nest: the key alone, or the key and all settings.
pub(super) fn service(out: &mut Vec<u8>, key: &ServiceKey, spec: Option<&ServiceSpec>) {
    nest(out, 1, |out| {
        attribute(out, 1, &family_number(key.family()).to_ne_bytes());
        match key {
            ServiceKey::Address {
                protocol,
                address: ip,
                port,
            } => {
                attribute(out, 2, &protocol.number().to_ne_bytes());
                address(out, 3, *ip);
                attribute(out, 4, &port.to_be_bytes());
            }
            ServiceKey::Fwmark { mark, .. } => attribute(out, 5, &mark.to_ne_bytes()),
        }
        let Some(spec) = spec else { return };
        text(out, 6, spec.scheduler.name());
        let mut flags = [0; 8];
        flags[..4].copy_from_slice(&spec.flags.bits().to_ne_bytes());
        flags[4..].copy_from_slice(&u32::MAX.to_ne_bytes());
        attribute(out, 7, &flags);
        attribute(out, 8, &spec.persistence_timeout.to_ne_bytes());
        match spec.netmask {
            Netmask::V4(mask) => attribute(out, 9, &mask.octets()),
            Netmask::V6(prefix) => attribute(out, 9, &u32::from(prefix).to_ne_bytes()),
        }
        if let Some(engine) = &spec.persistence_engine {
            text(out, 11, engine);
        }
    });
}

pub(super) fn forwarding_number(forwarding: Forwarding) -> u32 {
    match forwarding {
        Forwarding::Nat => 0,
        Forwarding::Local => 1,
        Forwarding::Tun(_) => 2,
        Forwarding::Dr => 3,
        Forwarding::Bypass => 4,
        Forwarding::Other(number) => u32::from(number),
    }
}

/// Appends the destination nest: the key alone, or the key and all settings.
pub(super) fn destination_nest(out: &mut Vec<u8>, key: &DestinationKey, spec: Option<&DestinationSpec>) {
    nest(out, 2, |out| {
        address(out, 1, key.address);
        attribute(out, 2, &key.port.to_be_bytes());
        // Left out, the kernel takes the service's family and does not find a destination of the other one.
        attribute(out, 11, &family_number(key.family()).to_ne_bytes());
        let Some(spec) = spec else { return };
        attribute(out, 3, &forwarding_number(spec.forwarding).to_ne_bytes());
        attribute(out, 4, &spec.weight.to_ne_bytes());
        attribute(out, 5, &spec.upper_threshold.to_ne_bytes());
        attribute(out, 6, &spec.lower_threshold.to_ne_bytes());
        if let Forwarding::Tun(Tunnel { kind, checksum }) = spec.forwarding {
            let (kind, port) = match kind {
                TunnelKind::Ipip => (0, 0),
                TunnelKind::Gue { port } => (1, port),
                TunnelKind::Gre => (2, 0),
                TunnelKind::Other(number) => (number, 0),
            };
            if kind != 0 || checksum != TunnelChecksum::None {
                attribute(out, 13, &[kind]);
                attribute(out, 14, &port.to_be_bytes());
                attribute(out, 15, &checksum.bits().to_ne_bytes());
            }
        }
    });
}

pub(super) fn daemon_nest(out: &mut Vec<u8>, daemon: &SyncDaemon) {
    nest(out, 3, |out| {
        attribute(out, 1, &role_number(daemon.role).to_ne_bytes());
        text(out, 2, &daemon.interface);
        attribute(out, 3, &daemon.sync_id.to_ne_bytes());
        if daemon.max_length != 0 {
            attribute(out, 4, &daemon.max_length.to_ne_bytes());
        }
        match daemon.group {
            Some(IpAddr::V4(group)) => attribute(out, 5, &group.octets()),
            Some(IpAddr::V6(group)) => attribute(out, 6, &group.octets()),
            None => {}
        }
        if daemon.port != 0 {
            attribute(out, 7, &daemon.port.to_ne_bytes());
        }
        if daemon.ttl != 0 {
            attribute(out, 8, &[daemon.ttl]);
        }
    });
}
