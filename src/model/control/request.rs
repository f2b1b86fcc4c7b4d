//! Requests: what may be asked of the running daemon.
//!
//! `{"version":1,"command":"why","server":"192.0.2.11:80"}`: an object with `version`, `command` and the members of that
//! command, none twice and no others. Reading one costs time and memory in proportion to its length, which
//! [`LONGEST_REQUEST`] bounds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Lasting, WeightAdvice};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest request in bytes, its line feed not counted.
pub const LONGEST_REQUEST: usize = 4096;

/// The largest weight that the kernel takes (`net/netfilter/ipvs/ip_vs_ctl.c` keeps it in a signed number).
const LARGEST_WEIGHT: u64 = 2_147_483_647;

/// The longest deadline: a year.
const LONGEST_DEADLINE: u64 = 365 * 86_400;

/// The largest share of the configured weight.
const LARGEST_PERCENT: u32 = 1000;

/// The longest pause in seconds: a day.
const LONGEST_PAUSE: u64 = 86_400;

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
    },
    /// A virtual server has a real server no more, whatever its files say.
    Remove {
        /// As in [`Request::Why`].
        server: String,
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
    /// It is written again.
    Resume,
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
            | Self::Resume => Ok(()),
            Self::Reload { force: true } => f.write_str(" --force"),
            Self::Pause { duration } => write!(f, " {}s", duration.as_secs()),
            Self::Return { virtual_server } | Self::Rebuild { virtual_server } => {
                write!(f, " {}", shown(virtual_server))
            }
            Self::Status {
                virtual_server: Some(name),
            } => write!(f, " {}", shown(name)),
            Self::Why { server } | Self::Remove { server } => write!(f, " {}", shown(server)),
            Self::Maint { server, lasting } | Self::Ready { server, lasting } => {
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
            Self::Add { server, weight: None } => write!(f, " {}", shown(server)),
            Self::Add {
                server,
                weight: Some(weight),
            } => write!(f, " {} --weight {weight}", shown(server)),
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
        "there is no command `{0}` (status, why, events, plan, reload, upgrade, drain, maint, ready, weight, add, remove, return, rebuild, pause,
         resume)"
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

/// A request as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u64,
    command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    virtual_server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follow: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    force: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_reload: Option<bool>,
}

/// What is read first, so that a request of a later version is known for that whatever else is in it.
#[derive(Deserialize)]
struct Envelope {
    version: u64,
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
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
        }
    }

    /// Whether it changes anything.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Why { .. } | Self::Events { .. } | Self::Plan => false,
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
            | Self::Pause { .. }
            | Self::Resume => true,
        }
    }

    /// What goes until the next reload cannot go by a deadline too, nor be what holds without anybody's word.
    fn fits_together(&self) -> Result<(), BadRequest> {
        let passing_by_time = matches!(
            self,
            Self::Drain {
                deadline: Some(_),
                lasting: Lasting::UntilReload,
                ..
            }
        );
        let passing_nothing = matches!(
            self,
            Self::Weight {
                weight: None,
                lasting: Lasting::UntilReload,
                ..
            }
        );
        match passing_by_time || passing_nothing {
            true => Err(BadRequest::Value {
                member: "until_reload",
                wanted: "false with a deadline, and with the weight \"auto\"",
            }),
            false => Ok(()),
        }
    }

    /// The request as one line, its line feed included.
    pub fn encode(&self) -> Vec<u8> {
        let mut wire = Wire {
            version: u64::from(VERSION),
            command: self.command().to_owned(),
            ..Wire::default()
        };
        match self.clone() {
            Self::Status { virtual_server } => wire.virtual_server = virtual_server,
            Self::Return { virtual_server } | Self::Rebuild { virtual_server } => {
                wire.virtual_server = Some(virtual_server)
            }
            Self::Why { server } | Self::Remove { server } => wire.server = Some(server),
            Self::Maint { server, lasting } | Self::Ready { server, lasting } => {
                wire.server = Some(server);
                wire.last_until(lasting);
            }
            Self::Add { server, weight } => {
                wire.server = Some(server);
                wire.weight = weight.map(Value::from);
            }
            Self::Events { last, follow } => {
                wire.last = last;
                wire.follow = Some(follow);
            }
            Self::Reload { force } => wire.force = force.then_some(true),
            Self::Plan | Self::Upgrade | Self::Resume => {}
            Self::Pause { duration } => wire.duration_seconds = Some(duration.as_secs()),
            Self::Drain {
                server,
                deadline,
                lasting,
            } => {
                wire.server = Some(server);
                wire.last_until(lasting);
                wire.deadline_seconds = deadline.map(|deadline| deadline.as_secs());
            }
            Self::Weight {
                server,
                weight,
                lasting,
            } => {
                wire.server = Some(server);
                wire.last_until(lasting);
                wire.weight = Some(match weight {
                    None => Value::from("auto"),
                    Some(WeightAdvice::Absolute(weight)) => Value::from(weight),
                    Some(percent @ WeightAdvice::Percent(_)) => Value::from(percent.to_string()),
                });
            }
        }
        // A vector takes every byte, and no member here is of a kind that JSON lacks.
        let mut line = serde_json::to_vec(&wire).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The request in a line, without its line feed.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever sent it.
    pub fn decode(line: &[u8]) -> Result<Self, BadRequest> {
        if line.len() > LONGEST_REQUEST {
            return Err(BadRequest::TooLong);
        }
        let unreadable = |error: serde_json::Error| BadRequest::Unreadable(error.to_string());
        let envelope: Envelope = serde_json::from_slice(line).map_err(unreadable)?;
        if envelope.version != u64::from(VERSION) {
            return Err(BadRequest::Version(envelope.version));
        }
        let mut wire: Wire = serde_json::from_slice(line).map_err(unreadable)?;
        let request = match wire.command.as_str() {
            "status" => Self::Status {
                virtual_server: wire.virtual_server.take(),
            },
            "why" => Self::Why {
                server: wire.server("why")?,
            },
            "events" => Self::Events {
                last: wire.last.take(),
                follow: wire.follow.take().unwrap_or(false),
            },
            "reload" => Self::Reload {
                force: wire.force.take().unwrap_or(false),
            },
            "upgrade" => Self::Upgrade,
            "drain" => Self::Drain {
                server: wire.server("drain")?,
                deadline: wire.deadline()?,
                lasting: wire.lasting(),
            },
            "maint" => Self::Maint {
                server: wire.server("maint")?,
                lasting: wire.lasting(),
            },
            "ready" => Self::Ready {
                server: wire.server("ready")?,
                lasting: wire.lasting(),
            },
            "weight" => Self::Weight {
                server: wire.server("weight")?,
                weight: wire.weight()?,
                lasting: wire.lasting(),
            },
            "add" => Self::Add {
                server: wire.server("add")?,
                weight: wire.weight_of_new()?,
            },
            "remove" => Self::Remove {
                server: wire.server("remove")?,
            },
            "return" => Self::Return {
                virtual_server: wire.virtual_server("return")?,
            },
            "rebuild" => Self::Rebuild {
                virtual_server: wire.virtual_server("rebuild")?,
            },
            "pause" => Self::Pause {
                duration: wire.duration()?,
            },
            "plan" => Self::Plan,
            "resume" => Self::Resume,
            other => return Err(BadRequest::Command(other.escape_debug().take(40).collect())),
        };
        request.fits_together()?;
        match wire.left_over() {
            None => Ok(request),
            Some(member) => Err(BadRequest::Superfluous {
                command: request.command(),
                member,
            }),
        }
    }
}

/// A share of the configured weight: `50%`, at most 1000 per cent.
pub fn parse_percent(text: &str) -> Option<WeightAdvice> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let percent = digits
        .parse()
        .ok()
        .filter(|percent| plain && *percent <= LARGEST_PERCENT)?;
    Some(WeightAdvice::Percent(percent))
}

impl Wire {
    fn server(&mut self, command: &'static str) -> Result<String, BadRequest> {
        let member = "server";
        self.server.take().ok_or(BadRequest::Missing { command, member })
    }

    fn virtual_server(&mut self, command: &'static str) -> Result<String, BadRequest> {
        let member = "virtual_server";
        self.virtual_server
            .take()
            .ok_or(BadRequest::Missing { command, member })
    }

    fn duration(&mut self) -> Result<Duration, BadRequest> {
        let (command, member) = ("pause", "duration_seconds");
        match self
            .duration_seconds
            .take()
            .ok_or(BadRequest::Missing { command, member })?
        {
            seconds @ 1..=LONGEST_PAUSE => Ok(Duration::from_secs(seconds)),
            _ => Err(BadRequest::Value {
                member,
                wanted: "1 to 86400, a day",
            }),
        }
    }

    fn deadline(&mut self) -> Result<Option<Duration>, BadRequest> {
        match self.deadline_seconds.take() {
            None => Ok(None),
            Some(seconds) if seconds <= LONGEST_DEADLINE => Ok(Some(Duration::from_secs(seconds))),
            Some(_) => Err(BadRequest::Value {
                member: "deadline_seconds",
                wanted: "at most 31536000, a year",
            }),
        }
    }

    fn last_until(&mut self, lasting: Lasting) {
        self.until_reload = match lasting {
            Lasting::UntilTakenBack => None,
            Lasting::UntilReload => Some(true),
        };
    }

    fn lasting(&mut self) -> Lasting {
        match self.until_reload.take() {
            Some(true) => Lasting::UntilReload,
            Some(false) | None => Lasting::UntilTakenBack,
        }
    }

    fn weight_of_new(&mut self) -> Result<Option<u32>, BadRequest> {
        let wrong = BadRequest::Value {
            member: "weight",
            wanted: "a number from 0 to 2147483647",
        };
        let Some(value) = self.weight.take() else {
            return Ok(None);
        };
        let weight = value.as_u64().filter(|weight| *weight <= LARGEST_WEIGHT);
        Ok(Some(weight.and_then(|weight| u32::try_from(weight).ok()).ok_or(wrong)?))
    }

    fn weight(&mut self) -> Result<Option<WeightAdvice>, BadRequest> {
        let wrong = BadRequest::Value {
            member: "weight",
            wanted: "a number from 0 to 2147483647, a share of the configured weight such as \"50%\", at most 1000%, or \"auto\"",
        };
        let (command, member) = ("weight", "weight");
        match self.weight.take().ok_or(BadRequest::Missing { command, member })? {
            Value::String(word) if word == "auto" => Ok(None),
            Value::Number(number) => match number.as_u64().filter(|weight| *weight <= LARGEST_WEIGHT) {
                Some(weight) => Ok(u32::try_from(weight).ok().map(WeightAdvice::Absolute)),
                None => Err(wrong),
            },
            Value::String(word) => match parse_percent(&word) {
                Some(percent) => Ok(Some(percent)),
                None => Err(wrong),
            },
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(wrong),
        }
    }

    /// A member that no command has taken.
    fn left_over(&self) -> Option<&'static str> {
        [
            ("virtual_server", self.virtual_server.is_some()),
            ("server", self.server.is_some()),
            ("weight", self.weight.is_some()),
            ("deadline_seconds", self.deadline_seconds.is_some()),
            ("duration_seconds", self.duration_seconds.is_some()),
            ("last", self.last.is_some()),
            ("follow", self.follow.is_some()),
            ("force", self.force.is_some()),
            ("until_reload", self.until_reload.is_some()),
        ]
        .into_iter()
        .find_map(|(member, is_there)| is_there.then_some(member))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(line: &str) -> Result<Request, String> {
        Request::decode(line.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_read_as_documented() {
        let server = || "web/192.0.2.11:80".to_owned();
        for (line, wanted) in [
            (
                r#"{"version":1,"command":"status"}"#,
                Request::Status { virtual_server: None },
            ),
            (
                r#" { "command" : "status", "virtual_server":"web", "version":1 } "#,
                Request::Status {
                    virtual_server: Some("web".to_owned()),
                },
            ),
            (
                r#"{"version":1,"command":"events"}"#,
                Request::Events {
                    last: None,
                    follow: false,
                },
            ),
            (r#"{"version":1,"command":"reload"}"#, Request::Reload { force: false }),
            (
                r#"{"version":1,"command":"reload","force":true}"#,
                Request::Reload { force: true },
            ),
            (
                r#"{"version":1,"command":"drain","server":"web/192.0.2.11:80","deadline_seconds":300}"#,
                Request::Drain {
                    server: server(),
                    deadline: Some(Duration::from_secs(300)),
                    lasting: Lasting::UntilTakenBack,
                },
            ),
            (
                r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":2147483647}"#,
                Request::Weight {
                    server: server(),
                    weight: Some(WeightAdvice::Absolute(2_147_483_647)),
                    lasting: Lasting::UntilTakenBack,
                },
            ),
            (
                r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":"50%","until_reload":true}"#,
                Request::Weight {
                    server: server(),
                    weight: Some(WeightAdvice::Percent(50)),
                    lasting: Lasting::UntilReload,
                },
            ),
            (
                r#"{"version":1,"command":"add","server":"web/192.0.2.11:80","weight":7}"#,
                Request::Add {
                    server: server(),
                    weight: Some(7),
                },
            ),
            (
                r#"{"version":1,"command":"remove","server":"web/192.0.2.11:80"}"#,
                Request::Remove { server: server() },
            ),
            (
                r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":"auto"}"#,
                Request::Weight {
                    server: server(),
                    weight: None,
                    lasting: Lasting::UntilTakenBack,
                },
            ),
        ] {
            assert_eq!(decoded(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        let long = format!("{{\"version\":1,\"command\":\"{}\"}}", "x".repeat(LONGEST_REQUEST));
        let deep = "[".repeat(LONGEST_REQUEST);
        for (line, wanted) in [
            ("", "cannot be read"),
            ("GET / HTTP/1.1", "cannot be read"),
            (deep.as_str(), "cannot be read"),
            ("[]", "cannot be read"),
            (long.as_str(), "longer than 4096 bytes"),
            (r#"{"command":"status"}"#, "missing field `version`"),
            (r#"{"version":2,"command":"undrain","who":{}}"#, "of version 2"),
            (r#"{"version":1,"command":"top"}"#, "no command `top`"),
            (r#"{"version":1,"command":"status","all":true}"#, "unknown field `all`"),
            (r#"{"version":1,"command":"status","version":1}"#, "duplicate field"),
            (r#"{"version":1,"command":"why"}"#, "`why` needs `server`"),
            (r#"{"version":1,"command":"return"}"#, "`return` needs `virtual_server`"),
            (
                r#"{"version":1,"command":"reload","server":"x"}"#,
                "`reload` takes no `server`",
            ),
            (r#"{"version":1,"command":"why","server":1}"#, "invalid type"),
            (
                r#"{"version":1,"command":"weight","server":"x"}"#,
                "`weight` needs `weight`",
            ),
            (
                r#"{"version":1,"command":"weight","server":"x","weight":-1}"#,
                "a number from 0",
            ),
            (
                r#"{"version":1,"command":"weight","server":"x","weight":2147483648}"#,
                "a number from 0",
            ),
            (
                r#"{"version":1,"command":"weight","server":"x","weight":1.5}"#,
                "a number from 0",
            ),
            (
                r#"{"version":1,"command":"weight","server":"x","weight":"1001%"}"#,
                "at most 1000%",
            ),
            (
                r#"{"version":1,"command":"weight","server":"x","weight":"%"}"#,
                "\"50%\"",
            ),
            (
                r#"{"version":1,"command":"weight","server":"x","weight":"auto","until_reload":true}"#,
                "`until_reload` must be false",
            ),
            (
                r#"{"version":1,"command":"drain","server":"x","deadline_seconds":9,"until_reload":true}"#,
                "`until_reload` must be false",
            ),
            (
                r#"{"version":1,"command":"add","server":"x","weight":"50%"}"#,
                "a number from 0",
            ),
            (r#"{"version":1,"command":"remove"}"#, "`remove` needs `server`"),
            (r#"{"version":1,"command":"pause"}"#, "`pause` needs `duration_seconds`"),
            (
                r#"{"version":1,"command":"pause","duration_seconds":0}"#,
                "1 to 86400, a day",
            ),
            (
                r#"{"version":1,"command":"drain","server":"x","deadline_seconds":99999999}"#,
                "a year",
            ),
        ] {
            let error = decoded(line).expect_err(line);
            assert!(error.contains(wanted), "{line}: {error}");
            assert!(error.len() < 2 * LONGEST_REQUEST);
        }
    }

    fn any_request() -> impl Strategy<Value = Request> {
        let server = ".{0,60}";
        let lasting = || prop::sample::select(vec![Lasting::UntilTakenBack, Lasting::UntilReload]);
        let weight = prop_oneof![
            (0..=0x7fff_ffff_u32).prop_map(WeightAdvice::Absolute),
            (0..=LARGEST_PERCENT).prop_map(WeightAdvice::Percent),
        ];
        let seconds = prop::option::of((0..=LONGEST_DEADLINE).prop_map(Duration::from_secs));
        prop_oneof![
            prop::option::of(server).prop_map(|virtual_server| Request::Status { virtual_server }),
            server.prop_map(|server| Request::Why { server }),
            (any::<Option<u32>>(), any::<bool>()).prop_map(|(last, follow)| Request::Events { last, follow }),
            any::<bool>().prop_map(|force| Request::Reload { force }),
            (server, seconds).prop_map(|(server, deadline)| Request::Drain {
                server,
                deadline,
                lasting: Lasting::UntilTakenBack
            }),
            (server, lasting()).prop_map(|(server, lasting)| Request::Maint { server, lasting }),
            (server, lasting()).prop_map(|(server, lasting)| Request::Ready { server, lasting }),
            (server, weight, lasting()).prop_map(|(server, weight, lasting)| Request::Weight {
                server,
                weight: Some(weight),
                lasting
            }),
            server.prop_map(|server| Request::Weight {
                server,
                weight: None,
                lasting: Lasting::UntilTakenBack
            }),
            (server, prop::option::of(0..=0x7fff_ffff_u32))
                .prop_map(|(server, weight)| Request::Add { server, weight }),
            server.prop_map(|server| Request::Remove { server }),
            server.prop_map(|virtual_server| Request::Return { virtual_server }),
            server.prop_map(|virtual_server| Request::Rebuild { virtual_server }),
            (1..=LONGEST_PAUSE).prop_map(|seconds| Request::Pause {
                duration: Duration::from_secs(seconds)
            }),
            Just(Request::Resume),
            Just(Request::Plan),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(request in any_request()) {
            let mut line = request.encode();
            prop_assert_eq!(line.pop(), Some(b'\n'));
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(Request::decode(&line), Ok(request));
        }

        #[test]
        fn no_bytes_panic(line: Vec<u8>) {
            let _ = Request::decode(&line);
        }

        #[test]
        fn a_damaged_request_is_one_or_an_error_in_words(
            request in any_request(),
            at: prop::sample::Index,
            cut in 0..5_usize,
            piece in prop::sample::select(vec!["", "{", "}", "\"", ":", ",", "null", "-1", "1e999", "\\u0000", "\\ud800", "\u{1b}[2J"]),
        ) {
            let mut line = request.encode();
            line.pop();
            let at = at.index(line.len());
            let end = (at + cut).min(line.len());
            line.splice(at..end, piece.bytes());
            if let Err(error) = Request::decode(&line) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
