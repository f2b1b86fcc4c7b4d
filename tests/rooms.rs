//! Holds the table of rooms: who may import whom, and what a thinking room may not mention.
//!
//! Files are parsed, so `super::` and paths written out in expressions count as well as `use` lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The kind of a file; where a room has two, the file decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Words,
    Thinking,
    Hands,
    Wiring,
}

/// Rooms and files with their kinds; the longest match counts.
const KINDS: &[(&str, Kind)] = &[
    ("model", Kind::Words),
    ("ipvs", Kind::Hands),
    ("ipvs/encode", Kind::Words),
    ("ipvs/decode", Kind::Words),
    ("ipvs/proc", Kind::Words),
    ("net", Kind::Hands),
    ("net/packet", Kind::Words),
    ("net/filter/answer", Kind::Words),
    ("net/filter/batch", Kind::Words),
    ("net/filter/expression", Kind::Words),
    ("net/filter/ruleset", Kind::Words),
    ("checkers", Kind::Hands),
    ("checkers/packet", Kind::Words),
    ("control", Kind::Hands),
    ("control/access", Kind::Thinking),
    ("control/render", Kind::Thinking),
    ("process", Kind::Hands),
    ("notify", Kind::Hands),
    ("notify/letter", Kind::Thinking),
    ("notify/lines", Kind::Thinking),
    ("peer", Kind::Hands),
    ("peer/catching_up", Kind::Thinking),
    ("peer/choice", Kind::Thinking),
    ("peer/clocks", Kind::Thinking),
    ("peer/outages", Kind::Thinking),
    ("peer/differences", Kind::Thinking),
    ("peer/message", Kind::Words),
    ("peer/picture", Kind::Thinking),
    ("doctor", Kind::Thinking),
    ("doctor/gather", Kind::Hands),
    ("realserver", Kind::Thinking),
    ("realserver/state", Kind::Hands),
    ("realserver/words", Kind::Words),
    ("config", Kind::Thinking),
    ("health", Kind::Thinking),
    ("plan", Kind::Thinking),
    ("director", Kind::Thinking),
    ("listing", Kind::Thinking),
    ("ipvsadm", Kind::Thinking),
    ("vrrp", Kind::Thinking),
    ("vrrp/packet", Kind::Words),
    ("vrrp/addresses", Kind::Hands),
    ("vrrp/socket", Kind::Hands),
    ("vrrp/task", Kind::Hands),
    ("daemon", Kind::Wiring),
    ("cli", Kind::Wiring),
    ("main", Kind::Wiring),
    ("lib", Kind::Wiring),
];

/// What no words or thinking room may mention: clocks, files, sockets, the environment, tasks, the log.
const FORBIDDEN: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "tokio",
    "tracing",
    "nix",
    "socket2",
    "rtnetlink",
    "neli",
    "sd_notify",
    "anyhow",
];

fn kind_of(module: &str) -> Kind {
    KINDS
        .iter()
        .filter(|(name, _)| module == *name || module.starts_with(&format!("{name}/")))
        .max_by_key(|(name, _)| name.len())
        .unwrap_or_else(|| {
            panic!("{module} is in no room; add it to the table in tests/rooms.rs and to ARCHITECTURE.md")
        })
        .1
}

/// Whether a file of one kind may import from a file of the other kind; `same_room` for files side by side.
fn may_import(from: Kind, to: Kind, same_room: bool) -> bool {
    match (from, to) {
        (_, Kind::Words) | (Kind::Wiring, _) => true,
        (Kind::Thinking, Kind::Thinking) | (Kind::Hands, Kind::Hands) => true,
        // A room's own `mod.rs` may name its other half, to declare and re-export it.
        (Kind::Thinking, Kind::Hands) | (Kind::Hands, Kind::Thinking) => same_room,
        (Kind::Words, _) | (_, Kind::Wiring) => false,
    }
}

struct Paths {
    /// `model/config`, `net/packet`.
    module: Vec<String>,
    found: BTreeSet<String>,
}

impl Paths {
    /// Makes a path absolute within the crate: `super::x` and `self::x` are resolved, `crate` is dropped.
    fn add(&mut self, segments: &[String]) {
        let mut base = self.module.clone();
        let mut rest = segments;
        let inside = match rest.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                rest = &rest[1..];
                true
            }
            Some("self") => {
                rest = &rest[1..];
                true
            }
            Some("super") => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
                true
            }
            _ => false,
        };
        let path = if inside {
            format!(
                "crate::{}",
                base.iter().chain(rest).cloned().collect::<Vec<_>>().join("::")
            )
        } else {
            rest.join("::")
        };
        self.found.insert(path);
    }

    fn add_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| prefix.iter().cloned().chain([ident.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(prefix),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(prefix, tree)),
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments);
        visit::visit_path(self, path);
    }

    /// `pub(super)` and `pub(in …)` name who may look in, not what is used.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) {
            return;
        }
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn paths_of(source: &str, module: &str) -> BTreeSet<String> {
    let file = syn::parse_file(source).expect("Rust");
    let module = module.split('/').map(str::to_owned).collect();
    let mut paths = Paths {
        module,
        found: BTreeSet::new(),
    };
    paths.visit_file(&file);
    paths.found
}

/// Everything in one file that its room does not allow.
fn violations(module: &str, source: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let kind = kind_of(module);
    let room = module.split('/').next().unwrap_or(module);
    let mut found = Vec::new();
    for path in paths_of(source, module) {
        if let Some(inside) = path.strip_prefix("crate::") {
            let segments: Vec<_> = inside.split("::").collect();
            // The longest prefix of the path that is a file.
            let Some(target) = (1..=segments.len())
                .rev()
                .map(|n| segments[..n].join("/"))
                .find(|name| modules.contains(name))
            else {
                continue;
            };
            let same_room = target.split('/').next() == Some(room);
            if !may_import(kind, kind_of(&target), same_room) {
                found.push(format!("{module} ({kind:?}) uses {path} ({:?})", kind_of(&target)));
            }
        } else if matches!(kind, Kind::Words | Kind::Thinking)
            && FORBIDDEN
                .iter()
                .any(|name| path == *name || path.starts_with(&format!("{name}::")))
        {
            found.push(format!("{module} ({kind:?}) mentions {path}"));
        }
    }
    found
}

#[test]
fn every_file_keeps_to_its_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let module_of = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).expect("below src").with_extension("");
        let name = relative.to_string_lossy().into_owned();
        name.strip_suffix("/mod").map(str::to_owned).unwrap_or(name)
    };
    let modules: BTreeSet<_> = files.iter().map(module_of).collect();
    let mut wrong = Vec::new();
    for path in &files {
        let module = module_of(path);
        if module.split('/').any(|part| part == "tests") {
            continue;
        }
        let source = fs::read_to_string(path).expect("readable");
        wrong.extend(violations(&module, &source, &modules));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_the_table_forbids_is_found_however_it_is_written() {
    let modules: BTreeSet<_> = [
        "model",
        "plan",
        "director",
        "ipvs",
        "ipvs/client",
        "ipvs/encode",
        "daemon",
    ]
    .map(str::to_owned)
    .into();
    let found = |module: &str, source: &str| violations(module, source, &modules).len();
    assert_eq!(found("director", "use crate::plan::steps;"), 0);
    assert_eq!(found("director", "use crate::ipvs::client::Client;"), 1);
    assert_eq!(found("director", "fn f() { super::ipvs::client::connect() }"), 1);
    assert_eq!(found("director", "use crate::{plan, ipvs::client};"), 1);
    assert_eq!(found("director", "use std::time::{Duration, Instant};"), 1);
    assert_eq!(found("director", "fn f() { std::fs::read(\"x\"); }"), 1);
    assert_eq!(found("director", "#[cfg(test)] mod tests { use std::fs; }"), 0);
    assert_eq!(found("ipvs/client", "use crate::director::Director;"), 1);
    assert_eq!(
        found("ipvs/client", "use super::encode::Request; use crate::model::Table;"),
        0
    );
    assert_eq!(found("ipvs/encode", "use super::client::Client;"), 1);
    assert_eq!(found("model", "use crate::plan::steps;"), 1);
    assert_eq!(found("ipvs/client", "use crate::daemon::run;"), 1);
    assert_eq!(found("daemon", "use crate::{director, ipvs, plan};"), 0);
}
