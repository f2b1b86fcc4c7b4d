//! `ipvsd ipvsadm …`, and this binary called `ipvsadm`, `ipvsadm-save` or `ipvsadm-restore`: a stand-in for the
//! original, with its options, output, exit statuses and messages.
//!
//! The words are not clap's: [`run_if_called`] looks at them before clap's commands are built. What this program has to
//! add to a message stands on standard error in lines of its own that start with `ipvsadm: `.
//!
//! | file | what |
//! |---|---|
//! | `session` | carrying out one command, telling what went wrong |
//! | `restore` | standard input, line by line, written in batches |
//! | `owned` | services of a running daemon, to which changes do not last |

mod owned;
mod restore;
mod session;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use self::session::Session;
use super::names::HostNames;
use crate::ipvsadm::{self, Command};

const NAME: &str = "ipvsadm";

/// The arguments of `ipvsadm`.
#[derive(Debug, Args)]
pub(super) struct IpvsadmArgs {
    /// The options of ipvsadm(8), see `ipvsd ipvsadm -h`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Runs the verb.
pub(super) fn run(args: &IpvsadmArgs) -> ExitCode {
    ExitCode::from(one_line(&text_of(&args.words), NAME))
}

/// Runs as ipvsadm where the first of the words, the program's own name, or the second one asks for it.
pub fn run_if_called(words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    status_if_called(words).map(ExitCode::from)
}

/// As [`run_if_called`], for callers that read the exit status.
pub fn status_if_called(words: impl Iterator<Item = OsString>) -> Option<u8> {
    let words: Vec<OsString> = words.collect();
    let (program, rest) = words.split_first()?;
    match Path::new(program).file_name()?.to_str()? {
        "ipvsadm" => Some(one_line(&text_of(rest), &program.to_string_lossy())),
        "ipvsadm-save" => Some(save(&text_of(rest))),
        "ipvsadm-restore" => Some(restore_file(&text_of(rest))),
        _ => match rest.split_first() {
            Some((verb, rest)) if verb == NAME => Some(one_line(&text_of(rest), NAME)),
            _ => None,
        },
    }
}

/// A word that is no UTF-8 can only be part of a name that nobody has.
fn text_of(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn one_line(words: &[String], program: &str) -> u8 {
    let mut session = Session::new(program);
    let status = match ipvsadm::parse(words, program, &HostNames) {
        Ok(Command::Restore { atomic }) => restore::from_stdin(&mut session, restore::Style::bare(atomic)),
        Ok(command) => session.carry_out(&command).status,
        Err(refusal) => {
            session::tell(&refusal.message);
            if let Some(hint) = refusal.hint {
                session::add(&hint);
            }
            refusal.status
        }
    };
    owned::warn(session.touched());
    status
}

/// `ipvsadm-save [-n]`; what is no option is passed over.
fn save(words: &[String]) -> u8 {
    let mut numeric = false;
    for word in words {
        match word.as_str() {
            "-n" => numeric = true,
            word if word.starts_with('-') => {
                session::tell("ipvsadm-save: Script to save the IPVS table to stdout.");
                session::tell("   With the -n option, prints out the table in numeric format.");
                return 1;
            }
            _ => {}
        }
    }
    Session::new(NAME).carry_out(&Command::Save { numeric }).status
}

/// `ipvsadm-restore [--atomic]`: clears the table first, and passes over lines that start with `#`.
fn restore_file(words: &[String]) -> u8 {
    let atomic = words.iter().any(|word| word == "--atomic");
    let mut session = Session::new(NAME);
    let status = restore::from_stdin(&mut session, restore::Style::file(atomic));
    owned::warn(session.touched());
    status
}
