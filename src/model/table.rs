//! Snapshots of the kernel's tables: what is wanted or found, and what is shown with its figures.

use std::collections::{BTreeMap, BTreeSet};

use super::{DestinationKey, DestinationSpec, ServiceKey, ServiceSpec};

/// Services with their destinations: what is wanted in a kernel, or what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The services by key.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Destinations of weight 0 that had no connection any more when the table was read; empty in what is wanted.
    pub idle: BTreeSet<(ServiceKey, DestinationKey)>,
}

impl Table {
    /// How many destinations all services have together.
    pub fn destination_count(&self) -> usize {
        self.services.values().map(|service| service.destinations.len()).sum()
    }
}

/// One service in a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The service's settings.
    pub spec: ServiceSpec,
    /// Its destinations by key.
    pub destinations: BTreeMap<DestinationKey, DestinationSpec>,
}

/// One service as a listing shows it, with its figures, destinations in the order the kernel gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedService {
    /// The service.
    pub key: ServiceKey,
    /// Its settings.
    pub spec: ServiceSpec,
    /// Its traffic.
    pub statistics: Statistics,
    /// Its destinations.
    pub destinations: Vec<ListedDestination>,
}

/// One destination as a listing shows it, with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDestination {
    /// The destination.
    pub key: DestinationKey,
    /// Its settings.
    pub spec: DestinationSpec,
    /// Connections in an active state (for TCP: established).
    pub active_connections: u32,
    /// All other connections.
    pub inactive_connections: u32,
    /// Persistence templates that point here.
    pub persistent_connections: u32,
    /// Its traffic.
    pub statistics: Statistics,
}

/// Traffic counters and rates. The kernel renews both every two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; 0 where they do not pass the director (DR, TUN).
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Connections a second.
    pub connections_per_second: u64,
    /// Packets a second from clients.
    pub packets_in_per_second: u64,
    /// Packets a second to clients.
    pub packets_out_per_second: u64,
    /// Bytes a second from clients.
    pub bytes_in_per_second: u64,
    /// Bytes a second to clients.
    pub bytes_out_per_second: u64,
}
