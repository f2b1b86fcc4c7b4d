//! What a check of each type tries: one file a family of types.

mod bytes;
mod talk;

use super::checks::optional;
use super::hints::{Scope, unknown_word};
use super::reader::{Item, Reader, shorten};
use super::tree::Table;
use crate::model::{Pattern, ProbeKind, ProbeType};

/// Reads what a check tries, by its `type`; keys that neither checks nor this type have are problems.
pub(super) fn read(reader: &mut Reader, table: &Table<'_>, probe_type: &Item<'_>) -> Option<ProbeKind> {
    let Some(found) = read_type(reader, probe_type) else {
        reader.report_unknown(table, &any_scope());
        return None;
    };
    reader.report_unknown(table, &[Scope::Check, Scope::Probe(found)]);
    match found {
        ProbeType::Tcp => talk::read(reader, table),
    }
}

/// The keys of all types: what may stand in a check whose type is not known.
pub(super) fn any_scope() -> Vec<Scope> {
    let types = ProbeType::ALL.into_iter().map(Scope::Probe);
    types.chain([Scope::Check]).collect()
}

fn read_type(reader: &mut Reader, item: &Item<'_>) -> Option<ProbeType> {
    let word = reader.string(item, "type")?;
    let found = ProbeType::ALL.into_iter().find(|known| known.name() == word);
    if found.is_none() {
        let known: Vec<_> = ProbeType::ALL.into_iter().map(ProbeType::name).collect();
        reader.error(
            item.span().start,
            format!("`type` cannot be \"{}\"", shorten(word)),
            unknown_word(word, &known),
        );
    }
    found
}

/// A regular expression.
fn pattern(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Pattern> {
    let text = reader.string(item, key)?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            reader.error(
                item.span().start,
                format!("`{key}` is no regular expression: {why}"),
                "in single quotes a backslash stays a backslash: '^220 \\S+'",
            );
            None
        }
    }
}
