//! Who is told of what happens: commands of virtual routers, keepalived's FIFO, webhooks, mail.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::control::EventKind;
use super::{Command, Secret, Trust, VrrpState};

/// The commands of one virtual router or one sync group; each may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VrrpNotify {
    /// Run when it becomes master.
    pub master: Option<Arc<Command>>,
    /// Run when it becomes backup.
    pub backup: Option<Arc<Command>>,
    /// Run when it can no longer be master.
    pub fault: Option<Arc<Command>>,
    /// Run when it ends.
    pub stop: Option<Arc<Command>>,
    /// Run each time, after the one above, with what and which it is, its state and its priority as further arguments.
    pub any: Option<Arc<Command>>,
}

impl VrrpNotify {
    /// The command for this state, beside [`VrrpNotify::any`].
    pub fn of(&self, state: VrrpState) -> Option<&Arc<Command>> {
        match state {
            VrrpState::Master => self.master.as_ref(),
            VrrpState::Backup => self.backup.as_ref(),
            VrrpState::Fault => self.fault.as_ref(),
            VrrpState::Initialize => self.stop.as_ref(),
        }
    }
}

/// What a state is called in commands and lines of the FIFO, as keepalived has it.
pub fn notified_state(state: VrrpState) -> &'static str {
    match state {
        VrrpState::Master => "MASTER",
        VrrpState::Backup => "BACKUP",
        VrrpState::Fault => "FAULT",
        VrrpState::Initialize => "STOP",
    }
}

/// Who is told, beside commands and whoever follows the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifySettings {
    /// A named pipe that gets a line for every change, in keepalived's words.
    pub fifo: Option<PathBuf>,
    /// HTTP servers that get every event as JSON.
    pub webhooks: Vec<Arc<Webhook>>,
    /// Somebody who gets mail.
    pub mail: Option<Arc<Mail>>,
}

impl NotifySettings {
    /// What is told of where nothing is said.
    pub const USUAL: [EventKind; 3] = [EventKind::Server, EventKind::Tier, EventKind::Vrrp];
}

/// How hard it is tried to tell something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How many more attempts there are after one that has failed.
    pub retries: u32,
    /// How long the first of them waits; each further one waits twice as long, up to a minute.
    pub retry_interval: Duration,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            retries: 3,
            retry_interval: Duration::from_secs(2),
        }
    }
}

impl Delivery {
    /// How long to wait after the attempt of this number, counted from 0, has failed; `None` where it was the last one.
    pub fn wait_after(&self, attempt: u32) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_secs(60);
        let doubled = self.retry_interval.saturating_mul(1 << attempt.min(16));
        (attempt < self.retries).then(|| doubled.min(LONGEST.max(self.retry_interval)))
    }
}

/// An HTTP server that gets every event as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// It is asked over TLS.
    pub tls: bool,
    /// Its name or address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is posted to, from the slash on.
    pub path: String,
    /// Further headers of the request.
    pub headers: Vec<(String, String)>,
    /// Whose certificates are good.
    pub trust: Trust,
    /// What it is told of.
    pub kinds: Vec<EventKind>,
    /// How hard it is tried.
    pub delivery: Delivery,
}

/// How a mail server is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS is required after a beginning in clear text (`STARTTLS`).
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// In clear text.
    Off,
}

/// Somebody who gets mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The mail server's name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Over TLS or not.
    pub tls: MailTls,
    /// Whose certificates are good.
    pub trust: Trust,
    /// Who logs in.
    pub login: Option<(String, Secret)>,
    /// What this host calls itself.
    pub helo: Option<String>,
    /// The sender.
    pub from: String,
    /// The recipients; at least one.
    pub to: Vec<String>,
    /// What happens so soon after an event is told in the same mail.
    pub gather: Duration,
    /// What is told of.
    pub kinds: Vec<EventKind>,
    /// How hard it is tried.
    pub delivery: Delivery,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_wait_ever_longer_and_end() {
        let delivery = |retries, millis| Delivery {
            retries,
            retry_interval: Duration::from_millis(millis),
            ..Delivery::default()
        };
        let waits = |delivery: Delivery| {
            (0..)
                .map_while(|attempt| delivery.wait_after(attempt))
                .map(|wait| wait.as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(delivery(0, 2000)), []);
        assert_eq!(waits(delivery(3, 2000)), [2000, 4000, 8000]);
        assert_eq!(waits(delivery(3, 40_000)), [40_000, 60_000, 60_000]);
        assert_eq!(waits(delivery(2, 90_000)), [90_000, 90_000]);
        assert_eq!(waits(delivery(20, 1)).len(), 20);
    }
}
