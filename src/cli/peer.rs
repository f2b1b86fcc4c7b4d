//! `ipvsd peer`: the key of this director, and how the link to the other one is.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::list::print;
use super::running::{RunDir, print_json, print_refusal, unexpected};
use crate::control::render;
use crate::model::control::{Reply, Request};
use crate::peer::key;

/// The arguments of `peer`.
#[derive(Debug, Args)]
pub(super) struct PeerArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make this director's private key in a new file, and print its public key for the other director's `peer_key`
    Key {
        /// The file; one that is there already is left alone, and its public key printed with --show only
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print the public key of a file that is there, and make none
        #[arg(long)]
        show: bool,
    },
    /// Say whether the other director is connected, what is wrong with the link, and what differs between the two
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        run_dir: RunDir,
    },
}

/// Runs the verb.
pub(super) fn run(args: PeerArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Key { file, show } => {
            let public = match show {
                true => key::load(&file)?.public,
                false => key::make(&file)?,
            };
            print(format!("{public}\n").as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        What::Status { json, run_dir } => {
            let reply = run_dir.ask(&Request::Peer)?;
            if json {
                return print_json(&reply);
            }
            match &reply {
                Reply::Peer(peer) => {
                    let mut out = String::new();
                    render::peer(&mut out, peer);
                    print(out.as_bytes())?;
                    Ok(ExitCode::SUCCESS)
                }
                Reply::Refused(refused) => print_refusal(refused),
                other => unexpected(other),
            }
        }
    }
}
