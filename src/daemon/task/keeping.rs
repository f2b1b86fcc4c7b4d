//! What is known is kept for the next process: read at the start, written beside the loop and at the end.

use std::sync::Arc;

use tracing::{info, warn};

use super::{Message, Shell};
use crate::daemon::state::{Moment, News};
use crate::daemon::{control, memory};
use crate::model::control::{EventKind, Level};
use crate::model::{Event, Instant};

impl Shell {
    /// What the process before knew.
    pub(super) fn recall_state(&mut self) {
        if self.options.observe {
            return;
        }
        match self.state.load() {
            Ok(Some((snapshot, age))) => {
                let snapshot = Box::new(snapshot);
                self.tell(Event::StateLoaded { snapshot, age });
            }
            Ok(None) => {}
            Err(problem) => {
                warn!("{problem:#}");
                self.note(EventKind::Configuration, Level::Warning, format!("{problem:#}"));
            }
        }
    }

    /// When something is to be written next.
    pub(super) fn next_state(&self) -> Option<Instant> {
        let next = self.state_pace.next(self.director.revision());
        next.filter(|_| !self.options.observe)
    }

    /// Writes down what is known, where it is time.
    pub(super) fn keep_state(&mut self) {
        let now = self.now();
        if self.next_state().is_none_or(|at| at > now) {
            return;
        }
        self.state_pace.begin(self.director.revision(), now);
        let (notes, moment) = (self.director.notes(now), Moment::now(control::unix_time()));
        let (file, sender) = (Arc::clone(&self.state), self.sender.clone());
        tokio::task::spawn_blocking(move || {
            let snapshot = notes.snapshot();
            let written = file.save(&snapshot, moment);
            // The text of ten thousand checks is megabytes that nobody needs until the next time.
            drop(snapshot);
            memory::give_back();
            let _ = sender.send(Message::StateWritten(written));
        });
    }

    pub(super) fn state_written(&mut self, written: anyhow::Result<()>) {
        let news = self.state_pace.end(written.is_ok(), self.now());
        match (news, written) {
            (Some(News::Fails), Err(problem)) => {
                let text = format!("{problem:#}; a restart of ipvsd would not know the states of its servers");
                warn!("{text}");
                self.note(EventKind::Configuration, Level::Warning, text);
            }
            (Some(News::Succeeds), _) => info!("the states of all servers are kept for a restart again"),
            (Some(News::Fails) | None, _) => {}
        }
    }

    /// Writes down what is known, at the end.
    pub(super) fn save_state(&mut self) -> anyhow::Result<()> {
        if self.options.observe {
            return Ok(());
        }
        let snapshot = self.director.snapshot(self.now());
        let saved = self.state.save(&snapshot, Moment::now(control::unix_time()));
        if let Err(problem) = &saved {
            warn!("{problem:#}; the next ipvsd does not know the states of its servers");
        }
        saved
    }
}
