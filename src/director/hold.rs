//! Held connections: one idle connection to a server that is up. Where it breaks, probes run back to back until one
//! passes or the server is down, so that a crash is found in milliseconds; a server that closes idle connections costs
//! one probe and one new connection.

use super::Director;
use super::checks::{CheckId, CheckSlot, Finished};
use crate::model::{Action, CheckState, HoldEnd, HoldId, Instant, ProbeId};

/// What a check knows of its held connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Holding {
    /// The connection, and when it was opened.
    open: Option<(HoldId, Instant)>,
    /// No other one is opened before: a server that closes at once is not asked faster than it is probed.
    not_before: Instant,
    /// A young connection has ended and was followed by another one at once, since one last held for an interval. That
    /// is done once: a server that is dying may still let a probe and another connection in.
    followed: bool,
    /// A connection has broken after this probe was started, and probes run back to back.
    rushing_after: Option<ProbeId>,
}

impl Holding {
    /// The connection that is open, given up with the check.
    pub(super) fn take_open(&mut self) -> Option<HoldId> {
        self.open.take().map(|(hold, _)| hold)
    }
}

impl CheckSlot {
    /// Whether the next probe comes at once. Taken in is a probe that has ended, after the machine has seen it.
    pub(super) fn goes_on_rushing(&mut self, success: bool, finished: &Finished) -> bool {
        let Some(last) = self.holding.rushing_after else {
            return false;
        };
        // One that had started before says nothing about what happened since.
        let proves_life = success && finished.probe > last;
        if proves_life || self.machine.state() != CheckState::Up {
            self.holding.rushing_after = None;
        }
        self.holding.rushing_after.is_some()
    }
}

impl Director {
    /// Opens a connection to hold, where the check wants one, has none, and the server is up.
    pub(super) fn open_hold(&mut self, check: CheckId, now: Instant, actions: &mut Vec<Action>) {
        let checks = self.pools.checks_mut();
        let wanted = checks.get(check).is_some_and(|slot| {
            let holding = &slot.holding;
            let idle = holding.open.is_none() && holding.rushing_after.is_none() && holding.not_before <= now;
            slot.spec.hold && idle && slot.machine.state() == CheckState::Up
        });
        if wanted && let Some((hold, action)) = checks.start_hold(check) {
            if let Some(slot) = checks.get_mut(check) {
                slot.holding.open = Some((hold, now));
            }
            actions.push(action);
        }
    }

    pub(super) fn hold_ended(&mut self, hold: HoldId, end: HoldEnd, now: Instant, actions: &mut Vec<Action>) {
        // That of a check that is no longer configured, or has another one by now.
        let Some(check) = self.pools.checks_mut().finish_hold(hold) else {
            return;
        };
        let last_probe = self.pools.checks().last_probe();
        let Some(slot) = self.pools.checks_mut().get_mut(check) else {
            return;
        };
        let Some((_, opened)) = slot.holding.open.take_if(|(open, _)| *open == hold) else {
            return;
        };
        let old = opened + slot.spec.interval;
        let followed = std::mem::replace(&mut slot.holding.followed, now < old);
        if now < old && followed {
            slot.holding.not_before = old;
        }
        // A server that has just passed a probe and takes no connection may be one that dies; asked about it once.
        let is_news = end != HoldEnd::NotOpened || !followed;
        if is_news && slot.machine.state() == CheckState::Up {
            slot.holding.rushing_after = Some(last_probe);
            self.schedule.bring_forward(check, now);
            self.time_reached(now, actions);
        }
    }
}
