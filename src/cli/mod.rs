//! The verbs: one file each, with its arguments and what it does with them.
//!
//! Wiring only. A verb reads its arguments, calls the rooms below, prints, and answers with an exit code: 0 done,
//! 1 failed, 2 usage (clap's own), 3 changes pending (`plan`). Errors go to standard error once, with their chain.

mod apply;
mod check_config;
pub mod docs;
mod ipvsadm;
mod list;
mod names;
mod plan;
mod realserver;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use ipvsadm::{run_if_called, status_if_called};

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
    /// Run the director daemon in the foreground
    Run(run::RunArgs),
    /// Print every problem of a configuration file with its place and a hint
    CheckConfig(check_config::Arguments),
    /// Print what `apply` would change, one step a line; exit code 3 where something would
    Plan(plan::PlanArgs),
    /// Make the kernel match a configuration once, without a daemon
    Apply(apply::ApplyArgs),
    /// Show the kernel's table as `ipvsadm -L` does, or as JSON
    List(list::ListArgs),
    /// Do what ipvsadm does, with ipvsadm's options
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Ipvsadm(ipvsadm::IpvsadmArgs),
    /// Prepare this host to be a real server, undo it, or say whether it would work
    Realserver(realserver::RealserverArgs),
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
        Verb::Run(args) => run::run(args),
        Verb::CheckConfig(args) => check_config::run(&args),
        Verb::Plan(args) => plan::run(args),
        Verb::Apply(args) => apply::run(args),
        Verb::List(args) => list::run(&args),
        Verb::Ipvsadm(args) => Ok(ipvsadm::run(&args)),
        Verb::Realserver(args) => realserver::run(&args),
        Verb::Generate(args) => docs::run(&args),
    }
}
