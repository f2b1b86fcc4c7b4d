//! `ipvsd run`: the director daemon, in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::daemon::{self, record::DEFAULT_RUN_DIR};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/ipvsd/ipvsd.toml")]
    config: PathBuf,
    /// Where ipvsd keeps the record of what it owns
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    run_dir: PathBuf,
    /// Probe and log what would be written, and write nothing
    #[arg(long)]
    observe: bool,
    /// Take the services and virtual addresses of this ipvsd out of the kernel at the end, and nothing else
    #[arg(long)]
    flush_on_stop: bool,
    /// Leave the addresses of virtual routers where they are at the end and tell nobody, for a restart within two adverts
    #[arg(long)]
    keep: bool,
}

/// Runs until SIGTERM or SIGINT; the kernel's table stays as it is then, unless it is to be flushed.
pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    daemon::run(&daemon::Options {
        config: args.config,
        run_dir: args.run_dir,
        observe: args.observe,
        flush_on_stop: args.flush_on_stop,
        keep: args.keep,
    })?;
    Ok(ExitCode::SUCCESS)
}
