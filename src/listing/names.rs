//! Names of hosts and ports: which ones a listing needs, and the ones that were found.
//!
//! A listing that is not numeric is done in two steps: [`NeededNames`] tells what to look up, the caller does it (each
//! address once, in its own time), and [`Names`] brings the answers back. What has no name is shown as a number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::number::{push_address, push_number};
use crate::model::{ConnectionEntry, ListedService, Protocol, ServiceKey};

/// The longest text of an address and port, in bytes; the original cuts there.
const LONGEST_ENDPOINT: usize = 59;

/// Host and service names to show instead of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The names of hosts by address.
    pub hosts: BTreeMap<IpAddr, String>,
    /// The names of ports by protocol and port.
    pub ports: BTreeMap<(Protocol, u16), String>,
}

impl Names {
    /// No names at all: a numeric listing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Appends an address and port, `192.0.2.1:80` or `[2001:db8::1]:80`, at most 59 bytes of it.
    pub fn push_endpoint(&self, out: &mut Vec<u8>, endpoint: SocketAddr, protocol: Option<Protocol>) {
        let start = out.len();
        let address = endpoint.ip();
        if address.is_ipv6() {
            out.push(b'[');
        }
        match self.hosts.get(&address) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => push_address(out, address),
        }
        if address.is_ipv6() {
            out.push(b']');
        }
        out.push(b':');
        match protocol.and_then(|protocol| self.ports.get(&(protocol, endpoint.port()))) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => push_number(out, u64::from(endpoint.port())),
        }
        out.truncate(start + LONGEST_ENDPOINT);
    }

    /// As [`Names::push_endpoint`], and IPv4 cut further to 28 bytes, the width of a table's column.
    pub(super) fn push_cell(&self, out: &mut Vec<u8>, endpoint: SocketAddr, protocol: Option<Protocol>) {
        let start = out.len();
        self.push_endpoint(out, endpoint, protocol);
        if endpoint.is_ipv4() {
            out.truncate(start + 28);
        }
    }
}

/// The names that a listing shows if they can be found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeededNames {
    /// The addresses, each once.
    pub hosts: BTreeSet<IpAddr>,
    /// The ports with their protocol, each once; only TCP, UDP and SCTP ports have names.
    pub ports: BTreeSet<(Protocol, u16)>,
}

impl NeededNames {
    /// What a table of services needs. The ports of a firewall mark's destinations have no protocol and no name.
    pub fn of_services(services: &[ListedService]) -> Self {
        let mut needed = Self::default();
        for service in services {
            let protocol = match service.key {
                ServiceKey::Address {
                    protocol,
                    address,
                    port,
                } => {
                    needed.add(SocketAddr::new(address, port), Some(protocol));
                    Some(protocol)
                }
                ServiceKey::Fwmark { .. } => None,
            };
            for destination in &service.destinations {
                needed.add(SocketAddr::new(destination.key.address, destination.key.port), protocol);
            }
        }
        needed
    }

    /// What a table of connections needs.
    pub fn of_connections(connections: &[ConnectionEntry]) -> Self {
        let mut needed = Self::default();
        for connection in connections {
            for endpoint in [connection.client, connection.virtual_address, connection.destination] {
                needed.add(endpoint, Some(connection.protocol));
            }
        }
        needed
    }

    fn add(&mut self, endpoint: SocketAddr, protocol: Option<Protocol>) {
        self.hosts.insert(endpoint.ip());
        match protocol {
            Some(protocol @ (Protocol::Tcp | Protocol::Udp | Protocol::Sctp)) => {
                self.ports.insert((protocol, endpoint.port()));
            }
            Some(Protocol::Other(_)) | None => {}
        }
    }
}
