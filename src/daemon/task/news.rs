//! What has happened goes to the journal, to whoever is notified, and to the commands of virtual routers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::info;

use super::Shell;
use crate::daemon::control;
use crate::director;
use crate::model::control::{EventKind, EventRecord};
use crate::model::{Command, ServerState, Subject, Transition, VrrpNotify, VrrpState, VrrpSyncGroup, notified_state};
use crate::notify::lines;

impl Shell {
    /// Whom to tell from now on; whoever only watches tells nobody.
    pub(super) fn configure_notifier(&mut self, config: &crate::model::Config) {
        if !self.options.observe {
            self.notifier.configure(&config.notify);
        }
    }

    /// Puts an event down and tells of it.
    pub(super) fn put_down(&self, record: EventRecord) {
        let event = self.journal.push(record);
        if is_news(&event) {
            self.notifier.tell(&event);
        }
    }

    /// A change that the director has reported.
    pub(super) fn announce(&self, transition: &Transition) {
        self.notifier
            .tell_lines(|| lines::of_pool(transition, &self.reloads.config));
        self.put_down(director::event_of(transition, control::unix_time()));
    }

    /// A virtual router is something else: its line, and its commands.
    pub(super) fn announce_router(&mut self, name: &str, state: VrrpState, priority: u8, reason: &str) {
        self.notifier.tell_lines(|| [lines::instance(name, state, priority)]);
        let notify = match state {
            // One that has ended may have left the configuration already.
            VrrpState::Initialize => self.routers.notify.remove(name),
            VrrpState::Backup | VrrpState::Master | VrrpState::Fault => self.routers.notify.get(name).cloned(),
        };
        if let Some(current) = self.reloads.config.vrrp_notify.get(name) {
            self.routers.notify.insert(name.to_owned(), current.clone());
        }
        if let Some(notify) = notify {
            let subject = Subject::VirtualRouter(name.to_owned());
            self.run_commands(&notify, subject, "INSTANCE", name, (state, priority), Some(reason));
        }
    }

    /// A sync group is something else. It brings its commands: it may have left the configuration already.
    pub(super) fn announce_group(&self, group: &VrrpSyncGroup, state: VrrpState) {
        let name = &group.name;
        self.notifier.tell_lines(|| [lines::group(name, state)]);
        let subject = Subject::SyncGroup(name.clone());
        self.run_commands(&group.notify, subject, "GROUP", name, (state, 0), None);
    }

    fn run_commands(
        &self,
        notify: &VrrpNotify,
        subject: Subject,
        kind: &str,
        name: &str,
        (state, priority): (VrrpState, u8),
        reason: Option<&str>,
    ) {
        let word = notified_state(state);
        let mut environment = BTreeMap::from([
            ("IPVSD_EVENT", format!("vrrp_{}", word.to_lowercase())),
            ("IPVSD_TYPE", kind.to_owned()),
            ("IPVSD_NAME", name.to_owned()),
            ("IPVSD_STATE", word.to_owned()),
            ("IPVSD_PRIORITY", priority.to_string()),
        ]);
        environment.extend(reason.map(|reason| ("IPVSD_REASON", reason.to_owned())));
        let any = notify.any.as_ref().map(|command| {
            let mut argv = command.argv.clone();
            argv.extend([kind, name, word, &priority.to_string()].map(str::to_owned));
            Arc::new(Command {
                argv,
                ..Command::clone(command)
            })
        });
        for command in notify.of(state).cloned().into_iter().chain(any) {
            match self.options.observe {
                true => info!("{subject}: would run {}", command.argv.join(" ")),
                false => self.commands.run(subject.clone(), command, environment.clone()),
            }
        }
    }
}

/// A server's first success after a start is no news, as with commands.
fn is_news(event: &EventRecord) -> bool {
    let [unknown, up] = [ServerState::Unknown, ServerState::Up].map(|state| state.to_string());
    event.kind != EventKind::Server || event.from != Some(unknown) || event.to != Some(up)
}
