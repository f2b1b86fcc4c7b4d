//! Requests as they are written: one JSON object a line.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadRequest, LONGEST_REQUEST, Request, VERSION};
use crate::model::{Lasting, WeightAdvice};

/// The largest weight that the kernel takes (`net/netfilter/ipvs/ip_vs_ctl.c` keeps it in a signed number).
pub(super) const LARGEST_WEIGHT: u64 = 2_147_483_647;

/// The longest deadline: a year.
pub(super) const LONGEST_DEADLINE: u64 = 365 * 86_400;

/// The largest share of the configured weight.
pub(super) const LARGEST_PERCENT: u32 = 1000;

/// The longest pause in seconds: a day.
pub(super) const LONGEST_PAUSE: u64 = 86_400;

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
    vrrp_instance: Option<String>,
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
            Self::StepDown { vrrp_instance } => wire.vrrp_instance = Some(vrrp_instance),
            Self::Why { server } => wire.server = Some(server),
            Self::Maint { server, lasting } | Self::Ready { server, lasting } | Self::Remove { server, lasting } => {
                wire.server = Some(server);
                wire.last_until(lasting);
            }
            Self::Add {
                server,
                weight,
                lasting,
            } => {
                wire.server = Some(server);
                wire.last_until(lasting);
                wire.weight = weight.map(Value::from);
            }
            Self::Events { last, follow } => {
                wire.last = last;
                wire.follow = Some(follow);
            }
            Self::Reload { force } => wire.force = force.then_some(true),
            Self::Plan | Self::Upgrade | Self::Peer | Self::Resume => {}
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
                lasting: wire.lasting(),
            },
            "remove" => Self::Remove {
                server: wire.server("remove")?,
                lasting: wire.lasting(),
            },
            "return" => Self::Return {
                virtual_server: wire.virtual_server("return")?,
            },
            "rebuild" => Self::Rebuild {
                virtual_server: wire.virtual_server("rebuild")?,
            },
            "vrrp_step_down" => Self::StepDown {
                vrrp_instance: wire.vrrp_instance("vrrp_step_down")?,
            },
            "pause" => Self::Pause {
                duration: wire.duration()?,
            },
            "plan" => Self::Plan,
            "upgrade" => Self::Upgrade,
            "peer" => Self::Peer,
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

    fn vrrp_instance(&mut self, command: &'static str) -> Result<String, BadRequest> {
        let member = "vrrp_instance";
        self.vrrp_instance.take().ok_or(BadRequest::Missing { command, member })
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
            ("vrrp_instance", self.vrrp_instance.is_some()),
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
