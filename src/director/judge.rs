//! What a probe has found, and what follows: the check's verdict, the states of all who go by it, the next probe.

use std::time::Duration;

use super::Director;
use super::checks::{Finished, Subscriber};
use crate::model::{
    Action, CheckState, Instant, IntervalFrom, LocalTrouble, ProbeId, ProbeOutcome, ProbeResult, Transition,
};

impl Director {
    pub(super) fn judge(&mut self, probe: ProbeId, result: ProbeResult, now: Instant, actions: &mut Vec<Action>) {
        // The result of a probe whose check is no longer configured.
        let Some(finished) = self.pools.checks_mut().finish_probe(probe) else {
            return;
        };
        let Some(slot) = self.pools.checks_mut().get_mut(finished.check) else {
            return;
        };
        slot.history.keep(&result, now);
        slot.recalled = false;
        let late = now.since(finished.started) > slot.spec.timeout * 2 + Duration::from_millis(500);
        let drain = matches!(result.outcome, ProbeOutcome::Drain(_));
        let (success, cause) = match result.outcome {
            ProbeOutcome::Success | ProbeOutcome::Drain(_) => (true, None),
            ProbeOutcome::Failure(_) if late => return self.excuse(&finished, LocalTrouble::LateTimer, now, actions),
            ProbeOutcome::Failure(_) if self.troubles.is_settling(slot, now) => {
                let trouble = slot.trouble.clone().unwrap_or(LocalTrouble::InterfaceDown);
                return self.excuse(&finished, trouble, now, actions);
            }
            ProbeOutcome::Failure(cause) => (false, Some(cause)),
            ProbeOutcome::NoVerdict(_) => return self.schedule_next(&finished, now),
            ProbeOutcome::Local(trouble) => return self.excuse(&finished, trouble, now, actions),
        };
        slot.trouble = None;
        let news = result
            .warning
            .clone()
            .filter(|warning| slot.warning.as_ref() != Some(warning));
        slot.warning.clone_from(&result.warning);
        let advised_before = slot.counting_advice();
        // A server that fails says nothing about what it wants.
        if success {
            slot.take_advice(result.advice.unwrap_or_default(), drain);
        }
        let (before, held_before) = (slot.state(), slot.machine.held_until());
        if slot.machine.observe(success, &slot.spec, now) != CheckState::Unknown {
            // From now on it is this host's own.
            slot.hearsay = None;
        }
        let turned = slot.state() != before;
        if turned {
            slot.history.since = now;
        }
        let changed = turned || slot.counting_advice() != advised_before;
        let held = slot.machine.held_until().filter(|_| held_before.is_none());
        self.revision += u64::from(changed || held.is_some());
        // A verdict is rare, and so are advice and warnings: only then is it looked up whom they are for.
        let told = changed || held.is_some() || news.is_some();
        let check = if told { slot.spec.name.clone() } else { String::new() };
        let subscribers = if changed { slot.subscribers.clone() } else { Vec::new() };
        let first = slot.subscribers.first().copied();
        if !success && slot.goes_through_the_table() && slot.machine.state() == CheckState::Up {
            // Somebody may have taken the way out of the table; then it is back before the next probe.
            self.next_read = Some(now);
        }
        match slot.goes_on_rushing(success, &finished) {
            true => self.schedule.set(finished.check, now),
            false => self.schedule_next(&finished, now),
        }
        if success {
            self.open_hold(finished.check, now, actions);
        }
        if let (Some(warning), Some(first)) = (news, first) {
            let (server, check) = (self.pools.name(first.pool, first.server), check.clone());
            actions.push(Action::Report(Transition::ProbeWarned { server, check, warning }));
        }
        if let (Some(until), Some(first)) = (held, first) {
            let (server, check) = (self.pools.name(first.pool, first.server), check.clone());
            let hold = until.since(now);
            actions.push(Action::Report(Transition::FlapHeld { server, check, hold }));
        }
        let reason = cause.as_ref().map(ToString::to_string);
        for Subscriber { pool, server } in subscribers {
            let change = self.pools.update_server(pool, server, &check, cause.as_ref(), now);
            actions.extend(change.map(Action::Report));
            self.restand(pool, server, reason.clone(), actions);
        }
    }

    /// Makes a check due again, after a probe that has ended now.
    pub(super) fn schedule_next(&mut self, finished: &Finished, now: Instant) {
        let Some(slot) = self.pools.checks().get(finished.check) else {
            return;
        };
        let from = match slot.spec.interval_from {
            IntervalFrom::Start => finished.due,
            IntervalFrom::End => now,
        };
        let due = from + slot.machine.next_interval(&slot.spec, self.chance.next());
        self.schedule.set(finished.check, due.max(now));
    }
}
