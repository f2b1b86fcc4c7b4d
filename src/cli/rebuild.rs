//! `ipvsd rebuild`: a pool's destinations are taken out and put in again in the order of their addresses.

use std::process::ExitCode;

use clap::Args;

use super::running::RunDir;
use super::status;
use crate::model::control::Request;

/// The arguments of `rebuild`.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// The virtual server
    #[arg(value_name = "VIRTUAL_SERVER")]
    virtual_server: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb; shows the pool as it is then.
pub(super) fn run(args: RebuildArgs) -> anyhow::Result<ExitCode> {
    let virtual_server = args.virtual_server;
    status::show(&args.run_dir.ask(&Request::Rebuild { virtual_server })?, args.json)
}
