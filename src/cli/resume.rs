//! `ipvsd resume`: the running daemon writes to the kernel's table again, before its pause is over.

use std::process::ExitCode;

use clap::Args;

use super::pause::show;
use super::running::RunDir;
use crate::model::control::Request;

/// The arguments of `resume`.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb.
pub(super) fn run(args: &ResumeArgs) -> anyhow::Result<ExitCode> {
    show(&args.run_dir.ask(&Request::Resume)?, args.json)
}
