//! A simple bind of LDAP (RFC 4511, 4.2) and its answer, in BER.

/// The answer to a bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAnswer {
    /// The result code, 0 for success.
    pub code: u8,
    /// The server's words.
    pub words: String,
}

/// A simple bind with a DN and a password; both empty for an anonymous one.
pub fn bind(dn: &[u8], password: &[u8]) -> Vec<u8> {
    let content = [tagged(0x02, &[3]), tagged(0x04, dn), tagged(0x80, password)].concat();
    tagged(0x30, &[tagged(0x02, &[1]), tagged(0x60, &content)].concat())
}

/// The farewell.
pub fn unbind() -> Vec<u8> {
    vec![0x30, 5, 2, 1, 2, 0x42, 0]
}

/// The answer at the start of `bytes`; `None` where there is more to come, an error where it is none.
pub fn answer(bytes: &[u8]) -> Result<Option<BindAnswer>, &'static str> {
    if bytes.first().is_some_and(|tag| *tag != 0x30) {
        return Err("a message is a sequence");
    }
    let Some((_, message, _)) = element(bytes)? else {
        return Ok(None);
    };
    let whole = |found: Result<Option<(u8, _, _)>, _>| found?.ok_or("a message is too short");
    let (_, _number, rest) = whole(element(message))?;
    let (tag, content, _) = whole(element(rest))?;
    if tag != 0x61 {
        return Err("the answer to a bind is none");
    }
    let (tag, code, rest) = whole(element(content))?;
    let (0x0a, [code]) = (tag, code) else {
        return Err("a result code is none");
    };
    let (_, _matched, rest) = whole(element(rest))?;
    let (_, words, _) = whole(element(rest))?;
    Ok(Some(BindAnswer {
        code: *code,
        words: String::from_utf8_lossy(words).into_owned(),
    }))
}

type Element<'a> = (u8, &'a [u8], &'a [u8]);

/// The first element: its tag, its content, and what follows; `None` where it is not whole.
fn element(bytes: &[u8]) -> Result<Option<Element<'_>>, &'static str> {
    let (Some(tag), Some(length)) = (bytes.first(), bytes.get(1)) else {
        return Ok(None);
    };
    let (start, length) = match *length {
        short @ 0..=0x7f => (2, usize::from(short)),
        long @ 0x81..=0x84 => {
            let width = usize::from(long & 0x7f);
            let Some(digits) = bytes.get(2..2 + width) else {
                return Ok(None);
            };
            (
                2 + width,
                digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)),
            )
        }
        _ => return Err("a length is none"),
    };
    let end = start + length;
    Ok(bytes.get(start..end).map(|content| (*tag, content, &bytes[end..])))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => bytes.push(short),
        _ => {
            bytes.push(0x84);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bind_and_its_answer_are_as_the_rfc_has_them() {
        assert_eq!(
            bind(b"", b""),
            b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"
        );
        let good = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(
            answer(good),
            Ok(Some(BindAnswer {
                code: 0,
                words: String::new()
            }))
        );
        for end in 0..good.len() {
            assert_eq!(answer(&good[..end]), Ok(None), "{end}");
        }
        let refused = b"\x30\x84\x00\x00\x00\x0e\x02\x01\x01\x61\x09\x0a\x01\x31\x04\x00\x04\x02no";
        assert_eq!(
            answer(refused),
            Ok(Some(BindAnswer {
                code: 49,
                words: "no".to_owned()
            }))
        );
        assert!(answer(b"HTTP/1.1").is_err() && answer(b"\x30\x03\x02\x01\x01").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_read(bytes: Vec<u8>, tail: Vec<u8>) {
            let _ = answer(&bytes);
            let _ = answer(&[&b"\x30\x10\x02\x01\x01\x61"[..], &tail].concat());
        }

        #[test]
        fn what_is_written_can_be_taken_apart(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let written = tagged(4, &content);
            prop_assert_eq!(element(&written), Ok(Some((4, &content[..], &[][..]))));
        }
    }
}
