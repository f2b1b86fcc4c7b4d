//! Virtual routers (RFC 9568; RFC 3768 for version 2): what an instance is told to be, what happens to it and what it
//! wants done.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{AddressScope, Family, Instant, Vmac, VrrpNotify, VrrpRoute, VrrpRule, VrrpTrack, VrrpTracking};

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VrrpVersion {
    /// RFC 3768: IPv4, adverts in whole seconds, a password in clear text.
    V2,
    /// RFC 9568: IPv4 and IPv6, adverts in hundredths of a second.
    V3,
}

impl fmt::Display for VrrpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "2",
            Self::V3 => "3",
        })
    }
}

/// What the checksum of a version 3 advert over IPv4 covers; every receiver here takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VrrpChecksum {
    /// The addresses of the packet too, as over IPv6 (RFC 5798, 5.2.8); what keepalived wants.
    #[default]
    Rfc5798,
    /// The advert alone (RFC 9568, 5.2.8).
    Rfc9568,
}

/// A password of version 2: eight bytes, the unused ones 0. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VrrpPassword(pub [u8; 8]);

impl fmt::Debug for VrrpPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VrrpPassword(…)")
    }
}

/// An address that is where the master is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VrrpAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// The interface it is put on.
    pub device: String,
    /// How far it is good for.
    pub scope: AddressScope,
    /// The label, at most 15 bytes; IPv4 only.
    pub label: Option<String>,
    /// It moves with the others and is not named in adverts (`virtual_ipaddress_excluded`).
    pub unadvertised: bool,
}

impl fmt::Display for VrrpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.device)
    }
}

impl VrrpAddress {
    /// The entry that it is on its device.
    pub fn entry(&self) -> VrrpEntry {
        VrrpEntry {
            device: self.device.clone(),
            address: self.address,
            prefix: self.prefix,
        }
    }
}

/// An address as it is on a device, for the record of what virtual routers have put there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct VrrpEntry {
    /// The interface.
    pub device: String,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
}

/// How neighbours are told where the addresses are: gratuitous ARP, unsolicited neighbour advertisements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garp {
    /// How often each address is announced in one burst.
    pub repeat: u32,
    /// When a second burst follows the one of a new master; zero for never.
    pub delay: Duration,
    /// How often a master announces its addresses again; zero for never.
    pub refresh: Duration,
    /// How often each address is announced then.
    pub refresh_repeat: u32,
    /// How often each address is announced when another master of lower priority was heard; 0 for not at all.
    pub lower_priority_repeat: u32,
}

impl Default for Garp {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_priority_repeat: 5,
        }
    }
}

/// What one instance of a virtual router is told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpSpec {
    /// Its name, unique in the configuration.
    pub name: String,
    /// The interface that it speaks on.
    pub interface: String,
    /// IPv4 or IPv6: both the adverts and the addresses in them.
    pub family: Family,
    /// The number that all routers of it have in common, 1 to 255, unique on the interface in its family.
    pub virtual_router_id: u8,
    /// Which protocol is spoken.
    pub version: VrrpVersion,
    /// 1 to 255; 255 is the owner of the addresses.
    pub priority: u8,
    /// From one advert to the next: whole seconds up to 255 s in version 2, hundredths up to 40.95 s in version 3.
    pub advert_interval: Duration,
    /// An owner that does not wait for another master first.
    pub starts_as_master: bool,
    /// It takes over from a master of lower priority.
    pub preempt: bool,
    /// How long such a master is left alone first.
    pub preempt_delay: Duration,
    /// How long it listens at least, from its beginning on, before it takes over from such a master: until then its table
    /// may lack connections that the master has.
    pub preempt_after_sync: Duration,
    /// No longer than until it has this share, in per cent, of the connections that the other director has.
    pub preempt_share: Option<u32>,
    /// What the others of version 2 must know.
    pub password: Option<VrrpPassword>,
    /// Its addresses have the virtual MAC, on a device of their own; `None` where they have the interface's.
    pub vmac: Option<Vmac>,
    /// The address that adverts come from; the interface's first where it is not said.
    pub source: Option<IpAddr>,
    /// Whom adverts are sent to, and taken from; the multicast group where nobody is named.
    pub peers: Vec<IpAddr>,
    /// What the checksum covers that is sent.
    pub checksum: VrrpChecksum,
    /// How neighbours are told.
    pub garp: Garp,
    /// The addresses that are where the master is, in the order of the file.
    pub addresses: Vec<VrrpAddress>,
    /// The routes that are where the master is, in the order of the file.
    pub routes: Vec<VrrpRoute>,
    /// The rules that are where the master is, in the order of the file.
    pub rules: Vec<VrrpRule>,
    /// What has to work beside its own interface.
    pub tracks: Vec<VrrpTrack>,
}

impl VrrpSpec {
    /// The addresses that adverts name, in their order.
    pub fn advertised(&self) -> impl Iterator<Item = IpAddr> {
        let advertised = self.addresses.iter().filter(|address| !address.unadvertised);
        advertised.map(|address| address.address)
    }

    /// What an instance with these settings says.
    pub fn advert(&self, priority: u8) -> VrrpAdvert {
        VrrpAdvert {
            version: self.version,
            virtual_router_id: self.virtual_router_id,
            priority,
            interval: self.advert_interval,
            authentication: match self.password {
                Some(password) => VrrpAuthentication::Password(password),
                None => VrrpAuthentication::None,
            },
            addresses: self.advertised().collect(),
        }
    }

    /// Whether it is the owner of its addresses, whose priority nothing changes.
    pub fn is_owner(&self) -> bool {
        self.priority == 255
    }
}

/// Instances that are master all together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpSyncGroup {
    /// Its name, unique in the configuration.
    pub name: String,
    /// The names of its instances, two or more; each is in one group at most.
    pub instances: Vec<String>,
    /// The commands of the group as a whole.
    pub notify: VrrpNotify,
}

/// What an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VrrpState {
    /// It has not begun, or has ended.
    Initialize,
    /// It listens to the master.
    Backup,
    /// It has the addresses.
    Master,
    /// It cannot be master: its interface does not work, or what it tracks does not.
    Fault,
}

impl fmt::Display for VrrpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Fault => "fault",
        })
    }
}

/// Where the traffic for an instance's addresses is served, as far as this host has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VrrpServing {
    /// Here: it is master, or nobody else has said to be.
    Here,
    /// Elsewhere, and here too for a moment: another one has said to be master, and its neighbours do not all know yet; or
    /// the addresses are being taken off.
    Leaving,
    /// Elsewhere, or nowhere: its addresses are not here.
    Elsewhere,
}

/// What one advert says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpAdvert {
    /// In which protocol.
    pub version: VrrpVersion,
    /// Of which virtual router.
    pub virtual_router_id: u8,
    /// The sender's priority; 0 says that it leaves.
    pub priority: u8,
    /// From one advert of the sender to the next.
    pub interval: Duration,
    /// How it says who it is.
    pub authentication: VrrpAuthentication,
    /// The addresses of the virtual router.
    pub addresses: Vec<IpAddr>,
}

/// How the sender of an advert says who it is; version 2 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrrpAuthentication {
    /// Not at all.
    None,
    /// By a password.
    Password(VrrpPassword),
    /// In a way that is not known here: 2 is the authentication header, which RFC 3768 took out.
    Other(u8),
}

/// Something that happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VrrpEvent {
    /// It may begin.
    Started {
        /// Its addresses, or some of them, are on this host: a process before this one has left them.
        addresses_found: bool,
        /// When a process before this one has sent an advert of it as master, by the same clock.
        spoke: Option<Instant>,
    },
    /// Its interface works and this is the address that its adverts come from; again where that changes.
    InterfaceReady(IpAddr),
    /// Its interface is gone, down, without carrier or without an address.
    InterfaceLost,
    /// Its interface works, and the device with the virtual MAC that its addresses are on cannot be had.
    DeviceLost,
    /// An advert of its virtual router came in.
    AdvertReceived {
        /// From where.
        source: IpAddr,
        /// What it says.
        advert: VrrpAdvert,
    },
    /// An advert of it could be sent to nobody.
    Unsent,
    /// Its adverts are sent again.
    SentAgain,
    /// What it tracks adds up to this.
    Tracked(VrrpTracking),
    /// It is told something else to be, with the same name, interface, family and number.
    SpecChanged(Arc<VrrpSpec>),
    /// An address is not where the master had put it.
    AddressMissing,
    /// It has enough of the master's connections ([`VrrpSpec::preempt_share`]).
    Synced,
    /// An operator hands over to another router, if there is one.
    StepDown,
    /// Another process is about to take this one's place and goes on with the role: whoever listens is to wait from now on.
    ProcessReplaced,
    /// The process ends: others take over and lose nothing by it.
    Stopped,
    /// Its group has decided so.
    Group(VrrpGroupOrder),
    /// The time has come that it had asked to be woken at.
    TimeReached,
}

/// What a sync group tells one of its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrrpGroupOrder {
    /// All can be master: be it.
    BecomeMaster,
    /// One has ceased to be master: cease too.
    BecomeBackup,
    /// One cannot be master: neither can you.
    Fault,
    /// All could be master again.
    FaultCleared,
}

/// Why an instance is no longer what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrrpReason {
    /// It has begun.
    Started,
    /// It is the owner of the addresses.
    Owner,
    /// It was master in a process before this one, so short a time ago that nobody else can be.
    Resumed,
    /// No master was heard for the master-down interval.
    MasterSilent,
    /// The master that was heard has a lower priority, and was waited for long enough.
    Preempts,
    /// The master has said that it leaves.
    MasterLeft,
    /// A router of higher priority, or of the same and a higher address, is master.
    HigherPriority {
        /// Its priority.
        priority: u8,
        /// Its address.
        source: IpAddr,
    },
    /// It could not say anything for so long that another one must have taken over.
    Paused,
    /// An operator wanted it.
    StepDown,
    /// Its sync group did the same.
    SyncGroup,
    /// Its interface does not work.
    InterfaceLost,
    /// What it tracks forbids it.
    Tracking,
    /// What had kept it from being master is over.
    Recovered,
    /// The process ends.
    Stopped,
}

impl fmt::Display for VrrpReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("it was started"),
            Self::Owner => f.write_str("it is the owner of the addresses (priority 255)"),
            Self::Resumed => f.write_str("the process before this one was master until just now"),
            Self::MasterSilent => f.write_str("no master was heard"),
            Self::Preempts => f.write_str("the master has a lower priority"),
            Self::MasterLeft => f.write_str("the master has left"),
            Self::HigherPriority { priority, source } => write!(f, "{source} is master with priority {priority}"),
            Self::Paused => f.write_str("this process stood still for too long to be still the master"),
            Self::StepDown => f.write_str("an operator handed over"),
            Self::SyncGroup => f.write_str("its sync group did"),
            Self::InterfaceLost => f.write_str("its interface does not work"),
            Self::Tracking => f.write_str("what it tracks has failed"),
            Self::Recovered => f.write_str("what had kept it from it is over"),
            Self::Stopped => f.write_str("ipvsd is stopped"),
        }
    }
}

/// What an instance wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VrrpAction {
    /// Send an advert of this priority to everybody.
    SendAdvert {
        /// 0 says that it leaves.
        priority: u8,
    },
    /// Be ready to put the addresses on: the master has missed an advert, or leaves.
    Prepare,
    /// Put the addresses on their devices, and the routes and rules behind them into their tables.
    AddAddresses,
    /// Take the routes and rules out of their tables, and then the addresses off their devices.
    RemoveAddresses,
    /// Tell the neighbours of each address so many times.
    Announce {
        /// How many times.
        repeat: u32,
    },
    /// It is something else now.
    Changed(VrrpChange),
    /// An advert was not heeded.
    Refused {
        /// From where it came.
        source: IpAddr,
        /// Why.
        why: VrrpRefusal,
    },
    /// It has ended and nothing of it is left.
    End,
}

/// An instance has become something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VrrpChange {
    /// What it was.
    pub from: VrrpState,
    /// What it is.
    pub to: VrrpState,
    /// Why.
    pub reason: VrrpReason,
}

/// Why an advert was not heeded, or is worth a word although it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VrrpRefusal {
    /// It is of the other version.
    Version,
    /// It has another authentication, or another password.
    Authentication,
    /// It names another interval, which version 2 does not forgive.
    Interval,
    /// It comes from the address that our own come from: looped back, or an address that two hosts have.
    OwnAddress,
    /// It comes from somebody who is none of the peers.
    Stranger,
    /// It names other addresses: heeded, but the virtual routers differ, or two of them have one number.
    OtherAddresses,
    /// It is from an owner and so are we.
    TwoOwners,
}

impl fmt::Display for VrrpRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "another version of the protocol (set the same `version` on all directors)",
            Self::Authentication => "another password or another kind of authentication (see `password`)",
            Self::Interval => "another `advert_int`, which version 2 does not allow",
            Self::OwnAddress => "our own source address (a loop in the network, or two hosts with one address)",
            Self::Stranger => "a sender that is none of the `peers`",
            Self::OtherAddresses => {
                "other virtual addresses: the directors' configurations differ, or another virtual router on this \
                 segment has the same `virtual_router_id`"
            }
            Self::TwoOwners => "priority 255 as here: an address has one owner only",
        })
    }
}
