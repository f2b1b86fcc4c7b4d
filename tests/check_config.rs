//! `ipvsd check-config` as a user meets it: what is printed, and the exit code.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;

/// Standard output and exit code of `ipvsd check-config ARGUMENTS`.
fn check(arguments: &[&str], directory: &Path) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
        .arg("check-config")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn exit_codes_tell_errors_from_warnings() {
    let directory = tempfile::tempdir().unwrap();
    let server = "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.200:80\"\n";
    let pool = "[[virtual_server.real_server]]\naddress = \"192.0.2.11:80\"\n";
    let file = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    file("clean.toml", format!("{server}check = {{ type = \"tcp\" }}\n{pool}"));
    file("warned.toml", format!("{server}{pool}"));
    file("wrong.toml", format!("{server}{pool}weight = -1\n"));
    assert_eq!(check(&["clean.toml"], directory.path()), (String::new(), Some(0)));
    let (shown, code) = check(&["warned.toml"], directory.path());
    assert_eq!(code, Some(0));
    assert!(
        shown.starts_with("warned.toml:1:1: warning: the real servers of \"web\" have no check"),
        "{shown}"
    );
    let (shown, code) = check(&["wrong.toml"], directory.path());
    assert_eq!(code, Some(1));
    assert_eq!(
        shown,
        "wrong.toml:6:10: error: `weight` cannot be -1 (a number from 0 to 2147483647)\n"
    );
}

#[test]
fn json_has_the_same_problems() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.toml"), "[host]\nprepare = 1\n").unwrap();
    let (shown, code) = check(&["--json", "x.toml"], directory.path());
    assert_eq!(code, Some(1));
    let report: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(report["usable"], false);
    assert_eq!(report["more"], 0);
    let wrong = &report["problems"][1];
    assert_eq!(wrong["file"], "x.toml");
    assert_eq!((&wrong["line"], &wrong["column"]), (&2.into(), &11.into()));
    assert_eq!(wrong["severity"], "error");
    assert_eq!(wrong["text"], "`prepare` must be true or false, not a whole number");
    assert_eq!(wrong["hint"], serde_json::Value::Null);
}

#[test]
fn what_cannot_be_read_is_a_problem_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    for (name, said) in [
        (".", ".:1:1: error: cannot read .: it is a directory (name a file"),
        (
            "none.toml",
            "none.toml:1:1: error: cannot read none.toml: no such file (is the path right?)",
        ),
    ] {
        let (shown, code) = check(&[name], directory.path());
        assert_eq!(code, Some(1), "{name}");
        assert!(shown.starts_with(said), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    std::fs::write(directory.path().join("x.toml"), b"\xff\xfe\x00").unwrap();
    let (shown, code) = check(&["x.toml"], directory.path());
    assert_eq!(code, Some(1));
    assert!(
        shown.starts_with("x.toml:1:1: error: byte 0xff is not UTF-8"),
        "{shown}"
    );
}
