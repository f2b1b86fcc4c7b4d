//! What a plan says is what a reload does.

use super::*;

fn any_pool(vip: u8) -> impl Strategy<Value = VirtualServer> {
    let servers = prop::collection::btree_map(11u8..16, (0u32..4, any::<bool>()), 0..5);
    (servers, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(servers, inhibit, drains, sorry)| {
        let mut pool = pool(vip, &[]);
        pool.inhibit_on_failure = inhibit;
        pool.policy.drain_timeout = drains.then_some(seconds(30));
        for (n, (weight, checked)) in servers {
            let mut real = server(n);
            real.spec.weight = weight;
            if !checked {
                real.checks.clear();
            }
            pool.real_servers.push(real);
        }
        if sorry { with_sorry(pool, 20) } else { pool }
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    let pools = (any_pool(200), any_pool(201), any_pool(202));
    (pools, prop::collection::btree_set(0usize..3, 0..4)).prop_map(|((a, b, c), chosen)| {
        let pools = [a, b, c];
        config(chosen.into_iter().map(|index| pools[index].clone()).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_rehearsal_says_what_a_reload_does_and_changes_nothing(
        first in any_config(),
        second in any_config(),
        down in prop::collection::btree_set(11u8..16, 0..4),
        busy in prop::collection::btree_set(11u8..16, 0..4),
        tampered: bool,
    ) {
        let mut world = World::new();
        for n in down {
            world.answer(n, Answer::Refuses);
        }
        world.busy = busy.into_iter().map(address).collect();
        world.start(first);
        world.run_for(seconds(8));
        if tampered {
            world.kernel.services.remove(&service(200));
        }
        let before = format!("{:?}", world.director);
        let mut table = world.kernel.clone();
        for (key, service) in &table.services {
            let idle = service.destinations.iter().filter(|(destination, spec)| spec.weight == 0 && !world.busy.contains(&destination.address));
            table.idle.extend(idle.map(|(destination, _)| (*key, *destination)));
        }
        let config = Arc::new(second);
        let rehearsal = world.director.rehearse(Arc::clone(&config), Vec::new(), &table, world.now);
        prop_assert_eq!(before, format!("{:?}", world.director));
        // The first batch of the reload itself.
        world.tell(Event::ConfigLoaded(config));
        let actions = world.director.handle(Event::TableRead(table), world.now);
        let steps = actions.into_iter().find_map(|action| if let Action::ApplySteps(steps) = action { Some(steps) } else { None });
        prop_assert_eq!(rehearsal.steps, steps.unwrap_or_default());
    }
}

#[test]
fn who_waits_for_a_first_verdict_is_named() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11])]));
    world.run_for(seconds(8));
    let next = Arc::new(config(vec![pool(200, &[11, 12])]));
    let rehearsal = world
        .director
        .rehearse(next, Vec::new(), &world.kernel.clone(), world.now);
    assert_eq!(rehearsal.steps, []);
    let waiting: Vec<_> = rehearsal
        .waiting
        .iter()
        .map(|waiting| waiting.server.as_str())
        .collect();
    assert_eq!(waiting, ["192.0.2.12:80"]);
}
