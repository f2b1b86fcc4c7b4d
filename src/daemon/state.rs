//! What this daemon knows of its servers and pools, kept for the one after it: a file beside the record.
//!
//! Written whole and renamed into place, beside the loop: soon after a verdict, no more often than once a second and no
//! longer than a twentieth of the time, and now and then while nothing happens, so that its age is known. Ages are told
//! by the clock that counts from the host's start, which nobody can set. A file that cannot be followed is said once and
//! left out of account: then servers stay as they are found until their own first verdicts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::kept;
use super::record::Record;
use crate::model::{Instant, Snapshot, UnixTime};
use crate::net::namespace::NamespaceId;

const NAME: &str = "state.json";

/// The form that is written; an older program refuses a newer one.
const SCHEMA: u32 = 1;

/// How old a file may be to be followed. Later than that, what was found in the kernel's table says no less.
const OLDEST: Duration = Duration::from_secs(3600);

/// How often a running daemon renews the file although nothing has happened.
const RENEWED: Duration = Duration::from_secs(300);

/// What has happened is gathered for so long at least.
const GATHERED: Duration = Duration::from_secs(1);

/// How many times longer than it took to write the last one the pause before the next one is.
const REST: u32 = 20;

/// After how long a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Why a file is not followed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Torn, or something else altogether.
    #[error("it is no state of ipvsd, or not all of it: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Of another program.
    #[error("it has schema {found}, and this ipvsd knows schema {SCHEMA}")]
    Schema {
        /// What it has.
        found: u32,
    },
    /// By a clock that has since gone back.
    #[error("it was written {} s from now", ahead.as_secs())]
    FromTheFuture {
        /// How far.
        ahead: Duration,
    },
    /// Nobody has renewed it.
    #[error("it was written {} s ago, and what is older than {} s is no longer followed", age.as_secs(), OLDEST.as_secs())]
    TooOld {
        /// How old it is.
        age: Duration,
    },
}

/// What is read first, so that a file of another schema is known for that, whatever else is in it.
#[derive(Deserialize)]
struct Head {
    schema: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "schema")]
    _schema: u32,
    /// Which version of ipvsd wrote it, for people.
    #[serde(rename = "program")]
    _program: String,
    namespace: NamespaceId,
    /// When, for people.
    #[serde(rename = "written")]
    _written: UnixTime,
    /// When: milliseconds since the host's start.
    uptime_ms: u64,
    state: Snapshot,
}

#[derive(Serialize)]
struct Draft<'a> {
    schema: u32,
    program: &'a str,
    namespace: &'a NamespaceId,
    written: UnixTime,
    uptime_ms: u64,
    state: &'a Snapshot,
}

/// The state in the text of its file, and how old it is, given how long the host is up; `None` where it is one of
/// another namespace or from before the host's start.
///
/// # Errors
/// [`StateError`].
pub fn parse(
    text: &[u8],
    namespace: &NamespaceId,
    uptime: Duration,
) -> Result<Option<(Snapshot, Duration)>, StateError> {
    let Head { schema } = serde_json::from_slice(text)?;
    if schema != SCHEMA {
        return Err(StateError::Schema { found: schema });
    }
    let file: File = serde_json::from_slice(text)?;
    if file.namespace != *namespace {
        return Ok(None);
    }
    let written = Duration::from_millis(file.uptime_ms);
    let Some(age) = uptime.checked_sub(written) else {
        let ahead = written.saturating_sub(uptime);
        return Err(StateError::FromTheFuture { ahead });
    };
    match age > OLDEST {
        true => Err(StateError::TooOld { age }),
        false => Ok(Some((file.state, age))),
    }
}

/// How long the host is up, its sleep included, in whole milliseconds.
fn uptime() -> Duration {
    let clock = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    Duration::from_millis(u64::try_from(clock.unwrap_or_default().as_millis()).unwrap_or(u64::MAX))
}

/// When it was so, what is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    time: UnixTime,
    uptime: Duration,
}

impl Moment {
    /// This one; `time` by the calendar.
    pub(super) fn now(time: UnixTime) -> Self {
        let uptime = uptime();
        Self { time, uptime }
    }
}

/// The file of one network namespace.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    namespace: NamespaceId,
    /// When what is in the file was so; two are never written at a time, and no older one after a newer one.
    written: Mutex<Duration>,
}

impl StateFile {
    pub(super) fn beside(record: &Record) -> Self {
        Self {
            path: record.beside(NAME),
            namespace: record.namespace().clone(),
            written: Mutex::default(),
        }
    }

    /// Reads the file; `None` where there is none that is meant for this namespace. One of a newer ipvsd is put aside,
    /// for that one to find.
    pub(super) fn load(&self) -> anyhow::Result<Option<(Snapshot, Duration)>> {
        let shown = self.path.display();
        let ignored = || {
            format!("cannot follow {shown}: servers stay as they are in the kernel's table until their first verdicts")
        };
        let Some(text) = kept::read(&self.path).with_context(ignored)? else {
            return Ok(None);
        };
        match parse(&text, &self.namespace, uptime()) {
            Err(StateError::Schema { found }) if found > SCHEMA => {
                let aside = self.path.with_extension(format!("schema-{found}.json"));
                let kept = match std::fs::rename(&self.path, &aside) {
                    Ok(()) => format!("it is kept as {}", aside.display()),
                    Err(problem) => format!("it cannot be put aside ({problem}) and will be written over"),
                };
                let problem = StateError::Schema { found };
                Err(problem)
                    .with_context(|| format!("a newer ipvsd has run here; {kept}"))
                    .with_context(ignored)
            }
            other => other.with_context(ignored),
        }
    }

    /// Writes the file, all or nothing, unless a newer state is in it already.
    pub(super) fn save(&self, snapshot: &Snapshot, moment: Moment) -> anyhow::Result<()> {
        // Nothing that holds it can panic half way.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written > moment.uptime {
            return Ok(());
        }
        let draft = Draft {
            schema: SCHEMA,
            program: env!("CARGO_PKG_VERSION"),
            namespace: &self.namespace,
            written: moment.time,
            uptime_ms: u64::try_from(moment.uptime.as_millis()).unwrap_or(u64::MAX),
            state: snapshot,
        };
        kept::write(&self.path, &serde_json::to_vec(&draft)?)?;
        *written = moment.uptime;
        Ok(())
    }
}

/// When the file is written next.
#[derive(Debug)]
pub(super) struct Pace {
    /// The director's revision that was written last.
    revision: Option<u64>,
    at: Instant,
    pause: Duration,
    writing: bool,
    failed: bool,
}

/// How a write has ended that was not the first of its kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It fails now.
    Fails,
    /// It succeeds again.
    Succeeds,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            revision: None,
            at: Instant::START,
            pause: Duration::ZERO,
            writing: false,
            failed: false,
        }
    }

    /// When something is to be written, given the director's revision; `None` while something is.
    pub(super) fn next(&self, revision: u64) -> Option<Instant> {
        let pause = match self.revision == Some(revision) && !self.failed {
            true => RENEWED,
            false => self.pause,
        };
        (!self.writing).then_some(self.at + pause)
    }

    pub(super) fn begin(&mut self, revision: u64, now: Instant) {
        self.revision = Some(revision);
        self.at = now;
        self.writing = true;
    }

    /// Takes in how a write ended; answers with what is to be told.
    pub(super) fn end(&mut self, success: bool, now: Instant) -> Option<News> {
        self.writing = false;
        self.pause = match success {
            true => GATHERED.max(now.since(self.at).saturating_mul(REST)),
            false => AGAIN,
        };
        match (std::mem::replace(&mut self.failed, !success), success) {
            (false, false) => Some(News::Fails),
            (true, true) => Some(News::Succeeds),
            (false, true) | (true, false) => None,
        }
    }
}

/// The file, shared with those who write it beside the loop.
pub(super) type Shared = Arc<StateFile>;

#[cfg(test)]
mod tests;
