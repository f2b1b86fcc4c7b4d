#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod fsm;
mod packet;
mod routers;
mod simulation;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    AddressScope, Family, Garp, Instant, VrrpAddress, VrrpAdvert, VrrpAuthentication, VrrpChecksum, VrrpSpec,
    VrrpVersion,
};

/// A seeded mistake of the state machine; each must be caught by the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// All backups take over in the same instant.
    NoSkew,
    /// Whoever stood still goes on as if nothing had happened.
    SpeaksAfterPause,
    /// Neighbours are not told.
    NoAnnouncement,
    /// The others find out by themselves.
    LeavesSilently,
    /// The addresses are gone before anybody else has them.
    DropsAtOnce,
    /// Of two masters with one priority neither yields.
    EqualsStay,
    /// A master that yields keeps the addresses.
    KeepsAddresses,
    /// What a process before this one has left stays although there is another master.
    KeepsLeftovers,
    /// A master that leaves is waited for as if it had died.
    IgnoresLeaving,
    /// `preempt = false` means nothing.
    AlwaysPreempts,
    /// `preempt = true` means nothing.
    NeverPreempts,
    /// The master's interval is taken for our own.
    KeepsOwnInterval,
}

fn at(millis: u64) -> Instant {
    Instant::after_start(Duration::from_millis(millis))
}

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

/// `VI_1` on `eth0`, number 51, version 3, an advert a second, priority 100, 192.0.2.100.
fn spec() -> VrrpSpec {
    VrrpSpec {
        name: "VI_1".to_owned(),
        interface: "eth0".to_owned(),
        family: Family::Inet,
        virtual_router_id: 51,
        version: VrrpVersion::V3,
        priority: 100,
        advert_interval: Duration::from_secs(1),
        starts_as_master: false,
        preempt: true,
        preempt_delay: Duration::ZERO,
        preempt_after_sync: Duration::ZERO,
        preempt_share: None,
        password: None,
        vmac: None,
        source: None,
        peers: Vec::new(),
        checksum: VrrpChecksum::Rfc5798,
        garp: Garp::default(),
        addresses: vec![VrrpAddress {
            address: host(100),
            prefix: 32,
            device: "eth0".to_owned(),
            scope: AddressScope::Global,
            label: None,
            unadvertised: false,
        }],
        routes: Vec::new(),
        rules: Vec::new(),
        tracks: Vec::new(),
    }
}

fn spec_with(change: impl FnOnce(&mut VrrpSpec)) -> Arc<VrrpSpec> {
    let mut spec = spec();
    change(&mut spec);
    Arc::new(spec)
}
