//! What happens to the director.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Config, OperatorOrder, Owned, PeerVerdict, ProbeResult, Snapshot, StepOutcome, Table, VirtualAddress, VrrpServing,
};

/// Names one running probe, so that its result finds its way back. Never used twice in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// Names one held connection. Never used twice in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u64);

/// How a held connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// There was none: the connection did not come about, or the server does not let itself be held.
    NotOpened,
    /// The server has closed it (FIN): it closes idle connections, or its process has ended.
    Closed,
    /// It was reset, or the server's host no longer answers.
    Broken,
}

/// A program that runs on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundProcess {
    /// Its name as the kernel has it (`/proc/PID/comm`), at most 15 bytes.
    pub name: String,
    /// Its number.
    pub pid: i32,
    /// It is in this network namespace, or nobody could tell.
    pub here: bool,
}

/// Something that happened, told to the director in the past tense.
#[derive(Debug, Clone)]
pub enum Event {
    /// A configuration was read and found good: the first one, or one that replaces it.
    ConfigLoaded(Arc<Config>),
    /// The record of what an earlier ipvsd wrote was read; comes before the first [`Event::TableRead`].
    OwnedLoaded(Owned),
    /// What the daemon before knew was read; comes before the first [`Event::ConfigLoaded`], which takes over what still
    /// fits.
    StateLoaded {
        /// What it knew.
        snapshot: Box<Snapshot>,
        /// How long ago that was.
        age: Duration,
    },
    /// The kernel's table was read.
    TableRead(Table),
    /// The kernel's table was read, and is the one that was `known`.
    TableUnchanged,
    /// The kernel's table could not be read; the text says why and what to do.
    TableReadFailed(String),
    /// The kernel has answered the steps of one [`super::Action::ApplySteps`].
    StepsApplied(Vec<StepOutcome>),
    /// These addresses are off their devices now, as [`super::Action::HoldAddresses`] asked.
    AddressesReleased(BTreeSet<VirtualAddress>),
    /// A probe has ended.
    ProbeFinished {
        /// Which.
        probe: ProbeId,
        /// What it found.
        result: ProbeResult,
    },
    /// The addresses on this host's interfaces; told before the first configuration and whenever they change, where a
    /// pool's `ha_suspend` or `program_when` wants to know.
    AddressesFound(BTreeSet<IpAddr>),
    /// An operator has asked for something; what it is about was found to be there
    /// ([`crate::director::Director::check_order`]).
    Operator(OperatorOrder),
    /// A held connection has ended, or has never been one.
    HoldEnded {
        /// Which.
        hold: HoldId,
        /// How.
        end: HoldEnd,
    },
    /// An interface of this host has started to work, or has ceased to: up and with a carrier, or not.
    LinkChanged {
        /// Its name.
        device: String,
        /// Whether it works now.
        works: bool,
    },
    /// The traffic of a virtual router is served here, still here, or elsewhere; told once it is known and whenever it
    /// changes.
    RoleChanged {
        /// Its name.
        router: String,
        /// Where.
        serving: VrrpServing,
    },
    /// The other director has told all verdicts that it has of its own.
    PeerTold(Vec<PeerVerdict>),
    /// Those of the programs run that [`super::Action::FindProcesses`] had asked for.
    ProcessesFound(Vec<FoundProcess>),
    /// The time has come that the director had asked to be woken at.
    TimeReached,
}
