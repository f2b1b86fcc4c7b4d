use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::super::{Found, Pool, Standing};
use super::*;
use crate::model::{Family, Forwarding, Instant, Protocol, Scheduler, ServiceSpec, SorryServer};

fn service() -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: address(200),
        port: 80,
    }
}

fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

fn server(n: u8, weight: u32, tier: u32) -> RealServer {
    let spec = DestinationSpec::new(Forwarding::Dr, weight);
    RealServer {
        address: address(n),
        port: None,
        spec,
        tier,
        disabled: false,
        notify: Default::default(),
        checks: vec![],
    }
}

fn pool(real_servers: Vec<RealServer>) -> VirtualServer {
    VirtualServer {
        name: "web".to_owned(),
        services: vec![service()],
        spec: ServiceSpec::new(Scheduler::Wlc, Family::Inet),
        real_servers,
        sorry_server: None,
        inhibit_on_failure: false,
        policy: Default::default(),
        device: None,
        program_with: None,
        defaults: Default::default(),
    }
}

fn sorry(n: u8, inhibit: bool) -> Option<SorryServer> {
    Some(SorryServer {
        address: address(n),
        port: None,
        spec: DestinationSpec::new(Forwarding::Dr, 1),
        inhibit,
    })
}

/// States in short: `u`p, `d`own, `?` unknown.
fn states(text: &str) -> Vec<ServerState> {
    let state = |letter| match letter {
        'u' => ServerState::Up,
        'd' => ServerState::Down,
        _ => ServerState::Unknown,
    };
    text.chars().map(state).collect()
}

/// The destinations at a first look.
fn first_look(
    pool: &VirtualServer,
    states: &[ServerState],
    current: &Service,
) -> BTreeMap<DestinationKey, DestinationSpec> {
    let one = |(server, state): (&RealServer, &ServerState)| Seat::new(Standing::plain(server.spec.weight, *state));
    let mut seats: Vec<_> = pool.real_servers.iter().zip(states).map(one).collect();
    let weighs = |key: DestinationKey| current.destinations.get(&key).is_some_and(|spec| spec.weight > 0);
    let found = Found {
        member: &|index| weighs(pool.real_servers[index].destination(&service())),
        sorry: pool
            .sorry_server
            .as_ref()
            .is_some_and(|sorry| weighs(sorry.destination(&service()))),
    };
    let mut machine = Pool::default();
    machine.look(pool, &mut seats, found, false, Instant::START);
    destinations(pool, machine.tier(), &seats, &service(), Some(current))
}

/// Destinations in short: `last octet=weight`.
fn shown(destinations: &BTreeMap<DestinationKey, DestinationSpec>) -> String {
    let one = |(key, spec): (&DestinationKey, &DestinationSpec)| {
        let octet = key
            .address
            .to_string()
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        format!("{octet}={}", spec.weight)
    };
    destinations.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn run(pool: &VirtualServer, text: &str, found: &[(u8, u32)]) -> String {
    let current = Service {
        spec: pool.spec.clone(),
        destinations: found
            .iter()
            .map(|(n, weight)| {
                (
                    DestinationKey::new(address(*n), 80),
                    DestinationSpec::new(Forwarding::Dr, *weight),
                )
            })
            .collect(),
    };
    shown(&first_look(pool, &states(text), &current))
}

#[test]
fn a_failed_server_is_absent_or_inhibited() {
    let mut pool = pool(vec![server(1, 3, 0), server(2, 1, 0)]);
    assert_eq!(run(&pool, "uu", &[]), "1=3 2=1");
    assert_eq!(run(&pool, "du", &[]), "2=1");
    assert_eq!(run(&pool, "dd", &[]), "");
    pool.inhibit_on_failure = true;
    assert_eq!(run(&pool, "du", &[]), "1=0 2=1");
    assert_eq!(run(&pool, "dd", &[]), "1=0 2=0");
}

#[test]
fn the_sorry_server_serves_when_nobody_else_can() {
    let mut pool = pool(vec![server(1, 3, 0), server(2, 1, 0)]);
    pool.sorry_server = sorry(9, false);
    assert_eq!(run(&pool, "uu", &[]), "1=3 2=1");
    assert_eq!(run(&pool, "dd", &[]), "9=1");
    pool.inhibit_on_failure = true;
    assert_eq!(run(&pool, "dd", &[]), "1=0 2=0 9=1");
    pool.sorry_server = sorry(9, true);
    assert_eq!(run(&pool, "ud", &[]), "1=3 2=0 9=0");
}

#[test]
fn somebody_up_with_weight_0_cannot_serve() {
    let mut pool = pool(vec![server(1, 0, 0), server(2, 1, 0)]);
    pool.sorry_server = sorry(9, false);
    assert_eq!(run(&pool, "ud", &[]), "1=0 9=1");
}

#[test]
fn a_sorry_server_may_be_a_real_server() {
    let mut pool = pool(vec![server(1, 3, 0)]);
    pool.sorry_server = sorry(1, false);
    assert_eq!(run(&pool, "u", &[]), "1=3");
    assert_eq!(run(&pool, "d", &[]), "1=1");
    pool.sorry_server = sorry(1, true);
    assert_eq!(run(&pool, "u", &[]), "1=3");
}

#[test]
fn nothing_is_touched_before_the_first_verdict() {
    let mut pool = pool(vec![server(1, 3, 0), server(2, 1, 0)]);
    pool.sorry_server = sorry(9, false);
    assert_eq!(run(&pool, "??", &[(1, 3), (2, 0)]), "1=3 2=0");
    assert_eq!(
        run(&pool, "??", &[(9, 1)]),
        "9=1",
        "a sorry server left by an earlier run goes on serving"
    );
    assert_eq!(
        run(&pool, "??", &[]),
        "9=1",
        "nobody who might serve is in the table, so nobody holds back the sorry server"
    );
    assert_eq!(run(&pool, "??", &[(1, 0)]), "1=0 9=1");
    pool.sorry_server = None;
    assert_eq!(run(&pool, "??", &[]), "", "an empty table is not filled with a guess");
    pool.sorry_server = sorry(9, false);
    assert_eq!(run(&pool, "?u", &[(1, 3)]), "1=3 2=1");
    assert_eq!(run(&pool, "d?", &[(1, 3), (2, 1)]), "2=1");
    assert_eq!(
        run(&pool, "u?", &[(9, 1)]),
        "1=3",
        "one verdict is enough to send the sorry server home"
    );
}

#[test]
fn a_higher_tier_serves_only_for_the_lower_ones() {
    let mut pool = pool(vec![server(1, 1, 0), server(2, 1, 1), server(3, 1, 2)]);
    assert_eq!(run(&pool, "uuu", &[]), "1=1");
    assert_eq!(run(&pool, "duu", &[]), "2=1");
    assert_eq!(run(&pool, "ddu", &[]), "3=1");
    assert_eq!(
        run(&pool, "?uu", &[(2, 1)]),
        "2=1",
        "the lower tier's verdict is awaited"
    );
    pool.inhibit_on_failure = true;
    assert_eq!(run(&pool, "uuu", &[]), "1=1 2=0 3=0");
}

#[test]
fn a_hash_scheduler_has_everybody_from_the_start_in_the_same_order() {
    let mut pool = pool(vec![server(3, 1, 0), server(1, 1, 0), server(2, 1, 1)]);
    pool.spec.scheduler = Scheduler::Mh;
    pool.inhibit_on_failure = true;
    assert_eq!(run(&pool, "???", &[]), "1=0 2=0 3=0");
    assert_eq!(run(&pool, "u?d", &[]), "1=0 2=0 3=1");
    assert_eq!(run(&pool, "dud", &[]), "1=1 2=0 3=0");
}

#[test]
fn a_disabled_server_is_as_if_it_were_not_there() {
    let mut pool = pool(vec![server(1, 1, 0), server(2, 1, 0)]);
    pool.real_servers[0].disabled = true;
    assert_eq!(run(&pool, "uu", &[(1, 1)]), "2=1");
}

proptest! {
    /// Whoever is up: somebody serves, and nobody who is known to be down does (but the sorry server in its own role).
    #[test]
    fn the_pool_is_never_empty_while_somebody_could_serve(
        members in prop::collection::vec((0u32..3, 0u32..3, 0usize..3), 1..6),
        with_sorry: bool,
        inhibit: bool,
        sorry_inhibit: bool,
        found in prop::collection::vec((1u8..8, 0u32..3), 0..6),
    ) {
        let servers = members.iter().enumerate().map(|(n, (weight, tier, _))| server(n as u8 + 1, *weight, *tier)).collect();
        let mut pool = pool(servers);
        pool.inhibit_on_failure = inhibit;
        pool.sorry_server = if with_sorry { sorry(9, sorry_inhibit) } else { None };
        let states: Vec<_> = members.iter().map(|(_, _, state)| [ServerState::Up, ServerState::Down, ServerState::Unknown][*state]).collect();
        let current = Service {
            spec: pool.spec.clone(),
            destinations: found.iter().map(|(n, weight)| (DestinationKey::new(address(*n), 80), DestinationSpec::new(Forwarding::Dr, *weight))).collect(),
        };
        let wanted = first_look(&pool, &states, &current);
        let weight_of = |n: u8| wanted.get(&DestinationKey::new(address(n), 80)).map_or(0, |spec| spec.weight);
        let undecided = states.contains(&ServerState::Unknown);
        let somebody = pool.real_servers.iter().zip(&states).any(|(server, state)| *state == ServerState::Up && server.spec.weight > 0);
        if !undecided && (somebody || with_sorry) {
            prop_assert!(wanted.values().any(|spec| spec.weight > 0), "{}", shown(&wanted));
        }
        for (n, state) in states.iter().enumerate() {
            if *state == ServerState::Down {
                prop_assert_eq!(weight_of(n as u8 + 1), 0);
            }
        }
        if !undecided && somebody {
            prop_assert_eq!(weight_of(9), 0);
        }
    }
}
