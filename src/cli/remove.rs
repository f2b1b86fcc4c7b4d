//! `ipvsd remove`: a running pool has a real server no more, whatever its files say.

use std::process::ExitCode;

use clap::Args;

use super::running::{RunDir, Server, Until, print_change};
use crate::model::control::Request;

/// The arguments of `remove`.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
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
pub(super) fn run(args: RemoveArgs) -> anyhow::Result<ExitCode> {
    let (server, lasting) = (args.server.server, args.until.lasting());
    print_change(&args.run_dir.ask(&Request::Remove { server, lasting })?, args.json)
}
