//! The plain part of TOML in one pass: bare keys, simple strings, whole numbers, booleans, lists, inline tables,
//! `[table]` and `[[list]]` headers, comments.
//!
//! Whatever else there is, and whatever is wrong, ends it with `None`: dotted and quoted keys, escapes, literal and
//! multi-line strings, signs, floats, dates, a key that stands twice, a table that is opened twice. It never says yes
//! to what the `toml` crate refuses, and then finds the same.

use super::{Integer, Item, Key, Table, Value};

/// Lists and inline tables within each other, at most.
const DEEPEST: u32 = 16;
/// Keys are compared one by one; a table with more of them is left to the library.
const WIDEST: usize = 512;

/// Reads a whole document; `None` where it is not plain.
pub(in crate::config) fn parse(text: &str) -> Option<Table<'_>> {
    let mut cursor = Cursor { text, at: 0 };
    let mut root = Table::default();
    let mut lists = Lists::default();
    cursor.entries(&mut root)?;
    while cursor.at < text.len() {
        let header = cursor.header()?;
        let mut table = Table::default();
        cursor.entries(&mut table)?;
        header.put(&mut root, table, &mut lists)?;
    }
    Some(root)
}

/// Which arrays were written as `[[list]]`, by where they start: only those grow and are walked through.
#[derive(Default)]
struct Lists {
    starts: std::collections::HashSet<usize>,
    /// Tables that `[table]` headers opened or passed through.
    open: std::collections::HashSet<usize>,
}

/// `[a.b]` or `[[a.b]]`.
struct Header<'t> {
    path: Vec<Key<'t>>,
    is_list: bool,
    start: usize,
}

impl<'t> Header<'t> {
    /// Puts the table that stood below the header where the header says.
    fn put(mut self, root: &mut Table<'t>, table: Table<'t>, lists: &mut Lists) -> Option<()> {
        let last = self.path.pop()?;
        let mut parent = root;
        for key in self.path {
            let index = match parent.entries.iter().position(|(found, _)| found.name == key.name) {
                Some(index) => index,
                None if parent.entries.len() < WIDEST => {
                    lists.open.insert(key.start);
                    let item = Item {
                        start: key.start,
                        value: Value::Table(Table::default()),
                    };
                    parent.entries.push((key, item));
                    parent.entries.len() - 1
                }
                None => return None,
            };
            let (key, item) = &mut parent.entries[index];
            parent = match &mut item.value {
                Value::Table(table) if lists.open.contains(&key.start) => table,
                Value::Array(array) if lists.starts.contains(&key.start) => match &mut array.last_mut()?.value {
                    Value::Table(table) => table,
                    _ => return None,
                },
                _ => return None,
            };
        }
        let item = Item {
            start: self.start,
            value: Value::Table(table),
        };
        let is_wide = parent.entries.len() >= WIDEST;
        match parent.entries.iter_mut().find(|(found, _)| found.name == last.name) {
            Some((
                key,
                Item {
                    value: Value::Array(array),
                    ..
                },
            )) if self.is_list && lists.starts.contains(&key.start) => {
                array.push(item);
            }
            Some(_) => return None,
            None if is_wide => return None,
            None if self.is_list => {
                lists.starts.insert(last.start);
                let array = Item {
                    start: self.start,
                    value: Value::Array(vec![item]),
                };
                parent.entries.push((last, array));
            }
            None => {
                lists.open.insert(last.start);
                parent.entries.push((last, item));
            }
        }
        Some(())
    }
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
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
    fn entries(&mut self, table: &mut Table<'t>) -> Option<()> {
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'[') => return Some(()),
                Some(b'\n' | b'#') => self.line_end()?,
                Some(_) => {
                    self.entry(table, 0)?;
                    self.line_end()?;
                }
            }
        }
    }

    fn entry(&mut self, table: &mut Table<'t>, depth: u32) -> Option<()> {
        let key = self.key()?;
        self.skip_blanks();
        self.take(b'=')?;
        self.skip_blanks();
        let item = self.value(depth)?;
        if table.entries.len() >= WIDEST || table.entries.iter().any(|(found, _)| found.name == key.name) {
            return None;
        }
        table.entries.push((key, item));
        Some(())
    }

    fn key(&mut self) -> Option<Key<'t>> {
        let start = self.at;
        while let Some(b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') = self.peek() {
            self.at += 1;
        }
        let name = &self.text[start..self.at];
        (!name.is_empty()).then(|| Key {
            name: name.into(),
            start,
        })
    }

    fn header(&mut self) -> Option<Header<'t>> {
        let start = self.at;
        self.take(b'[')?;
        let is_list = self.take(b'[').is_some();
        let mut path = vec![self.key()?];
        while self.take(b'.').is_some() {
            path.push(self.key()?);
        }
        self.take(b']')?;
        if is_list {
            self.take(b']')?;
        }
        self.line_end()?;
        Some(Header { path, is_list, start })
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
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' | 0..b' ' | 0x7f => return None,
                _ => self.at += 1,
            }
        }
        let text = &self.text[start..self.at];
        self.at += 1;
        // Three quotes begin another kind of string.
        (!(text.is_empty() && self.peek() == Some(b'"'))).then_some(text)
    }

    fn digits(&mut self) -> Option<&'t str> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
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
        let mut table = Table::default();
        self.skip_blanks();
        if self.take(b'}').is_some() {
            return Some(table);
        }
        loop {
            self.skip_blanks();
            self.entry(&mut table, depth)?;
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                return Some(table);
            }
        }
    }
}
