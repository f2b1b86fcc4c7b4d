//! Events for those who ask over the control socket: a sentence and its parts for every transition.

use std::time::Duration;

use crate::model::control::{EventKind, EventRecord, Level};
use crate::model::{ServerId, Step, Transition, UnixTime};

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
        Transition::RoleChanged {
            virtual_server,
            router,
            serves,
        } => {
            let text = match serves {
                true => format!("{virtual_server} is programmed: {router} is master here"),
                false => format!("{virtual_server} is taken out of the table: {router} is master elsewhere"),
            };
            of_pool(virtual_server, EventKind::Tier, Level::Info, text)
        }
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
        Transition::PeerVerdictsTaken { checks, of } => {
            let text = format!("for {checks} of {of} checks the peer's verdicts count until there are own ones");
            plain(EventKind::Peer, Level::Info, text)
        }
        Transition::StepRefused { message } => plain(EventKind::Table, Level::Error, message.clone()),
        Transition::TableDrifted { deeds, within, .. } => {
            let text = format!("{}; it is put right", drift(deeds, *within));
            plain(EventKind::Table, Level::Warning, text)
        }
        Transition::Quarrel {
            virtual_server,
            suspects,
            ..
        } => EventRecord {
            virtual_server: virtual_server.clone(),
            cause: (!suspects.is_empty()).then(|| suspects.join(", ")),
            ..plain(EventKind::Table, Level::Error, quarrel(transition).unwrap_or_default())
        },
        Transition::QuarrelEnded {
            virtual_server,
            service,
            lasted,
        } => EventRecord {
            virtual_server: virtual_server.clone(),
            lasted_ms: u64::try_from(lasted.as_millis()).ok(),
            ..plain(
                EventKind::Table,
                Level::Info,
                format!("nobody else changes {service} any more"),
            )
        },
        Transition::WritesPaused { left } => plain(EventKind::Admin, Level::Warning, paused(*left)),
        Transition::WritesResumed { lasted } => EventRecord {
            lasted_ms: u64::try_from(lasted.as_millis()).ok(),
            ..plain(EventKind::Admin, Level::Warning, RESUMED.to_owned())
        },
        Transition::TableUnreadable { message } => plain(EventKind::Table, Level::Error, message.clone()),
    }
}

/// What is said when writing goes on.
pub const RESUMED: &str = "the pause is over: the kernel's table is written again";

/// What is said while nothing is written.
pub fn paused(left: Duration) -> String {
    let seconds = left.as_secs();
    format!(
        "PAUSED: nothing is written to the kernel's table for another {seconds}s, servers that fail stay in it \
         (`ipvsd resume` ends it)"
    )
}

/// What somebody else has done to the table, in one line.
pub fn drift(deeds: &[Step], within: Duration) -> String {
    let more = match deeds.len() {
        0 | 1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    let first = deeds.first().map(ToString::to_string).unwrap_or_default();
    let within = within.as_secs_f64();
    format!("somebody else changed the kernel's table within the last {within:.1}s: {first}{more}")
}

/// What there is to say of a quarrel, in one line; `None` for any other transition.
pub fn quarrel(transition: &Transition) -> Option<String> {
    let Transition::Quarrel {
        virtual_server: _,
        service,
        times,
        within,
        pause,
        suspects,
    } = transition
    else {
        return None;
    };
    let who = match suspects.is_empty() {
        true => "none of the programs known to do so runs here: is it a script?".to_owned(),
        false => format!("is it {}?", suspects.join(" or ")),
    };
    Some(format!(
        "somebody else keeps changing {service}, {times} times in {}s; {who} It is put right in {}s, ever more rarely, while \
         servers that fail are taken out at once (stop the other program, or take the service out of the configuration)",
        within.as_secs(),
        pause.as_secs()
    ))
}
