//! `ipvsd apply`: makes the kernel match a configuration once, without a daemon.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::plan::{PlanArgs, show, warn};
use crate::daemon::once;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Print every change, as `plan` does
    #[arg(short, long)]
    verbose: bool,
}

/// Says how much was changed, and what could not be with its reason; 1 where something could not be.
pub(super) fn run(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let applied = once::apply(&args.plan.options())?;
    let difference = &applied.difference;
    let changes = difference.steps.len() + difference.missing.len() + difference.superfluous.len();
    if args.verbose {
        show(difference)?;
    } else {
        warn(difference)?;
        writeln!(
            std::io::stdout(),
            "{} of {changes} changes made",
            changes - applied.not_made
        )?;
    }
    let mut errors = std::io::stderr().lock();
    for problem in &applied.problems {
        writeln!(errors, "ipvsd: {problem}")?;
    }
    Ok(if applied.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
