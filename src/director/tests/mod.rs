//! The director in a simulated world: a kernel, servers and a clock of our own. Nothing sleeps.

mod drift;
mod foreign;
mod hearsay;
mod operator;
mod pause;
mod policy;
mod rehearsal;
mod reloading;
mod roles;
mod snapshot;
mod view;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;

use super::writing::MOST_REFUSALS;
use super::*;
use crate::model::{
    CheckSpec, DestinationSpec, FailureCause, Family, Flap, Forwarding, FoundProcess, HoldEnd, HoldId, Initial,
    IntervalFrom, Jitter, LocalTrouble, PATH_MARKS, ProbeKind, ProbeOutcome, ProbeSpec, Protocol, RealServer, Refusal,
    RefusalKind, Scheduler, ServerState, Service, ServiceSpec, SorryServer, StepOutcome, Via,
};

/// How a simulated server answers probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepts,
    Refuses,
    Hangs,
    LocalTrouble,
    Drains,
    /// The interface towards it is down.
    CutOff,
}

/// How the simulated kernel treats one step.
type Verdict = fn(&Step) -> Result<(), Refusal>;

struct World {
    director: Director,
    now: Instant,
    kernel: Table,
    verdict: Verdict,
    answers: HashMap<IpAddr, Answer>,
    advice: HashMap<IpAddr, crate::model::Advice>,
    /// Servers that have connections.
    busy: BTreeSet<IpAddr>,
    /// The commands that were run, with what they were told.
    commands: Vec<(String, BTreeMap<&'static str, String>)>,
    /// What will happen, in the order of its time.
    coming: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    /// What happened, one line each with its time in milliseconds.
    log: Vec<String>,
    owned: Owned,
    batches: usize,
    /// Everything that was asked of the kernel, one a read and one a batch.
    reads: usize,
    /// The programs that run here.
    processes: Vec<FoundProcess>,
    probes: BTreeMap<SocketAddr, Vec<Instant>>,
    holds: BTreeMap<HoldId, IpAddr>,
    holds_opened: usize,
    ready: bool,
    quorum: Option<bool>,
    /// Addresses were asked for.
    held: bool,
    /// Checked after every single step.
    invariant: fn(&Table),
}

const WRITE_TIME: Duration = Duration::from_millis(1);

impl World {
    fn new() -> Self {
        Self {
            director: Director::new(Settings::default()),
            now: Instant::START,
            kernel: Table::default(),
            verdict: |_| Ok(()),
            answers: HashMap::new(),
            advice: HashMap::new(),
            busy: BTreeSet::new(),
            commands: Vec::new(),
            coming: BTreeMap::new(),
            sequence: 0,
            log: Vec::new(),
            owned: Owned::default(),
            batches: 0,
            reads: 0,
            processes: Vec::new(),
            probes: BTreeMap::new(),
            holds: BTreeMap::new(),
            holds_opened: 0,
            ready: false,
            quorum: None,
            held: false,
            invariant: |_| (),
        }
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.coming.insert((self.now + delay, self.sequence), event);
    }

    fn say(&mut self, line: &str) {
        let now = self.now.since_start().as_millis();
        self.log.push(format!("{now:>5} {line}"));
    }

    fn tell(&mut self, event: Event) {
        for action in self.director.handle(event, self.now) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartProbe {
                probe,
                spec,
                target,
                timeout,
            } => {
                let server = spec.origin.through.unwrap_or(target.ip());
                let to = SocketAddr::new(server, target.port());
                self.probes.entry(to).or_default().push(self.now);
                let mut answer = self.answers.get(&server).copied().unwrap_or(Answer::Accepts);
                if let Some(mark) = spec.origin.fwmark {
                    let family = Family::of(target.ip());
                    let way = self.kernel.services.get(&ServiceKey::Fwmark { mark, family });
                    let leads_to = way.map(|way| way.destinations.keys().map(|key| key.address).collect::<Vec<_>>());
                    match leads_to {
                        Some(servers) => assert_eq!(servers, [server], "the probe reaches another server"),
                        // Nobody listens on the director itself.
                        None => answer = Answer::Refuses,
                    }
                }
                let (delay, outcome) = match answer {
                    Answer::Accepts => (Duration::from_millis(1), ProbeOutcome::Success),
                    Answer::Refuses => (Duration::from_millis(1), ProbeOutcome::Failure(FailureCause::Refused)),
                    Answer::Hangs => (timeout, ProbeOutcome::Failure(FailureCause::TimedOut)),
                    Answer::Drains => (Duration::from_millis(1), ProbeOutcome::Drain(FailureCause::Refused)),
                    Answer::CutOff => (Duration::ZERO, ProbeOutcome::Local(LocalTrouble::InterfaceDown)),
                    Answer::LocalTrouble => (Duration::ZERO, ProbeOutcome::Local(LocalTrouble::FileDescriptors)),
                };
                self.later(
                    delay,
                    Event::ProbeFinished {
                        probe,
                        result: crate::model::ProbeResult {
                            advice: self.advice.get(&target.ip()).copied(),
                            ..outcome.into()
                        },
                    },
                );
            }
            Action::OpenHold { hold, target, .. } => {
                self.holds.insert(hold, target.ip());
                self.holds_opened += 1;
            }
            Action::CloseHold(hold) => assert!(self.holds.remove(&hold).is_some(), "no such connection is held"),
            Action::ReadTable { details, known } => {
                self.reads += 1;
                let mut read = self.kernel.clone();
                // As `/proc/net/ip_vs`, which does not show thresholds.
                for (_, service) in read.services.iter_mut().filter(|(key, _)| !details.contains(key)) {
                    for spec in service.destinations.values_mut() {
                        (spec.upper_threshold, spec.lower_threshold) = (0, 0);
                    }
                }
                for (key, service) in &read.services {
                    let idle = service
                        .destinations
                        .iter()
                        .filter(|(destination, spec)| spec.weight == 0 && !self.busy.contains(&destination.address));
                    read.idle.extend(idle.map(|(destination, _)| (*key, *destination)));
                }
                let unchanged = known.is_some_and(|known| *known == read);
                let event = if unchanged {
                    Event::TableUnchanged
                } else {
                    Event::TableRead(read)
                };
                self.later(WRITE_TIME, event);
            }
            Action::ApplySteps(steps) => {
                assert!(!steps.is_empty(), "an empty batch is no work for a kernel");
                self.batches += 1;
                let mut outcomes = Vec::new();
                for step in steps {
                    let result = (self.verdict)(&step);
                    if result.is_ok() {
                        let service = step.service();
                        assert!(
                            self.owned.services.contains(&service),
                            "{service} is written before it is on record"
                        );
                        plan::apply_to(&mut self.kernel, &step);
                        (self.invariant)(&self.kernel);
                        self.say(&step.to_string());
                    }
                    outcomes.push(StepOutcome { step, result });
                }
                self.later(WRITE_TIME, Event::StepsApplied(outcomes));
            }
            Action::RunCommand {
                subject,
                command,
                environment,
            } => {
                assert!(!command.argv.is_empty());
                self.say(&format!("run {}", environment["IPVSD_EVENT"]));
                self.commands.push((subject.to_string(), environment));
            }
            Action::RecordOwned(owned) => self.owned = owned,
            Action::HoldAddresses { .. } => self.held = true,
            Action::Report(Transition::ServerChanged {
                server,
                from,
                to,
                cause,
                ..
            }) => {
                let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
                self.say(&format!("{} {from} -> {to}{cause}", server.server));
            }
            Action::Report(Transition::AdminChanged { server, from, to }) => {
                self.say(&format!("{} {from} -> {to}", server.server));
            }
            Action::Report(Transition::WeightChanged {
                server,
                from,
                to,
                source,
            }) => self.say(&format!("{} weight {from} -> {to} by {source}", server.server)),
            Action::Report(Transition::TierChanged { to, .. }) => {
                self.say(&format!("serving: {}", to.as_deref().unwrap_or("nobody")));
            }
            Action::Report(Transition::ReturnAwaited { better, .. }) => self.say(&format!("{better} awaited")),
            Action::Report(Transition::QuorumChanged { held, .. }) => {
                self.quorum = Some(held);
            }
            Action::Report(Transition::PanicBegan { up, of, .. }) => self.say(&format!("panic: {up} of {of}")),
            Action::Report(Transition::PanicEnded { .. }) => self.say("panic is over"),
            Action::Report(Transition::ChecksSuspended { suspended, .. }) => {
                self.say(if suspended { "suspended" } else { "goes on" });
            }
            Action::Report(Transition::RoleChanged { serves, .. }) => {
                self.say(if serves {
                    "programmed here"
                } else {
                    "programmed elsewhere"
                });
            }
            Action::Report(Transition::ProbeWarned { server, warning, .. }) => {
                self.say(&format!("{} warns: {warning}", server.server));
            }
            Action::Report(Transition::LocalTrouble { server, trouble }) => {
                self.say(&format!("{}: {trouble}", server.server));
            }
            Action::Report(Transition::FlapHeld { server, hold, .. }) => {
                self.say(&format!("{} held for {} s", server.server, hold.as_secs()));
            }
            Action::Report(Transition::Halted { late, checks }) => {
                self.say(&format!("halted for {} s, {checks} checks", late.as_secs()));
            }
            Action::Report(Transition::InterfaceBack { device, checks }) => {
                self.say(&format!("{device} is back, {checks} checks"));
            }
            Action::Report(Transition::StateTakenOver { checks, of, .. }) => {
                self.say(&format!("took over {checks} of {of} checks"));
            }
            Action::Report(Transition::PeerVerdictsTaken { checks, of }) => {
                self.say(&format!("the peer's verdicts count for {checks} of {of} checks"));
            }
            Action::Report(Transition::StepRefused { message }) => self.say(&format!("refused: {message}")),
            Action::Report(Transition::TableUnreadable { message }) => self.say(&format!("unreadable: {message}")),
            Action::Report(Transition::TableDrifted { steps, deeds, within }) => {
                let (steps, deeds, within) = (steps.len(), deeds.len(), within.as_secs());
                self.say(&format!("drift of {steps} steps by {deeds} deeds within {within} s"));
            }
            Action::Report(Transition::Quarrel { pause, suspects, .. }) => {
                self.say(&format!(
                    "quarrel with {}, again in {} s",
                    suspects.join(", "),
                    pause.as_secs()
                ));
            }
            Action::Report(Transition::WritesPaused { left }) => self.say(&format!("paused for {} s", left.as_secs())),
            Action::Report(Transition::WritesResumed { lasted }) => {
                self.say(&format!("resumed after {} s", lasted.as_secs()));
            }
            Action::Report(Transition::QuarrelEnded { .. }) => self.say("no quarrel any more"),
            Action::FindProcesses { names } => {
                let found = self
                    .processes
                    .iter()
                    .filter(|process| names.contains(&process.name.as_str()));
                let found = found.cloned().collect();
                self.later(WRITE_TIME, Event::ProcessesFound(found));
            }
            Action::AnnounceReady => self.ready = true,
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let event_at = self.coming.keys().next().map(|(at, _)| *at);
            let wake_at = self.director.next_wake();
            match (event_at, wake_at) {
                (Some(at), wake) if at <= end && wake.is_none_or(|wake| at <= wake.max(self.now)) => {
                    self.now = self.now.max(at);
                    if let Some((_, event)) = self.coming.pop_first() {
                        self.tell(event);
                    }
                }
                (_, Some(at)) if at <= end => {
                    self.now = self.now.max(at);
                    self.tell(Event::TimeReached);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn start(&mut self, config: Config) {
        self.tell(Event::OwnedLoaded(self.owned.clone()));
        self.tell(Event::ConfigLoaded(Arc::new(config)));
    }

    /// Destinations of the only service in short: `last octet=weight`.
    fn shown(&self) -> String {
        let destinations = self.kernel.services.values().flat_map(|service| &service.destinations);
        let one = |(key, spec): (&DestinationKey, &DestinationSpec)| {
            format!(
                "{}={}",
                key.address.to_string().rsplit('.').next().unwrap_or_default(),
                spec.weight
            )
        };
        destinations.map(one).collect::<Vec<_>>().join(" ")
    }

    /// Ends the connection that is held to a server.
    fn end_hold(&mut self, n: u8, end: HoldEnd) {
        let held = self
            .holds
            .iter()
            .find(|(_, to)| **to == address(n))
            .map(|(hold, _)| *hold);
        let hold = held.expect("a held connection");
        self.holds.remove(&hold);
        self.tell(Event::HoldEnded { hold, end });
    }

    fn answer(&mut self, n: u8, answer: Answer) {
        self.answers.insert(address(n), answer);
    }
}

fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

fn service(n: u8) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: address(n),
        port: 80,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn check() -> CheckSpec {
    CheckSpec {
        timeout: Duration::from_millis(500),
        ..CheckSpec::new("tcp", ProbeSpec::new(ProbeKind::Tcp(Vec::new())))
    }
}

fn server(n: u8) -> RealServer {
    let spec = DestinationSpec::new(Forwarding::Dr, 1);
    RealServer {
        address: address(n),
        port: None,
        spec,
        tier: 0,
        disabled: false,
        notify: Default::default(),
        checks: vec![check().into()],
    }
}

fn pool(vip: u8, servers: &[u8]) -> VirtualServer {
    VirtualServer {
        name: format!("pool-{vip}"),
        services: vec![service(vip)],
        spec: ServiceSpec::new(Scheduler::Wlc, Family::Inet),
        real_servers: servers.iter().map(|n| server(*n)).collect(),
        sorry_server: None,
        inhibit_on_failure: false,
        policy: Default::default(),
        device: None,
        program_with: None,
        defaults: Default::default(),
    }
}

fn config(virtual_servers: Vec<VirtualServer>) -> Config {
    Config {
        virtual_servers,
        ..Config::default()
    }
}

fn with_sorry(mut pool: VirtualServer, n: u8) -> VirtualServer {
    let spec = DestinationSpec::new(Forwarding::Dr, 1);
    pool.sorry_server = Some(SorryServer {
        address: address(n),
        port: None,
        spec,
        inhibit: false,
    });
    pool
}

#[test]
fn a_start_on_an_empty_table_lets_servers_in_with_their_first_success() {
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(1));
    assert_eq!(world.shown(), "11=1");
    assert!(world.ready);
    assert_eq!(world.owned.services, BTreeSet::from([service(200)]));
}

#[test]
fn a_dead_server_is_out_after_fall_failures_and_back_after_rise_successes() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(10));
    world.log.clear();
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(10));
    let shown: Vec<_> = world.log.iter().map(|line| line.trim_start()).collect();
    assert_eq!(
        shown,
        [
            "14001 remove real server 192.0.2.11:80 from tcp 192.0.2.200:80",
            "14001 192.0.2.11:80 up -> down (connection refused)",
            "23001 add real server 192.0.2.11:80 to tcp 192.0.2.200:80 (dr weight 1)",
            "23001 192.0.2.11:80 down -> up",
        ]
    );
}

#[test]
fn a_hanging_server_is_out_within_the_promised_time_whatever_the_moment() {
    for moment in (0..2000).step_by(37) {
        let mut world = World::new();
        world.start(config(vec![pool(200, &[11, 12])]));
        world.run_for(seconds(10) + Duration::from_millis(moment));
        world.answer(11, Answer::Hangs);
        let check = check();
        let promised = check.interval + check.retry_interval * (check.fall - 1) + check.timeout + WRITE_TIME;
        world.run_for(promised);
        assert_eq!(world.shown(), "12=1", "hanging from {moment} ms on");
    }
}

#[test]
fn the_sorry_server_comes_with_the_last_failure_and_goes_after_the_first_return() {
    let mut world = World::new();
    world.start(config(vec![with_sorry(pool(200, &[11, 12]), 20)]));
    world.run_for(seconds(10));
    world.invariant = |table| {
        let serving = |service: &Service| service.destinations.values().any(|spec| spec.weight > 0);
        assert!(table.services.values().all(serving), "an instant without a server");
    };
    world.answer(11, Answer::Refuses);
    world.answer(12, Answer::Hangs);
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "20=1");
    world.answer(12, Answer::Accepts);
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "12=1");
    assert!(
        world
            .log
            .iter()
            .any(|line| line.contains("serving: sorry server 192.0.2.20:80")),
        "{:?}",
        world.log
    );
    assert!(
        world.log.iter().any(|line| line.contains("serving: the pool")),
        "{:?}",
        world.log
    );
}

#[test]
fn a_restart_writes_nothing_where_the_table_is_right() {
    let mut first = World::new();
    first.start(config(vec![with_sorry(pool(200, &[11, 12]), 20)]));
    first.run_for(seconds(5));
    let mut second = World::new();
    second.kernel = first.kernel.clone();
    second.owned = first.owned.clone();
    second.start(config(vec![with_sorry(pool(200, &[11, 12]), 20)]));
    second.run_for(seconds(30));
    assert_eq!(second.batches, 0, "{:?}", second.log);
    assert!(second.ready);
}

#[test]
fn a_restart_leaves_a_hanging_server_in_until_its_first_verdict() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(5));
    let mut again = World::new();
    (again.kernel, again.owned) = (world.kernel.clone(), world.owned.clone());
    again.answer(11, Answer::Hangs);
    again.start(config(vec![pool(200, &[11, 12])]));
    again.run_for(Duration::from_millis(400));
    assert_eq!(again.shown(), "11=1 12=1");
    again.run_for(Duration::from_millis(200));
    assert_eq!(
        again.shown(),
        "12=1",
        "one failure is enough for a server never seen up"
    );
}

#[test]
fn initial_up_serves_from_the_start_and_initial_down_waits_for_rise() {
    let mut world = World::new();
    let mut config = config(vec![pool(200, &[11, 12])]);
    Arc::make_mut(&mut config.virtual_servers[0].real_servers[0].checks[0]).initial = Initial::Up;
    Arc::make_mut(&mut config.virtual_servers[0].real_servers[1].checks[0]).initial = Initial::Down;
    world.answer(11, Answer::Hangs);
    world.start(config);
    world.run_for(Duration::from_millis(400));
    assert_eq!(world.shown(), "11=1");
    world.run_for(seconds(2));
    assert_eq!(world.shown(), "12=1");
}

#[test]
fn a_reload_keeps_unchanged_servers_in_step_and_removes_what_is_gone() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12]), pool(201, &[13])]));
    world.run_for(seconds(9));
    let foreign = world.kernel.services[&service(201)].clone();
    world.kernel.services.insert(service(99), foreign);
    world.log.clear();
    let before = world.probes[&SocketAddr::new(address(11), 80)].len();
    let mut second = config(vec![pool(200, &[11, 14])]);
    second.virtual_servers[0].real_servers[0].spec.weight = 7;
    world.tell(Event::ConfigLoaded(Arc::new(second)));
    world.run_for(seconds(4));
    let kept: Vec<_> = world.kernel.services.keys().copied().collect();
    assert_eq!(
        kept,
        [service(99), service(200)],
        "the dropped service goes, the foreign one stays"
    );
    assert_eq!(world.owned.services, BTreeSet::from([service(200)]));
    let times = &world.probes[&SocketAddr::new(address(11), 80)][before..];
    let phases: Vec<_> = times.iter().map(|at| at.since_start().as_millis() % 2000).collect();
    assert_eq!(
        phases,
        [0, 0],
        "the probes of an unchanged server keep their phase: {times:?}"
    );
    assert!(
        !world.log.iter().any(|line| line.contains("192.0.2.11:80 up")),
        "{:?}",
        world.log
    );
    world.kernel.services.remove(&service(99));
    assert_eq!(world.shown(), "11=7 14=1");
}

#[test]
fn a_reload_changes_a_known_table_at_once_and_looks_at_it_behind_that() {
    let with_weight = |weight| {
        let mut config = config(vec![pool(200, &[11, 12])]);
        config.virtual_servers[0].real_servers[0].spec.weight = weight;
        Event::ConfigLoaded(Arc::new(config))
    };
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(9));
    let (batches, reads) = (world.batches, world.reads);
    world.tell(with_weight(7));
    assert_eq!((world.batches, world.reads), (batches + 1, reads));
    world.run_for(Duration::from_millis(20));
    assert_eq!((world.batches, world.reads), (batches + 1, reads + 1));
    assert_eq!(world.shown(), "11=7 12=1");
    // The same once more: nothing to write, and a look all the same.
    world.tell(with_weight(7));
    world.run_for(Duration::from_millis(20));
    assert_eq!((world.batches, world.reads), (batches + 1, reads + 2));
    // What is known may be wrong by now.
    world.kernel.services.clear();
    world.tell(with_weight(3));
    world.run_for(seconds(1));
    assert_eq!(world.shown(), "11=3 12=1");
}

#[test]
fn pools_that_a_reload_does_not_touch_go_on_wherever_they_stand_now() {
    let mut world = World::new();
    let mut ramping = pool(202, &[14, 15]);
    ramping.policy.slow_start = Some(seconds(100));
    let mut all = vec![pool(200, &[11]), pool(201, &[12, 13]), ramping];
    world.start(config(all.clone()));
    world.run_for(seconds(5));
    world.answer(14, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(14, Answer::Accepts);
    world.run_for(seconds(20));
    let weights = |world: &World, number: u8| {
        let destinations = &world.kernel.services[&service(number)].destinations;
        destinations.values().map(|spec| spec.weight).collect::<Vec<_>>()
    };
    let before = weights(&world, 202)[0];
    assert!(
        (1..10).contains(&before) && weights(&world, 202)[1] == 10,
        "{}",
        world.shown()
    );
    // In another order, with one weight changed, while somebody is failing.
    world.answer(13, Answer::Refuses);
    world.run_for(Duration::from_millis(1500));
    assert_eq!(weights(&world, 201), [1, 1]);
    all.reverse();
    all[2].real_servers[0].spec.weight = 5;
    world.tell(Event::ConfigLoaded(Arc::new(config(all.clone()))));
    world.run_for(seconds(4));
    assert_eq!((weights(&world, 200), weights(&world, 201)), (vec![5], vec![1]));
    // In the same order nothing but the changed pool is looked at at once, and the others have not forgotten when.
    all[2].real_servers[0].spec.weight = 6;
    world.tell(Event::ConfigLoaded(Arc::new(config(all))));
    assert!(world.director.pools.next_wake().is_some(), "the slow start goes on");
    world.run_for(seconds(30));
    assert!(weights(&world, 202)[0] > before, "{}", world.shown());
    assert_eq!(weights(&world, 200), [6]);
    world.run_for(seconds(60));
    assert_eq!(weights(&world, 202), [1, 1]);
}

#[test]
fn probes_that_are_late_together_are_started_a_few_at_a_time() {
    let mut world = World::new();
    let servers: Vec<u8> = (11..=210).collect();
    world.start(config(vec![pool(200, &servers)]));
    world.run_for(Duration::from_millis(9900));
    let started = |world: &World| world.probes.values().map(Vec::len).sum::<usize>();
    // Half a second without a turn.
    world.now = world.now + Duration::from_millis(500);
    let mut in_a_row = Vec::new();
    while world.director.next_wake().is_some_and(|at| at <= world.now) {
        let before = started(&world);
        world.tell(Event::TimeReached);
        in_a_row.push(started(&world) - before);
    }
    assert!(in_a_row.iter().sum::<usize>() > STARTED_IN_A_ROW, "{in_a_row:?}");
    assert!(in_a_row.iter().all(|count| *count <= STARTED_IN_A_ROW), "{in_a_row:?}");
}

#[test]
fn a_reload_that_takes_the_last_server_away_says_who_serves_now() {
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config(vec![with_sorry(pool(200, &[11, 12]), 20)]));
    world.run_for(seconds(9));
    world.log.clear();
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![with_sorry(
        pool(200, &[12]),
        20,
    )]))));
    world.run_for(seconds(4));
    assert_eq!(world.shown(), "20=1");
    let told = world
        .log
        .iter()
        .filter(|line| line.contains("serving: sorry server"))
        .count();
    assert_eq!(told, 1, "{:?}", world.log);
}

#[test]
fn a_service_whose_removal_is_refused_stays_owned_and_goes_later() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11]), pool(201, &[13])]));
    world.run_for(seconds(5));
    world.verdict = |step| match step {
        Step::RemoveService { .. } => Err(Refusal {
            kind: RefusalKind::Permanent,
            message: "not permitted".to_owned(),
        }),
        _ => Ok(()),
    };
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(200, &[11])]))));
    world.run_for(seconds(10));
    assert_eq!(world.owned.services, BTreeSet::from([service(200), service(201)]));
    world.verdict = |_| Ok(());
    world.run_for(seconds(60));
    assert_eq!(
        world.kernel.services.keys().copied().collect::<Vec<_>>(),
        [service(200)]
    );
    assert_eq!(world.owned.services, BTreeSet::from([service(200)]));
}

#[test]
fn thresholds_that_are_no_longer_configured_go_with_a_reload_and_with_a_restart() {
    let thresholds = |world: &World| {
        let service = &world.kernel.services[&service(200)];
        let spec = service.destinations.values().next().expect("a real server");
        (spec.upper_threshold, spec.lower_threshold)
    };
    let mut with = pool(200, &[11]);
    with.real_servers[0].spec.upper_threshold = 10;
    with.real_servers[0].spec.lower_threshold = 5;
    let mut world = World::new();
    world.start(config(vec![with]));
    world.run_for(seconds(9));
    assert_eq!(thresholds(&world), (10, 5));
    let mut again = World::new();
    (again.kernel, again.owned) = (world.kernel.clone(), world.owned.clone());
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(200, &[11])]))));
    again.start(config(vec![pool(200, &[11])]));
    for (how, mut world) in [("reload", world), ("restart", again)] {
        world.run_for(seconds(9));
        assert_eq!(thresholds(&world), (0, 0), "{how}");
        assert!(
            !world.log.iter().any(|line| line.contains("drift")),
            "{how}: {:?}",
            world.log
        );
    }
}

#[test]
fn a_changed_check_keeps_the_verdict() {
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(9));
    let batches = world.batches;
    let mut second = config(vec![pool(200, &[11, 12])]);
    for server in &mut second.virtual_servers[0].real_servers {
        Arc::make_mut(&mut server.checks[0]).interval = seconds(4);
    }
    world.tell(Event::ConfigLoaded(Arc::new(second)));
    world.run_for(seconds(9));
    assert_eq!((world.batches, world.shown().as_str()), (batches, "11=1"));
}

#[test]
fn one_refused_entry_is_named_and_tried_again_later_and_the_rest_is_in() {
    let mut world = World::new();
    world.verdict = |step| match step {
        Step::AddDestination { destination, .. } if destination.address == address(12) => Err(Refusal {
            kind: RefusalKind::Permanent,
            message: format!("cannot {step}: address not unicast"),
        }),
        _ => Ok(()),
    };
    world.start(config(vec![pool(200, &[11, 12, 13])]));
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "11=1 13=1");
    assert!(world.ready);
    let refusals = world.log.iter().filter(|line| line.contains("refused:")).count();
    assert_eq!(refusals, 1, "{:?}", world.log);
    world.verdict = |_| Ok(());
    world.run_for(seconds(40));
    assert_eq!(world.shown(), "11=1 12=1 13=1");
}

#[test]
fn a_thousand_refusals_are_not_a_thousand_lines() {
    let mut world = World::new();
    world.verdict = |step| match step {
        Step::AddService { .. } => Ok(()),
        _ => Err(Refusal {
            kind: RefusalKind::Permanent,
            message: format!("cannot {step}"),
        }),
    };
    let mut pools: Vec<_> = (200..210)
        .map(|vip| pool(vip, &(1..=100).collect::<Vec<_>>()))
        .collect();
    let servers = pools.iter_mut().flat_map(|pool| &mut pool.real_servers);
    servers.for_each(|server| server.checks.clear());
    world.start(config(pools));
    world.run_for(seconds(1));
    let refusals: Vec<_> = world.log.iter().filter(|line| line.contains("refused:")).collect();
    assert_eq!(refusals.len(), MOST_REFUSALS + 1);
    assert!(
        refusals[MOST_REFUSALS].contains("950 more"),
        "{}",
        refusals[MOST_REFUSALS]
    );
}

#[test]
fn a_refused_service_does_not_blame_its_destinations() {
    let mut world = World::new();
    world.verdict = |step| match step {
        Step::AddService { .. } => Err(Refusal {
            kind: RefusalKind::Permanent,
            message: "no scheduler module".to_owned(),
        }),
        _ => Err(Refusal {
            kind: RefusalKind::TableChanged,
            message: "no such service".to_owned(),
        }),
    };
    let mut pool = pool(200, &[11, 12]);
    pool.real_servers.iter_mut().for_each(|server| server.checks.clear());
    world.start(config(vec![pool]));
    world.run_for(seconds(20));
    let refusals: Vec<_> = world.log.iter().filter(|line| line.contains("refused:")).collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[test]
fn a_service_whose_change_is_refused_loses_its_dead_servers_all_the_same() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(5));
    world.verdict = |step| match step {
        Step::SetService { .. } => Err(Refusal {
            kind: RefusalKind::Permanent,
            message: "no scheduler module".to_owned(),
        }),
        _ => Ok(()),
    };
    let mut second = pool(200, &[11, 12]);
    second.spec.scheduler = Scheduler::Mh;
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![second]))));
    world.run_for(seconds(3));
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "12=1");
    let refusals = world.log.iter().filter(|line| line.contains("refused:")).count();
    assert_eq!(refusals, 1, "{:?}", world.log);
}

#[test]
fn a_server_whose_change_is_refused_is_taken_out_when_it_dies() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(5));
    world.verdict = |step| match step {
        Step::SetDestination { .. } => Err(Refusal {
            kind: RefusalKind::Permanent,
            message: "out of range".to_owned(),
        }),
        _ => Ok(()),
    };
    let mut second = pool(200, &[11, 12]);
    second.real_servers[0].spec.weight = 7;
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![second]))));
    world.run_for(seconds(3));
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "12=1");
}

#[test]
fn a_table_changed_between_read_and_write_is_read_again() {
    let mut world = World::new();
    let mut config = config(vec![pool(200, &[11])]);
    config.virtual_servers[0].real_servers[0].checks.clear();
    world.tell(Event::OwnedLoaded(Owned::default()));
    // The read is answered with an empty table, but somebody has added the service by the time of the write.
    world.tell(Event::ConfigLoaded(Arc::new(config)));
    let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
    world.kernel.services.insert(
        service(200),
        Service {
            spec,
            destinations: BTreeMap::new(),
        },
    );
    world.verdict = |step| match step {
        Step::AddService { .. } => Err(Refusal {
            kind: RefusalKind::TableChanged,
            message: "exists".to_owned(),
        }),
        _ => Ok(()),
    };
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.kernel.services[&service(200)].spec.scheduler, Scheduler::Wlc);
    assert_eq!(world.shown(), "11=1");
}

#[test]
fn a_step_that_never_fits_the_table_is_tried_with_pauses_and_told_once() {
    let mut world = World::new();
    world.verdict = |step| match step {
        Step::AddDestination { destination, .. } if destination.address == address(12) => Err(Refusal {
            kind: RefusalKind::TableChanged,
            message: format!("cannot {step}: it is there already"),
        }),
        _ => Ok(()),
    };
    let mut with_device = pool(200, &[11, 12]);
    with_device.device = Some("eth0".to_owned());
    world.start(config(vec![with_device]));
    world.run_for(seconds(20));
    assert_eq!(world.shown(), "11=1");
    assert!(world.ready && world.held, "the others are not kept waiting");
    assert!(world.batches < 40, "{} batches in 20 s", world.batches);
    let refusals = world.log.iter().filter(|line| line.contains("refused:")).count();
    assert_eq!(refusals, 1, "{:?}", world.log);
}

#[test]
fn lost_answers_lead_to_a_new_look() {
    let mut world = World::new();
    world.verdict = |_| {
        Err(Refusal {
            kind: RefusalKind::Transient,
            message: "no buffer space".to_owned(),
        })
    };
    world.start(config(vec![pool(200, &[11])]));
    world.run_for(Duration::from_millis(1500));
    assert!(!world.ready);
    world.verdict = |_| Ok(());
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=1");
    assert!(world.ready);
}

#[test]
fn drift_is_repaired_within_the_interval_and_told() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(8));
    world.kernel.services.clear();
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "11=1 12=1");
    assert!(
        world.log.iter().any(|line| line.contains("drift of 3 steps")),
        "{:?}",
        world.log
    );
}

#[test]
fn a_rival_that_keeps_writing_is_not_fought_without_pause() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11])]));
    world.run_for(seconds(6));
    let before = world.batches;
    for _ in 0..2000 {
        world.kernel.services.clear();
        world.run_for(Duration::from_millis(10));
    }
    let batches = world.batches - before;
    assert!((4..60).contains(&batches), "{batches} batches in 20 s");
}

#[test]
fn trouble_of_this_host_is_no_verdict_and_told_once() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(5));
    world.log.clear();
    world.answer(11, Answer::LocalTrouble);
    world.run_for(seconds(60));
    assert_eq!(world.shown(), "11=1 12=1");
    assert_eq!(world.log.len(), 1, "{:?}", world.log);
    assert!(world.log[0].contains("out of file descriptors"), "{:?}", world.log);
}

#[test]
fn trouble_of_the_whole_host_is_one_line_however_many_servers_it_comes_and_goes_for() {
    let mut world = World::new();
    let servers: Vec<u8> = (1..=100).collect();
    world.start(config(vec![pool(200, &servers)]));
    world.run_for(seconds(5));
    world.log.clear();
    for round in 0..10 {
        for n in &servers {
            let short = n % 2 == round % 2;
            world.answer(*n, if short { Answer::LocalTrouble } else { Answer::Accepts });
        }
        world.run_for(seconds(4));
    }
    assert_eq!(world.log.len(), 1, "{:?}", world.log);
}

#[test]
fn a_pause_of_the_whole_program_is_no_verdict() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11])]));
    world.run_for(Duration::from_millis(5999));
    world.answer(11, Answer::Hangs);
    world.run_for(Duration::from_millis(101));
    // Stopped for a minute in the middle of a probe: its time-out is noticed a minute late.
    world.now = world.now + seconds(60);
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(20));
    assert_eq!(world.shown(), "11=1");
    assert!(!world.log.iter().any(|line| line.contains("down")), "{:?}", world.log);
}

#[test]
fn failures_that_come_while_a_batch_is_under_way_share_the_next_one() {
    let mut world = World::new();
    let servers: Vec<u8> = (1..=100).collect();
    world.start(config((200..=250).map(|vip| pool(vip, &servers)).collect()));
    world.run_for(seconds(20));
    let before = world.batches;
    for n in servers {
        world.answer(n, Answer::Refuses);
    }
    world.run_for(seconds(10));
    assert_eq!(world.kernel.destination_count(), 0);
    let batches = world.batches - before;
    assert!(batches < 4000, "{batches} batches for 5100 failures");
}

#[test]
fn a_verdict_in_the_middle_of_a_look_waits_for_its_end_and_says_so() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(3));
    let batches = world.batches;
    let mut look = Vec::new();
    world.director.read(world.now, &mut look);
    assert!(!world.director.waits_for_a_look(), "there is nothing to write");
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    assert!(world.director.waits_for_a_look());
    assert_eq!(world.batches, batches);
    for action in look {
        world.act(action);
    }
    world.run_for(seconds(1));
    assert!(!world.director.waits_for_a_look());
    assert_eq!(world.batches, batches + 1);
}

#[test]
fn an_unreadable_table_is_told_once_and_read_again() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11])]));
    world.coming.clear();
    world.tell(Event::TableReadFailed("no answer".to_owned()));
    world.run_for(seconds(5));
    assert!(world.ready);
    assert_eq!(world.log.iter().filter(|line| line.contains("unreadable")).count(), 1);
    assert_eq!(world.shown(), "11=1");
}

#[test]
fn a_table_without_checks_has_everybody_in() {
    let mut config = config(vec![with_sorry(pool(200, &[11, 12]), 20)]);
    config.virtual_servers[0].real_servers[1].disabled = true;
    let table = table_without_checks(&config, &Table::default());
    let destinations: Vec<_> = table.services[&service(200)]
        .destinations
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(destinations, ["192.0.2.11:80"]);
}

#[test]
fn the_states_can_be_counted() {
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.answer(13, Answer::LocalTrouble);
    world.start(config(vec![pool(200, &[11, 12, 13])]));
    world.run_for(seconds(1));
    assert_eq!(world.director.pools().counts(), (1, 1, 1));
    assert_eq!(
        world
            .director
            .pools()
            .seats(0)
            .iter()
            .map(|seat| seat.standing.state)
            .collect::<Vec<_>>(),
        [ServerState::Up, ServerState::Down, ServerState::Unknown]
    );
}

#[test]
fn first_probes_are_spread_over_the_warmup_and_intervals_by_their_jitter() {
    let mut world = World::new();
    let servers: Vec<u8> = (1..=100).collect();
    let mut config = config(vec![pool(200, &servers)]);
    for server in &mut config.virtual_servers[0].real_servers {
        let check = Arc::make_mut(&mut server.checks[0]);
        (check.warmup, check.jitter) = (Some(seconds(10)), Jitter::Percent(25));
    }
    world.start(config);
    world.run_for(seconds(60));
    let firsts = world.probes.values().map(|times| times[0].since_start());
    let mut in_tenths = [0; 10];
    firsts.for_each(|first| in_tenths[first.as_secs() as usize] += 1);
    assert!(in_tenths.iter().all(|count| (2..25).contains(count)), "{in_tenths:?}");
    let mut intervals: Vec<_> = world
        .probes
        .values()
        .flat_map(|times| times.windows(2).map(|pair| pair[1].since(pair[0])))
        .collect();
    intervals.sort();
    let (shortest, longest) = (intervals[0], intervals[intervals.len() - 1]);
    assert!(shortest >= Duration::from_millis(1500) && longest <= Duration::from_millis(2500));
    assert!(shortest < Duration::from_millis(1520) && longest > Duration::from_millis(2480));
}

#[test]
fn intervals_count_from_the_end_of_a_probe_where_that_is_wanted_and_a_down_server_has_its_own() {
    let mut world = World::new();
    let mut config = config(vec![pool(200, &[11])]);
    let check = Arc::make_mut(&mut config.virtual_servers[0].real_servers[0].checks[0]);
    (check.interval_from, check.down_interval) = (IntervalFrom::End, seconds(7));
    world.answer(11, Answer::Hangs);
    world.start(config);
    world.run_for(seconds(17));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(12));
    let starts: Vec<_> = world.probes[&SocketAddr::new(address(11), 80)]
        .iter()
        .map(|at| at.since_start().as_millis())
        .collect();
    // Half a second of time-out each, seven seconds between; a success, a second to the next one, then up.
    assert_eq!(starts, [0, 7500, 15000, 22500, 23501, 25502, 27503]);
}

fn in_the_path(vip: u8, servers: &[u8]) -> Config {
    let mut config = config(vec![pool(vip, servers)]);
    for server in &mut config.virtual_servers[0].real_servers {
        Arc::make_mut(&mut server.checks[0]).via = Via::Path;
    }
    config
}

/// The weights of one service: `last octet=weight`.
fn serving(world: &World, vip: u8) -> String {
    let destinations = world
        .kernel
        .services
        .get(&service(vip))
        .map(|found| &found.destinations);
    let octet = |key: &DestinationKey| key.address.to_string().rsplit('.').next().map(str::to_owned);
    let shown = destinations
        .into_iter()
        .flatten()
        .map(|(key, spec)| format!("{}={}", octet(key).unwrap_or_default(), spec.weight));
    shown.collect::<Vec<_>>().join(" ")
}

fn mark(n: u32) -> ServiceKey {
    ServiceKey::Fwmark {
        mark: PATH_MARKS.start() + n,
        family: Family::Inet,
    }
}

#[test]
fn probes_in_the_path_have_a_way_of_their_own_which_is_ours_and_goes_with_the_last_of_them() {
    let mut world = World::new();
    world.answer(12, Answer::Hangs);
    let mut both = in_the_path(200, &[11, 12]);
    both.virtual_servers.extend(in_the_path(201, &[12]).virtual_servers);
    world.start(both);
    world.run_for(seconds(9));
    assert_eq!(
        (serving(&world, 200).as_str(), serving(&world, 201).as_str()),
        ("11=1", "")
    );
    let keys: BTreeSet<_> = world.kernel.services.keys().copied().collect();
    assert_eq!(
        keys,
        BTreeSet::from([service(200), service(201), mark(0), mark(1)]),
        "one way to one server"
    );
    assert_eq!(world.owned.services, keys);
    world.tell(Event::ConfigLoaded(Arc::new(in_the_path(200, &[12, 13]))));
    world.run_for(seconds(9));
    assert_eq!(serving(&world, 200), "13=1");
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(200, &[13])]))));
    world.run_for(seconds(9));
    assert_eq!(
        world.kernel.services.keys().copied().collect::<Vec<_>>(),
        [service(200)]
    );
    assert_eq!(world.owned.services, BTreeSet::from([service(200)]));
}

#[test]
fn a_mark_that_somebody_else_uses_is_left_to_him() {
    let mut world = World::new();
    let theirs = Service {
        spec: ServiceSpec::new(Scheduler::Rr, Family::Inet),
        destinations: BTreeMap::from([(
            DestinationKey::new(address(99), 0),
            DestinationSpec::new(Forwarding::Nat, 1),
        )]),
    };
    world.kernel.services.insert(mark(0), theirs.clone());
    world.start(in_the_path(200, &[11]));
    world.run_for(seconds(9));
    assert_eq!(serving(&world, 200), "11=1");
    assert_eq!(world.kernel.services[&mark(0)], theirs);
    assert!(world.kernel.services.contains_key(&mark(1)) && !world.owned.services.contains(&mark(0)));
}

#[test]
fn a_cleared_table_is_no_failure_of_servers_that_are_probed_in_the_path() {
    for moment in (0..2000).step_by(100) {
        let mut world = World::new();
        world.start(in_the_path(200, &[11, 12]));
        world.run_for(seconds(10) + Duration::from_millis(moment));
        world.kernel.services.clear();
        world.run_for(seconds(10));
        assert_eq!(serving(&world, 200), "11=1 12=1", "cleared {moment} ms later");
        assert!(!world.log.iter().any(|line| line.contains("down")), "{:?}", world.log);
    }
}

#[test]
fn where_nothing_is_written_nothing_is_probed_in_the_path() {
    let mut world = World::new();
    world.director = Director::new(Settings {
        observe: true,
        ..Settings::default()
    });
    world.verdict = |_| Ok(());
    world.owned.services.extend([service(200), mark(0)]);
    world.start(in_the_path(200, &[11]));
    world.run_for(seconds(9));
    assert!(world.probes.is_empty());
    let told = world
        .log
        .iter()
        .filter(|line| line.contains("nothing is written"))
        .count();
    assert_eq!(told, 1, "{:?}", world.log);
}

fn holding(vip: u8, servers: &[u8]) -> Config {
    let mut config = config(vec![pool(vip, servers)]);
    for server in &mut config.virtual_servers[0].real_servers {
        let check = Arc::make_mut(&mut server.checks[0]);
        (check.hold, check.interval) = (true, seconds(10));
    }
    config
}

#[test]
fn a_crash_that_breaks_a_held_connection_is_a_verdict_in_milliseconds() {
    for end in [HoldEnd::Closed, HoldEnd::Broken] {
        // At rest, and while a probe is under way that had got through before.
        for moment in [12_345, 20_000] {
            let mut world = World::new();
            world.start(holding(200, &[11, 12]));
            world.run_for(Duration::from_millis(moment));
            assert_eq!(world.holds.len(), 2);
            world.answer(11, Answer::Refuses);
            world.end_hold(11, end);
            world.run_for(Duration::from_millis(6));
            assert_eq!(world.shown(), "12=1", "{end:?} at {moment} ms");
            world.answer(11, Answer::Accepts);
            world.run_for(seconds(20));
            assert_eq!((world.shown().as_str(), world.holds.len()), ("11=1 12=1", 2));
        }
    }
}

#[test]
fn a_server_that_closes_idle_connections_costs_a_probe_and_a_new_connection() {
    let mut world = World::new();
    world.start(holding(200, &[11]));
    world.run_for(seconds(65));
    let probes = |world: &World| world.probes[&SocketAddr::new(address(11), 80)].len();
    let before = probes(&world);
    world.end_hold(11, HoldEnd::Closed);
    world.run_for(Duration::from_millis(10));
    assert_eq!(
        (probes(&world), world.holds_opened, world.holds.len()),
        (before + 1, 2, 1)
    );
    assert!(!world.log.iter().any(|line| line.contains("down")), "{:?}", world.log);
}

#[test]
fn a_server_that_lets_one_more_in_while_it_dies_is_out_all_the_same() {
    let mut world = World::new();
    world.start(holding(200, &[11, 12]));
    // Not even an interval after the connections were opened.
    world.run_for(seconds(5));
    world.end_hold(11, HoldEnd::Closed);
    world.run_for(Duration::from_millis(6));
    assert_eq!((world.shown().as_str(), world.holds.len()), ("11=1 12=1", 2));
    world.answer(11, Answer::Refuses);
    world.end_hold(11, HoldEnd::Broken);
    world.run_for(Duration::from_millis(6));
    assert_eq!(world.shown(), "12=1");
}

#[test]
fn a_server_that_dies_between_a_probe_and_the_next_connection_is_out_all_the_same() {
    let mut world = World::new();
    world.start(holding(200, &[11, 12]));
    world.run_for(seconds(15));
    world.end_hold(11, HoldEnd::Closed);
    world.run_for(Duration::from_millis(6));
    assert_eq!((world.shown().as_str(), world.holds.len()), ("11=1 12=1", 2));
    world.answer(11, Answer::Refuses);
    world.end_hold(11, HoldEnd::NotOpened);
    world.run_for(Duration::from_millis(6));
    assert_eq!(world.shown(), "12=1");
}

#[test]
fn a_server_that_cannot_be_held_is_not_asked_faster_than_it_is_probed() {
    for end in [HoldEnd::NotOpened, HoldEnd::Closed] {
        let mut world = World::new();
        world.start(holding(200, &[11]));
        for _ in 0..1000 {
            world.run_for(Duration::from_millis(100));
            if !world.holds.is_empty() {
                world.end_hold(11, end);
            }
        }
        let probes = world.probes[&SocketAddr::new(address(11), 80)].len();
        assert!(
            probes <= 21 && world.holds_opened <= 11,
            "{probes} {}",
            world.holds_opened
        );
        assert_eq!(world.shown(), "11=1");
    }
}

#[test]
fn a_held_connection_outlives_a_reload_and_goes_with_its_check() {
    let mut world = World::new();
    world.start(holding(200, &[11, 12]));
    world.run_for(seconds(5));
    world.tell(Event::ConfigLoaded(Arc::new(holding(201, &[11]))));
    assert_eq!((world.holds.len(), world.holds_opened), (1, 2));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(201, &[11])]))));
    assert!(world.holds.is_empty());
    // A late report of one that is closed already.
    world.tell(Event::HoldEnded {
        hold: HoldId(1),
        end: HoldEnd::Closed,
    });
}

/// The most probes that started within ten milliseconds of each other, from a time on.
fn densest(world: &World, from: Instant) -> usize {
    let mut starts: Vec<_> = world.probes.values().flatten().filter(|at| **at >= from).collect();
    starts.sort();
    let within = |first: &Instant| {
        let near = |at: &&&Instant| at.since(*first) < Duration::from_millis(10) && **at >= first;
        starts.iter().filter(near).count()
    };
    starts.iter().map(|first| within(first)).max().unwrap_or(0)
}

#[test]
fn after_a_halt_all_are_probed_again_without_a_burst_and_one_line_says_so() {
    let mut world = World::new();
    world.start(sharing(200..=204, &(1..=200).collect::<Vec<_>>()));
    world.run_for(seconds(11));
    world.log.clear();
    world.now = world.now + seconds(60);
    let resumed = world.now;
    world.run_for(seconds(2));
    let since: usize = world
        .probes
        .values()
        .map(|times| times.iter().filter(|at| **at >= resumed).count())
        .sum();
    assert!((200..=500).contains(&since), "{since} probes");
    assert!(densest(&world, resumed) < 40, "{} at once", densest(&world, resumed));
    let shown: Vec<_> = world.log.iter().map(|line| line.trim_start()).collect();
    assert!(matches!(shown[..], [line] if line.contains("halted for")), "{shown:?}");
    assert_eq!(world.director.excused_probes()["late_timer"], 200);
}

#[test]
fn what_an_interface_had_cut_off_is_probed_when_it_is_back_and_may_fail_for_a_moment() {
    let mut world = World::new();
    let servers: Vec<u8> = (1..=200).collect();
    let mut config = config(vec![pool(200, &servers)]);
    for server in &mut config.virtual_servers[0].real_servers {
        Arc::make_mut(&mut server.checks[0]).interval = seconds(30);
    }
    world.start(config);
    world.run_for(seconds(100));
    world.log.clear();
    servers.iter().for_each(|n| world.answer(*n, Answer::CutOff));
    let link = |works| Event::LinkChanged {
        device: "eth0".to_owned(),
        works,
    };
    world.tell(link(false));
    world.run_for(seconds(40));
    assert_eq!(world.log.len(), 1, "{:?}", world.log);
    // The switch is not forwarding yet.
    servers.iter().for_each(|n| world.answer(*n, Answer::Hangs));
    let back = world.now;
    world.tell(link(true));
    world.run_for(seconds(2));
    assert!(densest(&world, back) < 40, "{} at once", densest(&world, back));
    servers.iter().for_each(|n| world.answer(*n, Answer::Accepts));
    world.run_for(seconds(2));
    let first = |times: &Vec<Instant>| times.iter().find(|at| **at >= back).copied();
    assert!(
        world
            .probes
            .values()
            .all(|times| first(times).is_some_and(|at| at.since(back) < seconds(1)))
    );
    world.run_for(seconds(100));
    assert_eq!(world.kernel.destination_count(), 200);
    assert_eq!(world.log.len(), 2, "{:?}", world.log);
    assert!(world.log[1].contains("eth0 is back, 200 checks"), "{:?}", world.log);
    assert!(world.director.excused_probes()["interface_down"] >= 400);
}

#[test]
fn a_server_that_is_really_dead_after_an_interface_came_back_goes_out() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(10));
    world.answer(11, Answer::CutOff);
    world.run_for(seconds(10));
    world.answer(11, Answer::Refuses);
    world.tell(Event::LinkChanged {
        device: "eth0".to_owned(),
        works: true,
    });
    world.run_for(seconds(3 + 2 + 2) + Duration::from_millis(10));
    assert_eq!(world.shown(), "12=1");
}

#[test]
fn a_server_that_flaps_is_held_down_and_it_is_told() {
    let mut world = World::new();
    let mut config = config(vec![pool(200, &[11, 12])]);
    let check = Arc::make_mut(&mut config.virtual_servers[0].real_servers[0].checks[0]);
    check.flap = Some(Flap {
        changes: 4,
        within: seconds(120),
        hold_down: seconds(60),
        longest: seconds(600),
    });
    world.start(config);
    for _ in 0..2 {
        world.run_for(seconds(10));
        world.answer(11, Answer::Refuses);
        world.run_for(seconds(10));
        world.answer(11, Answer::Accepts);
    }
    world.run_for(seconds(50));
    let shown: Vec<_> = world.log.iter().filter(|line| line.contains("2.11")).cloned().collect();
    assert_eq!(
        shown.iter().filter(|line| line.contains("held for 60 s")).count(),
        1,
        "{shown:?}"
    );
    assert_eq!(world.shown(), "12=1", "{shown:?}");
    world.run_for(seconds(20));
    assert_eq!(world.shown(), "11=1 12=1");
}

/// Pools that all have the same servers, checked alike.
fn sharing(vips: std::ops::RangeInclusive<u8>, servers: &[u8]) -> Config {
    config(vips.map(|vip| pool(vip, servers)).collect())
}

#[test]
fn a_target_of_two_hundred_services_is_probed_once_and_its_verdict_holds_for_all() {
    let mut world = World::new();
    world.start(sharing(1..=200, &[211, 212]));
    world.run_for(seconds(19));
    let probed: Vec<_> = world.probes.values().map(Vec::len).collect();
    assert_eq!(probed, [10, 10], "every two seconds");
    assert_eq!(world.kernel.destination_count(), 400);
    world.answer(211, Answer::Refuses);
    world.run_for(seconds(10));
    assert_eq!(world.kernel.destination_count(), 200);
    let told = world.log.iter().filter(|line| line.contains("up -> down")).count();
    assert_eq!(told, 200);
}

#[test]
fn what_is_checked_differently_is_probed_apart() {
    let mut config = sharing(200..=203, &[11]);
    let check = |pool: &mut VirtualServer| Arc::make_mut(&mut pool.real_servers[0].checks[0]).clone();
    let mut checks: Vec<_> = config.virtual_servers.iter_mut().map(check).collect();
    (checks[1].rise, checks[2].interval, checks[3].connect_port) = (1, seconds(4), Some(81));
    for (pool, check) in config.virtual_servers.iter_mut().zip(checks) {
        pool.real_servers[0].checks = vec![check.into()];
    }
    let mut world = World::new();
    world.start(config);
    world.run_for(seconds(19));
    let probed: BTreeMap<_, _> = world
        .probes
        .iter()
        .map(|(at, times)| (at.port(), times.len()))
        .collect();
    assert_eq!(probed, BTreeMap::from([(80, 10 + 10 + 5), (81, 10)]));
}

#[test]
fn a_reload_that_changes_who_shares_a_probe_keeps_its_machine() {
    let probes = |world: &World| world.probes[&SocketAddr::new(address(11), 80)].len();
    let mut world = World::new();
    world.start(sharing(200..=201, &[11]));
    world.run_for(seconds(9));
    world.answer(11, Answer::Refuses);
    // Two of three failures.
    world.run_for(Duration::from_millis(2500));
    assert_eq!(world.shown(), "11=1 11=1");
    let before = probes(&world);
    // One pool goes, another one comes: the count goes on, and the new one knows at once what is known.
    world.tell(Event::ConfigLoaded(Arc::new(sharing(201..=202, &[11]))));
    assert_eq!(probes(&world), before, "nothing is probed anew");
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.shown(), "11=1 11=1");
    world.run_for(seconds(1));
    assert_eq!(world.shown(), "");
    world.tell(Event::ConfigLoaded(Arc::new(sharing(200..=203, &[11]))));
    world.run_for(Duration::from_millis(400));
    assert_eq!(world.shown(), "", "a new pool does not let a dead server in");
    assert_eq!(probes(&world), before + 1);
}

#[test]
fn a_changed_check_of_many_pools_stays_up_where_another_check_had_failed() {
    let mut config = sharing(200..=201, &[11]);
    let mut other = check();
    (other.name, other.connect_ip) = ("other".to_owned(), Some(address(77)));
    config.virtual_servers[0].real_servers[0].checks.push(other.into());
    let mut world = World::new();
    world.answer(77, Answer::Refuses);
    world.start(config.clone());
    world.run_for(seconds(9));
    assert_eq!(world.shown(), "11=1");
    let batches = world.batches;
    for pool in &mut config.virtual_servers {
        Arc::make_mut(&mut pool.real_servers[0].checks[0]).interval = seconds(5);
    }
    world.answer(11, Answer::Hangs);
    world.tell(Event::ConfigLoaded(Arc::new(config)));
    world.run_for(Duration::from_millis(900));
    assert_eq!((world.batches, world.shown().as_str()), (batches, "11=1"));
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Accepts),
        Just(Answer::Refuses),
        Just(Answer::Hangs),
        Just(Answer::LocalTrouble),
        Just(Answer::Drains)
    ]
}

/// What one checker of keepalived would do: the times at which it starts probes of a server whose answers come after
/// these times, and whether the server was in the table after each. `first` is when it starts its first probe.
///
/// A model of its own machine, as its behaviour is described: intervals count from a probe's end; so many retries after
/// the first failure; the first failure of all is enough; one success brings a server back.
fn keepalived(
    answers: &[(bool, u64)],
    (delay_loop, retry, delay_before_retry, alpha): (u64, u32, u64, bool),
) -> Vec<(u64, bool)> {
    let (mut now, mut is_up, mut retries) = (0, !alpha, retry);
    let mut starts = Vec::new();
    for (success, takes) in answers {
        let started = now;
        now += takes;
        if !success && is_up && retries < retry {
            retries += 1;
            now += delay_before_retry;
        } else {
            (is_up, retries) = (*success, 0);
            now += delay_loop;
        }
        starts.push((started, is_up));
    }
    starts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The settings of the table in `docs/configuration.md`: the same probes at the same millisecond, and the same
    /// verdicts after them, for probes of any length and any result.
    #[test]
    fn settings_that_say_what_keepalived_is_told_probe_when_it_would(
        answers in prop::collection::vec((any::<bool>(), 0u64..900), 1..40),
        delay_loop in 100u64..9000, retry in 0u32..5, delay_before_retry in 100u64..9000, alpha: bool,
    ) {
        let milliseconds = Duration::from_millis;
        let mut config = config(vec![pool(200, &[11])]);
        *Arc::make_mut(&mut config.virtual_servers[0].real_servers[0].checks[0]) = CheckSpec {
            interval: milliseconds(delay_loop),
            down_interval: milliseconds(delay_loop),
            retry_interval: milliseconds(delay_before_retry),
            interval_from: IntervalFrom::End,
            timeout: milliseconds(900),
            rise: 1,
            fall: retry + 1,
            first_fall: 1,
            initial: if alpha { Initial::Down } else { Initial::Up },
            ..check()
        };
        let wanted = keepalived(&answers, (delay_loop, retry, delay_before_retry, alpha));
        let mut director = Director::new(Settings::default());
        director.handle(Event::OwnedLoaded(Owned::default()), Instant::START);
        let mut now = Instant::START;
        let mut actions = director.handle(Event::ConfigLoaded(Arc::new(config)), now);
        for ((success, takes), (start, is_up)) in answers.into_iter().zip(wanted) {
            // What goes to the kernel is of no concern here, and never answered.
            while !actions.iter().any(|action| matches!(action, Action::StartProbe { .. })) {
                now = now.max(director.next_wake().expect("a probe will be due"));
                actions = director.handle(Event::TimeReached, now);
            }
            prop_assert_eq!(now.since_start().as_millis(), u128::from(start));
            let probe = actions.iter().find_map(|action| match action {
                Action::StartProbe { probe, .. } => Some(*probe),
                _ => None,
            });
            now = now + milliseconds(takes);
            let outcome = match success {
                true => ProbeOutcome::Success,
                false => ProbeOutcome::Failure(FailureCause::Refused),
            };
            let event = Event::ProbeFinished {
                probe: probe.expect("it was started"),
                result: outcome.into(),
            };
            actions = director.handle(event, now);
            prop_assert_eq!(director.pools().seats(0)[0].standing.state == ServerState::Up, is_up);
            actions.clear();
        }
    }

    /// Whatever servers do: once they keep still, the table is a function of their states; and with a sorry server
    /// no write ever leaves a service that was serving without a server.
    #[test]
    fn the_table_follows_the_servers(history in prop::collection::vec((1u8..5, any_answer(), 0u64..4000), 1..30), inhibit: bool) {
        let mut world = World::new();
        let mut config = config(vec![with_sorry(pool(200, &[1, 2, 3, 4]), 20)]);
        config.virtual_servers[0].inhibit_on_failure = inhibit;
        world.start(config);
        world.run_for(seconds(2));
        world.invariant = |table| {
            let serving = |service: &Service| service.destinations.values().any(|spec| spec.weight > 0);
            assert!(table.services.values().all(serving), "an instant without a server");
        };
        for (server, answer, pause) in history {
            world.answer(server, answer);
            world.run_for(Duration::from_millis(pause));
        }
        for n in 1..5 {
            let answer = if n % 2 == 0 { Answer::Accepts } else { Answer::Hangs };
            world.answer(n, answer);
        }
        world.run_for(seconds(20));
        prop_assert_eq!(world.shown(), if inhibit { "1=0 2=1 3=0 4=1" } else { "2=1 4=1" });
    }
}
