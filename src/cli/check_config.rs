//! `ipvsd check-config FILE`: every problem of a configuration, without touching anything.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use crate::config::Problem;
use crate::daemon::files;

/// Say every problem of a configuration file, with line, column and what to do about it
///
/// Prints one problem a line as `file:line:column: error|warning: text (hint)`. Exits with 0 where the configuration
/// can be used, warnings or not, and with 1 where it cannot.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file
    file: PathBuf,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

/// The JSON of `check-config --json`.
#[derive(Serialize)]
struct Report<'p> {
    /// Whether the configuration can be used.
    usable: bool,
    problems: &'p [Problem],
    /// How many problems are not listed.
    more: usize,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (usable, problems) = match files::load_once(&arguments.file) {
        Ok(loaded) => (true, loaded.warnings),
        Err(files::BadConfig(problems, _)) => (false, problems),
    };
    let mut out = io::stdout().lock();
    let printed = if arguments.json {
        let report = Report {
            usable,
            problems: &problems.shown,
            more: problems.more,
        };
        let text = serde_json::to_string_pretty(&report).context("cannot show the problems as JSON")?;
        writeln!(out, "{text}")
    } else if problems.is_empty() {
        Ok(())
    } else {
        writeln!(out, "{problems}")
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error).context("cannot print"),
        Ok(()) | Err(_) => {}
    }
    Ok(match usable {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
