//! Requests: what may be asked of the running daemon.
//!
//! `{"version":1,"command":"why","server":"192.0.2.11:80"}`: an object with `version`, `command` and the members of that
//! command, none twice and no others. Reading one costs time and memory in proportion to its length, which
//! [`LONGEST_REQUEST`] bounds.

mod wire;

use std::fmt;
use std::time::Duration;

use crate::model::{Lasting, WeightAdvice};

pub use wire::parse_percent;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest request in bytes, its line feed not counted.
pub const LONGEST_REQUEST: usize = 4096;

/// Something that the running daemon is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// All pools, or one of them, with their servers.
    Status {
        /// The virtual server's name; `None` for all.
        virtual_server: Option<String>,
    },
    /// Why a server is in the state it is in.
    Why {
        /// `192.0.2.11:80`, `192.0.2.11`, `web/192.0.2.11:80`.
        server: String,
    },
    /// What has happened, and what happens.
    Events {
        /// At most so many of the past; `None` for all that are kept.
        last: Option<u32>,
        /// Those that come as well, until the caller hangs up.
        follow: bool,
    },
    /// Read the configuration again, and say what came of it.
    Reload {
        /// Also where more would be taken away than `remove_limit` allows.
        force: bool,
    },
    /// What a reload would do now.
    Plan,
    /// Put the program on disk in the daemon's place.
    Upgrade,
    /// A server gets no new connections and keeps those it has.
    Drain {
        /// As in [`Request::Why`].
        server: String,
        /// After so long the connections that are left are given up, as with [`Request::Maint`].
        deadline: Option<Duration>,
        /// How long that holds; with a deadline until it is taken back.
        lasting: Lasting,
    },
    /// A server is taken out of the pool.
    Maint {
        /// As in [`Request::Why`].
        server: String,
        /// How long that holds.
        lasting: Lasting,
    },
    /// The operator has nothing against a server any more.
    Ready {
        /// As in [`Request::Why`].
        server: String,
        /// How long that holds.
        lasting: Lasting,
    },
    /// A server has this weight while it serves.
    Weight {
        /// As in [`Request::Why`].
        server: String,
        /// `None` for what the configuration and the server's checks say.
        weight: Option<WeightAdvice>,
        /// How long that holds.
        lasting: Lasting,
    },
    /// A virtual server has a further real server, beside what its files say.
    Add {
        /// `web/192.0.2.13:80`.
        server: String,
        /// Its weight; 1 unless told.
        weight: Option<u32>,
        /// How long that holds.
        lasting: Lasting,
    },
    /// A virtual server has a real server no more, whatever its files say.
    Remove {
        /// As in [`Request::Why`].
        server: String,
        /// How long that holds.
        lasting: Lasting,
    },
    /// A pool goes back from a backup tier to the best one that can serve.
    Return {
        /// The virtual server's name.
        virtual_server: String,
    },
    /// Nothing is written to the kernel's table for so long.
    Pause {
        /// Whole seconds, at least one and at most a day.
        duration: Duration,
    },
    /// How the link to the other director is, and what differs.
    Peer,
    /// It is written again.
    Resume,
    /// A virtual router hands its addresses over to another director, with its sync group.
    StepDown {
        /// The instance's name.
        vrrp_instance: String,
    },
    /// A pool's destinations are taken out and put in again in the order of their addresses, as a hash scheduler's table
    /// asks for.
    Rebuild {
        /// The virtual server's name.
        virtual_server: String,
    },
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().take(120).flat_map(char::escape_debug).collect::<String>();
        let option = |lasting: Lasting| match lasting {
            Lasting::UntilTakenBack => "",
            Lasting::UntilReload => " --until-reload",
        };
        f.write_str(self.command())?;
        match self {
            Self::Status { virtual_server: None }
            | Self::Events { .. }
            | Self::Reload { force: false }
            | Self::Plan
            | Self::Upgrade
            | Self::Peer
            | Self::Resume => Ok(()),
            Self::Reload { force: true } => f.write_str(" --force"),
            Self::Pause { duration } => write!(f, " {}s", duration.as_secs()),
            Self::Return { virtual_server } | Self::Rebuild { virtual_server } => {
                write!(f, " {}", shown(virtual_server))
            }
            Self::StepDown { vrrp_instance } => write!(f, " {}", shown(vrrp_instance)),
            Self::Status {
                virtual_server: Some(name),
            } => write!(f, " {}", shown(name)),
            Self::Why { server } => write!(f, " {}", shown(server)),
            Self::Maint { server, lasting } | Self::Ready { server, lasting } | Self::Remove { server, lasting } => {
                write!(f, " {}{}", shown(server), option(*lasting))
            }
            Self::Drain {
                server,
                deadline: None,
                lasting,
            } => write!(f, " {}{}", shown(server), option(*lasting)),
            Self::Drain {
                server,
                deadline: Some(deadline),
                lasting: _,
            } => write!(f, " {} --deadline {}s", shown(server), deadline.as_secs()),
            Self::Weight {
                server,
                weight: None,
                lasting: _,
            } => write!(f, " {} auto", shown(server)),
            Self::Weight {
                server,
                weight: Some(weight),
                lasting,
            } => write!(f, " {} {weight}{}", shown(server), option(*lasting)),
            Self::Add {
                server,
                weight: None,
                lasting,
            } => write!(f, " {}{}", shown(server), option(*lasting)),
            Self::Add {
                server,
                weight: Some(weight),
                lasting,
            } => write!(f, " {} --weight {weight}{}", shown(server), option(*lasting)),
        }
    }
}

/// Why a line is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// No JSON, or not of the form.
    #[error("the request cannot be read: {0} (wanted: {{\"version\":1,\"command\":\"status\"}} on one line)")]
    Unreadable(String),
    /// It has no end.
    #[error("the request is longer than {LONGEST_REQUEST} bytes")]
    TooLong,
    /// It is meant for another program.
    #[error(
        "the request is of version {0}, this ipvsd speaks version {VERSION} (use the `ipvsd` of the running daemon)"
    )]
    Version(u64),
    /// No such command.
    #[error(
        "there is no command `{0}` (status, why, events, plan, reload, upgrade, drain, maint, ready, weight, add, remove, return, rebuild, vrrp_step_down, \
         peer, pause, resume)"
    )]
    Command(String),
    /// A member is missing.
    #[error("`{command}` needs `{member}`")]
    Missing {
        /// The command.
        command: &'static str,
        /// The member.
        member: &'static str,
    },
    /// A member that the command does not take.
    #[error("`{command}` takes no `{member}`")]
    Superfluous {
        /// The command.
        command: &'static str,
        /// The member.
        member: &'static str,
    },
    /// A value out of its range.
    #[error("`{member}` must be {wanted}")]
    Value {
        /// The member.
        member: &'static str,
        /// What it may be.
        wanted: &'static str,
    },
}

impl Request {
    /// The word of the command.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Why { .. } => "why",
            Self::Events { .. } => "events",
            Self::Reload { .. } => "reload",
            Self::Plan => "plan",
            Self::Upgrade => "upgrade",
            Self::Drain { .. } => "drain",
            Self::Maint { .. } => "maint",
            Self::Ready { .. } => "ready",
            Self::Weight { .. } => "weight",
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::Return { .. } => "return",
            Self::Rebuild { .. } => "rebuild",
            Self::StepDown { .. } => "vrrp_step_down",
            Self::Pause { .. } => "pause",
            Self::Peer => "peer",
            Self::Resume => "resume",
        }
    }

    /// Whether it changes anything.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Why { .. } | Self::Events { .. } | Self::Plan | Self::Peer => false,
            Self::Reload { .. }
            | Self::Upgrade
            | Self::Drain { .. }
            | Self::Maint { .. }
            | Self::Ready { .. }
            | Self::Weight { .. }
            | Self::Add { .. }
            | Self::Remove { .. }
            | Self::Return { .. }
            | Self::Rebuild { .. }
            | Self::StepDown { .. }
            | Self::Pause { .. }
            | Self::Resume => true,
        }
    }
}

#[cfg(test)]
mod tests;
