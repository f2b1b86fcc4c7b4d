use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::Standing;
use super::super::pool::destinations;
use super::*;
use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, Protocol, RealServer, Scheduler, Service, ServiceKey,
    ServiceSpec, SorryServer,
};

const SORRY: u8 = 99;

fn service() -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(192, 0, 2, 200).into(),
        port: 80,
    }
}

/// A pool in simulated time, with a table that follows what is wanted.
struct Site {
    pool: VirtualServer,
    machine: Pool,
    seats: Vec<Seat>,
    table: Service,
    now: Instant,
    /// What was told, in short.
    told: Vec<String>,
}

impl Site {
    /// Servers as `(weight, tier)`; none has a verdict.
    fn new(servers: &[(u32, u32)], sorry: bool) -> Self {
        let server = |(n, (weight, tier)): (usize, &(u32, u32))| RealServer {
            address: Ipv4Addr::new(192, 0, 2, n as u8 + 1).into(),
            port: None,
            spec: DestinationSpec::new(Forwarding::Dr, *weight),
            tier: *tier,
            disabled: false,
            notify: Default::default(),
            checks: vec![],
        };
        let real_servers: Vec<_> = servers.iter().enumerate().map(server).collect();
        let spec = ServiceSpec::new(Scheduler::Wlc, Family::Inet);
        let seat = |server: &RealServer| Seat::new(Standing::plain(server.spec.weight, ServerState::Unknown));
        Self {
            machine: Pool::default(),
            seats: real_servers.iter().map(seat).collect(),
            table: Service {
                spec: spec.clone(),
                destinations: BTreeMap::new(),
            },
            pool: VirtualServer {
                name: "web".to_owned(),
                services: vec![service()],
                spec,
                real_servers,
                sorry_server: sorry.then(|| SorryServer {
                    address: Ipv4Addr::new(192, 0, 2, SORRY).into(),
                    port: None,
                    spec: DestinationSpec::new(Forwarding::Dr, 1),
                    inhibit: false,
                }),
                inhibit_on_failure: false,
                policy: Default::default(),
                device: None,
                program_with: None,
                defaults: Default::default(),
            },
            now: Instant::START,
            told: Vec::new(),
        }
    }

    fn weight_in(&self, n: u8) -> u32 {
        let key = DestinationKey::new(Ipv4Addr::new(192, 0, 2, n).into(), 80);
        self.table.destinations.get(&key).map_or(0, |spec| spec.weight)
    }

    fn look(&mut self, ordered_back: bool) {
        let before = self.table.destinations.clone();
        let weighs = |n: u8| {
            let key = DestinationKey::new(Ipv4Addr::new(192, 0, 2, n).into(), 80);
            before.get(&key).is_some_and(|spec| spec.weight > 0)
        };
        let found = Found {
            member: &|index| weighs(index as u8 + 1),
            sorry: weighs(SORRY),
        };
        let news = self
            .machine
            .look(&self.pool, &mut self.seats, found, ordered_back, self.now);
        self.told.extend(news.into_iter().map(|news| match news {
            PoolNews::Tier { to, .. } => format!("{to:?}"),
            PoolNews::ReturnAwaited { better, .. } => format!("{better:?} awaited"),
            PoolNews::Quorum { held, .. } => (if held { "quorum" } else { "no quorum" }).to_owned(),
            PoolNews::PanicBegan { up, of } => format!("panic {up}/{of}"),
            PoolNews::PanicEnded => "panic over".to_owned(),
        }));
        self.table.destinations = destinations(
            &self.pool,
            self.machine.tier(),
            &self.seats,
            &service(),
            Some(&self.table),
        );
    }

    /// States by letter: `u`p, `d`own, `?`, `m`aintenance, drai`n`; then a look.
    fn states(&mut self, letters: &str) -> &mut Self {
        for (n, letter) in letters.chars().enumerate() {
            let weight = self.pool.real_servers[n].spec.weight;
            let mut inputs = super::super::Inputs::new(weight, ServerState::Up);
            match letter {
                'd' => inputs.checks = ServerState::Down,
                '?' => inputs.checks = ServerState::Unknown,
                'm' => inputs.operator_state = AdminState::Maint,
                'n' => inputs.operator_state = AdminState::Drain,
                _ => {}
            }
            self.seats[n].standing = super::super::standing(&inputs);
        }
        self.look(false);
        self
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(seconds);
        self.look(false);
        self
    }

    /// Last octets with their weights, the weightless left out.
    fn shown(&self) -> String {
        let one = |(key, spec): (&DestinationKey, &DestinationSpec)| {
            let text = key.address.to_string();
            (spec.weight > 0).then(|| format!("{}={}", text.rsplit('.').next().unwrap_or(""), spec.weight))
        };
        self.table
            .destinations
            .iter()
            .filter_map(one)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn told(&mut self) -> String {
        std::mem::take(&mut self.told).join(", ")
    }
}

#[test]
fn quorum_is_gained_above_and_lost_below_the_hysteresis() {
    let mut site = Site::new(&[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0)], true);
    (site.pool.policy.quorum, site.pool.policy.hysteresis) = (3, 1);
    // The states, who serves, what is told; the quorum comes with 4 and goes below 2.
    for (states, shown, told) in [
        ("ddddd", "99=1", "no quorum, Sorry"),
        ("uuudd", "99=1", ""),
        ("uuuud", "1=1 2=1 3=1 4=1", "quorum, Servers(0)"),
        ("uuudd", "1=1 2=1 3=1", ""),
        ("uuddd", "1=1 2=1", ""),
        ("udddd", "99=1", "no quorum, Sorry"),
        ("uuuuu", "1=1 2=1 3=1 4=1 5=1", "quorum, Servers(0)"),
    ] {
        site.states(states);
        assert_eq!((site.shown().as_str(), site.told().as_str()), (shown, told), "{states}");
    }
}

#[test]
fn without_a_sorry_server_a_pool_without_quorum_keeps_whoever_is_up() {
    let mut site = Site::new(&[(1, 0), (1, 0), (1, 0)], false);
    site.pool.policy.quorum = 3;
    site.states("uuu");
    assert_eq!(site.told(), "quorum");
    site.states("udd");
    assert_eq!((site.shown().as_str(), site.told().as_str()), ("1=1", "no quorum"));
    site.states("ddd");
    assert_eq!((site.shown().as_str(), site.told().as_str()), ("", "Nobody"));
}

#[test]
fn a_quorum_above_all_weights_means_all_of_them_and_each_tier_has_its_own() {
    let mut site = Site::new(&[(2, 0), (2, 0), (1, 1)], true);
    site.pool.policy.quorum = 10;
    site.states("uuu");
    assert_eq!(site.shown(), "1=2 2=2");
    site.states("duu");
    assert_eq!(site.shown(), "3=1", "one server of weight 1 is all that tier 1 has");
    site.states("dud");
    assert_eq!(site.shown(), "99=1");
}

#[test]
fn a_restart_takes_over_a_quorum_that_hysteresis_had_kept() {
    let mut site = Site::new(&[(1, 0), (1, 0), (1, 0)], true);
    (site.pool.policy.quorum, site.pool.policy.hysteresis) = (2, 1);
    site.states("uuu").states("udd");
    assert_eq!(site.shown(), "1=1");
    site.machine = Pool::default();
    site.seats = site
        .pool
        .real_servers
        .iter()
        .map(|_| Seat::new(Standing::plain(1, ServerState::Unknown)))
        .collect();
    for states in ["???", "u??", "udd"] {
        site.states(states);
        assert_eq!(site.shown(), "1=1", "{states}");
    }
}

#[test]
fn a_manual_return_waits_for_the_operator() {
    let mut site = Site::new(&[(1, 0), (1, 1)], true);
    site.pool.policy.return_mode = ReturnMode::Manual;
    site.states("uu").states("du");
    assert_eq!(
        (site.shown().as_str(), site.told().as_str()),
        ("2=1", "quorum, Servers(1)")
    );
    site.states("uu").after(100_000);
    assert_eq!(
        (site.shown().as_str(), site.told().as_str()),
        ("2=1", "Servers(0) awaited")
    );
    site.look(true);
    assert_eq!((site.shown().as_str(), site.told().as_str()), ("1=1", "Servers(0)"));
    // The tier that serves fails: whoever is best is asked, operator or not.
    site.states("du").states("uu").states("ud");
    assert_eq!(site.shown(), "1=1");
    site.states("dd").states("ud");
    assert_eq!(site.shown(), "99=1", "the sorry server is a tier too");
    site.look(true);
    assert_eq!(site.shown(), "1=1");
    site.look(true);
    assert_eq!(site.shown(), "1=1", "there is nothing to return from");
}

#[test]
fn a_pool_says_whether_its_first_tier_serves_once_that_was_decided() {
    let mut site = Site::new(&[(1, 0), (1, 1)], true);
    assert_eq!(site.machine.serves_from(0), None);
    for (states, first, second) in [
        // The sorry server serves until somebody is known to, and the backup tier until the first one has a verdict.
        ("??", None, None),
        ("?u", None, None),
        ("du", Some(false), Some(true)),
        ("uu", Some(true), Some(true)),
        // What is not known for a moment changes nothing.
        ("?u", Some(true), Some(true)),
        ("du", Some(false), Some(true)),
        ("?u", Some(false), Some(true)),
        ("dd", Some(false), Some(false)),
        ("ud", Some(true), Some(true)),
    ] {
        site.states(states);
        let found = (site.machine.serves_from(0), site.machine.serves_from(1));
        assert_eq!(found, (first, second), "{states}");
    }
    site.pool.policy.return_mode = ReturnMode::Manual;
    site.states("du").states("uu");
    assert_eq!(site.machine.serves_from(0), Some(false), "it waits for the operator");
    site.look(true);
    assert_eq!(site.machine.serves_from(0), Some(true));

    let mut alone = Site::new(&[(1, 0)], false);
    alone.states("u");
    assert_eq!(alone.machine.serves_from(0), Some(true));
    alone.states("d");
    assert_eq!(alone.machine.serves_from(0), Some(false), "nobody serves");
}

#[test]
fn a_manual_return_is_none_at_a_start_and_survives_a_restart() {
    let mut site = Site::new(&[(1, 0)], true);
    site.pool.policy.return_mode = ReturnMode::Manual;
    site.states("?");
    assert_eq!(site.shown(), "99=1", "nobody is known to serve");
    site.states("u");
    assert_eq!((site.shown().as_str(), site.told().as_str()), ("1=1", "quorum"));
    site.states("d");
    assert_eq!(site.shown(), "99=1");
    site.machine = Pool::default();
    site.seats = vec![Seat::new(Standing::plain(1, ServerState::Unknown))];
    site.states("?").states("u");
    assert_eq!(site.shown(), "99=1", "a new process is no operator");
    site.look(true);
    assert_eq!(site.shown(), "1=1");
}

#[test]
fn a_delayed_return_counts_time_without_a_break() {
    let mut site = Site::new(&[(1, 0)], true);
    site.pool.policy.return_mode = ReturnMode::Delayed(Duration::from_secs(60));
    site.states("u").states("d").states("u").after(59);
    assert_eq!(site.shown(), "99=1");
    site.states("d").states("u").after(59);
    assert_eq!(site.shown(), "99=1", "it began anew");
    assert_eq!(
        site.machine.next_look(&site.pool, &site.seats, site.now),
        Some(site.now + Duration::from_secs(1))
    );
    site.after(1);
    assert_eq!(site.shown(), "1=1");
    site.states("d").states("u");
    site.look(true);
    assert_eq!(site.shown(), "1=1", "an operator need not wait");
}

#[test]
fn a_panic_keeps_those_in_that_were_in_and_is_told_once() {
    let mut site = Site::new(&[(1, 0), (1, 0), (1, 0), (1, 0)], true);
    site.pool.policy.panic_threshold = 50;
    for (states, shown, told) in [
        ("uuuu", "1=1 2=1 3=1 4=1", "quorum"),
        ("duuu", "2=1 3=1 4=1", ""),
        ("dduu", "3=1 4=1", ""),
        ("dddu", "3=1 4=1", "panic 1/4"),
        ("dddd", "3=1 4=1", ""),
        ("dudd", "2=1 3=1 4=1", ""),
        ("dumd", "2=1 4=1", ""),
        ("uumd", "1=1 2=1", "panic over"),
        ("uuuu", "1=1 2=1 3=1 4=1", ""),
    ] {
        site.states(states);
        assert_eq!((site.shown().as_str(), site.told().as_str()), (shown, told), "{states}");
    }
}

#[test]
fn where_nobody_was_in_there_is_nobody_to_keep() {
    let mut site = Site::new(&[(1, 0), (1, 0)], true);
    site.pool.policy.panic_threshold = 100;
    site.states("dd");
    assert_eq!(
        (site.shown().as_str(), site.told().as_str()),
        ("99=1", "no quorum, Sorry")
    );
}

#[test]
fn a_server_that_comes_back_starts_slowly_and_one_of_weight_1_too() {
    let mut site = Site::new(&[(1, 0), (2, 0)], false);
    site.pool.policy.slow_start = Some(Duration::from_secs(100));
    site.states("uu");
    assert_eq!(site.shown(), "1=1 2=2", "a start of the process is not slow");
    site.states("du").states("uu");
    assert_eq!(site.shown(), "1=1 2=20", "all weights are ten times what they were");
    let steps: Vec<_> = (0..10)
        .map(|_| (site.after(10).weight_in(1), site.weight_in(2)))
        .collect();
    let wanted: Vec<_> = (1..10).map(|tenth| (tenth, 20)).chain([(1, 2)]).collect();
    assert_eq!(steps, wanted);
    assert_eq!(site.machine.next_look(&site.pool, &site.seats, site.now), None);
    site.states("mu").states("uu");
    assert_eq!(site.shown(), "1=1 2=20", "maintenance is like a failure");
    site.states("nu").states("uu");
    assert_eq!(site.shown(), "1=1 2=20", "draining changes nothing about it");
    let mut large = Site::new(&[(15, 0), (1, 0)], false);
    large.pool.policy.slow_start = Some(Duration::from_secs(100));
    large.states("uu").states("du").states("uu").after(30);
    assert_eq!(
        large.shown(),
        "1=4 2=1",
        "a weight of 10 and more needs no larger others"
    );
}

#[test]
fn every_step_of_a_slow_start_is_woken_up_for() {
    let mut site = Site::new(&[(1, 0), (1, 0)], false);
    site.pool.policy.slow_start = Some(Duration::from_millis(1003));
    site.states("uu").states("du").states("uu");
    let mut seen = vec![site.weight_in(1)];
    while let Some(at) = site.machine.next_look(&site.pool, &site.seats, site.now) {
        assert!(at > site.now, "no step back and no standing still");
        site.now = at;
        site.look(false);
        seen.push(site.weight_in(1));
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1]);
}

/// keepalived's pool with a sorry server or without (facts on its pool state machine): who is in the table.
struct Keepalived {
    weights: Vec<u32>,
    alive: Vec<bool>,
    quorum: u64,
    hysteresis: u64,
    has_quorum: bool,
    sorry: bool,
}

impl Keepalived {
    fn update(&mut self, n: usize, up: bool) {
        self.alive[n] = up;
        let sum: u64 = self
            .weights
            .iter()
            .zip(&self.alive)
            .filter(|(_, up)| **up)
            .map(|(w, _)| u64::from(*w))
            .sum();
        if self.has_quorum {
            self.has_quorum = !(sum == 0 || sum < self.quorum - self.hysteresis);
        } else {
            self.has_quorum = sum >= self.quorum + self.hysteresis;
        }
    }

    fn table(&self) -> BTreeMap<u8, u32> {
        if self.sorry && !self.has_quorum {
            return [(SORRY, 1)].into();
        }
        let alive = self.alive.iter().enumerate().filter(|(_, up)| **up);
        alive
            .map(|(n, _)| (n as u8 + 1, self.weights[n]))
            .filter(|(_, weight)| *weight > 0)
            .collect()
    }
}

fn serving(site: &Site) -> BTreeMap<u8, u32> {
    (1..=SORRY)
        .map(|n| (n, site.weight_in(n)))
        .filter(|(_, weight)| *weight > 0)
        .collect()
}

#[derive(Debug, Clone)]
enum Happening {
    State(usize, char),
    Time(u64),
    Return,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => (0usize..6, prop::sample::select(vec!['u', 'd', 'u', 'd', 'm', 'n'])).prop_map(|(n, letter)| Happening::State(n, letter)),
        2 => (1u64..50).prop_map(Happening::Time),
        1 => Just(Happening::Return),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    /// With keepalived's settings the table is keepalived's after every event, and so is the quorum.
    #[test]
    fn with_keepalived_s_settings_the_transitions_are_keepalived_s(
        weights in prop::collection::vec(0u32..5, 1..6),
        quorum in 1u32..12,
        hysteresis in 0u32..12,
        sorry: bool,
        events in prop::collection::vec((0usize..6, any::<bool>()), 1..60),
    ) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let clamped = u64::from(quorum).min(total).max(1);
        let mut theirs = Keepalived {
            weights: weights.clone(),
            alive: vec![false; weights.len()],
            quorum: clamped,
            hysteresis: u64::from(hysteresis).min(clamped - 1),
            has_quorum: false,
            sorry,
        };
        let servers: Vec<_> = weights.iter().map(|weight| (*weight, 0)).collect();
        let mut ours = Site::new(&servers, sorry);
        ours.pool.policy.quorum = quorum;
        ours.pool.policy.hysteresis = hysteresis;
        let mut states = vec!['d'; weights.len()];
        ours.states(&states.iter().collect::<String>());
        for (n, up) in events {
            let n = n % weights.len();
            theirs.update(n, up);
            states[n] = if up { 'u' } else { 'd' };
            ours.states(&states.iter().collect::<String>());
            prop_assert_eq!(serving(&ours), theirs.table());
            prop_assert_eq!(ours.machine.has_quorum(), Some(theirs.has_quorum));
        }
    }

    /// Whatever happens: somebody serves while somebody may, nobody in maintenance or drained does, nobody who is down
    /// does but in a panic, and a server has more than its weight only while weights are scaled.
    #[test]
    fn a_pool_is_never_empty_while_somebody_may_serve(
        servers in prop::collection::vec((0u32..4, 0u32..3), 1..6),
        sorry: bool,
        quorum in 1u32..4,
        mode in 0usize..3,
        panic_threshold in prop::sample::select(vec![0u32, 0, 50, 100]),
        slow: bool,
        events in happenings(),
    ) {
        let mut site = Site::new(&servers, sorry);
        site.pool.policy.quorum = quorum;
        site.pool.policy.return_mode =
            [ReturnMode::Auto, ReturnMode::Manual, ReturnMode::Delayed(Duration::from_secs(60))][mode];
        site.pool.policy.panic_threshold = panic_threshold;
        site.pool.policy.slow_start = slow.then(|| Duration::from_secs(100));
        let mut states = vec!['?'; servers.len()];
        site.states(&states.iter().collect::<String>());
        for event in events {
            match event {
                Happening::State(n, letter) => {
                    let n = n % servers.len();
                    states[n] = letter;
                    site.states(&states.iter().collect::<String>());
                }
                Happening::Time(seconds) => {
                    site.after(seconds);
                }
                Happening::Return => site.look(true),
            }
            let serving = serving(&site);
            let mut may = states.iter().zip(&servers).filter(|(state, (weight, _))| **state == 'u' && *weight > 0);
            prop_assert!(!serving.is_empty() || (!sorry && may.next().is_none()), "{:?}", states);
            for (n, state) in states.iter().enumerate() {
                let serves = serving.contains_key(&(n as u8 + 1));
                match state {
                    'm' | 'n' | '?' => prop_assert!(!serves, "{states:?}: {serving:?}"),
                    'd' => prop_assert!(!serves || site.machine.is_panicking(), "{states:?}: {serving:?}"),
                    _ => {}
                }
            }
            let ramping = site.seats.iter().any(|seat| seat.tenths() < 10);
            for (n, weight) in &serving {
                let full = servers.get(usize::from(*n) - 1).map_or(1, |(weight, _)| *weight);
                let most = if ramping { full * 10 } else { full };
                prop_assert!(*weight <= most);
                prop_assert!(ramping || *weight == full);
            }
        }
    }
}
