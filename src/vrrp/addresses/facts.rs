//! What the instances have to know of this host: looked at when something has stirred, and told where it has changed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::holding::{Move, Moves};
use super::ledger::Belongings;
use super::{Keeper, is, is_at, vmac};
use crate::model::{AddressScope, Family, HostAddress, Mac, VrrpAddress, VrrpSpec, VrrpTracked};
use crate::net::{NetError, Survey};

/// What an instance has to know of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::vrrp) struct Facts {
    /// Where its adverts come from, and its interface's number; `None` where the interface does not work.
    pub(in crate::vrrp) source: Option<(IpAddr, u32)>,
    /// The device with the virtual MAC that its adverts go out by, and that one's number, while it is up.
    pub(in crate::vrrp) voice: Option<(String, u32)>,
    /// Why it cannot have such a device. Then it cannot be master, whatever works.
    pub(in crate::vrrp) obstacle: Option<String>,
    /// Addresses, routes or rules of it are here, or its device is up.
    pub(in crate::vrrp) found: bool,
    /// Addresses that it holds are not here.
    pub(in crate::vrrp) missing: bool,
    /// The interfaces that it tracks and that do not work.
    pub(in crate::vrrp) lost: BTreeSet<String>,
}

/// What the virtual routers are told by the keeper of their addresses.
#[derive(Debug)]
pub(in crate::vrrp) enum Report {
    /// An instance has to know this of the host.
    Facts(Facts),
    /// No address that an instance was told to let go is here any more, by the number of that order.
    Released(u64),
    /// Another host answers for addresses that an instance has taken over from it.
    Elsewhere {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The interface behind which that host is.
        device: String,
        /// Its Ethernet address.
        mac: Mac,
    },
}

impl Keeper {
    /// Looks at this host and tells what has changed.
    pub(super) async fn look(&mut self, tell: &impl Fn(&str, Report)) {
        self.troubled = false;
        let left = std::mem::take(&mut self.left).into_iter().map(|(name, left)| {
            let wanted = self.held.get(&name).cloned().unwrap_or_default();
            (name, Move { wanted, left })
        });
        let mut again: Moves = left.collect();
        self.make_moves(&mut again, tell).await;
        if self.orphaned {
            self.take_off_orphans();
        }
        let devices = self.look_at_devices();
        self.say_of_host("virtual routers do not know this host's devices", devices);
        let (seen, problem) = apart(self.network().and_then(|network| network.survey()));
        self.say_of_host("virtual routers do not know this host's interfaces", problem);
        let Some(Survey {
            links,
            working,
            addresses,
        }) = seen
        else {
            return;
        };
        self.prepare_to_announce(&links);
        let (routing, problem) = apart(self.look_at_routes());
        self.say_of_host("virtual routers do not know this host's routes", problem);
        let routing = routing.unwrap_or_default();
        let moving: BTreeSet<IpAddr> = self
            .specs
            .iter()
            .flat_map(|spec| &spec.addresses)
            .map(|a| a.address)
            .collect();
        for spec in &self.specs {
            let link = links
                .iter()
                .find(|link| link.name == spec.interface && working.contains(&link.name));
            let obstacle = self.obstacle(spec);
            let source = link.and_then(|link| Some((source_of(spec, &addresses, &moving)?, link.index)));
            let is_here = |address: &VrrpAddress| addresses.iter().any(|held| is(held, address));
            let held = self.held.get(&*spec.name);
            let held = held.map(|held| &*held.addresses).unwrap_or_default();
            for address in held {
                self.announcements.saw(address, is_here(address));
            }
            let found = |address: &VrrpAddress| addresses.iter().any(|held| is_at(held, address));
            let facts = Facts {
                source,
                voice: vmac::voice(spec, &links),
                obstacle,
                found: spec.addresses.iter().any(found)
                    || routing.has_ours(&Belongings::of(spec))
                    || vmac::is_up(spec, &links, &self.ledger.record.devices),
                missing: !held.iter().all(is_here),
                lost: spec
                    .tracks
                    .iter()
                    .filter_map(|track| match &track.what {
                        VrrpTracked::Interface(name) if !working.contains(name) => Some(name.clone()),
                        VrrpTracked::Interface(_)
                        | VrrpTracked::Quorum(_)
                        | VrrpTracked::Tier(_)
                        | VrrpTracked::Script(_)
                        | VrrpTracked::Process(_)
                        | VrrpTracked::File(_)
                        | VrrpTracked::Program => None,
                    })
                    .collect(),
            };
            self.troubled |= facts.missing;
            if facts.missing || self.told.get(&spec.name) != Some(&facts) {
                tell(&spec.name, Report::Facts(facts.clone()));
                self.told.insert(spec.name.clone(), facts);
            }
        }
        self.announcements.try_again();
        self.announce_what_is_here().await;
    }
}

/// What is known, and why it is not.
fn apart<T>(result: Result<T, NetError>) -> (Option<T>, Result<(), NetError>) {
    match result {
        Ok(known) => (Some(known), Ok(())),
        Err(problem) => (None, Err(problem)),
    }
}

/// The address that adverts come from: the one that is configured, if it is here, else the interface's first that does
/// not move; over IPv6 a link-local one (RFC 9568, 5.1.2.2).
fn source_of(spec: &VrrpSpec, addresses: &[HostAddress], moving: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    if let Some(source) = spec.source {
        let here = addresses.iter().find(|held| held.address == source && !held.duplicate);
        return here.map(|held| held.address);
    }
    let own = addresses.iter().filter(|held| {
        held.device == spec.interface
            && Family::of(held.address) == spec.family
            && !held.duplicate
            && !moving.contains(&held.address)
    });
    let fits = |held: &&HostAddress| match held.address {
        IpAddr::V4(_) => held.scope != AddressScope::Host,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    own.clone()
        .find(fits)
        .or_else(|| own.clone().next())
        .map(|held| held.address)
}
