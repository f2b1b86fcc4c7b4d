//! A regular expression over bytes, compiled once.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// A regular expression over bytes. Matching takes time linear in what is searched, whatever the expression.
///
/// Classes such as `\w` and the flag `i` mean ASCII; `\xff` is the byte, and `.` any byte but a line feed.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// The most memory that one compiled expression may take, in bytes.
    const MOST: usize = 256 * 1024;

    /// Compiles an expression; the error says what is wrong with it, on one line.
    pub fn new(text: &str) -> Result<Self, String> {
        let compiled = RegexBuilder::new(text)
            .unicode(false)
            .size_limit(Self::MOST)
            .dfa_size_limit(Self::MOST)
            .build();
        match compiled {
            Ok(regex) => Ok(Self { regex }),
            Err(regex::Error::CompiledTooBig(limit)) => Err(format!("it takes more than {limit} bytes of memory")),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// Whether there is a match anywhere.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    /// Where the first match ends.
    pub fn end_of_match(&self, bytes: &[u8]) -> Option<usize> {
        self.regex.find(bytes).map(|found| found.end())
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_matched_and_what_is_wrong_is_said_on_one_line() {
        let pattern = Pattern::new(r"^(?i)ok\xff").expect("good");
        assert_eq!(pattern.end_of_match(b"OK\xff and more"), Some(3));
        assert!(!pattern.is_match("ok\u{ff}".as_bytes()));
        assert_eq!(Pattern::new("a(b").expect_err("bad"), "unclosed group");
        assert!(Pattern::new("(?:a{1000}){1000}").expect_err("huge").contains("memory"));
    }

    #[test]
    fn an_expression_that_explodes_elsewhere_takes_linear_time() {
        let pattern = Pattern::new("(a*)*b").expect("good");
        assert!(!pattern.is_match(&vec![b'a'; 64 * 1024]));
    }
}
