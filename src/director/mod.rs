//! The brain of `ipvsd run`: `handle(event, now)` answers with what is to be done.
//!
//! Pure. It owns the pools, the checks' machines and timers, what the kernel's table is believed to hold, and the
//! list of what ipvsd owns. It never reads a clock, never touches the kernel and never logs: it asks for it.
//!
//! Only one batch of steps is under way at any time. Verdicts that come in meanwhile are gathered and written with
//! the next one, so five thousand failures in one second are two batches, not five thousand.
//!
//! | file | what |
//! |---|---|
//! | `operator` | what an operator asks for |
//! | `pause` | nothing is written for a while |
//! | `rehearsal` | what a reload would do |
//! | `taking_over` | a new configuration |
//! | `reading` | when the kernel's table is read, and what is taken from it |
//! | `writing` | what differs from the table, step by step, and what becomes of the steps |
//! | `review` | looking at pools anew, and what is told of them |
//! | `commands` | the user's commands that are run when something changes |
//! | `drains` | destinations that leave slowly |
//! | `limit` | how much one reload may take away |
//! | `foreign` | destinations in our services that are somebody else's |
//! | `drift` | what somebody else changes, and how patiently it is put right |
//! | `roles` | pools that are programmed only where their virtual router is master |
//! | `suspended` | pools whose checks wait until this host holds an address of theirs |
//! | `chance` | numbers at random, from a seed |
//! | `checks` | the checks that run, each once however many pools go by it |
//! | `hold` | connections held open, and probes at once where one breaks |
//! | `judge` | what a probe has found, and what follows |
//! | `deviations` | servers that operators have added and removed |
//! | `desired` | the table that the configuration and the states of all servers ask for |
//! | `pools` | the members of every pool, and what survives a new configuration |
//! | `trouble` | trouble of this host: nothing is judged by it, and afterwards all are probed again, without a burst |
//! | `paths` | services of ipvsd's own, by which probes go the way that clients' packets go |
//! | `schedule` | which probe is due when |
//! | `hearsay` | what the other director has found, where this one has found nothing yet |
//! | `history` | the last results of every check, the last events of all |
//! | `view` | what is shown of all this over the control socket |
//! | `events` | what has happened, for those who ask there |
//! | `snapshot` | what is known, for the next process, and what the one before knew |
//! | `select` | which servers an operator means |
//! | `wishlist` | what operators want of servers, who said so and when, for a restart to keep |
//! | `words` | what operators have said on either of two directors, and which word counts |

mod chance;
mod checks;
mod commands;
mod desired;
mod deviations;
mod drains;
mod drift;
mod events;
mod foreign;
mod hearsay;
mod history;
mod hold;
mod judge;
mod limit;
mod operator;
mod paths;
mod pause;
mod pools;
mod reading;
mod rehearsal;
mod review;
mod roles;
mod schedule;
mod select;
mod snapshot;
mod suspended;
mod taking_over;
mod trouble;
mod view;
mod wishlist;
mod words;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Action, Config, DestinationKey, Event, Instant, Owned, ServiceKey, Step, Table, Transition, VirtualAddress,
    VirtualServer, VrrpServing,
};
use crate::plan;
use chance::Chance;
use drains::Drains;
use drift::Drifts;
use pause::Pause;
use pools::Pools;
use schedule::Schedule;
use snapshot::Recalled;
use trouble::Troubles;

pub use deviations::{candidate, deviate, have};
pub use events::{RESUMED, drift, event_of, paused, quarrel};
pub use foreign::{OurDestinations, keep_foreign, our_destinations};
pub use history::{EVENTS, EventRing};
pub use limit::{Overreach, overreach};
pub use rehearsal::Rehearsal;
pub use snapshot::Notes;
pub use view::Now;
pub use wishlist::{Wish, Wishlist};
pub use words::{Heard, Words};

pub use desired::{may_have_thresholds, services_with_thresholds, table_without_checks};
pub use paths::is_path_service;

/// How the director behaves; not part of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a step that the kernel refused for good is not tried again.
    pub refused_for: Duration,
    /// How long to wait before the table is read again after trouble that may pass.
    pub retry_after: Duration,
    /// Steps are only shown, so nothing is put on record, no address is held and nothing is read back.
    pub observe: bool,
    /// What all chance (`jitter`, `warmup`) comes from.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refused_for: Duration::from_secs(30),
            retry_after: Duration::from_secs(1),
            observe: false,
            seed: 0,
        }
    }
}

/// How soon a check looks again whether the table has its way to the server.
const UNTIL_OPEN: Duration = Duration::from_millis(100);

/// How many probes are started before those that have ended are looked at. Where more are due, the next wake is at once:
/// a batch that grows with what it is late costs ever more sockets, and whoever is in it is judged late.
const STARTED_IN_A_ROW: usize = 32;

/// What the kernel is doing for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// Nothing.
    Idle,
    /// Reading the table.
    Reading,
    /// Writing steps.
    Writing,
}

/// The director. A copy of it is for rehearsals: it goes on from the same state, and nobody carries out what it wants.
#[derive(Debug, Clone)]
pub struct Director {
    settings: Settings,
    chance: Chance,
    config: Arc<Config>,
    /// The services whose destinations have to be read in full.
    details: Arc<BTreeSet<ServiceKey>>,
    pools: Pools,
    schedule: Schedule,
    /// The kernel's table as last read, and written since.
    believed: Option<Arc<Table>>,
    kernel: Kernel,
    /// Pools that have to be looked at, and whose destinations may have to change then.
    dirty: BTreeSet<usize>,
    drains: Drains,
    drifts: Drifts,
    /// Pools that are to go back to their best tier.
    returns: BTreeSet<usize>,
    /// Pools whose destinations are to be put in anew, in order.
    rebuild: BTreeSet<usize>,
    /// The addresses on this host, where they are known.
    addresses: Option<BTreeSet<IpAddr>>,
    /// The whole table has to be compared, not only the dirty pools.
    compare_all: bool,
    /// The last comparison of the whole table found nothing to do, and nothing was refused since.
    settled: bool,
    /// An answer of the kernel was lost, so `believed` is a guess and a difference is no drift.
    uncertain: bool,
    /// Comparisons in a row that had to be written; a table that somebody else keeps changing is not fought at once.
    writes_in_a_row: u32,
    /// Why the table could not be read the last time; told once.
    unreadable: Option<String>,
    owned: Owned,
    /// The destinations that are ours, of the services where others' stay.
    ours: OurDestinations,
    /// The step on a service or destination that the kernel refused for good, and until when it is left alone.
    refused: BTreeMap<(ServiceKey, Option<DestinationKey>), (Step, Instant)>,
    next_read: Option<Instant>,
    troubles: Troubles,
    ready_announced: bool,
    /// What the process before knew, until the first configuration.
    recalled: Option<Recalled>,
    /// It was taken over, and the table was not held against it yet.
    to_be_doubted: bool,
    /// Raised by all that is worth writing down soon.
    revision: u64,
    pause: Option<Pause>,
    /// Where the traffic of each virtual router is served, as far as that is known.
    roles: BTreeMap<String, VrrpServing>,
    /// When the other director's word stops counting for some check.
    ageing: Option<Instant>,
}

impl Director {
    /// A director without a configuration; it does nothing until [`Event::ConfigLoaded`].
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            chance: Chance::new(settings.seed),
            config: Arc::default(),
            details: Arc::default(),
            pools: Pools::default(),
            schedule: Schedule::default(),
            believed: None,
            kernel: Kernel::Idle,
            dirty: BTreeSet::new(),
            drains: Drains::default(),
            drifts: Drifts::default(),
            returns: BTreeSet::new(),
            rebuild: BTreeSet::new(),
            addresses: None,
            compare_all: false,
            settled: false,
            uncertain: false,
            writes_in_a_row: 0,
            unreadable: None,
            owned: Owned::default(),
            ours: OurDestinations::new(),
            refused: BTreeMap::new(),
            next_read: None,
            troubles: Troubles::default(),
            ready_announced: false,
            recalled: None,
            to_be_doubted: false,
            revision: 0,
            pause: None,
            roles: BTreeMap::new(),
            ageing: None,
        }
    }

    /// When [`Event::TimeReached`] is wanted next.
    pub fn next_wake(&self) -> Option<Instant> {
        let read = if self.kernel == Kernel::Idle {
            self.next_read
        } else {
            None
        };
        let pools = self.pools.next_wake().into_iter().chain(self.drains.next());
        let pools = pools
            .chain(self.pause.map(|pause| pause.next()))
            .chain(self.next_ageing());
        self.schedule.next_due().into_iter().chain(read).chain(pools).min()
    }

    /// Takes an event in; answers with what is to be done, in this order; what is to be told comes last.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::OwnedLoaded(owned) => self.owned = owned,
            Event::StateLoaded { snapshot, age } => self.recalled = Some(Recalled::new(*snapshot, age, now)),
            Event::ConfigLoaded(config) => self.load(config, now, &mut actions),
            Event::TableRead(table) => self.look(table, now, &mut actions),
            Event::TableUnchanged => self.look_at_the_same(now, &mut actions),
            Event::TableReadFailed(message) => {
                self.kernel = Kernel::Idle;
                self.next_read = Some(now + self.settings.retry_after);
                if self.unreadable.as_ref() != Some(&message) {
                    self.unreadable = Some(message.clone());
                    actions.push(Action::Report(Transition::TableUnreadable { message }));
                }
            }
            Event::AddressesReleased(released) => {
                self.owned.addresses.retain(|address| !released.contains(address));
                actions.push(Action::RecordOwned(self.owned.clone()));
            }
            Event::StepsApplied(outcomes) => self.absorb(outcomes, now, &mut actions),
            Event::ProbeFinished { probe, result } => self.judge(probe, result, now, &mut actions),
            Event::AddressesFound(addresses) => self.addresses_found(addresses, now, &mut actions),
            Event::Operator(order) => self.obey(order, now, &mut actions),
            Event::HoldEnded { hold, end } => self.hold_ended(hold, end, now, &mut actions),
            Event::LinkChanged { device, works } => self.link_changed(device, works, now, &mut actions),
            Event::RoleChanged { router, serving } => self.role_changed(router, serving, &mut actions),
            Event::ProcessesFound(found) => self.processes_found(&found, now, &mut actions),
            Event::PeerTold(verdicts) => self.hear_verdicts(verdicts, now, &mut actions),
            Event::TimeReached => self.time_reached(now, &mut actions),
        }
        self.write(now, &mut actions);
        // Whoever reads the log can wait, traffic cannot; where nothing is written the cause comes first.
        if !self.settings.observe {
            actions.sort_by_key(|action| matches!(action, Action::Report(_)));
        }
        actions
    }

    /// How often this host was at fault, by the name of its trouble; counted since the start, for metrics.
    pub fn excused_probes(&self) -> &BTreeMap<&'static str, u64> {
        &self.troubles.excused
    }

    /// Whether the kernel's table could be read the last time, and takes what is written: not while something that it
    /// refused for good waits to be tried again.
    pub fn can_program(&self) -> bool {
        self.unreadable.is_none() && self.refused.is_empty()
    }

    /// What ipvsd owns.
    pub fn owned(&self) -> &Owned {
        &self.owned
    }

    /// The steps that take everything of ours out of a table, and nothing else.
    pub fn removals(&self, table: &Table) -> Vec<Step> {
        plan::removals(&Table::default(), table, &self.owned.services).collect()
    }

    /// The states of all members of all pools, for a report.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    fn time_reached(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.spread_what_is_late(now, actions);
        for _ in 0..STARTED_IN_A_ROW {
            let Some((check, due)) = self.schedule.pop_due(now) else {
                break;
            };
            if let Some(interval) = self.suspended_interval(check) {
                self.schedule.set(check, now + interval);
                continue;
            }
            let written = self.believed.as_deref().filter(|_| !self.settings.observe);
            if !self.pools.checks().is_open(check, written) {
                // Nothing is written where it is only observed: it will never be.
                if !self.settings.observe {
                    self.schedule.set(check, now + UNTIL_OPEN);
                }
                continue;
            }
            actions.extend(self.pools.checks_mut().start_probe(check, due, now));
        }
        self.let_hearsay_age(now, actions);
        self.dirty.extend(self.pools.woken(now));
        // What drains belongs to services here and there, and this is rare.
        self.compare_all |= self.drains.came_due(now);
        self.refused.retain(|_, (_, until)| *until > now);
        self.mind_pause(now, actions);
        self.read_if_due(now, actions);
    }

    /// Whether there is something to compare that has to wait until the table has been read.
    pub fn waits_for_a_look(&self) -> bool {
        self.kernel == Kernel::Reading && self.pause.is_none() && (self.compare_all || !self.dirty.is_empty())
    }

    /// The addresses that have to be on this host's devices.
    fn wanted_addresses(&self) -> BTreeSet<VirtualAddress> {
        let servers = self.config.virtual_servers.iter();
        let configured = servers.flat_map(VirtualServer::virtual_addresses);
        configured.chain(self.drains.addresses()).collect()
    }

    /// The addresses that virtual routers put on devices and take off: one that was ours is theirs where it lies.
    fn moving_addresses(&self) -> BTreeSet<VirtualAddress> {
        let held = self.config.vrrp_instances.iter().flat_map(|spec| &spec.addresses);
        held.map(|held| VirtualAddress {
            device: held.device.clone(),
            address: held.address,
        })
        .collect()
    }

    fn ask_for_addresses(&self, actions: &mut Vec<Action>) {
        let hold = self.wanted_addresses();
        let release = &(&self.owned.addresses - &hold) - &self.moving_addresses();
        if !hold.is_empty() || !release.is_empty() {
            actions.push(Action::HoldAddresses { hold, release });
        }
    }

    fn announce_ready(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.ready_announced, true) {
            actions.push(Action::AnnounceReady);
        }
    }
}

#[cfg(test)]
mod tests;
