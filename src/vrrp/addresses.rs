//! The addresses of virtual routers: put on their devices, announced and taken off as told, in a thread of its own, so
//! that an advert never waits for them; and what this host's interfaces have to do with it, told as it changes. Routes and
//! rules go with the addresses: they come after them and go before them.
//!
//! | file | what |
//! |---|---|
//! | `announcing` | telling neighbours where addresses are |
//! | `facts` | what instances have to know of this host |
//! | `holding` | what is put on, and what is taken off |
//! | `ledger` | what an instance has, and the record of what is there |
//! | `others` | who else answers for an address |
//! | `owners` | who else has an address that an instance gives up |
//! | `routes` | routes and rules |
//! | `said` | what is said once |
//! | `vmac` | the devices with a virtual MAC |

mod announcing;
mod facts;
mod holding;
mod ledger;
mod others;
mod owners;
mod routes;
mod said;
mod vmac;

use std::collections::{BTreeMap, BTreeSet};
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
use self::holding::{Left, Moves};
pub(super) use self::ledger::Belongings;
pub use self::ledger::Ledger;
use self::others::Other;
use self::owners::Owners;
use self::said::Said;
use self::vmac::Devices;
use crate::model::{HostAddress, Mac, VirtualAddress, VrrpAddress, VrrpEntry, VrrpSpec};
use crate::net::neighbour::Announcer;
use crate::net::{Change, HostNetwork, NetError, links};

/// What has stirred is looked at after this long, once for many.
const GATHER: Duration = Duration::from_millis(2);
/// What could not be done is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);
/// How many batches of orders are taken together, of those that have come in meanwhile.
const AT_ONCE: usize = 256;
/// How long announcing on one device may keep from everything else: it may take nothing for longer.
const ANNOUNCING: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    /// Virtual servers keep these on their devices, and no others.
    Serve(BTreeSet<VirtualAddress>),
    /// These instances are about to be told to hold this: what passes from one to another stays.
    Expect(BTreeMap<Arc<str>, Arc<Belongings>>),
    /// These are the instances.
    Watch(Vec<Arc<VrrpSpec>>),
    /// An instance may soon be told to hold what it has: what it would have to wait for then is done now.
    Prepare(Arc<str>),
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
    mut orders: UnboundedReceiver<Vec<Order>>,
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
        turns,
        network: None,
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
        announcers: BTreeMap::new(),
        seen_as: BTreeMap::new(),
        ledger,
        said: Said::default(),
        orphaned: false,
        troubled: false,
    };
    let mut retry = Retry::default();
    let mut ordered = Vec::new();
    loop {
        keeper.turns.fetch_add(1, Ordering::Relaxed);
        let due = retry.due(keeper.troubled, Instant::now());
        tokio::select! {
            // Each address that is put on stirs: what is ordered is not to wait for a look at all of them each time.
            biased;
            count = orders.recv_many(&mut ordered, AT_ONCE) => match count {
                0 => return,
                _ => {
                    keeper.carry_out(ordered.drain(..).flatten(), &tell).await;
                    continue;
                }
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
    /// Counts what was done, also within what was ordered together.
    turns: Arc<AtomicU64>,
    network: Option<Arc<HostNetwork>>,
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
    held: BTreeMap<Arc<str>, Arc<Belongings>>,
    /// What could not be taken off, by its instance.
    left: BTreeMap<Arc<str>, Left>,
    owners: Owners,
    announcements: Announcements,
    /// Ways to tell the hosts behind each device.
    announcers: BTreeMap<String, Announcer>,
    /// The number and hardware address of each device when it was last seen up.
    seen_as: BTreeMap<String, (u32, Option<Mac>)>,
    ledger: Ledger,
    said: Said,
    /// What belongs to nobody any more could not all be taken off.
    orphaned: bool,
    /// Something could not be done, or not be known.
    troubled: bool,
}

impl Keeper {
    /// The connection to this host's interfaces: one for all, also where there are no more descriptors.
    fn network(&mut self) -> Result<Arc<HostNetwork>, NetError> {
        if let Some(network) = &self.network {
            return Ok(Arc::clone(network));
        }
        let network = Arc::new(HostNetwork::connect()?);
        self.network = Some(Arc::clone(&network));
        Ok(network)
    }

    /// Carries out what was ordered, in this order; what instances hold, where one is ordered after the other, together.
    async fn carry_out(&mut self, orders: impl IntoIterator<Item = Order>, tell: &impl Fn(&str, Report)) {
        let (mut moves, mut suspects, mut silent) = (Moves::new(), Vec::new(), BTreeSet::new());
        for order in orders {
            match order {
                Order::Hold(name, wanted, number) => {
                    if moves.contains_key(&name) {
                        self.make_moves(&mut moves, tell).await;
                    }
                    let of = self.begin_move(&name, wanted, number);
                    moves.insert(name, of);
                }
                Order::Prepare(name) => drop(silent.insert(name)),
                Order::Announce(name, repeat) => self.owe(&name, repeat),
                Order::LookForOthers(name) => suspects.push(name),
                Order::Serve(addresses) => {
                    self.make_moves(&mut moves, tell).await;
                    self.owners.serve(addresses);
                }
                Order::Expect(next) => {
                    self.make_moves(&mut moves, tell).await;
                    self.owners.expect(next);
                }
                Order::Watch(specs) => {
                    self.make_moves(&mut moves, tell).await;
                    self.watch(specs, tell).await;
                }
                Order::Turn => {}
                Order::Done(done) => {
                    self.make_moves(&mut moves, tell).await;
                    // Whoever asked has gone.
                    let _ = done.send(());
                }
            }
        }
        self.make_moves(&mut moves, tell).await;
        self.prepare(&silent);
        self.look_for_others(suspects);
    }

    async fn watch(&mut self, specs: Vec<Arc<VrrpSpec>>, tell: &impl Fn(&str, Report)) {
        self.specs = specs;
        self.told.clear();
        let of_specs: Vec<_> = self.specs.iter().map(|spec| Belongings::of(spec)).collect();
        self.ledger.withdraw(of_specs.iter());
        let routing = of_specs.iter().any(Belongings::has_routing);
        if routing && !std::mem::replace(&mut self.watches_routes, true) {
            tokio::spawn(routes::watch(Arc::clone(&self.stirred)));
        }
        self.devices.look_anew();
        self.look(tell).await;
        self.take_off_orphans();
    }

    /// Takes off what a process before this one has put on for an instance that is no longer configured, and tries again
    /// until it is gone.
    fn take_off_orphans(&mut self) {
        let done = self.try_to_take_off_orphans();
        self.orphaned = !matches!(done, Ok(true));
        self.troubled |= self.orphaned;
        self.say_of_host("what former virtual routers have left stays", done.map(drop));
    }

    /// Answers with whether nothing of it is left.
    fn try_to_take_off_orphans(&mut self) -> Result<bool, NetError> {
        let of_specs: Vec<_> = self.specs.iter().map(|spec| Belongings::of(spec)).collect();
        let orphans = self
            .ledger
            .orphans(of_specs.iter().chain(self.held.values().map(|held| &**held)));
        if orphans.is_empty() {
            return Ok(true);
        }
        let network = self.network()?;
        let routing = Belongings {
            addresses: Vec::new(),
            routes: orphans.routes.into_iter().collect(),
            rules: orphans.rules.into_iter().collect(),
            device: None,
        };
        // Without a route the address can still go.
        let taken = self.take_out(&network, &[Arc::new(routing)], &[]);
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
                true => (self.hand_over(&network, &on, *prefix), "left to a virtual server"),
                false => (network.remove_address_of(&on, *prefix), "taken off"),
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
        let away = self.take_away(&network, orphans.devices, orphans.settings);
        away.and(taken).map(|taken| taken && all_gone)
    }

    fn forget(&mut self, gone: &[VrrpEntry]) {
        if gone.is_empty() {
            return;
        }
        self.ledger
            .change(|record| record.addresses.retain(|entry| !gone.contains(entry)));
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
        address: [192, 0, 2, last].into(),
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
