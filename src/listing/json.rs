//! Listings for machines. `docs/json.md` describes the schema; a test holds both together.
//!
//! Every document is one object with the member `schema`. Members are added without a new number; one that changes
//! its meaning or goes makes it [`SCHEMA`] + 1. Always numeric, never scaled, in the order asked for.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::{Order, sorted_destinations, sorted_services};
use crate::model::{
    ConnectionEntry, Forwarding, KernelInfo, ListedDestination, ListedService, ServiceFlags, ServiceKey, Statistics,
    SyncDaemon, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};

/// The number of the schema that `docs/json.md` describes.
pub const SCHEMA: u32 = 1;

/// Appends all services as one JSON object; without `info` (a listing of one service) the kernel's part is null.
pub fn json_services(out: &mut Vec<u8>, info: Option<KernelInfo>, services: &[ListedService], order: Order) {
    let services = sorted_services(services, order)
        .into_iter()
        .map(|service| service_json(service, order))
        .collect();
    let kernel = info.map(|info| {
        let (major, minor, patch) = info.version_parts();
        KernelJson {
            ipvs_version: format!("{major}.{minor}.{patch}"),
            connection_table_size: info.connection_table_size,
        }
    });
    push_document(
        out,
        &ServicesJson {
            schema: SCHEMA,
            kernel,
            services,
        },
    );
}

/// Appends the connection table as one JSON object.
pub fn json_connections(out: &mut Vec<u8>, connections: &[ConnectionEntry]) {
    let connections = connections
        .iter()
        .map(|connection| ConnectionJson {
            protocol: connection.protocol.to_string(),
            client: connection.client,
            virtual_address: connection.virtual_address,
            destination: connection.destination,
            state: &connection.state,
            expires_seconds: connection.expires,
            persistence: connection.persistence.as_ref().map(|known| PersistenceDataJson {
                engine: &known.engine,
                data: &known.data,
            }),
        })
        .collect();
    push_document(
        out,
        &ConnectionsJson {
            schema: SCHEMA,
            connections,
        },
    );
}

/// Appends the connection timeouts as one JSON object.
pub fn json_timeouts(out: &mut Vec<u8>, timeouts: Timeouts) {
    push_document(
        out,
        &TimeoutsJson {
            schema: SCHEMA,
            timeouts: TimeoutsMembers {
                tcp_seconds: timeouts.tcp,
                tcp_fin_seconds: timeouts.tcp_fin,
                udp_seconds: timeouts.udp,
            },
        },
    );
}

/// Appends the sync daemons as one JSON object.
pub fn json_daemons(out: &mut Vec<u8>, daemons: &[SyncDaemon]) {
    let daemons = daemons
        .iter()
        .map(|daemon| DaemonJson {
            role: daemon.role.to_string(),
            interface: &daemon.interface,
            sync_id: daemon.sync_id,
            max_length_bytes: daemon.max_length,
            group: daemon.group,
            port: daemon.port,
            ttl: daemon.ttl,
        })
        .collect();
    push_document(
        out,
        &DaemonsJson {
            schema: SCHEMA,
            daemons,
        },
    );
}

/// Appends one document and a line feed.
fn push_document(out: &mut Vec<u8>, document: &impl Serialize) {
    // A vector takes every byte, and no member here is of a kind that JSON lacks.
    let _ = serde_json::to_writer_pretty(&mut *out, document);
    out.push(b'\n');
}

fn service_json(service: &ListedService, order: Order) -> ServiceJson<'_> {
    let spec = &service.spec;
    let (protocol, fwmark) = match service.key {
        ServiceKey::Address { protocol, .. } => (Some(protocol.to_string()), None),
        ServiceKey::Fwmark { mark, .. } => (None, Some(mark)),
    };
    ServiceJson {
        protocol,
        address: service.key.address(),
        port: service.key.port(),
        fwmark,
        family: service.key.family().to_string(),
        scheduler: spec.scheduler.name(),
        flags: spec.flags.scheduler_flag_names(&spec.scheduler),
        one_packet: spec.flags.contains(ServiceFlags::ONE_PACKET),
        persistence: spec.flags.contains(ServiceFlags::PERSISTENT).then(|| PersistenceJson {
            timeout_seconds: spec.persistence_timeout,
            netmask: spec.netmask.to_string(),
            engine: spec.persistence_engine.as_deref(),
        }),
        statistics: statistics_json(&service.statistics),
        destinations: sorted_destinations(&service.destinations, order)
            .into_iter()
            .map(destination_json)
            .collect(),
    }
}

fn destination_json(destination: &ListedDestination) -> DestinationJson {
    let spec = &destination.spec;
    let (forward, tunnel) = match spec.forwarding {
        Forwarding::Tun(tunnel) => ("tun".to_owned(), Some(tunnel_json(tunnel))),
        other @ (Forwarding::Nat | Forwarding::Dr | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_)) => {
            (other.to_string(), None)
        }
    };
    DestinationJson {
        address: destination.key.address,
        port: destination.key.port,
        forward,
        tunnel,
        weight: spec.weight,
        upper_threshold: spec.upper_threshold,
        lower_threshold: spec.lower_threshold,
        active_connections: destination.active_connections,
        inactive_connections: destination.inactive_connections,
        persistent_connections: destination.persistent_connections,
        statistics: statistics_json(&destination.statistics),
    }
}

fn tunnel_json(tunnel: Tunnel) -> TunnelJson {
    let (kind, port) = match tunnel.kind {
        TunnelKind::Ipip => ("ipip".to_owned(), None),
        TunnelKind::Gue { port } => ("gue".to_owned(), Some(port)),
        TunnelKind::Gre => ("gre".to_owned(), None),
        TunnelKind::Other(number) => (format!("type-{number}"), None),
    };
    TunnelJson {
        kind,
        port,
        checksum: match tunnel.checksum {
            TunnelChecksum::None => "none".to_owned(),
            TunnelChecksum::Csum => "csum".to_owned(),
            TunnelChecksum::Remcsum => "remcsum".to_owned(),
            TunnelChecksum::Other(bits) => format!("flags-{bits}"),
        },
    }
}

fn statistics_json(statistics: &Statistics) -> StatisticsJson {
    let Statistics {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        connections_per_second,
        packets_in_per_second,
        packets_out_per_second,
        bytes_in_per_second,
        bytes_out_per_second,
    } = *statistics;
    StatisticsJson {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        connections_per_second,
        packets_in_per_second,
        packets_out_per_second,
        bytes_in_per_second,
        bytes_out_per_second,
    }
}

#[derive(Serialize)]
struct ServicesJson<'a> {
    schema: u32,
    kernel: Option<KernelJson>,
    services: Vec<ServiceJson<'a>>,
}

#[derive(Serialize)]
struct KernelJson {
    ipvs_version: String,
    connection_table_size: u32,
}

#[derive(Serialize)]
struct ServiceJson<'a> {
    protocol: Option<String>,
    address: Option<IpAddr>,
    port: Option<u16>,
    fwmark: Option<u32>,
    family: String,
    scheduler: &'a str,
    flags: Vec<&'static str>,
    one_packet: bool,
    persistence: Option<PersistenceJson<'a>>,
    statistics: StatisticsJson,
    destinations: Vec<DestinationJson>,
}

#[derive(Serialize)]
struct PersistenceJson<'a> {
    timeout_seconds: u32,
    netmask: String,
    engine: Option<&'a str>,
}

#[derive(Serialize)]
struct DestinationJson {
    address: IpAddr,
    port: u16,
    forward: String,
    tunnel: Option<TunnelJson>,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    active_connections: u32,
    inactive_connections: u32,
    persistent_connections: u32,
    statistics: StatisticsJson,
}

#[derive(Serialize)]
struct TunnelJson {
    #[serde(rename = "type")]
    kind: String,
    port: Option<u16>,
    checksum: String,
}

#[derive(Serialize)]
struct StatisticsJson {
    connections: u64,
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    connections_per_second: u64,
    packets_in_per_second: u64,
    packets_out_per_second: u64,
    bytes_in_per_second: u64,
    bytes_out_per_second: u64,
}

#[derive(Serialize)]
struct ConnectionsJson<'a> {
    schema: u32,
    connections: Vec<ConnectionJson<'a>>,
}

#[derive(Serialize)]
struct ConnectionJson<'a> {
    protocol: String,
    client: SocketAddr,
    #[serde(rename = "virtual")]
    virtual_address: SocketAddr,
    destination: SocketAddr,
    state: &'a str,
    expires_seconds: u32,
    persistence: Option<PersistenceDataJson<'a>>,
}

#[derive(Serialize)]
struct PersistenceDataJson<'a> {
    engine: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
struct TimeoutsJson {
    schema: u32,
    timeouts: TimeoutsMembers,
}

#[derive(Serialize)]
struct TimeoutsMembers {
    tcp_seconds: u32,
    tcp_fin_seconds: u32,
    udp_seconds: u32,
}

#[derive(Serialize)]
struct DaemonsJson<'a> {
    schema: u32,
    daemons: Vec<DaemonJson<'a>>,
}

#[derive(Serialize)]
struct DaemonJson<'a> {
    role: String,
    interface: &'a str,
    sync_id: u32,
    max_length_bytes: u16,
    group: Option<IpAddr>,
    port: u16,
    ttl: u8,
}
