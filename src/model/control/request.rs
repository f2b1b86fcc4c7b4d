//! Requests: what may be asked of the running daemon.
//!
//! `{"version":1,"command":"why","server":"192.0.2.11:80"}`: an object with `version`, `command` and the members of that
//! command, none twice and no others. Reading one costs time and memory in proportion to its length, which
//! [`LONGEST_REQUEST`] bounds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest request in bytes, its line feed not counted.
pub const LONGEST_REQUEST: usize = 4096;

/// The largest weight that the kernel takes (`net/netfilter/ipvs/ip_vs_ctl.c` keeps it in a signed number).
const LARGEST_WEIGHT: u64 = 2_147_483_647;

/// The longest deadline: a year.
const LONGEST_DEADLINE: u64 = 365 * 86_400;

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
    Reload,
    /// Put the program on disk in the daemon's place.
    Upgrade,
    /// A server gets no new connections and keeps those it has.
    Drain {
        /// As in [`Request::Why`].
        server: String,
        /// After so long the connections that are left are given up, as with [`Request::Maint`].
        deadline: Option<Duration>,
    },
    /// A server is taken out of the pool.
    Maint {
        /// As in [`Request::Why`].
        server: String,
    },
    /// The operator has nothing against a server any more.
    Ready {
        /// As in [`Request::Why`].
        server: String,
    },
    /// A server has this weight while it serves.
    Weight {
        /// As in [`Request::Why`].
        server: String,
        /// `None` for what the configuration and the server's checks say.
        weight: Option<u32>,
    },
    /// A pool goes back from a backup tier to the best one that can serve.
    Return {
        /// The virtual server's name.
        virtual_server: String,
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
        f.write_str(self.command())?;
        match self {
            Self::Status { virtual_server: None } | Self::Events { .. } | Self::Reload | Self::Upgrade => Ok(()),
            Self::Return { virtual_server } | Self::Rebuild { virtual_server } => {
                write!(f, " {}", shown(virtual_server))
            }
            Self::Status {
                virtual_server: Some(name),
            } => write!(f, " {}", shown(name)),
            Self::Why { server } | Self::Maint { server } | Self::Ready { server } => write!(f, " {}", shown(server)),
            Self::Drain { server, deadline: None } => write!(f, " {}", shown(server)),
            Self::Drain {
                server,
                deadline: Some(deadline),
            } => write!(f, " {} --deadline {}s", shown(server), deadline.as_secs()),
            Self::Weight { server, weight: None } => write!(f, " {} auto", shown(server)),
            Self::Weight {
                server,
                weight: Some(weight),
            } => write!(f, " {} {weight}", shown(server)),
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
        "there is no command `{0}` (status, why, events, reload, upgrade, drain, maint, ready, weight, return, rebuild)"
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
    last: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follow: Option<bool>,
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
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Drain { .. } => "drain",
            Self::Maint { .. } => "maint",
            Self::Ready { .. } => "ready",
            Self::Weight { .. } => "weight",
            Self::Return { .. } => "return",
            Self::Rebuild { .. } => "rebuild",
        }
    }

    /// Whether it changes anything.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Why { .. } | Self::Events { .. } => false,
            Self::Reload
            | Self::Upgrade
            | Self::Drain { .. }
            | Self::Maint { .. }
            | Self::Ready { .. }
            | Self::Weight { .. }
            | Self::Return { .. }
            | Self::Rebuild { .. } => true,
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
            Self::Why { server } | Self::Maint { server } | Self::Ready { server } => wire.server = Some(server),
            Self::Events { last, follow } => {
                wire.last = last;
                wire.follow = Some(follow);
            }
            Self::Reload | Self::Upgrade => {}
            Self::Drain { server, deadline } => {
                wire.server = Some(server);
                wire.deadline_seconds = deadline.map(|deadline| deadline.as_secs());
            }
            Self::Weight { server, weight } => {
                wire.server = Some(server);
                wire.weight = Some(weight.map_or_else(|| Value::from("auto"), Value::from));
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
            "reload" => Self::Reload,
            "upgrade" => Self::Upgrade,
            "drain" => Self::Drain {
                server: wire.server("drain")?,
                deadline: wire.deadline()?,
            },
            "maint" => Self::Maint {
                server: wire.server("maint")?,
            },
            "ready" => Self::Ready {
                server: wire.server("ready")?,
            },
            "weight" => Self::Weight {
                server: wire.server("weight")?,
                weight: wire.weight()?,
            },
            "return" => Self::Return {
                virtual_server: wire.virtual_server("return")?,
            },
            "rebuild" => Self::Rebuild {
                virtual_server: wire.virtual_server("rebuild")?,
            },
            other => return Err(BadRequest::Command(other.escape_debug().take(40).collect())),
        };
        match wire.left_over() {
            None => Ok(request),
            Some(member) => Err(BadRequest::Superfluous {
                command: request.command(),
                member,
            }),
        }
    }
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

    fn weight(&mut self) -> Result<Option<u32>, BadRequest> {
        let wrong = BadRequest::Value {
            member: "weight",
            wanted: "a number from 0 to 2147483647, or \"auto\"",
        };
        let (command, member) = ("weight", "weight");
        match self.weight.take().ok_or(BadRequest::Missing { command, member })? {
            Value::String(word) if word == "auto" => Ok(None),
            Value::Number(number) => match number.as_u64().filter(|weight| *weight <= LARGEST_WEIGHT) {
                Some(weight) => Ok(u32::try_from(weight).ok()),
                None => Err(wrong),
            },
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => Err(wrong),
        }
    }

    /// A member that no command has taken.
    fn left_over(&self) -> Option<&'static str> {
        [
            ("virtual_server", self.virtual_server.is_some()),
            ("server", self.server.is_some()),
            ("weight", self.weight.is_some()),
            ("deadline_seconds", self.deadline_seconds.is_some()),
            ("last", self.last.is_some()),
            ("follow", self.follow.is_some()),
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
            (r#"{"version":1,"command":"reload"}"#, Request::Reload),
            (
                r#"{"version":1,"command":"drain","server":"web/192.0.2.11:80","deadline_seconds":300}"#,
                Request::Drain {
                    server: server(),
                    deadline: Some(Duration::from_secs(300)),
                },
            ),
            (
                r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":2147483647}"#,
                Request::Weight {
                    server: server(),
                    weight: Some(2_147_483_647),
                },
            ),
            (
                r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":"auto"}"#,
                Request::Weight {
                    server: server(),
                    weight: None,
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
        let seconds = prop::option::of((0..=LONGEST_DEADLINE).prop_map(Duration::from_secs));
        prop_oneof![
            prop::option::of(server).prop_map(|virtual_server| Request::Status { virtual_server }),
            server.prop_map(|server| Request::Why { server }),
            (any::<Option<u32>>(), any::<bool>()).prop_map(|(last, follow)| Request::Events { last, follow }),
            Just(Request::Reload),
            (server, seconds).prop_map(|(server, deadline)| Request::Drain { server, deadline }),
            server.prop_map(|server| Request::Maint { server }),
            server.prop_map(|server| Request::Ready { server }),
            server.prop_map(|virtual_server| Request::Return { virtual_server }),
            server.prop_map(|virtual_server| Request::Rebuild { virtual_server }),
            (server, prop::option::of(0..=0x7fff_ffff_u32))
                .prop_map(|(server, weight)| Request::Weight { server, weight }),
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
