//! What operators say on either director.

use std::sync::Arc;

use tracing::{info, warn};

use super::super::Shell;
use crate::daemon::control;
use crate::director::Heard;
use crate::model::control::{EventKind, Level};
use crate::model::{Event, Lasting, PeerWish, PeerWord, ServerId};

impl Shell {
    /// An operator has said something for good; the other director hears of it whenever it is there again.
    pub(in crate::daemon::task) fn say_to_peer(
        &mut self,
        server: &ServerId,
        wish: PeerWish,
        lasting: Lasting,
        by: &str,
    ) {
        if lasting == Lasting::UntilTakenBack {
            self.peer.words.say(server, wish, by, control::unix_time());
        }
    }

    pub(super) fn tell_words(&mut self, again: bool) {
        let revision = self.peer.words.revision();
        if !again && self.peer.told_words == revision {
            return;
        }
        self.peer.told_words = revision;
        let number = self.peer.next_number();
        let words: Vec<_> = self.peer.words.all().cloned().collect();
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| told.words = (number, Arc::new(words)));
        }
    }

    /// `all`: it has told all its words; otherwise some were of a form that is not known here.
    pub(super) fn hear_words(&mut self, words: Vec<PeerWord>, all: bool) {
        let now = self.both_nows();
        let Heard { won, ahead } = match all {
            true => self.peer.words.hear_peer(words, now.time),
            false => self.peer.words.hear_some(words, now.time),
        };
        if ahead > 0 && !std::mem::replace(&mut self.peer.ahead, true) {
            let text = "the other director tells of operators' words of the year 9000 and later, and they are left (set its \
                        clock, and say them again)";
            warn!("{text}");
            self.note(EventKind::Peer, Level::Warning, text.to_owned());
        }
        if won.is_empty() {
            return;
        }
        for word in &won {
            let Some(orders) = self.wishlist.follow(word, now) else {
                continue;
            };
            let text = format!(
                "{}: {}/{} is set to {}",
                word.by,
                word.virtual_server,
                word.server,
                said(word.wish)
            );
            info!("{text}");
            self.note(EventKind::Admin, Level::Info, text);
            for order in orders {
                self.tell(Event::Operator(order));
            }
        }
        // It is logged where it fails.
        let _ = self.save_wishes();
    }
}

/// What an operator wants, in words.
fn said(wish: PeerWish) -> String {
    match wish {
        PeerWish::State { state, .. } => state.to_string(),
        PeerWish::Weight { weight: Some(weight) } => format!("weight {weight}"),
        PeerWish::Weight { weight: None } => "its own weight".to_owned(),
    }
}
