//! `ipvsd upgrade`: the program on disk takes the running daemon's place, and its readiness is waited for.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::list::print;
use super::running::{RunDir, print_json, print_refusal, unexpected};
use crate::control::ControlError;
use crate::model::control::{Reply, Request};

/// How long the outcome is waited for: a large configuration is read twice, and what is under way ends first.
const PATIENCE: Duration = Duration::from_secs(300);

/// Put the program on disk in the running daemon's place
///
/// The running daemon has the file that it was started from tell its version and check the configuration, and becomes
/// that program: with the same arguments and process id, the control socket and all that it knows of its servers. Traffic
/// flows on. Where the new program is not good, the running one goes on and says why. Exits with 0 once the new program
/// is ready.
#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb; 1 where the running program goes on.
pub(super) fn run(args: &UpgradeArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.run_dir.connect()?;
    client.set_limit(Some(PATIENCE))?;
    let reply = match client.ask(&Request::Upgrade) {
        Err(ControlError::HungUp) => anyhow::bail!(
            "the new program ended before it was ready; traffic flows on, and the service manager starts it again (its \
             log says why: `journalctl -u ipvsd`)"
        ),
        other => other?,
    };
    if args.json {
        return print_json(&reply);
    }
    match &reply {
        Reply::Upgraded(upgraded) => {
            print(format!("upgraded: ipvsd {} -> {}\n", upgraded.from, upgraded.to).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Reply::Refused(refused) => print_refusal(refused),
        other => unexpected(other),
    }
}
