//! The configuration: TOML text in, a [`Config`] or every problem of it out.
//!
//! Thinking only: the files are handed in as [`Sources`], and where one includes others, [`parse`] says which it
//! [needs](Outcome::Needs). The text is parsed to the `toml` crate's table with places and walked here, so that all
//! problems are found at once, each with file, line, column and what to do about it.
//!
//! | file | what |
//! |---|---|
//! | `sources` | the texts, and how a file means its includes |
//! | `files` | each file of them taken apart to its table, those that others include after them |
//! | `problem` | problems as values |
//! | `scope` | the tables, and which keys each has |
//! | `reader`, `hints` | typed access to values, what an unknown word most likely means |
//! | `address`, `duration` | the small grammars inside strings |
//! | `checks`, `vrrp`, `virtual_server`, `service`, `pool`, `policy`, `command`, `forwarding`, `notify`, `peer`, `settings`, `sync` | the tables and their rules |
//! | `addition` | a real server that an operator adds beside the files |

mod addition;
mod address;
mod checks;
mod command;
mod duration;
mod files;
mod forwarding;
mod hints;
mod notify;
mod peer;
mod policy;
mod pool;
mod probes;
mod problem;
mod reader;
mod scope;
mod service;
mod settings;
mod sources;
mod sync;
mod tree;
mod virtual_server;
mod vrrp;

pub use addition::added_server;
pub use problem::{Problem, Problems, Severity};
pub use sources::{Source, Sources, Unreadable, has_wildcard, name_matches};

use self::checks::NamedChecks;
use self::files::File;
use self::reader::{Item, Reader};
use self::scope::Scope;
use self::settings::SettingsSeen;
use self::sync::SyncSeen;
use self::virtual_server::Assembly;
use self::vrrp::Routers;
use crate::model::Config;

/// What became of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It can be used.
    Parsed {
        /// What it means.
        config: Box<Config>,
        /// What somebody should look at.
        warnings: Problems,
    },
    /// It includes files that have not been handed in: answer each pattern with [`Sources::answer`], and parse again.
    Needs(Vec<String>),
    /// It cannot be used.
    Refused(Problems),
}

/// Reads a configuration.
pub fn parse(sources: &Sources) -> Outcome {
    read(sources).0
}

/// Reads a configuration in a process that ends soon: what the text was taken apart to is left to its end, for the
/// kernel takes back memory faster than it is given back piece by piece.
pub fn parse_once(sources: &Sources) -> Outcome {
    let (outcome, files) = read(sources);
    std::mem::forget(files);
    outcome
}

fn read(sources: &Sources) -> (Outcome, Vec<File<'_>>) {
    let mut reader = Reader::default();
    let (files, needs) = files::read(&mut reader, sources);
    if !needs.is_empty() {
        return (Outcome::Needs(needs), files);
    }

    let mut config = Config::default();
    let mut checks = NamedChecks::default();
    let mut assembly = Assembly::default();
    let mut routers = Routers::default();
    let mut seen = SettingsSeen::default();
    let mut sync = SyncSeen::default();
    let mut walks: Vec<(usize, [Option<&Item<'_>>; 12])> = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        reader.file = number;
        if let Some(table) = &file.table {
            walks.push((number, reader.fields(table, Scope::Top)));
        }
    }
    for (
        number,
        [
            named,
            control,
            host,
            _,
            ipvs,
            notify,
            peer,
            reconcile,
            reload,
            instances,
            _,
            _,
        ],
    ) in &walks
    {
        reader.file = *number;
        if let Some(item) = named {
            checks.read(&mut reader, item);
        }
        if let Some(item) = ipvs {
            settings::read_ipvs(&mut reader, &mut seen, &mut sync, item, &mut config);
        }
        if let Some(item) = host {
            settings::read_host(&mut reader, &mut seen, item, &mut config);
        }
        if let Some(item) = control {
            settings::read_control(&mut reader, &mut seen, item, &mut config);
        }
        if let Some(item) = reconcile {
            settings::read_reconcile(&mut reader, &mut seen, item, &mut config);
        }
        if let Some(item) = notify {
            notify::read(&mut reader, &mut seen, item, &mut config);
        }
        if let Some(item) = peer {
            peer::read(&mut reader, &mut seen, item, &mut config);
        }
        if let Some(item) = reload {
            settings::read_reload(&mut reader, &mut seen, item, &mut config);
        }
        if let Some(item) = instances {
            routers.read_instances(&mut reader, item);
        }
    }
    for (number, [.., virtual_servers]) in &walks {
        reader.file = *number;
        if let Some(item) = virtual_servers {
            assembly.read(&mut reader, &mut checks, item);
        }
    }
    // Whose addresses are there for good is held against all that move.
    let (moving, staying): (Vec<_>, Vec<_>) = assembly
        .followers
        .iter()
        .partition(|follower| follower.instance.is_some());
    for follower in moving.into_iter().chain(staying) {
        routers.follow(&mut reader, follower, &assembly.virtual_servers);
    }
    routers.examine_refused(
        &mut reader,
        &assembly.followers,
        &assembly.services,
        &assembly.virtual_servers,
    );
    for (number, [.., groups, _]) in &walks {
        reader.file = *number;
        if let Some(item) = groups {
            routers.read_groups(&mut reader, item);
        }
    }
    let waits = routers.finish(&mut reader, &assembly.virtual_servers, &mut config);
    let moving = vrrp::moving(
        &assembly.followers,
        &assembly.services,
        &assembly.virtual_servers,
        &config.vrrp_instances,
    );
    sync.finish(&mut reader, &waits, &moving, &assembly.virtual_servers, &mut config);
    assembly.warn_of_chains(&mut reader);
    assembly.warn_of_loops(&mut reader, &sources.own_addresses, &moving);
    checks.warn_unused(&mut reader);
    warn_if_nothing_is_served(&mut reader, &walks);
    config.virtual_servers = assembly.virtual_servers;

    let texts: Vec<(&str, &[u8])> = files.iter().map(|file| (file.name, file.bytes)).collect();
    let problems = reader.ledger.finish(&texts);
    let outcome = match problems.has_errors() {
        true => Outcome::Refused(problems),
        false => Outcome::Parsed {
            config: Box::new(config),
            warnings: problems,
        },
    };
    (outcome, files)
}

/// A duration as the configuration has it, for those who type one elsewhere: `"300ms"`, `"2s"`, `"5m"`, `"1h"`, `"1d"`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    duration::parse(text)
}

/// A file that lost its content must not look like the wish to serve nothing.
fn warn_if_nothing_is_served(reader: &mut Reader, walks: &[(usize, [Option<&Item<'_>>; 12])]) {
    let moves_addresses = |fields: &[Option<&Item<'_>>; 12]| matches!(fields, [.., Some(_), _, _]);
    if walks
        .iter()
        .any(|(_, fields)| matches!(fields, [.., Some(_)]) || moves_addresses(fields))
    {
        return;
    }
    reader.file = 0;
    match walks.iter().all(|(_, fields)| fields.iter().all(Option::is_none)) {
        true => reader.missing(
            0,
            "there is nothing in this file",
            "a copy that broke off? to serve nothing on purpose, write virtual_server = []",
        ),
        false => reader.warning(
            0,
            "there is no virtual_server: nothing is served",
            "to serve nothing on purpose, write virtual_server = []",
        ),
    }
}
