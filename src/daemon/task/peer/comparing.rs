//! What the two directors are configured to do, side by side.

use std::sync::Arc;

use tracing::{info, warn};

use super::super::Shell;
use super::remedy_for_unknown;
use crate::model::Picture;
use crate::model::control::{EventKind, Level};
use crate::peer::message::LONGEST;
use crate::peer::{self, Incomparable};

/// How many differences one line names.
const SHOWN: usize = 5;

impl Shell {
    /// The configuration that counts is another one.
    pub(in crate::daemon::task) fn picture_changed(&mut self) {
        if self.peer.link.is_none() {
            return;
        }
        let picture = peer::picture(self.director.config());
        if *self.peer.own_picture == picture {
            return;
        }
        self.peer.own_picture = Arc::new(picture);
        self.tell_picture();
        self.compare_pictures();
    }

    pub(super) fn tell_picture(&mut self) {
        let number = self.peer.next_number();
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| told.picture = (number, Arc::clone(&self.peer.own_picture)));
        }
    }

    /// What the other one is configured to do, or why that is not known.
    pub(super) fn hear_picture(&mut self, heard: Result<Picture, Incomparable>) {
        match heard {
            Ok(picture) => {
                self.peer.their_picture = Some(picture);
                self.peer.incomparable = None;
            }
            Err(why) => {
                self.peer.their_picture = None;
                self.peer.differences.lost();
                if self.peer.incomparable.replace(why).is_none()
                    && let Some(text) = self.why_not_compared()
                {
                    warn!("{text}");
                    self.note(EventKind::Peer, Level::Warning, text);
                }
            }
        }
        self.compare_pictures();
    }

    /// Why the two cannot be compared, where there is a reason that stays.
    pub(super) fn why_not_compared(&self) -> Option<String> {
        let remedy = "compare the two by hand; `ipvsd config` prints each";
        Some(match self.peer.incomparable? {
            Incomparable::TooLong(bytes) => format!(
                "the two directors are not compared: the other one's configuration is too long to be told, {bytes} bytes of \
                 at most {LONGEST} ({remedy})"
            ),
            Incomparable::Unknown => format!(
                "the two directors are not compared: the other one, ipvsd {}, tells its configuration in a form that this \
                 one does not know ({})",
                self.peer.program,
                remedy_for_unknown(&self.peer.program)
            ),
        })
    }

    fn compare_pictures(&mut self) {
        if let Some(theirs) = &self.peer.their_picture
            && self.peer.connected
        {
            let found = peer::compare(&self.peer.own_picture, theirs);
            let now = self.now();
            self.peer.differences.compared(found, now);
        }
        self.speak_of_differences();
    }

    pub(super) fn speak_of_differences(&mut self) {
        let spoken = self.peer.differences.speak(self.now());
        if spoken.is_nothing() {
            return;
        }
        let list = |differences: &[crate::model::Difference]| {
            let shown: Vec<_> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
            let more = match differences.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            format!("{}{more}", shown.join("; "))
        };
        if !spoken.began.is_empty() {
            let text = format!(
                "the two directors differ (`ipvsd peer status` lists it): {}",
                list(&spoken.began)
            );
            warn!("{text}");
            self.note(EventKind::Peer, Level::Warning, text);
        }
        if !spoken.ended.is_empty() {
            let rest = if spoken.agree {
                ", and agree in everything now"
            } else {
                ""
            };
            let text = format!(
                "the two directors no longer differ in this{rest}: {}",
                list(&spoken.ended)
            );
            info!("{text}");
            self.note(EventKind::Peer, Level::Info, text);
        }
    }
}
