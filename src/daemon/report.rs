//! The log: where it goes, and one line for every change of state.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::director;
use crate::model::{ServerState, Transition};

/// How many repairs of one drift have a line each.
const MOST_REPAIRS: usize = 50;

/// Also warnings of libraries, but for the one that reads netlink messages: where news was lost, whoever listens looks at
/// everything again, and a socket that is shut is told of by whoever has it.
const UNTOLD: &str = "info,netlink_proto::framed=error";

/// Sends the log to journald where standard error is connected to it, else as text to standard error.
///
/// `IPVSD_LOG` filters it, for example `debug` or `ipvsd=debug`; [`UNTOLD`] without it. Colour only on a terminal and
/// without `NO_COLOR`.
pub(super) fn start_log() {
    let filter = || EnvFilter::try_from_env("IPVSD_LOG").unwrap_or_else(|_| EnvFilter::new(UNTOLD));
    // Inherited by what a service starts with its output elsewhere: only the numbers in it tell (systemd.exec(5)).
    let journald = std::env::var("JOURNAL_STREAM")
        .ok()
        .filter(|stream| is_stream(Path::new("/proc/self/fd/2"), stream))
        .and_then(|_| tracing_journald::layer().ok());
    let text = journald.is_none().then(|| {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colour)
            .with_target(false)
    });
    // A second start in one process (a test) keeps the first one's log.
    let _ = tracing_subscriber::registry()
        .with(journald.map(|layer| layer.with_filter(filter())))
        .with(text.map(|layer| layer.with_filter(filter())))
        .try_init();
}

/// Makes a panic of any thread or task the end of the process, as it is in an optimised build: a daemon without its
/// netlink thread, or without one of its tasks, would look alive. Started again, it goes on where it was.
pub(super) fn end_with_a_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
}

/// Whether a file is the one with this `device:inode`.
fn is_stream(file: &Path, stream: &str) -> bool {
    std::fs::metadata(file).is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
}

/// One line for one change.
pub(super) fn report(transition: &Transition) {
    match transition {
        Transition::ServerChanged {
            server,
            from,
            to,
            check,
            cause,
            lasted,
        } => {
            let cause = cause
                .as_ref()
                .map(|cause| cause.to_string())
                .unwrap_or_else(|| "check passed".to_owned());
            let service = &server.virtual_server;
            let server = &server.server;
            let lasted = seconds(*lasted);
            match to {
                ServerState::Down => {
                    warn!(service, server, %from, %to, check, cause, lasted, "real server is down");
                }
                ServerState::Up | ServerState::Unknown => {
                    info!(service, server, %from, %to, check, cause, lasted, "real server is {to}");
                }
            }
        }
        Transition::AdminChanged { server, from, to } => {
            info!(service = server.virtual_server, server = server.server, %from, %to, "real server is set to {to}");
        }
        Transition::WeightChanged {
            server,
            from,
            to,
            source,
        } => {
            let (service, server) = (&server.virtual_server, &server.server);
            info!(service, server, from, to, "weight is {to} now, by {source}");
        }
        Transition::TierChanged {
            virtual_server,
            from,
            to,
            lasted,
        } => {
            let from = from.as_deref().unwrap_or("nobody");
            let lasted = seconds(*lasted);
            match to {
                Some(to) => info!(service = virtual_server, from, to, lasted, "now served by {to}"),
                None => error!(service = virtual_server, from, lasted, "nobody is left to serve"),
            }
        }
        Transition::ReturnAwaited {
            virtual_server,
            better,
            after,
        } => match after {
            Some(after) => info!(
                service = virtual_server,
                "{better} could serve again, and does in {}",
                seconds(*after)
            ),
            None => warn!(
                service = virtual_server,
                "{better} could serve again, and waits for an operator (return_mode = \"manual\")"
            ),
        },
        Transition::QuorumChanged {
            virtual_server,
            held,
            weight,
            needed,
        } => match held {
            true => info!(service = virtual_server, weight, quorum = needed, "quorum gained"),
            false => error!(service = virtual_server, weight, quorum = needed, "quorum lost"),
        },
        Transition::PanicBegan {
            virtual_server,
            up,
            of,
            threshold,
        } => error!(
            service = virtual_server,
            "PANIC: only {up} of {of} servers are up, fewer than {threshold} %: the failed ones that were in stay in"
        ),
        Transition::PanicEnded { virtual_server } => warn!(
            service = virtual_server,
            "panic is over: failed servers are taken out again"
        ),
        Transition::RoleChanged {
            virtual_server,
            router,
            serves,
        } => match serves {
            true => info!(service = virtual_server, "programmed: {router} is master here"),
            false => info!(
                service = virtual_server,
                "taken out of the table: {router} is master elsewhere"
            ),
        },
        Transition::ChecksSuspended {
            virtual_server,
            suspended,
        } => match suspended {
            true => info!(
                service = virtual_server,
                "checks suspended: none of its addresses is on this host"
            ),
            false => info!(
                service = virtual_server,
                "checks go on: an address of it is on this host"
            ),
        },
        Transition::LocalTrouble { server, trouble } => {
            error!(
                service = server.virtual_server,
                server = server.server,
                "this host cannot probe, states stay as they are: {trouble}"
            );
        }
        Transition::FlapHeld { server, check, hold } => {
            let hold = seconds(*hold);
            warn!(
                service = server.virtual_server,
                server = server.server,
                check,
                hold,
                "real server changes too often, held down"
            );
        }
        Transition::Halted { late, checks } => {
            let late = seconds(*late);
            error!(
                late,
                checks, "this host stood still or was too busy; states stay as they are, probing again, spread out"
            );
        }
        Transition::InterfaceBack { device, checks } => {
            info!(device, checks, "own interface is back; probing again, spread out");
        }
        Transition::ProbeWarned { server, check, warning } => {
            warn!(
                service = server.virtual_server,
                server = server.server,
                check,
                "check passed with a warning: {warning}"
            );
        }
        Transition::StateTakenOver { checks, of, age } => {
            info!(
                "took over the states of {checks} of {of} checks, as they were {} ago",
                seconds(*age)
            );
        }
        Transition::PeerVerdictsTaken { checks, of } => {
            info!("for {checks} of {of} checks the peer's verdicts count until there are own ones");
        }
        Transition::StepRefused { message } => error!("{message}"),
        Transition::TableDrifted { deeds, steps, within } => {
            warn!(
                changes = steps.len(),
                "{}; repairing it",
                director::drift(deeds, *within)
            );
            for step in steps.iter().take(MOST_REPAIRS) {
                warn!("repair: {step}");
            }
            if steps.len() > MOST_REPAIRS {
                warn!("repair: and {} more", steps.len() - MOST_REPAIRS);
            }
        }
        Transition::Quarrel { virtual_server, .. } => error!(
            service = virtual_server,
            "{}",
            director::quarrel(transition).unwrap_or_default()
        ),
        Transition::QuarrelEnded {
            virtual_server,
            service,
            lasted: _,
        } => info!(service = virtual_server, "nobody else changes {service} any more"),
        Transition::WritesPaused { left } => warn!("{}", director::paused(*left)),
        Transition::WritesResumed { .. } => warn!("{}", director::RESUMED),
        Transition::TableUnreadable { message } => error!("{message}"),
    }
}

/// A duration as an operator reads it: `0.013s`, `4.5s`, `86400.0s`.
fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{:.3}s", duration.as_secs_f64()),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    const CHILD: &str = "IPVSD_TEST_PANICS";

    /// The process that ends is one of its own: this test once more.
    #[test]
    fn a_panic_of_a_task_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            end_with_a_panic();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let _ = tokio::spawn(async { panic!("as it was to") }).await;
            });
            return;
        }
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "daemon::report::tests::a_panic_of_a_task_ends_the_process",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .output()
            .expect("it runs");
        assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("as it was to"),
            "{output:?}"
        );
    }

    #[test]
    fn a_stream_is_known_by_its_numbers() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let found = file.as_file().metadata().expect("its numbers");
        let stream = format!("{}:{}", found.dev(), found.ino());
        assert!(is_stream(file.path(), &stream));
        assert!(!is_stream(Path::new("/proc/self/exe"), &stream));
        assert!(!is_stream(file.path(), ""));
    }
}
