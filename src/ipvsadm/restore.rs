//! The lines that `-R` reads: each is a command line without the program's name.

use std::borrow::Cow;

/// A word is cut after this many bytes.
const LONGEST_WORD: usize = 4096;

/// The words of a line: blanks part them, and nothing quotes. A word that is the program's own name is left out
/// wherever it stands, and a NUL ends its word.
pub fn words<'a>(line: &'a [u8], program: &str) -> Vec<Cow<'a, str>> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .filter(|word| !word.is_empty() && *word != program.as_bytes())
        .map(|word| {
            let word = &word[..word.len().min(LONGEST_WORD)];
            let end = word.iter().position(|byte| *byte == 0).unwrap_or(word.len());
            let word = &word[..end];
            // Much sooner than looking for what has to be replaced.
            str::from_utf8(word).map_or_else(|_| String::from_utf8_lossy(word), Cow::Borrowed)
        })
        .collect()
}

/// Whether `ipvsadm-restore` passes over a line; `-R` itself knows no comments.
pub fn is_comment(line: &[u8]) -> bool {
    line.starts_with(b"#")
}
