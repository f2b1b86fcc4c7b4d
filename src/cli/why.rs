//! `ipvsd why`: why a server is in the state it is in.

use std::process::ExitCode;

use clap::Args;

use super::list::print;
use super::running::{RunDir, Server, print_json, print_refusal, unexpected};
use crate::control::render;
use crate::model::control::{Reply, Request};

/// The arguments of `why`.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    #[command(flatten)]
    server: Server,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb.
pub(super) fn run(args: WhyArgs) -> anyhow::Result<ExitCode> {
    let server = args.server.server;
    let reply = args.run_dir.ask(&Request::Why { server })?;
    if args.json {
        return print_json(&reply);
    }
    match &reply {
        Reply::Why(why) => {
            let mut out = String::new();
            render::why(&mut out, why);
            print(out.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Reply::Refused(refused) => print_refusal(refused),
        other => unexpected(other),
    }
}
