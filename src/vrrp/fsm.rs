//! One instance of a virtual router: `handle(event, now) -> actions` (RFC 9568, 6.4; RFC 3768, 6.4).
//!
//! Three things are more than the RFCs ask for. **Who leaves stays a moment**: whoever ceases to be master for a reason
//! that another host does not know yet (the end of the process, an operator, its group, what it tracks) keeps the
//! addresses on its devices until a successor is heard, or until there is none after a master-down interval; the same
//! holds for addresses that a process before this one has left. **Who was away is master no longer**: an instance that
//! has not spoken for three intervals gives up before it speaks, and one that has not listened listens again first.
//! **Who is named by an operator stays backup**: after a step-down it takes over only from nobody.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Instant, VrrpAction, VrrpChange, VrrpEvent, VrrpGroupOrder, VrrpReason, VrrpSpec, VrrpTracking, VrrpVersion,
};

/// How many adverts may be missing before the master is gone.
const DOWN_ADVERTS: u32 = 3;

/// The priority of whoever yields: nobody does so for it.
const LAST_WORD: u8 = 1;

/// How long whoever yields keeps serving at most: a new master says so first, and puts the addresses on after that.
const GRACE: Duration = Duration::from_millis(200);

/// An address that somebody takes away again and again is put back this often.
const REPAIR: Duration = Duration::from_secs(1);

/// Whoever was master and could send nothing leaves another master alone for so long, and then tries once more.
const UNHEARD: Duration = Duration::from_secs(60);

/// Whether a seeded mistake is in force. In a production build this is `false` and neither the field nor the enum is
/// there; the simulation must catch every one of them.
macro_rules! mistaken {
    ($instance:expr, $mutation:ident) => {{
        #[cfg(test)]
        {
            $instance.mutation == Some(crate::vrrp::tests::Mutation::$mutation)
        }
        #[cfg(not(test))]
        {
            false
        }
    }};
}

mod hearing;
mod holding;
mod timing;
mod view;

use self::timing::{Garps, speak};

/// One instance.
#[derive(Debug, Clone)]
pub struct Instance {
    spec: Arc<VrrpSpec>,
    /// The longest interval in its group, with which alone it becomes master.
    slowest: Option<Duration>,
    phase: Phase,
    /// Where adverts come from; `None` while its interface does not work.
    source: Option<IpAddr>,
    tracking: VrrpTracking,
    group_fault: bool,
    /// The addresses are on their devices.
    holding: bool,
    /// How long they stay there although it is not master.
    lingers: Option<Instant>,
    /// A process before this one has left them, or this one was away: they may be somebody else's by now.
    stale: bool,
    /// They are given up to a master that was heard; whether it is then told so.
    ceding: Option<bool>,
    /// Neighbours may have learnt the addresses from here, and no other master knows of it.
    owes_a_word: bool,
    /// An operator has handed over.
    stepped_down: bool,
    /// Since when its adverts cannot be sent.
    unheard: Option<Instant>,
    #[cfg(test)]
    pub(super) mutation: Option<super::tests::Mutation>,
}

#[derive(Debug, Clone)]
enum Phase {
    Initialize,
    Backup(Listening),
    Master(Speaking),
    Fault,
    /// It has ended, but for the addresses.
    Ended,
}

/// What a backup knows of the master.
#[derive(Debug, Clone)]
struct Listening {
    /// When this began.
    began: Instant,
    /// When it was heard last, or this began.
    heard: Instant,
    /// From one of its adverts to the next.
    interval: Duration,
    /// Who it is.
    master: Option<IpAddr>,
    /// It has said that it leaves.
    left: bool,
    /// Since it was heard last, the addresses were prepared for.
    prepared: bool,
    /// Since when one of lower priority has been heard.
    lower_since: Option<Instant>,
    /// When that was the last time.
    lower_heard: Option<Instant>,
    /// It has enough of the master's connections.
    synced: bool,
    /// Why it would be master now, if its group were.
    claim: Option<VrrpReason>,
    /// It has ceased to be master, or heeds one: whoever has only just begun does neither.
    yields: bool,
}

/// What a master has to do when.
#[derive(Debug, Clone)]
struct Speaking {
    spoke: Instant,
    next_advert: Instant,
    /// Another one of lower priority was told off.
    told_off: Option<Instant>,
    second_burst: Option<Instant>,
    refresh: Option<Instant>,
    repaired: Option<Instant>,
    repair: Option<Instant>,
}

impl Instance {
    /// One that has not begun; those of a group, whose longest interval is `slowest`, become master when it says so.
    pub fn new(spec: Arc<VrrpSpec>, slowest: Option<Duration>) -> Self {
        Self {
            spec,
            slowest,
            phase: Phase::Initialize,
            source: None,
            tracking: VrrpTracking::default(),
            group_fault: false,
            holding: false,
            lingers: None,
            stale: false,
            ceding: None,
            owes_a_word: false,
            stepped_down: false,
            unheard: None,
            #[cfg(test)]
            mutation: None,
        }
    }

    /// It is in a group now, or no longer; answers with whether it has left one. Whoever has is to be told that no fault
    /// of the group counts any more ([`VrrpGroupOrder::FaultCleared`]), and listens before it becomes master.
    pub(super) fn set_grouped(&mut self, slowest: Option<Duration>) -> bool {
        let left = std::mem::replace(&mut self.slowest, slowest).is_some() && slowest.is_none();
        if let Phase::Backup(listening) = &mut self.phase
            && left
        {
            listening.claim = None;
        }
        left
    }

    /// Takes in what has happened and says what is to be done, in this order.
    pub fn handle(&mut self, event: VrrpEvent, now: Instant) -> Vec<VrrpAction> {
        let mut out = Vec::new();
        self.give_up_if_silent(now, &mut out);
        match event {
            VrrpEvent::Started { addresses_found, spoke } => self.start(addresses_found, spoke, now, &mut out),
            VrrpEvent::InterfaceReady(source) => {
                self.source = Some(source);
                self.review(VrrpReason::InterfaceLost, now, &mut out);
            }
            VrrpEvent::InterfaceLost => {
                self.source = None;
                self.review(VrrpReason::InterfaceLost, now, &mut out);
            }
            VrrpEvent::DeviceLost => {
                // Nothing is reached here any more, but everybody can be told so.
                if matches!(self.phase, Phase::Master(_)) && !mistaken!(self, LeavesSilently) {
                    out.push(VrrpAction::SendAdvert { priority: 0 });
                }
                self.source = None;
                self.review(VrrpReason::InterfaceLost, now, &mut out);
            }
            VrrpEvent::Tracked(tracking) => {
                self.tracking = tracking;
                self.review(VrrpReason::Tracking, now, &mut out);
            }
            VrrpEvent::AdvertReceived { source, advert } => self.hear(source, &advert, now, &mut out),
            VrrpEvent::Unsent => drop(self.unheard.get_or_insert(now)),
            VrrpEvent::SentAgain => self.unheard = None,
            VrrpEvent::SpecChanged(spec) => self.respecify(spec, now, &mut out),
            VrrpEvent::AddressMissing => self.repair(now, &mut out),
            VrrpEvent::Synced => {
                if let Phase::Backup(listening) = &mut self.phase {
                    listening.synced = true;
                }
            }
            VrrpEvent::StepDown => {
                if matches!(self.phase, Phase::Master(_)) {
                    self.stepped_down = true;
                    self.leave(VrrpReason::StepDown, now, &mut out);
                }
            }
            VrrpEvent::ProcessReplaced => {
                let priority = self.priority();
                if let Phase::Master(speaking) = &mut self.phase {
                    speak(speaking, now, &self.spec);
                    out.push(VrrpAction::SendAdvert { priority });
                }
            }
            VrrpEvent::Stopped => self.stop(now, &mut out),
            VrrpEvent::Group(order) => self.obey(order, now, &mut out),
            VrrpEvent::TimeReached => {}
        }
        self.pass_time(now, &mut out);
        out
    }

    fn give_up_if_silent(&mut self, now: Instant, out: &mut Vec<VrrpAction>) {
        if let Phase::Master(speaking) = &self.phase
            && now.since(speaking.spoke) > self.patience()
            && !mistaken!(self, SpeaksAfterPause)
        {
            self.linger(now);
            self.stale = true;
            self.listen(VrrpReason::Paused, now, out);
        }
    }

    fn start(&mut self, addresses_found: bool, spoke: Option<Instant>, now: Instant, out: &mut Vec<VrrpAction>) {
        if !matches!(self.phase, Phase::Initialize) {
            return;
        }
        self.holding = addresses_found;
        (self.stale, self.owes_a_word) = (addresses_found, addresses_found);
        if addresses_found {
            self.linger(now);
        }
        // One from the future was told by another boot's clock.
        let resumes = spoke.is_some_and(|spoke| spoke <= now && now.since(spoke) < self.patience());
        if self.is_faulty() || self.group_fault {
            self.fault(self.fault_reason(), now, out);
        } else if resumes {
            self.claim_or_become_master(VrrpReason::Started, VrrpReason::Resumed, now, out);
        } else {
            self.begin(VrrpReason::Started, now, out);
        }
    }

    /// Begins, or begins again: what is still here stays until that comes to something.
    fn begin(&mut self, reason: VrrpReason, now: Instant, out: &mut Vec<VrrpAction>) {
        if self.ceding.is_none() {
            self.linger(now);
        }
        match self.spec.is_owner() && self.spec.starts_as_master {
            true => self.claim_or_become_master(reason, VrrpReason::Owner, now, out),
            false => self.listen(reason, now, out),
        }
    }

    fn claim_or_become_master(
        &mut self,
        reason: VrrpReason,
        claim: VrrpReason,
        now: Instant,
        out: &mut Vec<VrrpAction>,
    ) {
        if self.slowest.is_none() {
            return self.become_master(claim, now, out);
        }
        self.listen(reason, now, out);
        if let Phase::Backup(listening) = &mut self.phase {
            listening.claim = Some(claim);
        }
    }

    /// Becomes, or stays, what its faults allow.
    fn review(&mut self, reason: VrrpReason, now: Instant, out: &mut Vec<VrrpAction>) {
        let faulty = self.is_faulty() || self.group_fault;
        match (&self.phase, faulty) {
            (Phase::Backup(_) | Phase::Master(_), true) => self.fault(reason, now, out),
            (Phase::Fault, false) => self.begin(VrrpReason::Recovered, now, out),
            (Phase::Fault, true) if self.source.is_none() => self.release(out),
            (Phase::Ended, true) if self.source.is_none() => self.end(out),
            (Phase::Initialize | Phase::Fault | Phase::Ended | Phase::Backup(_) | Phase::Master(_), _) => {}
        }
    }

    fn fault_reason(&self) -> VrrpReason {
        match (self.source, self.tracking.fault) {
            (None, _) => VrrpReason::InterfaceLost,
            (Some(_), true) => VrrpReason::Tracking,
            (Some(_), false) => VrrpReason::SyncGroup,
        }
    }

    fn fault(&mut self, reason: VrrpReason, now: Instant, out: &mut Vec<VrrpAction>) {
        let reachable = self.source.is_some();
        if matches!(self.phase, Phase::Master(_)) && reachable {
            out.push(VrrpAction::SendAdvert { priority: 0 });
            self.linger(now);
        }
        self.enter(Phase::Fault, reason, out);
        if !reachable {
            self.release(out);
        }
    }

    /// Listens from now on.
    fn listen(&mut self, reason: VrrpReason, now: Instant, out: &mut Vec<VrrpAction>) {
        let listening = Listening {
            began: now,
            heard: now,
            interval: self.spec.advert_interval,
            master: None,
            left: false,
            prepared: false,
            lower_since: None,
            lower_heard: None,
            synced: false,
            claim: None,
            yields: !matches!(reason, VrrpReason::Started | VrrpReason::Recovered),
        };
        self.enter(Phase::Backup(listening), reason, out);
    }

    fn become_master(&mut self, reason: VrrpReason, now: Instant, out: &mut Vec<VrrpAction>) {
        let Garps { second, refresh } = self.garps(now);
        let speaking = Speaking {
            spoke: now,
            next_advert: now + self.spec.advert_interval,
            told_off: None,
            second_burst: second,
            refresh,
            repaired: None,
            repair: None,
        };
        let priority = self.priority();
        out.push(VrrpAction::SendAdvert { priority });
        self.hold(out);
        if !mistaken!(self, NoAnnouncement) {
            let repeat = self.spec.garp.repeat;
            out.push(VrrpAction::Announce { repeat });
        }
        self.stepped_down = false;
        self.enter(Phase::Master(speaking), reason, out);
    }

    /// Ceases to be master and says so; whoever takes over is waited for.
    fn leave(&mut self, reason: VrrpReason, now: Instant, out: &mut Vec<VrrpAction>) {
        if !mistaken!(self, LeavesSilently) {
            out.push(VrrpAction::SendAdvert { priority: 0 });
        }
        self.linger(now);
        self.listen(reason, now, out);
    }

    fn stop(&mut self, now: Instant, out: &mut Vec<VrrpAction>) {
        if matches!(self.phase, Phase::Master(_)) {
            if !mistaken!(self, LeavesSilently) {
                out.push(VrrpAction::SendAdvert { priority: 0 });
            }
            self.linger(now);
            if mistaken!(self, DropsAtOnce) {
                self.release(out);
            }
        }
        if !matches!(self.phase, Phase::Ended) {
            self.enter(Phase::Ended, VrrpReason::Stopped, out);
        }
        if !self.holding {
            self.end(out);
        }
    }

    fn obey(&mut self, order: VrrpGroupOrder, now: Instant, out: &mut Vec<VrrpAction>) {
        match order {
            VrrpGroupOrder::BecomeMaster => {
                if let Phase::Backup(Listening {
                    claim: Some(reason), ..
                }) = self.phase
                {
                    self.become_master(reason, now, out);
                }
            }
            VrrpGroupOrder::BecomeBackup => {
                if matches!(self.phase, Phase::Master(_)) {
                    self.leave(VrrpReason::SyncGroup, now, out);
                }
            }
            VrrpGroupOrder::Fault => {
                self.group_fault = true;
                self.review(VrrpReason::SyncGroup, now, out);
            }
            VrrpGroupOrder::FaultCleared => {
                self.group_fault = false;
                self.review(VrrpReason::SyncGroup, now, out);
            }
        }
    }

    /// Takes over other settings; what does not change is not disturbed.
    fn respecify(&mut self, spec: Arc<VrrpSpec>, now: Instant, out: &mut Vec<VrrpAction>) {
        let before = std::mem::replace(&mut self.spec, spec);
        let other_addresses = before.addresses != self.spec.addresses;
        let other_routes = before.routes != self.spec.routes || before.rules != self.spec.rules;
        let Garps { refresh, .. } = self.garps(now);
        let priority = self.priority();
        match &mut self.phase {
            Phase::Master(speaking) => {
                speaking.refresh = refresh;
                speaking.spoke = now;
                speaking.next_advert = now + self.spec.advert_interval;
                out.push(VrrpAction::SendAdvert { priority });
                if other_addresses || other_routes {
                    self.hold(out);
                }
                if other_addresses {
                    let repeat = self.spec.garp.repeat;
                    out.push(VrrpAction::Announce { repeat });
                }
            }
            Phase::Backup(listening) => {
                listening.prepared = false;
                if self.spec.version == VrrpVersion::V2 || listening.master.is_none() {
                    listening.interval = self.spec.advert_interval;
                }
            }
            Phase::Initialize | Phase::Fault | Phase::Ended => {}
        }
    }

    fn enter(&mut self, phase: Phase, reason: VrrpReason, out: &mut Vec<VrrpAction>) {
        let from = self.state();
        self.phase = phase;
        let to = self.state();
        if from != to {
            out.push(VrrpAction::Changed(VrrpChange { from, to, reason }));
        }
    }
}
