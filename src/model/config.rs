//! A validated configuration: what the file means, defaults filled in, ranges written out.
//!
//! The `config` room makes these values; everybody else only reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{
    CheckSpec, DestinationKey, DestinationSpec, Forwarding, Notify, NotifySettings, PeerSettings, PoolPolicy,
    ServiceKey, ServiceSpec, SyncSettings, Timeouts, VrrpNotify, VrrpSpec, VrrpSyncGroup,
};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The virtual servers in the order of the file.
    pub virtual_servers: Vec<VirtualServer>,
    /// The kernel's IPVS settings.
    pub ipvs: IpvsSettings,
    /// What ipvsd may set on its own host.
    pub host: HostSettings,
    /// Who may talk to the running daemon.
    pub control: ControlSettings,
    /// How the kernel's table is watched.
    pub reconcile: ReconcileSettings,
    /// What a reload may do, and when there is one.
    pub reload: ReloadSettings,
    /// The virtual routers in the order of the file.
    pub vrrp_instances: Vec<Arc<VrrpSpec>>,
    /// Which of them move together.
    pub vrrp_sync_groups: Vec<VrrpSyncGroup>,
    /// The commands of the virtual routers that have any, by their names.
    pub vrrp_notify: BTreeMap<String, VrrpNotify>,
    /// The addresses of virtual routers that take nothing but what IPVS forwards.
    pub refused_addresses: BTreeSet<IpAddr>,
    /// Who is told of what happens.
    pub notify: NotifySettings,
    /// The other director, where there is one to talk to.
    pub peer: Option<PeerSettings>,
}

impl Config {
    /// How many real servers all pools have together.
    pub fn real_server_count(&self) -> usize {
        self.virtual_servers
            .iter()
            .map(|server| server.real_servers.len())
            .sum()
    }
}

/// One pool of real servers behind one or more services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualServer {
    /// Its name, unique in the configuration.
    pub name: String,
    /// The services that share the pool: one an address and port of `address`, or one firewall mark.
    pub services: Vec<ServiceKey>,
    /// The settings of each of them.
    pub spec: ServiceSpec,
    /// The pool in the order of the file.
    pub real_servers: Vec<RealServer>,
    /// Who serves when nobody of the pool can.
    pub sorry_server: Option<SorryServer>,
    /// A failed server stays in the table with weight 0 instead of being removed.
    pub inhibit_on_failure: bool,
    /// How the pool behaves as a whole.
    pub policy: PoolPolicy,
    /// The virtual addresses that ipvsd itself puts on a device and keeps there.
    pub device: Option<String>,
    /// The virtual router where that is master its services are programmed, and nowhere else; `None` for everywhere.
    pub program_with: Option<String>,
    /// What holds for a real server that says nothing else.
    pub defaults: ServerDefaults,
}

/// What holds for a real server of a virtual server that says nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDefaults {
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// Its checks, without their ports.
    pub checks: Vec<CheckSpec>,
    /// Its commands.
    pub notify: Notify,
}

impl Default for ServerDefaults {
    fn default() -> Self {
        Self {
            forwarding: Forwarding::Nat,
            checks: Vec::new(),
            notify: Notify::default(),
        }
    }
}

impl VirtualServer {
    /// The virtual addresses ipvsd keeps on [`VirtualServer::device`], each once.
    pub fn virtual_addresses(&self) -> Vec<VirtualAddress> {
        let Some(device) = &self.device else { return Vec::new() };
        let mut addresses: Vec<_> = self
            .services
            .iter()
            .filter_map(ServiceKey::address)
            .map(|address| VirtualAddress {
                device: device.clone(),
                address,
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The tier that serves where all is well: the lowest that any real server is in, whether it is disabled or not.
    pub fn first_tier(&self) -> u32 {
        let tiers = self.real_servers.iter().map(|server| server.tier);
        tiers.min().unwrap_or(0)
    }

    /// The addresses of the real servers and the sorry server, and how packets reach them.
    pub fn members(&self) -> impl Iterator<Item = (IpAddr, Forwarding)> {
        let pool = self
            .real_servers
            .iter()
            .map(|real| (real.address, real.spec.forwarding));
        let sorry = self
            .sorry_server
            .iter()
            .map(|sorry| (sorry.address, sorry.spec.forwarding));
        pool.chain(sorry)
    }
}

/// A virtual address on a device of this host, always as /32 or /128.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct VirtualAddress {
    /// The interface, at most 15 bytes.
    pub device: String,
    /// The address.
    pub address: IpAddr,
}

/// One member of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` for the port of each service.
    pub port: Option<u16>,
    /// Forwarding, weight and thresholds while it is up.
    pub spec: DestinationSpec,
    /// 0 serves first; servers of a higher tier serve only while nobody of the lower ones can.
    pub tier: u32,
    /// Configured but kept out of the pool, as if it were not there.
    pub disabled: bool,
    /// Run when it comes up or goes down.
    pub notify: Notify,
    /// Its checks; all must pass. None at all: taken as up. Servers that are checked alike share them.
    pub checks: Vec<Arc<CheckSpec>>,
}

impl RealServer {
    /// The destination that this server is in one service of its pool.
    pub fn destination(&self, service: &ServiceKey) -> DestinationKey {
        DestinationKey::new(self.address, self.port.or(service.port()).unwrap_or(0))
    }
}

/// Who serves when nobody of the pool can: a last tier of one, without checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SorryServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` for the port of each service.
    pub port: Option<u16>,
    /// Forwarding and weight (1) while it serves.
    pub spec: DestinationSpec,
    /// It stays in the table with weight 0 while it does not serve (`sorry_server_inhibit`).
    pub inhibit: bool,
}

impl SorryServer {
    /// The destination that this server is in one service of its pool.
    pub fn destination(&self, service: &ServiceKey) -> DestinationKey {
        DestinationKey::new(self.address, self.port.or(service.port()).unwrap_or(0))
    }
}

/// Settings of the kernel's IPVS; what is not set here is left as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpvsSettings {
    /// Connection timeouts.
    pub timeouts: TimeoutSettings,
    /// `net.ipv4.vs.*` settings in the order of the file.
    pub sysctls: Vec<Sysctl>,
    /// The daemon's end takes out what is ours.
    pub flush_on_stop: bool,
    /// How connections are sent to the other directors, where they are.
    pub sync: Option<SyncSettings>,
}

/// Connection timeouts in seconds; `None` leaves the kernel's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeoutSettings {
    /// Established TCP connections.
    pub tcp: Option<u32>,
    /// TCP connections after a FIN.
    pub tcp_fin: Option<u32>,
    /// UDP.
    pub udp: Option<u32>,
}

impl TimeoutSettings {
    /// What to ask of the kernel; `None` where nothing is set.
    pub fn wanted(&self) -> Option<Timeouts> {
        let timeouts = Timeouts {
            tcp: self.tcp.unwrap_or(0),
            tcp_fin: self.tcp_fin.unwrap_or(0),
            udp: self.udp.unwrap_or(0),
        };
        (timeouts != Timeouts::default()).then_some(timeouts)
    }
}

/// One kernel setting, by its dotted name as sysctl(8) takes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl {
    /// For example `net.ipv4.vs.conntrack`.
    pub name: String,
    /// The text that is written.
    pub value: String,
}

/// The name of a setting of one interface; a dot in the interface's name is written `/`, as sysctl(8) takes it.
pub fn interface_sysctl(family: &str, device: &str, key: &str) -> String {
    format!("net.{family}.conf.{}.{key}", device.replace('.', "/"))
}

/// What ipvsd may set on its own host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostSettings {
    /// Set what the forwarding modes in use need (`ip_forward`, `send_redirects`), instead of only saying so.
    pub prepare: bool,
}

/// How the kernel's table is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconcileSettings {
    /// How often it is read and compared while nothing happens, 500 ms to 1 h.
    pub interval: Duration,
}

impl Default for ReconcileSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
        }
    }
}

/// What a reload may do, and when there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadSettings {
    /// One that would take away more per cent than this of all services or of all their real servers is refused, 0 to
    /// 100.
    pub remove_limit: u32,
    /// The configuration is read again whenever one of its files changes.
    pub on_change: bool,
}

impl Default for ReloadSettings {
    fn default() -> Self {
        Self {
            remove_limit: 50,
            on_change: false,
        }
    }
}

/// Who may talk to the running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControlSettings {
    /// The group whose members may ask everything, beside root.
    pub group: Option<String>,
    /// The group whose members may look.
    pub read_group: Option<String>,
}
