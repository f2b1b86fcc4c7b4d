//! Words of two directors, in whatever order they are heard.

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> UnixTime {
    UnixTime::from_millis(1_800_000_000_000 + millis)
}

fn id(number: u8) -> ServerId {
    ServerId {
        virtual_server: "web".to_owned(),
        server: format!("192.0.2.{number}:80"),
    }
}

const DRAIN: PeerWish = PeerWish::State {
    state: AdminState::Drain,
    drain_until: None,
    drain_for: None,
};
const READY: PeerWish = PeerWish::State {
    state: AdminState::Ready,
    drain_until: None,
    drain_for: None,
};
const HALF: PeerWish = PeerWish::Weight {
    weight: Some(WeightAdvice::Percent(50)),
};

fn tell(from: &Words, to: &mut Words, now: UnixTime) -> Heard {
    to.hear_peer(from.all().cloned().collect(), now)
}

fn restored(words: Vec<PeerWord>, now: UnixTime) -> Words {
    Words::restored(Some(words), &Wishlist::default(), now)
}

#[test]
fn the_later_word_wins_on_both_and_says_whose_it_is() {
    let (mut a, mut b) = (Words::default(), Words::default());
    a.say(&id(1), DRAIN, "root", at(0));
    b.say(&id(1), HALF, "uid 7", at(1));
    assert_eq!(tell(&a, &mut b, at(2)).won.len(), 1);
    assert_eq!(tell(&b, &mut a, at(2)).won.len(), 1);
    let by: Vec<_> = b.all().map(|word| word.by.as_str()).collect();
    assert_eq!(by, ["root on the peer", "uid 7"]);
    b.say(&id(1), READY, "uid 7", at(3));
    let heard = tell(&b, &mut a, at(4));
    assert_eq!((heard.won.len(), heard.won[0].wish), (1, READY));
    // What comes back is no news, and no older word counts again.
    assert_eq!(tell(&a, &mut b, at(5)), Heard::default());
    let mut older = Words::default();
    older.say(&id(1), DRAIN, "root", at(2));
    assert_eq!(tell(&older, &mut a, at(6)), Heard::default());
}

#[test]
fn whoever_knows_of_a_word_says_his_later_whatever_the_clocks_say() {
    let (mut fast, mut slow) = (Words::default(), Words::default());
    fast.say(&id(1), DRAIN, "root", at(3_600_000));
    assert_eq!(tell(&fast, &mut slow, at(0)).won.len(), 1);
    slow.say(&id(1), READY, "root", at(1));
    assert_eq!(tell(&slow, &mut fast, at(3_600_002)).won.len(), 1);
    assert_eq!(fast.all().next().map(|word| word.wish), Some(READY));
}

#[test]
fn what_is_said_in_the_far_future_or_too_long_is_left() {
    let mut words = Words::default();
    let mut other = Words::default();
    other.say(&id(1), DRAIN, "root", UnixTime::from_millis(LATEST));
    assert_eq!(tell(&other, &mut words, at(0)).ahead, 1);
    let long = ServerId {
        virtual_server: "x".repeat(1000),
        server: "192.0.2.1:80".to_owned(),
    };
    let mut other = Words::default();
    other.say(&long, DRAIN, "root", at(0));
    tell(&other, &mut words, at(0));
    assert!(words.is_empty());
}

#[test]
fn clocks_that_are_years_apart_are_no_reason_not_to_follow() {
    // The one has no battery for its clock, the other one is ten years ahead.
    let (past, future) = (UnixTime::from_millis(0), at(10 * 365 * 86_400_000));
    let (mut slow, mut fast) = (Words::default(), Words::default());
    fast.say(&id(1), DRAIN, "root", future);
    assert_eq!(tell(&fast, &mut slow, past).won.len(), 1);
    slow.say(&id(1), READY, "root", past);
    assert_eq!(tell(&slow, &mut fast, future).won.len(), 1);
    // Both clocks are right again.
    fast.say(&id(1), DRAIN, "root", at(0));
    assert_eq!(tell(&fast, &mut slow, at(0)).won.len(), 1);
    let mut slow = restored(slow.all().cloned().collect(), past);
    assert_eq!(wishes(&slow), wishes(&fast));
    slow.say(&id(1), READY, "root", at(1));
    assert_eq!(tell(&slow, &mut fast, at(1)).won.len(), 1);
    assert_eq!(wishes(&slow), wishes(&fast));
}

#[test]
fn said_once_more_is_a_later_word() {
    let (mut here, mut there) = (Words::default(), Words::default());
    here.say(&id(1), DRAIN, "root", at(0));
    there.say(&id(1), READY, "root", at(10));
    // Nobody was connected, and it still does not work, so he says it again.
    here.say(&id(1), DRAIN, "root", at(20));
    assert_eq!(tell(&there, &mut here, at(30)), Heard::default());
    let heard = tell(&here, &mut there, at(30));
    assert_eq!((heard.won.len(), heard.won[0].wish), (1, DRAIN));
}

#[test]
fn a_drain_with_an_end_is_the_same_word_on_two_clocks() {
    let (mut here, mut there) = (Words::default(), Words::default());
    let drain = |until: u64| PeerWish::State {
        state: AdminState::Drain,
        drain_until: Some(at(until)),
        drain_for: Some(600_000),
    };
    here.say(&id(1), drain(600_000), "root", at(0));
    // As it is heard there: its clock is ten minutes behind, and the network has taken some milliseconds.
    let by_their_clock = |word: &PeerWord, end: u64| PeerWord {
        wish: drain(end),
        ..word.clone()
    };
    let told: Vec<_> = here.all().map(|word| by_their_clock(word, 3)).collect();
    assert_eq!(there.hear_peer(told, at(0)).won.len(), 1);
    let back: Vec<_> = there.all().map(|word| by_their_clock(word, 600_009)).collect();
    assert_eq!(here.hear_peer(back, at(0)), Heard::default());
    let told: Vec<_> = here.all().map(|word| by_their_clock(word, 7)).collect();
    assert_eq!(there.hear_peer(told, at(0)), Heard::default());
    // One of a version that did not say for how long.
    let older = PeerWord {
        wish: PeerWish::State {
            state: AdminState::Drain,
            drain_until: Some(at(600_000)),
            drain_for: None,
        },
        ..here.all().next().expect("a word").clone()
    };
    assert_eq!(here.hear_peer(vec![older], at(0)), Heard::default());
}

#[test]
fn what_took_back_is_remembered_until_the_other_one_has_it() {
    let week = 7 * 86_400_000;
    let (mut here, mut there) = (Words::default(), Words::default());
    here.say(&id(1), DRAIN, "root", at(0));
    tell(&here, &mut there, at(0));
    // The other one is away for weeks.
    here.say(&id(1), READY, "root", at(1));
    here.forget(at(3 * week));
    assert_eq!(tell(&there, &mut here, at(3 * week)), Heard::default());
    here.forget(at(3 * week));
    let heard = tell(&here, &mut there, at(3 * week));
    assert_eq!((heard.won.len(), heard.won[0].wish), (1, READY));
    tell(&there, &mut here, at(3 * week));
    here.forget(at(3 * week));
    assert!(here.is_empty());
    // It does not come back, and the other one may forget it too.
    assert_eq!(tell(&there, &mut here, at(3 * week)), Heard::default());
    assert!(here.is_empty());
    tell(&here, &mut there, at(3 * week));
    there.forget(at(3 * week));
    assert!(there.is_empty());
}

#[test]
fn what_took_back_is_remembered_over_a_restart_and_not_without_end() {
    let week = 7 * 86_400_000;
    let mut words = Words::default();
    for number in 0..MOST_UNHEARD + 5 {
        let server = ServerId {
            virtual_server: "web".to_owned(),
            server: number.to_string(),
        };
        words.say(&server, READY, "root", at(u64::try_from(number).expect("few")));
    }
    words.say(&id(1), DRAIN, "root", at(0));
    // However many there are, they are kept for a week.
    words.forget(at(week));
    assert_eq!(words.all().count(), MOST_UNHEARD + 6);
    words.say(&id(2), READY, "root", at(week));
    let mut words = restored(words.all().cloned().collect(), at(2 * week));
    words.forget(at(2 * week));
    assert_eq!(words.all().count(), MOST_UNHEARD + 2);
    assert_eq!(words.of(&id(1)).count(), 1);
    assert!(words.all().any(|word| word.server == id(2).server));
    assert!(!words.all().any(|word| word.server == "4"));
    assert!(words.all().any(|word| word.server == "5"));
}

#[test]
fn of_what_took_back_at_once_only_what_is_too_much_is_forgotten() {
    let mut words = Words::default();
    for number in 0..MOST_UNHEARD + 1 {
        let server = ServerId {
            virtual_server: "web".to_owned(),
            server: number.to_string(),
        };
        words.say(&server, READY, "root", at(0));
    }
    words.forget(at(2 * 7 * 86_400_000));
    assert_eq!(words.all().count(), MOST_UNHEARD);
}

#[test]
fn a_part_of_the_other_ones_words_says_nothing_of_the_rest() {
    let week = 7 * 86_400_000;
    let mut words = Words::default();
    words.say(&id(1), READY, "root", at(0));
    words.hear_some(Vec::new(), at(0));
    words.forget(at(2 * week));
    assert!(!words.is_empty());
    words.hear_peer(Vec::new(), at(0));
    words.forget(at(2 * week));
    assert!(words.is_empty());
}

#[test]
fn with_a_server_that_is_no_more_goes_what_was_said_of_it_here() {
    let (mut here, mut there) = (Words::default(), Words::default());
    here.say(&id(1), DRAIN, "root", at(0));
    there.say(&id(1), HALF, "root", at(0));
    tell(&here, &mut there, at(1));
    tell(&there, &mut here, at(1));
    assert_eq!(here.of(&id(1)).count(), 2);
    here.withdraw(&id(1), "root", at(2));
    assert_eq!(here.of(&id(1)).map(|word| word.wish).collect::<Vec<_>>(), [HALF]);
    let heard = tell(&here, &mut there, at(3));
    assert_eq!((heard.won.len(), heard.won[0].wish), (1, READY));
    let revision = here.revision();
    here.withdraw(&id(1), "root", at(4));
    here.withdraw(&id(2), "root", at(4));
    assert_eq!(here.revision(), revision);
}

#[test]
fn what_took_back_is_forgotten_after_a_week() {
    let mut words = Words::default();
    words.say(&id(1), READY, "root", at(0));
    words.say(&id(2), DRAIN, "root", at(0));
    // The other one has it, or nothing that it would take back.
    words.hear_peer(Vec::new(), at(0));
    words.forget(at(7 * 86_400_000));
    assert_eq!(words.all().count(), 2);
    words.forget(at(7 * 86_400_000 + 1));
    assert_eq!(words.all().map(|word| word.wish).collect::<Vec<_>>(), [DRAIN]);
}

fn some_word() -> impl Strategy<Value = PeerWord> {
    let state = prop::sample::select(vec![AdminState::Ready, AdminState::Drain, AdminState::Maint]);
    let until = prop::option::of((0u64..5).prop_map(at));
    let weight = prop::option::of(prop_oneof![
        (0u32..4).prop_map(WeightAdvice::Absolute),
        (0u32..4).prop_map(WeightAdvice::Percent),
    ]);
    let wish = prop_oneof![
        (state, until).prop_map(|(state, drain_until)| PeerWish::State {
            state,
            drain_until,
            drain_for: None
        }),
        weight.prop_map(|weight| PeerWish::Weight { weight }),
    ];
    (0u8..3, wish, 0u64..5).prop_map(|(server, wish, millis)| PeerWord {
        virtual_server: id(server).virtual_server,
        server: id(server).server,
        wish,
        by: "root".to_owned(),
        at: at(millis),
    })
}

fn wishes(words: &Words) -> Vec<(ServerId, PeerWish, UnixTime)> {
    let shown = words.all().map(|word| (key(word).0, word.wish, word.at));
    shown.collect()
}

proptest! {
    /// However words travel, once each has heard the other they agree, and hearing again changes nothing.
    #[test]
    fn both_agree_whatever_the_order(
        first in prop::collection::vec(some_word(), 0..12),
        second in prop::collection::vec(some_word(), 0..12),
    ) {
        let mut a = restored(first.clone(), at(10));
        let mut b = restored(second, at(10));
        let before = b.clone();
        tell(&a, &mut b, at(10));
        tell(&before, &mut a, at(10));
        prop_assert_eq!(wishes(&a), wishes(&b));
        let revision = a.revision();
        prop_assert_eq!(tell(&b, &mut a, at(10)), Heard::default());
        prop_assert_eq!(a.revision(), revision);
        let reversed = restored(first.iter().rev().cloned().collect(), at(10));
        prop_assert_eq!(wishes(&reversed), wishes(&restored(first, at(10))));
    }
}
