//! `ipvsd weight`: a server has this weight while it serves, in place of the configured one.

use std::process::ExitCode;

use clap::Args;

use super::running::{RunDir, Server, Until, print_change};
use crate::model::WeightAdvice;
use crate::model::control::{Request, parse_percent};

/// The largest weight that the kernel takes.
const LARGEST: u32 = 2_147_483_647;

/// The arguments of `weight`.
#[derive(Debug, Args)]
pub(super) struct WeightArgs {
    #[command(flatten)]
    server: Server,
    /// 0 to 2147483647, `50%` of the configured weight (at most 1000%), or `auto` for what the configuration and the
    /// server's checks say
    #[arg(value_name = "N|N%|auto", value_parser = parse)]
    weight: Wanted,
    #[command(flatten)]
    until: Until,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Debug, Clone, Copy)]
struct Wanted(Option<WeightAdvice>);

fn parse(text: &str) -> Result<Wanted, String> {
    match text {
        "auto" => Ok(Wanted(None)),
        _ => match text.parse() {
            Ok(weight) if weight <= LARGEST => Ok(Wanted(Some(WeightAdvice::Absolute(weight)))),
            Ok(_) | Err(_) => match parse_percent(text) {
                Some(share) => Ok(Wanted(Some(share))),
                None => Err(format!(
                    "a weight is 0 to {LARGEST}, a share such as 50% (at most 1000%), or `auto`"
                )),
            },
        },
    }
}

/// Runs the verb.
pub(super) fn run(args: WeightArgs) -> anyhow::Result<ExitCode> {
    let (server, Wanted(weight)) = (args.server.server, args.weight);
    let lasting = args.until.lasting();
    let request = Request::Weight {
        server,
        weight,
        lasting,
    };
    print_change(&args.run_dir.ask(&request)?, args.json)
}
