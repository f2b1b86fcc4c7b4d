//! What the other director has found counts where this one knows nothing, and nowhere else.

use super::*;
use crate::model::{Advice, PEER_REFRESH, PeerVerdict, WeightAdvice};

/// What a director tells the other one, as it is heard there.
fn told(world: &World) -> Vec<PeerVerdict> {
    let text = serde_json::to_string(&world.director.own_verdicts(1000, world.now)).expect("it can be written");
    serde_json::from_str(&text).expect("it can be read")
}

impl World {
    fn hear(&mut self, verdicts: Vec<PeerVerdict>) {
        self.tell(Event::PeerTold(verdicts));
        self.run_for(Duration::from_millis(10));
    }
}

/// A pool whose first probes come late.
fn late(servers: &[u8]) -> VirtualServer {
    let mut pool = pool(200, servers);
    for server in &mut pool.real_servers {
        let warmup = Some(seconds(300));
        server.checks = vec![CheckSpec { warmup, ..check() }.into()];
    }
    pool
}

/// A director that has probed the servers of a pool for a while; 12 is down.
fn knowing(pool: VirtualServer) -> World {
    let warmup = pool.real_servers[0].checks[0].warmup.unwrap_or_default();
    let mut world = World::new();
    world.answer(12, Answer::Refuses);
    world.start(config(vec![pool]));
    world.run_for(warmup + seconds(30));
    world
}

#[test]
fn a_director_that_starts_blind_goes_by_the_other_ones_verdicts_before_its_first_probe() {
    let pool = late(&[11, 12, 13]);
    let verdicts = told(&knowing(pool.clone()));
    assert_eq!(verdicts.iter().filter(|verdict| verdict.up).count(), 2);
    let mut world = World::new();
    world.start(config(vec![pool]));
    world.run_for(seconds(1));
    assert_eq!((world.shown().as_str(), world.probes.len()), ("", 0));
    world.hear(verdicts.clone());
    assert_eq!((world.shown().as_str(), world.probes.len()), ("11=1 13=1", 0));
    let lines: Vec<_> = world.log.iter().filter(|line| line.contains("->")).collect();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("192.0.2.12:80 unknown -> down (the peer says: connection refused)")),
        "{lines:?}"
    );
    assert_eq!(world.director.hearsay(), (3, 3));
    let says = |world: &World| world.log.iter().filter(|line| line.contains("peer's verdicts")).count();
    assert_eq!(says(&world), 1);
    // The same again is no news, and what is only heard is not told on.
    world.hear(verdicts);
    assert_eq!((says(&world), told(&world).len()), (1, 0));
}

#[test]
fn what_a_probe_of_this_host_has_found_is_never_outvoted() {
    let pool = pool(200, &[11, 12]);
    let verdicts = told(&knowing(pool.clone()));
    let mut world = World::new();
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=1 12=1");
    let batches = world.batches;
    world.hear(verdicts.clone());
    let all_down = verdicts.into_iter().map(|verdict| PeerVerdict { up: false, ..verdict });
    world.hear(all_down.collect());
    assert_eq!((world.shown().as_str(), world.batches), ("11=1 12=1", batches));
    assert_eq!(world.director.hearsay(), (0, 2));
}

#[test]
fn the_first_verdict_of_its_own_ends_it_as_soon_as_without_it() {
    for (answer, says_up, shown) in [(Answer::Accepts, false, "11=1"), (Answer::Refuses, true, "")] {
        let mut pool = pool(200, &[11]);
        let spec = CheckSpec {
            warmup: Some(seconds(60)),
            rise: 5,
            fall: 5,
            first_fall: 1,
            ..check()
        };
        pool.real_servers[0].checks = vec![spec.into()];
        let verdicts = told(&knowing(pool.clone()));
        let mut world = World::new();
        world.answer(11, answer);
        world.start(config(vec![pool]));
        let heard = verdicts.into_iter().map(|verdict| PeerVerdict {
            up: says_up,
            age: 0,
            ..verdict
        });
        world.hear(heard.collect());
        assert_eq!(world.director.hearsay().0, 1);
        while world.probes.is_empty() {
            world.run_for(Duration::from_millis(50));
        }
        world.run_for(Duration::from_millis(100));
        assert_eq!(
            (world.shown().as_str(), world.director.hearsay().0),
            (shown, 0),
            "{:?}",
            world.log
        );
    }
}

#[test]
fn it_ages_out_and_leaves_the_table_as_it_is() {
    let pool = late(&[11, 12]);
    let verdicts = told(&knowing(pool.clone()));
    let mut world = World::new();
    world.start(config(vec![pool]));
    world.run_for(seconds(1));
    world.hear(verdicts.clone());
    assert_eq!(world.shown(), "11=1");
    let batches = world.batches;
    world.run_for(PEER_REFRESH);
    assert_eq!(world.director.hearsay().0, 2, "it has just been said");
    world.run_for(seconds(60));
    assert_eq!(
        (world.director.hearsay().0, world.batches),
        (0, batches),
        "{:?}",
        world.log
    );
    assert_eq!(world.shown(), "11=1");
    // Nor does it begin to count that late.
    let old = verdicts.into_iter().map(|verdict| PeerVerdict {
        age: 120_000,
        ..verdict
    });
    world.hear(old.collect());
    assert_eq!(world.director.hearsay().0, 0);
}

#[test]
fn a_backup_whose_checks_are_suspended_follows_the_master() {
    let mut pool = pool(200, &[11, 12]);
    pool.policy.ha_suspend = true;
    let mut master = World::new();
    master.start(config(vec![pool.clone()]));
    master.run_for(seconds(10));
    let mut world = World::new();
    world.start(config(vec![pool]));
    world.run_for(seconds(5));
    world.tell(Event::AddressesFound(BTreeSet::new()));
    world.run_for(seconds(60));
    assert_eq!(world.shown(), "11=1 12=1");
    master.answer(11, Answer::Refuses);
    master.run_for(seconds(10));
    world.hear(told(&master));
    assert_eq!(world.shown(), "12=1", "{:?}", world.log);
    master.answer(11, Answer::Accepts);
    master.run_for(seconds(20));
    world.hear(told(&master));
    assert_eq!(world.shown(), "11=1 12=1");
    // As master it sees for itself.
    world.answer(12, Answer::Refuses);
    world.tell(Event::AddressesFound(BTreeSet::from([address(200)])));
    world.run_for(seconds(10));
    assert_eq!((world.shown().as_str(), world.director.hearsay().0), ("11=1", 0));
}

#[test]
fn what_a_check_has_advised_comes_with_its_verdict() {
    let pool = late(&[11]);
    let mut knows = World::new();
    let advice = Advice {
        weight: Some(WeightAdvice::Absolute(7)),
        ..Advice::default()
    };
    knows.advice.insert(address(11), advice);
    knows.start(config(vec![pool.clone()]));
    knows.run_for(seconds(330));
    let mut world = World::new();
    world.start(config(vec![pool]));
    world.run_for(seconds(1));
    world.hear(told(&knows));
    assert_eq!(world.shown(), "11=7");
}

#[test]
fn what_came_with_a_verdict_goes_with_it() {
    let pool = late(&[11, 12]);
    let mut knows = World::new();
    for number in [11, 12] {
        let advice = Advice {
            weight: Some(WeightAdvice::Absolute(7)),
            ..Advice::default()
        };
        knows.advice.insert(address(number), advice);
    }
    knows.start(config(vec![pool.clone()]));
    knows.run_for(seconds(330));
    let mut world = World::new();
    // The check advises nothing here but the state.
    let advice = Advice {
        state: Some(crate::model::StateAdvice::Ready),
        ..Advice::default()
    };
    world.advice.insert(address(11), advice);
    world.start(config(vec![pool]));
    world.run_for(seconds(1));
    world.hear(told(&knows));
    assert_eq!(world.shown(), "11=7 12=7");
    let weight = |world: &World| world.director.pools().standing(0, 0).weight;
    // Nobody vouches for it any more; what is not known stays as it was found.
    world.run_for(seconds(60));
    assert_eq!((world.director.hearsay().0, weight(&world)), (0, 1), "{:?}", world.log);
    assert_eq!(world.shown(), "11=7 12=7");
    // It is heard anew and then ended by own verdicts.
    world.hear(told(&knows));
    assert_eq!((world.director.hearsay().0, weight(&world)), (2, 7));
    world.run_for(seconds(300));
    assert_eq!((world.shown().as_str(), world.director.hearsay().0), ("11=1 12=1", 0));
}

#[test]
fn a_reload_that_changes_a_check_makes_no_own_verdict_of_what_was_heard() {
    let pool = late(&[11, 12]);
    let verdicts = told(&knowing(pool.clone()));
    let mut world = World::new();
    world.start(config(vec![pool.clone()]));
    world.run_for(seconds(1));
    world.hear(verdicts);
    assert_eq!(
        (world.shown().as_str(), world.director.pools().counts()),
        ("11=1", (1, 1, 0))
    );
    let mut other = pool;
    for server in &mut other.real_servers {
        let mut spec = CheckSpec::clone(&server.checks[0]);
        spec.name = "another".to_owned();
        spec.probe = ProbeSpec::new(ProbeKind::Tcp(vec![crate::model::TalkStep::Send(crate::model::Bytes(
            b"?".to_vec(),
        ))]))
        .into();
        server.checks = vec![spec.into()];
    }
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![other]))));
    world.run_for(seconds(1));
    assert_eq!(world.director.pools().counts(), (0, 0, 2), "{:?}", world.log);
    assert_eq!(world.shown(), "11=1");
}

#[test]
fn other_settings_are_another_check_and_initial_up_is_no_verdict() {
    let verdicts = told(&knowing(late(&[11, 12])));
    let mut other = late(&[11, 12]);
    for server in &mut other.real_servers {
        let mut spec = CheckSpec::clone(&server.checks[0]);
        spec.fall += 1;
        server.checks = vec![spec.into()];
    }
    let mut world = World::new();
    world.start(config(vec![other]));
    world.hear(verdicts);
    assert_eq!(world.director.hearsay(), (0, 2));
    let mut assumed = late(&[11, 12]);
    for server in &mut assumed.real_servers {
        let mut spec = CheckSpec::clone(&server.checks[0]);
        spec.initial = Initial::Up;
        server.checks = vec![spec.into()];
    }
    let verdicts = told(&knowing(assumed.clone()));
    let mut world = World::new();
    world.start(config(vec![assumed]));
    world.run_for(seconds(1));
    assert_eq!(world.shown(), "11=1 12=1");
    world.hear(verdicts);
    assert_eq!(world.shown(), "11=1");
    // Without anybody's word it is taken as up again.
    world.run_for(seconds(60));
    assert_eq!(world.shown(), "11=1 12=1");
}

proptest! {
    /// Whatever the other one says, and whenever, a director whose probes run ends where it would have without a word.
    #[test]
    fn no_word_of_the_other_one_lasts_against_probes(
        said in prop::collection::vec((any::<bool>(), 0u64..200_000, 0u64..5_000), 0..8),
        down in prop::collection::vec(any::<bool>(), 3),
    ) {
        let servers = config(vec![pool(200, &[11, 12, 13])]);
        let verdicts = told(&knowing(pool(200, &[11, 12, 13])));
        let mut alone = World::new();
        let mut world = World::new();
        for (number, down) in (11u8..).zip(down) {
            if down {
                alone.answer(number, Answer::Refuses);
                world.answer(number, Answer::Refuses);
            }
        }
        alone.start(servers.clone());
        world.start(servers);
        for (up, age, pause) in said {
            let heard = verdicts.iter().map(|verdict| PeerVerdict { up, age, ..verdict.clone() });
            world.hear(heard.collect());
            world.run_for(Duration::from_millis(pause));
        }
        alone.run_for(seconds(120));
        world.run_for(seconds(120));
        prop_assert_eq!(world.shown(), alone.shown());
        prop_assert_eq!(world.director.hearsay().0, 0);
    }
}
