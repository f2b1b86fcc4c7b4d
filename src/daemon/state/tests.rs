use std::fs;

use proptest::prelude::*;

use super::*;
use crate::model::{CheckSnapshot, CheckState, MachineSnapshot, ProbeFound, ResultSnapshot};

fn namespace() -> NamespaceId {
    NamespaceId {
        inode: 1,
        cookie: Some(2),
        boot: "boot".to_owned(),
    }
}

fn snapshot() -> Snapshot {
    let machine = MachineSnapshot {
        verdict: CheckState::Down,
        seen_up: true,
        against: 1,
        successes: true,
        flap: None,
    };
    let check = CheckSnapshot {
        target: "192.0.2.11:80".to_owned(),
        settings: "0123456789abcdef".to_owned(),
        machine,
        since: 5000,
        advised: Default::default(),
        results: vec![
            ResultSnapshot(2000, 150, ProbeFound::Failure, Some("connection refused".to_owned())),
            ResultSnapshot(1000, 90, ProbeFound::Success, None),
        ],
    };
    Snapshot {
        checks: vec![check],
        ..Snapshot::default()
    }
}

fn file(folder: &tempfile::TempDir) -> StateFile {
    StateFile::beside(&Record::open(folder.path()).expect("a namespace"))
}

fn at(uptime: Duration) -> Moment {
    let time = UnixTime::default();
    Moment { time, uptime }
}

/// The text of a file that was written when the host was up for so long.
fn text(uptime: Duration) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = file(&folder);
    file.namespace = namespace();
    file.save(&snapshot(), at(uptime)).expect("writable");
    fs::read_to_string(&file.path).expect("readable")
}

fn read(text: &str, uptime: Duration) -> Result<Option<(Snapshot, Duration)>, String> {
    parse(text.as_bytes(), &namespace(), uptime).map_err(|error| error.to_string())
}

#[test]
fn what_is_saved_is_loaded_with_its_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(&folder);
    assert_eq!(file.load().expect("no file yet"), None);
    file.save(&snapshot(), Moment::now(UnixTime::default()))
        .expect("writable");
    let (loaded, age) = file.load().expect("readable").expect("a state");
    assert_eq!(loaded, snapshot());
    assert!(age < Duration::from_secs(60), "{age:?}");
}

#[test]
fn a_file_is_followed_for_an_hour_by_a_clock_that_nobody_sets() {
    let hour = Duration::from_secs(3600);
    let text = text(hour);
    for (uptime, age) in [(hour, 0), (hour * 2, 3600)] {
        let found = read(&text, uptime).expect("readable").map(|(_, age)| age.as_secs());
        assert_eq!(found, Some(age));
    }
    let late = read(&text, hour * 2 + Duration::from_secs(1)).expect_err("too old");
    assert!(late.contains("3601 s ago"), "{late}");
    let early = read(&text, hour - Duration::from_secs(5)).expect_err("from the future");
    assert!(early.contains("5 s from now"), "{early}");
    // By the calendar it may be of any time.
    let old = text.replace("1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z");
    assert!(old != text && read(&old, hour).expect("readable").is_some());
}

#[test]
fn states_of_other_namespaces_and_boots_are_none_of_ours() {
    let text = text(Duration::ZERO);
    for (from, to) in [
        ("\"cookie\":2", "\"cookie\":3"),
        ("\"boot\":\"boot\"", "\"boot\":\"other\""),
    ] {
        let other = text.replace(from, to);
        assert!(other != text && read(&other, Duration::ZERO) == Ok(None));
    }
}

#[test]
fn a_newer_schema_is_refused_whatever_is_in_it_and_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(&folder);
    fs::create_dir_all(file.path.parent().expect("a folder")).expect("writable");
    fs::write(&file.path, "{\"schema\":7,\"more\":[1,2,3]}").expect("writable");
    let error = format!("{:#}", file.load().expect_err("newer"));
    for part in ["state.json", "schema 7", "state.schema-7.json", "first verdicts"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    assert!(!file.path.exists() && file.path.with_file_name("state.schema-7.json").exists());
    assert_eq!(file.load().expect("no file any more"), None);
    fs::write(&file.path, "{\"schema\":0}").expect("writable");
    let error = format!("{:#}", file.load().expect_err("older"));
    assert!(error.contains("schema 0") && file.path.exists(), "{error}");
}

#[test]
fn torn_files_and_folders_in_their_place_are_errors_that_name_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(&folder);
    file.save(&snapshot(), at(Duration::ZERO)).expect("writable");
    let whole = fs::read_to_string(&file.path).expect("readable");
    for torn in [
        "",
        "[]",
        "null",
        "\0\0\0",
        &whole[..whole.len() / 2],
        &whole[..whole.len() - 1],
        &whole.replace("\"state\"", "\"stat\""),
    ] {
        fs::write(&file.path, torn).expect("writable");
        let error = format!("{:#}", file.load().expect_err(torn));
        assert!(
            error.contains("state.json") && error.contains("first verdicts"),
            "{error}"
        );
    }
    fs::remove_file(&file.path).expect("removable");
    fs::create_dir(&file.path).expect("a folder in its place");
    let error = format!("{:#}", file.load().expect_err("a folder"));
    assert!(error.contains("state.json"), "{error}");
    let error = format!(
        "{:#}",
        file.save(&snapshot(), at(Duration::from_secs(1)))
            .expect_err("a folder")
    );
    assert!(error.contains("state.json"), "{error}");
    assert!(
        !file.path.with_file_name("state.json.new").exists(),
        "nothing is left behind"
    );
}

#[test]
fn an_older_state_is_never_written_over_a_newer_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = file(&folder);
    file.save(&snapshot(), at(Duration::from_secs(9))).expect("writable");
    let newer = fs::read_to_string(&file.path).expect("readable");
    file.save(&snapshot(), at(Duration::from_secs(8)))
        .expect("nothing to do");
    assert_eq!(fs::read_to_string(&file.path).expect("readable"), newer);
}

#[test]
fn changes_are_gathered_and_a_quiet_file_is_renewed() {
    let at = |millis| Instant::after_start(Duration::from_millis(millis));
    let mut pace = Pace::new();
    assert_eq!(pace.next(1), Some(at(0)));
    pace.begin(1, at(10));
    assert_eq!(pace.next(2), None, "one at a time");
    assert_eq!(pace.end(true, at(20)), None);
    assert_eq!((pace.next(1), pace.next(2)), (Some(at(300_010)), Some(at(1010))));
    pace.begin(2, at(1010));
    // So large a file that writing it takes long is written less often.
    assert_eq!(pace.end(true, at(1310)), None);
    assert_eq!(pace.next(3), Some(at(1010 + 6000)));
    pace.begin(3, at(8000));
    assert_eq!(pace.end(false, at(8001)), Some(News::Fails));
    assert_eq!(
        pace.next(3),
        Some(at(18_000)),
        "tried again although nothing has happened"
    );
    pace.begin(3, at(18_000));
    assert_eq!(pace.end(false, at(18_001)), None, "said once");
    pace.begin(4, at(28_000));
    assert_eq!(pace.end(true, at(28_001)), Some(News::Succeeds));
    assert_eq!(pace.next(4), Some(at(328_000)));
}

proptest! {
    /// Whatever numbers and texts a whole file has, a director takes them without a panic, and forgets none of its own
    /// rules.
    #[test]
    fn no_text_panics(at in 0_usize..2000, with in any::<u8>(), cut in 0_usize..2000) {
        let mut bytes = text(Duration::ZERO).into_bytes();
        let at = at % bytes.len();
        bytes[at] = with;
        bytes.truncate(bytes.len() - cut % bytes.len());
        let _ = parse(&bytes, &namespace(), Duration::ZERO);
    }
}
