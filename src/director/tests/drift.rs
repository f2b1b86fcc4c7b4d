//! Others who change the table: what is written then, and what is said.

use super::*;

/// Runs for some time, second by second, with somebody who acts on the table before each.
fn with_rival(world: &mut World, duration: u64, mut act: impl FnMut(&mut Table, u64)) {
    for second in 0..duration {
        act(&mut world.kernel, second);
        world.run_for(seconds(1));
    }
}

fn quarrels(world: &World) -> Vec<&str> {
    let of_quarrels = |line: &&String| line.contains("quarrel");
    let said = world.log.iter().filter(of_quarrels);
    said.map(|line| line.trim_start().split_once(' ').map_or("", |(_, said)| said))
        .collect()
}

fn set_weight(table: &mut Table, server: u8, weight: u32) {
    for service in table.services.values_mut() {
        let found = service
            .destinations
            .iter_mut()
            .find(|(key, _)| key.address == address(server));
        if let Some((_, spec)) = found {
            spec.weight = weight;
        }
    }
}

#[test]
fn in_an_hour_in_which_nothing_happens_nothing_is_written() {
    let mut world = World::new();
    let mut config = config(vec![with_sorry(pool(200, &[11, 12]), 20)]);
    config.virtual_servers.push(VirtualServer {
        name: "other".to_owned(),
        ..pool(201, &[13])
    });
    world.answer(12, Answer::Refuses);
    world.start(config);
    world.run_for(seconds(60));
    let (batches, reads) = (world.batches, world.reads);
    world.run_for(seconds(3600));
    assert_eq!(world.batches, batches);
    let reads = world.reads - reads;
    assert!((3600 / 5 - 1..=3600 / 5).contains(&reads), "{reads} reads in an hour");
}

#[test]
fn the_interval_is_the_configurations() {
    let mut world = World::new();
    let mut config = config(vec![pool(200, &[11])]);
    config.reconcile.interval = seconds(60);
    world.start(config);
    world.run_for(seconds(10));
    let reads = world.reads;
    world.run_for(seconds(600));
    assert!(
        (9..=10).contains(&(world.reads - reads)),
        "{} reads",
        world.reads - reads
    );
}

#[test]
fn drift_is_told_with_the_time_since_the_table_was_seen_right() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(100));
    set_weight(&mut world.kernel, 11, 7);
    world.run_for(seconds(6));
    assert!(
        world
            .log
            .iter()
            .any(|line| line.ends_with("drift of 1 steps by 1 deeds within 5 s")),
        "{:?}",
        world.log
    );
    assert_eq!(world.shown(), "11=1 12=1");
}

#[test]
fn a_quarrel_is_told_with_the_guess_who_and_fought_ever_more_rarely() {
    let mut world = World::new();
    world.processes = vec![FoundProcess {
        name: "keepalived".to_owned(),
        pid: 812,
        here: true,
    }];
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(10));
    let before = world.batches;
    with_rival(&mut world, 3600, |table, _| set_weight(table, 11, 7));
    let batches = world.batches - before;
    // Six repairs at once, then after 10, 20, 40, 80, 160, 300, 300 seconds and so on.
    assert!((15..=30).contains(&batches), "{batches} batches in an hour");
    let quarrels = quarrels(&world);
    assert_eq!(quarrels[0], "quarrel with keepalived (pid 812), again in 10 s");
    assert_eq!(quarrels[1], "quarrel with keepalived (pid 812), again in 20 s");
    let drifts = world.log.iter().filter(|line| line.contains("drift of")).count();
    assert_eq!(drifts, 5, "what is quarrelled over is not told as drift as well");
    // Once he has gone it is put right for the last time, and some time later that is said.
    world.run_for(seconds(310));
    assert_eq!(world.shown(), "11=1 12=1");
    world.run_for(seconds(610));
    assert_eq!(self::quarrels(&world).last(), Some(&"no quarrel any more"));
    // And what happens then is repaired at once again.
    world.log.clear();
    set_weight(&mut world.kernel, 11, 7);
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "11=1 12=1");
    assert!(
        world.log.iter().any(|line| line.contains("drift of 1")),
        "{:?}",
        world.log
    );
}

#[test]
fn a_server_that_dies_during_a_quarrel_is_out_as_soon_as_ever() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(10));
    with_rival(&mut world, 900, |table, _| set_weight(table, 11, 7));
    assert_eq!(world.shown(), "11=7 12=1", "its repair waits");
    world.answer(12, Answer::Refuses);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=7");
    world.answer(12, Answer::Accepts);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=7 12=1", "and in again as soon");
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "12=1");
}

#[test]
fn a_service_that_is_taken_away_again_and_again_never_waits_long() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(10));
    let mut there = 0;
    with_rival(&mut world, 3600, |table, second| {
        there += u64::from(!table.services.is_empty());
        if second % 60 == 0 {
            table.services.clear();
        }
    });
    // Every minute it is gone, and at most half a minute and one look later it is there again.
    assert!(there > 3600 / 60 * 24, "it was there for {there} s of an hour");
}

#[test]
fn another_service_of_ours_is_repaired_at_once_during_a_quarrel() {
    let mut world = World::new();
    world.start(config(vec![
        pool(200, &[11]),
        VirtualServer {
            name: "other".to_owned(),
            ..pool(201, &[12])
        },
    ]));
    world.run_for(seconds(10));
    with_rival(&mut world, 600, |table, _| set_weight(table, 11, 7));
    set_weight(&mut world.kernel, 12, 5);
    world.run_for(seconds(6));
    assert_eq!(
        world.kernel.services[&service(201)]
            .destinations
            .values()
            .next()
            .map(|spec| spec.weight),
        Some(1)
    );
}

#[test]
fn a_reload_begins_anew() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11])]));
    world.run_for(seconds(10));
    with_rival(&mut world, 600, |table, _| set_weight(table, 11, 7));
    assert_eq!(world.shown(), "11=7");
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(200, &[11])]))));
    world.run_for(seconds(1));
    assert_eq!(world.shown(), "11=1");
}
