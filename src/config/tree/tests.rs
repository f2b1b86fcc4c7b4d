//! The quick way and the library find the same tree, or the quick way gives up.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

use crate::config::halves::{Halved, Whole};

/// The quick way's tree, which must be the same in halves.
fn by_hand(text: &str) -> Option<Table<'_>> {
    let table = parse_quickly(text, &Whole);
    assert_eq!(parse_quickly(text, &Halved), table, "{text:?}");
    table
}

/// The library's tree, keys in the order of the text; `None` where it finds an error.
fn by_library(text: &str) -> Option<Table<'_>> {
    DeTable::parse(text)
        .ok()
        .map(|table| in_order(table.into_inner().into()))
}

fn in_order(mut table: Table<'_>) -> Table<'_> {
    table.entries.sort_by_key(|(key, _)| key.start);
    for (_, item) in &mut table.entries {
        order_item(item);
    }
    table
}

fn order_item(item: &mut Item<'_>) {
    match &mut item.value {
        Value::Array(array) => array.iter_mut().for_each(order_item),
        Value::Table(table) => *table = in_order(std::mem::take(table)),
        Value::String(_) | Value::Integer(_) | Value::Float | Value::Boolean(_) | Value::Datetime => {}
    }
}

/// Every configuration file of the project.
fn files() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    for folder in ["conf", "tests/config"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                texts.extend(fs::read_to_string(path));
            }
        }
    }
    texts
}

#[test]
fn every_file_of_the_project_reads_the_same_both_ways() {
    let texts = files();
    let mut quick = 0;
    for text in &texts {
        if let Some(table) = by_hand(text) {
            quick += 1;
            assert_eq!(Some(in_order(table)), by_library(text), "{text}");
        }
    }
    assert!(
        quick * 3 > texts.len() * 2,
        "only {quick} of {} files are read quickly",
        texts.len()
    );
}

#[test]
fn what_is_not_plain_is_left_to_the_library() {
    for text in [
        "a.b = 1",
        "\"a\" = 1",
        "a = 'b'",
        "a = \"\"\"b\"\"\"",
        "a = \"\\n\"",
        "a = -1",
        "a = +1",
        "a = 1.5",
        "a = 1_000",
        "a = 0x10",
        "a = 01",
        "a = 1979-05-27",
        "a = 1\na = 2",
        "a = 1\r\n",
        "a = { b = 1, }",
        "a = { b = 1\n}",
        "[a]\n[a]",
        "[a.b]\n[a]",
        "a = {}\n[a.b]",
        "a = [{}]\n[[a]]",
        "a = [{}]\n[a.b]",
        "[a]\n[[a]]",
        "[[a]]\n[a]",
        "[ a ]",
        "a = 1 b = 2",
        "a =",
        "a",
        "[a",
        "a = truer",
        "a = 99999999999999999999",
        "# \u{7f}",
        "\u{feff}a = 1",
    ] {
        assert_eq!(by_hand(text), None, "{text:?}");
    }
}

#[test]
fn what_is_plain_is_read_quickly() {
    for text in [
        "",
        "# only a comment",
        "a = 1",
        "a = [\n  1, # one\n  \"two\",\n]\n",
        "a = [[1], [], [{ b = true }]]",
        "a = {}\nb = \"\"",
        "[a.b.c]\nd = false\n[a.b.e]\n[a.f]\n",
        "[[a]]\nb = 1\n[[a.c]]\n[a.c.d]\ne = \"\u{e4}\"\n[[a]]\n[[a.c]]\n",
    ] {
        let table = by_hand(text);
        assert!(table.is_some(), "{text:?}");
        assert_eq!(table.map(in_order), by_library(text), "{text:?}");
    }
}

#[test]
fn a_text_is_cut_before_a_list_of_the_top_level_and_nowhere_else() {
    for (text, halves) in [
        ("[[a]]\nb = 100\nc = 100\n[[a]]\nb = 2\n", true),
        ("c = 1\n[[a]]\n[[a.b]]\n[[a.b]]\n[[d]]\ne = 1", true),
        ("[[a]]\n[[a.b]]\n[[a.b]]\n[[a.b]]\n", false),
        ("[[a]]\n[c.d]\nb = 1\n[[a]]\n[c.e]\n", false),
        ("a = [\n  [1],\n[[2]]\n]\n", false),
        ("a = []\n[[a]]\nb = 1\n", false),
        ("[[a]]", false),
    ] {
        assert_eq!(quick::parse_halves(text, &Halved).is_some(), halves, "{text}");
        assert!(!halves || by_hand(text).is_some());
    }
}

/// Texts near the edge: pieces of TOML, good and bad, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "a.b",
        " = ",
        "=",
        "1",
        "0",
        "01",
        "-1",
        "1.5",
        "true",
        "false",
        "\"x\"",
        "\"\"",
        "\"",
        "'y'",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ", ",
        ",",
        "\n",
        "\n",
        "\n",
        " ",
        "\t",
        "# c",
        "\\",
        "[a]\n",
        "[[a]]\n",
        "[a.b]\n",
        "[[a.b]]\n",
        "a = 1\n",
        "b = \"x\"\n",
        "c = [1, 2]\n",
        "d = { a = 1 }\n",
        "\r\n",
        "\u{e4}",
        "inf",
        "1979-05-27",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_pieces_read_the_same_or_not_at_all(text in pieces()) {
        if let Some(table) = by_hand(&text) {
            prop_assert_eq!(Some(in_order(table)), by_library(&text), "{:?}", text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_files_read_the_same_or_not_at_all(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), damage in "[a-z0-9\\[\\]\\{\\}\"=,.\n# ]{0,3}", cut in 0usize..4) {
        let texts = files();
        let text = file.get(&texts);
        let letters: Vec<char> = text.chars().collect();
        prop_assume!(!letters.is_empty());
        let at = at.index(letters.len());
        let damaged: String = letters[..at].iter().copied().chain(damage.chars()).chain(letters[(at + cut).min(letters.len())..].iter().copied()).collect();
        if let Some(table) = by_hand(&damaged) {
            prop_assert_eq!(Some(in_order(table)), by_library(&damaged), "{}", damaged);
        }
    }
}
