//! What a reload would do now: the files and the table are read, the director rehearses, and nothing is taken over.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::reload::refusal;
use super::{Message, Shell};
use crate::control::Answer;
use crate::daemon::files::{self, Loaded};
use crate::director;
use crate::model::Table;
use crate::model::control::{Plan, Refused, Reply, SCHEMA, Trouble};

/// What was read to see what a reload would do, and who asks.
pub(super) struct Rehearse {
    loaded: Box<Loaded>,
    table: Table,
    /// The first file, by its whole path.
    file: String,
    answer: oneshot::Sender<Answer>,
}

impl Shell {
    /// Reads the files and the table beside the loop, for [`Shell::rehearse`].
    pub(super) fn plan(&self, answer: oneshot::Sender<Answer>) {
        let (path, kernel, sender) = (self.options.config.clone(), self.kernel.clone(), self.sender.clone());
        let details = self.director.read_in_full();
        tokio::spawn(async move {
            let read = spawn_blocking(move || {
                let file = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
                (files::load(&path), file.display().to_string())
            });
            let refused = match read.await {
                Ok((Ok(loaded), file)) => {
                    let details: BTreeSet<_> = &*details | &director::services_with_thresholds(&loaded.config);
                    // Nothing is known of it, so it is told whole.
                    match kernel
                        .read_table(Arc::new(details), None)
                        .await
                        .map(Option::unwrap_or_default)
                    {
                        Ok(table) => {
                            let loaded = Box::new(loaded);
                            let _ = sender.send(Message::Rehearse(Rehearse {
                                loaded,
                                table,
                                file,
                                answer,
                            }));
                            return;
                        }
                        Err(error) => Refused::new(Trouble::Busy, format!("cannot read the kernel's table: {error}")),
                    }
                }
                Ok((Err(bad), _)) => refusal(&bad),
                Err(ended) => Refused::new(Trouble::Busy, format!("reading the files ended early: {ended}")),
            };
            // A caller that has gone wants no answer.
            let _ = answer.send(Answer::One(Box::new(Reply::Refused(refused))));
        });
    }

    /// Answers with what a reload would do.
    pub(super) fn rehearse(&self, rehearse: Rehearse) {
        let Rehearse {
            loaded,
            table,
            file,
            answer,
        } = rehearse;
        let mut warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        if let Some(overreach) = director::overreach(&self.reloads.config, &loaded.config) {
            warnings.push(format!("a reload would be refused: {}", overreach.message));
        }
        if self.director.paused_until().is_some() {
            warnings.push("writing is paused: it would be done once that is over (`ipvsd resume`)".to_owned());
        }
        let (config, orders, unfit) = self.after_reload(&Arc::new(loaded.config));
        warnings.extend(unfit);
        let rehearsal = self.director.rehearse(config, orders, &table, self.now());
        let plan = Plan {
            schema: SCHEMA,
            configuration: file,
            daemon: true,
            steps: rehearsal.steps.iter().map(ToString::to_string).collect(),
            put: rehearsal.put.into_iter().collect(),
            take: rehearsal.take.into_iter().collect(),
            waiting: rehearsal.waiting,
            warnings,
        };
        // A caller that has gone wants no answer.
        let _ = answer.send(Answer::One(Box::new(Reply::Plan(plan))));
    }
}
