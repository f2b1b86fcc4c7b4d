//! `ipvsd events`: what has happened, and what happens.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::running::{RunDir, print_refusal, unexpected};
use crate::control::render;
use crate::model::control::{Reply, Request};

/// The arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Show at most so many of the past
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<u32>,
    /// Go on with those that come, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Runs the verb.
pub(super) fn run(args: &EventsArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.run_dir.connect()?;
    client.send(&Request::Events {
        last: args.last,
        follow: args.follow,
    })?;
    if args.follow {
        client.set_limit(None)?;
    }
    let mut stdout = io::stdout().lock();
    while let Some(reply) = client.receive()? {
        let line = match &reply {
            Reply::Event(_) if args.json => reply.encode(),
            Reply::Event(event) => {
                let mut line = String::new();
                render::event(&mut line, event);
                line.into_bytes()
            }
            Reply::Refused(refused) => return print_refusal(refused),
            other => return unexpected(other),
        };
        match stdout.write_all(&line).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            // Whoever reads has seen enough (`| head`).
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error).context("cannot write to standard output"),
        }
    }
    if args.follow {
        anyhow::bail!("the daemon has hung up (has it been stopped, or was this too slow to read?)");
    }
    Ok(ExitCode::SUCCESS)
}
