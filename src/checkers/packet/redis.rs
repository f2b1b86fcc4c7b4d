//! Redis's protocol (RESP 2), as far as three short commands go.

/// The most elements of an array, and the deepest.
const MOST: usize = 64;
const DEEPEST: usize = 4;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR …`
    Error(String),
    /// `:1`
    Number(i64),
    /// `$3`; `None` for null.
    Text(Option<Vec<u8>>),
    /// `*2`; empty for null.
    Array(Vec<Reply>),
}

/// A command with its arguments.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// The reply at the start of `bytes`, and how long it is; `None` where there is more to come, an error where it is none.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, &'static str> {
    let mut at = 0;
    Ok(read(bytes, &mut at, 0)?.map(|reply| (reply, at)))
}

fn read(bytes: &[u8], at: &mut usize, depth: usize) -> Result<Option<Reply>, &'static str> {
    if depth > DEEPEST {
        return Err("arrays within arrays");
    }
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some((kind, after)) = rest.split_first() else {
        return Ok(None);
    };
    if !b"+-:$*".contains(kind) {
        return Err("a reply starts with + - : $ or *");
    }
    let Some(end) = after.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&after[..end]).into_owned();
    *at += end + 3;
    let number = || line.parse::<i64>().map_err(|_| "a number is none");
    let reply = match kind {
        b'+' => Reply::Status(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Number(number()?),
        b'$' => match usize::try_from(number()?) {
            Err(_) => Reply::Text(None),
            Ok(length) => {
                let end = at.checked_add(length).ok_or("a length is none")?;
                let Some(text) = bytes.get(*at..end) else {
                    return Ok(None);
                };
                match bytes.get(end..end.saturating_add(2)) {
                    None => return Ok(None),
                    Some(b"\r\n") => (),
                    Some(_) => return Err("a text has no end"),
                }
                *at = end + 2;
                Reply::Text(Some(text.to_vec()))
            }
        },
        _ => {
            let count = usize::try_from(number()?).unwrap_or(0);
            if count > MOST {
                return Err("an array is too long");
            }
            let mut elements = Vec::new();
            for _ in 0..count {
                match read(bytes, at, depth + 1)? {
                    Some(element) => elements.push(element),
                    None => return Ok(None),
                }
            }
            Reply::Array(elements)
        }
    };
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_and_replies_are_as_redis_has_them() {
        assert_eq!(command(&[b"AUTH", b"s3cret"]), b"*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n");
        assert_eq!(reply(b"+PONG\r\nmore"), Ok(Some((Reply::Status("PONG".to_owned()), 7))));
        assert_eq!(
            reply(b"-NOAUTH no\r\n"),
            Ok(Some((Reply::Error("NOAUTH no".to_owned()), 12)))
        );
        assert_eq!(reply(b"$-1\r\n"), Ok(Some((Reply::Text(None), 5))));
        let role = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
        let elements = vec![
            Reply::Text(Some(b"master".to_vec())),
            Reply::Number(0),
            Reply::Array(Vec::new()),
        ];
        assert_eq!(reply(role), Ok(Some((Reply::Array(elements), role.len()))));
        for end in 0..role.len() {
            assert_eq!(reply(&role[..end]), Ok(None), "{end}");
        }
        for wrong in [
            &b"HTTP/1.1 400"[..],
            b"$x\r\n",
            b"$1\r\nab\r\n",
            b"*65\r\n",
            b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        ] {
            assert!(reply(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_read(bytes: Vec<u8>, near in "[+:$*0-9a\r\n-]{0,80}") {
            for bytes in [&bytes[..], near.as_bytes()] {
                if let Ok(Some((_, length))) = reply(bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
