//! Typed access to the parsed TOML: every value that has the wrong type or range becomes a problem at its place.
//!
//! Each method answers with `None` where the value cannot be used, having said why. Nothing is copied out of the text
//! that the caller does not ask for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::hints;
use super::problem::{Ground, Ledger, Place, Severity};
use super::scope::Scope;
pub(super) use super::tree::Item;
use super::tree::{Table, Value};

/// The most characters of a name.
const LONGEST_NAME: usize = 64;
/// The longest name of a device, in bytes (`IFNAMSIZ` less its end).
const LONGEST_DEVICE: usize = 15;

/// Reads one file after the other, putting problems down as it goes.
#[derive(Default)]
pub(super) struct Reader {
    /// The problems so far.
    pub(super) ledger: Ledger,
    /// The number of the file that places count in.
    pub(super) file: usize,
}

impl Reader {
    /// The place of an offset in the file being read.
    pub(super) fn place(&self, offset: usize) -> Place {
        Place {
            file: self.file,
            offset,
        }
    }

    /// Puts down an error at a byte offset; an empty hint is none.
    pub(super) fn error(&mut self, offset: usize, text: impl Into<String>, hint: impl Into<String>) {
        self.error_at(self.place(offset), text, hint);
    }

    /// Puts down an error at a place.
    pub(super) fn error_at(&mut self, place: Place, text: impl Into<String>, hint: impl Into<String>) {
        self.ledger
            .add(place, Severity::Error, Ground::Written, text.into(), hint.into());
    }

    /// Puts down that something stands at a byte offset that stood at `first` already.
    pub(super) fn second(&mut self, offset: usize, first: Place, text: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(offset);
        self.ledger.add_second(place, first, text.into(), hint.into());
    }

    /// Puts down that something is missing that belongs at a byte offset.
    pub(super) fn missing(&mut self, offset: usize, text: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(offset);
        self.ledger
            .add(place, Severity::Error, Ground::Absent, text.into(), hint.into());
    }

    /// Puts down a warning at a byte offset.
    pub(super) fn warning(&mut self, offset: usize, text: impl Into<String>, hint: impl Into<String>) {
        self.warning_at(self.place(offset), text, hint);
    }

    /// Puts down a warning at a place. Warnings count as grounded in what is missing: a broken file silences them.
    pub(super) fn warning_at(&mut self, place: Place, text: impl Into<String>, hint: impl Into<String>) {
        self.ledger
            .add(place, Severity::Warning, Ground::Absent, text.into(), hint.into());
    }

    /// The values of a table in the order of the scope's keys; a key that the scope does not have is a problem.
    ///
    /// `N` is the number of keys that the scope has.
    pub(super) fn fields<'t, 'i, const N: usize>(
        &mut self,
        table: &'t Table<'i>,
        scope: Scope,
    ) -> [Option<&'t Item<'i>>; N] {
        let found = self.pick(table, scope);
        if found.iter().flatten().count() < table.len() {
            self.report_unknown(table, &[scope]);
        }
        found
    }

    /// Puts down every key that none of the scopes has.
    pub(super) fn report_unknown(&mut self, table: &Table<'_>, scopes: &[Scope]) {
        let Some(home) = scopes.last() else { return };
        for (key, _) in table {
            let name: &str = key.get_ref();
            if scopes.iter().any(|scope| scope.keys().contains(&name)) {
                continue;
            }
            // Below a table header that could not be read, keys of that table turn up in the wrong one.
            let ground = match home.is_home_elsewhere(name) {
                true => Ground::Absent,
                false => Ground::Written,
            };
            self.ledger.add(
                self.place(key.span().start),
                Severity::Error,
                ground,
                format!("`{}` is not known in {}", shorten(name), home.name()),
                hints::unknown_key(scopes, name),
            );
        }
    }

    /// The values of a table in the order of the scope's keys, whatever else it has.
    pub(super) fn pick<'t, 'i, const N: usize>(&self, table: &'t Table<'i>, scope: Scope) -> [Option<&'t Item<'i>>; N] {
        let known = scope.keys();
        debug_assert_eq!(known.len(), N, "one field a key of {}", scope.name());
        let mut found = [None; N];
        for (key, item) in table {
            let name: &str = key.get_ref();
            if let Some(index) = known.iter().position(|known| *known == name) {
                found[index] = Some(item);
            }
        }
        found
    }

    /// A table.
    pub(super) fn table<'t, 'i>(&mut self, item: &'t Item<'i>, key: &str) -> Option<&'t Table<'i>> {
        match item.get_ref() {
            Value::Table(table) => Some(table),
            other => self.wrong_type(item, key, "a table", other),
        }
    }

    /// A string.
    pub(super) fn string<'t>(&mut self, item: &'t Item<'_>, key: &str) -> Option<&'t str> {
        match item.get_ref() {
            Value::String(text) => Some(text),
            other => self.wrong_type(item, key, "a string", other),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, item: &Item<'_>, key: &str) -> Option<bool> {
        match item.get_ref() {
            Value::Boolean(value) => Some(*value),
            other => self.wrong_type(item, key, "true or false", other),
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, item: &Item<'_>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let Value::Integer(number) = item.get_ref() else {
            return self.wrong_type(item, key, "a whole number", item.get_ref());
        };
        let value = i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| range.contains(value));
        if value.is_none() {
            self.error(
                item.span().start,
                format!("`{key}` cannot be {}", shorten(&number.to_string())),
                format!("a number from {} to {}", range.start(), range.end()),
            );
        }
        value
    }

    /// A name that no other one of its kind has; as it is written where it cannot be one, so that it can be shown.
    pub(super) fn name<'t>(
        &mut self,
        item: &'t Item<'_>,
        kind: &str,
        names: &mut HashMap<&'t str, Place>,
    ) -> Option<String> {
        let name = self.string(item, "name")?;
        let at = item.span().start;
        let fits = !name.is_empty()
            && name.chars().count() <= LONGEST_NAME
            && !name.contains(|letter: char| letter.is_whitespace() || letter.is_control());
        if !fits {
            let hint = format!("1 to {LONGEST_NAME} characters without blanks");
            self.error(at, format!("`{}` cannot be a name", shorten(name)), hint);
        } else if let Some(first) = names.get(name) {
            let text = format!("two {kind} are called \"{name}\"");
            self.second(at, *first, text, "rename one of them");
        } else {
            names.insert(name, self.place(at));
        }
        Some(name.to_owned())
    }

    /// The name of a network device.
    pub(super) fn device(&mut self, item: &Item<'_>) -> Option<String> {
        let name = self.string(item, "device")?;
        let fits = !name.is_empty()
            && name.len() <= LONGEST_DEVICE
            && !matches!(name, "." | "..")
            && !name.contains(|letter: char| {
                letter.is_whitespace() || letter.is_control() || letter == '/' || letter == ':'
            });
        if !fits {
            self.error(
                item.span().start,
                format!("`{}` cannot be a device", shorten(name)),
                format!("an interface's name of 1 to {LONGEST_DEVICE} bytes, as `ip link` shows it"),
            );
            return None;
        }
        Some(name.to_owned())
    }

    /// An IP address without a port.
    pub(super) fn ip_address(&mut self, item: &Item<'_>, key: &str) -> Option<IpAddr> {
        let text = self.string(item, key)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.error(
                item.span().start,
                format!("`{key}` cannot be \"{}\"", shorten(text)),
                "an IPv4 or IPv6 address without a port",
            );
        }
        address
    }

    /// A port, never 0.
    pub(super) fn port(&mut self, item: &Item<'_>, key: &str) -> Option<u16> {
        self.number(item, key, 1..=65_535)
            .and_then(|port| u16::try_from(port).ok())
    }

    /// A duration with a unit, in a range.
    pub(super) fn duration(&mut self, item: &Item<'_>, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let at = item.span().start;
        let text = match item.get_ref() {
            Value::String(text) => text,
            Value::Integer(number) => {
                let number = shorten(&number.to_string());
                let hint = match range.start().as_secs() {
                    0 => format!("write {key} = \"{number}s\" or \"{number}ms\""),
                    _ => format!("write {key} = \"{number}s\""),
                };
                self.error(at, format!("`{key}` has no unit"), hint);
                return None;
            }
            other => return self.wrong_type(item, key, "a duration such as \"2s\"", other),
        };
        let Some(duration) = duration::parse(text) else {
            let hint = match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
                true => format!("add a unit: \"{0}s\" or \"{0}ms\"", shorten(text)),
                false => "a whole number and one of ms, s, m, h, d: \"300ms\", \"2s\", \"15m\"".to_owned(),
            };
            self.error(at, format!("`{}` is no duration", shorten(text)), hint);
            return None;
        };
        if !range.contains(&duration) {
            self.error(
                at,
                format!("`{key}` cannot be {text}"),
                format!(
                    "from {} to {}",
                    duration::show(*range.start()),
                    duration::show(*range.end())
                ),
            );
            return None;
        }
        Some(duration)
    }

    /// A duration in whole seconds.
    pub(super) fn seconds(&mut self, item: &Item<'_>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let bounds = Duration::from_secs((*range.start()).into())..=Duration::from_secs((*range.end()).into());
        let duration = self.duration(item, key, bounds)?;
        if duration.subsec_millis() != 0 {
            self.error(
                item.span().start,
                format!("`{key}` cannot be {}", duration::show(duration)),
                "the kernel counts whole seconds here",
            );
            return None;
        }
        u32::try_from(duration.as_secs()).ok()
    }

    /// One word of a set.
    pub(super) fn word<T: Copy>(&mut self, item: &Item<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(item, key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(
                item.span().start,
                format!("`{key}` cannot be \"{}\"", shorten(text)),
                hints::unknown_word(text, &known),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// The elements of a list, or the one value that stands there without brackets.
    pub(super) fn one_or_list<'t, 'i>(&mut self, item: &'t Item<'i>) -> Elements<'t, 'i> {
        match item.get_ref() {
            Value::Array(array) => Elements::Many(array.iter()),
            Value::String(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Table(_) => Elements::One(Some(item)),
        }
    }

    /// The tables of an array of tables.
    pub(super) fn tables<'t, 'i>(&mut self, item: &'t Item<'i>, key: &str) -> Vec<(usize, &'t Table<'i>)> {
        let Value::Array(array) = item.get_ref() else {
            self.error(
                item.span().start,
                format!("`{key}` must be a list of tables, not {}", kind(item.get_ref())),
                format!("write [[{key}]] with two brackets"),
            );
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(array.len());
        for element in array.iter() {
            if let Some(table) = self.table(element, key) {
                tables.push((element.span().start, table));
            }
        }
        tables
    }

    fn wrong_type<T>(&mut self, item: &Item<'_>, key: &str, wanted: &str, value: &Value<'_>) -> Option<T> {
        let hint = match (wanted, value) {
            ("a whole number" | "true or false", Value::String(text))
                if !text.is_empty()
                    && (text.bytes().all(|byte| byte.is_ascii_digit()) || text == "true" || text == "false") =>
            {
                format!("write {key} = {} without quotes", shorten(text))
            }
            ("a string", Value::Integer(number)) => format!("write {key} = \"{}\"", shorten(&number.to_string())),
            _ => String::new(),
        };
        self.error(
            item.span().start,
            format!("`{key}` must be {wanted}, not {}", kind(value)),
            hint,
        );
        None
    }
}

/// What [`Reader::one_or_list`] goes through.
pub(super) enum Elements<'t, 'i> {
    /// A single value.
    One(Option<&'t Item<'i>>),
    /// A list.
    Many(std::slice::Iter<'t, Item<'i>>),
}

impl<'t, 'i> Iterator for Elements<'t, 'i> {
    type Item = &'t Item<'i>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(item) => item.take(),
            Self::Many(items) => items.next(),
        }
    }
}

/// What a value is, in a sentence.
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float => "a number with a point",
        Value::Boolean(_) => "true or false",
        Value::Datetime => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A text from the file as a message can carry it: on one line, at most 60 characters.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(60)
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect();
    if text.chars().nth(60).is_some() {
        short.push_str("...");
    }
    short
}
