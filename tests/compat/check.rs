//! Runs cases on both subjects and compares what they say and leave.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::thread;

use ipvsd_lab::Namespace;

use crate::case::{Case, Command, read};
use crate::compare::{difference, differing};
use crate::subject::{Outcome, Program, Subject, subjects};
use crate::table::Held;
use crate::world::world;

/// How a table is read by both subjects.
const READINGS: [&[&str]; 3] = [
    &["-S", "-n"],
    &["-L", "-n", "--thresholds"],
    &["-L", "-n", "--tun-info"],
];

/// Runs every case of a file; fails with all differences.
pub(crate) fn check_file(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compat/cases")
        .join(name);
    let cases = read(&path);
    let mut failed = String::new();
    let mut count = 0;
    for case in &cases {
        let found = check(case);
        if !found.is_empty() {
            count += 1;
            write!(failed, "\n{}: {}\n{found}", case.place, case.title).unwrap();
        }
    }
    assert!(count == 0, "{count} of {} cases differ:\n{failed}", cases.len());
}

fn check(case: &Case) -> String {
    let both = subjects();
    let mut text = String::new();
    let (first, second) = if case.reads {
        let shared = world("compat", case.needs_device, &case.given);
        let before = held(&shared);
        let first = run(&shared, &both.original, case);
        let second = run(&shared, &both.ours, case);
        if held(&shared) != before {
            text.push_str("  the table was changed by a case that only `reads`\n");
        }
        (first, second)
    } else {
        thread::scope(|scope| {
            let run = |subject| {
                let space = world("compat", case.needs_device, &case.given);
                let outcomes = run(&space, subject, case);
                (outcomes, space)
            };
            let second = scope.spawn(move || run(&both.ours));
            let (first, original_space) = run(&both.original);
            let (second, our_space) = second.join().expect("our side");
            compare_tables(&mut text, case, &original_space, &our_space);
            (first, second)
        })
    };
    for ((command, original), ours) in case.commands.iter().zip(&first).zip(&second) {
        if original.code != command.code {
            writeln!(
                text,
                "  {}: the original ends with {}, not {}: {}",
                line(command),
                original.code,
                command.code,
                original.stderr
            )
            .unwrap();
        }
        let found = match &command.differs {
            None => difference(original, ours),
            Some(_) if both.alike => difference(original, ours),
            Some(expected) => {
                let wanted = Outcome {
                    code: expected.code,
                    stdout: expected.stdout.clone(),
                    stderr: expected.stderr.clone(),
                };
                if difference(original, ours).is_none() {
                    Some(format!("no difference is left, though noted: {}\n", expected.reason))
                } else {
                    difference(&wanted, ours).map(|found| format!("not as noted ({}): {found}", expected.reason))
                }
            }
        };
        if let Some(found) = found {
            write!(text, "  {}: {found}", line(command)).unwrap();
        }
    }
    text
}

fn line(command: &Command) -> String {
    format!("{} {}", command.program.name(), command.arguments.join(" "))
}

fn run(space: &Namespace, subject: &Subject, case: &Case) -> Vec<Outcome> {
    let run = |command: &Command| subject.run(command.program, &command.arguments, &command.input);
    space
        .enter(|| case.commands.iter().map(run).collect())
        .expect("a namespace")
}

fn held(space: &Namespace) -> Held {
    space.enter(Held::read).expect("a namespace")
}

/// Both tables are the same, and both subjects read it the same.
fn compare_tables(text: &mut String, case: &Case, original: &Namespace, ours: &Namespace) {
    let (theirs, our) = (held(original), held(ours));
    if theirs != our {
        if case.table_differs.is_none() {
            let (theirs, our) = (format!("{theirs:#?}"), format!("{our:#?}"));
            write!(text, "  {}", differing("table", &theirs, &our)).unwrap();
        }
    } else if let Some(reason) = &case.table_differs
        && !subjects().alike
    {
        writeln!(text, "  the tables are the same, though noted: {reason}").unwrap();
    }
    for (space, held) in [(original, &theirs), (ours, &our)] {
        if is_new(held) {
            let save_differs = case.save_differs.is_some();
            text.push_str(
                &space
                    .enter(|| compare_readings(held, save_differs))
                    .expect("a namespace"),
            );
        }
    }
}

/// Whether no table like this was read by both subjects before.
fn is_new(held: &Held) -> bool {
    static SEEN: OnceLock<Mutex<BTreeSet<String>>> = OnceLock::new();
    let seen = SEEN.get_or_init(Mutex::default);
    seen.lock().unwrap().insert(format!("{held:?}"))
}

fn compare_readings(held: &Held, save_differs: bool) -> String {
    let mut text = String::new();
    let mut readings: Vec<&[&str]> = if held.is_empty() { Vec::new() } else { READINGS.to_vec() };
    if held.has_daemons() {
        readings.push(&["-L", "--daemon"]);
    }
    if !held.has_usual_timeouts() {
        readings.push(&["-L", "--timeout"]);
    }
    for arguments in readings {
        let original = subjects().original.run(Program::Ipvsadm, arguments, "");
        let ours = subjects().ours.run(Program::Ipvsadm, arguments, "");
        let found = difference(&original, &ours);
        if save_differs && arguments == READINGS[0] && !subjects().alike {
            if found.is_none() {
                text.push_str("  it is saved alike, though noted otherwise\n");
            }
        } else if let Some(found) = found {
            write!(
                text,
                "  the table after it, read by ipvsadm {}: {found}",
                arguments.join(" ")
            )
            .unwrap();
        }
    }
    text
}
