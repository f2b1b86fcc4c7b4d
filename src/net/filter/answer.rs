//! What the packet filter says, from bytes: answers to requests, and that somebody has changed our table. Total: any bytes
//! give what can be read of them.

use super::batch::{INET, SUBSYSTEM};
use super::ruleset::TABLE;

/// Length of a netlink header, and with what stands before the attributes.
const HEADER: usize = 16;
const HEADERS: usize = HEADER + 4;
const NLMSG_ERROR: u16 = 2;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// The attribute that names the table, whatever was changed in it (`NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`,
/// `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`).
const NAME: u16 = 1;

/// What one message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A request is done, or was refused.
    Answer {
        /// The request's number.
        sequence: u32,
        /// The error number, positive; 0 for done.
        errno: i32,
    },
    /// Our table was changed.
    Change {
        /// The socket by which that was asked for.
        port: u32,
    },
}

/// What the messages of a datagram say, as far as it is of any interest here.
pub fn told(datagram: &[u8]) -> impl Iterator<Item = Told> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(told_by(message))
    })
    .flatten()
}

fn told_by(message: &[u8]) -> Option<Told> {
    let kind = u16_at(message, 4)?;
    if kind == NLMSG_ERROR {
        return Some(Told::Answer {
            sequence: u32_at(message, 8)?,
            errno: u32_at(message, HEADER)?.cast_signed().saturating_neg(),
        });
    }
    let [subsystem, _] = kind.to_be_bytes();
    let ours = subsystem == SUBSYSTEM && *message.get(HEADER)? == INET && names_ours(message.get(HEADERS..)?);
    let port = u32_at(message, 12)?;
    ours.then_some(Told::Change { port })
}

fn names_ours(mut attributes: &[u8]) -> bool {
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length) else {
            return false;
        };
        if kind & NLA_TYPE_MASK == NAME {
            return value.strip_suffix(&[0]) == Some(TABLE.as_bytes());
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    false
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
