//! `ipvsd maint`: a server gets no traffic, whatever its checks say.

use std::process::ExitCode;

use clap::Args;

use super::running::{RunDir, Server, Until, print_change};
use crate::model::control::Request;

/// The arguments of `maint`.
#[derive(Debug, Args)]
pub(super) struct MaintArgs {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    until: Until,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb.
pub(super) fn run(args: MaintArgs) -> anyhow::Result<ExitCode> {
    let (server, lasting) = (args.server.server, args.until.lasting());
    print_change(&args.run_dir.ask(&Request::Maint { server, lasting })?, args.json)
}
