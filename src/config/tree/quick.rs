//! The plain part of TOML in one pass: bare keys, simple strings, whole numbers, booleans, lists, inline tables,
//! `[table]` and `[[list]]` headers, comments.
//!
//! Whatever else there is, and whatever is wrong, ends it with `None`: dotted and quoted keys, escapes, literal and
//! multi-line strings, signs, floats, dates, a key that stands twice, a table that is opened twice. It never says yes
//! to what the `toml` crate refuses, and then finds the same.

use super::{Integer, Item, Key, Table, Value};
use crate::config::halves::Both;

/// Lists and inline tables within each other, at most.
const DEEPEST: u32 = 16;
/// Keys are compared one by one; a table with more of them is left to the library.
const WIDEST: usize = 512;
/// So many tables of a `[[list]]` have room at once.
const USUAL: usize = 8;

/// Bytes of a bare key.
const KEY: u8 = 1;
/// Bytes that stand for themselves in a simple string; those of other letters than ASCII's are among them.
const TEXT: u8 = 2;
/// Decimal digits.
const DIGIT: u8 = 4;

/// What each byte may be.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    loop {
        let is_key = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_text = !byte.is_ascii_control() && byte != b'"' && byte != b'\\';
        kinds[byte as usize] = (if is_key { KEY } else { 0 })
            | (if is_text { TEXT } else { 0 })
            | (if byte.is_ascii_digit() { DIGIT } else { 0 });
        if byte == u8::MAX {
            break kinds;
        }
        byte += 1;
    }
};

/// Reads a whole document, in halves where that pays; `None` where it is not plain.
pub(in crate::config) fn parse<'t>(text: &'t str, means: &impl Both) -> Option<Table<'t>> {
    if means.pays(text.len())
        && let Some(table) = parse_halves(text, means)
    {
        return Some(table);
    }
    document(text, 0).map(|(table, _)| table)
}

/// Both halves of a document that has a `[[list]]` of its top level near its middle. What goes on from that header would
/// be read the same if it stood alone, unless a table of one half is opened again in the other: `None` for those.
pub(super) fn parse_halves<'t>(text: &'t str, means: &impl Both) -> Option<Table<'t>> {
    let middle = middle(text)?;
    let (front, back) = means.both(|| document(&text[..middle], 0), || document(text, middle));
    let ((mut table, lists), (back, back_lists)) = (front?, back?);
    for (key, item) in back.entries {
        let is_wide = table.entries.len() >= WIDEST;
        match table.entries.iter_mut().find(|(found, _)| found.name == key.name) {
            None if is_wide => return None,
            None => table.entries.push((key, item)),
            Some((
                found,
                Item {
                    value: Value::Array(array),
                    ..
                },
            )) if lists.is_list(found) && back_lists.is_list(&key) => match item.value {
                Value::Array(more) => array.extend(more),
                _ => return None,
            },
            Some(_) => return None,
        }
    }
    Some(table)
}

/// Where the first header of a `[[list]]` at the top level stands in the second half of a text.
fn middle(text: &str) -> Option<usize> {
    let mut from = (text.len() / 2..).find(|at| text.is_char_boundary(*at))?;
    loop {
        let start = from + text[from..].find("\n[[")? + 1;
        let name = text[start..].lines().next()?.strip_prefix("[[")?.strip_suffix("]]")?;
        if name.bytes().all(|byte| KINDS[usize::from(byte)] & KEY != 0) {
            return Some(start);
        }
        from = start;
    }
}

/// Reads a document from a line's start to the text's end, and says which of its tables headers have made.
fn document(text: &str, start: usize) -> Option<(Table<'_>, Lists)> {
    let mut cursor = Cursor {
        text,
        at: start,
        unfinished: Vec::new(),
    };
    let mut path = Vec::new();
    let mut lists = Lists::default();
    let mut root = cursor.entries()?;
    while cursor.at < text.len() {
        let begin = cursor.at;
        let header = cursor.header(&mut path)?;
        let line = &text[begin..cursor.at];
        let mut tables = Vec::with_capacity(if header.is_list { USUAL } else { 1 });
        tables.push(cursor.table(begin)?);
        // The servers of a pool follow one another: their header is read once, and their list is looked for once.
        while header.is_list && line.ends_with('\n') && text[cursor.at..].starts_with(line) {
            let begin = cursor.at;
            cursor.at += line.len();
            tables.push(cursor.table(begin)?);
        }
        header.put(&path, &mut root, tables, &mut lists)?;
    }
    Some((root, lists))
}

/// What headers have made, by where its key starts; a text is read from front to back, so both are in order.
#[derive(Default)]
struct Lists {
    /// Arrays that were written as `[[list]]`: only those grow and are walked through.
    starts: Vec<usize>,
    /// Tables that `[table]` headers opened or passed through.
    open: Vec<usize>,
}

impl Lists {
    fn is_list(&self, key: &Key<'_>) -> bool {
        // Mostly the one that was opened last.
        self.starts.last() == Some(&key.start) || self.starts.binary_search(&key.start).is_ok()
    }

    fn is_open(&self, key: &Key<'_>) -> bool {
        self.open.binary_search(&key.start).is_ok()
    }
}

/// `[a.b]` or `[[a.b]]`, whose words stand apart, for they need no room of their own.
#[derive(Clone, Copy)]
struct Header {
    is_list: bool,
}

impl Header {
    /// Puts the tables that stood below the header where its words say; one, or several of a list.
    fn put<'t>(self, path: &[Key<'t>], root: &mut Table<'t>, tables: Vec<Item<'t>>, lists: &mut Lists) -> Option<()> {
        let (last, path) = path.split_last()?;
        let mut parent = root;
        for key in path {
            let index = match parent.entries.iter().position(|(found, _)| found.name == key.name) {
                Some(index) => index,
                None if parent.entries.len() < WIDEST => {
                    lists.open.push(key.start);
                    let item = Item {
                        start: key.start,
                        value: Value::Table(Table::default()),
                    };
                    parent.entries.push((key.clone(), item));
                    parent.entries.len() - 1
                }
                None => return None,
            };
            let (key, item) = &mut parent.entries[index];
            parent = match &mut item.value {
                Value::Table(table) if lists.is_open(key) => table,
                Value::Array(array) if lists.is_list(key) => match &mut array.last_mut()?.value {
                    Value::Table(table) => table,
                    _ => return None,
                },
                _ => return None,
            };
        }
        let is_wide = parent.entries.len() >= WIDEST;
        match parent.entries.iter_mut().find(|(found, _)| found.name == last.name) {
            Some((
                key,
                Item {
                    value: Value::Array(array),
                    ..
                },
            )) if self.is_list && lists.is_list(key) => array.extend(tables),
            Some(_) => return None,
            None if is_wide => return None,
            None if self.is_list => {
                lists.starts.push(last.start);
                let start = tables.first()?.start;
                let value = Value::Array(tables);
                parent.entries.push((last.clone(), Item { value, start }));
            }
            None => {
                lists.open.push(last.start);
                let tables = tables.into_iter().map(|table| (last.clone(), table));
                parent.entries.extend(tables);
            }
        }
        Some(())
    }
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
    /// The entries of the tables that are being read, an inner one's after its outer one's: a finished table takes
    /// just the room that it needs, for a big configuration has ten thousands of small ones.
    unfinished: Vec<(Key<'t>, Item<'t>)>,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes on past the bytes of one kind and answers with them.
    fn span(&mut self, kind: u8) -> &'t str {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| KINDS[usize::from(*byte)] & kind == 0);
        let start = self.at;
        self.at += length.unwrap_or(rest.len());
        &self.text[start..self.at]
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The rest of a line: blanks, a comment, the line's end or the text's.
    fn line_end(&mut self) -> Option<()> {
        self.skip_blanks();
        if self.peek() == Some(b'#') {
            while let Some(byte) = self.peek().filter(|byte| *byte != b'\n') {
                if (byte < b' ' && byte != b'\t') || byte == 0x7f {
                    return None;
                }
                self.at += 1;
            }
        }
        match self.peek() {
            None => Some(()),
            Some(_) => self.take(b'\n'),
        }
    }

    /// Lines of `key = value` up to the next header or the end.
    fn entries(&mut self) -> Option<Table<'t>> {
        let first = self.unfinished.len();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'[') => return Some(self.finish(first)),
                Some(b'\n' | b'#') => self.line_end()?,
                Some(_) => {
                    self.entry(first, 0)?;
                    self.line_end()?;
                }
            }
        }
    }

    /// The table below a header that begins at `start`.
    fn table(&mut self, start: usize) -> Option<Item<'t>> {
        let value = Value::Table(self.entries()?);
        Some(Item { value, start })
    }

    fn finish(&mut self, first: usize) -> Table<'t> {
        Table {
            entries: self.unfinished.drain(first..).collect(),
        }
    }

    /// One entry of the table whose entries begin at `first`.
    fn entry(&mut self, first: usize, depth: u32) -> Option<()> {
        let key = self.key()?;
        self.skip_blanks();
        self.take(b'=')?;
        self.skip_blanks();
        let item = self.value(depth)?;
        let entries = &self.unfinished[first..];
        if entries.len() >= WIDEST || entries.iter().any(|(found, _)| found.name == key.name) {
            return None;
        }
        self.unfinished.push((key, item));
        Some(())
    }

    fn key(&mut self) -> Option<Key<'t>> {
        let start = self.at;
        let name = self.span(KEY);
        (!name.is_empty()).then(|| Key {
            name: name.into(),
            start,
        })
    }

    /// A header's line; its words go to `path`.
    fn header(&mut self, path: &mut Vec<Key<'t>>) -> Option<Header> {
        self.take(b'[')?;
        let is_list = self.take(b'[').is_some();
        path.clear();
        path.push(self.key()?);
        while self.take(b'.').is_some() {
            path.push(self.key()?);
        }
        self.take(b']')?;
        if is_list {
            self.take(b']')?;
        }
        self.line_end()?;
        Some(Header { is_list })
    }

    fn value(&mut self, depth: u32) -> Option<Item<'t>> {
        let start = self.at;
        let value = match self.peek()? {
            b'"' => Value::String(self.string()?.into()),
            b'0'..=b'9' => Value::Integer(Integer {
                digits: self.digits()?.into(),
                radix: 10,
            }),
            b't' => self.word("true", true)?,
            b'f' => self.word("false", false)?,
            b'[' if depth < DEEPEST => Value::Array(self.array(depth + 1)?),
            b'{' if depth < DEEPEST => Value::Table(self.inline_table(depth + 1)?),
            _ => return None,
        };
        Some(Item { value, start })
    }

    fn string(&mut self) -> Option<&'t str> {
        self.take(b'"')?;
        let text = self.span(TEXT);
        self.take(b'"')?;
        // Three quotes begin another kind of string.
        (!(text.is_empty() && self.peek() == Some(b'"'))).then_some(text)
    }

    fn digits(&mut self) -> Option<&'t str> {
        let digits = self.span(DIGIT);
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        // More digits than any number of ours has; the library knows the limits.
        (self.value_ends() && !leading_zero && digits.len() <= 18).then_some(digits)
    }

    fn word(&mut self, word: &str, value: bool) -> Option<Value<'t>> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())?;
        self.value_ends().then_some(Value::Boolean(value))
    }

    fn value_ends(&self) -> bool {
        matches!(
            self.peek(),
            None | Some(b' ' | b'\t' | b'\n' | b',' | b']' | b'}' | b'#')
        )
    }

    fn array(&mut self, depth: u32) -> Option<Vec<Item<'t>>> {
        self.take(b'[')?;
        let mut items = Vec::new();
        loop {
            self.skip_lines()?;
            if self.take(b']').is_some() {
                return Some(items);
            }
            items.push(self.value(depth)?);
            self.skip_lines()?;
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(items);
            }
        }
    }

    /// Blanks, comments and line ends, as they may stand inside a list.
    fn skip_lines(&mut self) -> Option<()> {
        loop {
            self.skip_blanks();
            match self.peek()? {
                b'\n' | b'#' => self.line_end()?,
                _ => return Some(()),
            }
        }
    }

    /// An inline table on one line, without a comma at its end.
    fn inline_table(&mut self, depth: u32) -> Option<Table<'t>> {
        self.take(b'{')?;
        let first = self.unfinished.len();
        self.skip_blanks();
        if self.take(b'}').is_some() {
            return Some(Table::default());
        }
        loop {
            self.skip_blanks();
            self.entry(first, depth)?;
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(self.finish(first));
            }
        }
    }
}
