//! The configuration: TOML text in, a [`Config`] or every problem of it out.
//!
//! Thinking only: the files are handed in as [`Sources`], and where one includes others, [`parse`] says which it
//! [needs](Outcome::Needs). The text is parsed to the `toml` crate's table with places and walked here, so that all
//! problems are found at once, each with file, line, column and what to do about it.
//!
//! | file | what |
//! |---|---|
//! | `sources` | the texts, and how a file means its includes |
//! | `problem` | problems as values |
//! | `reader`, `hints` | typed access to values, what an unknown word most likely means |
//! | `address`, `duration` | the small grammars inside strings |
//! | `checks`, `vrrp`, `virtual_server`, `service`, `pool`, `policy`, `command`, `forwarding`, `notify`, `peer`, `settings`, `sync` | the tables and their rules |

mod address;
mod checks;
mod command;
mod duration;
mod forwarding;
mod hints;
mod notify;
mod peer;
mod policy;
mod pool;
mod probes;
mod problem;
mod reader;
mod service;
mod settings;
mod sources;
mod sync;
mod tree;
mod virtual_server;
mod vrrp;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use toml::de::DeTable;

use tree::Table;

pub use problem::{Problem, Problems, Severity};
pub use sources::{Source, Sources, Unreadable, has_wildcard, name_matches};

use self::checks::NamedChecks;
use self::hints::Scope;
use self::pool::Front;
use self::problem::{Ground, Place};
use self::reader::{Item, Reader};
use self::settings::SettingsSeen;
use self::sync::SyncSeen;
use self::virtual_server::Assembly;
use self::vrrp::Routers;
use crate::model::{Config, RealServer, ServiceKey, VirtualServer};

/// How deep files may include files.
const DEEPEST_INCLUDE: usize = 16;
/// The most bytes of a file whose every syntax error is looked for; the parser keeps all of them in memory, so that of a
/// larger one only the first is said.
const LARGEST_RECOVERED: usize = 4 << 20;
/// How many files a configuration may have.
const MOST_FILES: usize = 10_000;

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
    let mut files = vec![File::new(&sources.root, None)];
    let mut needs = Vec::new();
    let mut known = BTreeSet::from([tidy(&sources.root.name)]);
    let mut next = 0;
    while next < files.len() {
        reader.file = next;
        read_toml(&mut reader, &mut files[next]);
        follow_includes(&mut reader, sources, &mut files, next, &mut known, &mut needs);
        next += 1;
    }
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

/// A real server that is added to a virtual server beside its files, with everything that holds for those that say
/// nothing else.
///
/// # Errors
/// Every problem that the files would have with it, one line each.
pub fn added_server(server: &VirtualServer, address: &str, weight: u32) -> Result<RealServer, Vec<String>> {
    // No address has them, and a string of the file would end there.
    if address.contains(['"', '\\']) || address.contains(char::is_control) {
        return Err(vec![format!("`{}` is no address", reader::shorten(address))]);
    }
    let text = format!("[[real_server]]\naddress = \"{address}\"\nweight = {weight}\n");
    let mut reader = Reader::default();
    let table = tree::parse_quickly(&text);
    let item = table.as_ref().and_then(|table| table.get("real_server"));
    let mut ports: Vec<u16> = server.services.iter().filter_map(ServiceKey::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let front = Front {
        services: &server.services,
        ports: &ports,
        forwarding: server.defaults.forwarding,
        checks: &server.defaults.checks,
        notify: &server.defaults.notify,
    };
    let mut read = item
        .map(|item| pool::read_real_servers(&mut reader, &mut NamedChecks::default(), &front, item))
        .unwrap_or_default();
    let problems = reader.ledger.finish(&[("", text.as_bytes())]);
    let errors = problems
        .shown
        .iter()
        .filter(|problem| problem.severity == Severity::Error);
    let mut errors: Vec<String> = errors
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{} ({hint})", problem.text),
            None => problem.text.clone(),
        })
        .collect();
    let Some((_, real)) = read.pop().filter(|_| errors.is_empty()) else {
        if errors.is_empty() {
            errors.push(format!("`{}` cannot be read", reader::shorten(address)));
        }
        return Err(errors);
    };
    let is_there = |key: &ServiceKey| {
        let mut others = server.real_servers.iter();
        others.any(|other| other.destination(key) == real.destination(key))
    };
    if server.services.iter().any(is_there) {
        let text = format!("real server {address} is in this pool already (`ipvsd weight` changes its weight)");
        return Err(vec![text]);
    }
    if let Some(sorry) = &server.sorry_server
        && server
            .services
            .iter()
            .any(|key| sorry.destination(key) == real.destination(key))
        && sorry.spec.forwarding != real.spec.forwarding
    {
        return Err(vec![format!(
            "the sorry server is also a real server, but with forward = \"{}\" instead of \"{}\" (one destination has one \
             way of forwarding)",
            sorry.spec.forwarding, real.spec.forwarding
        )]);
    }
    Ok(real)
}

/// A duration as the configuration has it, for those who type one elsewhere: `"300ms"`, `"2s"`, `"5m"`, `"1h"`, `"1d"`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    duration::parse(text)
}

/// One file while it is read.
struct File<'s> {
    name: &'s str,
    bytes: &'s [u8],
    /// Why it could not be read.
    unreadable: Option<&'s Unreadable>,
    table: Option<Table<'s>>,
    /// The number of the file that includes this one, and where.
    included_from: Option<Place>,
}

impl<'s> File<'s> {
    fn new(source: &'s Source, included_from: Option<Place>) -> Self {
        Self {
            name: &source.name,
            bytes: source.content.as_deref().unwrap_or_default(),
            unreadable: source.content.as_ref().err(),
            table: None,
            included_from,
        }
    }
}

fn read_toml(reader: &mut Reader, file: &mut File<'_>) {
    if let Some(unreadable) = file.unreadable {
        let place = file.included_from.unwrap_or(reader.place(0));
        let text = format!("cannot read {}: {}", file.name, unreadable.cause);
        reader.ledger.mark_incomplete();
        reader.error_at(place, text, unreadable.hint.as_str());
        return;
    }
    let text = match std::str::from_utf8(file.bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let byte = file.bytes.get(at).copied().unwrap_or_default();
            reader.ledger.add(
                reader.place(at),
                Severity::Error,
                Ground::Syntax,
                format!("byte 0x{byte:02x} is not UTF-8"),
                "save the file as UTF-8; is it a configuration at all?".to_owned(),
            );
            return;
        }
    };
    if let Some(table) = tree::parse_quickly(text) {
        file.table = Some(table);
        return;
    }
    let (table, errors) = match text.len() <= LARGEST_RECOVERED {
        true => {
            let (table, errors) = DeTable::parse_recoverable(text);
            (Some(table), errors)
        }
        false => match DeTable::parse(text) {
            Ok(table) => (Some(table), Vec::new()),
            Err(error) => (None, vec![error]),
        },
    };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.ledger.add(
            reader.place(at),
            Severity::Error,
            Ground::Syntax,
            one_line(error.message()),
            syntax_hint(error.message()).to_owned(),
        );
    }
    file.table = table.map(|table| table.into_inner().into());
}

/// A parser's message on one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What helps with the slips that are made most often.
fn syntax_hint(message: &str) -> &'static str {
    match message {
        "duplicate key" => "each key and each [table] stands once; tables in a list have two brackets",
        _ if message.starts_with("string values must be quoted") => "write \"...\" around it",
        _ if message.starts_with("key with no value") || message.starts_with("invalid unquoted key") => {
            "a line is `key = value`; what follows it may not have been read"
        }
        _ => "",
    }
}

/// Appends the files that `files[number]` includes, or notes what is needed for that.
fn follow_includes<'s>(
    reader: &mut Reader,
    sources: &'s Sources,
    files: &mut Vec<File<'s>>,
    number: usize,
    known: &mut BTreeSet<PathBuf>,
    needs: &mut Vec<String>,
) {
    let mut included: Vec<(usize, String)> = Vec::new();
    let name = files[number].name;
    if let Some(item) = files[number].table.as_ref().and_then(|table| table.get("include")) {
        for element in reader.one_or_list(item) {
            let Some(path) = reader.string(element, "include") else {
                continue;
            };
            included.push((element.span().start, path.to_owned()));
        }
    }
    for (at, path) in included {
        let (directory, last) = path.rsplit_once('/').unwrap_or(("", &path));
        if path.is_empty() || last.is_empty() || path.contains('\0') || has_wildcard(directory) {
            reader.error(
                at,
                format!("`include` cannot be \"{}\"", reader::shorten(&path)),
                "a file, or a pattern in its last part: \"conf.d/*.toml\"",
            );
            continue;
        }
        let pattern = sources::resolve(name, &path);
        let Some(answer) = sources.answers.get(&pattern) else {
            if !needs.contains(&pattern) {
                needs.push(pattern);
            }
            continue;
        };
        if answer.is_empty() {
            reader.warning(
                at,
                format!("no file matches {}", reader::shorten(&pattern)),
                "patterns are relative to the file that includes",
            );
        }
        for source in answer {
            follow_one(reader, files, known, number, at, source);
        }
    }
}

fn follow_one<'s>(
    reader: &mut Reader,
    files: &mut Vec<File<'s>>,
    known: &mut BTreeSet<PathBuf>,
    number: usize,
    at: usize,
    source: &'s Source,
) {
    let path = tidy(&source.name);
    let mut chain = vec![number];
    while let Some(from) = files[chain[chain.len() - 1]].included_from {
        chain.push(from.file);
    }
    if chain.iter().any(|file| tidy(files[*file].name) == path) {
        let mut names: Vec<&str> = chain.iter().rev().map(|file| files[*file].name).collect();
        names.push(&source.name);
        reader.error(
            at,
            "a file includes itself",
            format!("{}: take one of them out", names.join(" -> ")),
        );
    } else if chain.len() >= DEEPEST_INCLUDE {
        reader.error(
            at,
            format!("files include files more than {DEEPEST_INCLUDE} deep"),
            "include them from the first file",
        );
    } else if files.len() >= MOST_FILES {
        reader.error(at, format!("more than {MOST_FILES} files are included"), "");
    } else if !known.insert(path) {
        reader.warning(
            at,
            format!("{} is included twice", source.name),
            "it counts once: take one of them out",
        );
    } else {
        files.push(File::new(source, Some(reader.place(at))));
    }
}

/// A path without `.` and with `..` taken back, as far as the text alone can tell.
fn tidy(path: &str) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                tidy.push(component);
            }
        }
    }
    tidy
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
