//! An instance and time: how long it waits for whom, and what is due.

use std::time::Duration;

use super::{DOWN_ADVERTS, Instance, Listening, Phase, REPAIR, Speaking};
use crate::model::{Instant, VrrpAction, VrrpReason, VrrpSpec, VrrpVersion};

impl Instance {
    /// When it wants to be told that time has passed.
    pub fn next_wake(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Initialize | Phase::Fault | Phase::Ended => None,
            Phase::Backup(listening) if listening.claim.is_some() => None,
            Phase::Backup(listening) => Some(self.preparing(listening).unwrap_or(self.deadline(listening))),
            Phase::Master(speaking) => [
                Some(speaking.next_advert),
                speaking.second_burst,
                speaking.refresh,
                speaking.repair,
            ]
            .into_iter()
            .flatten()
            .min(),
        };
        own.into_iter().chain(self.lingers).min()
    }

    /// The least time after which another one may have taken over from a master: its skew may be nothing.
    pub(super) fn patience(&self) -> Duration {
        self.spec.advert_interval * DOWN_ADVERTS
    }

    /// `Skew_Time` of RFC 9568, 6.1, and of RFC 3768, 6.1, where it does not depend on the interval.
    pub(super) fn skew(&self, interval: Duration) -> Duration {
        if mistaken!(self, NoSkew) {
            return Duration::ZERO;
        }
        let below = u32::from(u8::MAX) + 1 - u32::from(self.priority());
        match self.spec.version {
            VrrpVersion::V2 => Duration::from_secs(1) * below / 256,
            VrrpVersion::V3 => interval * below / 256,
        }
    }

    /// `Master_Down_Interval` (`Active_Down_Interval` in RFC 9568).
    pub(super) fn master_down(&self, interval: Duration) -> Duration {
        interval * DOWN_ADVERTS + self.skew(interval)
    }

    pub(super) fn deadline(&self, listening: &Listening) -> Instant {
        let wait = match listening.left {
            true => self.skew(listening.interval),
            false => self.master_down(listening.interval),
        };
        listening.heard + wait
    }

    /// When the addresses are to be prepared for, if they are not: when one advert is missing and the next one is due.
    fn preparing(&self, listening: &Listening) -> Option<Instant> {
        let intervals = if listening.left { 0 } else { DOWN_ADVERTS - 1 };
        let is_unprepared = !listening.prepared && !self.holding;
        is_unprepared.then(|| listening.heard + listening.interval * intervals)
    }

    fn prepare(&mut self, out: &mut Vec<VrrpAction>) {
        if let Phase::Backup(listening) = &mut self.phase {
            listening.prepared = true;
            out.push(VrrpAction::Prepare);
        }
    }

    pub(super) fn garps(&self, now: Instant) -> Garps {
        let after = |wait: Duration| (!wait.is_zero()).then(|| now + wait);
        Garps {
            second: after(self.spec.garp.delay),
            refresh: after(self.spec.garp.refresh),
        }
    }

    /// Puts addresses back that somebody has taken away; whoever does so announces those and no others.
    pub(super) fn repair(&mut self, now: Instant, out: &mut Vec<VrrpAction>) {
        let Phase::Master(speaking) = &mut self.phase else {
            return;
        };
        match speaking.repaired {
            Some(last) if now.since(last) < REPAIR => speaking.repair = Some(last + REPAIR),
            Some(_) | None => {
                speaking.repaired = Some(now);
                speaking.repair = None;
                self.hold(out);
            }
        }
    }

    /// Does what is due.
    pub(super) fn pass_time(&mut self, now: Instant, out: &mut Vec<VrrpAction>) {
        let priority = self.priority();
        if let Phase::Backup(listening) = &self.phase
            && listening.claim.is_none()
        {
            if now >= self.deadline(listening) {
                self.pass_deadline(now, out);
            } else if self.preparing(listening).is_some_and(|due| now >= due) {
                self.prepare(out);
            }
        }
        if let Phase::Master(speaking) = &mut self.phase {
            if now >= speaking.next_advert {
                speak(speaking, now, &self.spec);
                out.push(VrrpAction::SendAdvert { priority });
            }
            let garp = &self.spec.garp;
            if speaking.second_burst.take_if(|due| now >= *due).is_some() {
                let repeat = garp.repeat;
                out.push(VrrpAction::Announce { repeat });
            }
            if let Some(due) = speaking.refresh
                && now >= due
            {
                speaking.refresh = (!garp.refresh.is_zero()).then(|| now + garp.refresh);
                let repeat = garp.refresh_repeat;
                out.push(VrrpAction::Announce { repeat });
            }
            if speaking.repair.take_if(|due| now >= *due).is_some() {
                self.repair(now, out);
            }
        }
        if self.lingers.is_some_and(|until| now >= until) {
            let told = self.ceding;
            self.release(out);
            if let Some(tells) = told {
                self.say_last_word(tells, out);
            }
            if matches!(self.phase, Phase::Ended) {
                self.end(out);
            }
        }
    }

    /// Nobody was heard for as long as a master may be silent.
    pub(super) fn pass_deadline(&mut self, now: Instant, out: &mut Vec<VrrpAction>) {
        let Phase::Backup(listening) = &self.phase else { return };
        let late = now.since(self.deadline(listening));
        let (left, interval) = (listening.left, listening.interval);
        let Phase::Backup(listening) = &mut self.phase else {
            return;
        };
        if late > interval {
            // Nobody has listened meanwhile.
            listening.heard = now;
            listening.left = false;
            return;
        }
        let preempts = listening
            .lower_heard
            .is_some_and(|heard| now.since(heard) < interval * DOWN_ADVERTS);
        let reason = match (left, preempts) {
            (true, _) => VrrpReason::MasterLeft,
            (false, true) => VrrpReason::Preempts,
            (false, false) => VrrpReason::MasterSilent,
        };
        match self.slowest {
            Some(_) => listening.claim = Some(reason),
            None => self.become_master(reason, now, out),
        }
    }
}

/// What is announced later.
pub(super) struct Garps {
    pub(super) second: Option<Instant>,
    pub(super) refresh: Option<Instant>,
}

/// An advert is sent now, and the next one when it would have been due anyway.
pub(super) fn speak(speaking: &mut Speaking, now: Instant, spec: &VrrpSpec) {
    speaking.spoke = now;
    let due = match now >= speaking.next_advert {
        true => speaking.next_advert + spec.advert_interval,
        false => now + spec.advert_interval,
    };
    speaking.next_advert = match due > now {
        true => due,
        false => now + spec.advert_interval,
    };
}
