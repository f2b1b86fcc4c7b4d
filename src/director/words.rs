//! What operators have said for good on either of two directors, and which of two words counts: the later one.
//!
//! Pure. Both directors come to the same answer whatever they hear first, how often, and in which order. Words are put down
//! whether there is another director or not: it may be back tomorrow. A word that takes back is a word too, and is
//! remembered until the other one has it, or an older one would come back with the next connection. Two clocks need not
//! agree: whoever says something after he could have known of another word says it later, whatever time it is there; so
//! that no time, however wrong, is a reason not to follow.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wishlist::Wishlist;
use crate::model::{AdminState, PeerWish, PeerWord, ServerId, UnixTime, WeightAdvice};

/// The most words of the other director that are kept.
const MOST: usize = 100_000;

/// The most words that have taken something back longer than [`REMEMBERED`] ago and that the other director does not have;
/// there may never be one.
const MOST_UNHEARD: usize = 10_000;

/// The longest name that may come over the wire, in bytes.
const LONGEST: usize = 256;

/// For how long a word that has taken another one back is remembered at least.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// The start of the year 9000: what is said later than that is no time of any clock, and would leave no room for a later
/// word.
const LATEST: u64 = 221_845_392_000_000;

/// What is added to the name of whoever has said something on the other director.
const ON_THE_PEER: &str = " on the peer";

/// What a word is about: the one and the other are said, and taken back, for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    State,
    Weight,
}

/// A word, and what is known of it.
#[derive(Debug, Clone)]
struct Kept {
    word: PeerWord,
    /// The other director has it, or has nothing that it would take back.
    is_there: bool,
}

/// All words.
#[derive(Debug, Clone, Default)]
pub struct Words {
    words: BTreeMap<(ServerId, About), Kept>,
    /// Raised by every change.
    revision: u64,
}

/// What came of the other one's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Those that count from now on.
    pub won: Vec<PeerWord>,
    /// So many have a time that no clock has.
    pub ahead: usize,
}

impl Words {
    /// The words of an earlier process, which wanted this. `None`: it was one that put no words down, and what it wanted
    /// for good was said for good. A process that did has a word for whatever the other director is to hear; what is wanted
    /// beside that, as the weight with which a server was put back, holds here alone.
    pub fn restored(words: Option<Vec<PeerWord>>, wanted: &Wishlist, now: UnixTime) -> Self {
        let mut restored = Self::default();
        match words {
            Some(words) => drop(restored.hear(words, now, None)),
            None => {
                let words = wanted.words().map(measured);
                let kept = words.map(|word| (key(&word), Kept { word, is_there: false }));
                restored.words = kept.collect();
            }
        }
        restored.revision = 1;
        restored
    }

    /// An operator of this director has said something; once more is later than before.
    pub fn say(&mut self, server: &ServerId, wish: PeerWish, by: &str, now: UnixTime) {
        let mut word = PeerWord {
            virtual_server: server.virtual_server.clone(),
            server: server.server.clone(),
            wish,
            by: by.to_owned(),
            at: now,
        };
        let key = key(&word);
        if let Some(Kept { word: before, .. }) = self.words.get(&key) {
            // He may have seen what it was before, whatever the other director's clock says.
            word.at = now.max(before.at.after(Duration::from_millis(1)));
        }
        let word = measured(word);
        self.words.insert(key, Kept { word, is_there: false });
        self.revision += 1;
    }

    /// A server that an operator had added here is no more, and what was said of it here holds no longer.
    pub fn withdraw(&mut self, server: &ServerId, by: &str, now: UnixTime) {
        let said_here = self
            .of(server)
            .filter(|word| !word.by.ends_with(ON_THE_PEER))
            .map(|word| match word.wish {
                PeerWish::State { .. } => PeerWish::State {
                    state: AdminState::Ready,
                    drain_until: None,
                    drain_for: None,
                },
                PeerWish::Weight { .. } => PeerWish::Weight { weight: None },
            });
        for wish in said_here.collect::<Vec<_>>() {
            self.say(server, wish, by, now);
        }
    }

    /// What holds for a server.
    pub fn of(&self, server: &ServerId) -> impl Iterator<Item = &PeerWord> {
        let about = [About::State, About::Weight].map(|about| (server.clone(), about));
        let found = about.into_iter().filter_map(|key| self.words.get(&key));
        found.map(|kept| &kept.word).filter(|word| !takes_back(&word.wish))
    }

    /// All that hold, and for which server.
    pub(super) fn holding(&self) -> impl Iterator<Item = (&ServerId, &PeerWord)> {
        let all = self.words.iter().map(|((server, _), kept)| (server, &kept.word));
        all.filter(|(_, word)| !takes_back(&word.wish))
    }

    /// The other director has told all words that it knows.
    pub fn hear_peer(&mut self, words: Vec<PeerWord>, now: UnixTime) -> Heard {
        let theirs: BTreeMap<_, _> = words
            .iter()
            .map(|word| (key(word), rank(&measured(word.clone()))))
            .collect();
        let heard = self.hear(words, now, Some(ON_THE_PEER));
        for (key, kept) in &mut self.words {
            // Of what it does not name it has nothing.
            let is_there = theirs.get(key).is_none_or(|theirs| *theirs >= rank(&kept.word));
            kept.is_there = is_there;
        }
        heard
    }

    /// The other director has told all words that it knows, and some were of a kind that is not known here.
    pub fn hear_some(&mut self, words: Vec<PeerWord>, now: UnixTime) -> Heard {
        self.hear(words, now, Some(ON_THE_PEER))
    }

    /// `origin`: what is added to the names of whoever has said them, where they come from the other director.
    fn hear(&mut self, words: Vec<PeerWord>, now: UnixTime, origin: Option<&str>) -> Heard {
        let mut heard = Heard::default();
        for word in words {
            let mut word = measured(word);
            let fits = word.virtual_server.len() <= LONGEST && word.server.len() <= LONGEST;
            if word.at.millis() >= LATEST {
                heard.ahead += 1;
                continue;
            }
            let key = key(&word);
            let before = self.words.get(&key).map(|kept| &kept.word);
            if !fits || (before.is_none() && self.words.len() >= MOST) {
                continue;
            }
            if before.is_some_and(|before| rank(before) >= rank(&word)) {
                continue;
            }
            // It was known here, and forgotten.
            if before.is_none() && origin.is_some() && is_old(&word, now) {
                continue;
            }
            let origin = origin.unwrap_or_default();
            let by: String = word.by.chars().filter(|letter| !letter.is_control()).take(64).collect();
            word.by = match by.ends_with(origin) {
                true => by,
                false => format!("{by}{origin}"),
            };
            let kept = Kept {
                word: word.clone(),
                is_there: false,
            };
            self.words.insert(key, kept);
            self.revision += 1;
            heard.won.push(word);
        }
        heard
    }

    /// Forgets what has taken something back long ago, where nobody comes with the older word any more.
    pub fn forget(&mut self, now: UnixTime) {
        self.words.retain(|_, kept| !is_old(&kept.word, now) || !kept.is_there);
        // What is old and still here is what the other one does not have.
        let unheard = self.words.iter().filter(|(_, kept)| is_old(&kept.word, now));
        let mut unheard: Vec<_> = unheard.map(|(key, kept)| (kept.word.at, key.clone())).collect();
        let over = unheard.len().saturating_sub(MOST_UNHEARD);
        if over > 0 {
            unheard.sort_unstable();
            for (_, key) in unheard.drain(..over) {
                self.words.remove(&key);
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &PeerWord> {
        self.words.values().map(|kept| &kept.word)
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

/// A word with the length of its drain, which is the same on both directors. One of a version that did not tell it has it
/// from its times.
fn measured(mut word: PeerWord) -> PeerWord {
    if let PeerWish::State {
        drain_until: Some(until),
        drain_for: length @ None,
        ..
    } = &mut word.wish
    {
        *length = Some(match *until >= word.at {
            true => until.millis() - word.at.millis(),
            false => until.millis(),
        });
    }
    word
}

/// Whether it has taken something back so long ago that it may be forgotten.
fn is_old(word: &PeerWord, now: UnixTime) -> bool {
    takes_back(&word.wish) && now.since(word.at) > REMEMBERED
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
        PeerWish::State { state, drain_for, .. } => {
            let state = match state {
                AdminState::Ready => 0,
                AdminState::Drain => 1,
                AdminState::Maint => 2,
            };
            // When the drain ends each director has by its own clock.
            (word.at, state, drain_for.map_or(0, |length| length.saturating_add(1)))
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
mod tests;
