//! One instance, event by event.

use super::*;
use crate::model::{
    Prefix, RouteKind, VrrpAction, VrrpChange, VrrpEvent, VrrpPassword, VrrpReason, VrrpRefusal, VrrpRoute, VrrpState,
    VrrpTracking,
};
use crate::vrrp::Instance;

struct Lone {
    instance: Instance,
}

impl Lone {
    /// Started at 0, on an interface that works, with the address 192.0.2.1.
    fn started(change: impl FnOnce(&mut VrrpSpec)) -> Self {
        let mut lone = Self {
            instance: Instance::new(spec_with(change), None),
        };
        lone.tell(0, VrrpEvent::InterfaceReady(host(1)));
        lone.tell(0, STARTED);
        lone
    }

    /// As [`Lone::started`], and master at 5 s at the latest.
    fn master(change: impl FnOnce(&mut VrrpSpec)) -> Self {
        let mut lone = Self::started(change);
        lone.pass(5_000);
        assert_eq!(lone.instance.state(), VrrpState::Master);
        lone
    }

    /// What it wants done now; it prepares as a backup only, and for nothing that it has.
    fn handle(&mut self, event: VrrpEvent, now: Instant) -> Vec<VrrpAction> {
        let actions = self.instance.handle(event, now);
        if actions.contains(&VrrpAction::Prepare) {
            assert_eq!(self.state(), VrrpState::Backup, "{actions:?}");
            assert!(!self.instance.holds_addresses(), "{actions:?}");
        }
        actions
    }

    /// What it wanted done, but for what it wants prepared.
    fn tell(&mut self, millis: u64, event: VrrpEvent) -> Vec<VrrpAction> {
        let mut actions = self.handle(event, at(millis));
        actions.retain(|action| *action != VrrpAction::Prepare);
        actions
    }

    /// As [`Lone::pass_all`], but for what it wants prepared.
    fn pass(&mut self, until: u64) -> Vec<(u64, VrrpAction)> {
        let mut done = self.pass_all(until);
        done.retain(|(_, action)| *action != VrrpAction::Prepare);
        done
    }

    /// When it wanted something prepared, in milliseconds.
    fn prepared(&mut self, until: u64) -> Vec<u64> {
        let mut done = self.pass_all(until);
        done.retain(|(_, action)| *action == VrrpAction::Prepare);
        done.into_iter().map(|(millis, _)| millis).collect()
    }

    /// Wakes it whenever it wants to be woken until then; what it wanted done, with the time in milliseconds.
    fn pass_all(&mut self, until: u64) -> Vec<(u64, VrrpAction)> {
        let mut done = Vec::new();
        while let Some(wake) = self.instance.next_wake().filter(|wake| *wake <= at(until)) {
            let actions = self.handle(VrrpEvent::TimeReached, wake);
            let millis = wake.since_start().as_millis() as u64;
            done.extend(actions.into_iter().map(|action| (millis, action)));
        }
        done
    }

    fn hear(&mut self, millis: u64, from: u8, priority: u8) -> Vec<VrrpAction> {
        let advert = self.instance.spec().advert(priority);
        self.tell(
            millis,
            VrrpEvent::AdvertReceived {
                source: host(from),
                advert,
            },
        )
    }

    fn state(&self) -> VrrpState {
        self.instance.state()
    }
}

const STARTED: VrrpEvent = VrrpEvent::Started {
    addresses_found: false,
    spoke: None,
};

fn changed(from: VrrpState, to: VrrpState, reason: VrrpReason) -> VrrpAction {
    VrrpAction::Changed(VrrpChange { from, to, reason })
}

fn send(priority: u8) -> VrrpAction {
    VrrpAction::SendAdvert { priority }
}

#[test]
fn whoever_hears_nobody_becomes_master_after_three_intervals_and_the_skew() {
    let mut lone = Lone::started(|_| {});
    let done = lone.pass(4_700);
    // 3 s and 156/256 s.
    assert_eq!(
        done[..4],
        [
            (3_609, send(100)),
            (3_609, VrrpAction::AddAddresses),
            (3_609, VrrpAction::Announce { repeat: 5 }),
            (
                3_609,
                changed(VrrpState::Backup, VrrpState::Master, VrrpReason::MasterSilent)
            ),
        ]
    );
    assert_eq!(done[4..], [(4_609, send(100))]);
    // The second burst, five seconds after the first.
    let announced = lone.pass(20_000);
    let announced = announced
        .iter()
        .filter(|(_, action)| matches!(action, VrrpAction::Announce { .. }));
    assert_eq!(
        announced.collect::<Vec<_>>(),
        [&(8_609, VrrpAction::Announce { repeat: 5 })]
    );
}

#[test]
fn what_a_takeover_needs_is_prepared_once_an_advert_is_missing() {
    let mut lone = Lone::started(|_| {});
    for millis in [500, 1_500, 2_500] {
        lone.hear(millis, 2, 200);
    }
    assert!(lone.prepared(4_499).is_empty(), "not while the master speaks");
    assert_eq!(lone.prepared(5_000), [4_500]);
    lone.hear(5_000, 2, 200);
    assert_eq!(lone.prepared(8_608), [7_000], "and again when it falls silent again");
    assert_eq!(lone.state(), VrrpState::Backup);
    assert!(lone.prepared(30_000).is_empty(), "a master has it all");
    assert_eq!(lone.state(), VrrpState::Master);
    // Who leaves is followed soon.
    let mut lone = Lone::started(|_| {});
    lone.hear(500, 2, 200);
    let source = host(2);
    let advert = lone.instance.spec().advert(0);
    let left = lone.handle(VrrpEvent::AdvertReceived { source, advert }, at(1_000));
    assert_eq!(left, [VrrpAction::Prepare]);
    // What a process before this one has left is on record.
    let mut lone = Lone {
        instance: Instance::new(spec_with(|_| {}), None),
    };
    lone.tell(0, VrrpEvent::InterfaceReady(host(1)));
    let addresses_found = true;
    lone.tell(
        0,
        VrrpEvent::Started {
            addresses_found,
            spoke: None,
        },
    );
    assert!(lone.prepared(3_000).is_empty());
}

#[test]
fn a_master_goes_on_announcing_where_it_is_told_to() {
    let announced = |lone: &mut Lone, until: u64| {
        let done = lone.pass(until).into_iter();
        let announced = done.filter_map(|(millis, action)| {
            let VrrpAction::Announce { repeat } = action else {
                return None;
            };
            Some((millis, repeat))
        });
        announced.collect::<Vec<_>>()
    };
    let refreshing = |spec: &mut VrrpSpec| {
        spec.garp.refresh = Duration::from_secs(10);
        spec.garp.refresh_repeat = 2;
    };
    let mut lone = Lone::started(refreshing);
    // Both bursts, and then every 10 s from the beginning.
    let wanted = [(3_609, 5), (8_609, 5), (13_609, 2), (23_609, 2)];
    assert_eq!(announced(&mut lone, 30_000), wanted);
    // Another one is master: it announces them.
    lone.hear(30_100, 2, 200);
    assert_eq!(announced(&mut lone, 33_000), []);
    // A reload that takes it away, and one that brings it back.
    let mut lone = Lone::master(refreshing);
    lone.pass(9_000);
    lone.tell(9_000, VrrpEvent::SpecChanged(spec_with(|_| {})));
    assert_eq!(announced(&mut lone, 30_000), []);
    lone.tell(30_000, VrrpEvent::SpecChanged(spec_with(refreshing)));
    assert_eq!(announced(&mut lone, 45_000), [(40_000, 2)]);
}

#[test]
fn version_2_has_a_skew_of_its_own() {
    let mut lone = Lone::started(|spec| {
        spec.version = VrrpVersion::V2;
        spec.advert_interval = Duration::from_secs(5);
    });
    assert_eq!(lone.pass(20_000)[0].0, 15_609);
}

#[test]
fn an_owner_is_master_at_once_unless_it_starts_as_backup() {
    let owner = |spec: &mut VrrpSpec| (spec.priority, spec.starts_as_master) = (255, true);
    assert_eq!(Lone::started(owner).state(), VrrpState::Master);
    assert_eq!(Lone::started(|spec| spec.priority = 255).state(), VrrpState::Backup);
    // What it tracks cannot lower it.
    let mut lone = Lone::started(owner);
    lone.tell(
        1,
        VrrpEvent::Tracked(VrrpTracking {
            fault: false,
            weight: -50,
        }),
    );
    assert_eq!(lone.instance.priority(), 255);
}

#[test]
fn a_backup_stays_one_while_it_hears_an_equal_or_higher_master() {
    for priority in [100, 101, 255] {
        let mut lone = Lone::started(|_| {});
        for second in 1..20 {
            lone.pass(second * 1_000);
            assert_eq!(lone.hear(second * 1_000, 2, priority), []);
        }
        assert_eq!(
            (lone.state(), lone.instance.master()),
            (VrrpState::Backup, Some(host(2)))
        );
    }
}

#[test]
fn a_lower_master_is_preempted_or_not_as_told() {
    let listen = |change: fn(&mut VrrpSpec)| {
        let mut lone = Lone::started(change);
        let mut since = None;
        for tenth in 1..200 {
            lone.pass(tenth * 100);
            if lone.state() == VrrpState::Master {
                return Some(since.unwrap_or(tenth * 100));
            }
            since = None;
            lone.hear(tenth * 100, 2, 99);
        }
        None
    };
    assert_eq!(listen(|_| {}), Some(3_700));
    assert_eq!(listen(|spec| spec.preempt = false), None);
    // Left alone for 10 s from its first advert, then for as long as a silent one would be.
    let delayed = listen(|spec| spec.preempt_delay = Duration::from_secs(10));
    assert!(
        delayed.is_some_and(|millis| (13_000..14_500).contains(&millis)),
        "{delayed:?}"
    );
    // From its own beginning on, whenever the other one was heard first.
    let synced = listen(|spec| spec.preempt_after_sync = Duration::from_secs(8));
    assert!(
        synced.is_some_and(|millis| (11_000..12_500).contains(&millis)),
        "{synced:?}"
    );
}

#[test]
fn whoever_has_enough_connections_waits_no_longer() {
    let takes_over = |synced: Option<u64>| {
        let mut lone = Lone::started(|spec| spec.preempt_after_sync = Duration::from_secs(20));
        for number in 1..60 {
            let now = number * 500;
            lone.hear(now, 2, 50);
            if synced.is_some_and(|at| at == now) {
                lone.tell(now, VrrpEvent::Synced);
            }
            lone.pass(now + 400);
            if lone.state() == VrrpState::Master {
                return now;
            }
        }
        u64::MAX
    };
    let (never, soon, late) = (takes_over(None), takes_over(Some(5_000)), takes_over(Some(25_000)));
    assert!((8_000..9_500).contains(&soon), "{soon}");
    assert!((23_000..25_000).contains(&never) && late == never, "{never} {late}");
}

#[test]
fn what_was_synced_once_is_not_for_the_next_time_that_it_listens() {
    let mut lone = Lone::started(|spec| spec.preempt_after_sync = Duration::from_secs(20));
    lone.hear(500, 2, 50);
    lone.tell(600, VrrpEvent::Synced);
    lone.tell(700, VrrpEvent::InterfaceLost);
    lone.tell(800, VrrpEvent::InterfaceReady(host(1)));
    for number in 2..30 {
        lone.hear(number * 500, 2, 50);
        lone.pass(number * 500 + 400);
        assert_eq!(lone.state(), VrrpState::Backup, "after {number} adverts");
    }
}

#[test]
fn who_waits_for_connections_takes_over_at_once_where_nobody_has_any() {
    let mut lone = Lone::started(|spec| spec.preempt_after_sync = Duration::from_secs(60));
    lone.pass(5_000);
    assert_eq!(lone.state(), VrrpState::Master);
}

#[test]
fn a_master_that_leaves_is_followed_after_the_skew() {
    let mut lone = Lone::started(|_| {});
    lone.hear(500, 2, 200);
    assert_eq!(lone.hear(1_000, 2, 0), []);
    let done = lone.pass(3_000);
    assert_eq!(
        done[3],
        (
            1_609,
            changed(VrrpState::Backup, VrrpState::Master, VrrpReason::MasterLeft)
        )
    );
    // Somebody else who leaves was not master.
    let mut lone = Lone::started(|_| {});
    lone.hear(500, 2, 200);
    lone.hear(1_000, 3, 0);
    assert_eq!(lone.pass(3_000), []);
}

#[test]
fn of_two_masters_the_lower_yields_and_says_a_last_word() {
    let higher = |source: u8, priority: u8| VrrpReason::HigherPriority {
        priority,
        source: host(source),
    };
    for (source, priority) in [(2, 101), (2, 100)] {
        let mut lone = Lone::master(|_| {});
        assert_eq!(
            lone.hear(5_100, source, priority),
            [changed(VrrpState::Master, VrrpState::Backup, higher(source, priority))]
        );
        // The other one has them by then.
        let done = lone.pass(6_000);
        assert_eq!(done, [(5_300, VrrpAction::RemoveAddresses), (5_300, send(1))]);
    }
    // The same priority and a lower address: 192.0.2.0.
    for (source, priority) in [(0, 100), (2, 99)] {
        let mut lone = Lone::master(|_| {});
        assert_eq!(
            lone.hear(5_100, source, priority),
            [send(100), VrrpAction::Announce { repeat: 5 }]
        );
        // Once an interval, however often it is heard.
        for millis in 5_101..5_200 {
            assert_eq!(lone.hear(millis, source, priority), []);
        }
        let announced: Vec<_> = lone
            .pass(6_500)
            .into_iter()
            .filter(|(_, action)| *action != send(100))
            .collect();
        assert_eq!(announced, [(6_100, VrrpAction::Announce { repeat: 5 })]);
    }
}

#[test]
fn a_master_answers_whoever_leaves_and_never_a_thousand_times_a_second() {
    let mut lone = Lone::master(|_| {});
    let mut answers = 0;
    for millis in 5_000..6_000 {
        answers += lone.hear(millis, 2, 0).len();
    }
    assert!((1..=33).contains(&answers), "{answers}");
}

#[test]
fn adverts_keep_their_beat_and_a_late_one_does_not_shift_it() {
    let mut lone = Lone::master(|_| {});
    let wake = lone.instance.next_wake().unwrap();
    assert_eq!(
        lone.instance
            .handle(VrrpEvent::TimeReached, wake + Duration::from_millis(300)),
        [send(100)]
    );
    assert_eq!(lone.instance.next_wake(), Some(wake + Duration::from_secs(1)));
}

#[test]
fn whoever_stood_still_is_master_no_longer_and_keeps_what_nobody_else_has() {
    let mut lone = Lone::master(|_| {});
    // Its last advert was at 4.609 s.
    let told = lone.tell(8_000, VrrpEvent::TimeReached);
    assert_eq!(
        told,
        [changed(VrrpState::Master, VrrpState::Backup, VrrpReason::Paused)]
    );
    assert!(lone.instance.holds_addresses());
    // Nobody has taken over: it is master again, and the addresses were there all the time.
    let done = lone.pass(12_000);
    assert!(
        !done.iter().any(|(_, action)| *action == VrrpAction::RemoveAddresses),
        "{done:?}"
    );
    assert_eq!(lone.state(), VrrpState::Master);
    // Somebody has: they are its.
    let mut lone = Lone::master(|_| {});
    let told = lone.hear(8_000, 2, 50);
    assert_eq!(told[1..], [VrrpAction::RemoveAddresses, send(1)]);
}

#[test]
fn a_backup_that_stood_still_listens_again() {
    let mut lone = Lone::started(|_| {});
    assert_eq!(lone.tell(60_000, VrrpEvent::TimeReached), []);
    assert_eq!(lone.state(), VrrpState::Backup);
    assert_eq!(lone.pass(70_000)[0].0, 63_609);
}

#[test]
fn a_clean_stop_keeps_the_addresses_until_the_successor_speaks() {
    let mut lone = Lone::master(|_| {});
    let told = lone.tell(5_000, VrrpEvent::Stopped);
    assert_eq!(
        told,
        [
            send(0),
            changed(VrrpState::Master, VrrpState::Initialize, VrrpReason::Stopped)
        ]
    );
    // It says so before it has put the addresses on.
    assert_eq!(lone.hear(5_400, 2, 50), []);
    assert_eq!(lone.hear(5_500, 2, 50), []);
    assert_eq!(
        lone.pass(20_000),
        [
            (5_600, VrrpAction::RemoveAddresses),
            (5_600, send(1)),
            (5_600, VrrpAction::End)
        ]
    );
    // Nobody follows.
    let mut lone = Lone::master(|_| {});
    lone.tell(5_000, VrrpEvent::Stopped);
    assert_eq!(
        lone.pass(20_000),
        [(8_609, VrrpAction::RemoveAddresses), (8_609, VrrpAction::End)]
    );
    // A backup has nothing to keep.
    let mut lone = Lone::started(|_| {});
    let told = lone.tell(1_000, VrrpEvent::Stopped);
    assert_eq!(told.last(), Some(&VrrpAction::End));
}

#[test]
fn a_step_down_lasts_for_as_long_as_another_one_serves() {
    let mut lone = Lone::master(|_| {});
    assert_eq!(
        lone.tell(5_000, VrrpEvent::StepDown),
        [
            send(0),
            changed(VrrpState::Master, VrrpState::Backup, VrrpReason::StepDown)
        ]
    );
    assert_eq!(lone.hear(5_600, 2, 50), []);
    let given_up = [(5_800, VrrpAction::RemoveAddresses), (5_800, send(1))];
    assert_eq!(lone.pass(5_900), given_up);
    for second in 6..30 {
        lone.hear(second * 1_000, 2, 50);
        assert_eq!(lone.pass(second * 1_000), []);
    }
    // The other one dies; from then on it preempts as before.
    lone.pass(40_000);
    assert_eq!(lone.state(), VrrpState::Master);
    // Nobody else is there: the addresses have not left.
    let mut lone = Lone::master(|_| {});
    lone.tell(5_000, VrrpEvent::StepDown);
    let done = lone.pass(9_000);
    assert!(
        !done.iter().any(|(_, action)| *action == VrrpAction::RemoveAddresses),
        "{done:?}"
    );
    assert_eq!(lone.state(), VrrpState::Master);
}

#[test]
fn what_a_process_before_has_left_is_kept_until_a_master_is_heard() {
    let leftover = || {
        let mut lone = Lone {
            instance: Instance::new(spec_with(|_| {}), None),
        };
        lone.tell(0, VrrpEvent::InterfaceReady(host(1)));
        let found = VrrpEvent::Started {
            addresses_found: true,
            spoke: None,
        };
        lone.tell(0, found);
        lone
    };
    assert_eq!(leftover().hear(900, 2, 1), [VrrpAction::RemoveAddresses]);
    let mut lone = leftover();
    let done = lone.pass(4_000);
    assert!(
        !done.iter().any(|(_, action)| *action == VrrpAction::RemoveAddresses),
        "{done:?}"
    );
    assert_eq!(lone.state(), VrrpState::Master);
}

#[test]
fn whoever_is_replaced_speaks_once_more_and_stays_what_it_is() {
    let mut lone = Lone::master(|_| {});
    assert_eq!(lone.tell(5_100, VrrpEvent::ProcessReplaced), [send(100)]);
    assert_eq!(
        (lone.state(), lone.instance.spoke()),
        (VrrpState::Master, Some(at(5_100)))
    );
    // Nothing came of it: the next one follows an interval later.
    assert_eq!(lone.pass(6_200), [(6_100, send(100))]);
    let mut lone = Lone::started(|_| {});
    assert_eq!(lone.tell(100, VrrpEvent::ProcessReplaced), []);
}

#[test]
fn whoever_was_master_just_before_is_it_again() {
    let begin = |spoke: u64, now: u64| {
        let mut lone = Lone {
            instance: Instance::new(spec_with(|_| {}), None),
        };
        lone.tell(now, VrrpEvent::InterfaceReady(host(1)));
        let event = VrrpEvent::Started {
            addresses_found: true,
            spoke: Some(at(spoke)),
        };
        lone.tell(now, event);
        lone.state()
    };
    assert_eq!(begin(1_000, 1_900), VrrpState::Master);
    assert_eq!(begin(1_000, 4_000), VrrpState::Backup);
    assert_eq!(begin(1_000, 1_000), VrrpState::Master);
    assert_eq!(
        begin(1_001, 1_000),
        VrrpState::Backup,
        "nobody has spoken in the future"
    );
}

#[test]
fn a_fault_gives_the_addresses_up_as_soon_as_somebody_else_can_have_them() {
    // The interface is gone: nobody can be told anything.
    let mut lone = Lone::master(|_| {});
    assert_eq!(
        lone.tell(5_000, VrrpEvent::InterfaceLost),
        [
            changed(VrrpState::Master, VrrpState::Fault, VrrpReason::InterfaceLost),
            VrrpAction::RemoveAddresses
        ]
    );
    lone.tell(6_000, VrrpEvent::InterfaceReady(host(1)));
    assert_eq!(lone.state(), VrrpState::Backup);
    // Its device is gone: the others need not wait until they miss it.
    let mut lone = Lone::master(|_| {});
    assert_eq!(
        lone.tell(5_000, VrrpEvent::DeviceLost),
        [
            send(0),
            changed(VrrpState::Master, VrrpState::Fault, VrrpReason::InterfaceLost),
            VrrpAction::RemoveAddresses
        ]
    );
    assert_eq!(lone.tell(5_100, VrrpEvent::DeviceLost), [], "it is said once");
    // What is tracked has failed.
    let fault = |fault| VrrpEvent::Tracked(VrrpTracking { fault, weight: 0 });
    let mut lone = Lone::master(|_| {});
    assert_eq!(
        lone.tell(5_000, fault(true)),
        [
            send(0),
            changed(VrrpState::Master, VrrpState::Fault, VrrpReason::Tracking)
        ]
    );
    assert_eq!(lone.hear(5_600, 2, 1), []);
    assert_eq!(lone.pass(6_000), [(5_800, VrrpAction::RemoveAddresses)]);
    lone.tell(7_000, fault(false));
    assert_eq!(lone.state(), VrrpState::Backup);
    // And nobody is there to take over.
    let mut lone = Lone::master(|_| {});
    lone.tell(5_000, fault(true));
    assert_eq!(lone.pass(20_000), [(8_609, VrrpAction::RemoveAddresses)]);
}

#[test]
fn a_fault_that_is_over_before_anybody_takes_over_leaves_the_addresses_where_they_are() {
    let fault = |fault| VrrpEvent::Tracked(VrrpTracking { fault, weight: 0 });
    let mut lone = Lone::master(|_| {});
    lone.tell(5_000, fault(true));
    lone.tell(6_000, fault(false));
    let done = lone.pass(20_000);
    assert!(
        done.iter().all(|(_, action)| *action != VrrpAction::RemoveAddresses),
        "{done:?}"
    );
    assert_eq!(lone.state(), VrrpState::Master);
}

#[test]
fn a_master_whose_adverts_do_not_leave_yields_to_whoever_has_missed_it() {
    let mut lone = Lone::master(|spec| spec.priority = 200);
    assert_eq!(lone.tell(5_000, VrrpEvent::Unsent), []);
    lone.hear(5_500, 2, 100);
    assert_eq!(lone.state(), VrrpState::Master, "nobody can have missed it yet");
    for millis in [6_000, 7_000] {
        lone.pass(millis);
        lone.tell(millis, VrrpEvent::Unsent);
    }
    lone.hear(8_050, 2, 1);
    assert_eq!(lone.state(), VrrpState::Master, "a last word is of no master");
    lone.hear(8_100, 2, 100);
    assert_eq!(lone.state(), VrrpState::Backup);
    // It has the higher priority and leaves the other one alone all the same.
    for second in 9..68 {
        lone.pass(second * 1_000);
        lone.hear(second * 1_000, 2, 100);
        assert_eq!(lone.state(), VrrpState::Backup, "second {second}");
    }
    // After a while it tries again.
    for second in 68..74 {
        lone.pass(second * 1_000);
        lone.hear(second * 1_000, 2, 100);
    }
    assert_eq!(lone.state(), VrrpState::Backup, "what it had said was not sent, either");
    lone.pass(80_000);
    lone.tell(80_000, VrrpEvent::SentAgain);
    assert_eq!(lone.state(), VrrpState::Master);
    lone.pass(90_000);
    lone.hear(90_000, 2, 100);
    assert_eq!(lone.state(), VrrpState::Master);
    // Where nobody else is there it stays.
    let mut lone = Lone::master(|_| {});
    lone.tell(5_000, VrrpEvent::Unsent);
    lone.pass(60_000);
    assert_eq!(lone.state(), VrrpState::Master);
}

#[test]
fn weights_change_what_is_said_and_when() {
    let mut lone = Lone::master(|_| {});
    lone.tell(
        4_700,
        VrrpEvent::Tracked(VrrpTracking {
            fault: false,
            weight: -30,
        }),
    );
    assert_eq!(lone.pass(5_700), [(5_609, send(70))]);
    lone.hear(5_700, 2, 80);
    assert_eq!(lone.state(), VrrpState::Backup);
}

#[test]
fn an_address_that_was_taken_away_is_put_back_once_a_second() {
    let mut lone = Lone::master(|_| {});
    let back = [VrrpAction::AddAddresses];
    assert_eq!(lone.tell(5_000, VrrpEvent::AddressMissing), back);
    assert_eq!(lone.tell(5_100, VrrpEvent::AddressMissing), []);
    let done = lone.pass(6_100);
    assert_eq!(done[1..], back.map(|action| (6_000, action)));
}

#[test]
fn an_interval_is_learnt_from_the_master() {
    let mut lone = Lone::started(|spec| spec.advert_interval = Duration::from_millis(100));
    let slow = VrrpAdvert {
        interval: Duration::from_secs(2),
        ..lone.instance.spec().advert(200)
    };
    lone.tell(
        100,
        VrrpEvent::AdvertReceived {
            source: host(2),
            advert: slow,
        },
    );
    // 6 s and 156/256 of 2 s.
    assert_eq!(lone.pass(10_000)[0].0, 100 + 6_000 + 1_218);
}

#[test]
fn an_advert_that_is_not_for_us_is_refused_by_name() {
    let version_2 = |spec: &mut VrrpSpec| {
        spec.version = VrrpVersion::V2;
        spec.password = Some(VrrpPassword(*b"secret\0\0"));
    };
    let hear = |change: fn(&mut VrrpSpec), source: u8, twist: fn(&mut VrrpAdvert)| {
        let mut lone = Lone::started(change);
        let mut heard = lone.instance.spec().advert(200);
        twist(&mut heard);
        let event = VrrpEvent::AdvertReceived {
            source: host(source),
            advert: heard,
        };
        let told = lone.tell(100, event);
        (told.first().cloned(), lone.instance.master().is_some())
    };
    let refused = |source: u8, why| {
        Some(VrrpAction::Refused {
            source: host(source),
            why,
        })
    };
    let cases: [(&str, _, bool, _); 8] = [
        ("good", hear(|_| {}, 2, |_| {}), true, None),
        (
            "version",
            hear(|_| {}, 2, |a| a.version = VrrpVersion::V2),
            false,
            refused(2, VrrpRefusal::Version),
        ),
        (
            "looped",
            hear(|_| {}, 1, |_| {}),
            false,
            refused(1, VrrpRefusal::OwnAddress),
        ),
        (
            "a stranger",
            hear(|s| s.peers = vec![host(7)], 2, |_| {}),
            false,
            refused(2, VrrpRefusal::Stranger),
        ),
        (
            "password",
            hear(version_2, 2, |a| {
                a.authentication = VrrpAuthentication::Password(VrrpPassword(*b"Secret\0\0"))
            }),
            false,
            refused(2, VrrpRefusal::Authentication),
        ),
        (
            "no password wanted",
            hear(
                |s| s.version = VrrpVersion::V2,
                2,
                |a| {
                    a.authentication = VrrpAuthentication::Password(VrrpPassword([0; 8]));
                },
            ),
            false,
            refused(2, VrrpRefusal::Authentication),
        ),
        (
            "interval",
            hear(version_2, 2, |a| a.interval = Duration::from_secs(2)),
            false,
            refused(2, VrrpRefusal::Interval),
        ),
        (
            "addresses",
            hear(|_| {}, 2, |a| a.addresses.clear()),
            true,
            refused(2, VrrpRefusal::OtherAddresses),
        ),
    ];
    for (name, (told, heeded), is_heeded, expected) in cases {
        assert_eq!((told, heeded), (expected, is_heeded), "{name}");
    }
}

#[test]
fn a_second_owner_is_named() {
    let mut lone = Lone::started(|spec| (spec.priority, spec.starts_as_master) = (255, true));
    let told = lone.hear(100, 2, 255);
    let why = VrrpRefusal::TwoOwners;
    assert_eq!(told[0], VrrpAction::Refused { source: host(2), why });
    assert_eq!(lone.state(), VrrpState::Backup);
}

#[test]
fn other_settings_do_not_cost_the_mastership() {
    let mut lone = Lone::master(|_| {});
    let more = spec_with(|spec| {
        spec.priority = 120;
        let mut second = spec.addresses[0].clone();
        second.address = host(101);
        spec.addresses.push(second);
    });
    assert_eq!(
        lone.tell(5_000, VrrpEvent::SpecChanged(more)),
        [send(120), VrrpAction::AddAddresses, VrrpAction::Announce { repeat: 5 }]
    );
    let routed = spec_with(|spec| {
        spec.routes.push(VrrpRoute {
            to: Prefix::all(Family::Inet),
            via: Some(host(1)),
            device: None,
            source: None,
            table: 100,
            metric: 0,
            scope: AddressScope::Global,
            kind: RouteKind::Unicast,
            onlink: false,
            mtu: None,
        });
    });
    // The addresses are those of the beginning again.
    assert_eq!(
        lone.tell(5_300, VrrpEvent::SpecChanged(spec_with(|_| {})))[1],
        VrrpAction::AddAddresses
    );
    assert_eq!(
        lone.tell(5_500, VrrpEvent::SpecChanged(routed)),
        [send(100), VrrpAction::AddAddresses],
        "nobody has to be told of a route"
    );
    let slower = spec_with(|spec| spec.advert_interval = Duration::from_millis(100));
    assert_eq!(lone.tell(5_900, VrrpEvent::SpecChanged(slower))[0], send(100));
    lone.pass(8_000);
    assert_eq!(lone.state(), VrrpState::Master);
}
