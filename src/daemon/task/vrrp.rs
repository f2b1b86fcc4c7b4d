//! The virtual routers: their thread is started with the first of them, told of every configuration, and asked what they
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout_at;
use tracing::{error, info, warn};

use super::tracks::Watched;
use super::{Message, Shell};
use crate::daemon::packet_filter;
use crate::daemon::record::Record;
use crate::daemon::sync_daemons;
use crate::daemon::vrrp::{VrrpFiles, Writer};
use crate::model::control::{EventKind, EventRecord, Level, Refused, Trouble, VrrpStatus};
use crate::model::{
    Config, Event, Instant, UnixTime, VirtualServer, VrrpChange, VrrpDevice, VrrpFinding, VrrpNotify, VrrpReason,
    VrrpRecord, VrrpServing, VrrpSpec, VrrpState, VrrpTracked,
};
use crate::vrrp::task::{self, Handle, Ledger, News, Spoken};
use crate::vrrp::turns::{Stuck, Turns};

/// How long the thread may take to say when each master has spoken last.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a clean end may take in all where nobody takes over: three adverts of the slowest kind that is usual, and
/// some. The service manager waits for half as long again (`conf/systemd`).
const LIMIT: Duration = Duration::from_secs(30);

/// What the loop knows of virtual routers.
pub(super) struct Routers {
    pub(super) thread: Option<Handle>,
    /// What they leave for the next process.
    files: VrrpFiles,
    /// The addresses that they have put on devices, or are about to.
    held: BTreeSet<IpAddr>,
    /// How often each of the threads had looked around.
    turns: Turns,
    /// Since when each is what it is.
    since: BTreeMap<String, UnixTime>,
    /// What is looked at for them.
    pub(super) watched: Watched,
    /// Whether the kernel can be programmed, as they were told, and since when it can again.
    pub(super) programs: (bool, Option<Instant>),
    /// Where each serves, as far as that is known.
    pub(super) serving: BTreeMap<String, VrrpServing>,
    /// The commands of each, also of those that still end.
    pub(super) notify: BTreeMap<String, VrrpNotify>,
}

impl Routers {
    pub(super) fn beside(record: &Record) -> Self {
        Self {
            thread: None,
            turns: Turns::default(),
            files: VrrpFiles::beside(record),
            held: BTreeSet::new(),
            since: BTreeMap::new(),
            watched: Watched::default(),
            programs: (true, None),
            serving: BTreeMap::new(),
            notify: BTreeMap::new(),
        }
    }

    /// One of their threads that hangs; none where there is none. To be asked every few seconds.
    pub(super) fn stuck(&mut self, now: Instant) -> Option<Stuck> {
        let turns = self.thread.as_ref()?.turns();
        self.turns.stuck(turns, now)
    }
}

fn addresses(record: &VrrpRecord) -> BTreeSet<IpAddr> {
    record.addresses.iter().map(|entry| entry.address).collect()
}

impl Shell {
    /// Tells the virtual routers of a configuration.
    pub(super) fn configure_routers(&mut self, config: &Config) {
        let (specs, groups) = (config.vrrp_instances.clone(), config.vrrp_sync_groups.clone());
        let writer = match self.upgraded {
            Some(_) => Writer::ThisProcess,
            None => Writer::Unknown,
        };
        let left = match self.routers.thread {
            Some(_) => VrrpRecord::default(),
            None => self.routers.files.left(writer),
        };
        let nothing = specs.is_empty() && left.is_empty() && self.routers.thread.is_none();
        if self.options.observe || nothing {
            return;
        }
        let mut spoken = Spoken::new();
        if self.routers.thread.is_none() {
            let files = self.routers.files.clone();
            self.routers.held = addresses(&left);
            let held = self.sender.clone();
            let mut said = None;
            let ledger = Ledger::new(left, move |record| {
                let written = files.put_down(record, &mut said);
                // The loop has ended where nobody listens any more.
                let _ = held.send(Message::RoutersHold(addresses(record)));
                written
            });
            let sender = self.sender.clone();
            let tell = move |news| {
                // The loop has ended where nobody listens any more.
                let _ = sender.send(Message::Vrrp(news));
            };
            match task::start(ledger, tell) {
                Ok(thread) => self.routers.thread = Some(thread),
                Err(problem) => {
                    error!("virtual routers cannot be started, no address moves: {problem}");
                    return;
                }
            }
            spoken = self.routers.files.recall(writer);
        }
        self.routers
            .since
            .retain(|name, _| specs.iter().any(|spec| spec.name == *name));
        self.routers
            .serving
            .retain(|name, _| specs.iter().any(|spec| spec.name == *name));
        if let Some(thread) = self.routers.thread.clone() {
            self.routers.notify.retain(|name, _| {
                // One that stays and has no commands any more is not to keep its old ones.
                config.vrrp_notify.contains_key(name) || specs.iter().all(|spec| spec.name != *name)
            });
            self.routers.notify.extend(config.vrrp_notify.clone());
            self.routers.watched.watch(&specs, &thread);
            let servers = config.virtual_servers.iter();
            let served = servers.flat_map(VirtualServer::virtual_addresses).collect();
            thread.configure(specs, groups, spoken, served);
            if !self.routers.programs.0 {
                // Who tracks it only now was not told.
                thread.tracked(VrrpTracked::Program, VrrpFinding::Works(false));
            }
        }
    }

    /// Has the packet filter refuse what the configuration wants refused, and what leaves until it has gone.
    pub(super) fn refuse(&self) {
        let config = &self.reloads.config;
        let instances = config.vrrp_instances.iter();
        let configured = instances
            .flat_map(|spec| spec.addresses.iter().map(|held| held.address))
            .collect();
        let before = self.packet_filter.wanted();
        let refused = packet_filter::to_refuse(&config.refused_addresses, &configured, &before, &self.routers.held);
        self.packet_filter.want(&refused);
    }

    /// Virtual routers are about to put addresses on this host, or have taken some off.
    pub(super) fn routers_hold(&mut self, addresses: BTreeSet<IpAddr>) {
        self.routers.held = addresses;
        self.refuse();
    }

    /// At a clean stop, with the addresses gone.
    async fn stop_refusing(&mut self) {
        if self.options.observe {
            return;
        }
        let left = &self.packet_filter.wanted() & &self.routers.held;
        match left.first() {
            None => self.packet_filter.end().await,
            Some(first) => warn!(
                "virtual address {first} could not be taken off, so the packet filter's table inet ipvsd stays, with it \
                 {} in all; the next start takes both away",
                left.len()
            ),
        }
    }

    /// A virtual router tells something.
    pub(super) fn hear_routers(&mut self, news: News) {
        match news {
            News::Warning(text) => {
                warn!("{text}");
                self.note(EventKind::Vrrp, Level::Warning, text);
            }
            News::Recovered(text) => {
                info!("{text}");
                self.note(EventKind::Vrrp, Level::Info, text);
            }
            News::Serving { name, serving } => {
                self.routers.serving.insert(name.clone(), serving);
                self.want_sync_daemons();
                self.tell(Event::RoleChanged { router: name, serving });
            }
            News::GroupChanged { group, from, to } => {
                info!("sync group {} is {to}, was {from}", group.name);
                self.announce_group(&group, to);
            }
            News::Changed { name, change, priority } => {
                let VrrpChange { from, to, reason } = change;
                let text = format!("virtual router {name} is {to}, was {from}, with priority {priority}: {reason}");
                self.wait_for_connections(&name, to);
                let bad = to == VrrpState::Fault || reason == VrrpReason::Paused;
                let level = if bad { Level::Warning } else { Level::Info };
                match bad {
                    true => warn!("{text}"),
                    false => info!("{text}"),
                }
                let record = EventRecord {
                    from: Some(from.to_string()),
                    to: Some(to.to_string()),
                    cause: Some(reason.to_string()),
                    ..EventRecord::new(self.both_nows().time, EventKind::Vrrp, level, text)
                };
                self.announce_router(&name, to, priority, &reason.to_string());
                self.routers.since.insert(name, record.time);
                self.put_down(record);
            }
        }
    }

    /// Hands a virtual router over.
    pub(super) fn step_down(&self, name: &str) -> Result<(), Refused> {
        let shown = self.routers.thread.as_ref().map(Handle::shown).unwrap_or_default();
        let known: Vec<_> = shown.iter().map(|instance| instance.spec.name.as_str()).collect();
        let refuse = |trouble, message: String| Err(Refused::new(trouble, message));
        match shown.iter().find(|instance| instance.spec.name == name) {
            None => refuse(
                Trouble::UnknownVrrpInstance,
                format!("there is no vrrp_instance {name} (known are: {})", known.join(", ")),
            ),
            Some(instance) if instance.state != VrrpState::Master => refuse(
                Trouble::NotMaster,
                format!(
                    "virtual router {name} is {} and has nothing to hand over",
                    instance.state
                ),
            ),
            Some(_) => {
                if let Some(thread) = &self.routers.thread {
                    thread.step_down(name);
                }
                Ok(())
            }
        }
    }

    /// What the virtual routers are.
    pub(super) fn routers_status(&self) -> Vec<VrrpStatus> {
        let shown = self.routers.thread.as_ref().map(Handle::shown).unwrap_or_default();
        let (refused, problem) = (&self.reloads.config.refused_addresses, self.packet_filter.problem());
        let accepts = |spec: &VrrpSpec| !spec.addresses.iter().any(|held| refused.contains(&held.address));
        let status = shown.into_iter().map(|instance| VrrpStatus {
            accept: accepts(&instance.spec),
            accept_trouble: problem.clone().filter(|_| !accepts(&instance.spec)),
            since: self.routers.since.get(&instance.spec.name).copied(),
            name: instance.spec.name.clone(),
            interface: instance.spec.interface.clone(),
            virtual_router_id: instance.spec.virtual_router_id,
            state: instance.state.to_string(),
            priority: instance.priority,
            master: instance.master,
            holds_addresses: instance.holds,
            virtual_addresses: instance.spec.addresses.iter().map(|held| held.address).collect(),
            routes: instance.spec.routes.iter().map(ToString::to_string).collect(),
            rules: instance.spec.rules.iter().map(ToString::to_string).collect(),
            vmac: VrrpDevice::of(&instance.spec).map(|device| format!("{} {}", device.name, device.mac())),
            trouble: instance.trouble,
            failing: instance.failing,
        });
        status.collect()
    }

    /// Has each master speak once more and puts down when that was, for the process that takes this one's place.
    pub(super) fn keep_spoken(&self) {
        let Some(thread) = &self.routers.thread else { return };
        self.routers.files.keep_spoken(&thread.last_advert(PATIENCE));
    }

    /// Lets the sync daemons run as the configuration and the role want it. Without a word in the configuration they are
    /// nobody's business, unless there was one before.
    pub(super) fn want_sync_daemons(&self) {
        if self.options.observe {
            return;
        }
        let wanted = match &self.reloads.config.ipvs.sync {
            None => self.sync.borrow().is_some().then(Vec::new),
            Some(settings) => {
                let serving = settings
                    .instance
                    .as_ref()
                    .and_then(|name| self.routers.serving.get(name));
                settings.daemons(serving.map(|serving| *serving == VrrpServing::Here))
            }
        };
        self.sync.send_if_modified(|current| {
            let changes = *current != wanted;
            *current = wanted;
            changes
        });
    }

    fn hear_while_stopping(&mut self, message: Message) {
        match message {
            Message::Vrrp(news) => self.hear_routers(news),
            Message::RoutersHold(addresses) => self.routers.held = addresses,
            // Services may have to leave the table together with the addresses.
            Message::Event(
                Event::StepsApplied(_) | Event::TableRead(_) | Event::TableUnchanged | Event::TableReadFailed(_),
            ) => self.take(message),
            Message::Event(_)
            | Message::StateWritten(_)
            | Message::Counted { .. }
            | Message::ProgramExamined(_)
            | Message::Reloaded(_)
            | Message::Rehearse(_)
            | Message::FilesStirred
            | Message::FilesChanged
            | Message::PeerKeyRead(..)
            | Message::Noted(..) => {}
        }
    }

    /// Hands all virtual routers over, or leaves them as they are for a quick restart: then they speak until the process
    /// ends.
    pub(super) async fn stop_routers(&mut self, receiver: &mut UnboundedReceiver<Message>) {
        let Some(thread) = self.routers.thread.clone() else {
            return self.stop_refusing().await;
        };
        if self.options.keep {
            info!(
                "the addresses of virtual routers stay as they are; another director takes over if this one stays away"
            );
            return;
        }
        info!("virtual routers are handed over");
        let end = tokio::time::Instant::now() + LIMIT;
        let mut stopped = std::pin::pin!(timeout_at(end, thread.stop()));
        // They have something to tell meanwhile, and commands to run.
        let ended = loop {
            tokio::select! {
                ended = &mut stopped => break ended,
                Some(message) = receiver.recv() => self.hear_while_stopping(message),
            }
        };
        while let Ok(message) = receiver.try_recv() {
            self.hear_while_stopping(message);
        }
        // The services that have to go with the addresses may wait for a look at the table that is under way.
        let written = async {
            while (self.batches > 0 || self.director.waits_for_a_look())
                && let Some(message) = receiver.recv().await
            {
                self.hear_while_stopping(message);
            }
        };
        // What the kernel has not answered by then it may still do.
        let _ = timeout_at(end, written).await;
        if let Some(keeper) = self.sync_keeper.take() {
            keeper.abort();
        }
        let daemons = self.sync.borrow().clone();
        if let Some(daemons) = daemons
            && let Ok(Err(problem)) = timeout_at(end, sync_daemons::put_right(daemons)).await
        {
            warn!("{problem}");
        }
        if ended.is_err() {
            warn!(
                "nobody has taken over the virtual routers in {} s; their addresses stay",
                LIMIT.as_secs()
            );
            return;
        }
        self.stop_refusing().await;
    }
}
