//! `ipvsd weight`: a server has this weight while it serves, in place of the configured one.

use std::process::ExitCode;

use clap::Args;

use super::running::{RunDir, Server, print_change};
use crate::model::control::Request;

/// The largest weight that the kernel takes.
const LARGEST: u32 = 2_147_483_647;

/// The arguments of `weight`.
#[derive(Debug, Args)]
pub(super) struct WeightArgs {
    #[command(flatten)]
    server: Server,
    /// 0 to 2147483647, or `auto` for what the configuration and the server's checks say
    #[arg(value_name = "N|auto", value_parser = parse)]
    weight: Wanted,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Debug, Clone, Copy)]
struct Wanted(Option<u32>);

fn parse(text: &str) -> Result<Wanted, String> {
    match text {
        "auto" => Ok(Wanted(None)),
        _ => match text.parse() {
            Ok(weight) if weight <= LARGEST => Ok(Wanted(Some(weight))),
            Ok(_) | Err(_) => Err(format!("a weight is 0 to {LARGEST}, or `auto`")),
        },
    }
}

/// Runs the verb.
pub(super) fn run(args: WeightArgs) -> anyhow::Result<ExitCode> {
    let (server, Wanted(weight)) = (args.server.server, args.weight);
    print_change(&args.run_dir.ask(&Request::Weight { server, weight })?, args.json)
}
