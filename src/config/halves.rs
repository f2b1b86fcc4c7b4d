//! A large configuration in two halves, which can be read at the same time.
//!
//! How two things are done at once is not this room's to know: whoever asks for a configuration hands in the means.
//! Halves are for what is plain and right; whatever one half cannot settle alone, two virtual servers of one name for
//! example, is left to a second reading of the whole, in which every problem is told as always.

use super::checks::NamedChecks;
use super::reader::{Item, Reader};
use super::tree::Table;
use super::virtual_server::Assembly;

/// The means to do two things.
pub trait Both {
    /// Whether so many bytes of text are worth being halved.
    fn pays(&self, bytes: usize) -> bool;

    /// Does both and answers when both are done.
    fn both<A: Send, B: Send>(&self, first: impl Fn() -> A + Sync, second: impl Fn() -> B + Sync) -> (A, B);
}

/// Nothing is halved.
pub(super) struct Whole;

impl Both for Whole {
    fn pays(&self, _: usize) -> bool {
        false
    }

    fn both<A: Send, B: Send>(&self, first: impl Fn() -> A + Sync, second: impl Fn() -> B + Sync) -> (A, B) {
        (first(), second())
    }
}

/// Everything is halved.
#[cfg(test)]
pub(super) struct Halved;

#[cfg(test)]
impl Both for Halved {
    fn pays(&self, _: usize) -> bool {
        true
    }

    fn both<A: Send, B: Send>(&self, first: impl Fn() -> A + Sync, second: impl Fn() -> B + Sync) -> (A, B) {
        let second = second();
        (first(), second)
    }
}

/// A virtual server's table, the number of its file, and where it starts there.
pub(super) type Written<'w, 't> = (usize, usize, &'w Table<'t>);

/// The tables of all virtual servers; `lists` are the values of `virtual_server` with the numbers of their files.
pub(super) fn tables<'w, 't>(reader: &mut Reader, lists: &[(usize, &'w Item<'t>)]) -> Vec<Written<'w, 't>> {
    let mut tables = Vec::new();
    for (file, item) in lists {
        reader.file = *file;
        let found = reader.tables(item, "virtual_server");
        tables.extend(found.into_iter().map(|(at, table)| (*file, at, table)));
    }
    tables
}

/// Reads all virtual servers, in halves where that pays.
pub(super) fn assemble<'w>(
    reader: &mut Reader,
    checks: &mut NamedChecks<'_>,
    tables: &[Written<'w, '_>],
    bytes: usize,
    means: &impl Both,
) -> Assembly<'w> {
    if means.pays(bytes)
        && let Some(assembly) = in_halves(reader, checks, tables, means)
    {
        return assembly;
    }
    let mut assembly = Assembly::default();
    assembly.read(reader, checks, tables);
    assembly
}

/// `None`, with nothing put down, where something is wrong or the halves meet in a name or a service.
fn in_halves<'w>(
    reader: &mut Reader,
    checks: &mut NamedChecks<'_>,
    tables: &[Written<'w, '_>],
    means: &impl Both,
) -> Option<Assembly<'w>> {
    let (front, back) = tables.split_at(tables.len() / 2);
    let known = &*checks;
    let read = |half| {
        let (mut reader, mut checks) = (Reader::default(), known.clone());
        let mut assembly = Assembly::default();
        assembly.read(&mut reader, &mut checks, half);
        (reader.ledger, checks, assembly)
    };
    let (front, back) = means.both(|| read(front), || read(back));
    let (ledgers, used, assemblies) = ([front.0, back.0], [front.1, back.1], [front.2, back.2]);
    if ledgers.iter().any(|ledger| ledger.errors() > 0) {
        return None;
    }
    let [mut assembly, second] = assemblies;
    assembly.append(second)?;
    ledgers.into_iter().for_each(|ledger| reader.ledger.append(ledger));
    used.iter().for_each(|half| checks.note_used(half));
    Some(assembly)
}
