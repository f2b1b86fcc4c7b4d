//! Reading the configuration again: one reload at a time, refused whole or taken over whole, with an answer to everybody
//! who asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{Message, Shell, notify, prepare};
use crate::config::Sources;
use crate::control::Answer;
use crate::daemon::control;
use crate::daemon::files::{self, BadConfig, Loaded, Seen};
use crate::daemon::running::RunningFile;
use crate::director;
use crate::model::control::{EventKind, Level, Refused, RefusedFiles, Reloaded, Reply, SCHEMA, Trouble};
use crate::model::{Config, Event};

/// Those who wait for the outcome of a reload.
type Waiters = Vec<oneshot::Sender<Answer>>;

/// What is known of reloads.
#[derive(Default)]
pub(super) struct Reloads {
    under_way: bool,
    /// Who waits for the one that is under way.
    waiters: Waiters,
    /// Another one was asked for while the files were read.
    again: Option<Wanted>,
    /// The configuration that the files said when they were taken over.
    pub(super) config: Arc<Config>,
    /// The files that are in use.
    pub(super) seen: Arc<Seen>,
    /// The files that were refused since.
    refused: Option<(RefusedFiles, Arc<Seen>)>,
}

/// A reload that is wanted.
#[derive(Default)]
struct Wanted {
    waiters: Waiters,
    force: bool,
}

impl Reloads {
    /// Whether files are being read.
    pub(super) fn are_under_way(&self) -> bool {
        self.under_way
    }

    /// The files that were refused since the running ones were taken over.
    pub(super) fn refused(&self) -> Option<RefusedFiles> {
        self.refused.as_ref().map(|(refused, _)| refused.clone())
    }

    /// The files that were read last, whatever came of it.
    pub(super) fn last_seen(&self) -> Arc<Seen> {
        let refused = self.refused.as_ref().map(|(_, seen)| seen);
        Arc::clone(refused.unwrap_or(&self.seen))
    }
}

/// What a reload has come to.
pub(super) enum Outcome {
    /// The files are good, this host is prepared.
    Good {
        config: Arc<Config>,
        warnings: Vec<String>,
        seen: Seen,
    },
    /// They are not, or take too much away.
    Refused { refused: Refused, seen: Option<Seen> },
}

impl Shell {
    /// Takes in the files that were read before the start.
    pub(super) fn begin(&mut self, mut loaded: Loaded) -> Loaded {
        self.reloads.seen = Arc::new(std::mem::take(&mut loaded.seen));
        if !self.options.observe {
            keep(&self.running, &loaded.sources);
        }
        loaded
    }

    /// Reads the configuration again; whoever asked gets the outcome. One that is under way may have read the files
    /// before they were changed, so another one follows it.
    pub(super) fn reload(&mut self, waiters: impl IntoIterator<Item = oneshot::Sender<Answer>>, force: bool) {
        if self.reloads.under_way {
            let again = self.reloads.again.get_or_insert_default();
            again.waiters.extend(waiters);
            again.force |= force;
            return;
        }
        self.reloads.under_way = true;
        self.reloads.waiters.extend(waiters);
        match NotifyState::monotonic_usec_now() {
            Ok(at) => notify(&[NotifyState::Reloading, at]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        let (path, observe) = (self.options.config.clone(), self.options.observe);
        let (kernel, sender) = (self.kernel.clone(), self.sender.clone());
        let running = (!force).then(|| Arc::clone(&self.reloads.config));
        let file = (!observe).then(|| self.running.clone());
        // Beside the loop: the netlink thread may be busy for seconds, and probes and the watchdog do not wait for it.
        tokio::spawn(async move {
            let outcome = match spawn_blocking(move || read(&path, running.as_deref())).await {
                Ok(Ok(loaded)) => {
                    let Loaded {
                        config,
                        warnings,
                        seen,
                        sources,
                    } = loaded;
                    let kept = spawn_blocking(move || file.map(|file| keep(&file, &sources)));
                    let config = prepare(config, &warnings, &kernel, observe).await;
                    // It has said what went wrong.
                    let _ = kept.await;
                    let warnings = warnings.iter().map(ToString::to_string).collect();
                    Outcome::Good { config, warnings, seen }
                }
                Ok(Err(refusal)) => {
                    let (refused, seen) = *refusal;
                    Outcome::Refused {
                        refused,
                        seen: Some(seen),
                    }
                }
                Err(ended) => {
                    let message = format!("reading the configuration ended early (a bug; please report it): {ended}");
                    Outcome::Refused {
                        refused: Refused::new(Trouble::BadConfiguration, message),
                        seen: None,
                    }
                }
            };
            let _ = sender.send(Message::Reloaded(outcome));
        });
    }

    /// Takes a reload's outcome over, and tells those who wait for it.
    pub(super) fn reloaded(&mut self, outcome: Outcome) {
        let reply = match outcome {
            Outcome::Good { config, warnings, seen } => {
                let (virtual_servers, real_servers) = (config.virtual_servers.len(), config.real_server_count());
                if let Some(socket) = &self.socket {
                    control::allow(socket, &config.control);
                }
                self.reloads.seen = Arc::new(seen);
                self.reloads.refused = None;
                let now = self.both_nows();
                let passes = self.wishlist.has_what_passes();
                let orders = self.wishlist.pass_reload(&config, &mut self.peer.words, now);
                let passed = passes || !orders.is_empty();
                self.adopt(config);
                for order in orders {
                    self.tell(Event::Operator(order));
                }
                if passed {
                    // It is logged where it fails.
                    let _ = self.save_wishes();
                }
                info!("configuration reloaded");
                let text =
                    format!("configuration reloaded: {virtual_servers} virtual servers, {real_servers} real servers");
                self.note(EventKind::Configuration, Level::Info, text);
                Reply::Reloaded(Reloaded {
                    schema: SCHEMA,
                    virtual_servers,
                    real_servers,
                    warnings,
                })
            }
            Outcome::Refused { refused, seen } => {
                let problems = &refused.problems;
                let refusal = match refused.trouble == Trouble::RemovesTooMuch {
                    true => format!("configuration refused: {}", refused.message),
                    false => "configuration refused, the running one stays".to_owned(),
                };
                error!("{refusal}: {}", problems.join("\n"));
                let text = format!("{refusal}: {}", first_of(problems));
                self.note(EventKind::Configuration, Level::Error, text.clone());
                let time = control::unix_time();
                let seen = seen.map(Arc::new).unwrap_or_else(|| self.reloads.last_seen());
                self.reloads.refused = Some((RefusedFiles { time, why: text }, seen));
                Reply::Refused(refused)
            }
        };
        self.watch_files();
        self.reload_done(&reply);
    }

    /// Watches the directories of the files in use, and of those that were refused since, where the configuration wants
    /// it.
    pub(super) fn watch_files(&self) {
        let directories = match self.reloads.config.reload.on_change {
            true => &self.reloads.seen.directories() | &self.reloads.last_seen().directories(),
            false => BTreeSet::new(),
        };
        self.watched.send_if_modified(|watched| {
            let changes = *watched != directories;
            *watched = directories;
            changes
        });
    }

    /// Reads the files again if they are others than those that were read last.
    pub(super) fn look_at_files(&self) {
        let (seen, sender) = (self.reloads.last_seen(), self.sender.clone());
        spawn_blocking(move || {
            if !seen.is_unchanged() {
                let _ = sender.send(Message::FilesChanged);
            }
        });
    }

    fn reload_done(&mut self, reply: &Reply) {
        self.reloads.under_way = false;
        for waiter in self.reloads.waiters.drain(..) {
            let _ = waiter.send(Answer::One(Box::new(reply.clone())));
        }
        // A reload before the first readiness leaves it to that one.
        if self.ready {
            notify(&[NotifyState::Ready]);
        }
        if let Some(Wanted { waiters, force }) = self.reloads.again.take() {
            self.reload(waiters, force);
        }
    }
}

/// Reads the files. `running`: what must not lose too much.
fn read(path: &std::path::Path, running: Option<&Config>) -> Result<Loaded, Box<(Refused, Seen)>> {
    let loaded = files::load(path).map_err(|bad| Box::new((refusal(&bad), bad.1)))?;
    if let Some(overreach) = running.and_then(|running| director::overreach(running, &loaded.config)) {
        let refused = Refused {
            problems: overreach.gone,
            ..Refused::new(Trouble::RemovesTooMuch, overreach.message)
        };
        return Err(Box::new((refused, loaded.seen)));
    }
    Ok(loaded)
}

/// What is said of files that cannot be used.
pub(super) fn refusal(BadConfig(problems, _): &BadConfig) -> Refused {
    let message = "the configuration cannot be used, the running one stays";
    Refused {
        problems: problems.to_string().lines().map(str::to_owned).collect(),
        ..Refused::new(Trouble::BadConfiguration, message)
    }
}

/// Puts the texts of the files by.
fn keep(file: &RunningFile, sources: &Sources) {
    if let Err(problem) = file.save(sources) {
        warn!("{problem:#}; `ipvsd config` shows an older configuration than the running one");
    }
}

fn first_of(problems: &[String]) -> String {
    match problems {
        [] => String::new(),
        [one] => one.clone(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}
