//! `ipvsd apply`: makes the kernel match a configuration once, without a daemon.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::plan::{show, warn};
use crate::daemon::once::{self, Options};
use crate::daemon::record::DEFAULT_RUN_DIR;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/ipvsd/ipvsd.toml")]
    config: PathBuf,
    /// Where ipvsd keeps the record of what it owns
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    run_dir: PathBuf,
    /// Print every change, as `plan` does
    #[arg(short, long)]
    verbose: bool,
}

/// Says how much was changed, and what could not be with its reason; 1 where something could not be.
pub(super) fn run(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    let applied = once::apply(&Options {
        config: args.config,
        run_dir: args.run_dir,
    })?;
    let difference = &applied.difference;
    let changes = difference.steps.len() + difference.missing.len() + difference.superfluous.len();
    if args.verbose {
        show(difference)?;
    } else {
        warn(&difference.warnings)?;
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
