//! `ipvsd plan`: what `apply` would change.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::daemon::once::{self, Difference, Options};
use crate::daemon::record::DEFAULT_RUN_DIR;

/// Exit code of `plan` when something would change.
pub(super) const CHANGES_PENDING: u8 = 3;

/// The arguments that `plan` and `apply` share.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/ipvsd/ipvsd.toml")]
    config: PathBuf,
    /// Where ipvsd keeps the record of what it owns
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    run_dir: PathBuf,
}

impl PlanArgs {
    pub(super) fn options(self) -> Options {
        Options {
            config: self.config,
            run_dir: self.run_dir,
        }
    }
}

/// Prints one step a line; 0 where nothing is to do, 3 where something is.
pub(super) fn run(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let difference = once::difference(&args.options())?;
    show(&difference)?;
    Ok(if difference.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHANGES_PENDING)
    })
}

/// Prints warnings to standard error.
pub(super) fn warn(difference: &Difference) -> anyhow::Result<()> {
    let mut errors = BufWriter::new(std::io::stderr().lock());
    for warning in &difference.warnings {
        writeln!(errors, "{warning}")?;
    }
    errors.flush()?;
    Ok(())
}

/// Prints warnings to standard error and changes to standard output.
pub(super) fn show(difference: &Difference) -> anyhow::Result<()> {
    warn(difference)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for step in &difference.steps {
        writeln!(out, "{step}")?;
    }
    for vip in &difference.missing {
        writeln!(out, "put address {} on {}", vip.address, vip.device)?;
    }
    for vip in &difference.superfluous {
        writeln!(out, "take address {} off {}", vip.address, vip.device)?;
    }
    out.flush()?;
    Ok(())
}
