//! What the director wants done: each action is given to whoever carries it out.

use sd_notify::NotifyState;
use tracing::{debug, error, info};

use super::{Message, Shell};
use crate::daemon::service_manager::notify;
use crate::daemon::{memory, report};
use crate::model::{Action, Event, StepOutcome, Transition};
use crate::{checkers, process};

impl Shell {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::StartProbe {
                probe,
                spec,
                target,
                timeout,
            } if checkers::Connects::takes(&spec) => self.connects.start(probe, target, timeout),
            Action::StartProbe {
                probe,
                spec,
                target,
                timeout,
            } => self.later(async move {
                let result = checkers::probe(&spec, target, timeout).await;
                Event::ProbeFinished { probe, result }
            }),
            Action::OpenHold {
                hold,
                spec,
                target,
                timeout,
            } => {
                let sender = self.sender.clone();
                let task = tokio::spawn(async move {
                    let end = checkers::hold(&spec, target, timeout).await;
                    let _ = sender.send(Message::Event(Event::HoldEnded { hold, end }));
                });
                self.holds.insert(hold, task.abort_handle());
            }
            Action::CloseHold(hold) => {
                if let Some(task) = self.holds.remove(&hold) {
                    task.abort();
                }
            }
            Action::ReadTable { details, known } => {
                let read = self.kernel.read_table(details, known);
                self.later(async move {
                    match read.await {
                        Ok(Some(table)) => Event::TableRead(table),
                        Ok(None) => Event::TableUnchanged,
                        Err(error) => Event::TableReadFailed(format!("cannot read the kernel's table: {error}")),
                    }
                });
            }
            Action::ApplySteps(steps) if self.options.observe => {
                self.batches += 1;
                for step in &steps {
                    info!("would {step}");
                }
                let done = steps
                    .into_iter()
                    .map(|step| StepOutcome { step, result: Ok(()) })
                    .collect();
                self.later(std::future::ready(Event::StepsApplied(done)));
            }
            Action::ApplySteps(steps) => {
                self.batches += 1;
                for step in &steps {
                    debug!("writing: {step}");
                }
                let kernel = self.kernel.clone();
                self.later(async move { Event::StepsApplied(kernel.apply(steps).await) });
            }
            Action::RecordOwned(owned) => {
                if let Err(problem) = self.record.save(&owned) {
                    error!("{problem:#}");
                }
            }
            Action::HoldAddresses { hold, release } => {
                self.orders.send_replace((hold, release));
            }
            Action::RunCommand {
                subject,
                command,
                environment,
            } => match self.options.observe {
                true => info!("{subject}: would run {}", command.argv.join(" ")),
                false => self.commands.run(subject, command, environment),
            },
            Action::FindProcesses { names } => self.later(async move {
                let found = tokio::task::spawn_blocking(move || process::running(names)).await;
                Event::ProcessesFound(found.unwrap_or_default())
            }),
            Action::Report(transition) => {
                report::report(&transition);
                if let Transition::QuorumChanged { virtual_server, .. }
                | Transition::TierChanged { virtual_server, .. } = &transition
                {
                    self.tell_of_pools(|name| name == virtual_server);
                }
                self.announce(&transition);
            }
            Action::AnnounceReady => {
                info!("ready: the kernel's table is as the configuration wants it");
                self.ready = true;
                notify(&[NotifyState::Ready]);
                self.tell_of_upgrade();
                memory::give_back();
            }
        }
    }

    /// Runs something beside the loop; what it comes to is an event.
    fn later(&self, work: impl Future<Output = Event> + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let _ = sender.send(Message::Event(work.await));
        });
    }
}
