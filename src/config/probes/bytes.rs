//! Bytes as a configuration writes them: text with escapes, or hexadecimal digits.

use super::super::reader::{Item, Reader};
use crate::model::Bytes;

/// The most bytes that one value may stand for.
const LONGEST: usize = 4096;

/// Text in which `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` stand for bytes; never empty.
pub(super) fn text(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Bytes> {
    let text = reader.string(item, key)?;
    let bytes = unescape(text);
    checked(reader, item, key, bytes, r"known escapes: \r \n \t \0 \\ \xHH")
}

/// Hexadecimal digits in pairs, with or without blanks between the pairs; never empty.
pub(super) fn hex(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Bytes> {
    let text = reader.string(item, key)?;
    let bytes = unhex(text);
    checked(reader, item, key, bytes, "two hexadecimal digits a byte: \"0d 0a\"")
}

fn checked(
    reader: &mut Reader,
    item: &Item<'_>,
    key: &str,
    bytes: Result<Vec<u8>, String>,
    hint: &str,
) -> Option<Bytes> {
    let problem = match bytes {
        Ok(bytes) if bytes.is_empty() => format!("`{key}` is empty"),
        Ok(bytes) if bytes.len() > LONGEST => format!("`{key}` is longer than {LONGEST} bytes"),
        Ok(bytes) => return Some(Bytes(bytes)),
        Err(problem) => format!("`{key}` has {problem}"),
    };
    reader.error(item.span().start, problem, hint);
    None
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let escaped = match rest.next() {
            Some(b'r') => Some(b'\r'),
            Some(b'n') => Some(b'\n'),
            Some(b't') => Some(b'\t'),
            Some(b'0') => Some(0),
            Some(b'\\') => Some(b'\\'),
            Some(b'x') => rest.next().zip(rest.next()).and_then(|(high, low)| pair(high, low)),
            Some(_) | None => None,
        };
        bytes.push(escaped.ok_or("a backslash that escapes nothing")?);
    }
    Ok(bytes)
}

pub(super) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for word in text.split_ascii_whitespace() {
        for digits in word.as_bytes().chunks(2) {
            let byte = match digits {
                [high, low] => pair(*high, *low),
                _ => None,
            };
            bytes.push(byte.ok_or("something else than pairs of hexadecimal digits")?);
        }
    }
    Ok(bytes)
}

fn pair(high: u8, low: u8) -> Option<u8> {
    let digit = |letter: u8| {
        char::from(letter)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_pairs_are_bytes() {
        assert_eq!(
            unescape(r"PING\r\n\x00\xfF\\\0\t").as_deref(),
            Ok(&b"PING\r\n\0\xff\\\0\t"[..])
        );
        assert!(unescape(r"\q").is_err() && unescape(r"\x1").is_err() && unescape("\\").is_err());
        assert_eq!(unhex("0d0A 00").as_deref(), Ok(&b"\r\n\0"[..]));
        assert!(unhex("0d0").is_err() && unhex("xx").is_err() && unhex("0é").is_err());
    }

    proptest! {
        #[test]
        fn every_byte_can_be_written_in_both_ways(bytes: Vec<u8>) {
            let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            prop_assert_eq!(unescape(&escaped), Ok(bytes.clone()));
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            prop_assert_eq!(unhex(&hex.join(" ")), Ok(bytes));
        }

        #[test]
        fn any_text_is_bytes_or_a_problem(text: String) {
            let _ = (unescape(&text), unhex(&text));
        }
    }
}
