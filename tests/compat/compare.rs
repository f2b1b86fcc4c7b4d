//! What counts as the same.
//!
//! Standard output and exit code are the same byte for byte. So is standard error, but for one allowance: where the
//! original complains, ours may say more. Then every line of the original's is there in its order, ours begins with
//! the first of them, and what is between and after is ours.
//!
//! The text of `-h` is in words of our own. There both begin with the same two lines, and ours names every option that
//! the original's names.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::subject::Outcome;

/// How ours differs from the original; `None` where it does not.
pub(crate) fn difference(original: &Outcome, ours: &Outcome) -> Option<String> {
    let mut text = String::new();
    if ours.code != original.code {
        writeln!(text, "exit code {}, the original's is {}", ours.code, original.code).unwrap();
    }
    if !prints_the_same(&original.stdout, &ours.stdout) {
        write!(text, "{}", differing("output", &original.stdout, &ours.stdout)).unwrap();
    }
    if !says_as_much(&original.stderr, &ours.stderr) {
        write!(text, "{}", differing("errors", &original.stderr, &ours.stderr)).unwrap();
    }
    (!text.is_empty()).then_some(text)
}

fn prints_the_same(original: &str, ours: &str) -> bool {
    original == ours
        || original.lines().nth(1) == Some("Usage:")
            && original.lines().take(2).eq(ours.lines().take(2))
            && named_options(original).is_subset(&named_options(ours))
}

/// The options, long and short, in the table of a help text.
pub(crate) fn named_options(help: &str) -> BTreeSet<&str> {
    let described = help.lines().filter(|line| line.starts_with("  --"));
    described
        .flat_map(|line| line.split(|character: char| character.is_whitespace() || character == '|'))
        .filter(|word| word.starts_with('-'))
        .collect()
}

fn says_as_much(original: &str, ours: &str) -> bool {
    if original.is_empty() {
        return ours.is_empty();
    }
    let mut lines = ours.split_inclusive('\n');
    let first = original.split_inclusive('\n').next();
    ours.split_inclusive('\n').next() == first
        && original
            .split_inclusive('\n')
            .all(|wanted| lines.any(|line| line == wanted))
}

/// Both texts, each line with its side, the common ones once.
pub(crate) fn differing(what: &str, original: &str, ours: &str) -> String {
    let mut text = format!("{what} (- original, + ours)\n");
    let (before, after): (Vec<_>, Vec<_>) = (original.lines().collect(), ours.lines().collect());
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let room = before.len().min(after.len()) - same;
    let tail = before.iter().rev().zip(after.iter().rev()).take(room);
    let tail = tail.take_while(|(a, b)| a == b).count();
    for (side, lines) in [('-', &before), ('+', &after)] {
        for line in &lines[same..lines.len() - tail] {
            writeln!(text, "    {side} {line:?}").unwrap();
        }
    }
    if before == after {
        text.push_str("    the line's end of the last line\n");
    }
    text
}

#[test]
fn ours_may_say_more_only_where_the_original_complains() {
    assert!(says_as_much("", ""));
    assert!(!says_as_much("", "more\n"));
    assert!(says_as_much("a\nb\n", "a\nmore\nb\nmore\n"));
    assert!(!says_as_much("a\nb\n", "b\na\n"));
    assert!(!says_as_much("a\n", "more\na\n"));
    assert!(!says_as_much("a\n", ""));
}

#[test]
fn help_may_be_in_other_words_with_the_same_options() {
    let original = "version\nUsage:\n  --list -L|-l  list\n";
    assert!(prints_the_same(
        original,
        "version\nUsage:\n\n  --list  -L  show\n  --list  -l  show\n"
    ));
    assert!(!prints_the_same(original, "version\nUsage:\n  --list  -L  show\n"));
    assert!(!prints_the_same(original, "version 2\nUsage:\n  --list -L|-l  list\n"));
    assert!(!prints_the_same("version\n", "version 2\n"));
}
