//! An operator has nothing written for a while.

use super::*;
use crate::model::OperatorOrder;

fn pause(world: &mut World, duration: Duration) {
    world.tell(Event::Operator(OperatorOrder::Pause { duration }));
}

#[test]
fn nothing_is_written_during_a_pause_and_everything_after_it() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(6));
    let batches = world.batches;
    pause(&mut world, seconds(150));
    world.kernel.services.clear();
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(149));
    assert_eq!(world.batches, batches);
    assert!(world.kernel.services.is_empty());
    assert!(
        world.log.iter().any(|line| line.contains("11:80 up -> down")),
        "probes go on"
    );
    assert!(!world.log.iter().any(|line| line.contains("drift")), "{:?}", world.log);
    let said: Vec<_> = world.log.iter().filter(|line| line.contains("paused")).collect();
    assert_eq!(said.len(), 3, "at its beginning and every minute: {said:?}");
    world.run_for(seconds(2));
    assert_eq!(world.shown(), "12=1");
    assert!(world.log.iter().any(|line| line.contains("resumed after 150 s")));
    assert!(!world.log.iter().any(|line| line.contains("drift")), "{:?}", world.log);
}

#[test]
fn a_pause_can_be_ended_and_made_longer() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(6));
    pause(&mut world, seconds(10));
    pause(&mut world, seconds(100));
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(50));
    assert_eq!(world.shown(), "11=1 12=1");
    world.tell(Event::Operator(OperatorOrder::Resume));
    world.run_for(seconds(1));
    assert_eq!(world.shown(), "12=1");
    world.tell(Event::Operator(OperatorOrder::Resume));
    let said = world.log.iter().filter(|line| line.contains("resumed")).count();
    assert_eq!(said, 1);
    // What happens afterwards is drift again.
    world.run_for(seconds(6));
    world.kernel.services.clear();
    world.run_for(seconds(6));
    assert!(world.log.iter().any(|line| line.contains("drift")));
}

#[test]
fn a_batch_that_was_under_way_is_ended_and_a_reload_waits() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11])]));
    world.run_for(seconds(6));
    pause(&mut world, seconds(60));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(200, &[12])]))));
    world.run_for(seconds(30));
    assert_eq!(world.shown(), "11=1");
    world.run_for(seconds(31));
    assert_eq!(world.shown(), "12=1");
}
