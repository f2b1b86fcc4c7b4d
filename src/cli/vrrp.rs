//! `ipvsd vrrp step-down`: a virtual router is handed over to another director.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::running::RunDir;
use super::status;
use crate::model::control::Request;

/// The arguments of `vrrp`.
#[derive(Debug, Args)]
pub(super) struct VrrpArgs {
    #[command(subcommand)]
    verb: VrrpVerb,
}

#[derive(Debug, Subcommand)]
enum VrrpVerb {
    /// Hand an instance, and its sync group, over to another director; it takes over again only where nobody else is left
    StepDown(StepDownArgs),
}

#[derive(Debug, Args)]
struct StepDownArgs {
    /// The instance
    #[arg(value_name = "VRRP_INSTANCE")]
    vrrp_instance: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb; shows what there is then.
pub(super) fn run(args: VrrpArgs) -> anyhow::Result<ExitCode> {
    let VrrpVerb::StepDown(args) = args.verb;
    let vrrp_instance = args.vrrp_instance;
    status::show(&args.run_dir.ask(&Request::StepDown { vrrp_instance })?, args.json)
}
