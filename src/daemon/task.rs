//! The loop of `ipvsd run`: events in, actions out.
//!
//! One thread runs this loop and all probes; netlink has a thread of its own, because one batch may take as long as
//! loading a kernel module does. The director is asked about everything and nothing here decides.

mod acting;
mod calls;
mod helpers;
mod keeping;
mod message;
mod news;
mod peer;
mod plan;
mod reload;
mod stopping;
mod tracks;
mod upgrade;
mod vrrp;
mod wake;

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use super::commands::Commands;
use super::files::{self, Loaded};
use super::instance::Instance;
use super::journal::Journal;
use super::record::Record;
use super::running::RunningFile;
use super::service_manager::notify;
use super::state::{self, Pace, StateFile};
use super::wishes::{self, WishesFile};
use super::{control, handover, host, memory, packet_filter, presence, report, sync_daemons, upgrade as program};
use crate::config::Problems;
use crate::control::{Listener, Patience, SOCKET_NAME};
use crate::director::{self, Director, Now, Settings, Wishlist, Words};
use crate::model::control::{EventKind, EventRecord, Level};
use crate::model::{Config, Event, HoldId, Instant, Owned, UnixTime, VirtualAddress};
use crate::notify::Notifier;
use crate::{checkers, ipvs};

use message::Message;
use reload::Reloads;
use wake::sleep_until;

/// What `ipvsd run` was asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Where the record of what is owned lies.
    pub run_dir: PathBuf,
    /// Probe and log what would be written, and write nothing.
    pub observe: bool,
    /// Take what is ours out of the kernel at the end.
    pub flush_on_stop: bool,
    /// Leave the addresses of virtual routers where they are at the end, for a restart that is quicker than the others.
    pub keep: bool,
}

/// Calls that wait for the loop; each caller has one at a time.
const WAITING_CALLS: usize = 16;

/// What is due is gathered: many starts of probes a hundredth of a second cost one wake.
const TICK: Duration = Duration::from_millis(10);

/// How long the netlink thread may be busy with one order: as long as loading modules takes on a slow disk.
const STUCK: Duration = Duration::from_secs(60);

/// Which addresses have to be on devices and which no longer.
pub(super) type AddressOrder = (BTreeSet<VirtualAddress>, BTreeSet<VirtualAddress>);

/// Runs the director daemon until it is told to stop; the kernel's table stays as it is then, unless it is to be flushed.
///
/// # Errors
/// A bad configuration, another ipvsd in this network namespace, no IPVS in this kernel, no privilege. Once it
/// runs, trouble is logged and lived with.
pub fn run(options: &Options) -> anyhow::Result<()> {
    // Before there is any thread.
    let mut handed_over = handover::take();
    report::start_log();
    report::end_with_a_panic();
    memory::take_sparingly();
    let loaded = files::load(&options.config)?;
    let left = handed_over.as_mut().and_then(|left| left.instance.take());
    let instance = match left.and_then(Instance::inherited) {
        Some(instance) => Some(instance),
        None if options.observe => None,
        None => Some(Instance::claim()?),
    };
    host::raise_file_limit();
    let kernel = ipvs::Handle::start()?;
    let record = Record::open(&options.run_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let connects = {
        let _inside = runtime.enter();
        checkers::Connects::new().context("cannot watch connections")?
    };
    let (sender, receiver) = unbounded_channel();
    let (orders, taken) = watch::channel(AddressOrder::default());
    let settings = Settings {
        observe: options.observe,
        seed: RandomState::new().build_hasher().finish(),
        ..Settings::default()
    };
    // One that only watches leaves the socket to the daemon that it may run beside.
    let socket = match options.observe {
        true => None,
        false => control::listen(
            &record.beside(SOCKET_NAME),
            &loaded.config.control,
            handed_over.as_mut().and_then(|left| left.control.take()),
        ),
    };
    let shell = Shell {
        options: options.clone(),
        director: Director::new(settings),
        started: std::time::Instant::now(),
        kernel,
        sender,
        orders,
        commands: Commands::default(),
        presence: watch::Sender::new(false),
        connects,
        holds: HashMap::new(),
        ready: false,
        reloads: Reloads::default(),
        running: RunningFile::beside(&record),
        watched: watch::Sender::default(),
        socket,
        journal: Journal::new(),
        wishlist: Wishlist::default(),
        wishes: WishesFile::beside(&record),
        wishes_saved: Instant::START,
        started_at: control::unix_time(),
        configured: Instant::START,
        state: Arc::new(StateFile::beside(&record)),
        state_pace: Pace::new(),
        instance,
        program: program::own_program(),
        upgrade: None,
        upgraded: handed_over.map(|left| (left.from, left.caller)),
        batches: 0,
        flush_on_stop: false,
        stuck: false,
        routers: vrrp::Routers::beside(&record),
        notifier: Notifier::new(&host::name()),
        packet_filter: packet_filter::Keeper::beside(&record),
        sync: watch::Sender::new(None),
        peer: peer::Peer::new(),
        sync_keeper: None,
        record,
    };
    let done = runtime.block_on(shell.run(loaded, receiver, taken));
    // What still runs beside the loop, a name that is looked up, keeps nobody here: masters go on speaking meanwhile.
    runtime.shutdown_background();
    done
}

struct Shell {
    options: Options,
    director: Director,
    started: std::time::Instant,
    kernel: ipvs::Handle,
    record: Record,
    sender: UnboundedSender<Message>,
    orders: watch::Sender<AddressOrder>,
    commands: Commands,
    /// Whether somebody wants to know of this host's addresses.
    presence: watch::Sender<bool>,
    /// The plain TCP probes, which are most of all probes.
    connects: checkers::Connects,
    /// The connections that are held open.
    holds: HashMap<HoldId, AbortHandle>,
    /// The table has been as the configuration wants it once.
    ready: bool,
    reloads: Reloads,
    /// Where the configuration in use is kept.
    running: RunningFile,
    /// The directories in which a change is a reason to read it again.
    watched: watch::Sender<BTreeSet<PathBuf>>,
    socket: Option<Listener>,
    journal: Journal,
    /// What operators want, and where that is kept.
    wishlist: Wishlist,
    wishes: WishesFile,
    wishes_saved: Instant,
    started_at: UnixTime,
    /// When the configuration was taken over.
    configured: Instant,
    /// What is known, for the next process.
    state: state::Shared,
    state_pace: Pace,
    /// The claim to this network namespace.
    instance: Option<Instance>,
    /// The file that this program was started from.
    program: Option<PathBuf>,
    /// The upgrade that was asked for.
    upgrade: Option<upgrade::Upgrade>,
    /// The version that this program has taken over from, and who is to be told once it is ready.
    upgraded: Option<(String, Option<OwnedFd>)>,
    /// Batches that are being written.
    batches: usize,
    /// The configuration wants what is ours taken out at the end.
    flush_on_stop: bool,
    /// It was told that a thread is stuck.
    stuck: bool,
    /// The virtual routers.
    routers: vrrp::Routers,
    /// Whoever is told of what happens.
    notifier: Notifier,
    /// The virtual addresses that take nothing themselves.
    packet_filter: packet_filter::Keeper,
    /// The sync daemons that are to run.
    sync: watch::Sender<sync_daemons::Wanted>,
    /// The other director.
    peer: peer::Peer,
    /// Whoever lets them run.
    sync_keeper: Option<AbortHandle>,
}

impl Shell {
    async fn run(
        mut self,
        loaded: Loaded,
        mut receiver: UnboundedReceiver<Message>,
        taken: watch::Receiver<AddressOrder>,
    ) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        if self.upgraded.is_some() {
            handover::unblock_signals();
        }
        let (calls, mut called) = channel(WAITING_CALLS);
        if let Some(socket) = &self.socket {
            socket
                .serve(calls, Patience::default())
                .context("cannot watch the control socket")?;
        }
        self.start_helpers(taken);
        self.remember();
        let Loaded { config, warnings, .. } = self.begin(loaded);
        let config = prepare(config, &warnings, &self.kernel, self.options.observe).await;
        // Whoever is not to be probed yet is not probed even once.
        if wants_presence(&config)
            && let Ok(addresses) = presence::addresses()
        {
            self.tell(Event::AddressesFound(addresses));
        }
        self.adopt(config);
        self.watch_files();
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 3);
        let mut pulse = tokio::time::interval(watchdog.unwrap_or(Duration::from_secs(5)));
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                Some(message) = receiver.recv() => {
                    self.take(message);
                    // What has piled up is handled before the next timer.
                    while let Ok(message) = receiver.try_recv() {
                        self.take(message);
                    }
                }
                Some(call) = called.recv() => self.answer(call),
                Some(news) = self.peer.next_news() => self.hear_peer(news),
                () = sleep_until(wake) => {
                    self.tell(Event::TimeReached);
                    self.pass_deadlines();
                    self.keep_state();
                    self.take_connects();
                }
                () = self.connects.ready() => self.take_connects(),
                _ = hangup.recv() => self.reload(None, false),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = pulse.tick() => self.pulse(),
            }
            self.mind_peer();
            self.go_on_upgrading();
        }
        notify(&[NotifyState::Stopping]);
        self.stop(&mut receiver).await;
        Ok(())
    }

    /// When somebody wants to be woken, whatever happens until then.
    fn next_wake(&self) -> Option<std::time::Instant> {
        let due = self
            .director
            .next_wake()
            .into_iter()
            .chain(self.wishlist.next_deadline())
            .chain(self.next_state())
            .chain(self.peer.next(self.director.revision()))
            .chain(self.next_upgrade());
        // What is due already waits no longer.
        let gathered = |at: Instant| if at > self.now() { at.round_up(TICK) } else { at };
        let due = due.min().map(|at| self.started + gathered(at).since_start());
        due.into_iter().chain(self.connects.next_wake()).min()
    }

    /// Tells of the plain TCP probes that have ended.
    fn take_connects(&mut self) {
        let finished = self.connects.finished();
        let now = self.now();
        for (probe, result) in finished {
            self.tell_at(Event::ProbeFinished { probe, result }, now);
        }
    }

    fn now(&self) -> Instant {
        Instant::after_start(self.started.elapsed())
    }

    fn both_nows(&self) -> Now {
        Now {
            instant: self.now(),
            time: control::unix_time(),
        }
    }

    /// Puts down what the director does not report.
    fn note(&self, kind: EventKind, level: Level, text: String) {
        self.put_down(EventRecord::new(control::unix_time(), kind, level, text));
    }

    /// What an earlier ipvsd wrote is ours.
    fn remember(&mut self) {
        let owned = self.record.load().unwrap_or_else(|problem| {
            warn!("{problem:#}");
            Owned::default()
        });
        self.tell(Event::OwnedLoaded(owned));
        let now = self.both_nows();
        match self.wishes.load(now.time) {
            Ok(remembered) => {
                self.wishlist = Wishlist::restored(remembered.wishes, now);
                self.peer.words = Words::restored(remembered.words, &self.wishlist, now.time);
            }
            Err(problem) => {
                warn!("{problem:#}");
                self.note(EventKind::Configuration, Level::Warning, format!("{problem:#}"));
            }
        }
        self.recall_state();
    }

    /// Takes over a good configuration.
    fn adopt(&mut self, config: Arc<Config>) {
        self.configured = self.now();
        self.flush_on_stop = config.ipvs.flush_on_stop;
        self.reloads.config = Arc::clone(&config);
        self.configure_notifier(&config);
        // Before the addresses are there.
        self.refuse();
        self.configure_routers(&config);
        self.configure_peer(&config);
        self.take_over(&config);
        self.want_sync_daemons();
        self.tell_of_pools(|_| true);
    }

    /// Takes over what files say, with what operators have made of it.
    fn take_over(&mut self, files: &Arc<Config>) {
        let (config, problems) = director::deviate(files, &self.wishlist);
        for problem in problems {
            warn!("{problem}");
            self.note(EventKind::Configuration, Level::Warning, problem);
        }
        self.presence.send_replace(wants_presence(&config));
        self.tell(Event::ConfigLoaded(config));
        self.repeat_wishes();
        self.picture_changed();
        memory::give_back();
    }

    fn pulse(&mut self) {
        let (up, down, unknown) = self.director.pools().counts();
        let has_words = self.wishlist.wishes().next().is_some() || !self.peer.words.is_empty();
        if has_words && self.now().since(self.wishes_saved) >= wishes::KEPT_FRESH {
            // It is logged where it fails.
            let _ = self.save_wishes();
        }
        let paused = match self.director.paused_until() {
            Some(until) => {
                let left = until.since(self.now()).as_secs();
                format!("PAUSED for another {left}s, nothing is written to the kernel's table; ")
            }
            None => String::new(),
        };
        let status = format!("{paused}real servers: {up} up, {down} down, {unknown} without a verdict");
        notify(&[NotifyState::Status(&status)]);
        let hanging = self.routers.stuck(self.now());
        let stuck = match self.kernel.busy_for() > STUCK {
            true => Some(("the kernel has not answered", STUCK)),
            false => hanging.map(|hanging| (hanging.what, hanging.limit)),
        };
        match stuck {
            None => notify(&[NotifyState::Watchdog]),
            Some((what, limit)) if !self.stuck => {
                error!("{what} for {} s, so the watchdog is no longer fed", limit.as_secs());
            }
            Some(_) => {}
        }
        self.stuck = stuck.is_some();
        self.tell_of_program();
    }

    fn tell(&mut self, event: Event) {
        self.tell_at(event, self.now());
    }

    fn tell_at(&mut self, event: Event, now: Instant) {
        for action in self.director.handle(event, now) {
            self.act(action);
        }
        if self.director.waits_for_a_look() {
            self.kernel.hurry();
        }
    }
}

/// For checks that wait for an address, and for services that leave with a role: one of their servers may be this host.
fn wants_presence(config: &Config) -> bool {
    let mut servers = config.virtual_servers.iter();
    servers.any(|server| server.policy.ha_suspend || server.program_with.is_some())
}

/// Says what is doubtful in a configuration, and makes this host's settings as it wants them.
async fn prepare(config: Config, warnings: &Problems, kernel: &ipvs::Handle, observe: bool) -> Arc<Config> {
    for warning in warnings {
        warn!("{warning}");
    }
    host::prepare(&config, kernel, observe).await;
    Arc::new(config)
}
