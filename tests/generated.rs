//! The committed man pages and completions are those that the command line's definition gives.
//!
//! `UPDATE_EXPECT=1 cargo test --test generated` renews them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("a text file");
            (entry.file_name().into_string().expect("a plain name"), text)
        })
        .collect()
}

#[test]
fn man_pages_and_completions_are_up_to_date() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let fresh = tempfile::tempdir().expect("a temporary folder");
    ipvsd::cli::docs::generate(fresh.path()).expect("documents");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        for folder in ["man", "completions"] {
            // Pages of verbs that are gone go with it.
            let _ = fs::remove_dir_all(docs.join(folder));
        }
        ipvsd::cli::docs::generate(&docs).expect("documents");
    }
    for folder in ["man", "completions"] {
        let (committed, wanted) = (files(&docs.join(folder)), files(&fresh.path().join(folder)));
        assert!(
            committed == wanted,
            "docs/{folder} is out of date (UPDATE_EXPECT=1 cargo test --test generated renews it): {:?} differ",
            committed
                .iter()
                .filter(|(name, text)| wanted.get(*name) != Some(text))
                .chain(wanted.iter().filter(|(name, text)| committed.get(*name) != Some(text)))
                .map(|(name, _)| name)
                .collect::<std::collections::BTreeSet<_>>()
        );
        assert!(!wanted.is_empty());
    }
}
