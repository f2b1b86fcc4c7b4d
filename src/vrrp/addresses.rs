//! The addresses of virtual routers: put on their devices, announced and taken off as told, in a thread of its own, so
//! that an advert never waits for them; and what this host's interfaces have to do with it, told as it changes. Routes and
//! rules go with the addresses: they come after them and go before them.
//!
//! | file | what |
//! |---|---|
//! | `announcing` | telling neighbours where addresses are |
//! | `facts` | what instances have to know of this host |
//! | `ledger` | what an instance has, and the record of what is there |
//! | `others` | who else answers for an address |
//! | `owners` | who else has an address that an instance gives up |
//! | `routes` | routes and rules |
//! | `said` | what is said once |
//! | `vmac` | the devices with a virtual MAC |

mod announcing;
mod facts;
mod ledger;
mod others;
mod owners;
mod routes;
mod said;
mod vmac;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use self::announcing::Announcements;
pub(super) use self::facts::{Facts, Report};
pub(super) use self::ledger::Belongings;
pub use self::ledger::Ledger;
use self::others::Other;
use self::owners::{Owners, Parting, are_one};
use self::said::Said;
use self::vmac::Devices;
use crate::model::{HostAddress, VirtualAddress, VrrpAddress, VrrpEntry, VrrpSpec};
use crate::net::{AddOptions, Change, HostNetwork, NetError, links};

/// What has stirred is looked at after this long, once for many.
const GATHER: Duration = Duration::from_millis(2);
/// What could not be done is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);
/// How long announcing on one device may keep from everything else: it may take nothing for longer.
const ANNOUNCING: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    /// Virtual servers keep these on their devices, and no others.
    Serve(BTreeSet<VirtualAddress>),
    /// These instances are about to be told to hold this: what passes from one to another stays.
    Expect(BTreeMap<Arc<str>, Belongings>),
    /// These are the instances.
    Watch(Vec<Arc<VrrpSpec>>),
    /// Exactly these addresses of an instance have to be on their devices, these routes and rules in their tables. Where
    /// that is nothing, the number comes back with [`Report::Released`] once no address is here.
    Hold(Arc<str>, Belongings, u64),
    /// Each address of an instance is announced so many times.
    Announce(Arc<str>, u32),
    /// An instance has taken over from a master that fell silent: it is looked whether another host still has its addresses.
    LookForOthers(Arc<str>),
    /// Everything before this has been done.
    Done(oneshot::Sender<()>),
    /// Somebody wants to know that this thread lives.
    Turn,
}

/// Carries out orders until there is nobody to give one. `tell` is told what an instance has to know, first of all and
/// whenever it changes, and when it has let go what it held; `turns` counts what was done.
pub(super) async fn keep(
    mut orders: UnboundedReceiver<Order>,
    ledger: Ledger,
    turns: Arc<AtomicU64>,
    tell: impl Fn(&str, Report),
) {
    let stirred = Arc::new(Notify::new());
    let stirs = Arc::clone(&stirred);
    tokio::spawn(async move {
        loop {
            if let Err(problem) = links::watch_addresses(|| stirs.notify_one()).await {
                warn!("{problem}; it is tried again");
            }
            tokio::time::sleep(AGAIN).await;
            stirs.notify_one();
        }
    });
    let (others, mut found) = unbounded_channel();
    let mut keeper = Keeper {
        others,
        stirred: Arc::clone(&stirred),
        watches_routes: false,
        repaired: None,
        devices: Devices::default(),
        specs: Vec::new(),
        told: BTreeMap::new(),
        held: BTreeMap::new(),
        left: BTreeMap::new(),
        owners: Owners::default(),
        announcements: Announcements::default(),
        ledger,
        said: Said::default(),
        orphaned: false,
        troubled: false,
    };
    let mut retry = Retry::default();
    loop {
        turns.fetch_add(1, Ordering::Relaxed);
        let due = retry.due(keeper.troubled, Instant::now());
        tokio::select! {
            // Each address that is put on stirs: what is ordered is not to wait for a look at all of them each time.
            biased;
            order = orders.recv() => match order {
                Some(order) => {
                    keeper.carry_out(order, &tell).await;
                    continue;
                }
                None => return,
            },
            Some(other) = found.recv() => {
                keeper.meet_other(other, &tell).await;
                continue;
            }
            () = stirred.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        retry = Retry::default();
        keeper.look(&tell).await;
    }
}

/// When what could not be done is tried again: a while after it failed, whatever has been ordered since.
#[derive(Default)]
struct Retry(Option<Instant>);

impl Retry {
    /// When that is, where something is troubled now.
    fn due(&mut self, troubled: bool, now: Instant) -> Option<Instant> {
        self.0 = troubled.then(|| self.0.unwrap_or(now + AGAIN));
        self.0
    }
}

struct Keeper {
    /// Where addresses are told of that were found elsewhere.
    others: UnboundedSender<Other>,
    stirred: Arc<Notify>,
    /// Somebody tells of routes that are taken out; begins with the first of them.
    watches_routes: bool,
    /// When routes and rules were put back last.
    repaired: Option<Instant>,
    devices: Devices,
    specs: Vec<Arc<VrrpSpec>>,
    told: BTreeMap<String, Facts>,
    held: BTreeMap<Arc<str>, Belongings>,
    /// What could not be taken off, by its instance, and what was said of that.
    left: BTreeMap<Arc<str>, Left>,
    owners: Owners,
    announcements: Announcements,
    ledger: Ledger,
    said: Said,
    /// What belongs to nobody any more could not all be taken off.
    orphaned: bool,
    /// Something could not be done, or not be known.
    troubled: bool,
}

/// What is here and should not be.
#[derive(Default)]
struct Left {
    gone: Vec<Belongings>,
    said: String,
    /// The number of the last order.
    order: u64,
}

impl Keeper {
    async fn carry_out(&mut self, order: Order, tell: &impl Fn(&str, Report)) {
        match order {
            Order::Serve(addresses) => self.owners.serve(addresses),
            Order::Expect(next) => self.owners.expect(next),
            Order::Watch(specs) => {
                self.specs = specs;
                self.told.clear();
                let routing = self.specs.iter().any(|spec| Belongings::of(spec).has_routing());
                if routing && !std::mem::replace(&mut self.watches_routes, true) {
                    tokio::spawn(routes::watch(Arc::clone(&self.stirred)));
                }
                self.devices.look_anew();
                self.look(tell).await;
                self.take_off_orphans().await;
            }
            Order::Hold(name, wanted, number) => {
                self.owners.was_told(&name);
                let before = self.held.insert(Arc::clone(&name), wanted.clone()).unwrap_or_default();
                // Of an instance that holds nothing, what a process before this one has left goes as well.
                let known = self.specs.iter().find(|spec| *spec.name == *name);
                let left = known.filter(|_| wanted.is_empty()).map(|spec| Belongings::of(spec));
                let mut still = self.left.remove(&name).unwrap_or_default();
                still.gone.extend([before].into_iter().chain(left));
                still.order = number;
                self.hold_or_try_again(name, still, &wanted, tell).await;
                self.announce_what_is_here().await;
            }
            Order::Announce(name, repeat) => self.announce(&name, repeat).await,
            Order::LookForOthers(name) => self.look_for_others(name),
            Order::Turn => {}
            Order::Done(done) => {
                // Whoever asked has gone.
                let _ = done.send(());
            }
        }
    }

    /// What could not be taken off is on two hosts when another router is master: it is tried again until it is gone.
    async fn hold_or_try_again(
        &mut self,
        name: Arc<str>,
        mut left: Left,
        wanted: &Belongings,
        tell: &impl Fn(&str, Report),
    ) {
        // Routes, rules and devices may take longer; what is sent to the addresses comes here no more.
        let released = || {
            if wanted.is_empty() {
                tell(&name, Report::Released(left.order));
            }
        };
        let why = match self.hold(&name, &left.gone, wanted, released, tell).await {
            Ok(true) => return,
            // Each address, route and rule was told of.
            Ok(false) => String::new(),
            Err(problem) => problem.to_string(),
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

    /// Takes off what a process before this one has put on for an instance that is no longer configured, and tries again
    /// until it is gone.
    async fn take_off_orphans(&mut self) {
        let done = self.try_to_take_off_orphans().await;
        self.orphaned = !matches!(done, Ok(true));
        self.troubled |= self.orphaned;
        self.say_of_host("what former virtual routers have left stays", done.map(drop));
    }

    /// Answers with whether nothing of it is left.
    async fn try_to_take_off_orphans(&mut self) -> Result<bool, NetError> {
        let of_specs: Vec<_> = self.specs.iter().map(|spec| Belongings::of(spec)).collect();
        let orphans = self.ledger.orphans(of_specs.iter().chain(self.held.values()));
        if orphans.is_empty() {
            return Ok(true);
        }
        let network = HostNetwork::connect().await?;
        let routing = Belongings {
            addresses: Vec::new(),
            routes: orphans.routes.into_iter().collect(),
            rules: orphans.rules.into_iter().collect(),
            device: None,
        };
        // Without a route the address can still go.
        let taken = self.take_out(&network, &[routing], &[]).await;
        let (mut gone, mut all_gone) = (Vec::new(), true);
        for entry in orphans.addresses {
            let VrrpEntry {
                device,
                address,
                prefix,
            } = &entry;
            let on = VirtualAddress {
                device: device.clone(),
                address: *address,
            };
            let (result, done) = match self.owners.has(&on) {
                true => (self.hand_over(&network, &on, *prefix).await, "left to a virtual server"),
                false => (network.remove_address_of(&on, *prefix).await, "taken off"),
            };
            match result {
                Ok(change) => {
                    if change == Change::Made {
                        info!(%address, device, "address of a former virtual router {done}");
                    }
                    self.said.orphans.is_over(&entry);
                    gone.push(entry);
                }
                Err(problem) => {
                    all_gone = false;
                    let problem = problem.to_string();
                    if self.said.orphans.is_news(entry.clone(), &problem) {
                        error!(%address, device, "{problem}; it is tried again every second");
                    }
                }
            }
        }
        self.forget(&gone);
        let away = self.take_away(&network, orphans.devices, orphans.settings).await;
        away.and(taken).map(|taken| taken && all_gone)
    }

    fn forget(&mut self, gone: &[VrrpEntry]) {
        self.ledger
            .change(|record| record.addresses.retain(|entry| !gone.contains(entry)));
    }

    /// Answers with whether nothing is here any more that is to be gone; `released` is told when no address is.
    async fn hold(
        &mut self,
        name: &str,
        gone: &[Belongings],
        wanted: &Belongings,
        released: impl FnOnce(),
        tell: &impl Fn(&str, Report),
    ) -> Result<bool, NetError> {
        let network = HostNetwork::connect().await?;
        self.ledger.add(wanted);
        let others = self.held.iter().filter(|(other, _)| &***other != name);
        let others = others.map(|(_, held)| held).chain(self.owners.expected());
        let kept: Vec<_> = others.chain([wanted]).cloned().collect();
        // Without a route the address can still go, and an address is needed before a route.
        let taken = self.take_out(&network, gone, &kept).await;
        let raised = self.raise(&network, name, wanted, tell).await;
        let before: BTreeSet<_> = gone.iter().flat_map(|gone| gone.addresses.iter().cloned()).collect();
        let all_gone = self
            .hold_addresses(&network, &before, wanted, &kept, matches!(raised, Ok(true)))
            .await?;
        if all_gone {
            released();
        }
        let lowered = self.lower(&network, gone, &kept).await?;
        // With a device that takes no address they would lead nowhere.
        if matches!(raised, Ok(true)) {
            self.put_in(&network, wanted).await?;
        }
        let raised = raised?;
        taken.map(|taken| taken && all_gone && lowered && raised)
    }

    async fn hold_addresses(
        &mut self,
        network: &HostNetwork,
        before: &BTreeSet<VrrpAddress>,
        Belongings {
            addresses: wanted,
            device,
            ..
        }: &Belongings,
        kept: &[Belongings],
        raised: bool,
    ) -> Result<bool, NetError> {
        // On a device of ours that is not up, or not as it should be, they would be in nobody's reach.
        let waits = |address: &VrrpAddress| {
            let mut own = device.iter().filter(|_| !raised);
            own.any(|device| device.name == address.device)
        };
        // Whatever else is to be known can wait: until then nobody answers.
        for address in wanted.iter().filter(|address| !waits(address)) {
            let options = AddOptions {
                scope: address.scope,
                label: address.label.clone(),
                prefix: Some(address.prefix),
                // Its network is reached by the interface below, as before.
                unrouted: device.as_ref().is_some_and(|device| device.name == address.device)
                    && !matches!(address.address, IpAddr::V6(address) if address.is_unicast_link_local()),
                ..AddOptions::director()
            };
            let result = network.add_address(&vip(address), &options).await;
            self.announcements.saw(address, result.is_ok());
            // Somebody has taken it off, and neighbours may have asked meanwhile.
            if before.contains(address) && matches!(result, Ok(Change::Made)) {
                self.announcements.owe(address, 1);
            }
            self.note(address, result, "virtual address put on its device");
        }
        let present = network.addresses().await?;
        let is_here = |address: &VrrpAddress| present.iter().any(|held| is(held, address));
        for address in wanted.iter().filter(|address| waits(address)) {
            self.announcements.saw(address, is_here(address));
        }
        let (mut gone, mut all_gone) = (Vec::new(), true);
        for address in before.iter().chain(wanted) {
            let is_own = wanted.iter().any(|wanted| are_one(wanted, address));
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
                if wanted.iter().any(|wanted| is(held, wanted)) || gone.contains(&stale.entry()) {
                    continue;
                }
                let (result, done) = match parting {
                    Parting::IsHandedOver => (
                        self.hand_over(network, &vip(&stale), stale.prefix).await,
                        "virtual address left to a virtual server",
                    ),
                    Parting::Goes | Parting::Stays => (
                        network.remove_address_of(&vip(&stale), stale.prefix).await,
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
        gone.extend(absent.map(VrrpAddress::entry));
        self.forget(&gone);
        Ok(all_gone)
    }
}

fn vip(address: &VrrpAddress) -> VirtualAddress {
    VirtualAddress {
        device: address.device.clone(),
        address: address.address,
    }
}

fn is(held: &HostAddress, address: &VrrpAddress) -> bool {
    is_at(held, address) && held.prefix == address.prefix
}

/// The same address on the same device, with whatever prefix.
fn is_at(held: &HostAddress, address: &VrrpAddress) -> bool {
    held.address == address.address && held.device == address.device
}

/// 192.0.2.`last` on a device, for the tests of this room.
#[cfg(test)]
fn example(last: u8, device: &str, prefix: u8) -> VrrpAddress {
    VrrpAddress {
        address: IpAddr::from([192, 0, 2, last]),
        prefix,
        device: device.to_owned(),
        scope: crate::model::AddressScope::Global,
        label: None,
        unadvertised: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_tried_again_however_often_something_is_ordered() {
        let failed = Instant::now();
        let mut retry = Retry::default();
        assert_eq!(retry.due(false, failed), None);
        for millis in [0, 300, 600, 900, 1200] {
            let order = failed + Duration::from_millis(millis);
            assert_eq!(retry.due(true, order), Some(failed + AGAIN), "{millis} ms later");
        }
        assert_eq!(retry.due(false, failed + AGAIN), None, "it was mended by an order");
        let again = failed + AGAIN * 2;
        assert_eq!(retry.due(true, again), Some(again + AGAIN));
    }
}
