//! TOML as a tree with places: what the rest of the room walks.
//!
//! Two ways lead to it. `quick` reads the plain TOML that configurations are made of, in one pass and without copying
//! text; it gives up at whatever it does not know, wrong input included. Then the `toml` crate reads the text, with
//! all of the language and all of its errors. `tests` holds that both trees are the same.

mod quick;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use quick::parse as parse_quickly;

/// A value with the byte offset at which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item<'t> {
    value: Value<'t>,
    start: usize,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'t> {
    /// Text.
    String(Cow<'t, str>),
    /// A whole number of any size.
    Integer(Integer<'t>),
    /// A number with a point; which one is of no use here.
    Float,
    /// `true` or `false`.
    Boolean(bool),
    /// A date, which is of no use here.
    Datetime,
    /// A list, or the tables of a `[[list]]`.
    Array(Vec<Item<'t>>),
    /// A table.
    Table(Table<'t>),
}

/// The digits of a whole number and what they count by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Integer<'t> {
    digits: Cow<'t, str>,
    radix: u32,
}

impl Integer<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.digits
    }

    pub(super) fn radix(&self) -> u32 {
        self.radix
    }
}

impl fmt::Display for Integer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.radix {
            2 => f.write_str("0b")?,
            8 => f.write_str("0o")?,
            16 => f.write_str("0x")?,
            _ => {}
        }
        f.write_str(&self.digits)
    }
}

/// A key with the byte offset at which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key<'t> {
    name: Cow<'t, str>,
    start: usize,
}

impl Key<'_> {
    pub(super) fn get_ref(&self) -> &str {
        &self.name
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start
    }
}

/// A table: each key once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table<'t> {
    entries: Vec<(Key<'t>, Item<'t>)>,
}

impl<'t> Table<'t> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Item<'t>> {
        self.entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, item)| item)
    }
}

impl<'a, 't> IntoIterator for &'a Table<'t> {
    type Item = (&'a Key<'t>, &'a Item<'t>);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, (Key<'t>, Item<'t>)>,
        fn(&'a (Key<'t>, Item<'t>)) -> (&'a Key<'t>, &'a Item<'t>),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter().map(|(key, item)| (key, item))
    }
}

impl<'t> Item<'t> {
    pub(super) fn get_ref(&self) -> &Value<'t> {
        &self.value
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start
    }
}

impl<'t> From<DeTable<'t>> for Table<'t> {
    fn from(table: DeTable<'t>) -> Self {
        let entry = |(key, item): (Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)| {
            let start = key.span().start;
            (
                Key {
                    name: key.into_inner(),
                    start,
                },
                item.into(),
            )
        };
        Self {
            entries: table.into_iter().map(entry).collect(),
        }
    }
}

impl<'t> From<Spanned<DeValue<'t>>> for Item<'t> {
    fn from(item: Spanned<DeValue<'t>>) -> Self {
        let start = item.span().start;
        let value = match item.into_inner() {
            DeValue::String(text) => Value::String(text),
            DeValue::Integer(number) => {
                let (digits, radix) = (number.as_str().to_owned(), number.radix());
                Value::Integer(Integer {
                    digits: digits.into(),
                    radix,
                })
            }
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(array) => Value::Array(array.into_iter().map(Into::into).collect()),
            DeValue::Table(table) => Value::Table(table.into()),
        };
        Self { value, start }
    }
}
