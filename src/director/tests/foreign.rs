//! Destinations of others in services of ours.

use super::*;
use crate::model::ForeignDestinations;

fn keeping(vip: u8, servers: &[u8]) -> VirtualServer {
    let mut pool = pool(vip, servers);
    pool.policy.foreign_destinations = ForeignDestinations::Keep;
    pool
}

fn put(table: &mut Table, server: u8, weight: u32) {
    for service in table.services.values_mut() {
        let key = DestinationKey::new(address(server), 80);
        service
            .destinations
            .insert(key, DestinationSpec::new(Forwarding::Nat, weight));
    }
}

#[test]
fn others_destinations_are_removed_unless_the_configuration_keeps_them() {
    for (pool, left) in [(pool(200, &[11]), "11=1"), (keeping(200, &[11]), "11=1 66=9")] {
        let mut world = World::new();
        world.start(config(vec![pool]));
        world.run_for(seconds(6));
        let batches = world.batches;
        put(&mut world.kernel, 66, 9);
        world.run_for(seconds(6));
        assert_eq!(world.shown(), left);
        let kept = left.contains("66");
        assert_eq!(world.batches == batches, kept);
        assert_eq!(!world.log.iter().any(|line| line.contains("drift")), kept);
    }
}

#[test]
fn a_server_that_leaves_the_file_goes_though_others_destinations_stay() {
    let mut world = World::new();
    world.start(config(vec![keeping(200, &[11, 12])]));
    world.run_for(seconds(6));
    put(&mut world.kernel, 66, 9);
    world.run_for(seconds(6));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![keeping(200, &[11])]))));
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "11=1 66=9");
    // Over a restart too, and the record says whose they are.
    let mut next = World::new();
    next.kernel = world.kernel.clone();
    next.owned = world.owned.clone();
    next.start(config(vec![keeping(200, &[13])]));
    next.run_for(seconds(6));
    assert_eq!(next.shown(), "13=1 66=9");
    // With the other setting they go.
    next.tell(Event::ConfigLoaded(Arc::new(config(vec![pool(200, &[13])]))));
    next.run_for(seconds(1));
    assert_eq!(next.shown(), "13=1");
}

#[test]
fn what_was_ours_before_others_were_let_in_is_ours() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(6));
    world.tell(Event::ConfigLoaded(Arc::new(config(vec![keeping(200, &[11])]))));
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "11=1");
}

#[test]
fn what_is_found_in_a_service_that_was_never_ours_stays() {
    let mut world = World::new();
    let spec = ServiceSpec::new(Scheduler::Wlc, Family::Inet);
    let destinations = BTreeMap::new();
    world
        .kernel
        .services
        .insert(service(200), Service { spec, destinations });
    put(&mut world.kernel, 66, 9);
    world.start(config(vec![keeping(200, &[11])]));
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "11=1 66=9");
}

#[test]
fn a_cleared_table_is_drift_although_others_destinations_stay() {
    let mut world = World::new();
    world.start(config(vec![keeping(200, &[11])]));
    world.run_for(seconds(6));
    put(&mut world.kernel, 66, 9);
    world.run_for(seconds(6));
    world.kernel.services.clear();
    world.run_for(seconds(6));
    assert_eq!(world.shown(), "11=1");
    assert!(
        world.log.iter().any(|line| line.contains("drift of")),
        "{:?}",
        world.log
    );
}
