//! What is said between two directors, and its bytes: frames of a length, a kind and JSON.
//!
//! A frame is four bytes of length (network order, of the JSON alone), one byte of kind, and the JSON. A kind that is not
//! known is passed over, and so is a member that is not known, a word or a verdict of a form that is not known, and a
//! message of such a form, so that two versions of ipvsd talk about what both know. What is no JSON at all is nonsense. No
//! frame is longer than [`LONGEST`], and the first one not longer than [`LONGEST_HELLO`]. Nothing here panics, whatever
//! the bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::model::{PeerVerdict, PeerWord, Picture, UnixTime};

/// The version of the protocol. Another one is another language: whoever hears it hangs up and says so.
pub const VERSION: u32 = 1;

/// The longest JSON of a frame, in bytes: the verdicts of some fifty thousand checks.
pub const LONGEST: usize = 16 << 20;

/// The longest first frame, from somebody who has the right key and may still be of another time.
pub const LONGEST_HELLO: usize = 4096;

/// The bytes before the JSON.
pub const HEADER: usize = 5;

/// Something that one director tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first one: who speaks.
    Hello(Hello),
    /// It is there.
    Beat(Beat),
    /// All its own verdicts; those before are no longer said.
    Verdicts(Vec<PeerVerdict>),
    /// All that operators have said for good.
    Words(Vec<PeerWord>),
    /// What it is configured to do.
    Picture(Picture),
    /// There is no picture: it is longer than a message may be, by so many bytes in all.
    NoPicture(NoPicture),
}

/// A picture that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoPicture {
    /// Its length in bytes.
    pub bytes: u64,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// The version of ipvsd, for people.
    pub program: String,
    /// How often it says that it is there, in milliseconds.
    pub interval_ms: u64,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Beat {
    /// How many connections its kernel has; only where the other one wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// It wants to know how many the other one has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_connections: bool,
    /// What time it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<UnixTime>,
}

/// What can be made of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Understood {
    /// What is known here; `None` where the whole is not.
    pub message: Option<Message>,
    /// So many parts of it, or the whole, are of a kind or a form that is not known here.
    pub passed_over: u64,
}

/// What comes before the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The length of the JSON in bytes.
    pub length: usize,
    /// The kind, known or not.
    pub kind: u8,
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// More than anybody has to say.
    #[error("a message of {length} bytes, more than {limit}")]
    TooLong {
        /// The length that it names.
        length: usize,
        /// The most there may be.
        limit: usize,
    },
    /// Its JSON is none, or of another form.
    #[error("a message that cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It does not begin with a hello.
    #[error("it does not say who it is first")]
    NoHello,
    /// It speaks another language.
    #[error("it speaks version {0} of this protocol, and this ipvsd version {VERSION} (upgrade the older one)")]
    Version(u32),
}

const HELLO: u8 = 1;
const BEAT: u8 = 2;
const VERDICTS: u8 = 3;
const WORDS: u8 = 4;
pub(super) const PICTURE: u8 = 5;
const NO_PICTURE: u8 = 6;

/// Those parts of a message that are of a known form. The others leave nothing but their number, however many there are
/// and whatever is in them.
struct Known<T> {
    parts: Vec<T>,
    passed_over: u64,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Parts(PhantomData))
    }
}

/// Reads one part after the other.
struct Parts<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Parts<T> {
    type Value = Known<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut parts, mut passed_over) = (Vec::new(), 0);
        while let Some(part) = list.next_element::<&RawValue>()? {
            match serde_json::from_str(part.get()) {
                Ok(part) => parts.push(part),
                Err(_) => passed_over += 1,
            }
        }
        Ok(Known { parts, passed_over })
    }
}

impl Header {
    /// What is in the bytes before a message.
    ///
    /// # Errors
    /// Where the message is longer than `limit`.
    pub fn decode(bytes: [u8; HEADER], limit: usize) -> Result<Self, BadMessage> {
        let [a, b, c, d, kind] = bytes;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        match length <= limit {
            true => Ok(Self { length, kind }),
            false => Err(BadMessage::TooLong { length, limit }),
        }
    }

    /// Its bytes.
    pub fn encode(self) -> [u8; HEADER] {
        let [a, b, c, d] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        [a, b, c, d, self.kind]
    }
}

impl Message {
    /// The whole frame.
    ///
    /// # Errors
    /// Where it is too long to be heard.
    pub fn encode(&self) -> Result<Vec<u8>, BadMessage> {
        let mut frame = vec![0; HEADER];
        let kind = match self {
            Self::Hello(hello) => serde_json::to_writer(&mut frame, hello).map(|()| HELLO),
            Self::Beat(beat) => serde_json::to_writer(&mut frame, beat).map(|()| BEAT),
            Self::Verdicts(verdicts) => serde_json::to_writer(&mut frame, verdicts).map(|()| VERDICTS),
            Self::Words(words) => serde_json::to_writer(&mut frame, words).map(|()| WORDS),
            Self::Picture(picture) => serde_json::to_writer(&mut frame, picture).map(|()| PICTURE),
            Self::NoPicture(none) => serde_json::to_writer(&mut frame, none).map(|()| NO_PICTURE),
        }?;
        let length = frame.len() - HEADER;
        let limit = LONGEST;
        if length > limit {
            return Err(BadMessage::TooLong { length, limit });
        }
        frame[..HEADER].copy_from_slice(&Header { length, kind }.encode());
        Ok(frame)
    }

    /// The message of a kind in its JSON; `None` for a kind or a form that is not known here.
    ///
    /// # Errors
    /// Where it is no JSON, or a hello of another form.
    pub fn decode(kind: u8, json: &[u8]) -> Result<Option<Self>, BadMessage> {
        Ok(Self::understand(kind, json)?.message)
    }

    /// The same, with what was passed over.
    ///
    /// # Errors
    /// The same.
    pub fn understand(kind: u8, json: &[u8]) -> Result<Understood, BadMessage> {
        let mut passed_over = 0;
        let read = match kind {
            HELLO => Ok(Self::Hello(serde_json::from_slice(json)?)),
            BEAT => serde_json::from_slice(json).map(Self::Beat),
            VERDICTS => known(json, &mut passed_over).map(Self::Verdicts),
            WORDS => known(json, &mut passed_over).map(Self::Words),
            PICTURE => serde_json::from_slice(json).map(Self::Picture),
            NO_PICTURE => serde_json::from_slice(json).map(Self::NoPicture),
            _ => {
                let (message, passed_over) = (None, 1);
                return Ok(Understood { message, passed_over });
            }
        };
        let message = match read {
            Ok(message) => Some(message),
            Err(error) if error.classify() == Category::Data => {
                passed_over += 1;
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Understood { message, passed_over })
    }
}

/// Those of a list whose form is known.
fn known<T: DeserializeOwned>(json: &[u8], passed_over: &mut u64) -> Result<Vec<T>, serde_json::Error> {
    let known: Known<T> = serde_json::from_slice(json)?;
    *passed_over += known.passed_over;
    Ok(known.parts)
}

impl Hello {
    /// Who a first message is from.
    ///
    /// # Errors
    /// It is none, or of another version of the protocol.
    pub fn expect(message: Option<Message>) -> Result<Self, BadMessage> {
        match message {
            Some(Message::Hello(hello)) if hello.version == VERSION => Ok(hello),
            Some(Message::Hello(hello)) => Err(BadMessage::Version(hello.version)),
            Some(
                Message::Beat(_)
                | Message::Verdicts(_)
                | Message::Words(_)
                | Message::Picture(_)
                | Message::NoPicture(_),
            )
            | None => Err(BadMessage::NoHello),
        }
    }
}
