//! What must hold at every moment, and what in the end.

use std::time::Duration;

use super::world::{Host, Plan, World};
use crate::model::{Instant, VrrpState, VrrpVersion};

impl World {
    /// How long two may take to find out about each other where nothing gets lost.
    fn overlap(&self) -> Duration {
        self.longest_interval() + self.delay * 3
    }

    /// What holds at every moment.
    pub(super) fn check_always(&mut self) -> Result<(), String> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let rivals = self.rivals_since.iter().chain(&self.holders_since).any(Option::is_some);
        if !std::mem::take(&mut self.stirred) && !rivals {
            return Ok(());
        }
        for segment in 0..self.segments {
            let masters: Vec<_> = (0..self.hosts.len())
                .filter(|n| self.hosts[*n].is_master(segment))
                .collect();
            let holders: Vec<_> = (0..self.hosts.len())
                .filter(|n| self.hosts[*n].works() && self.hosts[*n].link && self.hosts[*n].holds[segment])
                .collect();
            // While nobody is master, two that have ceased may wait side by side for who follows.
            let holders = if masters.is_empty() { Vec::new() } else { holders };
            let (now, healthy, overlap) = (self.now(), self.healthy_since, self.overlap());
            let too_long = |who: &[usize], since: &mut Option<Instant>, what: &str| {
                let Some(healthy) = healthy.filter(|_| who.len() > 1) else {
                    *since = None;
                    return Ok(());
                };
                let began = (*since.get_or_insert(now)).max(healthy);
                match now.since(began) > overlap {
                    true => Err(format!(
                        "{who:?} {what} for {:?} on a healthy segment",
                        now.since(began)
                    )),
                    false => Ok(()),
                }
            };
            too_long(&masters, &mut self.rivals_since[segment], "are masters")?;
            too_long(&holders, &mut self.holders_since[segment], "have the addresses")?;
        }
        for (number, host) in self.hosts.iter().enumerate() {
            if self.segments == 2 && host.works() {
                let states = [host.state(0), host.state(1)];
                if states.contains(&VrrpState::Master) && states.contains(&VrrpState::Backup) {
                    return Err(format!("the group of {number} is torn: {states:?}"));
                }
            }
        }
        Ok(())
    }

    /// A master that was silent for three intervals has lost that it was one.
    pub(super) fn check_silence(&mut self, from: usize, segment: usize) {
        let now = self.now();
        let host = &mut self.hosts[from];
        let (interval, before) = (host.specs[segment].advert_interval, host.spoke[segment]);
        if let Some(before) = before {
            host.spoke[segment] = Some(now);
            if now.since(before) > interval * 3 {
                self.wrong = Some(format!(
                    "{from} speaks as master after {:?} of silence",
                    now.since(before)
                ));
            }
        }
    }

    /// What holds once nothing has happened for long enough.
    pub(super) fn check_settled(&mut self) -> Result<(), String> {
        let working: Vec<_> = (0..self.hosts.len()).filter(|n| self.hosts[*n].works()).collect();
        let able: Vec<_> = working
            .iter()
            .filter(|n| self.hosts[**n].state(0) != VrrpState::Fault)
            .collect();
        if able.is_empty() {
            return Ok(());
        }
        for segment in 0..self.segments {
            let masters: Vec<_> = working.iter().filter(|n| self.hosts[**n].is_master(segment)).collect();
            let [master] = masters[..] else {
                return Err(format!(
                    "masters of segment {segment} in the end: {masters:?} of {working:?}"
                ));
            };
            let holders: Vec<_> = working.iter().filter(|n| self.hosts[**n].holds[segment]).collect();
            if holders != [master] {
                return Err(format!("{master} is master and {holders:?} have the addresses"));
            }
            for (beside, cached) in self.caches[segment].iter().enumerate() {
                // Who knows of nobody asks, but on a quiet segment everybody was told.
                if cached.map_or(self.calm, |cached| cached != *master && !self.hosts[cached].forgot) {
                    return Err(format!(
                        "neighbours of {beside} send to {cached:?} and {master} is master"
                    ));
                }
            }
        }
        let quiet = self.now().since(self.last_takeover);
        if quiet < self.longest_interval() * 4 {
            return Err(format!(
                "somebody has become master {quiet:?} ago, long after all was well"
            ));
        }
        let preempts = self.hosts[0].specs[0].preempt && self.hosts.iter().all(|host| !host.stepped_down);
        let highest = able.iter().map(|n| self.hosts[**n].priority()).max();
        let master = able.iter().find(|n| self.hosts[***n].is_master(0));
        if preempts && master.map(|n| self.hosts[**n].priority()) != highest {
            return Err(format!("{master:?} is master, and others have a higher priority"));
        }
        for host in &mut self.hosts {
            host.forgot = false;
        }
        Ok(())
    }

    /// Begins to count for what follows.
    pub(super) fn expect(&mut self, _plan: &Plan) {
        (self.takeovers, self.uncovered, self.disturbed) = (0, Duration::ZERO, self.now());
    }

    pub(super) fn check_takeovers(&self, expected: u32, when: &str) -> Result<(), String> {
        match self.takeovers == expected {
            true => Ok(()),
            false => Err(format!("{} have become master {when}, not {expected}", self.takeovers)),
        }
    }

    /// What has to come of one disturbance on a segment without faults.
    pub(super) fn check_expected(&self, plan: &Plan) -> Result<(), String> {
        let when = format!("after {plan:?}");
        let after = self.last_takeover.since(self.disturbed);
        let spec = &self.hosts[0].specs[0];
        let unit = match spec.version {
            VrrpVersion::V2 => Duration::from_secs(1),
            VrrpVersion::V3 => spec.advert_interval,
        };
        let in_time = |limit: Duration| match after <= limit {
            true => Ok(()),
            false => Err(format!(
                "the next master was there only {after:?} {when}, not {limit:?}"
            )),
        };
        let covered = || match self.uncovered.is_zero() {
            true => Ok(()),
            false => Err(format!("nobody had the addresses for {:?} {when}", self.uncovered)),
        };
        match plan {
            Plan::Stop(_) | Plan::StepDown(_) | Plan::Fault(_, true) => {
                self.check_takeovers(1, &when)?;
                covered()?;
                // Groups wait for the slower of two skews.
                in_time(unit + self.delay * 4)
            }
            Plan::Kill(_) => {
                self.check_takeovers(1, &when)?;
                covered()?;
                in_time(spec.advert_interval * 3 + unit + self.delay * 4)
            }
            Plan::PowerOff(_) => {
                self.check_takeovers(1, &when)?;
                in_time(spec.advert_interval * 3 + unit + self.delay * 4)
            }
            Plan::Start(number) => {
                let takes_over = self.hosts[*number].is_master(0);
                let able = |host: &&Host| host.works() && host.state(0) != VrrpState::Fault && !host.stepped_down;
                let highest = self.hosts.iter().filter(able).map(|host| host.priority()).max();
                let may = spec.preempt && highest == Some(self.hosts[*number].priority());
                if takes_over && !may {
                    return Err(format!("{number} has taken over {when}, although it does not preempt"));
                }
                self.check_takeovers(takes_over.into(), &when)?;
                covered()
            }
            Plan::Reexec(_) => {
                self.check_takeovers(1, &when)?;
                covered()
            }
            Plan::TakeAway(_) => self.check_takeovers(0, &when),
            Plan::Pause(..)
            | Plan::Cut(..)
            | Plan::Partition(_)
            | Plan::LinkDown(_)
            | Plan::LinkUp(_)
            | Plan::Weight(..)
            | Plan::Fault(_, false)
            | Plan::Loss(_)
            | Plan::Nothing => Ok(()),
        }
    }
}
