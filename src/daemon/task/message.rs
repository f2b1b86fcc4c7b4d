//! What reaches the loop from its helpers, and who takes it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tracing::info;

use super::Shell;
use super::plan::Rehearse;
use super::reload::Outcome;
use crate::model::control::{EventKind, Level, Refused};
use crate::model::{Event, PeerSettings, PublicKey};
use crate::peer::key::KeyError;
use crate::vrrp::task::News;

/// What reaches the loop from its helpers.
pub(super) enum Message {
    Event(Event),
    /// The file with what is known was written, or could not be.
    StateWritten(anyhow::Result<()>),
    /// The program on disk was looked at: its version, or why it cannot take over.
    ProgramExamined(Result<String, Box<Refused>>),
    /// A reload has read the files and prepared this host, or was refused.
    Reloaded(Outcome),
    /// The files and the table were read to see what a reload would do.
    Rehearse(Rehearse),
    /// Something has stirred where the configuration's files are.
    FilesStirred,
    /// They are others than those that were read last.
    FilesChanged,
    /// The connections of this kernel were counted, beside those that the other director has.
    Counted {
        own: Option<u64>,
        theirs: Option<u64>,
        /// The other one wants to know.
        wanted: bool,
    },
    /// The key file of the link to the other director was read again.
    PeerKeyRead(PeerSettings, Result<PublicKey, KeyError>),
    /// A virtual router tells something.
    Vrrp(News),
    /// These addresses of virtual routers are on this host, or about to be.
    RoutersHold(BTreeSet<IpAddr>),
    /// Something about virtual routers is to be put down, and was logged.
    Noted(Level, String),
}

impl Shell {
    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                let about_table = matches!(
                    event,
                    Event::StepsApplied(_) | Event::TableRead(_) | Event::TableUnchanged | Event::TableReadFailed(_)
                );
                match &event {
                    Event::HoldEnded { hold, .. } => drop(self.holds.remove(hold)),
                    Event::StepsApplied(_) => self.batches -= 1,
                    _ => {}
                }
                self.tell(event);
                if about_table {
                    self.tell_of_program();
                }
            }
            Message::Counted { own, theirs, wanted } => self.counted(own, theirs, wanted),
            Message::PeerKeyRead(settings, read) => self.peer_key_read(settings, read),
            Message::Vrrp(news) => self.hear_routers(news),
            Message::RoutersHold(addresses) => self.routers_hold(addresses),
            Message::Noted(level, text) => self.note(EventKind::Vrrp, level, text),
            Message::ProgramExamined(examined) => self.program_examined(examined),
            Message::StateWritten(written) => self.state_written(written),
            Message::Reloaded(outcome) => self.reloaded(outcome),
            Message::Rehearse(rehearse) => self.rehearse(rehearse),
            Message::FilesStirred => self.look_at_files(),
            Message::FilesChanged => {
                info!("the configuration's files have changed (on_change)");
                self.reload(None, false);
            }
        }
    }
}
