//! What operators want of servers: who said so and when, and until when a drain waits.
//!
//! Pure. [`super::Director`] holds what counts now; this remembers what it was told beyond that, so that it can be shown
//! and, by a file, outlive the process. Intent comes from here and nowhere else: never from a weight in the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::view::Now;
use crate::model::control::{Deviation, OperatorReport};
use crate::model::{AdminState, Instant, Lasting, OperatorOrder, ServerId, UnixTime, WeightAdvice};

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
    /// The share of the configured weight in per cent that it is given, in place of `weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<u32>,
    /// What holds until the next reload, in place of the same above.
    #[serde(default, skip_serializing_if = "Passing::is_nothing")]
    until_reload: Passing,
    /// Whether it is in its pool otherwise than the files say.
    #[serde(default, skip_serializing_if = "Presence::is_as_in_the_files")]
    presence: Presence,
}

/// What holds until the next reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passing {
    state: Option<AdminState>,
    weight: Option<u32>,
    percent: Option<u32>,
}

impl Passing {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a server is in its pool otherwise than the files say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Presence {
    /// As in the files.
    #[default]
    AsInTheFiles,
    /// It was added.
    Added {
        /// As it was written.
        address: String,
        /// Its weight.
        weight: u32,
    },
    /// It was removed.
    Removed,
}

impl Presence {
    fn is_as_in_the_files(&self) -> bool {
        *self == Self::AsInTheFiles
    }
}

/// The weight that two members of a file say.
fn weight_of(weight: Option<u32>, percent: Option<u32>) -> Option<WeightAdvice> {
    let weight = weight.map(WeightAdvice::Absolute);
    percent.map(WeightAdvice::Percent).or(weight)
}

/// The two members of a file that say a weight.
fn members_of(weight: Option<WeightAdvice>) -> (Option<u32>, Option<u32>) {
    match weight {
        None => (None, None),
        Some(WeightAdvice::Absolute(weight)) => (Some(weight), None),
        Some(WeightAdvice::Percent(percent)) => (None, Some(percent)),
    }
}

impl Wish {
    fn is_any(&self) -> bool {
        self.state != AdminState::Ready
            || weight_of(self.weight, self.percent).is_some()
            || !self.until_reload.is_nothing()
            || !self.presence.is_as_in_the_files()
    }

    /// How it is to be used now.
    fn effective_state(&self) -> AdminState {
        self.until_reload.state.unwrap_or(self.state)
    }

    /// The weight that it is given now.
    fn effective_weight(&self) -> Option<WeightAdvice> {
        let passing = weight_of(self.until_reload.weight, self.until_reload.percent);
        passing.or(weight_of(self.weight, self.percent))
    }

    /// The server.
    pub fn id(&self) -> ServerId {
        ServerId {
            virtual_server: self.virtual_server.clone(),
            server: self.server.clone(),
        }
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Whether it was removed from its pool.
    pub fn is_removed(&self) -> bool {
        self.presence == Presence::Removed
    }

    /// `added` or `removed`, where it is in its pool otherwise than the files say.
    pub fn deviation(&self) -> Option<&'static str> {
        match self.presence {
            Presence::AsInTheFiles => None,
            Presence::Added { .. } => Some("added"),
            Presence::Removed => Some("removed"),
        }
    }

    /// As it is shown.
    pub fn report(&self) -> OperatorReport {
        let (weight, percent) = members_of(self.effective_weight());
        OperatorReport {
            state: self.effective_state().to_string(),
            weight,
            percent,
            until_reload: !self.until_reload.is_nothing(),
            by: self.by.clone(),
            since: self.at,
            drain_until: self.drain_until,
        }
    }

    /// What it makes of the server beside what the files say, in words.
    pub fn deviations(&self) -> Deviation {
        let passes = |passes: bool| if passes { " until the next reload" } else { "" };
        let mut what = Vec::new();
        match &self.presence {
            Presence::AsInTheFiles => {}
            Presence::Added { weight, .. } => what.push(format!("added with weight {weight}")),
            Presence::Removed => what.push("removed".to_owned()),
        }
        let state = self.effective_state();
        let passing_state = self.until_reload.state.is_some();
        if state != AdminState::Ready || passing_state {
            what.push(format!("{state}{}", passes(passing_state)));
        }
        let passing_weight = weight_of(self.until_reload.weight, self.until_reload.percent).is_some();
        if let Some(weight) = self.effective_weight() {
            what.push(format!("weight {weight}{}", passes(passing_weight)));
        }
        Deviation {
            virtual_server: self.virtual_server.clone(),
            server: self.server.clone(),
            what: what.join(", "),
            by: self.by.clone(),
            since: self.at,
        }
    }

    /// What to tell a director so that this is wanted, and nothing else.
    fn orders(&self) -> [OperatorOrder; 2] {
        let state = OperatorOrder::SetState {
            server: self.id(),
            state: self.effective_state(),
        };
        let weight = OperatorOrder::SetWeight {
            server: self.id(),
            weight: self.effective_weight(),
        };
        [state, weight]
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
            match (wish.effective_state(), wish.drain_until) {
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
        lasting: Lasting,
        by: &str,
        now: Now,
    ) -> bool {
        let wish = self.wishes.get(server);
        let before = wish
            .map(|wish| (wish.state, wish.until_reload.state))
            .unwrap_or_default();
        let after = match lasting {
            Lasting::UntilTakenBack => (state, None),
            Lasting::UntilReload => (before.0, Some(state).filter(|state| *state != before.0)),
        };
        let deadline = deadline.filter(|_| state == AdminState::Drain);
        let had_deadline = match deadline {
            Some(deadline) => self.deadlines.insert(server.clone(), now.instant + deadline),
            None => self.deadlines.remove(server),
        };
        let news = before != after || had_deadline.is_some() || deadline.is_some();
        if news {
            let wish = self.wish(server, by, now);
            (wish.state, wish.until_reload.state) = after;
            wish.drain_until = deadline.map(|deadline| now.time.after(deadline));
            self.tidy(server);
        }
        news
    }

    /// Somebody gives a server a weight, or takes that back. Answers with whether that is news.
    pub fn set_weight(
        &mut self,
        server: &ServerId,
        weight: Option<WeightAdvice>,
        lasting: Lasting,
        by: &str,
        now: Now,
    ) -> bool {
        let of = |wish: &Wish| {
            let passing = weight_of(wish.until_reload.weight, wish.until_reload.percent);
            (weight_of(wish.weight, wish.percent), passing)
        };
        let before = self.wishes.get(server).map(of).unwrap_or_default();
        let after = match lasting {
            Lasting::UntilTakenBack => (weight, None),
            Lasting::UntilReload => (before.0, weight.filter(|weight| Some(*weight) != before.0)),
        };
        if before != after {
            let wish = self.wish(server, by, now);
            (wish.weight, wish.percent) = members_of(after.0);
            (wish.until_reload.weight, wish.until_reload.percent) = members_of(after.1);
            self.tidy(server);
        }
        before != after
    }

    /// Somebody has added a server to a pool, by an address as it was written.
    pub fn add(&mut self, server: &ServerId, address: &str, weight: u32, by: &str, now: Now) {
        let address = address.to_owned();
        self.wish(server, by, now).presence = Presence::Added { address, weight };
    }

    /// Somebody has put a server back that was removed.
    pub fn put_back(&mut self, server: &ServerId, by: &str, now: Now) {
        self.wish(server, by, now).presence = Presence::AsInTheFiles;
        self.tidy(server);
    }

    /// Somebody has removed a server from its pool; of one that was added nothing is left.
    pub fn remove(&mut self, server: &ServerId, by: &str, now: Now) {
        self.deadlines.remove(server);
        let was_added = matches!(
            self.wishes.get(server).map(Wish::presence),
            Some(Presence::Added { .. })
        );
        match was_added {
            true => {
                self.wishes.remove(server);
            }
            false => {
                let wish = self.wish(server, by, now);
                wish.presence = Presence::Removed;
                wish.drain_until = None;
            }
        }
    }

    /// A reload: what was to hold until then holds no more. Answers with what to tell a director.
    pub fn drop_what_passes(&mut self) -> Vec<OperatorOrder> {
        let mut orders = Vec::new();
        self.wishes.retain(|server, wish| {
            if wish.until_reload.is_nothing() {
                return true;
            }
            if wish.until_reload.state.take().is_some() {
                wish.drain_until = None;
                self.deadlines.remove(server);
            }
            wish.until_reload = Passing::default();
            orders.extend(wish.orders());
            wish.is_any()
        });
        orders
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
            self.set_state(server, AdminState::Maint, None, Lasting::UntilTakenBack, &by, now);
        }
        passed
    }

    /// What to tell a director so that it knows of all wishes.
    pub fn orders(&self) -> Vec<OperatorOrder> {
        let wishes = self.wishes.values().filter(|wish| !wish.is_removed());
        wishes.flat_map(Wish::orders).collect()
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
            percent: None,
            until_reload: Passing::default(),
            presence: Presence::AsInTheFiles,
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
        assert_eq!(list.pass_deadlines(restarted(30)), [id(1)]);
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
    fn of_a_server_that_was_added_nothing_is_left_once_it_is_removed() {
        let mut list = Wishlist::default();
        list.add(&id(1), "192.0.2.1", 3, "root", now(1));
        list.set_state(
            &id(1),
            AdminState::Drain,
            Some(Duration::from_secs(9)),
            KEPT,
            "root",
            now(2),
        );
        list.remove(&id(1), "root", now(3));
        assert!(list.wishes().next().is_none() && list.next_deadline().is_none());
        list.remove(&id(2), "root", now(3));
        assert_eq!(list.of("web", "192.0.2.2:80").map(Wish::is_removed), Some(true));
        assert_eq!(list.orders(), []);
        list.put_back(&id(2), "root", now(4));
        assert!(list.wishes().next().is_none());
    }

    #[derive(Debug, Clone)]
    enum Said {
        State(u8, AdminState, Option<u64>),
        Weight(u8, Option<u32>, Lasting),
        Share(u8, u32),
        UntilReload(u8, AdminState),
        Added(u8),
        Removed(u8),
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
        prop_oneof![
            (0..3_u8, state(), prop::option::of(0..100_u64))
                .prop_map(|(id, state, deadline)| Said::State(id, state, deadline)),
            (0..3_u8, prop::option::of(0..5_u32)).prop_map(|(id, weight)| Said::Weight(id, weight, KEPT)),
            (0..3_u8, 0..5_u32).prop_map(|(id, weight)| Said::Weight(id, Some(weight), Lasting::UntilReload)),
            (0..3_u8, 0..200_u32).prop_map(|(id, percent)| Said::Share(id, percent)),
            (0..3_u8, state()).prop_map(|(id, state)| Said::UntilReload(id, state)),
            (0..3_u8).prop_map(Said::Added),
            (0..3_u8).prop_map(Said::Removed),
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
                    Said::Added(number) => list.add(&id(number), "192.0.2.9", 3, "root", now),
                    Said::Removed(number) => list.remove(&id(number), "root", now),
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
}
