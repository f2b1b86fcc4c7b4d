//! The texts of a configuration, handed in by whoever reads files.
//!
//! A configuration starts with one file. Where it includes others, the room says which patterns it needs, and the
//! caller answers each with the files that match, readable or not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// The files of a configuration as far as they have been read.
#[derive(Debug, Clone)]
pub struct Sources {
    pub(super) root: Source,
    pub(super) answers: BTreeMap<String, Vec<Source>>,
    /// The addresses of the host that the configuration is read on, as far as they are known: some of it makes sense only
    /// elsewhere.
    pub own_addresses: BTreeSet<IpAddr>,
}

/// One file: its name, and its bytes or why it could not be read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name that problems carry.
    pub name: String,
    /// What is in it.
    pub content: Result<Vec<u8>, Unreadable>,
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The cause, for example `permission denied`.
    pub cause: String,
    /// What to do about it; empty where there is nothing to say.
    pub hint: String,
}

impl Sources {
    /// Sources of one file; what it includes is asked for by [`super::parse`].
    pub fn new(root: Source) -> Self {
        Self {
            root,
            answers: BTreeMap::new(),
            own_addresses: BTreeSet::new(),
        }
    }

    /// Answers a pattern that [`super::Outcome::Needs`] asked for with the files that match it, in their order.
    ///
    /// A path without wildcards is answered with that one file, unreadable if need be; a pattern that matches nothing
    /// with none.
    pub fn answer(&mut self, pattern: String, files: Vec<Source>) {
        self.answers.insert(pattern, files);
    }
}

impl Sources {
    /// All files that could be read, the first one first, each with its name.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let all = std::iter::once(&self.root).chain(self.answers.values().flatten());
        all.filter_map(|source| Some((source.name.as_str(), source.content.as_deref().ok()?)))
    }
}

impl Source {
    /// A file that could be read.
    pub fn new(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            content: Ok(content.into()),
        }
    }
}

/// The path or pattern that a file means by `included`: relative to its own directory.
pub(super) fn resolve(including: &str, included: &str) -> String {
    let directory = Path::new(including).parent().unwrap_or(Path::new(""));
    directory.join(included).to_string_lossy().into_owned()
}

/// Whether a path is a pattern: it has `*`, `?` or `[` in it.
pub fn has_wildcard(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether a file name matches a pattern of `*`, `?` and `[a-z]`; a leading dot is matched only by a dot.
pub fn name_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while read < name.len() {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            retry = Some((at, read));
            continue;
        }
        match one_matches(&pattern[at..], name[read]) {
            Some(length) => {
                at += length;
                read += 1;
            }
            None => match &mut retry {
                Some((after_star, from)) => {
                    *from += 1;
                    (at, read) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// How much of the pattern one character uses up; `None` where it does not match.
fn one_matches(pattern: &[char], character: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some(end) = pattern
                .iter()
                .skip(2)
                .position(|inside| *inside == ']')
                .map(|end| end + 2)
            else {
                return (character == '[').then_some(1);
            };
            let (negated, set) = match pattern[1] {
                '!' | '^' => (true, &pattern[2..end]),
                _ => (false, &pattern[1..end]),
            };
            let mut inside = false;
            let mut rest = set;
            while let Some((&first, after)) = rest.split_first() {
                match after {
                    ['-', last, more @ ..] => {
                        inside |= (first..=*last).contains(&character);
                        rest = more;
                    }
                    _ => {
                        inside |= first == character;
                        rest = after;
                    }
                }
            }
            (inside != negated).then_some(end + 1)
        }
        literal => (*literal == character).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_the_shell_does() {
        for (pattern, name, matches) in [
            ("*.toml", "web.toml", true),
            ("*.toml", "web.toml~", false),
            ("*.toml", ".web.toml.swp", false),
            ("*.toml", ".toml", false),
            (".*", ".toml", true),
            ("??-*.toml", "10-web.toml", true),
            ("??-*.toml", "1-web.toml", false),
            ("[0-9]*.toml", "1-web.toml", true),
            ("[!0-9]*.toml", "1-web.toml", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("[", "[", true),
        ] {
            assert_eq!(name_matches(pattern, name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn an_included_path_is_relative_to_the_including_file() {
        assert_eq!(
            resolve("/etc/ipvsd/ipvsd.toml", "conf.d/*.toml"),
            "/etc/ipvsd/conf.d/*.toml"
        );
        assert_eq!(resolve("ipvsd.toml", "conf.d/*.toml"), "conf.d/*.toml");
        assert_eq!(resolve("etc/ipvsd.toml", "/srv/x.toml"), "/srv/x.toml");
    }
}
