//! `ipvsd status`: the running daemon's pools, and who serves in them.

use std::process::ExitCode;

use clap::Args;

use super::list::print;
use super::running::{RunDir, print_json, print_refusal, unexpected};
use crate::control::render;
use crate::model::control::{Reply, Request};

/// The arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show only this virtual server
    #[arg(value_name = "VIRTUAL_SERVER")]
    virtual_server: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb.
pub(super) fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let reply = args.run_dir.ask(&Request::Status {
        virtual_server: args.virtual_server,
    })?;
    show(&reply, args.json)
}

/// Prints a status, or why there is none.
pub(super) fn show(reply: &Reply, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        return print_json(reply);
    }
    match reply {
        Reply::Status(status) => {
            let mut out = String::new();
            render::status(&mut out, status);
            print(out.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Reply::Refused(refused) => print_refusal(refused),
        other => unexpected(other),
    }
}
