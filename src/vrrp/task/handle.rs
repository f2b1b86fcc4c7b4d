//! What the rest of the process has of the thread: what it may tell and ask, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::model::{
    VirtualAddress, VrrpChange, VrrpFinding, VrrpServing, VrrpSpec, VrrpState, VrrpSyncGroup, VrrpTracked,
};
use crate::vrrp::addresses::{Order, Report};

/// What is told of virtual routers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// An instance is something else.
    Changed {
        /// Its name.
        name: String,
        /// What it was and is.
        change: VrrpChange,
        /// Its priority.
        priority: u8,
    },
    /// A group is something else.
    GroupChanged {
        /// The group; it may have left the configuration.
        group: VrrpSyncGroup,
        /// What it was.
        from: VrrpState,
        /// What it is.
        to: VrrpState,
    },
    /// An instance serves somewhere else than before; told once it is known.
    Serving {
        /// Its name.
        name: String,
        /// Where.
        serving: VrrpServing,
    },
    /// Something an operator should know.
    Warning(String),
    /// What he was warned of is over.
    Recovered(String),
}

/// What an instance is, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it is told to be.
    pub spec: Arc<VrrpSpec>,
    /// What it is.
    pub state: VrrpState,
    /// The priority that counts.
    pub priority: u8,
    /// Who is master, as far as it knows.
    pub master: Option<IpAddr>,
    /// The addresses are on their devices.
    pub holds: bool,
    /// Why it cannot speak.
    pub trouble: Option<String>,
    /// What it tracks and what has failed of it.
    pub failing: Vec<String>,
}

/// When each instance that is master has sent its last advert, by a clock that all processes of this host have in common:
/// in milliseconds since the host was started.
pub type Spoken = BTreeMap<String, u64>;

/// The thread that virtual routers live in. It ends with [`Handle::stop`], else with the process.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) orders: Sender<Command>,
    pub(super) wake: Arc<EventFd>,
    pub(super) shown: Arc<Mutex<Vec<Shown>>>,
    /// How often the thread has looked around, and the addresses' one.
    pub(super) turns: (Arc<AtomicU64>, Arc<AtomicU64>),
    pub(super) addresses: UnboundedSender<Vec<Order>>,
}

/// What the thread is told.
pub(super) enum Command {
    Configure(Vec<Arc<VrrpSpec>>, Vec<VrrpSyncGroup>, Spoken),
    Report(String, Report),
    StepDown(String),
    Synced(String),
    Tracked(VrrpTracked, VrrpFinding),
    NotKnown(VrrpTracked),
    LastAdvert(Sender<Spoken>),
    Stop(oneshot::Sender<()>),
}

impl Handle {
    /// Takes over instances and groups; those that stay as they are are not disturbed. `spoken`: what the process before
    /// this one knows of its masterships; `served`: the addresses that virtual servers keep on devices, of which none is
    /// taken off.
    pub fn configure(
        &self,
        specs: Vec<Arc<VrrpSpec>>,
        groups: Vec<VrrpSyncGroup>,
        spoken: Spoken,
        served: BTreeSet<VirtualAddress>,
    ) {
        // Before anything that follows from the others; nobody is there who takes it, and that will be seen.
        let _ = self.addresses.send(vec![Order::Serve(served)]);
        self.send(Command::Configure(specs, groups, spoken));
    }

    /// Hands an instance, and its group, over to another router.
    pub fn step_down(&self, name: &str) {
        self.send(Command::StepDown(name.to_owned()));
    }

    /// An instance has enough of the master's connections to take over from it.
    pub fn synced(&self, name: &str) {
        self.send(Command::Synced(name.to_owned()));
    }

    /// What was found of something that instances track.
    pub fn tracked(&self, what: VrrpTracked, finding: VrrpFinding) {
        self.send(Command::Tracked(what, finding));
    }

    /// Nothing can be found of it now: it counts as before, at first as working.
    pub fn not_known(&self, what: VrrpTracked) {
        self.send(Command::NotKnown(what));
    }

    /// Has each master speak once more, and tells when that was, for the process that takes this one's place: it has a
    /// whole interval until the next advert is due. Empty where the thread does not answer within `patience`.
    pub fn last_advert(&self, patience: Duration) -> Spoken {
        let (answer, answered) = channel();
        self.send(Command::LastAdvert(answer));
        answered.recv_timeout(patience).unwrap_or_default()
    }

    /// Ends all instances; the answer comes once their addresses are with somebody else, or off their devices.
    pub fn stop(&self) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.send(Command::Stop(done));
        ended
    }

    /// What the instances are.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the thread has looked around, and the one that keeps the addresses, which they do once more for every
    /// question; what that says of them is in [`crate::vrrp::turns`].
    pub fn turns(&self) -> (u64, u64) {
        let _ = self.wake.write(1);
        // Nobody is there who takes it, and that will be seen.
        let _ = self.addresses.send(vec![Order::Turn]);
        (
            self.turns.0.load(Ordering::Relaxed),
            self.turns.1.load(Ordering::Relaxed),
        )
    }

    fn send(&self, command: Command) {
        // A thread that has ended needs no orders.
        if self.orders.send(command).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}
