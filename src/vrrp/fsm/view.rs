//! An instance as others see it: its task, its group, `status`.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Instance, Phase};
use crate::model::{Instant, VrrpServing, VrrpSpec, VrrpState};
use crate::vrrp::tracking::effective_priority;

impl Instance {
    /// What it is told to be.
    pub fn spec(&self) -> &Arc<VrrpSpec> {
        &self.spec
    }

    /// What it is.
    pub fn state(&self) -> VrrpState {
        match self.phase {
            Phase::Initialize | Phase::Ended => VrrpState::Initialize,
            Phase::Backup(_) => VrrpState::Backup,
            Phase::Master(_) => VrrpState::Master,
            Phase::Fault => VrrpState::Fault,
        }
    }

    /// The priority that counts now.
    pub fn priority(&self) -> u8 {
        effective_priority(self.spec.priority, self.tracking.weight)
    }

    /// Who is master, as far as it knows.
    pub fn master(&self) -> Option<IpAddr> {
        match &self.phase {
            Phase::Backup(listening) => listening.master,
            Phase::Master(_) => self.source,
            Phase::Initialize | Phase::Fault | Phase::Ended => None,
        }
    }

    /// Whether the addresses are on their devices, as master or still.
    pub fn holds_addresses(&self) -> bool {
        self.holding
    }

    /// Where traffic is to be served: here as master, or still, until somebody else has said to be.
    pub fn serving(&self) -> VrrpServing {
        match (self.holding, self.ceding) {
            (true, None) => VrrpServing::Here,
            (true, Some(_)) => VrrpServing::Leaving,
            (false, _) => VrrpServing::Elsewhere,
        }
    }

    /// When it has sent its last advert as master; `None` where it is not.
    pub fn spoke(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Master(speaking) => Some(speaking.spoke),
            Phase::Initialize | Phase::Backup(_) | Phase::Fault | Phase::Ended => None,
        }
    }

    /// Whether it waits for nothing but its group to become master.
    pub(in crate::vrrp) fn claims(&self) -> bool {
        matches!(&self.phase, Phase::Backup(listening) if listening.claim.is_some())
    }

    /// Whether it is backup for a reason that is one for its group, too.
    pub(in crate::vrrp) fn yields(&self) -> bool {
        matches!(&self.phase, Phase::Backup(listening) if listening.yields && listening.claim.is_none())
    }

    /// Whether something of its own keeps it from being master.
    pub(in crate::vrrp) fn is_faulty(&self) -> bool {
        self.source.is_none() || self.tracking.fault
    }

    /// Whether a fault of its group keeps it from being master.
    pub(in crate::vrrp) fn is_held_by_group(&self) -> bool {
        self.group_fault
    }
}
