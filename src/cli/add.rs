//! `ipvsd add`: a running pool gets a further real server, beside what its files say.

use std::process::ExitCode;

use clap::Args;

use super::running::{RunDir, Until, print_change};
use crate::model::control::Request;

/// The arguments of `add`.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The virtual server and the real server's address, as in the file: `web/192.0.2.13:80`
    #[arg(value_name = "VIRTUAL_SERVER/ADDRESS")]
    server: String,
    /// Its weight, 0 to 2147483647 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=2_147_483_647))]
    weight: Option<u32>,
    #[command(flatten)]
    until: Until,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb; 1 where the server does not fit.
pub(super) fn run(args: AddArgs) -> anyhow::Result<ExitCode> {
    let request = Request::Add {
        server: args.server,
        weight: args.weight,
        lasting: args.until.lasting(),
    };
    print_change(&args.run_dir.ask(&request)?, args.json)
}
