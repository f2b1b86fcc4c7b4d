//! The verbs: one file each, with its arguments and what it does with them.
//!
//! Wiring only. A verb reads its arguments, calls the rooms below, prints, and answers with an exit code: 0 done,
//! 1 failed, 2 usage (clap's own), 3 changes pending (`plan`). Errors go to standard error once, with their chain.

mod check_config;
pub mod docs;
mod realserver;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command line of `ipvsd`.
#[derive(Debug, Parser)]
#[command(name = "ipvsd", version, about, long_about = None, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// One variant a verb; each carries that verb's own arguments.
#[derive(Debug, Subcommand)]
enum Verb {
    CheckConfig(check_config::Arguments),
    Realserver(realserver::Arguments),
    /// Write man pages and shell completions
    #[command(hide = true)]
    Generate(docs::GenerateArgs),
}

/// Runs the verb on the command line.
///
/// # Errors
/// What the verb could not do, with place and remedy, ready to be printed once with its chain.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::CheckConfig(arguments) => check_config::run(&arguments),
        Verb::Realserver(arguments) => realserver::run(&arguments),
        Verb::Generate(args) => docs::run(&args),
    }
}
