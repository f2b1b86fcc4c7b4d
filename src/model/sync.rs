//! The kernel's own settings and helpers: sync daemons, connection timeouts, information.

use std::fmt;
use std::net::IpAddr;

/// Which half of connection synchronisation a sync daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncRole {
    /// Sends its connections to the group.
    Master,
    /// Takes connections from the group.
    Backup,
}

impl fmt::Display for SyncRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A sync daemon: a kernel thread that sends or takes connection state over multicast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Which half.
    pub role: SyncRole,
    /// The interface it sends or listens on, at most 15 bytes.
    pub interface: String,
    /// Only daemons of one id hear each other, 0 to 255; a backup of id 0 hears all.
    pub sync_id: u32,
    /// The longest datagram in bytes; 0 lets the kernel take the interface's MTU.
    pub max_length: u16,
    /// The multicast group; `None` lets the kernel take 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The UDP port; 0 lets the kernel take 8848.
    pub port: u16,
    /// The multicast TTL; 0 lets the kernel take 1.
    pub ttl: u8,
}

/// How the sync daemons of this host are to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    /// The interface they use.
    pub interface: String,
    /// The virtual router whose role they follow: a master sends and the others take. Without one both run always.
    pub instance: Option<String>,
    /// As in [`SyncDaemon`], and so are the others.
    pub sync_id: u32,
    /// The longest datagram; 0 for the kernel's choice.
    pub max_length: u16,
    /// The multicast group.
    pub group: Option<IpAddr>,
    /// The port; 0 for the kernel's choice.
    pub port: u16,
    /// The TTL; 0 for the kernel's choice.
    pub ttl: u8,
}

impl SyncSettings {
    /// The daemons that are to run where the virtual router serves here or does not; `None` while that is not known.
    pub fn daemons(&self, serves: Option<bool>) -> Option<Vec<SyncDaemon>> {
        let roles: &[SyncRole] = match (&self.instance, serves) {
            (None, _) => &[SyncRole::Master, SyncRole::Backup],
            (Some(_), Some(true)) => &[SyncRole::Master],
            (Some(_), Some(false)) => &[SyncRole::Backup],
            (Some(_), None) => return None,
        };
        let daemon = |role: &SyncRole| SyncDaemon {
            role: *role,
            interface: self.interface.clone(),
            sync_id: self.sync_id,
            max_length: self.max_length,
            group: self.group,
            port: self.port,
            ttl: self.ttl,
        };
        Some(roles.iter().map(daemon).collect())
    }
}

/// The kernel's connection timeouts in seconds; 0 in a request leaves the kernel's value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp: u32,
    /// TCP connections after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

/// What the kernel tells about its IPVS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelInfo {
    /// The version, one byte each for major, minor and patch: 0x010201 is 1.2.1.
    pub version: u32,
    /// The slots of the connection table.
    pub connection_table_size: u32,
}

impl KernelInfo {
    /// Major, minor and patch.
    pub fn version_parts(self) -> (u8, u8, u8) {
        let [_, major, minor, patch] = self.version.to_be_bytes();
        (major, minor, patch)
    }
}
