//! N directors on a segment that exist only here: loss, delay, duplicates, partitions, one-way links, pauses, kills and
//! restarts in fake time, all from a seed; and what has to be true whatever happens.
//!
//! `world` is the segment and its hosts, `checks` is what must hold at every moment, the tests below are the schedules.
//! A seed that fails is printed; it fails again every time.

mod checks;
mod world;

use std::time::Duration;

use super::Mutation;
use world::{Settings, World};

/// How many random schedules one test run tries.
const SCHEDULES: u64 = 2_000;

/// How many each mistake has to be caught within.
const PATIENCE: u64 = 600;

/// Anything may happen; what holds is looked at all the time, and once everything is quiet again.
fn storm(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let mut world = World::new(seed, Settings::Any, mutation);
    world.start_all();
    for _round in 0..2 {
        let end = world.now() + world.longest_interval() * 30;
        while world.now() < end {
            let plan = world.any_plan();
            world.carry_out(plan);
            let wait = world.some_time(8);
            world.run_for(wait)?;
        }
        world.heal();
        world.run_for(world.settling_time())?;
        world.check_settled()?;
    }
    Ok(())
}

/// A quiet segment and one disturbance at a time: the right one takes over, in time, and nobody else even for a moment.
fn calm(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let mut world = World::new(seed, Settings::Calm, mutation);
    world.start_all();
    world.run_for(world.settling_time())?;
    world.check_takeovers(1, "after all were started at once")?;
    world.check_settled()?;
    for _step in 0..5 {
        let plan = world.calm_plan();
        world.expect(&plan);
        world.carry_out(plan.clone());
        world.run_for(world.settling_time())?;
        world.check_expected(&plan)?;
        world.check_settled()?;
    }
    Ok(())
}

/// Every other schedule is calm.
fn schedule(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let result = match seed % 2 {
        0 => storm(seed, mutation),
        _ => calm(seed, mutation),
    };
    result.map_err(|wrong| format!("seed {seed}: {wrong}"))
}

#[test]
fn whatever_happens_there_is_one_master_in_the_end() {
    let failed: Vec<_> = (0..SCHEDULES).filter_map(|seed| schedule(seed, None).err()).collect();
    let first: Vec<_> = failed.iter().take(3).collect();
    assert!(
        failed.is_empty(),
        "{} of {SCHEDULES} schedules failed: {first:#?}",
        failed.len()
    );
}

#[test]
fn every_seeded_mistake_is_caught() {
    let all = [
        Mutation::NoSkew,
        Mutation::SpeaksAfterPause,
        Mutation::NoAnnouncement,
        Mutation::LeavesSilently,
        Mutation::DropsAtOnce,
        Mutation::EqualsStay,
        Mutation::KeepsAddresses,
        Mutation::KeepsLeftovers,
        Mutation::IgnoresLeaving,
        Mutation::AlwaysPreempts,
        Mutation::NeverPreempts,
        Mutation::KeepsOwnInterval,
    ];
    for mutation in all {
        let caught = (0..PATIENCE).find_map(|seed| schedule(seed, Some(mutation)).err());
        assert!(caught.is_some(), "{mutation:?} is not caught by {PATIENCE} schedules");
    }
}

#[test]
fn one_seed_is_one_history() {
    let history = |seed| {
        let mut world = World::new(seed, Settings::Any, None);
        world.start_all();
        for _ in 0..20 {
            let plan = world.any_plan();
            world.carry_out(plan);
            world.run_for(Duration::from_secs(1)).unwrap();
        }
        world.history()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
