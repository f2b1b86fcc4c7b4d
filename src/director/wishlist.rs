//! What operators want of servers: who said so and when, and until when a drain waits.
//!
//! Pure. [`super::Director`] holds what counts now; this remembers what it was told beyond that, so that it can be shown
//! and, by a file, outlive the process. Intent comes from here and nowhere else: never from a weight in the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::view::Now;
use crate::model::control::OperatorReport;
use crate::model::{AdminState, Instant, OperatorOrder, ServerId, UnixTime};

/// The most servers that a list from outside may have.
const MOST: usize = 100_000;

/// What operators want of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The virtual server's name.
    virtual_server: String,
    /// The real server's address and port.
    server: String,
    /// How it is to be used.
    state: AdminState,
    /// The weight that it is given.
    weight: Option<u32>,
    /// Who said the last of it.
    by: String,
    /// When.
    at: UnixTime,
    /// When a drain becomes maintenance.
    drain_until: Option<UnixTime>,
}

impl Wish {
    fn is_any(&self) -> bool {
        self.state != AdminState::Ready || self.weight.is_some()
    }

    /// As it is shown.
    pub fn report(&self) -> OperatorReport {
        OperatorReport {
            state: self.state.to_string(),
            weight: self.weight,
            by: self.by.clone(),
            since: self.at,
            drain_until: self.drain_until,
        }
    }
}

/// The wishes for all servers.
#[derive(Debug, Clone, Default)]
pub struct Wishlist {
    wishes: BTreeMap<ServerId, Wish>,
    deadlines: BTreeMap<ServerId, Instant>,
}

impl Wishlist {
    /// The wishes of an earlier process; those that make no sense are passed over.
    pub fn restored(wishes: Vec<Wish>, now: Now) -> Self {
        let mut list = Self::default();
        for mut wish in wishes.into_iter().take(MOST).filter(Wish::is_any) {
            let server = ServerId {
                virtual_server: wish.virtual_server.clone(),
                server: wish.server.clone(),
            };
            match (wish.state, wish.drain_until) {
                (AdminState::Drain, Some(until)) => {
                    let at = now.instant + until.since(now.time);
                    list.deadlines.insert(server.clone(), at);
                }
                (AdminState::Ready | AdminState::Drain | AdminState::Maint, _) => wish.drain_until = None,
            }
            list.wishes.insert(server, wish);
        }
        list
    }

    /// All wishes, to be kept.
    pub fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.wishes.values()
    }

    /// What is wanted of a server.
    pub fn of(&self, virtual_server: &str, server: &str) -> Option<&Wish> {
        let server = ServerId {
            virtual_server: virtual_server.to_owned(),
            server: server.to_owned(),
        };
        self.wishes.get(&server)
    }

    /// Somebody wants a server used like this; a drain may have a deadline. Answers with whether that is news.
    pub fn set_state(
        &mut self,
        server: &ServerId,
        state: AdminState,
        deadline: Option<Duration>,
        by: &str,
        now: Now,
    ) -> bool {
        let before = self.wishes.get(server).map_or(AdminState::Ready, |wish| wish.state);
        let deadline = deadline.filter(|_| state == AdminState::Drain);
        let had_deadline = match deadline {
            Some(deadline) => self.deadlines.insert(server.clone(), now.instant + deadline),
            None => self.deadlines.remove(server),
        };
        let news = before != state || had_deadline.is_some() || deadline.is_some();
        if news {
            let wish = self.wish(server, by, now);
            wish.state = state;
            wish.drain_until = deadline.map(|deadline| now.time.after(deadline));
            self.tidy(server);
        }
        news
    }

    /// Somebody gives a server a weight, or takes that back. Answers with whether that is news.
    pub fn set_weight(&mut self, server: &ServerId, weight: Option<u32>, by: &str, now: Now) -> bool {
        let news = self.wishes.get(server).and_then(|wish| wish.weight) != weight;
        if news {
            self.wish(server, by, now).weight = weight;
            self.tidy(server);
        }
        news
    }

    /// When a deadline passes next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }

    /// The servers whose drain has reached its deadline; they are in maintenance from now on.
    pub fn pass_deadlines(&mut self, now: Now) -> Vec<ServerId> {
        let passed = |(server, at): (&ServerId, &Instant)| (*at <= now.instant).then(|| server.clone());
        let passed: Vec<ServerId> = self.deadlines.iter().filter_map(passed).collect();
        for server in &passed {
            let by = self.wishes.get(server).map(|wish| wish.by.clone()).unwrap_or_default();
            let by = match by.ends_with(DEADLINE) {
                true => by,
                false => format!("{by}{DEADLINE}"),
            };
            self.set_state(server, AdminState::Maint, None, &by, now);
        }
        passed
    }

    /// What to tell a director so that it knows of all wishes.
    pub fn orders(&self) -> Vec<OperatorOrder> {
        let of_one = |(server, wish): (&ServerId, &Wish)| {
            let state = (wish.state != AdminState::Ready).then(|| OperatorOrder::SetState {
                server: server.clone(),
                state: wish.state,
            });
            let weight = wish.weight.map(|weight| OperatorOrder::SetWeight {
                server: server.clone(),
                weight: Some(weight),
            });
            state.into_iter().chain(weight)
        };
        self.wishes.iter().flat_map(of_one).collect()
    }

    fn wish(&mut self, server: &ServerId, by: &str, now: Now) -> &mut Wish {
        let new = || Wish {
            virtual_server: server.virtual_server.clone(),
            server: server.server.clone(),
            state: AdminState::Ready,
            weight: None,
            by: String::new(),
            at: now.time,
            drain_until: None,
        };
        let wish = self.wishes.entry(server.clone()).or_insert_with(new);
        by.clone_into(&mut wish.by);
        wish.at = now.time;
        wish
    }

    fn tidy(&mut self, server: &ServerId) {
        if self.wishes.get(server).is_some_and(|wish| !wish.is_any()) {
            self.wishes.remove(server);
        }
    }
}

/// What is added to the name of whoever drained a server, once the deadline has made it maintenance.
const DEADLINE: &str = ", by the deadline";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert!(list.set_state(&id(1), AdminState::Drain, None, "root", now(1)));
        assert!(!list.set_state(&id(1), AdminState::Drain, None, "uid 7", now(2)));
        assert!(list.set_weight(&id(1), Some(0), "uid 7", now(3)));
        let report = list.of("web", "192.0.2.1:80").expect("a wish").report();
        assert_eq!(
            (report.state.as_str(), report.weight, report.by.as_str()),
            ("drain", Some(0), "uid 7")
        );
        assert_eq!(report.since, now(3).time);
        assert!(list.set_state(&id(1), AdminState::Ready, None, "root", now(4)));
        assert!(list.set_weight(&id(1), None, "root", now(5)));
        assert!(!list.set_weight(&id(1), None, "root", now(6)));
        assert_eq!(list.wishes().count(), 0);
        assert!(list.orders().is_empty());
    }

    #[test]
    fn a_drain_becomes_maintenance_at_its_deadline_and_not_when_taken_back() {
        let mut list = Wishlist::default();
        let minute = Some(Duration::from_secs(60));
        list.set_state(&id(1), AdminState::Drain, minute, "root", now(0));
        list.set_state(&id(2), AdminState::Drain, minute, "root", now(10));
        list.set_state(&id(3), AdminState::Drain, minute, "root", now(20));
        list.set_state(&id(2), AdminState::Ready, None, "root", now(30));
        // A new deadline replaces the old one, and none takes it away.
        list.set_state(&id(3), AdminState::Drain, None, "root", now(30));
        assert_eq!(list.next_deadline(), Some(now(60).instant));
        assert!(list.pass_deadlines(now(59)).is_empty());
        assert_eq!(list.pass_deadlines(now(90)), [id(1)]);
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
        list.set_state(&id(1), AdminState::Drain, Some(Duration::from_secs(60)), "root", now(0));
        // The new process counts from its own start.
        let restarted = |seconds: u64| Now {
            instant: Instant::after_start(Duration::from_secs(seconds)),
            time: now(30 + seconds).time,
        };
        let mut list = Wishlist::restored(list.wishes().cloned().collect(), restarted(0));
        assert!(list.pass_deadlines(restarted(29)).is_empty());
        assert_eq!(list.pass_deadlines(restarted(30)), [id(1)]);
    }

    #[derive(Debug, Clone)]
    enum Said {
        State(u8, AdminState, Option<u64>),
        Weight(u8, Option<u32>),
        Passes,
    }

    fn said() -> impl Strategy<Value = Said> {
        let state = prop_oneof![
            Just(AdminState::Ready),
            Just(AdminState::Drain),
            Just(AdminState::Maint)
        ];
        prop_oneof![
            (0..3_u8, state, prop::option::of(0..100_u64))
                .prop_map(|(id, state, deadline)| Said::State(id, state, deadline)),
            (0..3_u8, prop::option::of(0..5_u32)).prop_map(|(id, weight)| Said::Weight(id, weight)),
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
                        list.set_state(&id(number), state, deadline.map(Duration::from_secs), "root", now);
                    }
                    Said::Weight(number, weight) => {
                        list.set_weight(&id(number), weight, "root", now);
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
}
