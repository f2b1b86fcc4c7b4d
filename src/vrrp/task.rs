//! The thread that virtual routers live in: sockets and time in, adverts out.
//!
//! It sleeps in ppoll(2) until an advert comes in or a timer says that one is due (a time limit of ppoll's own may be late
//! by a thousandth of it), and does nothing else that could make one late: the addresses have a thread of their own
//! (`addresses`), and whoever wants something leaves a note, of which a few are read before the time is looked at again.
//! Its clock counts while the host is suspended (`CLOCK_BOOTTIME`), so that an instance knows for how long it was away.
//! What has come in is read before the clock is looked at. What is to be shown and told is put down once, at the end of a
//! turn, and after the addresses' thread has had a chance where it is to put some on: the one thing that it gives way to.

mod acting;
mod handle;
mod tracks;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tracing::{debug, error};

use self::acting::two_answer;
use self::handle::Command;
pub use self::handle::{Handle, News, Shown, Spoken};
pub use super::addresses::Ledger;
use super::addresses::{self, Belongings, Facts, Order, Report};
use super::complaints::Complaints;
use super::packet;
use super::routers::Wanted;
use super::socket::{Listener, Speaker, Speakers};
use super::{Instance, Routers};
use crate::model::{
    Family, Instant, VrrpAction, VrrpEvent, VrrpFinding, VrrpServing, VrrpSpec, VrrpSyncGroup, VrrpTracked,
    VrrpTracking,
};

/// A socket that could not be opened is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);

/// With several instances, how long what is due may wait for what is due right after it: a waking costs as much as an
/// advert.
const GATHER: Duration = Duration::from_millis(1);

/// The nice value of both threads, where that is allowed (`CAP_SYS_NICE`, `RLIMIT_NICE`): what they do is due at a time, and
/// a host with few processors has them run before whoever is told of it.
const NICE: libc::c_int = -10;

/// Notes of others that are read before the time is looked at again.
const NOTES: usize = 32;

/// Starts the thread, without any instance. `tell` is called in it and must not wait; `ledger` is the record of addresses.
///
/// # Errors
/// Where this process may have no more threads or descriptors.
pub fn start(ledger: Ledger, tell: impl Fn(News) + Send + 'static) -> io::Result<Handle> {
    let (orders, commands) = channel();
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let (to_addresses, from_here) = tokio::sync::mpsc::unbounded_channel();
    let handle = Handle {
        orders,
        wake: Arc::clone(&wake),
        shown: Arc::clone(&shown),
        turns: Default::default(),
        addresses: to_addresses.clone(),
    };
    let (turns, turns_of_addresses) = handle.turns.clone();
    let (reports, wakes) = (handle.orders.clone(), Arc::clone(&wake));
    thread::Builder::new()
        .name("vrrp-addresses".to_owned())
        .spawn(move || {
            run_before_others();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let tell = |name: &str, report| {
                        // A thread that has ended needs to know nothing.
                        if reports.send(Command::Report(name.to_owned(), report)).is_ok() {
                            let _ = wakes.write(1);
                        }
                    };
                    runtime.block_on(addresses::keep(from_here, ledger, turns_of_addresses, tell));
                }
                Err(problem) => error!("virtual routers cannot have addresses: {problem}"),
            }
        })?;
    let task = Task {
        timer: TimerFd::new(
            timerfd::ClockId::CLOCK_BOOTTIME,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?,
        armed: None,
        routers: Routers::default(),
        wanted: (Vec::new(), Vec::new()),
        voices: BTreeMap::new(),
        serving: BTreeMap::new(),
        releasing: BTreeMap::new(),
        releases: 0,
        listeners: BTreeMap::new(),
        speakers: Speakers::default(),
        addresses: to_addresses,
        orders: Vec::new(),
        complaints: Complaints::default(),
        tracked: BTreeMap::new(),
        spoken: Spoken::new(),
        retry: None,
        stopping: None,
        takes_over: false,
        unshown: false,
        shown,
        untold: Vec::new(),
        sendings: Vec::new(),
        turns,
        tell: Box::new(tell),
    };
    thread::Builder::new().name("vrrp".to_owned()).spawn(move || {
        run_before_others();
        task.run(&commands, &wake);
    })?;
    Ok(handle)
}

/// Of this thread alone: Linux has a nice value for each.
#[allow(unsafe_code, reason = "nix does not have it")]
fn run_before_others() {
    // SAFETY: it takes numbers and changes nothing but the order in which threads run.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0;
    if refused {
        debug!("this thread of virtual routers runs no sooner than others (CAP_SYS_NICE or LimitNICE={NICE} lets it)");
    }
}

/// What one instance needs to speak.
#[derive(Default)]
struct Voice {
    facts: Facts,
    /// Its interface was looked at.
    looked: bool,
    /// What it was told to be last: an instance that has ended has a last word.
    spec: Option<Arc<VrrpSpec>>,
    speaker: Option<Arc<Speaker>>,
    started: bool,
    trouble: Option<String>,
    /// Why its last advert could not be sent, to one of its peers or to any.
    unsent: Option<String>,
    /// Nobody could be sent its last advert.
    is_mute: bool,
    tracking: VrrpTracking,
    failing: Vec<String>,
}

struct Task {
    /// Wakes it.
    timer: TimerFd,
    /// When that is.
    armed: Option<Instant>,
    routers: Routers,
    /// The last configuration: an instance may have to wait for another one's end.
    wanted: (Vec<Arc<VrrpSpec>>, Vec<VrrpSyncGroup>),
    voices: BTreeMap<Arc<str>, Voice>,
    /// Where each serves, as it was told last.
    serving: BTreeMap<Arc<str>, VrrpServing>,
    /// Those whose addresses are being taken off, and by which order.
    releasing: BTreeMap<Arc<str>, u64>,
    /// How often addresses were ordered off.
    releases: u64,
    listeners: BTreeMap<(String, Family), (u32, Listener)>,
    speakers: Speakers,
    addresses: UnboundedSender<Vec<Order>>,
    /// What the other thread is to be told next.
    orders: Vec<Order>,
    complaints: Complaints,
    /// What has been told of what is tracked.
    tracked: BTreeMap<VrrpTracked, VrrpFinding>,
    spoken: Spoken,
    retry: Option<Instant>,
    stopping: Option<oneshot::Sender<()>>,
    /// Addresses were ordered on in this turn.
    takes_over: bool,
    /// What is shown may be otherwise by now.
    unshown: bool,
    shown: Arc<Mutex<Vec<Shown>>>,
    untold: Vec<News>,
    /// Whose adverts could be sent to nobody, and whose can again.
    sendings: Vec<(Arc<str>, VrrpEvent)>,
    turns: Arc<AtomicU64>,
    tell: Box<dyn Fn(News) + Send>,
}

impl Task {
    fn run(mut self, commands: &Receiver<Command>, wake: &EventFd) {
        let mut buffer = vec![0; packet::LONGEST + 64];
        loop {
            self.wait(wake);
            let _ = wake.read();
            self.turns.fetch_add(1, Ordering::Relaxed);
            // Before anybody is told of the time: what has come in meanwhile is no silence.
            self.listen(&mut buffer);
            let mut notes = commands.try_iter();
            while self.obey_some(&mut notes) {
                self.listen(&mut buffer);
                self.pass_time();
            }
            self.pass_time();
            if self.retry.is_some_and(|at| now() >= at) {
                self.retry = None;
                self.open_all();
            }
            for (name, event) in std::mem::take(&mut self.sendings) {
                self.happen(&name, event);
            }
            if std::mem::take(&mut self.takes_over) {
                // Nobody answers until the addresses are here: on one processor they come before the news of it.
                thread::yield_now();
            }
            self.publish();
            if self.stopping.is_some() && self.routers.instances().next().is_none() {
                let (done, waits) = oneshot::channel();
                self.orders.push(Order::Done(done));
                self.give_orders();
                // The other thread has a runtime, this one has none and nothing else to do any more.
                let _ = waits.blocking_recv();
                // What it had to say of what was let go.
                for command in commands.try_iter() {
                    self.obey(command);
                }
                self.publish();
                if let Some(stopping) = self.stopping.take() {
                    let _ = stopping.send(());
                }
                return;
            }
        }
    }

    /// Carries out what others want; answers with whether there may be more.
    fn obey_some(&mut self, notes: &mut impl Iterator<Item = Command>) -> bool {
        let mut read = 0;
        for command in notes.take(NOTES) {
            self.obey(command);
            read += 1;
        }
        read == NOTES
    }

    fn pass_time(&mut self) {
        let wanted = self.routers.pass_time(now());
        self.act(wanted);
    }

    /// Has the timer wake it then. Answers with how long to sleep at most, where the timer cannot.
    fn set_timer(&mut self, due: Option<Instant>) -> Option<TimeSpec> {
        if due != self.armed {
            let set = match due.map(|due| TimeSpec::from_duration(due.since_start())) {
                None => self.timer.unset(),
                Some(at) => self
                    .timer
                    .set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME),
            };
            self.armed = due.filter(|_| set.is_ok());
        }
        let limit = due.filter(|due| self.armed != Some(*due));
        limit.map(|due| TimeSpec::from_duration(due.since(now())))
    }

    /// Sleeps until something comes in or is due.
    fn wait(&mut self, wake: &EventFd) {
        let gather = match self.routers.instances().nth(1) {
            Some(_) => GATHER,
            None => Duration::ZERO,
        };
        let due = self.routers.next_wake().map(|due| due + gather);
        let due = due.into_iter().chain(self.retry).min();
        let timeout = self.set_timer(due);
        let sockets = self.listeners.values().map(|(_, listener)| listener.as_fd());
        let mut waits: Vec<_> = [wake.as_fd(), self.timer.as_fd()]
            .into_iter()
            .chain(sockets)
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        // A signal is a reason to look, too.
        let _ = ppoll(&mut waits, timeout, None);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Configure(specs, groups, spoken) => {
                self.wanted = (specs, groups);
                self.spoken.extend(spoken);
                self.reconfigure();
            }
            Command::Report(name, Report::Facts(facts)) => self.learn(&name, facts),
            Command::Report(name, Report::Released(order)) => {
                // That of an earlier order says nothing: the addresses have been put on again since.
                if self.releasing.get(&*name) == Some(&order) {
                    self.releasing.remove(&*name);
                    self.tell_serving(&name);
                }
            }
            Command::Report(name, Report::Elsewhere { addresses, device, mac }) => {
                self.untold
                    .push(News::Warning(two_answer(&name, &addresses, &device, mac)));
            }
            Command::StepDown(name) => {
                for name in self.routers.together_with(&name) {
                    self.happen(&name, VrrpEvent::StepDown);
                }
            }
            Command::Synced(name) => self.happen(&name, VrrpEvent::Synced),
            Command::Tracked(what, finding) => {
                if self.tracked.insert(what.clone(), finding) != Some(finding) {
                    self.track_those_with(&what);
                    self.open_those_that_waited();
                }
            }
            Command::NotKnown(what) => {
                self.tracked.entry(what).or_insert(VrrpFinding::Works(true));
                self.open_those_that_waited();
            }
            Command::LastAdvert(answer) => {
                let names: Vec<_> = self.routers.instances().map(|(name, _)| Arc::clone(name)).collect();
                for name in names {
                    self.happen(&name, VrrpEvent::ProcessReplaced);
                }
                let spoke = |instance: &Instance| instance.spoke().map(|at| at.since_start());
                let masters = self.routers.instances().filter_map(|(name, instance)| {
                    let millis = spoke(instance)?.as_millis();
                    Some((name.to_string(), u64::try_from(millis).unwrap_or(u64::MAX)))
                });
                // Whoever asked has gone.
                let _ = answer.send(masters.collect());
            }
            Command::Stop(done) => {
                self.wanted = (Vec::new(), Vec::new());
                self.stopping = Some(done);
                let wanted = self.routers.stop(now());
                self.act(wanted);
            }
        }
    }

    fn reconfigure(&mut self) {
        let (specs, groups) = self.wanted.clone();
        let outcome = self.routers.reconfigure(&specs, &groups, now());
        for name in outcome.new {
            self.serving.remove(&name);
            self.voices.insert(name, Voice::default());
        }
        // Its last word is that of the settings that it had last.
        for (name, voice) in &mut self.voices {
            if let Some(instance) = self.routers.get(name) {
                voice.spec = voice.spec.is_some().then(|| Arc::clone(instance.spec()));
            }
        }
        let next = self.about_to_hold(&outcome.wanted);
        self.orders.push(Order::Expect(next));
        self.act(outcome.wanted);
        // A group may be gone while its instances stay as they are.
        self.tell_groups();
        self.orders.push(Order::Watch(self.specs()));
        self.give_orders();
        // Also those that wait for another one's end: what they track is told once.
        let (specs, wanted) = (self.specs(), self.wanted.0.clone());
        let tracks = specs.iter().chain(&wanted).flat_map(|spec| &spec.tracks);
        self.keep_findings(tracks.map(|track| &track.what));
        self.track_all();
        self.open_all();
        self.show();
    }

    /// What the instances that are to hold something are told to.
    fn about_to_hold(&self, wanted: &[Wanted]) -> BTreeMap<Arc<str>, Arc<Belongings>> {
        let told = wanted.iter().filter(|(_, action)| *action == VrrpAction::AddAddresses);
        told.filter_map(|(name, _)| {
            let instance = self.routers.get(name)?;
            Some((Arc::clone(name), Arc::new(Belongings::of(instance.spec()))))
        })
        .collect()
    }

    /// All that are there, also those that still end.
    fn specs(&self) -> Vec<Arc<VrrpSpec>> {
        let specs = self
            .routers
            .instances()
            .map(|(_, instance)| Arc::clone(instance.spec()));
        specs.collect()
    }

    /// Something is known of this host.
    fn learn(&mut self, name: &str, facts: Facts) {
        let Some((name, voice)) = self
            .voices
            .get_key_value(name)
            .map(|(name, voice)| (Arc::clone(name), voice))
        else {
            return;
        };
        let moved = voice.facts.source != facts.source || voice.facts.obstacle != facts.obstacle;
        let by_another = voice.facts.voice != facts.voice;
        let missing = facts.missing;
        if let Some(voice) = self.voices.get_mut(&name) {
            if moved {
                voice.speaker = None;
            }
            voice.facts = facts;
            voice.looked = true;
        }
        self.track(&name);
        if moved || !self.voices.get(&name).is_some_and(|voice| voice.started) {
            self.open(&name);
        }
        if by_another && !moved {
            self.change_voice(&name);
        }
        if missing {
            self.happen(&name, VrrpEvent::AddressMissing);
        }
        self.show();
    }

    fn happen(&mut self, name: &str, event: VrrpEvent) {
        let wanted = self.routers.handle(name, event, now());
        self.act(wanted);
        self.tell_serving(name);
    }
}

/// Since the host was started, with the time that it was suspended.
fn now() -> Instant {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Instant::after_start(since)
}
