//! The file that keeps what was there before `up`, so that `down` can restore it.
//!
//! One file a network namespace under the run directory, which lasts as long as the settings do: until the next
//! boot. Written whole and at once (a new file, synced, renamed), locked while a verb is at work. A file of a
//! namespace that is gone, left behind under a reused number, is told by the namespace's cookie and not used.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::Record;
use crate::net::namespace::NamespaceId;

/// The only form of the file that there is so far.
const VERSION: u32 = 1;

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system said no.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Its answer.
        cause: io::Error,
    },
    /// What stands in the file is no record.
    #[error(
        "{} is damaged: {cause} (put the host back by hand as far as needed, then remove the file)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// A newer ipvsd wrote it.
    #[error("{} has form {version}, this ipvsd knows {VERSION} (use the ipvsd that wrote it)", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The form.
        version: u32,
    },
}

/// The first thing in the file, read before the rest.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    namespace: NamespaceId,
    record: Record,
}

/// The record's file, locked until it is dropped.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    namespace: NamespaceId,
    _lock: Flock<File>,
}

impl State {
    /// Locks the record of one network namespace under the run directory, which is made where it is missing; waits
    /// for another verb at work.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock(run_dir: &Path, namespace: NamespaceId) -> Result<Self, StateError> {
        let folder = run_dir.join(format!("netns-{}", namespace.inode));
        fs::create_dir_all(&folder).map_err(|cause| failed("make", &folder, cause))?;
        let path = folder.join("realserver.lock");
        let file = File::create(&path).map_err(|cause| failed("open", &path, cause))?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed("lock", &path, errno.into()))?;
        Ok(Self {
            path: folder.join("realserver.json"),
            namespace,
            _lock: lock,
        })
    }

    /// What was recorded; an empty record where nothing was.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(&self) -> Result<Record, StateError> {
        read(&self.path, &self.namespace)
    }

    /// Puts a record in place of the one before.
    ///
    /// # Errors
    /// [`StateError::Io`]; the record before is still there then.
    pub fn write(&self, record: &Record) -> Result<(), StateError> {
        let contents = Contents {
            version: VERSION,
            namespace: self.namespace.clone(),
            record: record.clone(),
        };
        let fresh = self.path.with_extension("json.new");
        let write = || {
            let mut file = File::create(&fresh)?;
            serde_json::to_writer_pretty(&mut file, &contents)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)
        };
        write().map_err(|cause| failed("write", &self.path, cause))
    }

    /// Forgets the record: everything is undone.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn remove(&self) -> Result<(), StateError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &self.path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// What was recorded for a network namespace, without locking or making anything; an empty record where nothing was.
///
/// # Errors
/// [`StateError`].
pub fn peek(run_dir: &Path, namespace: &NamespaceId) -> Result<Record, StateError> {
    let path = run_dir
        .join(format!("netns-{}", namespace.inode))
        .join("realserver.json");
    read(&path, namespace)
}

fn read(path: &Path, namespace: &NamespaceId) -> Result<Record, StateError> {
    match fs::read(path) {
        Ok(text) => parse(&text, path, namespace),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// The record in the text of a file, whose path is for the error; an empty one where it is that of another namespace.
///
/// # Errors
/// [`StateError::Damaged`], [`StateError::UnknownVersion`].
pub fn parse(text: &[u8], path: &Path, namespace: &NamespaceId) -> Result<Record, StateError> {
    let damaged = |cause| StateError::Damaged {
        path: path.to_owned(),
        cause,
    };
    let Form { version } = serde_json::from_slice(text).map_err(damaged)?;
    if version != VERSION {
        return Err(StateError::UnknownVersion {
            path: path.to_owned(),
            version,
        });
    }
    let contents: Contents = serde_json::from_slice(text).map_err(damaged)?;
    Ok(match contents.namespace == *namespace {
        true => contents.record,
        false => Record::default(),
    })
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> StateError {
    StateError::Io {
        action,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

    use super::*;
    use crate::realserver::{KeptSysctl, KeptVip, Mode};

    fn namespace(cookie: u64) -> NamespaceId {
        NamespaceId {
            inode: 4_026_531_840,
            cookie: Some(cookie),
            boot: "boot".to_owned(),
        }
    }

    fn record() -> Record {
        let mut record = Record::default();
        let setting = KeptSysctl {
            before: "0".to_owned(),
            set: "1".to_owned(),
        };
        record
            .sysctls
            .insert("net.ipv4.conf.all.arp_ignore".to_owned(), setting);
        record.links.insert("tunl0".to_owned());
        let vip = KeptVip {
            device: "lo".to_owned(),
            mode: Mode::Tun,
            added: true,
        };
        record.vips.insert("192.0.2.200".parse().unwrap(), vip);
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_forgotten_when_removed() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::lock(folder.path(), namespace(1)).unwrap();
        assert!(state.read().unwrap().is_empty());
        state.write(&record()).unwrap();
        assert_eq!(state.read().unwrap(), record());
        assert_eq!(peek(folder.path(), &namespace(1)).unwrap(), record());
        state.remove().unwrap();
        state.remove().unwrap();
        assert!(state.read().unwrap().is_empty());
    }

    #[test]
    fn the_record_of_a_namespace_that_is_gone_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        State::lock(folder.path(), namespace(1))
            .unwrap()
            .write(&record())
            .unwrap();
        let reused = State::lock(folder.path(), namespace(2)).unwrap();
        assert!(reused.read().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_or_newer_file_is_named_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::lock(folder.path(), namespace(1)).unwrap();
        for (text, wanted) in [("{", "damaged"), ("{\"version\": 9, \"more\": []}", "form 9")] {
            fs::write(&state.path, text).unwrap();
            let error = state.read().unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("realserver.json"), "{error}");
        }
    }
}
