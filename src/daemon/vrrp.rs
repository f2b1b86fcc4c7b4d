//! What virtual routers leave for the process after this one, in two files beside the record: when each master has spoken
//! last, and what they have put on this host.
//!
//! Both say which network namespace they are of, and during which boot: the clock of the first begins anew with the host,
//! and what was put into a namespace that is gone is not in the one with the same number. Where they are of another one,
//! nothing is known. An older ipvsd did not say it: its files are followed only by the program that takes its place in the
//! same process (`ipvsd upgrade`).

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tracing::{error, warn};

use super::kept;
use super::record::Record;
use crate::model::VrrpRecord;
use crate::net::namespace::NamespaceId;
use crate::vrrp::task::Spoken;

/// Where it is kept when each master has spoken last.
const SPOKEN: &str = "vrrp.json";
/// Where the addresses, routes, rules and devices are on record that virtual routers have put on this host, or are about
/// to.
const LEDGER: &str = "vrrp-addresses.json";

/// What is known of the process that wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// It was this one, with another program: `ipvsd upgrade`.
    ThisProcess,
    /// Nothing.
    Unknown,
}

#[derive(Serialize)]
struct SpokenDraft<'a> {
    namespace: &'a NamespaceId,
    spoken: &'a Spoken,
}

#[derive(Serialize)]
struct LedgerDraft<'a> {
    namespace: &'a NamespaceId,
    #[serde(flatten)]
    record: &'a VrrpRecord,
}

/// What is in a file.
enum Found {
    /// Something of this namespace.
    Ours(Value),
    /// Something in the form that does not say of which.
    Older(Value),
    /// Nothing that is meant for this one.
    Nothing,
}

fn find(text: &[u8], namespace: &NamespaceId, writer: Writer) -> anyhow::Result<Found> {
    let value: Value = serde_json::from_slice(text)?;
    // In the older form it may be the name of an instance.
    let Some(of) = value.get("namespace").filter(|of| of.is_object()) else {
        anyhow::ensure!(
            writer == Writer::ThisProcess,
            "an older ipvsd wrote it and did not say for which network namespace and which boot"
        );
        return Ok(Found::Older(value));
    };
    match serde_json::from_value::<NamespaceId>(of.clone())? == *namespace {
        true => Ok(Found::Ours(value)),
        false => Ok(Found::Nothing),
    }
}

/// When each master has spoken last, in the text of its file; nothing where it is one of another namespace or boot.
///
/// # Errors
/// Where it is no such file, or an older one of an unknown writer.
pub fn parse_spoken(text: &[u8], namespace: &NamespaceId, writer: Writer) -> anyhow::Result<Spoken> {
    Ok(match find(text, namespace, writer)? {
        Found::Ours(value) => serde_json::from_value(value.get("spoken").cloned().unwrap_or_default())?,
        Found::Older(value) => serde_json::from_value(value)?,
        Found::Nothing => Spoken::new(),
    })
}

/// What virtual routers have put on this host, in the text of its file; nothing where it is one of another namespace or
/// boot.
///
/// # Errors
/// As [`parse_spoken`].
pub fn parse_ledger(text: &[u8], namespace: &NamespaceId, writer: Writer) -> anyhow::Result<VrrpRecord> {
    Ok(match find(text, namespace, writer)? {
        Found::Ours(value) | Found::Older(value) => serde_json::from_value(value)?,
        Found::Nothing => VrrpRecord::default(),
    })
}

/// The two files of one network namespace.
#[derive(Debug, Clone)]
pub(super) struct VrrpFiles {
    spoken: PathBuf,
    ledger: PathBuf,
    namespace: NamespaceId,
}

impl VrrpFiles {
    pub(super) fn beside(record: &Record) -> Self {
        Self {
            spoken: record.beside(SPOKEN),
            ledger: record.beside(LEDGER),
            namespace: record.namespace().clone(),
        }
    }

    /// What a process before this one has put on this host: addresses, routes, rules, devices.
    pub(super) fn left(&self, writer: Writer) -> VrrpRecord {
        let parse = |text: &[u8]| parse_ledger(text, &self.namespace, writer);
        follow(&self.ledger, parse, ", addresses of former virtual routers may be left")
    }

    /// When each master of the process before this one has spoken last, once.
    pub(super) fn recall(&self, writer: Writer) -> Spoken {
        let parse = |text: &[u8]| parse_spoken(text, &self.namespace, writer);
        let spoken = follow(&self.spoken, parse, "");
        // Where it cannot be removed, it is too old to mean anything soon.
        let _ = std::fs::remove_file(&self.spoken);
        spoken
    }

    /// Puts down what is on this host, or may soon be; answers with whether it could, and says why not where that is
    /// not what was `said` last.
    pub(super) fn put_down(&self, record: &VrrpRecord, said: &mut Option<String>) -> bool {
        let namespace = &self.namespace;
        let written = write(&self.ledger, &LedgerDraft { namespace, record });
        let problem = written.err().map(|problem| format!("{problem:#}"));
        if let Some(problem) = problem.as_ref().filter(|problem| said.as_ref() != Some(problem)) {
            error!(
                "{problem}; addresses of virtual routers may be left if the daemon dies before it could be written (it \
                 is tried again with the next change)"
            );
        }
        *said = problem;
        said.is_none()
    }

    /// Puts down when each master has spoken last, for the process that takes this one's place.
    pub(super) fn keep_spoken(&self, spoken: &Spoken) {
        let namespace = &self.namespace;
        if let Err(problem) = write(&self.spoken, &SpokenDraft { namespace, spoken }) {
            warn!("virtual routers have to be elected anew: {problem:#}");
        }
    }
}

fn follow<T: Default>(file: &Path, parse: impl FnOnce(&[u8]) -> anyhow::Result<T>, means: &str) -> T {
    let found = kept::read(file).and_then(|text| text.map(|text| parse(&text)).transpose());
    found.map(Option::unwrap_or_default).unwrap_or_else(|problem| {
        warn!("{} is passed over{means}: {problem:#}", file.display());
        T::default()
    })
}

fn write(file: &Path, draft: &impl Serialize) -> anyhow::Result<()> {
    kept::write(file, &serde_json::to_vec(draft)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::model::VrrpEntry;

    fn namespace() -> NamespaceId {
        NamespaceId {
            inode: 4_026_531_840,
            cookie: Some(1),
            boot: "5f8b5c2e".to_owned(),
        }
    }

    /// The files of a namespace in a folder.
    fn files(folder: &Path, namespace: NamespaceId) -> VrrpFiles {
        VrrpFiles {
            spoken: folder.join(SPOKEN),
            ledger: folder.join(LEDGER),
            namespace,
        }
    }

    fn record() -> VrrpRecord {
        VrrpRecord {
            addresses: [VrrpEntry {
                device: "eth0".to_owned(),
                address: [192, 0, 2, 100].into(),
                prefix: 24,
            }]
            .into(),
            ..VrrpRecord::default()
        }
    }

    fn spoken() -> Spoken {
        Spoken::from([("VI_1".to_owned(), 8_000_000_u64)])
    }

    #[test]
    fn what_is_left_is_found_and_masters_are_recalled_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path(), namespace());
        assert!(files.left(Writer::Unknown).is_empty() && files.recall(Writer::Unknown).is_empty());
        files.put_down(&record(), &mut None);
        files.keep_spoken(&spoken());
        assert_eq!(files.left(Writer::Unknown), record());
        assert_eq!(files.left(Writer::Unknown), record(), "it stays");
        assert_eq!(files.recall(Writer::Unknown), spoken());
        assert_eq!(files.recall(Writer::Unknown), Spoken::new());
    }

    #[test]
    fn what_another_boot_or_a_namespace_that_is_gone_has_left_is_not_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let others = [
            NamespaceId {
                boot: "9d1a7733".to_owned(),
                ..namespace()
            },
            NamespaceId {
                cookie: Some(2),
                ..namespace()
            },
        ];
        for other in others {
            let others = files(folder.path(), other);
            others.put_down(&record(), &mut None);
            others.keep_spoken(&spoken());
            let ours = files(folder.path(), namespace());
            for writer in [Writer::Unknown, Writer::ThisProcess] {
                assert!(ours.left(writer).is_empty());
            }
            assert_eq!(ours.recall(Writer::Unknown), Spoken::new());
            assert!(
                !folder.path().join(SPOKEN).exists(),
                "it means nothing to anybody any more"
            );
        }
    }

    #[test]
    fn the_older_form_is_followed_in_the_process_that_wrote_it_alone() {
        let ledgers: [&[u8]; 2] = [
            br#"[{"device":"eth0","address":"192.0.2.100","prefix":24}]"#,
            br#"{"addresses":[{"device":"eth0","address":"192.0.2.100","prefix":24}],"routes":[],"rules":[]}"#,
        ];
        for text in ledgers {
            let parse = |writer| parse_ledger(text, &namespace(), writer);
            assert_eq!(parse(Writer::ThisProcess).expect("a ledger"), record());
            let refused = parse(Writer::Unknown).expect_err("nobody knows of where").to_string();
            assert!(refused.contains("an older ipvsd"), "{refused}");
        }
        for name in ["VI_1", "namespace"] {
            let text = format!(r#"{{"{name}":8000000}}"#);
            let parse = |writer| parse_spoken(text.as_bytes(), &namespace(), writer);
            assert_eq!(parse(Writer::ThisProcess).expect("masters").len(), 1);
            assert!(parse(Writer::Unknown).is_err());
        }
    }

    #[test]
    fn a_torn_file_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path(), namespace());
        files.put_down(&record(), &mut None);
        files.keep_spoken(&spoken());
        for file in [LEDGER, SPOKEN] {
            let path = folder.path().join(file);
            let text = fs::read(&path).expect("readable");
            fs::write(&path, &text[..text.len() / 2]).expect("writable");
        }
        assert!(files.left(Writer::ThisProcess).is_empty());
        assert!(files.recall(Writer::ThisProcess).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_an_error(text in r#"[\[\]{}:,"0-9a-z\\]{0,60}"#, place in 0_usize..200) {
            let draft = LedgerDraft { namespace: &namespace(), record: &record() };
            let mut near = serde_json::to_vec(&draft).expect("a text");
            near.truncate(place);
            near.extend(text.bytes());
            for text in [text.as_bytes(), &near] {
                for writer in [Writer::Unknown, Writer::ThisProcess] {
                    let _ = parse_ledger(text, &namespace(), writer);
                    let _ = parse_spoken(text, &namespace(), writer);
                }
            }
        }
    }
}
