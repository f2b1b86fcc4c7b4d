//! Virtual routers that wait until this director knows enough of the other one's connections: both count theirs, and only
//! while somebody waits.

use tokio::task::spawn_blocking;
use tracing::info;

use super::super::{Message, Shell};
use crate::ipvs;
use crate::model::VrrpState;
use crate::model::control::{EventKind, Level};
use crate::peer;
use crate::peer::message::Beat;

impl Shell {
    /// A virtual router is something else: one that listens and takes over by a share of the connections wants to know how
    /// many the other director has.
    pub(in crate::daemon::task) fn wait_for_connections(&mut self, name: &str, state: VrrpState) {
        let specs = &self.reloads.config.vrrp_instances;
        let by_share = specs
            .iter()
            .any(|spec| spec.name == name && spec.preempt_share.is_some());
        match state {
            VrrpState::Backup if by_share => drop(self.peer.waiting.insert(name.to_owned(), 0)),
            VrrpState::Initialize | VrrpState::Backup | VrrpState::Master | VrrpState::Fault => {
                self.peer.waiting.remove(name);
            }
        }
        self.ask_for_connections();
    }

    pub(super) fn ask_for_connections(&self) {
        let wants = !self.peer.waiting.is_empty();
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| told.beat.wants_connections = wants);
        }
    }

    /// The other one lives. Connections are counted only while somebody waits for them.
    pub(super) fn hear_beat(&mut self, beat: Beat) {
        let Some((_, link)) = &self.peer.link else { return };
        if !beat.wants_connections {
            link.tell(|told| told.beat.connections = None);
        }
        let compares = beat.connections.is_some() && !self.peer.waiting.is_empty();
        if self.peer.counting || !(beat.wants_connections || compares) {
            return;
        }
        self.peer.counting = true;
        let sender = self.sender.clone();
        let theirs = beat.connections;
        let wanted = beat.wants_connections;
        spawn_blocking(move || {
            let own = ipvs::count_connections().ok();
            let _ = sender.send(Message::Counted { own, theirs, wanted });
        });
    }

    /// The connections of this kernel were counted.
    pub(in crate::daemon::task) fn counted(&mut self, own: Option<u64>, theirs: Option<u64>, wanted: bool) {
        self.peer.counting = false;
        self.peer.counts = (own, theirs);
        if let Some((_, link)) = self.peer.link.as_ref().filter(|_| wanted) {
            link.tell(|told| told.beat.connections = own);
        }
        let (Some(own), Some(theirs)) = (own, theirs) else {
            return;
        };
        let specs = self.reloads.config.vrrp_instances.clone();
        let mut enough = Vec::new();
        for (name, times) in &mut self.peer.waiting {
            let share = specs
                .iter()
                .find(|spec| spec.name == *name)
                .and_then(|spec| spec.preempt_share);
            let reached = share.is_some_and(|share| peer::caught_up(own, theirs, share));
            let (after, settled) = peer::settle_count(*times, reached);
            *times = after;
            if settled {
                enough.push(name.clone());
            }
        }
        for name in enough {
            self.peer.waiting.remove(&name);
            let text = format!(
                "virtual router {name} need not wait for more connections: {own} are here, {theirs} on the peer"
            );
            info!("{text}");
            self.note(EventKind::Vrrp, Level::Info, text);
            if let Some(thread) = &self.routers.thread {
                thread.synced(&name);
            }
        }
        self.ask_for_connections();
    }
}
