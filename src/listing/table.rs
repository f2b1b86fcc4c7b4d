//! Services and destinations as a table, in each of the original's views.

use std::net::SocketAddr;

use super::number::{pad, push_counter, push_left, push_number, push_number_left, push_number_right, push_signed};
use super::{Names, Order, sorted_destinations, sorted_services};
use crate::model::{
    Family, Forwarding, KernelInfo, ListedDestination, ListedService, Protocol, Scheduler, ServiceFlags, ServiceKey,
    Tunnel, TunnelChecksum, TunnelKind,
};

/// What the columns of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Forwarding, weight and connections.
    #[default]
    Plain,
    /// Traffic since the counters were last zeroed (`--stats`).
    Statistics {
        /// Never scale a figure (`--exact`).
        exact: bool,
    },
    /// Traffic a second (`--rate`).
    Rates {
        /// Never scale a figure (`--exact`).
        exact: bool,
    },
    /// Connection thresholds (`--thresholds`).
    Thresholds,
    /// Persistence templates (`--persistent-conn`).
    PersistentConnections,
    /// As plain, with the tunnel (`--tun-info`).
    TunnelInfo,
}

impl View {
    /// Whether forwarding, weight, active and inactive connections are all that is shown of a destination.
    ///
    /// `/proc/net/ip_vs` has those, and is read at a fraction of what a netlink dump of destinations costs.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Plain)
    }
}

/// Appends the title and the services with their destinations.
///
/// With `info` the kernel's line comes first, as in a listing of all services; a listing of one has none.
pub fn render_services(
    out: &mut Vec<u8>,
    info: Option<KernelInfo>,
    services: &[ListedService],
    view: View,
    order: Order,
    names: &Names,
) {
    let destinations: usize = services.iter().map(|service| service.destinations.len()).sum();
    out.reserve(200 + 100 * (services.len() + destinations));
    if let Some(info) = info {
        push_info(out, info);
    }
    push_title(out, view);
    for service in sorted_services(services, order) {
        push_service(out, service, view, names);
        let protocol = match service.key {
            ServiceKey::Address { protocol, .. } => Some(protocol),
            ServiceKey::Fwmark { .. } => None,
        };
        for destination in sorted_destinations(&service.destinations, order) {
            push_destination(out, destination, protocol, view, names);
        }
    }
}

fn push_info(out: &mut Vec<u8>, info: KernelInfo) {
    let (major, minor, patch) = info.version_parts();
    out.extend_from_slice(b"IP Virtual Server version ");
    push_number(out, u64::from(major));
    out.push(b'.');
    push_number(out, u64::from(minor));
    out.push(b'.');
    push_number(out, u64::from(patch));
    out.extend_from_slice(b" (size=");
    push_signed(out, info.connection_table_size.cast_signed());
    out.extend_from_slice(b")\n");
}

fn push_title(out: &mut Vec<u8>, view: View) {
    let title: &[&str] = match view {
        View::Plain => &[
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        ],
        View::Statistics { .. } => &[
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
            "  -> RemoteAddress:Port",
        ],
        View::Rates { .. } => &[
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
            "  -> RemoteAddress:Port",
        ],
        View::Thresholds => &[
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ",
            "  -> RemoteAddress:Port",
        ],
        View::PersistentConnections => &[
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn ",
            "  -> RemoteAddress:Port",
        ],
        View::TunnelInfo => &[
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn",
        ],
    };
    for line in title {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

fn push_service(out: &mut Vec<u8>, service: &ListedService, view: View, names: &Names) {
    let start = out.len();
    push_service_name(out, &service.key, names);
    let statistics = &service.statistics;
    let (figures, exact) = match view {
        View::Statistics { exact } => (statistics_of(statistics), exact),
        View::Rates { exact } => (rates_of(statistics), exact),
        View::Plain | View::Thresholds | View::PersistentConnections | View::TunnelInfo => {
            push_service_spec(out, service);
            out.push(b'\n');
            return;
        }
    };
    pad(out, start, 33);
    for figure in figures {
        push_counter(out, figure, exact);
    }
    out.push(b'\n');
}

/// Appends the service's first column, without padding.
fn push_service_name(out: &mut Vec<u8>, key: &ServiceKey, names: &Names) {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            out.extend_from_slice(match protocol {
                Protocol::Tcp => b"TCP  ",
                Protocol::Udp => b"UDP  ",
                Protocol::Sctp => b"SCTP ",
                Protocol::Other(_) => b"?    ",
            });
            names.push_cell(out, SocketAddr::new(*address, *port), Some(*protocol));
        }
        ServiceKey::Fwmark { mark, family } => {
            out.extend_from_slice(b"FWM  ");
            push_signed(out, mark.cast_signed());
            match family {
                Family::Inet => {}
                Family::Inet6 => out.extend_from_slice(b" IPv6"),
            }
        }
    }
}

/// Appends scheduler, flags and persistence, each after a space.
fn push_service_spec(out: &mut Vec<u8>, service: &ListedService) {
    let spec = &service.spec;
    out.push(b' ');
    out.extend_from_slice(spec.scheduler.name().as_bytes());
    push_scheduler_flags(out, spec.flags, &spec.scheduler);
    if spec.flags.contains(ServiceFlags::PERSISTENT) {
        out.extend_from_slice(b" persistent ");
        push_number(out, u64::from(spec.persistence_timeout));
        if !spec.netmask.is_host() {
            out.extend_from_slice(b" mask ");
            out.extend_from_slice(spec.netmask.to_string().as_bytes());
        }
        if let Some(engine) = &spec.persistence_engine {
            out.extend_from_slice(b" pe ");
            out.extend_from_slice(engine.as_bytes());
        }
    }
    if spec.flags.contains(ServiceFlags::ONE_PACKET) {
        out.extend_from_slice(b" ops");
    }
}

/// Appends the scheduler's flags in brackets, which may be empty.
fn push_scheduler_flags(out: &mut Vec<u8>, flags: ServiceFlags, scheduler: &Scheduler) {
    if let Some(names) = scheduler_flag_list(flags, scheduler) {
        out.extend_from_slice(b" (");
        out.extend_from_slice(names.as_bytes());
        out.push(b')');
    }
}

/// The scheduler's flags by name with commas between them; `None` where there are none.
///
/// The hashing schedulers' third flag has no name in the original, so that the text may be empty.
pub fn scheduler_flag_list(flags: ServiceFlags, scheduler: &Scheduler) -> Option<String> {
    const ALL: [ServiceFlags; 3] = [
        ServiceFlags::SCHEDULER_1,
        ServiceFlags::SCHEDULER_2,
        ServiceFlags::SCHEDULER_3,
    ];
    if !ALL.into_iter().any(|flag| flags.contains(flag)) {
        return None;
    }
    let names: &[&str] = match scheduler {
        Scheduler::Sh => &["sh-fallback", "sh-port"],
        Scheduler::Mh => &["mh-fallback", "mh-port"],
        Scheduler::Rr
        | Scheduler::Wrr
        | Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Lblc
        | Scheduler::Lblcr
        | Scheduler::Dh
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Fo
        | Scheduler::Ovf
        | Scheduler::Twos
        | Scheduler::None
        | Scheduler::Other(_) => &["flag-1", "flag-2", "flag-3"],
    };
    let given: Vec<&str> = ALL
        .into_iter()
        .zip(names)
        .filter_map(|(flag, name)| flags.contains(flag).then_some(*name))
        .collect();
    Some(given.join(","))
}

fn push_destination(
    out: &mut Vec<u8>,
    destination: &ListedDestination,
    protocol: Option<Protocol>,
    view: View,
    names: &Names,
) {
    let ListedDestination {
        key,
        spec,
        active_connections,
        inactive_connections,
        persistent_connections,
        statistics,
    } = destination;
    out.extend_from_slice(b"  -> ");
    let start = out.len();
    names.push_cell(out, SocketAddr::new(key.address, key.port), protocol);
    pad(out, start, 28);
    match view {
        View::Plain => {
            push_columns(out, &[Cell::Text(forwarding_name(spec.forwarding), 7)]);
            push_columns(out, &[Cell::Number(spec.weight, 6)]);
        }
        View::TunnelInfo => {
            push_columns(out, &[Cell::Text(forwarding_name(spec.forwarding), 7)]);
            out.push(b' ');
            let start = out.len();
            push_tunnel(out, spec.forwarding);
            pad(out, start, 13);
            push_columns(out, &[Cell::Number(spec.weight, 6)]);
        }
        View::Thresholds => push_columns(
            out,
            &[
                Cell::Number(spec.upper_threshold, 10),
                Cell::Number(spec.lower_threshold, 10),
            ],
        ),
        View::PersistentConnections => push_columns(
            out,
            &[Cell::Number(spec.weight, 9), Cell::Number(*persistent_connections, 11)],
        ),
        View::Statistics { exact } => {
            for figure in statistics_of(statistics) {
                push_counter(out, figure, exact);
            }
        }
        View::Rates { exact } => {
            // The original scales only the last two of a destination's rates, and all five of a service's.
            let [connections, packets_in, packets_out, bytes_in, bytes_out] = rates_of(statistics);
            for figure in [connections, packets_in, packets_out] {
                out.push(b' ');
                push_number_right(out, figure, 8);
            }
            push_counter(out, bytes_in, exact);
            push_counter(out, bytes_out, exact);
        }
    }
    match view {
        View::Plain | View::TunnelInfo | View::Thresholds | View::PersistentConnections => push_columns(
            out,
            &[
                Cell::Number(*active_connections, 10),
                Cell::Number(*inactive_connections, 10),
            ],
        ),
        View::Statistics { .. } | View::Rates { .. } => {}
    }
    out.push(b'\n');
}

/// A column with its width.
enum Cell {
    Text(&'static str, usize),
    Number(u32, usize),
}

/// Appends columns, each after a space and left-aligned.
fn push_columns(out: &mut Vec<u8>, cells: &[Cell]) {
    for cell in cells {
        out.push(b' ');
        match cell {
            Cell::Text(text, width) => push_left(out, text, *width),
            Cell::Number(number, width) => push_number_left(out, u64::from(*number), *width),
        }
    }
}

/// The forwarding method; the original has no word for a bypass and the methods without a name.
fn forwarding_name(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Nat => "Masq",
        Forwarding::Local => "Local",
        Forwarding::Tun(_) => "Tunnel",
        Forwarding::Dr => "Route",
        Forwarding::Bypass | Forwarding::Other(_) => "(null)",
    }
}

/// Appends the tunnel: `ipip`, `gue:6080:-c`, `gre:+c`, or `n/a` for the other forwarding methods.
fn push_tunnel(out: &mut Vec<u8>, forwarding: Forwarding) {
    let Forwarding::Tun(Tunnel { kind, checksum }) = forwarding else {
        out.extend_from_slice(b"n/a");
        return;
    };
    match kind {
        TunnelKind::Ipip => {
            out.extend_from_slice(b"ipip");
            return;
        }
        TunnelKind::Gue { port } => {
            out.extend_from_slice(b"gue:");
            push_number(out, u64::from(port));
        }
        TunnelKind::Gre => out.extend_from_slice(b"gre"),
        TunnelKind::Other(_) => {
            out.extend_from_slice(b"?");
            return;
        }
    }
    out.extend_from_slice(match checksum {
        TunnelChecksum::None => b":-c".as_slice(),
        TunnelChecksum::Csum => b":+c",
        TunnelChecksum::Remcsum => b":r+c",
        TunnelChecksum::Other(_) => b":?",
    });
}

fn statistics_of(statistics: &crate::model::Statistics) -> [u64; 5] {
    [
        statistics.connections,
        statistics.packets_in,
        statistics.packets_out,
        statistics.bytes_in,
        statistics.bytes_out,
    ]
}

fn rates_of(statistics: &crate::model::Statistics) -> [u64; 5] {
    [
        statistics.connections_per_second,
        statistics.packets_in_per_second,
        statistics.packets_out_per_second,
        statistics.bytes_in_per_second,
        statistics.bytes_out_per_second,
    ]
}
