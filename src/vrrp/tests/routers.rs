//! Several instances: groups, and configurations that follow each other.

use super::*;
use crate::model::{VrrpAction, VrrpEvent, VrrpState, VrrpSyncGroup, VrrpTracking};
use crate::vrrp::Routers;

fn named(name: &str, interface: &str, priority: u8) -> Arc<VrrpSpec> {
    spec_with(|spec| {
        (spec.name, spec.interface, spec.priority) = (name.to_owned(), interface.to_owned(), priority);
    })
}

fn group() -> VrrpSyncGroup {
    VrrpSyncGroup {
        name: "VG_1".to_owned(),
        instances: vec!["inside".to_owned(), "outside".to_owned()],
        notify: Default::default(),
    }
}

fn start(routers: &mut Routers, name: &str, now: u64) {
    routers.handle(name, VrrpEvent::InterfaceReady(host(1)), at(now));
    let started = VrrpEvent::Started {
        addresses_found: false,
        spoke: None,
    };
    routers.handle(name, started, at(now));
}

fn pair() -> Routers {
    let mut routers = Routers::default();
    let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
    let new = routers.reconfigure(&specs, &[group()], at(0)).new;
    assert_eq!(
        new.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["inside", "outside"]
    );
    for name in new {
        start(&mut routers, &name, 0);
    }
    routers
}

fn pass(routers: &mut Routers, until: u64) {
    while let Some(wake) = routers.next_wake().filter(|wake| *wake <= at(until)) {
        routers.pass_time(wake);
    }
}

fn states(routers: &Routers) -> Vec<VrrpState> {
    routers.instances().map(|(_, instance)| instance.state()).collect()
}

fn hear(routers: &mut Routers, name: &str, now: u64, priority: u8) {
    let advert = spec().advert(priority);
    let event = VrrpEvent::AdvertReceived {
        source: host(2),
        advert,
    };
    routers.handle(name, event, at(now));
}

#[test]
fn a_group_becomes_master_when_each_could_and_ceases_when_one_does() {
    let mut routers = pair();
    for second in 1..10 {
        pass(&mut routers, second * 1_000);
        hear(&mut routers, "inside", second * 1_000, 200);
    }
    // Outside nobody is heard, inside somebody is.
    assert_eq!(states(&routers), [VrrpState::Backup; 2]);
    pass(&mut routers, 20_000);
    assert_eq!(states(&routers), [VrrpState::Master; 2]);
    hear(&mut routers, "outside", 20_100, 200);
    assert_eq!(states(&routers), [VrrpState::Backup; 2]);
}

#[test]
fn a_fault_of_one_is_a_fault_of_all() {
    let mut routers = pair();
    pass(&mut routers, 5_000);
    let tracked = |fault| VrrpEvent::Tracked(VrrpTracking { fault, weight: 0 });
    routers.handle("outside", tracked(true), at(5_000));
    assert_eq!(states(&routers), [VrrpState::Fault; 2]);
    routers.handle("inside", tracked(true), at(5_100));
    routers.handle("outside", tracked(false), at(5_200));
    assert_eq!(states(&routers), [VrrpState::Fault; 2]);
    routers.handle("inside", tracked(false), at(5_300));
    assert_eq!(states(&routers), [VrrpState::Backup; 2]);
}

#[test]
fn a_reload_disturbs_nobody_who_stays_and_ends_who_is_gone() {
    let mut routers = Routers::default();
    let (stays, goes) = (named("stays", "eth0", 100), named("goes", "eth1", 100));
    for name in routers.reconfigure(&[Arc::clone(&stays), goes], &[], at(0)).new {
        start(&mut routers, &name, 0);
    }
    pass(&mut routers, 5_000);
    assert_eq!(states(&routers), [VrrpState::Master; 2]);
    let outcome = routers.reconfigure(&[Arc::clone(&stays)], &[], at(5_000));
    assert!(outcome.new.is_empty());
    let who: Vec<_> = outcome.wanted.iter().map(|(name, _)| &**name).collect();
    assert!(!who.is_empty() && who.iter().all(|name| *name == "goes"), "{who:?}");
    pass(&mut routers, 10_000);
    assert_eq!(states(&routers), [VrrpState::Master]);
}

#[test]
fn another_number_is_another_virtual_router() {
    let mut routers = Routers::default();
    for name in routers.reconfigure(&[named("VI_1", "eth0", 100)], &[], at(0)).new {
        start(&mut routers, &name, 0);
    }
    pass(&mut routers, 5_000);
    let other = spec_with(|spec| spec.virtual_router_id = 52);
    let outcome = routers.reconfigure(&[Arc::clone(&other)], &[], at(5_000));
    assert!(
        outcome.new.is_empty()
            && outcome
                .wanted
                .iter()
                .any(|(_, action)| *action == VrrpAction::SendAdvert { priority: 0 })
    );
    pass(&mut routers, 10_000);
    assert_eq!(states(&routers), []);
    assert_eq!(routers.reconfigure(&[other], &[], at(10_000)).new.len(), 1);
    assert!(routers.find("eth0", Family::Inet, 52).is_some());
    assert!(routers.find("eth0", Family::Inet, 51).is_none());
}

#[test]
fn whoever_steps_down_does_so_with_its_group() {
    let mut routers = pair();
    pass(&mut routers, 5_000);
    assert_eq!(states(&routers), [VrrpState::Master; 2]);
    let names = routers.together_with("outside");
    assert_eq!(
        names.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["inside", "outside"]
    );
    for name in names {
        routers.handle(&name, VrrpEvent::StepDown, at(5_000));
    }
    // Whoever takes over has a lower priority, and is left alone.
    for second in 6..30 {
        pass(&mut routers, second * 1_000);
        assert_eq!(states(&routers), [VrrpState::Backup; 2], "second {second}");
        for name in ["inside", "outside"] {
            hear(&mut routers, name, second * 1_000, 50);
        }
    }
}

#[test]
fn what_is_left_of_a_group_stays_until_its_slowest_one_could_say_that_all_become_master() {
    let quick = spec_with(|spec| {
        (spec.name, spec.interface) = ("inside".to_owned(), "eth0".to_owned());
        spec.advert_interval = Duration::from_millis(100);
    });
    let mut routers = Routers::default();
    let new = routers
        .reconfigure(&[quick, named("outside", "eth1", 100)], &[group()], at(0))
        .new;
    for name in new {
        routers.handle(&name, VrrpEvent::InterfaceReady(host(1)), at(0));
        let started = VrrpEvent::Started {
            addresses_found: true,
            spoke: None,
        };
        routers.handle(&name, started, at(0));
    }
    let mut actions = Vec::new();
    while let Some(wake) = routers.next_wake().filter(|wake| *wake <= at(10_000)) {
        actions.extend(routers.pass_time(wake));
    }
    let removed = actions
        .iter()
        .filter(|(_, action)| *action == VrrpAction::RemoveAddresses);
    assert_eq!(removed.count(), 0, "{actions:?}");
    assert_eq!(states(&routers), [VrrpState::Master; 2]);
}

#[test]
fn whoever_leaves_a_group_is_held_by_it_no_longer() {
    let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
    // A fault of the other one.
    let mut routers = pair();
    pass(&mut routers, 5_000);
    let tracked = VrrpEvent::Tracked(VrrpTracking { fault: true, weight: 0 });
    routers.handle("outside", tracked, at(5_000));
    assert_eq!(states(&routers), [VrrpState::Fault; 2]);
    routers.reconfigure(&specs, &[], at(6_000));
    pass(&mut routers, 20_000);
    assert_eq!(states(&routers), [VrrpState::Master, VrrpState::Fault]);
    // A claim that waits for the other one.
    let mut routers = pair();
    for second in 1..10 {
        pass(&mut routers, second * 1_000);
        hear(&mut routers, "inside", second * 1_000, 200);
    }
    routers.reconfigure(&specs, &[], at(9_000));
    for second in 10..20 {
        pass(&mut routers, second * 1_000);
        hear(&mut routers, "inside", second * 1_000, 200);
    }
    assert_eq!(states(&routers), [VrrpState::Backup, VrrpState::Master]);
}

#[test]
fn a_group_that_one_leaves_waits_for_it_no_longer() {
    let mut routers = pair();
    for second in 1..10 {
        pass(&mut routers, second * 1_000);
        hear(&mut routers, "inside", second * 1_000, 200);
    }
    assert_eq!(states(&routers), [VrrpState::Backup; 2]);
    let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
    let alone = VrrpSyncGroup {
        instances: vec!["outside".to_owned()],
        ..group()
    };
    routers.reconfigure(&specs, &[alone], at(9_000));
    assert_eq!(states(&routers), [VrrpState::Backup, VrrpState::Master]);
}

#[test]
fn a_group_that_is_alone_keeps_the_addresses_that_a_dead_daemon_has_left() {
    let mut routers = Routers::default();
    let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
    let mut actions = Vec::new();
    // One interface is looked at a little later than the other.
    for (name, moment) in routers.reconfigure(&specs, &[group()], at(0)).new.iter().zip([0, 300]) {
        actions.extend(routers.handle(name, VrrpEvent::InterfaceReady(host(1)), at(moment)));
        let started = VrrpEvent::Started {
            addresses_found: true,
            spoke: None,
        };
        actions.extend(routers.handle(name, started, at(moment)));
    }
    while let Some(wake) = routers.next_wake().filter(|wake| *wake <= at(20_000)) {
        actions.extend(routers.pass_time(wake));
    }
    assert_eq!(states(&routers), [VrrpState::Master; 2]);
    let removed = actions.iter().any(|(_, action)| *action == VrrpAction::RemoveAddresses);
    assert!(!removed, "{actions:?}");
}

#[test]
fn who_joins_a_group_of_masters_listens_first_and_takes_nothing_from_them() {
    for heard in [None, Some(50), Some(200)] {
        let mut routers = Routers::default();
        let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
        let alone = VrrpSyncGroup {
            instances: vec!["outside".to_owned()],
            ..group()
        };
        for name in routers.reconfigure(&specs[1..], &[alone], at(0)).new {
            start(&mut routers, &name, 0);
        }
        pass(&mut routers, 5_000);
        assert_eq!(states(&routers), [VrrpState::Master]);
        for name in routers.reconfigure(&specs, &[group()], at(5_000)).new {
            start(&mut routers, &name, 5_000);
        }
        assert_eq!(states(&routers), [VrrpState::Backup, VrrpState::Master], "{heard:?}");
        if let Some(priority) = heard {
            hear(&mut routers, "inside", 5_500, priority);
        }
        pass(&mut routers, 9_000);
        let wanted = match heard {
            // There all of them are backups already.
            Some(200) => [VrrpState::Backup; 2],
            Some(_) | None => [VrrpState::Master; 2],
        };
        assert_eq!(states(&routers), wanted, "{heard:?}");
    }
}

/// The changes of groups since this was asked last, by their names.
fn changes(routers: &mut Routers) -> Vec<(String, VrrpState, VrrpState)> {
    let changes = routers.group_changes();
    changes
        .into_iter()
        .map(|(group, from, to)| (group.name, from, to))
        .collect()
}

#[test]
fn a_group_that_a_reload_removes_has_ended_once_its_instances_have() {
    use VrrpState::{Backup, Initialize, Master};
    let mut routers = pair();
    pass(&mut routers, 5_000);
    assert_eq!(changes(&mut routers), [("VG_1".to_owned(), Initialize, Master)]);
    // With its instances, which stay until somebody else is master or nobody was heard.
    routers.reconfigure(&[], &[], at(5_000));
    let mut told = changes(&mut routers);
    while let Some(wake) = routers.next_wake().filter(|wake| *wake <= at(60_000)) {
        assert!(told.is_empty() || states(&routers).is_empty(), "{told:?}");
        routers.pass_time(wake);
        told.extend(changes(&mut routers));
    }
    assert_eq!(states(&routers), []);
    assert_eq!(told, [("VG_1".to_owned(), Master, Initialize)]);
    assert_eq!(changes(&mut routers), []);

    // Without them: they go on alone.
    let mut routers = pair();
    let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
    for second in 1..5 {
        hear(&mut routers, "inside", second * 1_000, 200);
        pass(&mut routers, second * 1_000);
    }
    assert_eq!(changes(&mut routers), [("VG_1".to_owned(), Initialize, Backup)]);
    let other = VrrpSyncGroup {
        name: "VG_2".to_owned(),
        ..group()
    };
    routers.reconfigure(&specs, &[other], at(4_500));
    let renamed = [
        ("VG_1".to_owned(), Backup, Initialize),
        ("VG_2".to_owned(), Initialize, Backup),
    ];
    assert_eq!(changes(&mut routers), renamed);
    // One that never was anything says nothing, and one that is back before its end has none.
    routers.reconfigure(&[], &[], at(4_600));
    routers.reconfigure(&specs, &[group()], at(4_600));
    assert!(
        !changes(&mut routers)
            .iter()
            .any(|(name, _, to)| name == "VG_1" && *to == Initialize)
    );
}

#[test]
fn a_group_that_is_back_before_it_has_ended_is_what_it_was() {
    let mut routers = pair();
    pass(&mut routers, 5_000);
    assert_eq!(changes(&mut routers).len(), 1);
    let specs = [named("inside", "eth0", 100), named("outside", "eth1", 100)];
    routers.reconfigure(&specs, &[], at(5_000));
    routers.reconfigure(&specs, &[group()], at(5_000));
    assert_eq!(changes(&mut routers), []);
}
