//! Words to options with their values, one at a time, as popt(3) takes them.
//!
//! Letters may be clustered (`-Lnc`); a value may be attached (`-srr`, `-s=rr`, `--scheduler=rr`) or be the next word,
//! whatever that looks like. Long names are not abbreviated. What is no option may stand anywhere and is kept for the
//! end; `--` ends the options.

use super::option::{OPTIONS, OptionEntry, Takes};

/// Why there is no next option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Unknown,
    MissingValue,
    UnwantedValue,
}

impl Trouble {
    /// In popt's words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown option",
            Self::MissingValue => "missing argument",
            Self::UnwantedValue => "option does not take an argument",
        }
    }
}

/// An option and its value.
pub(super) type Taken<'a> = (&'static OptionEntry, Option<&'a str>);

/// A command line that is being read.
#[derive(Debug)]
pub(super) struct Lexer<'a, W> {
    words: &'a [W],
    next: usize,
    /// What is left of a cluster of letters, or the value attached to the last of them.
    cluster: &'a str,
    ended: bool,
    loose: Vec<&'a str>,
}

impl<'a, W: AsRef<str>> Lexer<'a, W> {
    pub(super) fn new(words: &'a [W]) -> Self {
        Self {
            words,
            next: 0,
            cluster: "",
            ended: false,
            loose: Vec::new(),
        }
    }

    /// The word taken last: that of the option, or its value if that was a word of its own.
    pub(super) fn last_word(&self) -> &'a str {
        self.next
            .checked_sub(1)
            .and_then(|last| self.words.get(last))
            .map_or("", AsRef::as_ref)
    }

    /// The words that are no options, in their order; all of them once the options are at their end.
    pub(super) fn into_loose(self) -> Vec<&'a str> {
        self.loose
    }

    /// The next option; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Taken<'a>>, Trouble> {
        while self.cluster.is_empty() {
            let Some(word) = self.words.get(self.next).map(AsRef::as_ref) else {
                return Ok(None);
            };
            self.next += 1;
            match word.strip_prefix('-') {
                Some("-") if !self.ended => self.ended = true,
                Some(rest) if !self.ended && !rest.is_empty() => match rest.strip_prefix('-') {
                    Some(long) => return self.long(long).map(Some),
                    None => self.cluster = rest,
                },
                Some(_) | None => self.loose.push(word),
            }
        }
        self.short().map(Some)
    }

    fn long(&mut self, text: &'a str) -> Result<Taken<'a>, Trouble> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let entry = OPTIONS
            .iter()
            .find(|entry| entry.long == name)
            .ok_or(Trouble::Unknown)?;
        self.with_value(entry, attached)
    }

    fn short(&mut self) -> Result<Taken<'a>, Trouble> {
        let mut letters = self.cluster.chars();
        let letter = letters.next();
        self.cluster = letters.as_str();
        let entry = OPTIONS
            .iter()
            .find(|entry| entry.short == letter)
            .ok_or(Trouble::Unknown)?;
        if entry.takes == Takes::Nothing && !self.cluster.starts_with('=') {
            return Ok((entry, None));
        }
        let attached = std::mem::take(&mut self.cluster);
        let attached = (!attached.is_empty()).then(|| attached.strip_prefix('=').unwrap_or(attached));
        self.with_value(entry, attached)
    }

    fn with_value(&mut self, entry: &'static OptionEntry, attached: Option<&'a str>) -> Result<Taken<'a>, Trouble> {
        let value = match (entry.takes, attached, self.words.get(self.next).map(AsRef::as_ref)) {
            (Takes::Nothing, Some(_), _) => return Err(Trouble::UnwantedValue),
            (Takes::Nothing, None, _) => None,
            (Takes::Value | Takes::PerhapsValue, Some(value), _) => Some(value),
            (Takes::Value, None, None) => return Err(Trouble::MissingValue),
            (Takes::PerhapsValue, None, None) => None,
            (Takes::PerhapsValue, None, Some(word)) if word.starts_with('-') => None,
            (Takes::Value | Takes::PerhapsValue, None, Some(word)) => {
                self.next += 1;
                Some(word)
            }
        };
        Ok((entry, value))
    }
}
