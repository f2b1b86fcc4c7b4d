//! What operators want, as the two directors of a pair tell it to each other.

use super::{Wish, Wishlist, weight_of};
use crate::director::view::Now;
use crate::model::{AdminState, Lasting, OperatorOrder, PeerWish, PeerWord, ServerId};

impl Wishlist {
    /// What holds for good, as it is told to the other director.
    pub(in crate::director) fn words(&self) -> impl Iterator<Item = PeerWord> {
        let of = |wish: &Wish| {
            let state = PeerWish::State {
                state: wish.state,
                drain_until: wish.drain_until,
                drain_for: None,
            };
            let weight = weight_of(wish.weight, wish.percent);
            let said = [
                (wish.state != AdminState::Ready).then_some(state),
                weight.map(|weight| PeerWish::Weight { weight: Some(weight) }),
            ];
            let (id, by, at) = (wish.id(), wish.by.clone(), wish.at);
            said.into_iter().flatten().map(move |wish| PeerWord {
                virtual_server: id.virtual_server.clone(),
                server: id.server.clone(),
                wish,
                by: by.clone(),
                at,
            })
        };
        self.wishes.values().flat_map(of)
    }

    /// An operator of the other director has said something that counts. Answers with what to tell a director; `None` where
    /// that was wanted already.
    pub fn follow(&mut self, word: &PeerWord, now: Now) -> Option<[OperatorOrder; 2]> {
        let server = ServerId {
            virtual_server: word.virtual_server.clone(),
            server: word.server.clone(),
        };
        let kept = Lasting::UntilTakenBack;
        let is_news = match word.wish {
            PeerWish::State { state, drain_until, .. } => {
                let deadline = drain_until.map(|until| until.since(now.time));
                self.set_state(&server, state, deadline, kept, &word.by, now)
            }
            PeerWish::Weight { weight } => self.set_weight(&server, weight, kept, &word.by, now),
        };
        if !is_news {
            return None;
        }
        Some(match self.wishes.get_mut(&server) {
            Some(wish) => {
                wish.at = word.at;
                if let PeerWish::State { drain_until, .. } = word.wish {
                    wish.drain_until = drain_until;
                }
                wish.orders()
            }
            None => Wish::nothing(&server, now).orders(),
        })
    }
}
