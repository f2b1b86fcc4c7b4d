//! An instance and its addresses: put on, left where they are for a while, and left to somebody else.

use super::{GRACE, Instance, LAST_WORD};
use crate::model::{Instant, VrrpAction, VrrpAdvert};

impl Instance {
    /// Lets the addresses stay until a successor is heard, or until there is none: in a group until its slowest one could
    /// say whether all become master.
    pub(super) fn linger(&mut self, now: Instant) {
        self.ceding = None;
        let own = self.spec.advert_interval;
        let patience = match self.slowest {
            Some(slowest) => self.master_down(slowest.max(own)) + slowest.max(own),
            None => self.master_down(own),
        };
        self.lingers = self.holding.then_some(now + patience);
    }

    pub(super) fn hold(&mut self, out: &mut Vec<VrrpAction>) {
        (self.holding, self.owes_a_word) = (true, true);
        (self.stale, self.ceding, self.lingers) = (false, None, None);
        out.push(VrrpAction::AddAddresses);
    }

    pub(super) fn release(&mut self, out: &mut Vec<VrrpAction>) {
        (self.stale, self.ceding, self.lingers) = (false, None, None);
        if std::mem::take(&mut self.holding) {
            out.push(VrrpAction::RemoveAddresses);
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<VrrpAction>) {
        self.release(out);
        out.push(VrrpAction::End);
    }

    /// Leaves the addresses to the master that was heard: in a moment where that may have just become one, at once where
    /// it may have been one for long.
    pub(super) fn cede(&mut self, advert: &VrrpAdvert, now: Instant, out: &mut Vec<VrrpAction>) {
        let tells = advert.priority > LAST_WORD;
        if self.holding && !self.stale {
            if self.ceding.is_none() {
                self.ceding = Some(tells);
                self.lingers = Some(now + GRACE.min(self.spec.advert_interval / 2));
            }
            return;
        }
        self.release(out);
        self.say_last_word(tells, out);
    }

    /// Neighbours that have learnt the addresses from here are told by the master: an advert of the lowest priority makes
    /// it announce them again, keepalived too.
    pub(super) fn say_last_word(&mut self, tells: bool, out: &mut Vec<VrrpAction>) {
        if std::mem::take(&mut self.owes_a_word) && tells {
            out.push(VrrpAction::SendAdvert { priority: LAST_WORD });
        }
    }
}
