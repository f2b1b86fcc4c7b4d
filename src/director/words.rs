//! What operators have said for good on either of two directors, and which of two words counts: the later one.
//!
//! Pure. Both directors come to the same answer whatever they hear first, how often, and in which order. A word that takes
//! back is a word too, and is remembered, or an older one would come back with the next connection. Two clocks need not
//! agree: whoever says something after he could have known of another word says it later.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wishlist::Wishlist;
use crate::model::{AdminState, PeerWish, PeerWord, ServerId, UnixTime, WeightAdvice};

/// The most words of the other director that are kept.
const MOST: usize = 100_000;

/// The longest name that may come over the wire, in bytes.
const LONGEST: usize = 256;

/// For how long a word that has taken another one back is remembered.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// The other one's clock may be ahead by as much; what is said later than that is not believed.
const AHEAD: Duration = Duration::from_secs(86_400);

/// What is added to the name of whoever has said something on the other director.
const ON_THE_PEER: &str = " on the peer";

/// What a word is about: the one and the other are said, and taken back, for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    State,
    Weight,
}

/// All words.
#[derive(Debug, Clone, Default)]
pub struct Words {
    words: BTreeMap<(ServerId, About), PeerWord>,
    /// Raised by every change.
    revision: u64,
}

/// What came of the other one's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Those that count from now on.
    pub won: Vec<PeerWord>,
    /// So many were said further in the future than any clock is wrong.
    pub ahead: usize,
}

impl Words {
    /// The words of an earlier process.
    pub fn restored(words: Vec<PeerWord>, now: UnixTime) -> Self {
        let mut restored = Self::default();
        restored.hear(words, now, "");
        restored.revision = 1;
        restored
    }

    /// Takes over what operators wanted before there was anybody to tell.
    pub fn adopt(&mut self, wishlist: &Wishlist) {
        for word in wishlist.words() {
            let key = key(&word);
            if let std::collections::btree_map::Entry::Vacant(vacant) = self.words.entry(key) {
                vacant.insert(word);
                self.revision += 1;
            }
        }
    }

    /// An operator of this director has said something.
    pub fn say(&mut self, server: &ServerId, wish: PeerWish, by: &str, now: UnixTime) {
        let mut word = PeerWord {
            virtual_server: server.virtual_server.clone(),
            server: server.server.clone(),
            wish,
            by: by.to_owned(),
            at: now,
        };
        let key = key(&word);
        if let Some(before) = self.words.get(&key) {
            // He may have seen what it was before, whatever the other director's clock says.
            word.at = now.max(before.at.after(Duration::from_millis(1)));
        }
        self.words.insert(key, word);
        self.revision += 1;
    }

    /// The other director has told all words that it knows.
    pub fn hear_peer(&mut self, words: Vec<PeerWord>, now: UnixTime) -> Heard {
        self.hear(words, now, ON_THE_PEER)
    }

    fn hear(&mut self, words: Vec<PeerWord>, now: UnixTime, origin: &str) -> Heard {
        let mut heard = Heard::default();
        for mut word in words {
            let fits = word.virtual_server.len() <= LONGEST && word.server.len() <= LONGEST;
            if word.at > now.after(AHEAD) {
                heard.ahead += 1;
                continue;
            }
            let key = key(&word);
            let before = self.words.get(&key);
            if !fits || (before.is_none() && self.words.len() >= MOST) {
                continue;
            }
            if before.is_some_and(|before| rank(before) >= rank(&word)) {
                continue;
            }
            let by: String = word.by.chars().filter(|letter| !letter.is_control()).take(64).collect();
            word.by = match by.ends_with(origin) {
                true => by,
                false => format!("{by}{origin}"),
            };
            let is_news = before.is_none_or(|before| before.wish != word.wish);
            self.words.insert(key, word.clone());
            self.revision += 1;
            if is_news {
                heard.won.push(word);
            }
        }
        heard
    }

    /// Forgets what has taken something back so long ago that nobody comes with it any more.
    pub fn forget(&mut self, now: UnixTime) {
        self.words
            .retain(|_, word| !takes_back(&word.wish) || now.since(word.at) <= REMEMBERED);
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &PeerWord> {
        self.words.values()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Another number whenever there is something else to tell.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

fn key(word: &PeerWord) -> (ServerId, About) {
    let server = ServerId {
        virtual_server: word.virtual_server.clone(),
        server: word.server.clone(),
    };
    let about = match word.wish {
        PeerWish::State { .. } => About::State,
        PeerWish::Weight { .. } => About::Weight,
    };
    (server, about)
}

fn takes_back(wish: &PeerWish) -> bool {
    match wish {
        PeerWish::State { state, .. } => *state == AdminState::Ready,
        PeerWish::Weight { weight } => weight.is_none(),
    }
}

/// What orders words about the same: the time, and of two at the same millisecond what serves less, so that both directors
/// come to the same.
fn rank(word: &PeerWord) -> (UnixTime, u8, u64) {
    match word.wish {
        PeerWish::State { state, drain_until } => {
            let state = match state {
                AdminState::Ready => 0,
                AdminState::Drain => 1,
                AdminState::Maint => 2,
            };
            (word.at, state, drain_until.map_or(0, UnixTime::millis))
        }
        PeerWish::Weight { weight } => {
            let (kind, weight) = match weight {
                None => (0, 0),
                Some(WeightAdvice::Percent(percent)) => (1, percent),
                Some(WeightAdvice::Absolute(weight)) => (2, weight),
            };
            (word.at, kind, u64::from(u32::MAX - weight))
        }
    }
}

#[cfg(test)]
mod tests {
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
    };
    const READY: PeerWish = PeerWish::State {
        state: AdminState::Ready,
        drain_until: None,
    };
    const HALF: PeerWish = PeerWish::Weight {
        weight: Some(WeightAdvice::Percent(50)),
    };

    fn tell(from: &Words, to: &mut Words, now: UnixTime) -> Heard {
        to.hear_peer(from.all().cloned().collect(), now)
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
        other.say(&id(1), DRAIN, "root", at(2 * 86_400_000));
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
    fn what_took_back_is_forgotten_after_a_week() {
        let mut words = Words::default();
        words.say(&id(1), READY, "root", at(0));
        words.say(&id(2), DRAIN, "root", at(0));
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
            (state, until).prop_map(|(state, drain_until)| PeerWish::State { state, drain_until }),
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
            let mut a = Words::restored(first.clone(), at(10));
            let mut b = Words::restored(second, at(10));
            let before = b.clone();
            tell(&a, &mut b, at(10));
            tell(&before, &mut a, at(10));
            prop_assert_eq!(wishes(&a), wishes(&b));
            let revision = a.revision();
            prop_assert_eq!(tell(&b, &mut a, at(10)), Heard::default());
            prop_assert_eq!(a.revision(), revision);
            let reversed = Words::restored(first.iter().rev().cloned().collect(), at(10));
            prop_assert_eq!(wishes(&reversed), wishes(&Words::restored(first, at(10))));
        }
    }
}
