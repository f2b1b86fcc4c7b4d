//! What is said where something is refused, and what is said of the program itself.
//!
//! The first line of a refusal is the original's, for scripts may look for it. What this program adds stands on lines
//! of its own that start with the program's name and a colon, which no line of the original does.

use super::option::{OPTIONS, Takes};
use crate::model::Step;
use crate::model::SyncRole;

use super::command::Command;

/// What `-v` prints: what this program is a stand-in for, since scripts look for the version.
pub const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)";

/// A command line that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The original's words.
    pub message: String,
    /// The exit status: 2, or 255 where the options themselves cannot be read.
    pub status: u8,
    /// What this program adds.
    pub hint: Option<String>,
    /// As a line of many, nothing after it is carried out.
    pub ends: bool,
}

impl Refusal {
    /// The words are no command line at all.
    pub fn usage(program: &str) -> Self {
        Self {
            message: format!("Try `{program} -h' or '{program} --help' for more information."),
            status: 255,
            hint: None,
            ends: true,
        }
    }

    /// The kernel would refuse the command with this error number.
    pub fn foreseen(command: &Command, errno: i32) -> Self {
        Self {
            message: of_errno(command, errno),
            status: 255,
            hint: None,
            ends: false,
        }
    }

    /// A word is no option, or not the way it is. The one fault in a line of many that the original takes lightly.
    pub(super) fn option(word: &str, trouble: &str) -> Self {
        Self {
            message: format!("{word}: {trouble}"),
            status: 255,
            hint: None,
            ends: false,
        }
    }

    /// The options do not make sense.
    pub(super) fn syntax(message: String) -> Self {
        Self {
            message,
            status: 2,
            hint: None,
            ends: true,
        }
    }

    /// Adds the value that was wrong.
    pub(super) fn about(self, text: &str) -> Self {
        Self {
            hint: Some(format!("cannot make anything of `{text}`")),
            ..self
        }
    }

    /// Adds the value that was wrong and what it may be.
    pub(super) fn limits(self, text: &str, least: u32, most: u32) -> Self {
        Self {
            hint: Some(format!("`{text}` is no number from {least} to {most}")),
            ..self
        }
    }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const ENOMEM: i32 = 12;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const EMSGSIZE: i32 = 90;
const ENOPROTOOPT: i32 = 92;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;

/// What the original says where the kernel refuses a command.
pub fn of_errno(command: &Command, errno: i32) -> String {
    let known = match errno {
        EPERM => "Permission denied (you must be root)",
        EINVAL => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        ENOPROTOOPT => "Protocol not available",
        ENOMEM => "Memory allocation problem",
        EOPNOTSUPP => "Operation not supported with IPv6",
        EAFNOSUPPORT => "Operation not supported with specified address family",
        EMSGSIZE => "Module is wrong version",
        _ => match of_command(command, errno) {
            Some(text) => text,
            None => return of_system(errno),
        },
    };
    known.to_owned()
}

fn of_command(command: &Command, errno: i32) -> Option<&'static str> {
    let change = match command {
        Command::Change(step) => return of_step(step, errno),
        Command::Zero(_) | Command::List(_) => (ESRCH, "No such service"),
        Command::StartDaemon(_) => (EEXIST, "Daemon has already run"),
        Command::StopDaemon(SyncRole::Master | SyncRole::Backup) => (ESRCH, "No daemon is running"),
        Command::Clear
        | Command::Restore { .. }
        | Command::Save { .. }
        | Command::SetTimeouts(_)
        | Command::Help
        | Command::Version => return None,
    };
    (change.0 == errno).then_some(change.1)
}

fn of_step(step: &Step, errno: i32) -> Option<&'static str> {
    const NO_MODULE: &str = "Scheduler or persistence engine not found";
    match (step, errno) {
        (Step::AddService { .. }, EEXIST) => Some("Service already exists"),
        (Step::AddService { .. } | Step::SetService { .. }, ENOENT) => Some(NO_MODULE),
        (Step::SetService { .. } | Step::RemoveService { .. }, ESRCH) => Some("No such service"),
        (Step::AddDestination { .. } | Step::SetDestination { .. } | Step::RemoveDestination { .. }, ESRCH) => {
            Some("Service not defined")
        }
        (Step::AddDestination { .. }, EEXIST) => Some("Destination already exists"),
        (Step::SetDestination { .. } | Step::RemoveDestination { .. }, ENOENT) => Some("No such destination"),
        (
            Step::AddService { .. }
            | Step::SetService { .. }
            | Step::RemoveService { .. }
            | Step::AddDestination { .. }
            | Step::SetDestination { .. }
            | Step::RemoveDestination { .. },
            _,
        ) => None,
    }
}

/// The C library's words.
fn of_system(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// What the original says where the kernel has no IPVS, or lets nobody near it.
pub fn not_initialized(is_permitted: bool) -> String {
    let why = match is_permitted {
        true => "Protocol not available",
        false => "Permission denied (you must be root)",
    };
    format!("Can't initialize ipvs: {why}\nAre you sure that IP Virtual Server is built in the kernel or as module?")
}

/// What `-h` prints.
pub fn help(program: &str) -> String {
    use std::fmt::Write;
    let mut text = format!("{VERSION}\nUsage:\n");
    for line in [
        "-A|E SERVICE [-s scheduler] [-p [seconds]] [-M mask] [--pe engine] [-b flags] [-o]",
        "-D SERVICE",
        "-C",
        "-R [--atomic]",
        "-S [-n]",
        "-a|e SERVICE -r SERVER [-g|-i|-m] [-w weight] [-x number] [-y number] [tunnel options]",
        "-d SERVICE -r SERVER",
        "-L|l [SERVICE | -c | --timeout | --daemon] [-n] [listing options]",
        "-Z [SERVICE]",
        "--set tcp tcpfin udp",
        "--start-daemon {master|backup} [daemon options]",
        "--stop-daemon {master|backup}",
        "-h",
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {program} {line}");
    }
    text.push_str("\nThe first option is the command, by its letter or its name:\n");
    let mut part = 0;
    for entry in OPTIONS {
        let heading = match (part, entry.long) {
            (0, "tcp-service") => "\nSERVICE, one of:\n",
            (1, "scheduler") => "\nOptions:\n",
            (2, "syncid") => "\nDaemon options:\n",
            (3, "json") => "\nOf this program:\n",
            _ => "",
        };
        part += usize::from(!heading.is_empty());
        text.push_str(heading);
        let letter = entry.short.map(|letter| format!("-{letter}")).unwrap_or_default();
        let value = match entry.takes {
            Takes::Nothing => "",
            Takes::Value | Takes::PerhapsValue => entry.value,
        };
        let name = format!("--{}", entry.long);
        let _ = writeln!(text, "  {name:<18}{letter:<3}{value:<13}{}", entry.about);
    }
    text
}
