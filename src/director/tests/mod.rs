//! The director in a simulated world: a kernel, servers and a clock of our own. Nothing sleeps.

mod operator;
mod policy;
mod view;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{
    CheckSpec, DestinationSpec, FailureCause, Family, Forwarding, Initial, ProbeKind, ProbeSpec, Protocol, RealServer,
    Refusal, Scheduler, ServerState, Service, ServiceSpec, SorryServer,
};

/// How a simulated server answers probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepts,
    Refuses,
    Hangs,
    LocalTrouble,
    Drains,
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
    probes: BTreeMap<SocketAddr, Vec<Instant>>,
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
            probes: BTreeMap::new(),
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
                probe, target, timeout, ..
            } => {
                self.probes.entry(target).or_default().push(self.now);
                let answer = self.answers.get(&target.ip()).copied().unwrap_or(Answer::Accepts);
                let (delay, outcome) = match answer {
                    Answer::Accepts => (Duration::from_millis(1), ProbeOutcome::Success),
                    Answer::Refuses => (Duration::from_millis(1), ProbeOutcome::Failure(FailureCause::Refused)),
                    Answer::Hangs => (timeout, ProbeOutcome::Failure(FailureCause::TimedOut)),
                    Answer::Drains => (Duration::from_millis(1), ProbeOutcome::Drain(FailureCause::Refused)),
                    Answer::LocalTrouble => (Duration::ZERO, ProbeOutcome::Local(LocalTrouble::FileDescriptors)),
                };
                self.later(
                    delay,
                    Event::ProbeFinished {
                        probe,
                        result: ProbeResult {
                            advice: self.advice.get(&target.ip()).copied(),
                            ..outcome.into()
                        },
                    },
                );
            }
            Action::ReadTable { details } => {
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
                self.later(WRITE_TIME, Event::TableRead(read));
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
            Action::Report(Transition::ProbeWarned { server, warning, .. }) => {
                self.say(&format!("{} warns: {warning}", server.server));
            }
            Action::Report(Transition::LocalTrouble { server, trouble }) => {
                self.say(&format!("{}: {trouble}", server.server));
            }
            Action::Report(Transition::StepRefused { message }) => self.say(&format!("refused: {message}")),
            Action::Report(Transition::TableUnreadable { message }) => self.say(&format!("unreadable: {message}")),
            Action::Report(Transition::TableDrifted { steps }) => self.say(&format!("drift of {} steps", steps.len())),
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
        name: "tcp".to_owned(),
        probe: Arc::new(ProbeSpec::new(ProbeKind::Tcp(Vec::new()))),
        connect_ip: None,
        connect_port: None,
        interval: seconds(2),
        retry_interval: seconds(1),
        timeout: Duration::from_millis(500),
        rise: 2,
        fall: 3,
        initial: Initial::FirstResult,
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
            "14001 192.0.2.11:80 up -> down (connection refused)",
            "14001 remove real server 192.0.2.11:80 from tcp 192.0.2.200:80",
            "23001 192.0.2.11:80 down -> up",
            "23001 add real server 192.0.2.11:80 to tcp 192.0.2.200:80 (dr weight 1)",
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

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Accepts),
        Just(Answer::Refuses),
        Just(Answer::Hangs),
        Just(Answer::LocalTrouble),
        Just(Answer::Drains)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
