//! The private key of a director: a file of its own, made once, that nobody else may read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::unistd::geteuid;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;

use crate::model::PublicKey;

/// What comes before the 32 random bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The longest file that may be a key.
const LONGEST: u64 = 16 << 10;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is there already.
    #[error(
        "{} is there already and is left as it is (`ipvsd peer key --show {}` prints its public key; with another key the \
         link ends until the other director has that as its `peer_key`)",
        .0.display(),
        .0.display()
    )]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {}", path.display(), source)]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}: {} (`ipvsd peer key {}` makes one)", path.display(), source, path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it, or have put it there.
    #[error("{} {why} (chown root and chmod 600, and make another key if somebody may have seen it)", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How.
        why: &'static str,
    },
    /// It is something else.
    #[error("{} is no Ed25519 private key in PEM: {why} (`ipvsd peer key` makes one in another file)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system has no random numbers.
    #[error("the system has no random numbers for a key")]
    NoRandomness,
}

/// A director's private key.
#[derive(Debug, Clone)]
pub struct PrivateKey {
    /// What others know it by.
    pub public: PublicKey,
    pub(super) signing: Arc<dyn SigningKey>,
}

/// Makes a key and puts it into a file that is not there yet; answers with what others know it by.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn make(path: &Path) -> Result<PublicKey, KeyError> {
    let mut seed = [0; 32];
    let random = ring::default_provider().secure_random;
    random.fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
    let der = [&PKCS8[..], &seed].concat();
    let key = of_der(path, &der)?;
    let text = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(&der)
    );
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => unwritable(path, source),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // Half a key is none, and would be in the way of the next one.
        let _ = fs::remove_file(path);
        unwritable(path, source)
    })?;
    Ok(key.public)
}

fn unwritable(path: &Path, source: std::io::Error) -> KeyError {
    let path = path.to_owned();
    KeyError::Unwritable { path, source }
}

/// Reads a key.
///
/// # Errors
/// It is not there, is no key, or others may read it.
pub fn load(path: &Path) -> Result<PrivateKey, KeyError> {
    let unreadable = |source| KeyError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Whoever opens a pipe waits for somebody at its other end.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(no_key(path, "it is no plain file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let exposed = |why| KeyError::Exposed {
        path: path.to_owned(),
        why,
    };
    if found.mode() & 0o077 != 0 {
        return Err(exposed("may be read by others than its owner"));
    }
    if found.uid() != 0 && found.uid() != geteuid().as_raw() {
        return Err(exposed("belongs to another user than the one that ipvsd runs as"));
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).map_err(unreadable)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|error| no_key(path, error))?;
    of_der(path, der.secret_pkcs8_der())
}

fn no_key(path: &Path, why: impl ToString) -> KeyError {
    KeyError::NoKey {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn of_der(path: &Path, der: &[u8]) -> Result<PrivateKey, KeyError> {
    let signing = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(|error| no_key(path, error))?;
    let public = signing.public_key().and_then(|spki| PublicKey::from_der(&spki));
    let public = public.ok_or_else(|| no_key(path, "it is of another kind"))?;
    Ok(PrivateKey { public, signing })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peer.key");
        assert!(matches!(load(&path), Err(KeyError::Unreadable { .. })));
        let made = make(&path).expect("a key");
        assert_eq!(load(&path).expect("the same").public, made);
        let error = make(&path).expect_err("it is there").to_string();
        let remedy = format!("`ipvsd peer key --show {}`", path.display());
        assert!(error.contains("is there already") && error.contains(&remedy), "{error}");
        assert_eq!(load(&path).expect("still the same").public, made);
        let mode = fs::metadata(&path).expect("it is there").mode() & 0o777;
        assert_eq!(mode, 0o600);
        let other = make(&folder.path().join("other.key")).expect("another key");
        assert_ne!(other, made);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peer.key");
        make(&path).expect("a key");
        for mode in [0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            let error = load(&path).expect_err("it is exposed").to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("ours");
        load(&path).expect("nobody else may");
    }

    #[test]
    fn what_is_no_key_is_said_to_be_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peer.key");
        let text = |body: &str| format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        for content in [
            String::new(),
            "x".repeat(1 << 20),
            text(""),
            text("AAAA"),
            text("MC4CAQAwBQYDK2VwBCIEIA=="),
        ] {
            fs::write(&path, &content).expect("writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
            let error = load(&path).expect_err("no key").to_string();
            assert!(error.contains("ipvsd peer key"), "{error}");
        }
        let error = load(folder.path()).expect_err("a folder").to_string();
        assert!(error.contains("no plain file"), "{error}");
    }

    /// What openssl prints of the same key (RFC 8410, section 10.3, is of another form, with the public key in it).
    #[test]
    fn the_public_key_is_the_one_that_belongs_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peer.key");
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        fs::write(&path, private).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        let public = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert_eq!(load(&path).expect("the key of RFC 8410").public.to_string(), public);
    }
}
