//! The way from a verb to the running daemon, and what there is to say where it leads nowhere.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;

use super::list::print;
use crate::control::{Client, ControlError, SOCKET_NAME, render};
use crate::daemon::instance;
use crate::daemon::record::{DEFAULT_RUN_DIR, Record};
use crate::daemon::running::RunningFile;
use crate::model::Lasting;
use crate::model::control::{Refused, Reply, Request};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the daemon is looked for.
#[derive(Debug, Args)]
pub(super) struct RunDir {
    /// The run directory of the daemon
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    run_dir: PathBuf,
}

/// The server that a verb is about.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// A real server: `192.0.2.11:80` in all pools, `web/192.0.2.11:80` in one
    #[arg(value_name = "SERVER")]
    pub(super) server: String,
}

/// How long an operator's word holds.
#[derive(Debug, Args)]
pub(super) struct Until {
    /// Until the next reload; without it until somebody says otherwise
    #[arg(long)]
    until_reload: bool,
}

impl Until {
    pub(super) fn lasting(&self) -> Lasting {
        match self.until_reload {
            true => Lasting::UntilReload,
            false => Lasting::UntilTakenBack,
        }
    }
}

impl RunDir {
    /// Connects to the daemon of this network namespace.
    ///
    /// # Errors
    /// What was looked for and where, and the remedy.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        let path = Record::open(&self.run_dir)?.beside(SOCKET_NAME);
        let mut client = Client::connect(&path).map_err(|error| match error {
            ControlError::NotRunning { path } if instance::is_running() => anyhow!(
                "an ipvsd runs in this network namespace, but does not listen on {} (was it started with another \
                 --run-dir? give it here too; its log says where it could not listen)",
                path.display()
            ),
            ControlError::NotRunning { path } => anyhow!(
                "no ipvsd runs in this network namespace: nobody listens on {} (start it: `systemctl start ipvsd`, or \
                 `ipvsd run -c FILE`; enter another namespace with `ip netns exec NAME ipvsd ...`)",
                path.display()
            ),
            other => other.into(),
        })?;
        client.set_limit(Some(PATIENCE))?;
        Ok(client)
    }

    /// The run directory.
    pub(super) fn path(&self) -> &Path {
        &self.run_dir
    }

    /// The file with the configuration that the daemon uses.
    ///
    /// # Errors
    /// It cannot be told which network namespace this is.
    pub(super) fn running_file(&self) -> anyhow::Result<RunningFile> {
        Ok(RunningFile::beside(&Record::open(&self.run_dir)?))
    }

    /// Asks for one reply.
    ///
    /// # Errors
    /// As [`RunDir::connect`], and what keeps the daemon from answering.
    pub(super) fn ask(&self, request: &Request) -> anyhow::Result<Reply> {
        Ok(self.connect()?.ask(request)?)
    }
}

/// Prints a reply as JSON.
pub(super) fn print_json(reply: &Reply) -> anyhow::Result<ExitCode> {
    let mut text = serde_json::to_vec_pretty(reply)?;
    text.push(b'\n');
    print(&text)?;
    Ok(match reply {
        Reply::Refused(_) => ExitCode::FAILURE,
        Reply::Status(_)
        | Reply::Why(_)
        | Reply::Event(_)
        | Reply::Reloaded(_)
        | Reply::Upgraded(_)
        | Reply::Changed(_)
        | Reply::Plan(_)
        | Reply::Paused(_)
        | Reply::Peer(_) => ExitCode::SUCCESS,
    })
}

/// Says why something was not done.
pub(super) fn print_refusal(refused: &Refused) -> anyhow::Result<ExitCode> {
    let mut errors = std::io::stderr().lock();
    writeln!(errors, "ipvsd: {}", refused.message)?;
    if !refused.candidates.is_empty() {
        writeln!(errors, "ipvsd: there is {}", refused.candidates.join(", "))?;
    }
    for problem in &refused.problems {
        writeln!(errors, "{problem}")?;
    }
    Ok(ExitCode::FAILURE)
}

/// What comes of `drain`, `maint`, `ready` and `weight`.
pub(super) fn print_change(reply: &Reply, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        return print_json(reply);
    }
    match reply {
        Reply::Changed(changed) => {
            let mut out = String::new();
            render::changed(&mut out, changed);
            print(out.as_bytes())?;
            print_warnings(&changed.warnings)?;
            Ok(ExitCode::SUCCESS)
        }
        Reply::Refused(refused) => print_refusal(refused),
        other => unexpected(other),
    }
}

/// Prints warnings to standard error.
pub(super) fn print_warnings(warnings: &[String]) -> anyhow::Result<()> {
    let mut errors = std::io::stderr().lock();
    for warning in warnings {
        writeln!(errors, "warning: {warning}")?;
    }
    Ok(())
}

/// A reply to another question.
pub(super) fn unexpected<T>(reply: &Reply) -> anyhow::Result<T> {
    let kind = match reply {
        Reply::Status(_) => "a status",
        Reply::Why(_) => "reasons",
        Reply::Event(_) => "an event",
        Reply::Reloaded(_) => "the outcome of a reload",
        Reply::Upgraded(_) => "the outcome of an upgrade",
        Reply::Changed(_) => "a change",
        Reply::Plan(_) => "a plan",
        Reply::Paused(_) => "whether it writes",
        Reply::Peer(_) => "the other director",
        Reply::Refused(refused) => bail!("{}", refused.message),
    };
    bail!("the daemon answered with {kind}, which was not asked for (is it of another version?)")
}
