use proptest::prelude::*;

use super::*;

const KEPT: Lasting = Lasting::UntilTakenBack;

fn now(seconds: u64) -> Now {
    Now {
        instant: Instant::after_start(Duration::from_secs(seconds)),
        time: UnixTime::from_millis(1_000_000_000_000 + seconds * 1000),
    }
}

fn id(number: u8) -> ServerId {
    ServerId {
        virtual_server: "web".to_owned(),
        server: format!("192.0.2.{number}:80"),
    }
}

#[test]
fn a_wish_is_known_with_who_and_when_until_it_is_taken_back() {
    let mut list = Wishlist::default();
    assert!(list.set_state(&id(1), AdminState::Drain, None, KEPT, "root", now(1)));
    assert!(!list.set_state(&id(1), AdminState::Drain, None, KEPT, "uid 7", now(2)));
    assert!(list.set_weight(&id(1), Some(WeightAdvice::Absolute(0)), KEPT, "uid 7", now(3)));
    let report = list.of("web", "192.0.2.1:80").expect("a wish").report();
    assert_eq!(
        (report.state.as_str(), report.weight, report.by.as_str()),
        ("drain", Some(0), "uid 7")
    );
    assert_eq!(report.since, now(3).time);
    assert!(list.set_state(&id(1), AdminState::Ready, None, KEPT, "root", now(4)));
    assert!(list.set_weight(&id(1), None, KEPT, "root", now(5)));
    assert!(!list.set_weight(&id(1), None, KEPT, "root", now(6)));
    assert_eq!(list.wishes().count(), 0);
    assert!(list.orders().is_empty());
}

#[test]
fn a_drain_becomes_maintenance_at_its_deadline_and_not_when_taken_back() {
    let mut list = Wishlist::default();
    let minute = Some(Duration::from_secs(60));
    list.set_state(&id(1), AdminState::Drain, minute, KEPT, "root", now(0));
    list.set_state(&id(2), AdminState::Drain, minute, KEPT, "root", now(10));
    list.set_state(&id(3), AdminState::Drain, minute, KEPT, "root", now(20));
    list.set_state(&id(2), AdminState::Ready, None, KEPT, "root", now(30));
    // A new deadline replaces the old one, and none takes it away.
    list.set_state(&id(3), AdminState::Drain, None, KEPT, "root", now(30));
    assert_eq!(list.next_deadline(), Some(now(60).instant));
    assert!(list.pass_deadlines(now(59)).is_empty());
    assert_eq!(list.pass_deadlines(now(90)), [(id(1), AdminState::Maint)]);
    assert_eq!(list.next_deadline(), None);
    let report = list.of("web", "192.0.2.1:80").expect("a wish").report();
    assert_eq!(
        (report.state.as_str(), report.by.as_str()),
        ("maint", "root, by the deadline")
    );
    assert_eq!(list.of("web", "192.0.2.3:80").expect("a wish").report().state, "drain");
}

#[test]
fn a_deadline_goes_on_over_a_restart() {
    let mut list = Wishlist::default();
    list.set_state(
        &id(1),
        AdminState::Drain,
        Some(Duration::from_secs(60)),
        KEPT,
        "root",
        now(0),
    );
    // The new process counts from its own start.
    let restarted = |seconds: u64| Now {
        instant: Instant::after_start(Duration::from_secs(seconds)),
        time: now(30 + seconds).time,
    };
    let mut list = Wishlist::restored(list.wishes().cloned().collect(), restarted(0));
    assert!(list.pass_deadlines(restarted(29)).is_empty());
    assert_eq!(list.pass_deadlines(restarted(30)), [(id(1), AdminState::Maint)]);
}

#[test]
fn what_is_said_until_the_next_reload_gives_way_to_what_held_before() {
    let mut list = Wishlist::default();
    let until = Lasting::UntilReload;
    list.set_state(&id(1), AdminState::Maint, None, KEPT, "root", now(1));
    list.set_state(&id(1), AdminState::Ready, None, until, "root", now(2));
    list.set_weight(&id(1), Some(WeightAdvice::Percent(50)), until, "root", now(2));
    list.set_state(&id(2), AdminState::Drain, None, until, "root", now(2));
    let shown = |list: &Wishlist, n| list.wishes.get(&id(n)).map(|wish| wish.deviations().what);
    assert_eq!(
        shown(&list, 1).as_deref(),
        Some("ready until the next reload, weight 50% until the next reload")
    );
    let restored = Wishlist::restored(list.wishes().cloned().collect(), now(3));
    assert_eq!(restored.orders(), list.orders(), "a restart is no reload");
    let orders = list.drop_what_passes();
    assert_eq!(orders.len(), 4);
    assert!(orders.contains(&OperatorOrder::SetState {
        server: id(2),
        state: AdminState::Ready
    }));
    assert_eq!(shown(&list, 1).as_deref(), Some("maint"));
    assert_eq!(shown(&list, 2), None);
    // What is said for good takes the place of both.
    list.set_state(&id(1), AdminState::Drain, None, until, "root", now(4));
    list.set_state(&id(1), AdminState::Ready, None, KEPT, "root", now(5));
    assert_eq!(shown(&list, 1), None);
}

#[test]
fn what_holds_until_the_next_reload_leaves_a_drain_its_deadline() {
    let (until, deadline) = (Lasting::UntilReload, Some(Duration::from_secs(9)));
    for (passing, then) in [
        (AdminState::Maint, AdminState::Maint),
        (AdminState::Ready, AdminState::Ready),
        (AdminState::Drain, AdminState::Maint),
    ] {
        let mut list = Wishlist::default();
        let state = |list: &Wishlist| list.wishes.get(&id(1)).map(Wish::effective_state);
        list.set_state(&id(1), AdminState::Drain, deadline, KEPT, "root", now(1));
        list.set_state(&id(1), passing, None, until, "root", now(2));
        assert_eq!(state(&list), Some(passing));
        let mut reloaded = list.clone();
        reloaded.drop_what_passes();
        assert_eq!(state(&reloaded), Some(AdminState::Drain));
        assert_eq!(reloaded.pass_deadlines(now(10)), [(id(1), AdminState::Maint)]);
        // It comes before the reload.
        assert_eq!(list.pass_deadlines(now(10)), [(id(1), then)]);
        list.drop_what_passes();
        assert_eq!(state(&list), Some(AdminState::Maint));
    }
}

#[test]
fn of_a_server_that_was_added_nothing_is_left_once_it_is_removed() {
    let mut list = Wishlist::default();
    list.add(&id(1), "192.0.2.1", 3, KEPT, "root", now(1));
    list.set_state(
        &id(1),
        AdminState::Drain,
        Some(Duration::from_secs(9)),
        KEPT,
        "root",
        now(2),
    );
    list.remove(&id(1), false, KEPT, "root", now(3));
    assert!(list.wishes().next().is_none() && list.next_deadline().is_none());
    list.remove(&id(2), true, KEPT, "root", now(3));
    assert_eq!(list.of("web", "192.0.2.2:80").map(Wish::is_removed), Some(true));
    assert_eq!(list.orders(), []);
    list.put_back(&id(2), KEPT, "root", now(4));
    assert!(list.wishes().next().is_none());
}

#[test]
fn who_comes_and_goes_until_the_next_reload_is_as_before_after_it() {
    let until = Lasting::UntilReload;
    let add = |list: &mut Wishlist, lasting| list.add(&id(1), "192.0.2.1", 3, lasting, "root", now(1));
    let remove = |list: &mut Wishlist, lasting| list.remove(&id(1), false, lasting, "root", now(2));
    let put_back = |list: &mut Wishlist, lasting| list.put_back(&id(1), lasting, "root", now(3));
    let shown = |list: &Wishlist| list.wishes().next().map(|wish| wish.deviations().what);
    let added = || Some("added with weight 3".to_owned());
    let removed = || Some("removed".to_owned());
    let passing = |what: Option<String>| what.map(|what| what + " until the next reload");
    type Told<'a> = &'a [&'a dyn Fn(&mut Wishlist)];
    // What is said, and what is shown before and after a reload.
    let cases: [(Told<'_>, Option<String>, Option<String>); 10] = [
        (&[&|list| add(list, until)], passing(added()), None),
        (&[&|list| remove(list, until)], passing(removed()), None),
        (&[&|list| add(list, until), &|list| remove(list, until)], None, None),
        (&[&|list| add(list, until), &|list| remove(list, KEPT)], None, None),
        (
            &[&|list| add(list, KEPT), &|list| remove(list, until)],
            passing(removed()),
            added(),
        ),
        (
            &[&|list| add(list, KEPT), &|list| remove(list, until), &|list| {
                put_back(list, until)
            }],
            added(),
            added(),
        ),
        (
            &[&|list| remove(list, KEPT), &|list| put_back(list, until)],
            passing(Some("put back".to_owned())),
            removed(),
        ),
        (
            &[&|list| remove(list, KEPT), &|list| put_back(list, until), &|list| {
                remove(list, until)
            }],
            removed(),
            removed(),
        ),
        (&[&|list| remove(list, until), &|list| put_back(list, KEPT)], None, None),
        (
            &[&|list| remove(list, until), &|list| put_back(list, until)],
            None,
            None,
        ),
    ];
    for (number, (told, before, after)) in cases.into_iter().enumerate() {
        let mut list = Wishlist::default();
        told.iter().for_each(|say| say(&mut list));
        assert_eq!(shown(&list), before, "{number}");
        assert_eq!(list.has_what_passes(), before != after, "{number}");
        let restored = Wishlist::restored(list.wishes().cloned().collect(), now(4));
        assert_eq!(shown(&restored), before, "{number}: a restart is no reload");
        list.drop_what_passes();
        assert_eq!(shown(&list), after, "{number}");
    }
}

#[derive(Debug, Clone)]
enum Said {
    State(u8, AdminState, Option<u64>),
    Weight(u8, Option<u32>, Lasting),
    Share(u8, u32),
    UntilReload(u8, AdminState),
    Added(u8, Lasting),
    Removed(u8, bool, Lasting),
    PutBack(u8, Lasting),
    Reload,
    Passes,
}

fn said() -> impl Strategy<Value = Said> {
    let state = || {
        prop_oneof![
            Just(AdminState::Ready),
            Just(AdminState::Drain),
            Just(AdminState::Maint)
        ]
    };
    let lasting = || prop_oneof![Just(KEPT), Just(Lasting::UntilReload)];
    prop_oneof![
        (0..3_u8, state(), prop::option::of(0..100_u64))
            .prop_map(|(id, state, deadline)| Said::State(id, state, deadline)),
        (0..3_u8, prop::option::of(0..5_u32)).prop_map(|(id, weight)| Said::Weight(id, weight, KEPT)),
        (0..3_u8, 0..5_u32).prop_map(|(id, weight)| Said::Weight(id, Some(weight), Lasting::UntilReload)),
        (0..3_u8, 0..200_u32).prop_map(|(id, percent)| Said::Share(id, percent)),
        (0..3_u8, state()).prop_map(|(id, state)| Said::UntilReload(id, state)),
        (0..3_u8, lasting()).prop_map(|(id, lasting)| Said::Added(id, lasting)),
        (0..3_u8, any::<bool>(), lasting()).prop_map(|(id, in_files, lasting)| Said::Removed(id, in_files, lasting)),
        (0..3_u8, lasting()).prop_map(|(id, lasting)| Said::PutBack(id, lasting)),
        Just(Said::Reload),
        Just(Said::Passes),
    ]
}

proptest! {
    #[test]
    fn what_is_kept_over_a_restart_asks_for_the_same(all in prop::collection::vec(said(), 0..30)) {
        let mut list = Wishlist::default();
        for (seconds, said) in all.into_iter().enumerate() {
            let now = now(10 * seconds as u64);
            match said {
                Said::State(number, state, deadline) => {
                    list.set_state(&id(number), state, deadline.map(Duration::from_secs), KEPT, "root", now);
                }
                Said::Weight(number, weight, lasting) => {
                    list.set_weight(&id(number), weight.map(WeightAdvice::Absolute), lasting, "root", now);
                }
                Said::Share(number, percent) => {
                    list.set_weight(&id(number), Some(WeightAdvice::Percent(percent)), KEPT, "root", now);
                }
                Said::UntilReload(number, state) => {
                    list.set_state(&id(number), state, None, Lasting::UntilReload, "root", now);
                }
                Said::Added(number, lasting) => list.add(&id(number), "192.0.2.9", 3, lasting, "root", now),
                Said::Removed(number, in_files, lasting) => {
                    list.remove(&id(number), in_files, lasting, "root", now);
                }
                Said::PutBack(number, lasting) => list.put_back(&id(number), lasting, "root", now),
                Said::Reload => {
                    list.drop_what_passes();
                }
                Said::Passes => {
                    list.pass_deadlines(now);
                }
            }
            let restored = Wishlist::restored(list.wishes().cloned().collect(), now);
            prop_assert_eq!(restored.orders(), list.orders());
            prop_assert_eq!(restored.next_deadline().map(|at| at.max(now.instant)), list.next_deadline().map(|at| at.max(now.instant)));
            // A deadline belongs to a drain.
            let drains = list.wishes().filter(|wish| wish.drain_until.is_some()).count();
            prop_assert_eq!(drains, list.deadlines.len());
            prop_assert!(list.wishes().all(Wish::is_any));
        }
    }
}
