//! The daemon's answers as documents and as text, one file a case under `tests/control/cases`.
//!
//! A case is `NAME.json`, an answer in the schema of `docs/control.md`, and `NAME.txt`, what the verb prints of it. The
//! document is read into the program's own words and written again: it must come out as it went in, which is what holds
//! the schema. `UPDATE_EXPECT=1 cargo test --test control` renews the files.

use std::fs;
use std::path::{Path, PathBuf};

use ipvsd::control::render;
use ipvsd::model::control::Reply;
use serde_json::Value;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cases.sort();
    cases
}

fn expect(file: &Path, actual: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(file, actual).expect("the expected file can be written");
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(
        expected == actual,
        "{} differs (UPDATE_EXPECT=1 renews it). Expected:\n{expected}\nactual:\n{actual}",
        file.display()
    );
}

fn read(case: &Path) -> Reply {
    let text = fs::read(case).expect("a case");
    Reply::decode(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

fn text_of(reply: &Reply) -> String {
    let mut out = String::new();
    match reply {
        Reply::Status(status) => render::status(&mut out, status),
        Reply::Why(why) => render::why(&mut out, why),
        Reply::Event(event) => render::event(&mut out, event),
        Reply::Changed(changed) => render::changed(&mut out, changed),
        Reply::Plan(plan) => render::plan(&mut out, plan),
        Reply::Peer(peer) => render::peer(&mut out, peer),
        Reply::Paused(paused) => render::paused(&mut out, paused),
        Reply::Reloaded(_) | Reply::Upgraded(_) | Reply::Refused(_) => {}
    }
    out
}

#[test]
fn every_answer_prints_what_is_expected_and_is_written_as_it_was_read() {
    let cases = cases();
    assert!(cases.len() >= 8, "only {} cases", cases.len());
    for case in cases {
        let reply = read(&case);
        let written = serde_json::to_string_pretty(&reply).expect("JSON") + "\n";
        expect(&case, &written);
        expect(&case.with_extension("txt"), &text_of(&reply));
    }
}

#[test]
fn an_answer_with_members_of_a_later_version_is_read() {
    for case in cases() {
        let mut document: Value = serde_json::from_slice(&fs::read(&case).expect("a case")).expect("JSON");
        document["added_later"] = Value::from(1);
        let text = serde_json::to_vec(&document).expect("JSON");
        assert_eq!(Reply::decode(&text).expect("it is read"), read(&case));
    }
}

fn members(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.push(name.clone());
                members(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| members(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_description_names_every_member_and_command() {
    let description =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/control.md")).expect("docs/control.md");
    let mut found: Vec<String> = [
        "status", "why", "events", "plan", "reload", "drain", "maint", "ready", "weight", "return", "rebuild", "pause",
        "resume",
    ]
    .into_iter()
    .chain([
        "version",
        "command",
        "deadline_seconds",
        "duration_seconds",
        "last",
        "follow",
        "force",
    ])
    .map(str::to_owned)
    .collect();
    for case in cases() {
        members(
            &serde_json::from_slice(&fs::read(&case).expect("a case")).expect("JSON"),
            &mut found,
        );
    }
    for member in found {
        assert!(
            description.contains(&format!("`{member}`")),
            "docs/control.md does not tell of {member}"
        );
    }
}
