//! What is said over a connection: the `tcp` and `tls` types.

use super::super::reader::{Item, Reader};
use super::super::scope::Scope;
use super::super::tree::Table;
use super::{bytes, optional, pattern};
use crate::model::TalkStep;

const MOST_STEPS: usize = 32;

pub(super) fn read(reader: &mut Reader, table: &Table<'_>) -> Option<Vec<TalkStep>> {
    let [send, expect, expect_regex, talk] = reader.pick(table, Scope::TalkKeys);
    let send = optional(send, |item| bytes::text(reader, item, "send"));
    let expected = optional(expect, |item| bytes::text(reader, item, "expect"));
    let matched = optional(expect_regex, |item| pattern(reader, item, "expect_regex"));
    let (send, expected, matched) = (send?, expected?, matched?);
    let mut steps: Vec<_> = send.map(TalkStep::Send).into_iter().collect();
    steps.extend(expected.map(TalkStep::Expect));
    if let (Some(item), false) = (expect_regex.filter(|_| expect.is_some()), steps.is_empty()) {
        let hint = "one of them, or several steps: talk = [{ expect = \"220 \" }, { send = \"QUIT\\r\\n\" }]";
        reader.error(item.span().start, "`expect` and `expect_regex` are both there", hint);
        return None;
    }
    steps.extend(matched.map(TalkStep::ExpectMatch));
    let Some(talk) = talk else {
        return Some(steps);
    };
    if !steps.is_empty() {
        let hint = "write them as steps of `talk`";
        reader.error(talk.span().start, "`talk` stands beside `send` or `expect`", hint);
        return None;
    }
    read_steps(reader, talk)
}

fn read_steps(reader: &mut Reader, item: &Item<'_>) -> Option<Vec<TalkStep>> {
    let at = item.span().start;
    let tables = reader.tables(item, "talk");
    let problem = match tables.len() {
        0 => "`talk` has no step".to_owned(),
        1..=MOST_STEPS => String::new(),
        many => format!("`talk` has {many} steps, at most {MOST_STEPS} are possible"),
    };
    if !problem.is_empty() {
        reader.error(at, problem, "talk = [{ expect = \"220 \" }, { send = \"QUIT\\r\\n\" }]");
        return None;
    }
    let read: Vec<_> = tables
        .into_iter()
        .map(|(at, table)| read_step(reader, at, table))
        .collect();
    read.into_iter().collect()
}

fn read_step(reader: &mut Reader, at: usize, table: &Table<'_>) -> Option<TalkStep> {
    let [send, send_hex, expect, expect_hex, expect_regex] = reader.fields(table, Scope::Talk);
    let mut steps = [
        send.map(|item| bytes::text(reader, item, "send").map(TalkStep::Send)),
        send_hex.map(|item| bytes::hex(reader, item, "send_hex").map(TalkStep::Send)),
        expect.map(|item| bytes::text(reader, item, "expect").map(TalkStep::Expect)),
        expect_hex.map(|item| bytes::hex(reader, item, "expect_hex").map(TalkStep::Expect)),
        expect_regex.map(|item| pattern(reader, item, "expect_regex").map(TalkStep::ExpectMatch)),
    ]
    .into_iter()
    .flatten();
    let step = steps.next();
    if step.is_none() || steps.next().is_some() {
        reader.error(
            at,
            "a step of `talk` sends or expects exactly one thing",
            "one of send, send_hex, expect, expect_hex, expect_regex",
        );
        return None;
    }
    step.flatten()
}
