//! `ipvsd config`: the configuration that the running daemon uses, whatever has become of its files.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use super::list::print;
use super::running::RunDir;
use crate::daemon::instance;

/// The arguments of `config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    run_dir: RunDir,
}

/// Prints the texts of all files, each below a comment with its name.
pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let file = args.run_dir.running_file()?;
    let text = file
        .load()
        .with_context(|| format!("cannot read {} (only root may)", file.path().display()))?;
    let Some(text) = text else {
        bail!(
            "no ipvsd has taken a configuration over in this network namespace: there is no {} (was it started with \
             another --run-dir? give it here too)",
            file.path().display()
        );
    };
    if !instance::is_running() {
        writeln!(
            std::io::stderr(),
            "warning: no ipvsd runs in this network namespace; this is what the last one used"
        )?;
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
