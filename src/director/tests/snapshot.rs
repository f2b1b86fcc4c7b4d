//! What one director leaves for the next: the same decisions, and nothing written where nothing has happened.

use super::*;
use crate::model::{Advice, ReturnMode, Snapshot, StateAdvice};

/// What a file keeps of it.
fn kept(world: &World) -> Snapshot {
    let text = serde_json::to_string(&world.director.snapshot(world.now)).expect("it can be written");
    serde_json::from_str(&text).expect("it can be read")
}

/// A world like another one in which the daemon has ended `pause` ago, and another one starts.
fn successor(world: &World, config: Config, pause: Duration) -> World {
    let mut next = World {
        kernel: world.kernel.clone(),
        owned: world.owned.clone(),
        answers: world.answers.clone(),
        busy: world.busy.clone(),
        now: Instant::START + seconds(1),
        ..World::new()
    };
    next.tell(Event::StateLoaded {
        snapshot: Box::new(kept(world)),
        age: pause,
    });
    next.start(config);
    next
}

/// A pool that keeps everybody in the table, its sorry server too.
fn inhibited(servers: &[u8]) -> VirtualServer {
    let mut pool = with_sorry(pool(200, servers), 20);
    pool.inhibit_on_failure = true;
    if let Some(sorry) = &mut pool.sorry_server {
        sorry.inhibit = true;
    }
    pool
}

#[test]
fn a_restart_writes_nothing_with_servers_down_drained_and_on_their_way_back() {
    let mut slow = inhibited(&[11, 12, 13, 14]);
    slow.policy.slow_start = Some(seconds(100));
    for server in &mut slow.real_servers {
        server.spec.weight = 100;
    }
    let config = config(vec![slow]);
    let mut world = World::new();
    world.answer(13, Answer::Drains);
    world.start(config.clone());
    world.run_for(seconds(10));
    world.answer(12, Answer::Refuses);
    world.answer(14, Answer::Hangs);
    world.run_for(seconds(10));
    world.answer(14, Answer::Accepts);
    world.run_for(seconds(27));
    let shown = world.shown();
    assert!(
        shown.starts_with("11=100 12=0 13=0 14=") && shown.ends_with("20=0") && !shown.contains("14=100"),
        "{shown}"
    );
    let mut next = successor(&world, config, Duration::from_millis(300));
    next.run_for(Duration::from_millis(900));
    assert_eq!((next.batches, next.shown()), (0, shown), "{:?}", next.log);
    assert_eq!(next.log, [" 1000 took over 4 of 4 checks"]);
    next.answer(12, Answer::Accepts);
    next.run_for(seconds(100));
    assert!(next.shown().contains("14=100"), "{}", next.shown());
    assert!(next.shown().contains("12=9"), "{}", next.shown());
}

#[test]
fn what_died_or_returned_meanwhile_is_found_by_the_rules_and_not_at_once() {
    let config = config(vec![inhibited(&[11, 12, 13])]);
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config.clone());
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "11=1 12=0 13=1 20=0");
    world.answer(11, Answer::Refuses);
    world.answer(12, Answer::Accepts);
    let mut next = successor(&world, config, seconds(60));
    next.run_for(Duration::from_millis(500));
    // A first failure is a verdict of a server that was never seen up, and not of this one.
    assert_eq!(next.shown(), "11=1 12=0 13=1 20=0");
    next.run_for(Duration::from_millis(1000));
    assert_eq!(next.shown(), "11=1 12=1 13=1 20=0", "two successes");
    next.run_for(Duration::from_millis(1000));
    assert_eq!(next.shown(), "11=0 12=1 13=1 20=0", "three failures");
}

#[test]
fn a_table_that_somebody_has_emptied_is_filled_before_the_first_probe_ends() {
    let config = config(vec![inhibited(&[11, 12])]);
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config.clone());
    world.run_for(seconds(10));
    let shown = world.shown();
    world.kernel = Table::default();
    for n in [11, 12] {
        world.answer(n, Answer::Hangs);
    }
    let mut next = successor(&world, config, seconds(5));
    next.run_for(Duration::from_millis(100));
    assert_eq!(next.shown(), shown);
}

/// Takes a server out of the table, or puts it in, as the process before did after its last word in the file.
fn change_behind_the_file(world: &mut World, n: u8, weight: Option<u32>) {
    for service in world.kernel.services.values_mut() {
        let is_it = |key: &DestinationKey| key.address.to_string().ends_with(&format!(".{n}"));
        let key = *service.destinations.keys().find(|key| is_it(key)).expect("a server");
        match weight {
            None => drop(service.destinations.remove(&key)),
            Some(weight) => service.destinations.get_mut(&key).expect("a server").weight = weight,
        }
    }
}

#[test]
fn a_server_that_died_or_returned_after_the_last_word_in_the_file_stays_as_it_was_found_until_its_next_verdict() {
    for inhibit in [true, false] {
        let mut pool = with_sorry(pool(200, &[11, 12, 13]), 20);
        pool.inhibit_on_failure = inhibit;
        let config = config(vec![pool]);
        let mut world = World::new();
        world.start(config.clone());
        world.run_for(seconds(10));
        // Out of the table; the file, which was written before, has it up.
        change_behind_the_file(&mut world, 11, inhibit.then_some(0));
        world.answer(11, Answer::Refuses);
        let found = world.shown();
        let mut next = successor(&world, config.clone(), Duration::from_millis(300));
        for _ in 0..100 {
            next.run_for(Duration::from_millis(100));
            assert_eq!(next.shown(), found, "it is never in: {:?}", next.log);
        }
        // One that somebody else took out is in again with its first success.
        world.answer(11, Answer::Accepts);
        let mut next = successor(&world, config, Duration::from_millis(300));
        next.run_for(Duration::from_millis(500));
        assert!(next.shown().starts_with("11=1 12=1 13=1"), "{}", next.shown());
    }
    // In the table; the file has it down.
    let config = config(vec![inhibited(&[11, 12])]);
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config.clone());
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "11=1 12=0 20=0");
    change_behind_the_file(&mut world, 12, Some(1));
    world.answer(12, Answer::Accepts);
    let mut next = successor(&world, config, Duration::from_millis(300));
    for _ in 0..50 {
        next.run_for(Duration::from_millis(100));
        assert_eq!(
            (next.batches, next.shown().as_str()),
            (0, "11=1 12=1 20=0"),
            "{:?}",
            next.log
        );
    }
}

#[test]
fn the_sorry_server_stays_while_all_others_are_doubted() {
    let config = config(vec![with_sorry(pool(200, &[11, 12]), 20)]);
    let mut world = World::new();
    world.start(config.clone());
    world.run_for(seconds(10));
    // All have died after the last word in the file, and the sorry server has come in.
    let before = kept(&world);
    for n in [11, 12] {
        world.answer(n, Answer::Refuses);
    }
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "20=1");
    let mut next = World {
        kernel: world.kernel.clone(),
        owned: world.owned.clone(),
        answers: world.answers.clone(),
        now: Instant::START + seconds(1),
        ..World::new()
    };
    next.tell(Event::StateLoaded {
        snapshot: Box::new(before),
        age: seconds(10),
    });
    next.start(config);
    for _ in 0..50 {
        next.run_for(Duration::from_millis(100));
        assert_eq!(next.shown(), "20=1", "{:?}", next.log);
    }
}

#[test]
fn servers_and_settings_that_are_new_stay_as_they_were_found() {
    let before = config(vec![inhibited(&[11, 12])]);
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(before);
    world.run_for(seconds(10));
    let mut after = inhibited(&[11, 12, 13]);
    let other = CheckSpec { fall: 7, ..check() };
    after.real_servers[1].checks = vec![other.into()];
    for n in 11..=13 {
        world.answer(n, Answer::Hangs);
    }
    let mut next = successor(&world, config(vec![after]), seconds(5));
    next.run_for(Duration::from_millis(100));
    assert_eq!(next.shown(), "11=1 12=0 20=0");
    assert!(next.log[0].ends_with("took over 1 of 3 checks"), "{:?}", next.log);
    let pools = next.director.pools();
    let states: Vec<_> = pools.seats(0).iter().map(|seat| seat.standing.state).collect();
    assert_eq!(states, [ServerState::Up, ServerState::Unknown, ServerState::Unknown]);
}

#[test]
fn failures_before_a_long_pause_are_not_in_a_row_with_those_after_it() {
    for (pause, out_after_one) in [(1, true), (60, false)] {
        let config = config(vec![inhibited(&[11, 12])]);
        let mut world = World::new();
        world.start(config.clone());
        world.run_for(Duration::from_millis(10_500));
        world.answer(11, Answer::Refuses);
        // Two failures, where three are a verdict.
        world.run_for(Duration::from_millis(2_700));
        let mut next = successor(&world, config, seconds(pause));
        next.run_for(Duration::from_millis(100));
        assert_eq!(
            next.shown() == "11=0 12=1 20=0",
            out_after_one,
            "{pause}: {}",
            next.shown()
        );
    }
}

#[test]
fn a_return_that_waits_goes_on_waiting_and_is_not_told_again() {
    let mut delayed = inhibited(&[11]);
    delayed.policy.return_mode = ReturnMode::Delayed(seconds(60));
    let config = config(vec![delayed]);
    let mut world = World::new();
    world.start(config.clone());
    world.run_for(seconds(10));
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(20));
    assert!(world.log.iter().any(|line| line.contains("awaited")), "{:?}", world.log);
    let mut next = successor(&world, config, seconds(20));
    next.run_for(seconds(10));
    assert_eq!(next.shown(), "11=0 20=1");
    assert!(!next.log.iter().any(|line| line.contains("awaited")), "{:?}", next.log);
    next.run_for(seconds(20));
    assert_eq!(next.shown(), "11=1 20=0");
}

#[test]
fn a_server_that_is_held_down_for_flapping_stays_so_for_the_rest_of_its_time() {
    let flap = Flap {
        changes: 2,
        within: seconds(100),
        hold_down: seconds(100),
        longest: seconds(400),
    };
    let spec = CheckSpec {
        flap: Some(flap),
        ..check()
    };
    let mut flapping = inhibited(&[11, 12]);
    flapping.real_servers[0].checks = vec![spec.into()];
    let config = config(vec![flapping]);
    let mut world = World::new();
    world.start(config.clone());
    world.run_for(seconds(10));
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(10));
    assert_eq!(world.shown(), "11=0 12=1 20=0", "{:?}", world.log);
    let mut next = successor(&world, config, seconds(20));
    next.run_for(seconds(50));
    assert_eq!(next.shown(), "11=0 12=1 20=0");
    next.run_for(seconds(30));
    assert_eq!(next.shown(), "11=1 12=1 20=0");
}

#[test]
fn why_says_whose_verdict_it_is_until_a_probe_has_ended() {
    let config = config(vec![inhibited(&[11])]);
    let mut world = World::new();
    world.start(config.clone());
    world.run_for(seconds(10));
    world.answer(11, Answer::Hangs);
    let now = |world: &World| Now {
        instant: world.now,
        time: crate::model::UnixTime::from_millis(1_800_000_000_000),
    };
    let mut next = successor(&world, config, seconds(5));
    next.run_for(Duration::from_millis(100));
    let why = next.director.why("192.0.2.11:80", now(&next)).expect("it is known");
    assert!(
        why[0]
            .reasons
            .iter()
            .any(|reason| reason.contains("before ipvsd was started again")),
        "{why:?}"
    );
    let (check, age) = (&why[0].checks[0], |time| now(&next).time.since(time));
    assert_eq!(check.state, "up");
    assert!(
        age(check.since) > seconds(14) && age(check.since) < seconds(16),
        "{check:?}"
    );
    assert!(
        check.results.len() > 3 && check.results.iter().all(|result| age(result.time) >= seconds(5)),
        "{check:?}"
    );
    next.run_for(seconds(1));
    let why = next.director.why("192.0.2.11:80", now(&next)).expect("it is known");
    assert!(
        !why[0].reasons.iter().any(|reason| reason.contains("before")),
        "{why:?}"
    );
}

#[test]
fn a_service_that_the_configuration_lost_leaves_slowly_where_that_was_asked_for() {
    let slow = |vip: u8| {
        let mut pool = pool(vip, &[11, 12]);
        pool.policy.drain_timeout = Some(seconds(60));
        pool
    };
    let mut world = World::new();
    let both = config(vec![pool(200, &[11]), slow(201), pool(202, &[11])]);
    world.start(both.clone());
    world.run_for(seconds(10));
    world.busy.insert(address(11));
    // While the daemon is dead, and while it runs.
    for dead in [true, false] {
        let smaller = config(vec![pool(200, &[11])]);
        let mut next = successor(&world, if dead { smaller.clone() } else { both.clone() }, seconds(5));
        if !dead {
            next.run_for(seconds(3));
            next.tell(Event::ConfigLoaded(Arc::new(smaller.clone())));
        }
        next.run_for(Duration::from_millis(100));
        let keys: Vec<_> = next.kernel.services.keys().copied().collect();
        assert_eq!(keys, [service(200), service(201)], "{dead}");
        assert!(
            next.kernel.services[&service(201)]
                .destinations
                .values()
                .all(|spec| spec.weight == 0)
        );
        assert!(next.owned.services.contains(&service(201)));
        next.run_for(seconds(30));
        assert!(next.kernel.services.contains_key(&service(201)));
        // The rest of its time passes over another restart.
        let mut third = successor(&next, smaller, seconds(10));
        third.run_for(seconds(10));
        assert!(third.kernel.services.contains_key(&service(201)));
        third.run_for(seconds(15));
        assert!(!third.kernel.services.contains_key(&service(201)));
        assert!(!third.owned.services.contains(&service(201)));
    }
    // Without connections it goes with the next look.
    world.busy.clear();
    let mut next = successor(&world, config(vec![pool(200, &[11])]), seconds(5));
    next.run_for(seconds(6));
    assert!(!next.kernel.services.contains_key(&service(201)));
}

/// Puts another value in the place of the number or truth at `place` of a document, counted from its start.
fn disturb(value: &mut serde_json::Value, place: &mut usize, with: u64) {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| disturb(item, place, with)),
        Value::Object(members) => members.values_mut().for_each(|item| disturb(item, place, with)),
        Value::Number(number) => {
            if *place == 0 {
                *value = match number.as_i64() {
                    Some(0..) | None => Value::from(with),
                    Some(_) => Value::from(with.cast_signed()),
                };
            }
            *place = place.wrapping_sub(1);
        }
        Value::Bool(truth) => {
            if *place == 0 {
                *truth = !*truth;
            }
            *place = place.wrapping_sub(1);
        }
        Value::Null | Value::String(_) => {}
    }
}

proptest! {
    /// A file may have any numbers: nothing panics, no verdict comes without a probe, and healthy servers serve in the
    /// end.
    #[test]
    fn any_numbers_are_lived_with(place in 0_usize..200, with in prop_oneof![0_u64..100, Just(u64::MAX), Just(1 << 63), any::<u64>()]) {
        let mut web = inhibited(&[11, 12, 13]);
        web.policy.slow_start = Some(seconds(20));
        web.policy.drain_timeout = Some(seconds(20));
        let flap = Flap { changes: 2, within: seconds(100), hold_down: seconds(10), longest: seconds(40) };
        web.real_servers[0].checks = vec![CheckSpec { flap: Some(flap), ..check() }.into()];
        let config = config(vec![web]);
        let mut world = World::new();
        world.start(config.clone());
        for answer in [Answer::Refuses, Answer::Accepts, Answer::Refuses, Answer::Accepts] {
            world.answer(11, answer);
            world.run_for(seconds(10));
        }
        let mut value = serde_json::to_value(kept(&world)).expect("it can be written");
        disturb(&mut value, &mut { place }, with);
        let Ok(snapshot) = serde_json::from_value::<Snapshot>(value) else { return Ok(()) };
        let mut next = World { kernel: world.kernel.clone(), owned: world.owned.clone(), ..World::new() };
        next.tell(Event::StateLoaded { snapshot: Box::new(snapshot), age: seconds(1) });
        next.start(config);
        next.run_for(seconds(120));
        prop_assert_eq!(next.shown(), "11=1 12=1 13=1 20=0", "{:?}", next.log);
    }

    /// Whatever has happened, a director that takes over from another one writes nothing, and decides from there on what
    /// the other one would have decided.
    #[test]
    fn a_successor_decides_as_its_predecessor_would_have(
        story in prop::collection::vec((11_u8..15, 0_u8..4, 1_u64..9000), 1..25),
        last: (u8, u8),
        quorum in 1_u32..4,
        hysteresis in 0_u32..2,
        mode in 0_u8..3,
        inhibit: bool,
        seed: u64,
    ) {
        let mut web = with_sorry(pool(200, &[11, 12, 13, 14]), 20);
        web.inhibit_on_failure = inhibit;
        web.real_servers[3].tier = 1;
        web.policy.quorum = quorum;
        web.policy.hysteresis = hysteresis.min(quorum - 1);
        web.policy.slow_start = (seed % 2 == 0).then(|| seconds(30));
        web.policy.panic_threshold = if seed % 3 == 0 { 50 } else { 0 };
        web.policy.return_mode = match mode {
            0 => ReturnMode::Auto,
            1 => ReturnMode::Manual,
            _ => ReturnMode::Delayed(seconds(7)),
        };
        let config = config(vec![web]);
        let answer = |number| match number {
            0 => Answer::Accepts,
            1 => Answer::Refuses,
            2 => Answer::Hangs,
            _ => Answer::Drains,
        };
        let mut world = World::new();
        world.start(config.clone());
        for (n, how, pause) in story {
            world.answer(n, answer(how));
            world.run_for(Duration::from_millis(pause));
        }
        world.run_for(seconds(20));
        let mut twin = successor(&world, config, Duration::from_millis(2));
        let answers = world.answers.clone();
        // No probe says anything for a while: what is written comes from what is known.
        for n in 11..15 {
            world.answer(n, Answer::LocalTrouble);
            twin.answer(n, Answer::LocalTrouble);
        }
        world.run_for(Duration::from_millis(500));
        twin.run_for(Duration::from_millis(498));
        prop_assert_eq!(twin.shown(), world.shown(), "{:?}", twin.log);
        for world in [&mut world, &mut twin] {
            world.answers = answers.clone();
            world.answer(11 + last.0 % 4, answer(last.1 % 4));
        }
        // Verdicts come at other moments, since probes do; where they lead to is the same.
        world.run_for(seconds(120));
        twin.run_for(seconds(120));
        prop_assert_eq!(twin.shown(), world.shown(), "{:?}\n{:?}", twin.log, world.log);
    }
}

#[test]
fn what_an_agent_said_after_the_last_word_in_the_file_is_undone_by_nobody() {
    let advise = |state| Advice {
        weight: None,
        state: Some(state),
        max_connections: None,
    };
    let (drain, ready) = (advise(StateAdvice::Drain), advise(StateAdvice::Ready));
    // Drained, while the file has it serve; and the other way round.
    for (before, after, weight) in [(ready, drain, 0), (drain, ready, 1)] {
        let config = config(vec![inhibited(&[11, 12])]);
        let mut world = World::new();
        world.advice.insert(address(11), before);
        world.start(config.clone());
        world.run_for(seconds(10));
        assert_eq!(world.shown(), format!("11={} 12=1 20=0", 1 - weight));
        change_behind_the_file(&mut world, 11, Some(weight));
        world.advice.insert(address(11), after);
        let found = world.shown();
        let mut next = successor(&world, config, Duration::from_millis(300));
        next.advice.clone_from(&world.advice);
        for _ in 0..50 {
            next.run_for(Duration::from_millis(100));
            assert_eq!((next.batches, next.shown()), (0, found.clone()), "{:?}", next.log);
        }
    }
}

#[test]
fn a_server_that_is_probed_in_the_path_stays_as_it_was_found_until_its_next_verdict() {
    let config = in_the_path(200, &[11, 12]);
    let mut world = World::new();
    world.start(config.clone());
    world.run_for(seconds(10));
    // Out of the table; the file, which was written before, has it up.
    let destination = DestinationKey::new(address(11), 80);
    let pool = world.kernel.services.get_mut(&service(200)).expect("a service");
    assert!(pool.destinations.remove(&destination).is_some());
    world.answer(11, Answer::Refuses);
    let mut next = successor(&world, config.clone(), Duration::from_millis(300));
    for _ in 0..100 {
        next.run_for(Duration::from_millis(100));
        assert_eq!(serving(&next, 200), "12=1", "it is never in: {:?}", next.log);
    }
    world.answer(11, Answer::Accepts);
    let mut next = successor(&world, config, Duration::from_millis(300));
    next.run_for(Duration::from_millis(500));
    assert_eq!(serving(&next, 200), "11=1 12=1", "{:?}", next.log);
}
