//! `ipvsd ready`: the operator has nothing against a server any more; a weight that it was given stays.

use std::process::ExitCode;

use clap::Args;

use super::running::{RunDir, Server, Until, print_change};
use crate::model::control::Request;

/// The arguments of `ready`.
#[derive(Debug, Args)]
pub(super) struct ReadyArgs {
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
pub(super) fn run(args: ReadyArgs) -> anyhow::Result<ExitCode> {
    let (server, lasting) = (args.server.server, args.until.lasting());
    print_change(&args.run_dir.ask(&Request::Ready { server, lasting })?, args.json)
}
