//! `ipvsd return`: a pool goes back from a backup tier or the sorry server to the best tier that can serve.

use std::process::ExitCode;

use clap::Args;

use super::running::RunDir;
use super::status;
use crate::model::control::Request;

/// The arguments of `return`.
#[derive(Debug, Args)]
pub(super) struct ReturnArgs {
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
pub(super) fn run(args: ReturnArgs) -> anyhow::Result<ExitCode> {
    let virtual_server = args.virtual_server;
    status::show(&args.run_dir.ask(&Request::Return { virtual_server })?, args.json)
}
