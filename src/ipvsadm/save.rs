//! A table as the command lines that make it: what `-S` prints and `-R` reads.
//!
//! As in the original thresholds, connection timeouts and sync daemons are not saved, and of the flags of `sh` and
//! `mh` the third is not.

use std::io::Write;
use std::net::SocketAddr;

use crate::listing::{self, Names, Order};
use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, ListedService, Protocol, Scheduler, ServiceFlags, ServiceKey,
    Tunnel, TunnelChecksum, TunnelKind,
};

/// Appends the lines of all services, each followed by those of its destinations.
pub fn save(out: &mut Vec<u8>, services: &[ListedService], names: &Names) {
    let destinations: usize = services.iter().map(|service| service.destinations.len()).sum();
    out.reserve(64 * (services.len() + destinations));
    let mut option = Vec::new();
    for service in listing::sorted_services(services, Order::Sorted) {
        option.clear();
        push_service(&mut option, &service.key, names);
        push_service_line(out, service, &option);
        let protocol = match service.key {
            ServiceKey::Address { protocol, .. } => Some(protocol),
            ServiceKey::Fwmark { .. } => None,
        };
        for found in listing::sorted_destinations(&service.destinations, Order::Sorted) {
            out.extend_from_slice(b"-a ");
            out.extend_from_slice(&option);
            push_destination(out, &found.key, &found.spec, protocol, names);
        }
    }
}

/// Appends the option that names a service.
fn push_service(out: &mut Vec<u8>, key: &ServiceKey, names: &Names) {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            out.extend_from_slice(match protocol {
                Protocol::Tcp => b"-t ".as_slice(),
                Protocol::Udp => b"-u ",
                // A protocol that has no option cannot come from a command line.
                Protocol::Sctp | Protocol::Other(_) => b"--sctp-service ",
            });
            names.push_endpoint(out, SocketAddr::new(*address, *port), Some(*protocol));
        }
        ServiceKey::Fwmark { mark, family } => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "-f {mark}");
            match family {
                Family::Inet => {}
                Family::Inet6 => out.extend_from_slice(b" -6"),
            }
        }
    }
}

fn push_service_line(out: &mut Vec<u8>, service: &ListedService, option: &[u8]) {
    let spec = &service.spec;
    out.extend_from_slice(b"-A ");
    out.extend_from_slice(option);
    let _ = write!(out, " -s {}", spec.scheduler);
    if spec.flags.contains(ServiceFlags::PERSISTENT) {
        let _ = write!(out, " -p {}", spec.persistence_timeout);
        if !spec.netmask.is_host() {
            let _ = write!(out, " -M {}", spec.netmask);
        }
    }
    if let Some(engine) = &spec.persistence_engine {
        let _ = write!(out, " --pe {engine}");
    }
    if spec.flags.contains(ServiceFlags::ONE_PACKET) {
        out.extend_from_slice(b" -o");
    }
    push_flags(out, spec.flags, &spec.scheduler);
    out.push(b'\n');
}

/// Appends the scheduler's flags. Where none of them has a name the original leaves the option without a value, and
/// does not take it back.
fn push_flags(out: &mut Vec<u8>, flags: ServiceFlags, scheduler: &Scheduler) {
    match listing::scheduler_flag_list(flags, scheduler).as_deref() {
        None | Some("") => {}
        Some(names) => {
            let _ = write!(out, " -b {names}");
        }
    }
}

fn push_destination(
    out: &mut Vec<u8>,
    key: &DestinationKey,
    spec: &DestinationSpec,
    protocol: Option<Protocol>,
    names: &Names,
) {
    out.extend_from_slice(b" -r ");
    names.push_endpoint(out, SocketAddr::new(key.address, key.port), protocol);
    let method = match spec.forwarding {
        Forwarding::Nat => "-m",
        Forwarding::Tun(_) => "-i",
        // A destination on this host itself is made by any method.
        Forwarding::Dr | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => "-g",
    };
    let _ = write!(out, " {method} -w {}", spec.weight);
    if let Forwarding::Tun(tunnel) = spec.forwarding {
        push_tunnel(out, tunnel);
    }
    out.push(b'\n');
}

fn push_tunnel(out: &mut Vec<u8>, tunnel: Tunnel) {
    let Tunnel { kind, checksum } = tunnel;
    match kind {
        TunnelKind::Ipip => {
            out.extend_from_slice(b" --tun-type ipip");
            return;
        }
        TunnelKind::Gue { port } => {
            let _ = write!(out, " --tun-type gue --tun-port {port}");
        }
        TunnelKind::Gre => out.extend_from_slice(b" --tun-type gre"),
        // No option makes such a tunnel.
        TunnelKind::Other(_) => return,
    }
    out.extend_from_slice(match checksum {
        TunnelChecksum::None | TunnelChecksum::Other(_) => b" --tun-nocsum".as_slice(),
        TunnelChecksum::Csum => b" --tun-csum",
        TunnelChecksum::Remcsum => b" --tun-remcsum",
    });
}
