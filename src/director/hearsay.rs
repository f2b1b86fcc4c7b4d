//! What the other director has found, where this one has found nothing yet.
//!
//! A verdict of the other one is told by the check's target and settings, and counts only as long as the same check of this
//! director has none: at the start, while its probes are suspended, where trouble of this host has kept it from probing for
//! long. What a probe of this host has found is never outvoted, and the first verdict of its own ends it. It ages out: a
//! director that is gone, or does not probe either, is no witness.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Director;
use super::checks::{Advised, CheckId, CheckSlot, Subscriber};
use super::snapshot::{Digests, longest_pause, text_of};
use crate::health::Check;
use crate::model::{
    Action, Advice, CheckSpec, CheckState, FailureCause, Instant, PEER_REFRESH, PeerVerdict, ProbeFound, Transition,
};

/// What the other director says of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hearsay {
    pub(super) up: bool,
    /// How a probe of the other one has failed last.
    pub(super) cause: Option<Arc<str>>,
    /// What the check has advised there, and what own probes have said since; it goes with the verdict.
    advised: Advised,
    /// Nobody vouches for it from then on.
    pub(super) until: Instant,
}

/// How long after a probe of the other one its verdict counts, if nothing newer is heard: its own pauses, twice, and the
/// time until it tells all again, twice.
fn counts_for(spec: &CheckSpec) -> Duration {
    longest_pause(spec).saturating_add(PEER_REFRESH).saturating_mul(2)
}

impl CheckSlot {
    /// The state that counts: this director's own, else what the other one says.
    pub(super) fn state(&self) -> CheckState {
        match (self.machine.state(), &self.hearsay) {
            (CheckState::Unknown, Some(Hearsay { up: true, .. })) => CheckState::Up,
            (CheckState::Unknown, Some(Hearsay { up: false, .. })) => CheckState::Down,
            (own, _) => own,
        }
    }

    /// What the other director says, where that is what counts.
    pub(super) fn counting_hearsay(&self) -> Option<&Hearsay> {
        self.hearsay
            .as_ref()
            .filter(|_| self.machine.state() == CheckState::Unknown)
    }

    /// What counts of the check's advice: what came with the other director's verdict as long as that counts, else its own.
    pub(super) fn counting_advice(&self) -> Advised {
        self.counting_hearsay().map_or(self.advised, |hearsay| hearsay.advised)
    }

    /// A probe of this host has passed and said this.
    pub(super) fn take_advice(&mut self, advice: Advice, drain: bool) {
        let heard = self.hearsay.as_mut().map(|hearsay| &mut hearsay.advised);
        for advised in [Some(&mut self.advised), heard].into_iter().flatten() {
            advised.drain = drain;
            advised.advice.follow(advice);
        }
    }

    /// When a probe of this host has last said anything about the server.
    fn last_word(&self) -> Option<Instant> {
        let says = |found| match found {
            ProbeFound::Success | ProbeFound::Failure | ProbeFound::Drain => true,
            ProbeFound::NoVerdict | ProbeFound::LocalTrouble => false,
        };
        let last = self.history.results().rev().find(|kept| says(kept.found));
        last.map(|kept| kept.at())
    }

    /// Whether it has a verdict, and a probe of this host has confirmed it not long ago.
    fn knows(&self, now: Instant) -> bool {
        let fresh = |at| now.since(at) <= longest_pause(&self.spec);
        self.machine.state() != CheckState::Unknown && self.last_word().is_some_and(fresh)
    }
}

impl Director {
    /// What there is to tell the other director: the verdicts that probes of this process stand for, at most so many.
    pub fn own_verdicts(&self, most: usize, now: Instant) -> Vec<PeerVerdict> {
        let mut digests = Digests::default();
        let told = self
            .pools
            .checks()
            .slots()
            .filter(|slot| !slot.recalled && slot.knows(now));
        told.take(most)
            .map(|slot| {
                let up = slot.machine.state() == CheckState::Up;
                let cause = slot.history.last_failure().and_then(|kept| kept.cause.as_deref());
                let Advised { advice, drain } = slot.advised;
                PeerVerdict {
                    target: text_of(&slot.target),
                    settings: digests.of(&slot.spec),
                    up,
                    since: now.age_of(slot.history.since),
                    age: slot.last_word().map_or(0, |at| now.age_of(at)),
                    cause: cause.filter(|_| !up).map(str::to_owned),
                    weight: advice.weight,
                    state: advice.state,
                    drain,
                }
            })
            .collect()
    }

    /// How many checks go by what the other director says, and of how many.
    pub fn hearsay(&self) -> (usize, usize) {
        let slots = || self.pools.checks().slots();
        (
            slots().filter(|slot| slot.counting_hearsay().is_some()).count(),
            slots().count(),
        )
    }

    /// The other director has told all its verdicts.
    pub(super) fn hear_verdicts(&mut self, verdicts: Vec<PeerVerdict>, now: Instant, actions: &mut Vec<Action>) {
        let mut said: HashMap<(&str, &str), Option<&PeerVerdict>> = HashMap::with_capacity(verdicts.len());
        for verdict in &verdicts {
            // Two that only differ in what is never shown, a password: nobody knows whose verdict is whose.
            said.entry((verdict.target.as_str(), verdict.settings.as_str()))
                .and_modify(|twice| *twice = None)
                .or_insert(Some(verdict));
        }
        let mut digests = Digests::default();
        let (mut changed, mut taken) = (Vec::new(), 0);
        for (check, slot) in self.pools.checks_mut().numbered_mut() {
            let (target, settings) = (text_of(&slot.target), digests.of(&slot.spec));
            let Some(verdict) = said.get(&(target.as_str(), settings.as_str())).copied().flatten() else {
                continue;
            };
            let was_hearsay = slot.counting_hearsay().is_some();
            let before = (slot.state(), slot.counting_advice());
            if !take(slot, verdict, now) {
                continue;
            }
            taken += usize::from(!was_hearsay);
            if before != (slot.state(), slot.counting_advice()) {
                if before.0 != slot.state() {
                    slot.history.since = now - Duration::from_millis(verdict.since);
                }
                changed.push(check);
            }
        }
        if taken > 0 {
            let of = self.pools.checks().slots().count();
            actions.push(Action::Report(Transition::PeerVerdictsTaken { checks: taken, of }));
        }
        self.follow_hearsay(changed, now, actions);
    }

    /// When hearsay stops counting next.
    pub(super) fn next_ageing(&self) -> Option<Instant> {
        self.ageing
    }

    /// What nobody vouches for any more counts no longer.
    pub(super) fn let_hearsay_age(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.ageing.is_none_or(|at| at > now) {
            return;
        }
        let mut changed = Vec::new();
        for (check, slot) in self.pools.checks_mut().numbered_mut() {
            if slot.hearsay.as_ref().is_none_or(|hearsay| hearsay.until > now) {
                continue;
            }
            let before = (slot.state(), slot.counting_advice());
            slot.hearsay = None;
            if slot.last_word().is_none() {
                // As if it had never been heard.
                slot.machine = Check::new(slot.spec.initial);
            }
            if before != (slot.state(), slot.counting_advice()) {
                if before.0 != slot.state() {
                    slot.history.since = now;
                }
                changed.push(check);
            }
        }
        self.follow_hearsay(changed, now, actions);
    }

    /// The states of all who go by these checks.
    fn follow_hearsay(&mut self, changed: Vec<CheckId>, now: Instant, actions: &mut Vec<Action>) {
        let until = |slot: &CheckSlot| slot.hearsay.as_ref().map(|hearsay| hearsay.until);
        self.ageing = self.pools.checks().slots().filter_map(until).min();
        for check in changed {
            let Some(slot) = self.pools.checks().get(check) else {
                continue;
            };
            let (name, subscribers) = (slot.spec.name.clone(), slot.subscribers.clone());
            let hearsay = slot.counting_hearsay().filter(|hearsay| !hearsay.up);
            let cause = hearsay.map(|hearsay| {
                let why = hearsay.cause.as_deref().unwrap_or("it fails there");
                FailureCause::Peer(why.into())
            });
            let reason = cause.as_ref().map(ToString::to_string);
            for Subscriber { pool, server } in subscribers {
                let change = self.pools.update_server(pool, server, &name, cause.as_ref(), now);
                actions.extend(change.map(Action::Report));
                self.restand(pool, server, reason.clone(), actions);
            }
        }
    }
}

/// Takes the other one's word for a check of which this director knows nothing, or nothing of late; answers whether it has.
fn take(slot: &mut CheckSlot, verdict: &PeerVerdict, now: Instant) -> bool {
    let age = Duration::from_millis(verdict.age);
    let counts = counts_for(&slot.spec);
    let knows_long_ago = |at| now.since(at) > longest_pause(&slot.spec).saturating_mul(2);
    let has_own = slot.machine.state() != CheckState::Unknown;
    let is_stale = slot.last_word().is_none_or(knows_long_ago);
    // Held down for changing too often is a verdict about what is to come.
    let held = slot.machine.held_until().is_some();
    if age >= counts || held || (has_own && !is_stale) {
        return false;
    }
    if has_own {
        slot.machine.doubt();
        slot.recalled = false;
    }
    let advised = match (is_stale, &slot.hearsay) {
        (true, _) => Advised {
            advice: Advice {
                weight: verdict.weight,
                state: verdict.state,
                max_connections: slot.advised.advice.max_connections,
            },
            drain: verdict.drain,
        },
        (false, Some(heard)) => heard.advised,
        (false, None) => slot.advised,
    };
    // What comes over the wire may be long, and a terminal would obey some of it.
    let cause = verdict.cause.as_deref().filter(|_| !verdict.up);
    let cause = cause.map(|cause| cause.chars().take(160).flat_map(char::escape_debug).collect::<String>());
    slot.hearsay = Some(Hearsay {
        up: verdict.up,
        cause: cause.map(Arc::from),
        advised,
        until: now + counts.saturating_sub(age),
    });
    true
}
