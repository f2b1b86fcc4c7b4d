//! The `ipvsd` binary: parses the command line, runs the verb, prints what went wrong.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Has a grammar of its own, and scripts that call it ten thousand times.
    if let Some(code) = ipvsd::cli::run_if_called(std::env::args_os()) {
        return code;
    }
    match ipvsd::cli::run(ipvsd::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody is left to tell where standard error itself is closed.
            let _ = writeln!(std::io::stderr(), "ipvsd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
