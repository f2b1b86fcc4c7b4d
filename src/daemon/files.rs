//! Reading configuration files: the hands of the `config` room.
//!
//! It reads what the room asks for, bounded in size, and decides nothing about what is in them. Used by every verb that
//! takes a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{self, Outcome, Problems, Source, Sources, Unreadable, has_wildcard, name_matches};
use crate::model::Config;
use crate::net;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// What somebody should look at.
    pub warnings: Problems,
    /// The files that were read.
    pub seen: Seen,
    /// What was in them.
    pub sources: Sources,
}

/// A configuration that cannot be used, with every reason, and the files that were read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the configuration cannot be used:\n{0}")]
pub struct BadConfig(pub Problems, pub Seen);

/// Reads a configuration and everything it includes.
///
/// # Errors
/// Every problem of it, with file, line and column; a file that cannot be read is one of them.
pub fn load(path: &Path) -> Result<Loaded, BadConfig> {
    load_by(path, config::parse)
}

/// The same for a process that ends soon.
///
/// # Errors
/// As [`load`].
pub fn load_once(path: &Path) -> Result<Loaded, BadConfig> {
    load_by(path, config::parse_once)
}

fn load_by(path: &Path, parse: fn(&Sources) -> Outcome) -> Result<Loaded, BadConfig> {
    let mut seen = Seen::default();
    let mut sources = Sources::new(seen.read(path));
    sources.own_addresses = net::own_addresses();
    loop {
        match parse(&sources) {
            Outcome::Parsed { config, warnings } => {
                return Ok(Loaded {
                    config: *config,
                    warnings,
                    seen,
                    sources,
                });
            }
            Outcome::Refused(problems) => return Err(BadConfig(problems, seen)),
            // Each round answers what the last one asked for, and the room bounds depth and number of files.
            Outcome::Needs(patterns) => {
                for pattern in patterns {
                    let files = match paths(&pattern) {
                        Ok(paths) => paths.iter().map(|path| seen.read(path)).collect(),
                        Err(unreadable) => vec![unreadable],
                    };
                    seen.patterns.insert(pattern.clone());
                    sources.answer(pattern, files);
                }
            }
        }
    }
}

/// Which files a configuration was read from, and which ones they were: by size, time and number, as the file system has
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// `None` for one that could not be read.
    files: BTreeMap<PathBuf, Option<Stamp>>,
    patterns: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
        }
    }
}

impl Seen {
    /// Whether the same files are there as when they were read, and no others that belong to the configuration.
    pub fn is_unchanged(&self) -> bool {
        let now = |path: &Path| fs::metadata(path).ok().map(|found| Stamp::of(&found));
        let known = |pattern: &String| match paths(pattern) {
            Ok(paths) => paths.iter().all(|path| self.files.contains_key(path)),
            Err(_) => true,
        };
        self.files.iter().all(|(path, stamp)| now(path) == *stamp) && self.patterns.iter().all(known)
    }

    /// The directories in which these files are, and others could appear that belong to the configuration.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let files = self.files.keys().map(PathBuf::as_path);
        let directories = files
            .chain(self.patterns.iter().map(Path::new))
            .filter_map(Path::parent);
        directories
            .map(|directory| match directory.as_os_str().is_empty() {
                true => PathBuf::from("."),
                false => directory.to_owned(),
            })
            .collect()
    }

    fn read(&mut self, path: &Path) -> Source {
        let (stamp, source) = match read_bytes(path) {
            Ok((stamp, bytes)) => (Some(stamp), Source::new(path.to_string_lossy(), bytes)),
            Err(error) => (None, unreadable(path, &error)),
        };
        self.files.insert(path.to_owned(), stamp);
        source
    }
}

/// The files that a pattern means, or the directory that cannot be looked through.
fn paths(pattern: &str) -> Result<Vec<PathBuf>, Source> {
    let path = Path::new(pattern);
    if !has_wildcard(pattern) {
        return Ok(vec![path.to_owned()]);
    }
    let (Some(directory), Some(last)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let last = last.to_string_lossy();
    let listed = match directory.as_os_str().is_empty() {
        true => fs::read_dir("."),
        false => fs::read_dir(directory),
    };
    let entries = match listed {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| name_matches(&last, &entry.file_name().to_string_lossy()))
        .map(|entry| directory.join(entry.file_name()))
        .filter(|path| !path.is_dir())
        .collect();
    paths.sort();
    Ok(paths)
}

fn read_bytes(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    let file = File::open(path)?;
    // Before its content: one that changes meanwhile is another one.
    let found = file.metadata()?;
    let size = found.len();
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(LARGEST)).unwrap_or(0) + 1);
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok((Stamp::of(&found), bytes))
}

fn unreadable(path: &Path, error: &io::Error) -> Source {
    let (cause, hint) = match error.kind() {
        io::ErrorKind::NotFound => ("no such file".to_owned(), "is the path right?"),
        io::ErrorKind::PermissionDenied => (
            "permission denied".to_owned(),
            "run as root, or let this user read it: chmod, chown",
        ),
        io::ErrorKind::IsADirectory => (
            "it is a directory".to_owned(),
            "name a file; a file takes in a directory's with include = [\"conf.d/*.toml\"]",
        ),
        io::ErrorKind::FileTooLarge => (
            format!("it is larger than {} MiB", LARGEST >> 20),
            "is it a configuration at all?",
        ),
        _ => (error.to_string(), ""),
    };
    Source {
        name: path.to_string_lossy().into_owned(),
        content: Err(Unreadable {
            cause,
            hint: hint.to_owned(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn problems(path: &Path) -> String {
        load(path).unwrap_err().0.to_string()
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let shown = problems(directory.path());
        assert!(shown.contains(":1:1: error: cannot read"), "{shown}");
        assert!(shown.contains("it is a directory (name a file"), "{shown}");
        let shown = problems(&directory.path().join("none.toml"));
        assert!(shown.contains("no such file (is the path right?)"), "{shown}");
    }

    #[test]
    fn what_was_read_is_known_again_and_what_changed_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("conf.d")).unwrap();
        fs::write(at("ipvsd.toml"), "include = [\"conf.d/*.toml\"]\nvirtual_server = []\n").unwrap();
        fs::write(at("conf.d/10.toml"), "[host]\n").unwrap();
        let seen = load(&at("ipvsd.toml")).unwrap().seen;
        assert!(seen.is_unchanged());
        assert_eq!(
            seen.directories(),
            BTreeSet::from([at(""), at("conf.d")].map(|path| path.components().collect()))
        );
        fs::write(at("conf.d/other.txt"), "").unwrap();
        assert!(seen.is_unchanged(), "it does not belong to the configuration");
        fs::write(at("conf.d/20.toml"), "").unwrap();
        assert!(!seen.is_unchanged());
        fs::remove_file(at("conf.d/20.toml")).unwrap();
        assert!(seen.is_unchanged());
        fs::write(at("conf.d/10.toml"), "[host]\nprepare = false\n").unwrap();
        assert!(!seen.is_unchanged());
        let seen = load(&at("ipvsd.toml")).unwrap().seen;
        fs::remove_file(at("conf.d/10.toml")).unwrap();
        assert!(!seen.is_unchanged());
        // A bad one as well.
        fs::write(at("conf.d/10.toml"), "[host").unwrap();
        let BadConfig(_, seen) = load(&at("ipvsd.toml")).unwrap_err();
        assert!(seen.is_unchanged());
        fs::write(at("conf.d/10.toml"), "[host]").unwrap();
        assert!(!seen.is_unchanged());
    }

    #[test]
    fn included_files_are_read_relative_to_the_including_file_in_the_order_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let server = |name: &str, octet: u8| {
            format!(
                "[[virtual_server]]\nname = \"{name}\"\naddress = \"192.0.2.{octet}:80\"\n\
                 [[virtual_server.real_server]]\naddress = \"198.51.100.{octet}:80\"\n"
            )
        };
        fs::create_dir(at("conf.d")).unwrap();
        fs::create_dir(at("conf.d/folder.toml")).unwrap();
        fs::write(at("ipvsd.toml"), "include = [\"conf.d/*.toml\"]\n").unwrap();
        fs::write(at("conf.d/20.toml"), server("second", 2)).unwrap();
        fs::write(at("conf.d/10.toml"), server("first", 1)).unwrap();
        fs::write(at("conf.d/30.toml.bak"), "nonsense").unwrap();
        let loaded = load(&at("ipvsd.toml")).unwrap();
        let names: Vec<_> = loaded
            .config
            .virtual_servers
            .iter()
            .map(|server| &server.name)
            .collect();
        assert_eq!(names, ["first", "second"]);

        fs::write(at("conf.d/10.toml"), "include = \"../none.toml\"\n").unwrap();
        let shown = problems(&at("ipvsd.toml"));
        assert!(shown.contains("10.toml:1:11: error: cannot read"), "{shown}");
        fs::write(at("conf.d/10.toml"), "include = \"*.toml\"\n").unwrap();
        let shown = problems(&at("ipvsd.toml"));
        assert!(shown.contains("a file includes itself"), "{shown}");
    }
}
