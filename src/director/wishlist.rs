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

mod reloading;
mod shared;

/// The most servers that a list from outside may have.
const MOST: usize = 100_000;

/// What operators want of one server. What a later version has put down beside it is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// When a drain becomes maintenance; what holds until the next reload has no such end, and leaves this as it is.
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Passing {
    state: Option<AdminState>,
    weight: Option<u32>,
    percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presence: Option<Presence>,
}

impl Passing {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a server is in its pool otherwise than the files say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Nothing is wanted.
    fn nothing(server: &ServerId, now: Now) -> Self {
        Self {
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
        }
    }

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

    /// Whether it is in its pool otherwise than the files say, now.
    pub(super) fn presence(&self) -> &Presence {
        self.until_reload.presence.as_ref().unwrap_or(&self.presence)
    }

    /// Whether it was removed from its pool.
    pub fn is_removed(&self) -> bool {
        *self.presence() == Presence::Removed
    }

    /// `added` or `removed`, where it is in its pool otherwise than the files say.
    pub fn deviation(&self) -> Option<&'static str> {
        match self.presence() {
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
            drain_until: self.drain_until.filter(|_| self.effective_state() == AdminState::Drain),
        }
    }

    /// What it makes of the server beside what the files say, in words.
    pub fn deviations(&self) -> Deviation {
        let passes = |passes: bool| if passes { " until the next reload" } else { "" };
        let mut what = Vec::new();
        let passing_presence = self.until_reload.presence.is_some();
        match self.presence() {
            Presence::AsInTheFiles if passing_presence => what.push(format!("put back{}", passes(true))),
            Presence::AsInTheFiles => {}
            Presence::Added { weight, .. } => {
                what.push(format!("added with weight {weight}{}", passes(passing_presence)));
            }
            Presence::Removed => what.push(format!("removed{}", passes(passing_presence))),
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
        orders(self.id(), self.effective_state(), self.effective_weight())
    }
}

/// What to tell a director so that a server is used like this.
fn orders(server: ServerId, state: AdminState, weight: Option<WeightAdvice>) -> [OperatorOrder; 2] {
    let set_state = OperatorOrder::SetState {
        server: server.clone(),
        state,
    };
    [set_state, OperatorOrder::SetWeight { server, weight }]
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

    /// Somebody wants a server used like this; a drain that is to last may have a deadline. Answers with whether that is
    /// news.
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
            Lasting::UntilReload => {
                let after = (before.0, Some(state).filter(|state| *state != before.0));
                if before != after {
                    self.wish(server, by, now).until_reload.state = after.1;
                    self.tidy(server);
                }
                return before != after;
            }
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

    /// Somebody has added a server to a pool that does not have it, by an address as it was written.
    pub fn add(&mut self, server: &ServerId, address: &str, weight: u32, lasting: Lasting, by: &str, now: Now) {
        let address = address.to_owned();
        let presence = Presence::Added { address, weight };
        let wish = self.wish(server, by, now);
        match lasting {
            Lasting::UntilTakenBack => (wish.presence, wish.until_reload.presence) = (presence, None),
            Lasting::UntilReload => wish.until_reload.presence = Some(presence),
        }
    }

    /// Somebody has put a server back that was removed.
    pub fn put_back(&mut self, server: &ServerId, lasting: Lasting, by: &str, now: Now) {
        let wish = self.wish(server, by, now);
        let was_removed_for_good = wish.presence == Presence::Removed;
        wish.until_reload.presence = None;
        match lasting {
            // It was removed until the next reload only.
            _ if !was_removed_for_good => {}
            Lasting::UntilTakenBack => wish.presence = Presence::AsInTheFiles,
            Lasting::UntilReload => wish.until_reload.presence = Some(Presence::AsInTheFiles),
        }
        self.tidy(server);
    }

    /// Somebody has removed a server from its pool; of one that was added nothing is left, unless it comes back with the
    /// next reload. One that was added and that the files have by now is theirs (`in_files`): it stays out.
    pub fn remove(&mut self, server: &ServerId, in_files: bool, lasting: Lasting, by: &str, now: Now) {
        self.deadlines.remove(server);
        let is_added = |presence: &Presence| matches!(presence, Presence::Added { .. });
        let (added, added_for_good) = match self.wishes.get(server) {
            Some(wish) => (is_added(wish.presence()), is_added(&wish.presence)),
            None => (false, false),
        };
        if added && !in_files && !(added_for_good && lasting == Lasting::UntilReload) {
            self.wishes.remove(server);
            return;
        }
        let wish = self.wish(server, by, now);
        wish.drain_until = None;
        wish.until_reload.presence = None;
        match lasting {
            Lasting::UntilTakenBack => wish.presence = Presence::Removed,
            // It was put back until the next reload, and that was taken back.
            Lasting::UntilReload if wish.presence == Presence::Removed => {}
            Lasting::UntilReload => wish.until_reload.presence = Some(Presence::Removed),
        }
    }

    /// Whether the next reload changes any of it.
    pub fn has_what_passes(&self) -> bool {
        self.wishes.values().any(|wish| !wish.until_reload.is_nothing())
    }

    /// What was to hold until a reload holds no more. Answers with what to tell a director.
    fn drop_what_passes(&mut self) -> Vec<OperatorOrder> {
        let mut orders = Vec::new();
        self.wishes.retain(|server, wish| {
            if wish.until_reload.is_nothing() {
                return true;
            }
            let passed = std::mem::take(&mut wish.until_reload);
            let was_added = matches!(passed.presence, Some(Presence::Added { .. }));
            // Of a server that is no more nothing is left; the files may have it by now.
            if was_added {
                self.deadlines.remove(server);
                orders.extend(self::orders(server.clone(), AdminState::Ready, None));
                return false;
            }
            orders.extend(wish.orders());
            wish.is_any()
        });
        orders
    }

    /// When a deadline passes next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.values().min().copied()
    }

    /// The servers whose drain has reached its deadline, with what they are from now on: in maintenance, unless something
    /// else holds until the next reload.
    pub fn pass_deadlines(&mut self, now: Now) -> Vec<(ServerId, AdminState)> {
        let passed = |(server, at): (&ServerId, &Instant)| (*at <= now.instant).then(|| server.clone());
        let passed: Vec<ServerId> = self.deadlines.iter().filter_map(passed).collect();
        let mut become_so = Vec::new();
        for server in passed {
            self.deadlines.remove(&server);
            let Some(wish) = self.wishes.get_mut(&server) else {
                continue;
            };
            wish.state = AdminState::Maint;
            wish.until_reload.state.take_if(|state| *state == AdminState::Maint);
            wish.drain_until = None;
            wish.at = now.time;
            if !wish.by.ends_with(DEADLINE) {
                wish.by.push_str(DEADLINE);
            }
            become_so.push((server, wish.effective_state()));
        }
        become_so
    }

    /// What to tell a director so that it knows of all wishes.
    pub fn orders(&self) -> Vec<OperatorOrder> {
        let wishes = self.wishes.values().filter(|wish| !wish.is_removed());
        wishes.flat_map(Wish::orders).collect()
    }

    /// The servers that were added until the next reload.
    fn added_until_reload(&self) -> Vec<ServerId> {
        let is_added = |wish: &Wish| matches!(wish.until_reload.presence, Some(Presence::Added { .. }));
        let wishes = self.wishes.iter();
        wishes
            .filter(|(_, wish)| is_added(wish))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn wish(&mut self, server: &ServerId, by: &str, now: Now) -> &mut Wish {
        let new = || Wish::nothing(server, now);
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
mod tests;
