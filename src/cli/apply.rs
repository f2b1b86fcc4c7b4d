//! `ipvsd apply`: makes the kernel match a configuration once, without a daemon.

use std::io::Write;
use std::process::ExitCode;

use super::plan::{PlanArgs, show};
use crate::daemon::once;

/// Prints what was changed, and what could not be with its reason; 1 where something could not be.
pub(super) fn run(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let applied = once::apply(&args.options())?;
    show(&applied.difference)?;
    let mut errors = std::io::stderr().lock();
    for problem in &applied.problems {
        writeln!(errors, "ipvsd: {problem}")?;
    }
    if applied.problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        errors,
        "ipvsd: {} of the changes above could not be made; the others are in",
        applied.problems.len()
    )?;
    Ok(ExitCode::FAILURE)
}
