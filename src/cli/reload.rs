//! `ipvsd reload`: the running daemon reads its configuration again, and the outcome is waited for.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::list::print;
use super::running::{RunDir, print_json, print_refusal, print_warnings, unexpected};
use crate::model::control::{Reply, Request};

/// How long the outcome is waited for: a large configuration, and a host whose settings are made first.
const PATIENCE: Duration = Duration::from_secs(300);

/// The arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Reload also where more would be taken away than `remove_limit` of [reload] allows
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb; 1 where the configuration is refused, with every problem of it.
pub(super) fn run(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.run_dir.connect()?;
    client.set_limit(Some(PATIENCE))?;
    let reply = client.ask(&Request::Reload { force: args.force })?;
    if args.json {
        return print_json(&reply);
    }
    match &reply {
        Reply::Reloaded(reloaded) => {
            print_warnings(&reloaded.warnings)?;
            let (virtual_servers, real_servers) = (reloaded.virtual_servers, reloaded.real_servers);
            print(format!("reloaded: {virtual_servers} virtual servers, {real_servers} real servers\n").as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Reply::Refused(refused) => print_refusal(refused),
        other => unexpected(other),
    }
}
