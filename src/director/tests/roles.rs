//! Pools that are programmed only where their virtual router is master.

use super::*;
use crate::config::{Outcome, Source, Sources, parse};

const TEXT: &str = r#"
[[vrrp_instance]]
name = "VI_1"
interface = "eth0"
virtual_router_id = 51

[[virtual_server]]
name = "here"
address = "192.0.2.200:80"
forward = "dr"
vrrp_instance = "VI_1"
program_when = "master"
check = [{ type = "tcp" }]
real_server = [{ address = "192.0.2.11" }, { address = "192.0.2.12" }]

[[virtual_server]]
name = "everywhere"
address = "192.0.2.201:80"
forward = "dr"
vrrp_instance = "VI_1"
check = [{ type = "tcp" }]
real_server = [{ address = "192.0.2.11" }]
"#;

fn read(text: &str) -> Config {
    match parse(&Sources::new(Source::new("a file", text.as_bytes()))) {
        Outcome::Parsed { config, .. } => *config,
        other => panic!("{other:?}"),
    }
}

fn role(world: &mut World, serves: bool) {
    serving(
        world,
        if serves {
            VrrpServing::Here
        } else {
            VrrpServing::Elsewhere
        },
    );
}

fn serving(world: &mut World, serving: VrrpServing) {
    let router = "VI_1".to_owned();
    world.tell(Event::RoleChanged { router, serving });
    world.run_for(seconds(1));
}

/// The weights of the service that goes by the role, by the last part of each address.
fn weights(world: &World) -> Vec<(u8, u32)> {
    let found = world.kernel.services.get(&service(200));
    let destinations = found.into_iter().flat_map(|found| &found.destinations);
    let last = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    destinations
        .map(|(key, spec)| (last(key.address), spec.weight))
        .collect()
}

fn services(world: &World) -> Vec<ServiceKey> {
    world.kernel.services.keys().copied().collect()
}

#[test]
fn services_come_with_the_role_and_go_with_it() {
    let mut world = World::new();
    world.start(read(TEXT));
    world.run_for(seconds(10));
    assert_eq!(services(&world), [service(201)], "nobody has said who is master");
    role(&mut world, false);
    assert_eq!(services(&world), [service(201)]);
    role(&mut world, true);
    assert_eq!(services(&world), [service(200), service(201)]);
    let found = &world.kernel.services[&service(200)].destinations;
    assert_eq!(found.len(), 2, "who is up was known before");
    world.log.clear();
    role(&mut world, true);
    assert_eq!(world.log, [""; 0], "the same said again is nothing");
    // Verdicts go on, and the table is right at the return.
    role(&mut world, false);
    assert_eq!(services(&world), [service(201)]);
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    assert_eq!(services(&world), [service(201)], "a verdict brings nothing in");
    role(&mut world, true);
    let found = &world.kernel.services[&service(200)].destinations;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_is_found_stays_until_the_role_is_known() {
    let mut world = World::new();
    world.start(read(TEXT));
    role(&mut world, true);
    world.run_for(seconds(10));
    let (kernel, owned) = (world.kernel.clone(), world.owned.clone());
    for serves in [true, false] {
        let mut again = World::new();
        (again.kernel, again.owned) = (kernel.clone(), owned.clone());
        again.tell(Event::OwnedLoaded(owned.clone()));
        again.start(read(TEXT));
        again.run_for(seconds(10));
        assert_eq!(services(&again), [service(200), service(201)]);
        role(&mut again, serves);
        assert_eq!(services(&again).contains(&service(200)), serves);
    }
}

#[test]
fn a_role_without_its_router_is_forgotten_and_without_the_key_does_not_count() {
    let mut world = World::new();
    world.start(read(TEXT));
    role(&mut world, false);
    world.tell(Event::ConfigLoaded(Arc::new(read(
        &TEXT.replace("program_when = \"master\"", ""),
    ))));
    world.run_for(seconds(10));
    assert_eq!(services(&world), [service(200), service(201)]);
    world.tell(Event::ConfigLoaded(Arc::new(read(TEXT))));
    world.run_for(seconds(1));
    assert_eq!(services(&world), [service(201)], "it is not master yet");
    world.tell(Event::ConfigLoaded(Arc::new(read(&TEXT.replace("VI_1", "VI_2")))));
    world.run_for(seconds(1));
    role(&mut world, true);
    assert_eq!(services(&world), [service(201)], "that was another one's role");
}

#[test]
fn whoever_leaves_keeps_the_services_until_the_address_has_gone() {
    let mut world = World::new();
    world.start(read(TEXT));
    role(&mut world, true);
    world.run_for(seconds(10));
    let full = vec![(11, 1), (12, 1)];
    assert_eq!(weights(&world), full);
    world.log.clear();
    // Nothing is known of this host's addresses, or none of the servers is on it.
    for own in [None, Some(address(1))] {
        if let Some(own) = own {
            world.tell(Event::AddressesFound([own, address(200)].into()));
        }
        serving(&mut world, VrrpServing::Leaving);
        assert_eq!(weights(&world), full);
        role(&mut world, true);
    }
    assert_eq!(world.log, [""; 0], "nobody is told of a moment");
    // What the new master forwards to this host is served here, and so is what still comes from clients.
    world.tell(Event::AddressesFound([address(11), address(200)].into()));
    serving(&mut world, VrrpServing::Leaving);
    assert_eq!(weights(&world), [(11, 1), (12, 0)]);
    role(&mut world, false);
    assert_eq!(weights(&world), []);
    role(&mut world, true);
    assert_eq!(weights(&world), full);
    // Its own server is down: the others go on for both.
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    serving(&mut world, VrrpServing::Leaving);
    assert_eq!(weights(&world), [(12, 1)]);
}

#[test]
fn a_scheduler_that_would_refuse_clients_keeps_its_servers() {
    for (scheduler, left) in [("sh", 1), ("mh", 0)] {
        let mut world = World::new();
        let with = format!("program_when = \"master\"\nscheduler = \"{scheduler}\"");
        world.start(read(&TEXT.replace("program_when = \"master\"", &with)));
        world.tell(Event::AddressesFound([address(11)].into()));
        role(&mut world, true);
        world.run_for(seconds(10));
        serving(&mut world, VrrpServing::Leaving);
        assert_eq!(weights(&world), [(11, 1), (12, left)], "{scheduler}");
    }
}
