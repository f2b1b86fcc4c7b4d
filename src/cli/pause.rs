//! `ipvsd pause`: the running daemon writes nothing to the kernel's table for a while.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::list::print;
use super::running::{RunDir, print_json, print_refusal, unexpected};
use crate::config;
use crate::control::render;
use crate::model::control::{Reply, Request};

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The arguments of `pause`.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// For how long (`90s`, `5m`, `1h`), at most a day; probes go on, and the log says so every minute
    #[arg(value_name = "DURATION", value_parser = parse)]
    duration: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

fn parse(text: &str) -> Result<Duration, String> {
    let fits = |duration: &Duration| duration.subsec_millis() == 0 && !duration.is_zero() && *duration <= LONGEST;
    let duration = config::parse_duration(text).filter(fits);
    duration
        .ok_or_else(|| "a pause is a number of seconds or more with its unit, at most a day: 90s, 5m, 1h".to_owned())
}

/// Runs the verb.
pub(super) fn run(args: &PauseArgs) -> anyhow::Result<ExitCode> {
    let request = Request::Pause {
        duration: args.duration,
    };
    show(&args.run_dir.ask(&request)?, args.json)
}

/// Prints whether the table is written, or why that is not known.
pub(super) fn show(reply: &Reply, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        return print_json(reply);
    }
    match reply {
        Reply::Paused(paused) => {
            let mut out = String::new();
            render::paused(&mut out, paused);
            print(out.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Reply::Refused(refused) => print_refusal(refused),
        other => unexpected(other),
    }
}
