//! What two directors tell each other, and by what they know each other.
//!
//! All that is told is a statement of how things are, never an order: whoever hears it decides what to take of it. Times
//! of verdicts are ages, so that two clocks need not agree; operators' words carry the calendar's time, for the later one
//! counts on both directors, and the ends of their drains are set to the clock of whoever hears them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{AdminState, ServiceKey, StateAdvice, UnixTime, WeightAdvice};

/// How often everything is told again although nothing has changed, so that what is told has an age that means something.
pub const PEER_REFRESH: Duration = Duration::from_secs(10);

/// Two clocks that are so many milliseconds apart are worth a word: two operators who talk to each other are not faster.
pub const PEER_CLOCKS_APART: i64 = 3000;

/// The other director, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where this director listens for it.
    pub listen: SocketAddr,
    /// The file with this director's private key.
    pub key: PathBuf,
    /// What the other one is known by.
    pub peer_key: PublicKey,
    /// How often each says that it is there, 100 ms to 60 s.
    pub interval: Duration,
}

/// An Ed25519 public key. Shown and parsed as base64 of its `SubjectPublicKeyInfo` (RFC 8410), which is what
/// `openssl pkey -pubout` prints between its two lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// What comes before the key itself in a `SubjectPublicKeyInfo` of Ed25519 (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    /// The key in a `SubjectPublicKeyInfo`; `None` where it is of another kind.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&SPKI[..])?;
        Some(Self(key.try_into().ok()?))
    }

    /// The `SubjectPublicKeyInfo`.
    pub fn to_der(self) -> Vec<u8> {
        [&SPKI[..], &self.0].concat()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.to_der()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no Ed25519 public key in base64 (`ipvsd peer key --show FILE` prints one)")]
pub struct ParsePublicKeyError;

impl FromStr for PublicKey {
    type Err = ParsePublicKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // No key is longer.
        let der = STANDARD.decode(text.get(..text.len().min(128)).unwrap_or_default());
        der.ok().and_then(|der| Self::from_der(&der)).ok_or(ParsePublicKeyError)
    }
}

/// What one check has found, in a form that both directors know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerVerdict {
    /// Where its probes go.
    pub target: String,
    /// A digest of all its settings: it is the same check while both are the same.
    pub settings: String,
    /// Whether the server is up.
    pub up: bool,
    /// How long it has that verdict, in milliseconds.
    pub since: u64,
    /// How long ago a probe has last said anything, in milliseconds.
    pub age: u64,
    /// How the last probe failed, where it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The weight that the check has advised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<WeightAdvice>,
    /// The state that it has advised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateAdvice>,
    /// The server asks for no new connections.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
}

/// What an operator has said of one server, for good: what passes with a reload is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerWord {
    /// The virtual server's name.
    pub virtual_server: String,
    /// The real server's address and port.
    pub server: String,
    /// What he wants.
    #[serde(flatten)]
    pub wish: PeerWish,
    /// Who he is.
    pub by: String,
    /// When he said so.
    pub at: UnixTime,
}

/// What an operator wants of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wants", rename_all = "snake_case")]
pub enum PeerWish {
    /// How it is to be used; `ready` takes back what was said before.
    State {
        /// How.
        state: AdminState,
        /// When a drain becomes maintenance, by the clock of the director that has the word in hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_until: Option<UnixTime>,
        /// For how long it was to drain when that was said, in milliseconds: the same on both directors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_for: Option<u64>,
    },
    /// The weight that it is given; `None` takes back what was said before.
    Weight {
        /// The weight.
        weight: Option<WeightAdvice>,
    },
}

/// What a director is configured to do, as far as two of them have to do the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Picture {
    /// Its services.
    pub services: Vec<ServicePicture>,
}

/// Settings by their names in the configuration, as they are shown. One that the other director does not name is not
/// compared: it may be of another version.
pub type PictureSettings = BTreeMap<String, String>;

/// One service of a [`Picture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePicture {
    /// Which.
    pub service: ServiceKey,
    /// Its own settings.
    pub settings: PictureSettings,
    /// Its real servers by address and port, with theirs.
    pub real_servers: BTreeMap<String, PictureSettings>,
}

/// Something that two directors have otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// In which service.
    pub service: String,
    /// Of which of its real servers; `None` for the service itself.
    pub real_server: Option<String>,
    /// Which setting; `None` where one of them lacks the whole.
    pub setting: Option<String>,
    /// What this director has; `None` where it lacks it.
    pub here: Option<String>,
    /// What the other one has; `None` where it lacks it.
    pub there: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            real_server,
            setting,
            here,
            there,
        } = self;
        f.write_str(service)?;
        if let Some(real_server) = real_server {
            write!(f, ", real server {real_server}")?;
        }
        match (setting, here, there) {
            (Some(setting), here, there) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                write!(
                    f,
                    ": {setting} is {} here and {} on the peer",
                    shown(here),
                    shown(there)
                )
            }
            (None, Some(_), _) => f.write_str(" is only here"),
            (None, None, _) => f.write_str(" is only on the peer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_what_openssl_prints() {
        // The example of RFC 8410, section 10.1.
        let text = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        let key: PublicKey = text.parse().expect("a key");
        assert_eq!(key.to_string(), text);
        for wrong in ["", "MCow", &text[4..], &text.replace('M', "A"), &text.repeat(100), "ä"] {
            wrong.parse::<PublicKey>().expect_err(wrong);
        }
    }

    proptest! {
        #[test]
        fn every_key_is_read_as_it_is_shown(bytes: [u8; 32]) {
            let key = PublicKey(bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            prop_assert_eq!(PublicKey::from_der(&key.to_der()), Some(key));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = text.parse::<PublicKey>();
        }
    }
}
