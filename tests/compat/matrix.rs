//! Every command with every option: without it, with it, with a value that means something, with each that does not,
//! and with none where one is wanted. Generated from the table in `options.rs`, which has to know whatever
//! `ipvsadm -h` lists.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::compare::named_options;
use crate::options::{BEFORE, COMMANDS, Command, OPTIONS, Value, Wanted};
use crate::pair::Pair;
use crate::subject::{Program, subjects};

/// The part of the matrix that a test takes, so that the lab's guests share it.
const PARTS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Absent,
    Valid,
    /// With what it needs beside it.
    ValidAlong,
    Invalid,
    WithoutValue,
}

/// One cell: its command line.
struct Cell {
    command: char,
    option: &'static str,
    kind: Kind,
    line: Vec<String>,
}

/// What a command cannot do without, but for what an option brings itself.
fn wanted(command: &Command, brought: &[Wanted]) -> Vec<String> {
    let missing = command.wants.iter().filter(|wanted| !brought.contains(wanted));
    let written = |wanted: &Wanted| {
        let option = OPTIONS.iter().find(|option| option.names() == Some(*wanted));
        let option = option.expect("an option that names it");
        option.written(option.valid(command).first().copied(), 0)
    };
    missing.flat_map(written).collect()
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut way = 0;
    for command in COMMANDS {
        for option in OPTIONS {
            way += 1;
            let mut add = |kind, brought: &[Wanted], along: &[&str], written: Vec<String>| {
                let name = command.names[way % command.names.len()];
                let mut line = vec![name.to_owned()];
                line.extend(command.words.iter().map(|word| (*word).to_owned()));
                line.extend(wanted(command, brought));
                line.extend(along.iter().map(|word| (*word).to_owned()));
                line.extend(written);
                cells.push(Cell {
                    command: command.key,
                    option: option.long,
                    kind,
                    line,
                });
            };
            let own: Vec<Wanted> = option.names().into_iter().collect();
            let valid = option.valid(command).first().copied();
            add(Kind::Absent, &[], &[], Vec::new());
            add(Kind::Valid, &own, &[], option.written(valid, way));
            if matches!(option.value, Value::Optional { .. }) {
                add(Kind::Valid, &own, &[], option.written(None, way));
            }
            if !option.along.is_empty() && (option.goes.is_empty() || option.goes.contains(command.key)) {
                // Some need another service than the usual one.
                let brings = OPTIONS.iter().any(|other| {
                    other.names() == Some(Wanted::Service) && other.short == option.along.first().copied()
                });
                let brought: &[Wanted] = if brings { &[Wanted::Service] } else { &[] };
                add(Kind::ValidAlong, brought, option.along, option.written(valid, way));
            }
            for invalid in option.invalid() {
                add(
                    Kind::Invalid,
                    &own,
                    option.along,
                    option.written(Some(invalid), way + 1),
                );
                if !option.goes.contains(command.key) {
                    break;
                }
            }
            if option.takes_value() && !matches!(option.value, Value::Optional { .. }) {
                add(Kind::WithoutValue, &own, &[], option.written(None, way));
            }
        }
    }
    cells
}

fn check_part(part: usize) {
    let mut lines = BTreeSet::new();
    for cell in cells() {
        lines.insert(cell.line);
    }
    let pair = Pair::new("matrix", BEFORE);
    let mut failed = Vec::new();
    let mut count = 0;
    for line in lines.iter().skip(part).step_by(PARTS) {
        count += 1;
        let verdict = pair.run(Program::Ipvsadm, line, "");
        if let Some(found) = verdict.difference {
            failed.push(format!("ipvsadm {}: {found}", line.join(" ")));
        }
        if verdict.changed {
            pair.restore();
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} command lines differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn part_1() {
    check_part(0);
}

#[test]
fn part_2() {
    check_part(1);
}

#[test]
fn part_3() {
    check_part(2);
}

#[test]
fn part_4() {
    check_part(3);
}

#[test]
fn whatever_the_help_lists_has_a_row() {
    let help = subjects().original.run(Program::Ipvsadm, &["-h"], "").stdout;
    let listed: BTreeSet<String> = named_options(&help).into_iter().map(str::to_owned).collect();
    assert!(listed.len() > 60, "{listed:?}");
    let known: BTreeSet<String> = COMMANDS
        .iter()
        .flat_map(|command| command.names.iter().copied())
        .chain(
            OPTIONS
                .iter()
                .flat_map(|option| [Some(option.long), option.short].into_iter().flatten()),
        )
        .map(str::to_owned)
        .collect();
    let missing: Vec<&String> = listed.difference(&known).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let unlisted: Vec<&str> = known.difference(&listed).map(String::as_str).collect();
    assert_eq!(unlisted, ["--version", "-X", "-v"], "rows that the help does not list");
}

#[test]
fn every_cell_has_a_command_line() {
    let cells = cells();
    let mut missing = String::new();
    for command in COMMANDS {
        for option in OPTIONS {
            let kinds: BTreeSet<Kind> = cells
                .iter()
                .filter(|cell| cell.command == command.key && cell.option == option.long)
                .map(|cell| cell.kind)
                .collect();
            let mut wanted = vec![Kind::Absent, Kind::Valid];
            if option.takes_value() {
                wanted.push(Kind::Invalid);
            }
            for kind in wanted {
                if !kinds.contains(&kind) {
                    writeln!(missing, "{} {} {kind:?}", command.names[0], option.long).unwrap();
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing}");
    let different: BTreeSet<&[String]> = cells.iter().map(|cell| cell.line.as_slice()).collect();
    assert!(different.len() > 1200, "only {} command lines", different.len());
}
