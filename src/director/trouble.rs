//! Trouble of this host: no server is judged by it. While it lasts the states stay as they are, one line says so, and
//! it is counted; afterwards all are probed again, spread over some time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Director;
use super::checks::{CheckId, CheckSlot, Finished};
use crate::health;
use crate::model::{Action, CheckSpec, Instant, LocalTrouble, Transition};

/// How long trouble of the whole host, told once, is not told of another server.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// A probe that starts this much later than it was due says that the host stood still, or was too busy.
const LATE: Duration = Duration::from_secs(1);

/// Lateness from here on is told even if trouble with timers was told of a moment ago.
const VERY_LATE: Duration = Duration::from_secs(10);

/// How long failures of servers that could not be reached do not count after an interface has come back: the switch
/// at its other end, and the neighbours, need a moment.
const SETTLING: Duration = Duration::from_secs(3);

/// Not more probes in a row than one in so long a time.
const APART: Duration = Duration::from_millis(1);

/// What is remembered of this host's trouble.
#[derive(Debug, Clone, Default)]
pub(super) struct Troubles {
    /// When trouble of the whole host was told of last.
    told: BTreeMap<LocalTrouble, Instant>,
    /// How many probes said nothing because of it, by its name.
    pub(super) excused: BTreeMap<&'static str, u64>,
    /// An interface came back not long before this.
    settled: Instant,
}

impl Troubles {
    /// Whether a failure may still be a consequence of an interface that has only just come back.
    pub(super) fn is_settling(&self, slot: &CheckSlot, now: Instant) -> bool {
        now < self.settled && slot.trouble.as_ref().is_some_and(LocalTrouble::is_of_an_interface)
    }

    fn count(&mut self, trouble: &LocalTrouble, probes: u64) {
        *self.excused.entry(trouble.name()).or_default() += probes;
    }

    /// Whether it is to be told now; notes that it is.
    fn is_news(&mut self, trouble: &LocalTrouble, now: Instant) -> bool {
        let recently = |told: &Instant| now.since(*told) < TOLD_FOR;
        if trouble.is_of_the_whole_host() && self.told.get(trouble).is_some_and(recently) {
            return false;
        }
        self.told.insert(trouble.clone(), now);
        true
    }
}

impl Director {
    /// A probe that says nothing about the server: the state stays, the next probe comes as if nothing had changed.
    pub(super) fn excuse(
        &mut self,
        finished: &Finished,
        trouble: LocalTrouble,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.troubles.count(&trouble, 1);
        let Some(slot) = self.pools.checks_mut().get_mut(finished.check) else {
            return;
        };
        let changed = slot.trouble.replace(trouble.clone()).as_ref() != Some(&trouble);
        let settling = self.troubles.is_settling(slot, now);
        let (first, again) = (slot.subscribers.first().copied(), now + slot.spec.retry_interval);
        self.schedule_next(finished, now);
        if settling {
            self.schedule.bring_forward(finished.check, again);
        }
        if let Some(first) = first.filter(|_| changed)
            && self.troubles.is_news(&trouble, now)
        {
            let server = self.pools.name(first.pool, first.server);
            actions.push(Action::Report(Transition::LocalTrouble { server, trouble }));
        }
    }

    /// Says so where checks with `via = "path"` cannot run: nothing is written, or there are more than marks.
    pub(super) fn tell_of_closed_paths(&self, actions: &mut Vec<Action>) {
        let why = match self.settings.observe {
            true => "its way needs a service in the kernel's table, and nothing is written while observing",
            false => "its way needs a firewall mark, and all of ipvsd's are taken",
        };
        if let Some(first) = self.pools.checks().in_the_path(!self.settings.observe).next() {
            let server = self.pools.name(first.pool, first.server);
            let trouble = LocalTrouble::Setup(why.into());
            actions.push(Action::Report(Transition::LocalTrouble { server, trouble }));
        }
    }

    /// After a halt everything is due at once; that is spread out, and told.
    pub(super) fn spread_what_is_late(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let is_late = |due: Instant| now.since(due) > LATE;
        if !self.schedule.next_due().is_some_and(is_late) {
            return;
        }
        let (mut late, mut overdue) = (Duration::ZERO, Vec::new());
        while let Some((check, due)) = self.schedule.pop_due(now) {
            late = late.max(now.since(due));
            let spec = self.pools.checks().get(check).map(|slot| Arc::clone(&slot.spec));
            overdue.extend(spec.map(|spec| (check, spec)));
        }
        let checks = overdue.len();
        for (check, at) in self.spread(overdue, now) {
            self.schedule.set(check, at);
        }
        if checks > 0 && late > LATE {
            self.troubles.count(&LocalTrouble::LateTimer, checks as u64);
            if self.troubles.is_news(&LocalTrouble::LateTimer, now) || late > VERY_LATE {
                actions.push(Action::Report(Transition::Halted { late, checks }));
            }
        }
    }

    /// An own interface has come or gone. Where it has gone the probes say so; where it has come back, those that could
    /// not reach their servers try again.
    pub(super) fn link_changed(&mut self, device: String, works: bool, now: Instant, actions: &mut Vec<Action>) {
        if !works {
            return;
        }
        let cut_off = self.pools.checks().cut_off();
        let checks = cut_off.len();
        if checks == 0 {
            return;
        }
        self.troubles.settled = now + SETTLING;
        self.troubles.told.retain(|trouble, _| !trouble.is_of_an_interface());
        for (check, at) in self.spread(cut_off, now) {
            self.schedule.bring_forward(check, at);
        }
        actions.push(Action::Report(Transition::InterfaceBack { device, checks }));
    }

    /// A time soon for each check, by chance, so that about a thousand start in a second; none waits longer than its
    /// interval.
    fn spread(&mut self, checks: Vec<(CheckId, Arc<CheckSpec>)>, now: Instant) -> Vec<(CheckId, Instant)> {
        let all = APART * u32::try_from(checks.len()).unwrap_or(u32::MAX);
        let chance = &mut self.chance;
        let at = |spec: &CheckSpec, random| now + health::share(all.min(spec.interval), random);
        let times = checks.into_iter();
        times.map(|(check, spec)| (check, at(&spec, chance.next()))).collect()
    }
}
