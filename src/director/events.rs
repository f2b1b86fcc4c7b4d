//! Events for those who ask over the control socket: a sentence and its parts for every transition.

use crate::model::control::{EventKind, EventRecord, Level};
use crate::model::{ServerId, Transition, UnixTime};

/// The event that a transition is, without a number.
pub fn event_of(transition: &Transition, time: UnixTime) -> EventRecord {
    let plain = |kind, level, text| EventRecord::new(time, kind, level, text);
    let of_pool = |virtual_server: &str, kind, level, text| EventRecord {
        virtual_server: Some(virtual_server.to_owned()),
        ..plain(kind, level, text)
    };
    let of_server = |server: &ServerId, kind, level, text| EventRecord {
        server: Some(server.server.clone()),
        ..of_pool(&server.virtual_server, kind, level, text)
    };
    match transition {
        Transition::ServerChanged {
            server,
            from,
            to,
            check,
            cause,
            lasted,
        } => {
            let (name, pool) = (&server.server, &server.virtual_server);
            let (level, why) = match cause {
                Some(cause) => (Level::Warning, format!(": {check}: {cause}")),
                None => (Level::Info, String::new()),
            };
            EventRecord {
                from: Some(from.to_string()),
                to: Some(to.to_string()),
                check: Some(check.clone()),
                cause: cause.as_ref().map(ToString::to_string),
                lasted_ms: u64::try_from(lasted.as_millis()).ok(),
                ..of_server(server, EventKind::Server, level, format!("{pool}/{name} is {to}{why}"))
            }
        }
        Transition::AdminChanged { server, from, to } => {
            let (name, pool) = (&server.server, &server.virtual_server);
            EventRecord {
                from: Some(from.to_string()),
                to: Some(to.to_string()),
                ..of_server(
                    server,
                    EventKind::Admin,
                    Level::Info,
                    format!("{pool}/{name} is set to {to}"),
                )
            }
        }
        Transition::WeightChanged {
            server,
            from,
            to,
            source,
        } => {
            let (name, pool) = (&server.server, &server.virtual_server);
            EventRecord {
                from: Some(from.to_string()),
                to: Some(to.to_string()),
                cause: Some(source.to_string()),
                ..of_server(
                    server,
                    EventKind::Admin,
                    Level::Info,
                    format!("{pool}/{name} has weight {to} now, by {source}"),
                )
            }
        }
        Transition::TierChanged {
            virtual_server,
            from,
            to,
            lasted,
        } => {
            let (level, text) = match to {
                Some(to) => (Level::Info, format!("{virtual_server} is now served by {to}")),
                None => (Level::Error, format!("{virtual_server}: nobody is left to serve")),
            };
            EventRecord {
                from: from.clone(),
                to: to.clone(),
                lasted_ms: u64::try_from(lasted.as_millis()).ok(),
                ..of_pool(virtual_server, EventKind::Tier, level, text)
            }
        }
        Transition::ReturnAwaited {
            virtual_server,
            better,
            after,
        } => {
            let (level, text) = match after {
                Some(after) => (
                    Level::Info,
                    format!("{better} could serve again, and does in {after:?}"),
                ),
                None => (
                    Level::Warning,
                    format!("{better} could serve again, and waits for an operator"),
                ),
            };
            EventRecord {
                to: Some(better.clone()),
                ..of_pool(
                    virtual_server,
                    EventKind::Tier,
                    level,
                    format!("{virtual_server}: {text}"),
                )
            }
        }
        Transition::QuorumChanged {
            virtual_server,
            held,
            weight,
            needed,
        } => {
            let (level, word) = match held {
                true => (Level::Info, "gained"),
                false => (Level::Error, "lost"),
            };
            let text = format!("{virtual_server}: quorum {word}: weight {weight} is up, {needed} is needed");
            EventRecord {
                to: Some(format!("quorum {word}")),
                ..of_pool(virtual_server, EventKind::Tier, level, text)
            }
        }
        Transition::PanicBegan {
            virtual_server,
            up,
            of,
            threshold,
        } => {
            let text = format!(
                "{virtual_server}: PANIC: only {up} of {of} servers are up, fewer than {threshold} %: the failed ones \
                 that were in stay in"
            );
            EventRecord {
                to: Some("panic".to_owned()),
                ..of_pool(virtual_server, EventKind::Tier, Level::Error, text)
            }
        }
        Transition::PanicEnded { virtual_server } => EventRecord {
            from: Some("panic".to_owned()),
            ..of_pool(
                virtual_server,
                EventKind::Tier,
                Level::Warning,
                format!("{virtual_server}: panic is over"),
            )
        },
        Transition::ChecksSuspended {
            virtual_server,
            suspended,
        } => {
            let text = match suspended {
                true => "checks suspended: none of its addresses is on this host",
                false => "checks go on: an address of it is on this host",
            };
            of_pool(
                virtual_server,
                EventKind::Probe,
                Level::Info,
                format!("{virtual_server}: {text}"),
            )
        }
        Transition::LocalTrouble { server, trouble } => {
            let (name, pool) = (&server.server, &server.virtual_server);
            let text = format!("this host cannot probe {pool}/{name}, states stay as they are: {trouble}");
            EventRecord {
                cause: Some(trouble.to_string()),
                ..of_server(server, EventKind::Probe, Level::Error, text)
            }
        }
        Transition::ProbeWarned { server, check, warning } => {
            let (name, pool) = (&server.server, &server.virtual_server);
            EventRecord {
                check: Some(check.clone()),
                cause: Some(warning.to_string()),
                ..of_server(
                    server,
                    EventKind::Probe,
                    Level::Warning,
                    format!("{pool}/{name}: check {check} passed with a warning: {warning}"),
                )
            }
        }
        Transition::FlapHeld { server, check, hold } => {
            let (name, pool) = (&server.server, &server.virtual_server);
            let text = format!("{pool}/{name}: check {check} changes too often and is held down for {hold:?}");
            EventRecord {
                check: Some(check.clone()),
                ..of_server(server, EventKind::Probe, Level::Warning, text)
            }
        }
        Transition::Halted { late, checks } => {
            let text = format!(
                "this host stood still or was too busy, for {late:?}: states stay as they are, {checks} checks probe \
                 again, spread out"
            );
            plain(EventKind::Probe, Level::Error, text)
        }
        Transition::InterfaceBack { device, checks } => {
            let text = format!("{device} works again: {checks} checks behind it probe again, spread out");
            plain(EventKind::Probe, Level::Info, text)
        }
        Transition::StateTakenOver { checks, of, age } => {
            let text = format!(
                "the states of {checks} of {of} checks are those from before the restart, {} s ago",
                age.as_secs()
            );
            plain(EventKind::Configuration, Level::Info, text)
        }
        Transition::StepRefused { message } => plain(EventKind::Table, Level::Error, message.clone()),
        Transition::TableDrifted { steps } => {
            let more = match steps.len() {
                0 | 1 => String::new(),
                many => format!(" and {} more", many - 1),
            };
            let first = steps.first().map(ToString::to_string).unwrap_or_default();
            let text = format!("somebody else changed the kernel's table; repair: {first}{more}");
            plain(EventKind::Table, Level::Warning, text)
        }
        Transition::TableUnreadable { message } => plain(EventKind::Table, Level::Error, message.clone()),
    }
}
