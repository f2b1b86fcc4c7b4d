//! The files of a configuration: each taken apart to its table once, after the one that includes it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use toml::de::DeTable;

use super::problem::{Ground, Place, Severity};
use super::reader::{self, Reader};
use super::sources::{self, Source, Sources, Unreadable, has_wildcard};
use super::tree::{self, Table};

/// How deep files may include files.
const DEEPEST_INCLUDE: usize = 16;
/// The most bytes of a file whose every syntax error is looked for; the parser keeps all of them in memory, so that of a
/// larger one only the first is said.
const LARGEST_RECOVERED: usize = 4 << 20;
/// How many files a configuration may have.
const MOST_FILES: usize = 10_000;

/// One file.
pub(super) struct File<'s> {
    pub(super) name: &'s str,
    pub(super) bytes: &'s [u8],
    /// Why it could not be read.
    unreadable: Option<&'s Unreadable>,
    /// What it says, as far as it has a meaning.
    pub(super) table: Option<Table<'s>>,
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

/// Reads the first file and all that are included; the problems go to the reader. Answers also with the patterns of
/// includes that nobody has looked for yet.
pub(super) fn read<'s>(reader: &mut Reader, sources: &'s Sources) -> (Vec<File<'s>>, Vec<String>) {
    let mut files = vec![File::new(&sources.root, None)];
    let mut needs = Vec::new();
    let mut known = BTreeSet::from([tidy(&sources.root.name)]);
    let mut next = 0;
    while next < files.len() {
        reader.file = next;
        read_toml(reader, &mut files[next]);
        follow_includes(reader, sources, &mut files, next, &mut known, &mut needs);
        next += 1;
    }
    (files, needs)
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
