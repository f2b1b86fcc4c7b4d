//! What an instance makes of an advert: who is master, whom it tells off, to whom it leaves the addresses.

use std::net::IpAddr;

use super::timing::speak;
use super::{Instance, LAST_WORD, Phase, UNHEARD};
use crate::model::{
    Instant, VrrpAction, VrrpAdvert, VrrpAuthentication, VrrpReason, VrrpRefusal, VrrpSpec, VrrpVersion,
};

impl Instance {
    /// An advert is read.
    pub(super) fn hear(&mut self, source: IpAddr, advert: &VrrpAdvert, now: Instant, out: &mut Vec<VrrpAction>) {
        if let Err(why) = self.examine(source, advert) {
            out.push(VrrpAction::Refused { source, why });
            return;
        }
        if advert.priority > 0 && !same_addresses(&self.spec, &advert.addresses) {
            let why = VrrpRefusal::OtherAddresses;
            out.push(VrrpAction::Refused { source, why });
        }
        if advert.priority == u8::MAX && self.spec.is_owner() {
            let why = VrrpRefusal::TwoOwners;
            out.push(VrrpAction::Refused { source, why });
        }
        let (priority, patience) = (self.priority(), self.patience());
        match &mut self.phase {
            Phase::Initialize => {}
            Phase::Fault if advert.priority > 0 => self.cede(advert, now, out),
            Phase::Ended if advert.priority > 0 => {
                self.cede(advert, now, out);
                if !self.holding {
                    self.end(out);
                }
            }
            Phase::Fault | Phase::Ended => {}
            Phase::Backup(_) => self.hear_as_backup(source, advert, now, out),
            Phase::Master(speaking) => {
                let higher = match advert.priority == priority && !mistaken!(self, EqualsStay) {
                    true => self.source.is_some_and(|own| source > own),
                    false => advert.priority > priority,
                };
                // To tell another master off would be in vain: it hears nothing of us.
                let unheard = self.unheard.is_some_and(|since| now.since(since) >= patience);
                let higher = higher || unheard && advert.priority > LAST_WORD;
                if advert.priority == 0 {
                    // A moment ago is now: nobody makes us speak a thousand times a second.
                    if now.since(speaking.spoke) >= self.spec.advert_interval / 32 {
                        speak(speaking, now, &self.spec);
                        out.push(VrrpAction::SendAdvert { priority });
                    }
                } else if higher {
                    let reason = VrrpReason::HigherPriority {
                        priority: advert.priority,
                        source,
                    };
                    self.listen(reason, now, out);
                    self.heed(source, advert, now);
                    if !mistaken!(self, KeepsAddresses) {
                        self.cede(advert, now, out);
                    }
                } else {
                    self.tell_off(now, out);
                }
            }
        }
    }

    fn hear_as_backup(&mut self, source: IpAddr, advert: &VrrpAdvert, now: Instant, out: &mut Vec<VrrpAction>) {
        let priority = self.priority();
        let preempts = self.preempts();
        let Phase::Backup(listening) = &mut self.phase else {
            return;
        };
        if advert.priority == 0 {
            // Only the master can leave: whoever has just yielded to it is none of our business.
            if listening.master.is_none_or(|master| master == source) && !mistaken!(self, IgnoresLeaving) {
                listening.heard = now;
                listening.left = true;
            }
            return;
        }
        // There is a master, so the addresses are its.
        if !mistaken!(self, KeepsLeftovers) {
            self.cede(advert, now, out);
        }
        let Phase::Backup(listening) = &mut self.phase else {
            return;
        };
        listening.master = Some(source);
        if advert.priority >= priority {
            (listening.lower_since, listening.lower_heard) = (None, None);
            self.heed(source, advert, now);
            return;
        }
        let since = *listening.lower_since.get_or_insert(now);
        listening.lower_heard = Some(now);
        let syncs = !listening.synced && now.since(listening.began) < self.spec.preempt_after_sync;
        let unheard = self.unheard.is_some() && now.since(listening.began) < UNHEARD;
        let waits = syncs || unheard || now.since(since) < self.spec.preempt_delay;
        if !preempts || waits {
            self.heed(source, advert, now);
        }
    }

    /// Answers another master of lower priority, once an interval: it yields, and the neighbours learn who is right.
    fn tell_off(&mut self, now: Instant, out: &mut Vec<VrrpAction>) {
        let (priority, silent) = (self.priority(), mistaken!(self, NoAnnouncement));
        let Phase::Master(speaking) = &mut self.phase else {
            return;
        };
        let repeat = self.spec.garp.lower_priority_repeat;
        if let Some(again) = speaking.told_off.map(|last| last + self.spec.advert_interval)
            && now < again
        {
            if repeat > 0 && !silent {
                let due = speaking.second_burst.unwrap_or(again);
                speaking.second_burst = Some(due.min(again));
            }
            return;
        }
        speaking.told_off = Some(now);
        speak(speaking, now, &self.spec);
        out.push(VrrpAction::SendAdvert { priority });
        if repeat > 0 && !silent {
            out.push(VrrpAction::Announce { repeat });
        }
    }

    fn preempts(&self) -> bool {
        let told_to = match self.spec.preempt {
            true => !mistaken!(self, NeverPreempts),
            false => mistaken!(self, AlwaysPreempts),
        };
        told_to && !self.stepped_down
    }

    /// Takes somebody for the master.
    fn heed(&mut self, source: IpAddr, advert: &VrrpAdvert, now: Instant) {
        let own = self.spec.advert_interval;
        let keeps_own = mistaken!(self, KeepsOwnInterval);
        if let Phase::Backup(listening) = &mut self.phase {
            listening.heard = now;
            listening.left = false;
            listening.prepared = false;
            listening.claim = None;
            listening.yields = true;
            listening.master = Some(source);
            listening.interval = if keeps_own { own } else { advert.interval };
        }
    }

    /// Whether an advert is for us and from one of us.
    fn examine(&self, source: IpAddr, advert: &VrrpAdvert) -> Result<(), VrrpRefusal> {
        let spec = &self.spec;
        let authentic = match spec.version {
            VrrpVersion::V2 => match spec.password {
                None => advert.authentication == VrrpAuthentication::None,
                Some(password) => advert.authentication == VrrpAuthentication::Password(password),
            },
            VrrpVersion::V3 => true,
        };
        if advert.version != spec.version {
            Err(VrrpRefusal::Version)
        } else if self.source == Some(source) {
            Err(VrrpRefusal::OwnAddress)
        } else if !spec.peers.is_empty() && !spec.peers.contains(&source) {
            Err(VrrpRefusal::Stranger)
        } else if !authentic {
            Err(VrrpRefusal::Authentication)
        } else if spec.version == VrrpVersion::V2 && advert.interval != spec.advert_interval {
            Err(VrrpRefusal::Interval)
        } else {
            Ok(())
        }
    }
}

/// Whether an advert names the addresses that we would name, in whatever order.
fn same_addresses(spec: &VrrpSpec, named: &[IpAddr]) -> bool {
    let count = spec.advertised().count();
    count == named.len() && spec.advertised().all(|address| named.contains(&address))
}
