//! Replies of SMTP (RFC 5321, 4.2): lines of three digits, the last one with a blank behind them.

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// For example 250.
    pub code: u16,
    /// The texts of its lines.
    pub lines: Vec<String>,
}

/// The reply at the start of `bytes`, and how long it is; `None` where there is more to come, an error where it is none.
pub fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, &'static str> {
    let mut at = 0;
    let mut lines = Vec::new();
    loop {
        let rest = &bytes[at..];
        let code = rest.get(..rest.len().min(3)).unwrap_or_default();
        if !code.iter().all(u8::is_ascii_digit) {
            return Err("a line starts with three digits");
        }
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        at += end + 1;
        let Some((code, text)) = line.split_at_checked(3) else {
            return Err("a line is too short");
        };
        lines.push(String::from_utf8_lossy(text.get(1..).unwrap_or_default()).into_owned());
        match text.first() {
            Some(b'-') => (),
            Some(b' ') | None => {
                let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
                return Ok(Some((Reply { code, lines }, at)));
            }
            Some(_) => return Err("behind the digits stands neither a blank nor a hyphen"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_of_one_and_of_many_lines_are_read() {
        let many = b"250-mail.example\r\n250-STARTTLS\r\n250 HELP\r\n";
        let (reply_of_many, length) = reply(many).expect("good").expect("whole");
        assert_eq!((reply_of_many.code, length), (250, many.len()));
        assert_eq!(reply_of_many.lines, ["mail.example", "STARTTLS", "HELP"]);
        for end in 0..many.len() {
            assert_eq!(reply(&many[..end]), Ok(None), "{end}");
        }
        assert_eq!(reply(b"220\n").expect("good").expect("whole").0.code, 220);
        for wrong in [&b"SSH-2.0"[..], b"2", b"22\r\n", b"220x\r\n"]
            .into_iter()
            .filter(|wrong| wrong.len() > 1)
        {
            assert!(reply(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_read(bytes: Vec<u8>, near in "[0-9 \r\n-]{0,80}") {
            for bytes in [&bytes[..], near.as_bytes()] {
                if let Ok(Some((_, length))) = reply(bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
