//! Quorum, tiers, panic, slow start, drains, commands and suspended checks, through the whole director.

use super::operator::id;
use super::*;
use crate::model::{AdminState, Command, Notify, OperatorOrder, ReturnMode};

fn command(word: &str) -> Option<Arc<Command>> {
    Some(Arc::new(Command {
        argv: vec!["/bin/true".to_owned(), word.to_owned()],
        user: "nobody".to_owned(),
        timeout: seconds(1),
    }))
}

fn notify() -> Notify {
    Notify {
        up: command("up"),
        down: command("down"),
    }
}

fn events(world: &World) -> Vec<String> {
    let one = |(subject, environment): &(String, BTreeMap<&str, String>)| {
        let reason = environment.get("IPVSD_REASON").map(|reason| format!(" ({reason})"));
        format!(
            "{subject}: {}{}",
            environment["IPVSD_EVENT"],
            reason.unwrap_or_default()
        )
    };
    world.commands.iter().map(one).collect()
}

fn order(world: &mut World, order: OperatorOrder) {
    world.tell(Event::Operator(order));
    world.run_for(Duration::from_millis(10));
}

#[test]
fn commands_are_run_for_what_changed_and_told_why() {
    let mut world = World::new();
    let mut pool = with_sorry(pool(200, &[11, 12]), 20);
    pool.policy.quorum_notify = notify();
    for server in &mut pool.real_servers {
        server.notify = notify();
    }
    world.answer(12, Answer::Refuses);
    world.start(config(vec![pool.clone()]));
    world.run_for(seconds(5));
    assert_eq!(
        events(&world),
        [
            "192.0.2.12:80 of pool-200: server_down (connection refused)",
            "pool-200: quorum_up",
        ],
        "a first success is no news, a first failure is"
    );
    world.commands.clear();
    world.answer(11, Answer::Hangs);
    world.run_for(seconds(10));
    world.answer(12, Answer::Accepts);
    world.run_for(seconds(10));
    world.set_state(200, 12, AdminState::Maint);
    assert_eq!(
        events(&world),
        [
            "192.0.2.11:80 of pool-200: server_down (no answer in time)",
            "pool-200: quorum_down",
            "192.0.2.12:80 of pool-200: server_up",
            "pool-200: quorum_up",
            "192.0.2.12:80 of pool-200: server_down (maint)",
            "pool-200: quorum_down",
        ]
    );
    world.commands.clear();
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    assert_eq!(events(&world), [""; 0], "a reload is no change");
}

#[test]
fn without_a_quorum_the_sorry_server_serves_and_nobody_is_refused_on_the_way() {
    let mut world = World::new();
    let mut pool = with_sorry(pool(200, &[11, 12, 13]), 20);
    pool.policy.quorum = 2;
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    world.invariant = |table| {
        let serving = |service: &Service| service.destinations.values().any(|spec| spec.weight > 0);
        assert!(table.services.values().all(serving), "an instant without a server");
    };
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(8));
    assert_eq!((world.shown().as_str(), world.quorum), ("12=1 13=1", Some(true)));
    world.answer(12, Answer::Refuses);
    world.run_for(seconds(8));
    assert_eq!((world.shown().as_str(), world.quorum), ("20=1", Some(false)));
    world.answer(12, Answer::Accepts);
    world.run_for(seconds(8));
    assert_eq!((world.shown().as_str(), world.quorum), ("12=1 13=1", Some(true)));
}

#[test]
fn a_manual_return_waits_over_reloads_and_restarts_until_it_is_ordered() {
    let mut world = World::new();
    let mut pool = with_sorry(pool(200, &[11]), 20);
    pool.policy.return_mode = ReturnMode::Manual;
    let config = config(vec![pool]);
    world.start(config.clone());
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=1", "a start from nothing is no return");
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "20=1");
    world.start(config.clone());
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "20=1");
    let mut again = World::new();
    (again.kernel, again.owned) = (world.kernel.clone(), world.owned.clone());
    again.start(config);
    again.run_for(seconds(10));
    assert_eq!(again.shown(), "20=1");
    let virtual_server = "pool-200".to_owned();
    order(&mut again, OperatorOrder::Return { virtual_server });
    assert_eq!(again.shown(), "11=1");
}

#[test]
fn a_delayed_return_comes_at_its_time_though_nothing_happens() {
    let mut world = World::new();
    let mut pool = with_sorry(pool(200, &[11]), 20);
    pool.policy.return_mode = ReturnMode::Delayed(seconds(100));
    // Between two probes nothing wakes the director but its own clock.
    let check = Arc::make_mut(&mut pool.real_servers[0].checks[0]);
    (check.interval, check.down_interval) = (seconds(1000), seconds(1000));
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(1010));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(1020));
    world.log.clear();
    world.run_for(seconds(200));
    assert_eq!(world.shown(), "11=1");
    assert!(
        world.log.iter().any(|line| line.contains("serving: the pool")),
        "{:?}",
        world.log
    );
}

#[test]
fn a_panic_keeps_servers_in_over_a_restart_too() {
    let mut world = World::new();
    let mut pool = pool(200, &[11, 12, 13]);
    pool.policy.panic_threshold = 50;
    let config = config(vec![pool]);
    world.start(config.clone());
    world.run_for(seconds(5));
    for n in [11, 12, 13] {
        world.answer(n, Answer::Refuses);
    }
    world.run_for(seconds(20));
    assert_eq!(world.shown(), "12=1 13=1", "the first one is out before it is too few");
    let panics = |world: &World| world.log.iter().filter(|line| line.contains("panic")).count();
    assert_eq!(panics(&world), 1, "{:?}", world.log);
    let mut again = World::new();
    (again.kernel, again.owned, again.answers) = (world.kernel.clone(), world.owned.clone(), world.answers.clone());
    again.start(config);
    again.run_for(seconds(10));
    assert_eq!(again.shown(), "12=1 13=1");
    again.answer(11, Answer::Accepts);
    again.answer(12, Answer::Accepts);
    again.run_for(seconds(10));
    assert_eq!(again.shown(), "11=1 12=1");
    assert_eq!(panics(&again), 2, "{:?}", again.log);
}

#[test]
fn a_slow_start_is_written_step_by_step_and_goes_on_over_a_reload() {
    let mut world = World::new();
    let mut pool = pool(200, &[11, 12]);
    pool.policy.slow_start = Some(seconds(100));
    let config = config(vec![pool]);
    world.start(config.clone());
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=1 12=1");
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "11=1 12=10");
    world.run_for(seconds(40));
    world.start(config);
    world.run_for(seconds(1));
    let tenths: u32 = world
        .shown()
        .strip_prefix("11=")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap();
    assert!((4..=5).contains(&tenths), "{}", world.shown());
    world.run_for(seconds(60));
    assert_eq!(world.shown(), "11=1 12=1");
}

#[test]
fn a_server_drains_until_its_connections_are_gone_or_its_time_is_over() {
    let mut world = World::new();
    let mut pool = pool(200, &[11, 12, 13]);
    pool.policy.drain_timeout = Some(seconds(60));
    world.start(config(vec![pool.clone()]));
    world.run_for(seconds(5));
    world.busy = [11, 12].map(address).into();
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "11=0 12=1 13=1");
    world.busy.remove(&address(11));
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "12=1 13=1", "the last connection has gone");
    // One that is no longer configured, and keeps its connections.
    pool.real_servers.remove(1);
    world.start(config(vec![pool.clone()]));
    world.run_for(seconds(55));
    assert_eq!(world.shown(), "12=0 13=1");
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "13=1");
    // Coming back in time ends it, and the next time counts anew.
    world.busy.insert(address(13));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(10));
    for _ in 0..3 {
        world.answer(13, Answer::Refuses);
        world.run_for(seconds(40));
        assert_eq!(world.shown(), "11=1 13=0");
        world.answer(13, Answer::Accepts);
        world.run_for(seconds(10));
        assert_eq!(world.shown(), "11=1 13=1");
    }
}

#[test]
fn a_destination_that_was_idle_once_is_not_taken_for_idle_again() {
    let mut world = World::new();
    let mut pool = pool(200, &[11, 12]);
    pool.policy.drain_timeout = Some(seconds(600));
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    // At weight 0 and idle by the operator's wish, then back, then down with connections before the next read.
    world.set_state(200, 11, AdminState::Drain);
    world.run_for(seconds(6));
    world.set_state(200, 11, AdminState::Ready);
    world.busy.insert(address(11));
    world.set_state(200, 11, AdminState::Maint);
    assert_eq!(world.shown(), "11=0 12=1");
    world.run_for(seconds(30));
    assert_eq!(world.shown(), "11=0 12=1");
}

#[test]
fn nobody_is_probed_while_no_address_is_here_and_everybody_at_once_when_one_comes() {
    let mut world = World::new();
    let mut pool = pool(200, &[11, 12]);
    pool.policy.ha_suspend = true;
    let config = config(vec![pool]);
    world.tell(Event::AddressesFound([address(1)].into()));
    world.start(config);
    world.run_for(seconds(10));
    assert!(world.probes.is_empty());
    world.tell(Event::AddressesFound([address(1), address(200)].into()));
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.shown(), "11=1 12=1");
    world.tell(Event::AddressesFound([address(1)].into()));
    world.run_for(seconds(1));
    world.answer(11, Answer::Refuses);
    world.probes.clear();
    world.run_for(seconds(20));
    assert_eq!(world.shown(), "11=1 12=1", "states stay");
    assert!(world.probes.is_empty());
    assert_eq!(
        world.log.iter().filter(|line| line.ends_with("suspended")).count(),
        2,
        "{:?}",
        world.log
    );
}

#[test]
fn two_directors_of_a_hash_service_add_everybody_in_the_same_order() {
    let added = |broken: u8, order: &[u8]| {
        let mut world = World::new();
        let mut pool = pool(200, order);
        pool.spec.scheduler = Scheduler::Mh;
        pool.inhibit_on_failure = true;
        world.answer(broken, Answer::Hangs);
        world.start(config(vec![pool]));
        world.run_for(seconds(5));
        let adds = world.log.iter().filter(|line| line.contains("add real server"));
        adds.map(|line| line.split(" (").next().unwrap()[6..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(added(11, &[11, 12, 13]), added(12, &[13, 12, 11]));
}

#[test]
fn a_maglev_service_is_filled_with_slots_for_those_who_are_down() {
    let mut world = World::new();
    let mut pool = pool(200, &[11, 12]);
    pool.spec.scheduler = Scheduler::Mh;
    pool.inhibit_on_failure = true;
    world.answer(12, Answer::Hangs);
    let mut config = config(vec![pool]);
    world.start(config.clone());
    world.run_for(seconds(5));
    let of_12 = |world: &World| -> Vec<_> {
        let lines = world.log.iter().filter(|line| line.contains("real server 192.0.2.12"));
        lines
            .map(|line| format!("{}{}", &line[6..9], line.split("weight").nth(1).unwrap_or("?")))
            .collect()
    };
    assert_eq!(of_12(&world), ["add 1)", "set 0)"], "{:?}", world.log);
    // In a service that serves nobody is let in for the sake of slots.
    config.virtual_servers[0].real_servers.push(server(13));
    world.answer(13, Answer::Hangs);
    world.start(config);
    world.run_for(seconds(5));
    assert!(
        world
            .log
            .iter()
            .any(|line| line.contains("add real server 192.0.2.13:80 to tcp 192.0.2.200:80 (dr weight 0)"))
    );
}

#[test]
fn a_rebuild_puts_everybody_in_again_in_order_at_once() {
    let mut world = World::new();
    let mut pool = pool(200, &[12, 11]);
    pool.spec.scheduler = Scheduler::Mh;
    pool.inhibit_on_failure = true;
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    world.log.clear();
    let batches = world.batches;
    let virtual_server = "pool-200".to_owned();
    order(&mut world, OperatorOrder::Rebuild { virtual_server });
    assert_eq!(world.batches, batches + 1);
    let words: Vec<_> = world
        .log
        .iter()
        .map(|line| line.split(" from ").next().unwrap()[6..].to_owned())
        .collect();
    assert_eq!(
        words,
        [
            "remove real server 192.0.2.11:80",
            "remove real server 192.0.2.12:80",
            "add real server 192.0.2.11:80 to tcp 192.0.2.200:80 (dr weight 1)",
            "add real server 192.0.2.12:80 to tcp 192.0.2.200:80 (dr weight 1)",
        ]
    );
    assert_eq!(
        world.director.check_order(&OperatorOrder::SetWeight {
            server: id(200, 11),
            weight: None
        }),
        Ok(())
    );
}

#[derive(Debug, Clone)]
enum Happening {
    Answers(u8, Answer),
    Is(u8, AdminState),
    Weighs(u8, Option<u32>),
    Returns,
    Reload,
}

fn happening() -> impl Strategy<Value = Happening> {
    let server = || 1u8..5;
    let admin = prop::sample::select(vec![AdminState::Ready, AdminState::Drain, AdminState::Maint]);
    prop_oneof![
        4 => (server(), any_answer()).prop_map(|(n, answer)| Happening::Answers(n, answer)),
        2 => (server(), admin).prop_map(|(n, state)| Happening::Is(n, state)),
        1 => (server(), prop::option::of(0u32..4)).prop_map(|(n, weight)| Happening::Weighs(n, weight)),
        1 => Just(Happening::Returns),
        1 => Just(Happening::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever servers, operators and reloads do, under whatever policy: no write leaves the service without a server;
    /// and once everything is taken back and has settled, the table is the one that a new director comes to.
    #[test]
    fn under_every_policy_somebody_serves_and_the_end_depends_on_the_inputs_alone(
        history in prop::collection::vec((happening(), 0u64..4000), 1..30),
        tiers in prop::array::uniform4(0u32..2),
        (quorum, mode, slow, drains, inhibit) in (1u32..4, 0usize..3, any::<bool>(), any::<bool>(), any::<bool>()),
        ends in prop::array::uniform4(any::<bool>()),
        leaving in prop::array::uniform4(any::<bool>()),
    ) {
        let mut pool = with_sorry(pool(200, &[1, 2, 3, 4]), 20);
        for (server, tier) in pool.real_servers.iter_mut().zip(tiers) {
            server.tier = tier;
        }
        pool.policy.quorum = quorum;
        pool.policy.return_mode = [ReturnMode::Auto, ReturnMode::Manual, ReturnMode::Delayed(seconds(5))][mode];
        pool.policy.slow_start = slow.then(|| seconds(20));
        pool.policy.drain_timeout = (drains && !inhibit).then(|| seconds(10));
        pool.inhibit_on_failure = inhibit;
        let config = config(vec![pool]);
        let mut world = World::new();
        world.busy = (1..5).filter(|n| leaving[usize::from(*n) - 1]).map(address).collect();
        world.start(config.clone());
        world.run_for(seconds(2));
        world.invariant = |table| {
            let serving = |service: &Service| service.destinations.values().any(|spec| spec.weight > 0);
            assert!(table.services.values().all(serving), "an instant without a server");
        };
        for (happening, pause) in history {
            match happening {
                Happening::Answers(n, answer) => world.answer(n, answer),
                Happening::Is(n, state) => world.set_state(200, n, state),
                Happening::Weighs(n, weight) => world.set_weight(200, n, weight),
                Happening::Returns => order(&mut world, OperatorOrder::Return { virtual_server: "pool-200".to_owned() }),
                Happening::Reload => world.start(config.clone()),
            }
            world.run_for(Duration::from_millis(pause));
        }
        let mut fresh = World::new();
        for n in 1..5 {
            world.set_state(200, n, AdminState::Ready);
            world.set_weight(200, n, None);
            for world in [&mut world, &mut fresh] {
                world.answer(n, if ends[usize::from(n) - 1] { Answer::Accepts } else { Answer::Refuses });
            }
        }
        fresh.start(config);
        for world in [&mut world, &mut fresh] {
            world.run_for(seconds(60));
            order(world, OperatorOrder::Return { virtual_server: "pool-200".to_owned() });
            world.run_for(seconds(60));
        }
        prop_assert_eq!(world.shown(), fresh.shown());
    }
}

#[test]
fn a_service_that_leaves_the_file_drains_first_where_it_is_asked_to() {
    let mut world = World::new();
    let mut leaving = pool(201, &[11, 12]);
    leaving.policy.drain_timeout = Some(seconds(60));
    leaving.device = Some("eth0".to_owned());
    let stays = pool(200, &[13]);
    world.start(config(vec![stays.clone(), leaving.clone()]));
    world.run_for(seconds(6));
    world.busy.insert(address(11));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![stays.clone()]))));
    world.run_for(seconds(20));
    let shown = |world: &World| {
        let found = world.kernel.services.get(&service(201))?;
        let weights = found.destinations.iter().map(|(key, spec)| (key.address, spec.weight));
        Some(weights.collect::<Vec<_>>())
    };
    assert_eq!(
        shown(&world),
        Some(vec![(address(11), 0)]),
        "who has nothing to do goes first"
    );
    assert_eq!(world.owned.addresses.len(), 1, "its address stays as long");
    assert!(!world.log.iter().any(|line| line.contains("drift")), "{:?}", world.log);
    // At the deadline the rest goes.
    world.run_for(seconds(46));
    assert_eq!(shown(&world), None);
    // One that comes back in time serves again.
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![
        stays.clone(),
        leaving.clone(),
    ]))));
    world.run_for(seconds(6));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![stays.clone()]))));
    world.run_for(seconds(6));
    assert_eq!(shown(&world), Some(vec![(address(11), 0)]));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![stays.clone(), leaving]))));
    world.run_for(seconds(6));
    assert_eq!(shown(&world), Some(vec![(address(11), 1), (address(12), 1)]));
    // Without connections it is gone as soon as that is seen.
    world.busy.clear();
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![stays]))));
    world.run_for(seconds(11));
    assert_eq!(shown(&world), None);
}
