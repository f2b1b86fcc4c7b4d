//! The record of what ipvsd owns in this network namespace: services in the kernel's table, addresses on devices.
//!
//! Kept as JSON under the run directory, which lives as long as the table does (both are gone after a reboot), in a
//! folder named after the network namespace, because namespaces share `/run`. Written whole and renamed into place.
//! A record that cannot be read is set aside with a warning: then nothing is owned, and nothing is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::kept;
use crate::model::{DestinationKey, Owned, ServiceKey, VirtualAddress};
use crate::net::namespace::{self, NamespaceId};

/// Where the record lies if nobody says otherwise.
pub const DEFAULT_RUN_DIR: &str = "/run/ipvsd";

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// A record of a namespace that is gone says nothing about this one, though the inode number is the same.
    namespace: NamespaceId,
    services: BTreeSet<ServiceKey>,
    /// Absent in a record of an ipvsd that did not keep it.
    #[serde(default)]
    with_thresholds: BTreeSet<ServiceKey>,
    /// Likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    destinations: BTreeMap<ServiceKey, BTreeSet<DestinationKey>>,
    addresses: BTreeSet<VirtualAddress>,
}

/// The record in the text of its file; empty where it is one of another namespace.
///
/// # Errors
/// Where it is no record, or one of another version.
pub fn parse(text: &[u8], namespace: &NamespaceId) -> anyhow::Result<Owned> {
    let file: File = serde_json::from_slice(text)?;
    anyhow::ensure!(
        file.version == VERSION,
        "its version is {}, this program writes {VERSION}",
        file.version
    );
    if file.namespace != *namespace {
        return Ok(Owned::default());
    }
    Ok(Owned {
        services: file.services,
        with_thresholds: file.with_thresholds,
        destinations: file.destinations,
        addresses: file.addresses,
    })
}

/// The record of this network namespace.
#[derive(Debug, Clone)]
pub struct Record {
    path: PathBuf,
    namespace: NamespaceId,
}

impl Record {
    /// The record of the calling thread's network namespace under a run directory; nothing is read or made yet.
    ///
    /// # Errors
    /// Where `/proc` is not there to tell which namespace this is.
    pub fn open(run_dir: &Path) -> anyhow::Result<Self> {
        let namespace = namespace::current()?;
        let path = run_dir.join(format!("netns-{}", namespace.inode)).join("owned.json");
        Ok(Self { path, namespace })
    }

    /// The namespace that it is of.
    pub fn namespace(&self) -> &NamespaceId {
        &self.namespace
    }

    /// A file of another kind in the record's folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Reads the record; empty where there is none, or one of a namespace that is gone.
    ///
    /// # Errors
    /// Where it is there and cannot be read or understood; the text names the file and what follows.
    pub fn load(&self) -> anyhow::Result<Owned> {
        let unreadable = || {
            format!(
                "cannot read {}: services of an earlier run that the configuration no longer has stay in the kernel \
                 (remove them with ipvsadm -D, and the file)",
                self.path.display()
            )
        };
        let Some(text) = kept::read(&self.path).with_context(unreadable)? else {
            return Ok(Owned::default());
        };
        parse(&text, &self.namespace).with_context(unreadable)
    }

    /// Writes the record, all or nothing.
    ///
    /// # Errors
    /// Where the run directory cannot be written; the text names it.
    pub fn save(&self, owned: &Owned) -> anyhow::Result<()> {
        let file = File {
            version: VERSION,
            namespace: self.namespace.clone(),
            services: owned.services.clone(),
            with_thresholds: owned.with_thresholds.clone(),
            destinations: owned.destinations.clone(),
            addresses: owned.addresses.clone(),
        };
        kept::write(&self.path, &serde_json::to_vec(&file)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn owned() -> Owned {
        let services = [
            "tcp 192.0.2.200:80",
            "udp [2001:db8::1]:53",
            "fwmark 7",
            "fwmark 7 inet6",
        ];
        let address = VirtualAddress {
            device: "eth0".to_owned(),
            address: [192, 0, 2, 200].into(),
        };
        Owned {
            services: services.iter().map(|key| key.parse().expect("a key")).collect(),
            with_thresholds: BTreeSet::from(["fwmark 7".parse().expect("a key")]),
            destinations: BTreeMap::from([(
                "udp [2001:db8::1]:53".parse().expect("a key"),
                BTreeSet::from(["[2001:db8::2]:53".parse().expect("a key")]),
            )]),
            addresses: BTreeSet::from([address]),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let run_dir = tempfile::tempdir().expect("a folder");
        let record = Record::open(run_dir.path()).expect("a namespace");
        assert_eq!(record.load().expect("no record yet"), Owned::default());
        record.save(&owned()).expect("writable");
        record.save(&owned()).expect("writable again");
        assert_eq!(record.load().expect("readable"), owned());
    }

    #[test]
    fn a_record_of_a_namespace_that_is_gone_is_none_of_ours() {
        let run_dir = tempfile::tempdir().expect("a folder");
        let mut record = Record::open(run_dir.path()).expect("a namespace");
        record.namespace.cookie = Some(u64::MAX);
        record.save(&owned()).expect("writable");
        let record = Record::open(run_dir.path()).expect("a namespace");
        assert_eq!(record.load().expect("readable"), Owned::default());
    }

    #[test]
    fn a_torn_or_newer_record_is_an_error_that_names_the_file() {
        let run_dir = tempfile::tempdir().expect("a folder");
        let record = Record::open(run_dir.path()).expect("a namespace");
        record.save(&owned()).expect("writable");
        let text = fs::read_to_string(&record.path).expect("readable");
        for torn in [
            &text[..text.len() / 2],
            "",
            "[]",
            &text.replace("\"version\":1", "\"version\":2"),
            "{\"services\":[\"tcp\"]}",
        ] {
            fs::write(&record.path, torn).expect("writable");
            let error = format!("{:#}", record.load().expect_err(torn));
            assert!(error.contains("owned.json"), "{error}");
        }
    }
}
