//! What a probe has found, and what follows: the check's verdict, the states of all who go by it, the next probe.

use std::time::Duration;

use super::Director;
use super::checks::Finished;
use crate::model::{Action, Instant, IntervalFrom, LocalTrouble, ProbeId, ProbeOutcome, ProbeResult, Transition};

/// How long trouble of the whole host, told once, is not told of another server.
const TROUBLE_TOLD_FOR: Duration = Duration::from_secs(600);

impl Director {
    pub(super) fn judge(&mut self, probe: ProbeId, result: ProbeResult, now: Instant, actions: &mut Vec<Action>) {
        // The result of a probe whose check is no longer configured.
        let Some(finished) = self.pools.checks_mut().finish_probe(probe) else {
            return;
        };
        let Some(slot) = self.pools.checks_mut().get_mut(finished.check) else {
            return;
        };
        let late = now.since(finished.started) > slot.spec.timeout * 2 + Duration::from_millis(500);
        let (success, cause) = match result.outcome {
            ProbeOutcome::Success => (true, None),
            ProbeOutcome::Failure(_) if late => return self.excuse(&finished, LocalTrouble::LateTimer, now, actions),
            ProbeOutcome::Failure(cause) | ProbeOutcome::Drain(cause) => (false, Some(cause)),
            ProbeOutcome::NoVerdict(_) => return self.schedule_next(&finished, now),
            ProbeOutcome::Local(trouble) => return self.excuse(&finished, trouble, now, actions),
        };
        slot.trouble = None;
        let news = result
            .warning
            .clone()
            .filter(|warning| slot.warning.as_ref() != Some(warning));
        slot.warning.clone_from(&result.warning);
        let before = slot.machine.state();
        let changed = slot.machine.observe(success, &slot.spec) != before;
        // A verdict is rare, and so is a warning: only then is it looked up whom they are for.
        let check = if changed || news.is_some() {
            slot.spec.name.clone()
        } else {
            String::new()
        };
        let subscribers = if changed { slot.subscribers.clone() } else { Vec::new() };
        let first = slot.subscribers.first().copied();
        self.schedule_next(&finished, now);
        if let (Some(warning), Some(first)) = (news, first) {
            let (server, check) = (self.pools.name(first), check.clone());
            actions.push(Action::Report(Transition::ProbeWarned { server, check, warning }));
        }
        for subscriber in subscribers {
            if let Some(change) = self.pools.update_server(subscriber, &check, cause.as_ref(), now) {
                actions.push(Action::Report(change));
                let tier = self.pools.update_tier(&self.config, subscriber.pool, now);
                actions.extend(tier.map(Action::Report));
                self.dirty.insert(subscriber.pool);
            }
        }
    }

    /// Makes a check due again, after a probe that has ended now.
    fn schedule_next(&mut self, finished: &Finished, now: Instant) {
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

    /// A probe that says nothing about the server: the state stays, the next probe comes as if nothing had changed.
    fn excuse(&mut self, finished: &Finished, trouble: LocalTrouble, now: Instant, actions: &mut Vec<Action>) {
        let Some(slot) = self.pools.checks_mut().get_mut(finished.check) else {
            return;
        };
        let news = slot.trouble.replace(trouble.clone()).as_ref() != Some(&trouble);
        let first = slot.subscribers.first().copied();
        self.schedule_next(finished, now);
        let recently = |told: &Instant| now.since(*told) < TROUBLE_TOLD_FOR;
        let told = trouble.is_of_the_whole_host() && self.troubles_told.get(&trouble).is_some_and(recently);
        if let Some(first) = first.filter(|_| news && !told) {
            self.troubles_told.insert(trouble.clone(), now);
            let server = self.pools.name(first);
            actions.push(Action::Report(Transition::LocalTrouble { server, trouble }));
        }
    }
}
