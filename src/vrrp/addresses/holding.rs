//! Putting on what instances are to have, and taking off what they have no more. What was ordered together is done
//! together: first all that is put on, and neighbours told of it, then one look at what is there, then all addresses that
//! go. Routes and rules go before the addresses of their instance, and only hold up what needs some as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::error;

use super::ledger::Belongings;
use super::owners::{Parting, are_one};
use super::{Keeper, Report, is, is_at, vip};
use crate::model::{HostAddress, VrrpAddress, VrrpEntry};
use crate::net::neighbour::Announcer;
use crate::net::{AddOptions, Change, HostNetwork, NetError};

/// What is here and should not be.
#[derive(Default)]
pub(super) struct Left {
    gone: Vec<Arc<Belongings>>,
    /// What was said of what could not be taken off.
    said: String,
    /// The number of the last order.
    order: u64,
}

/// What one instance is to have, and what may be here that it has no more.
pub(super) struct Move {
    pub(super) wanted: Arc<Belongings>,
    pub(super) left: Left,
}

impl Move {
    /// It takes addresses that need nothing but their device.
    fn is_plain(&self) -> bool {
        let is_plain = |of: &Belongings| of.device.is_none() && !of.has_routing();
        !self.wanted.is_empty() && is_plain(&self.wanted) && self.left.gone.iter().all(|gone| is_plain(gone))
    }
}

/// What is to be done together, by the names of the instances.
pub(super) type Moves = BTreeMap<Arc<str>, Move>;

impl Keeper {
    /// Puts on record what instances may soon be told to hold, so that they do not wait for it then.
    pub(super) fn prepare(&mut self, names: &BTreeSet<Arc<str>>) {
        if names.is_empty() {
            return;
        }
        let specs = self.specs.iter().filter(|spec| names.contains(&*spec.name));
        let wanted: Vec<_> = specs.map(|spec| Belongings::of(spec)).collect();
        self.ledger.prepare(wanted.iter());
    }

    /// Takes an order in: from here on the instance holds this.
    pub(super) fn begin_move(&mut self, name: &Arc<str>, wanted: Belongings, order: u64) -> Move {
        self.owners.was_told(name);
        let wanted = Arc::new(wanted);
        let before = self.held.insert(Arc::clone(name), Arc::clone(&wanted));
        // Of an instance that holds nothing, what a process before this one has left goes as well.
        let known = self.specs.iter().find(|spec| *spec.name == **name);
        let former = known.filter(|_| wanted.is_empty());
        let mut left = self.left.remove(name).unwrap_or_default();
        left.gone.extend(before);
        left.gone.extend(former.map(|spec| Arc::new(Belongings::of(spec))));
        left.order = order;
        Move { wanted, left }
    }

    /// Does what was ordered so far, and announces what is to be. What could not be taken off is on two hosts when another
    /// router is master: it is tried again until it is gone.
    pub(super) async fn make_moves(&mut self, moves: &mut Moves, tell: &impl Fn(&str, Report)) {
        let moves = std::mem::take(moves);
        if moves.is_empty() {
            return self.announce_what_is_here().await;
        }
        let results = match self.network() {
            Ok(network) => self.try_to_move(&network, &moves, tell).await,
            Err(problem) => Err(problem),
        };
        let mut results = results.map_err(|problem| problem.to_string());
        for (name, Move { wanted, mut left }) in moves {
            let why = match &mut results {
                Ok(results) => match results.remove(&name) {
                    Some(Ok(true)) | None => continue,
                    // Each address, route and rule was told of.
                    Some(Ok(false)) => String::new(),
                    Some(Err(problem)) => problem.to_string(),
                },
                Err(problem) => problem.clone(),
            };
            self.troubled = true;
            if !why.is_empty() && left.said != why {
                let stay = if wanted.is_empty() {
                    "; what it had stays here"
                } else {
                    ""
                };
                error!(instance = &*name, "{why}{stay}, and it is tried again every second");
                left.said = why;
            }
            self.left.insert(name, left);
        }
    }

    /// Answers of each instance with whether nothing is here any more that is to be gone.
    async fn try_to_move(
        &mut self,
        network: &HostNetwork,
        moves: &Moves,
        tell: &impl Fn(&str, Report),
    ) -> Result<BTreeMap<Arc<str>, Result<bool, NetError>>, NetError> {
        self.ledger.add(moves.values().map(|of| &*of.wanted));
        let kept: Vec<_> = self.held.values().chain(self.owners.expected()).cloned().collect();
        let (mut put, mut added) = (BTreeMap::new(), Vec::new());
        // Whatever else is to be known or said can wait: until neighbours know, nobody answers.
        let (plain, others): (Vec<_>, Vec<_>) = moves.iter().partition(|(_, of)| of.is_plain());
        for (name, of) in plain {
            let result = self.put_on(network, name, of, &kept, &mut added, tell);
            put.insert(name, result);
        }
        self.announce_what_is_here().await;
        // Devices, routes and rules take their time: for one of these others do not wait.
        let (takers, leavers): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, of)| !of.wanted.is_empty());
        for (name, of) in takers.into_iter().chain(leavers) {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let result = self.put_on(network, name, of, &kept, &mut added, tell);
            put.insert(name, result);
            self.announce_what_is_here().await;
        }
        for (address, result) in added {
            self.note(address, result, "virtual address put on its device");
        }
        let present = network.addresses()?;
        let (mut results, mut gone) = (BTreeMap::new(), Vec::new());
        for (name, of) in moves {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let put = put.remove(name).unwrap_or(Ok((true, true)));
            let can_take = matches!(put, Ok((_, true)));
            let all_gone = self.take_off(network, of, &kept, &present, can_take, &mut gone);
            if all_gone && of.wanted.is_empty() {
                // Routes, rules and devices may take longer; what is sent to the addresses comes here no more.
                tell(name, Report::Released(of.left.order));
            }
            let lowered = self.lower(network, &of.left.gone, &kept);
            let result = lowered.and_then(|lowered| put.map(|(taken, raised)| taken && raised && all_gone && lowered));
            results.insert(Arc::clone(name), result);
        }
        self.forget(&gone);
        Ok(results)
    }

    /// Puts on what an instance is to have, after the routes and rules that it has no more have gone. Answers with whether
    /// these have, and whether its device could take the addresses; what became of each is in `added`.
    fn put_on<'m>(
        &mut self,
        network: &HostNetwork,
        name: &str,
        Move { wanted, left }: &'m Move,
        kept: &[Arc<Belongings>],
        added: &mut Vec<(&'m VrrpAddress, Result<Change, NetError>)>,
        tell: &impl Fn(&str, Report),
    ) -> Result<(bool, bool), NetError> {
        // Without a route the address can still go, and an address is needed before a route.
        let taken = self.take_out(network, &left.gone, kept);
        let raised = self.raise(network, name, wanted, tell);
        let can_take = matches!(raised, Ok(true));
        for address in &wanted.addresses {
            if waits(address, wanted, can_take) {
                continue;
            }
            let is_on_own = wanted.device.as_ref().is_some_and(|own| own.name == address.device);
            let options = AddOptions {
                scope: address.scope,
                label: address.label.clone(),
                prefix: Some(address.prefix),
                // Its network is reached by the interface below, as before.
                unrouted: is_on_own
                    && !matches!(address.address, IpAddr::V6(address) if address.is_unicast_link_local()),
                ..AddOptions::director()
            };
            let result = self.add(network, address, &options);
            self.announcements.saw(address, result.is_ok());
            // Somebody has taken it off, and neighbours may have asked meanwhile.
            let had = left.gone.iter().any(|gone| gone.addresses.contains(address));
            if had && matches!(result, Ok(Change::Made)) {
                self.announcements.owe(address, 1);
            }
            added.push((address, result));
        }
        // With a device that takes no address they would lead nowhere.
        if can_take {
            self.put_in(network, wanted)?;
        }
        let raised = raised?;
        taken.map(|taken| (taken, raised))
    }

    /// Puts an address on its device, by the number that this is known by: nobody answers while it is asked for.
    fn add(&self, network: &HostNetwork, address: &VrrpAddress, options: &AddOptions) -> Result<Change, NetError> {
        let vip = vip(address);
        match self.announcers.get(&address.device).and_then(Announcer::index) {
            Some(index) => network.add_address_to(index, &vip, options),
            None => network.add_address(&vip, options),
        }
    }

    /// Takes off the addresses that an instance has no more; answers with whether none is here any more, and adds those that
    /// are not to `forgotten`.
    fn take_off(
        &mut self,
        network: &HostNetwork,
        Move { wanted, left }: &Move,
        kept: &[Arc<Belongings>],
        present: &[HostAddress],
        can_take: bool,
        forgotten: &mut Vec<VrrpEntry>,
    ) -> bool {
        let before: BTreeSet<_> = left.gone.iter().flat_map(|gone| &gone.addresses).collect();
        let wanted_addresses = &wanted.addresses;
        let is_here = |address: &VrrpAddress| present.iter().any(|held| is(held, address));
        for address in wanted_addresses
            .iter()
            .filter(|address| waits(address, wanted, can_take))
        {
            self.announcements.saw(address, is_here(address));
        }
        let (mut gone, mut all_gone) = (Vec::new(), true);
        for address in before.iter().copied().chain(wanted_addresses) {
            let is_own = wanted_addresses.iter().any(|wanted| are_one(wanted, address));
            let parting = match is_own {
                true => Parting::Goes,
                false => self.owners.parting(address, kept),
            };
            if parting == Parting::Stays {
                continue;
            }
            // The same address with another prefix is from another time: of a `device`, or of another configuration.
            for held in present.iter().filter(|held| is_at(held, address)) {
                let stale = VrrpAddress {
                    prefix: held.prefix,
                    ..address.clone()
                };
                if wanted_addresses.iter().any(|wanted| is(held, wanted)) || gone.contains(&stale.entry()) {
                    continue;
                }
                let (result, done) = match parting {
                    Parting::IsHandedOver => (
                        self.hand_over(network, &vip(&stale), stale.prefix),
                        "virtual address left to a virtual server",
                    ),
                    Parting::Goes | Parting::Stays => (
                        network.remove_address_of(&vip(&stale), stale.prefix),
                        "virtual address taken off",
                    ),
                };
                match &result {
                    Ok(_) => gone.push(stale.entry()),
                    Err(_) => all_gone = false,
                }
                self.note(&stale, result, done);
            }
        }
        // What somebody else has taken off is not ours any more, either.
        let is_kept = |address: &VrrpAddress| kept.iter().any(|kept| kept.addresses.contains(address));
        let absent = before.iter().filter(|address| !is_kept(address) && !is_here(address));
        forgotten.extend(gone);
        forgotten.extend(absent.map(|address| address.entry()));
        all_gone
    }
}

/// On a device of its own that is not up, or not as it should be, an address would be in nobody's reach.
fn waits(address: &VrrpAddress, of: &Belongings, can_take: bool) -> bool {
    !can_take && of.device.as_ref().is_some_and(|own| own.name == address.device)
}
