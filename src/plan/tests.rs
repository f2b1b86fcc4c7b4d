use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::model::{Family, Forwarding, Protocol, Scheduler, ServiceFlags, ServiceSpec};

fn service_key(n: u8) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(192, 0, 2, n).into(),
        port: 80,
    }
}

fn destination_key(n: u8) -> DestinationKey {
    DestinationKey::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, n)), 80)
}

fn destination(weight: u32) -> DestinationSpec {
    DestinationSpec::new(Forwarding::Dr, weight)
}

fn table(services: &[(u8, &[(u8, u32)])]) -> Table {
    let service = |destinations: &[(u8, u32)]| Service {
        spec: ServiceSpec::new(Scheduler::Wlc, Family::Inet),
        destinations: destinations
            .iter()
            .map(|(n, weight)| (destination_key(*n), destination(*weight)))
            .collect(),
    };
    Table {
        services: services
            .iter()
            .map(|(n, destinations)| (service_key(*n), service(destinations)))
            .collect(),
        ..Table::default()
    }
}

fn lines(desired: &Table, actual: &Table, owned: &[u8]) -> Vec<String> {
    let owned = owned.iter().map(|n| service_key(*n)).collect();
    steps(desired, actual, &owned).iter().map(ToString::to_string).collect()
}

#[test]
fn equal_tables_need_nothing() {
    let same = table(&[(1, &[(1, 1), (2, 3)])]);
    assert_eq!(lines(&same, &same, &[1]), [""; 0]);
}

#[test]
fn an_empty_kernel_gets_services_before_their_destinations_in_address_order() {
    let desired = table(&[(1, &[(2, 1), (1, 3)])]);
    assert_eq!(
        lines(&desired, &Table::default(), &[]),
        [
            "add service tcp 192.0.2.1:80 (scheduler wlc)",
            "add real server 198.51.100.1:80 to tcp 192.0.2.1:80 (dr weight 3)",
            "add real server 198.51.100.2:80 to tcp 192.0.2.1:80 (dr weight 1)",
        ]
    );
}

#[test]
fn what_takes_over_comes_before_what_gives_way() {
    // The sorry server 9 goes and the inhibited 1 loses its weight only once 2 and 3 can serve.
    let actual = table(&[(1, &[(1, 1), (2, 0), (9, 1)])]);
    let desired = table(&[(1, &[(1, 0), (2, 5), (3, 1)])]);
    assert_eq!(
        lines(&desired, &actual, &[]),
        [
            "set real server 198.51.100.2:80 of tcp 192.0.2.1:80 (dr weight 5)",
            "add real server 198.51.100.3:80 to tcp 192.0.2.1:80 (dr weight 1)",
            "set real server 198.51.100.1:80 of tcp 192.0.2.1:80 (dr weight 0)",
            "remove real server 198.51.100.9:80 from tcp 192.0.2.1:80",
        ]
    );
}

#[test]
fn only_owned_services_are_removed() {
    let actual = table(&[(1, &[(1, 1)]), (2, &[(1, 1)])]);
    assert_eq!(
        lines(&Table::default(), &actual, &[2, 3]),
        ["remove service tcp 192.0.2.2:80"]
    );
}

#[test]
fn a_changed_scheduler_is_set_in_place() {
    let actual = table(&[(1, &[(1, 1)])]);
    let mut desired = actual.clone();
    if let Some(service) = desired.services.get_mut(&service_key(1)) {
        service.spec.scheduler = Scheduler::Mh;
        service.spec.flags = ServiceFlags::SCHEDULER_1;
    }
    assert_eq!(
        lines(&desired, &actual, &[]),
        ["set service tcp 192.0.2.1:80 (scheduler mh flags mh-fallback)"]
    );
}

fn any_table() -> impl Strategy<Value = Table> {
    let destinations = prop::collection::btree_map(
        (0u8..6).prop_map(destination_key),
        (0u32..3).prop_map(destination),
        0..6,
    );
    let spec = prop_oneof![Just(Scheduler::Rr), Just(Scheduler::Wlc)]
        .prop_map(|scheduler| ServiceSpec::new(scheduler, Family::Inet));
    let service = (spec, destinations).prop_map(|(spec, destinations)| Service { spec, destinations });
    prop::collection::btree_map((0u8..5).prop_map(service_key), service, 0..5).prop_map(|services| Table {
        services,
        ..Table::default()
    })
}

proptest! {
    /// Planning again after the steps were done finds nothing to do, and what is not ours is as before.
    #[test]
    fn the_steps_lead_to_the_desired_table(desired in any_table(), actual in any_table(), owned in prop::collection::btree_set((0u8..5).prop_map(service_key), 0..5)) {
        let mut kernel = actual.clone();
        for step in steps(&desired, &actual, &owned) {
            apply_to(&mut kernel, &step);
        }
        prop_assert_eq!(steps(&desired, &kernel, &owned), vec![]);
        for (key, service) in &desired.services {
            prop_assert_eq!(kernel.services.get(key), Some(service));
        }
        for (key, service) in actual.services.iter().filter(|(key, _)| !desired.services.contains_key(key)) {
            let kept = kernel.services.get(key);
            prop_assert_eq!(kept, if owned.contains(key) { None } else { Some(service) });
        }
    }

    /// At every instant of a plan, a service that can serve before and after it can serve.
    #[test]
    fn no_step_leaves_a_service_without_a_server(desired in any_table(), actual in any_table()) {
        let serves = |table: &Table, key: &ServiceKey| {
            table.services.get(key).is_some_and(|service| service.destinations.values().any(|spec| spec.weight > 0))
        };
        let both: Vec<_> = desired.services.keys().filter(|key| serves(&desired, key) && serves(&actual, key)).copied().collect();
        let mut kernel = actual.clone();
        for step in steps(&desired, &actual, &BTreeSet::new()) {
            apply_to(&mut kernel, &step);
            for key in &both {
                prop_assert!(serves(&kernel, key), "nobody serves {} after: {}", key, step);
            }
        }
    }

    /// What the kernel refused is not taken for done.
    #[test]
    fn refused_steps_change_nothing(desired in any_table(), actual in any_table()) {
        let refusal = crate::model::Refusal { kind: crate::model::RefusalKind::Permanent, message: "no".to_owned() };
        let outcomes: Vec<_> = steps(&desired, &actual, &BTreeSet::new())
            .into_iter()
            .map(|step| StepOutcome { step, result: Err(refusal.clone()) })
            .collect();
        let mut believed = actual.clone();
        absorb(&mut believed, &outcomes);
        prop_assert_eq!(believed, actual);
    }
}

#[test]
fn absorbing_a_destination_of_an_unknown_service_is_harmless() {
    let mut believed = Table::default();
    apply_to(
        &mut believed,
        &Step::RemoveDestination {
            service: service_key(1),
            destination: destination_key(1),
        },
    );
    assert_eq!(believed, Table::default());
}
