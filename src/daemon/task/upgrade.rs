//! `ipvsd upgrade`: another program takes this one's place, once nothing is half done.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::{Message, Shell};
use crate::control::Answer;
use crate::daemon::service_manager::notify;
use crate::daemon::{handover, upgrade};
use crate::model::Instant;
use crate::model::control::{EventKind, Level, Refused, Reply, SCHEMA, Trouble, Upgraded};
use crate::process;

/// How long what is under way may take: a batch of changes, the user's commands, a reload.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long whoever is told of what happens may take for what he has not been told by then.
const NEWS: Duration = Duration::from_secs(4);

/// How often it is looked whether that has ended.
const AGAIN: Duration = Duration::from_millis(20);

/// An upgrade that was asked for.
pub(super) struct Upgrade {
    answer: oneshot::Sender<Answer>,
    connection: Option<OwnedFd>,
    /// The other program's version, once it was found good.
    version: Option<String>,
    since: Instant,
    /// Since when everybody is told what was still to be told.
    telling: Option<Instant>,
}

impl Shell {
    /// Has the program on disk looked at, and takes it for this one if it is good.
    pub(super) fn upgrade(&mut self, answer: oneshot::Sender<Answer>, connection: Option<OwnedFd>) {
        let Some(program) = self.program.clone().filter(|_| self.upgrade.is_none()) else {
            let message = match self.upgrade {
                Some(_) => "an upgrade is under way already",
                None => "it is not known from which file this ipvsd was started (restart it instead)",
            };
            let refused = Reply::Refused(Refused::new(Trouble::Busy, message));
            let _ = answer.send(Answer::One(Box::new(refused)));
            return;
        };
        self.upgrade = Some(Upgrade {
            answer,
            connection,
            version: None,
            since: self.now(),
            telling: None,
        });
        let (config, sender) = (self.options.config.clone(), self.sender.clone());
        tokio::spawn(async move {
            let examined = upgrade::examine(&program, &config).await;
            let _ = sender.send(Message::ProgramExamined(examined));
        });
    }

    pub(super) fn program_examined(&mut self, examined: Result<String, Box<Refused>>) {
        match (examined, &mut self.upgrade) {
            (Ok(version), Some(upgrade)) => {
                upgrade.version = Some(version);
                self.go_on_upgrading();
            }
            (Err(refused), _) => self.give_up_upgrading(*refused),
            (Ok(_), None) => {}
        }
    }

    /// When an upgrade that waits is to be tried again.
    pub(super) fn next_upgrade(&self) -> Option<Instant> {
        let waits = self.upgrade.as_ref().is_some_and(|upgrade| upgrade.version.is_some());
        waits.then(|| self.now() + AGAIN)
    }

    /// Puts the other program in this one's place, if one was found good and nothing is half done.
    pub(super) fn go_on_upgrading(&mut self) {
        let Some(Upgrade {
            version: Some(version),
            since,
            ..
        }) = &self.upgrade
        else {
            return;
        };
        let (version, waited) = (version.clone(), self.now().since(*since));
        let under_way = [
            (self.batches > 0, "the kernel's table is being written"),
            (!self.commands.is_idle(), "commands of the configuration run"),
            (self.reloads.are_under_way(), "the configuration is being read"),
        ];
        if let Some((_, what)) = under_way.into_iter().find(|(is, _)| *is) {
            if waited > PATIENCE {
                let message = format!(
                    "{what} for {} s now; the running ipvsd goes on (try again)",
                    PATIENCE.as_secs()
                );
                self.give_up_upgrading(Refused::new(Trouble::Busy, message));
            }
            return;
        }
        if !self.has_told_enough() {
            return;
        }
        let has_wishes = self.wishlist.wishes().next().is_some() || !self.peer.words.is_empty();
        let kept = match has_wishes {
            true => self.save_wishes(),
            false => Ok(()),
        };
        if let Err(problem) = kept.and_then(|()| self.save_state()) {
            let message =
                format!("what is known of the servers cannot be handed over, so this ipvsd goes on: {problem:#}");
            return self.give_up_upgrading(Refused::new(Trouble::BadProgram, message));
        }
        let Some(program) = self.program.clone() else { return };
        info!("ipvsd {version} in {} takes over", program.display());
        match NotifyState::monotonic_usec_now() {
            Ok(at) => notify(&[NotifyState::Reloading, at]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        for untold in self.notifier.untold() {
            let limit = NEWS.as_secs();
            warn!("not told in {limit} s, and not known to the new program: {untold}");
        }
        let nobody = process::end_all();
        if nobody.left > 0 {
            warn!("programs that were killed and have not ended: {}", nobody.left);
        }
        self.keep_spoken();
        let connection = self.upgrade.as_ref().and_then(|upgrade| upgrade.connection.as_ref());
        let problem = handover::exec(
            &program,
            handover::Left {
                instance: self.instance.as_ref().map(AsFd::as_fd),
                control: self.socket.as_ref().map(AsFd::as_fd),
                caller: connection.map(AsFd::as_fd),
            },
        );
        drop(nobody);
        if self.ready {
            notify(&[NotifyState::Ready]);
        }
        let message = format!("{problem:#}; the running ipvsd goes on");
        self.give_up_upgrading(Refused::new(Trouble::BadProgram, message));
    }

    /// Has everybody told what is still to be told; whether that is done, or has had its time.
    fn has_told_enough(&mut self) -> bool {
        let now = self.now();
        let Some(upgrade) = &mut self.upgrade else { return true };
        let since = *upgrade.telling.get_or_insert_with(|| {
            self.notifier.call_the_last();
            now
        });
        now.since(since) >= NEWS || self.notifier.untold().is_empty()
    }

    fn give_up_upgrading(&mut self, refused: Refused) {
        let Some(upgrade) = self.upgrade.take() else { return };
        self.notifier.take_back_the_call();
        error!("no upgrade: {}", refused.message);
        let text = format!("no upgrade: {}", refused.message);
        self.note(EventKind::Configuration, Level::Error, text);
        // A caller that has gone wants no answer.
        let _ = upgrade.answer.send(Answer::One(Box::new(Reply::Refused(refused))));
    }

    /// Tells whoever has asked the program before for an upgrade that this one is ready.
    pub(super) fn tell_of_upgrade(&mut self) {
        let Some((from, caller)) = self.upgraded.take() else {
            return;
        };
        let to = env!("CARGO_PKG_VERSION");
        info!("taken over from ipvsd {from}");
        self.note(
            EventKind::Configuration,
            Level::Info,
            format!("ipvsd {from} was upgraded to {to}"),
        );
        let Some(caller) = caller else { return };
        let reply = Reply::Upgraded(Upgraded {
            schema: SCHEMA,
            from,
            to: to.to_owned(),
        });
        let mut stream = UnixStream::from(caller);
        // One line fits into the socket's buffer, whoever reads it.
        if let Err(problem) = stream.write_all(&reply.encode()) {
            warn!("cannot tell the caller that the upgrade is done: {problem}");
        }
    }
}
