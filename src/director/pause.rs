//! Nothing is written to the kernel's table for some time, because an operator works on it. Probes go on, and it is said
//! every minute, for in the meantime servers that fail stay in.

use std::time::Duration;

use super::Director;
use crate::model::{Action, Instant, Transition};

/// How often it is said.
const WORD_EVERY: Duration = Duration::from_secs(60);

/// A pause of writing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    began: Instant,
    until: Instant,
    /// When it is said next.
    word: Instant,
}

impl Pause {
    /// When something has to be done about it.
    pub(super) fn next(&self) -> Instant {
        self.until.min(self.word)
    }
}

impl Director {
    /// When writing goes on; `None` where it is not paused.
    pub fn paused_until(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.until)
    }

    /// Writes nothing for so long from now on, whatever was said before.
    pub(super) fn pause(&mut self, duration: Duration, now: Instant, actions: &mut Vec<Action>) {
        let began = self.pause.map_or(now, |pause| pause.began);
        self.pause = Some(Pause {
            began,
            until: now + duration,
            word: now + WORD_EVERY,
        });
        actions.push(Action::Report(Transition::WritesPaused { left: duration }));
    }

    /// Writes again; the table is read first, for somebody has worked on it.
    pub(super) fn resume(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(pause) = self.pause.take() else { return };
        actions.push(Action::Report(Transition::WritesResumed {
            lasted: now.since(pause.began),
        }));
        // What differs now was wanted by whoever asked for the pause: it is put right, and no drift.
        self.uncertain = true;
        self.compare_all = true;
        self.next_read = Some(now);
        self.read_if_due(now, actions);
    }

    /// Says that it lasts, and ends it in time.
    pub(super) fn mind_pause(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(pause) = &mut self.pause else { return };
        if pause.until <= now {
            self.resume(now, actions);
        } else if pause.word <= now {
            pause.word = now + WORD_EVERY;
            let left = pause.until.since(now);
            actions.push(Action::Report(Transition::WritesPaused { left }));
        }
    }
}
