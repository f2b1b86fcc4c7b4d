//! Most command lines of this suite are calls into the library. Here a process of each name and kind says and leaves
//! what the call did.

use crate::compare::{difference, differing};
use crate::options::BEFORE;
use crate::subject::{Program, subjects};
use crate::table::Held;
use crate::world::world;

/// One of each command, in an order that has something for each, and of each kind of refusal.
const LINES: &[&str] = &[
    "-A -t 10.0.0.2:80 -s rr",
    "-E -t 10.0.0.2:80 -s sh -b sh-port -p 30",
    "-a -t 10.0.0.2:80 -r 10.1.0.2:8080 -m -w 5",
    "-e -t 10.0.0.2:80 -r 10.1.0.2:8080 -m -w 6",
    "-Ln",
    "-L",
    "-Ln --stats",
    "-Ln -t 10.0.0.2:80",
    "-Lnc",
    "-L --timeout",
    "-L --daemon",
    "-Sn",
    "-Z",
    "-R",
    "-d -t 10.0.0.2:80 -r 10.1.0.2:8080",
    "-D -t 10.0.0.2:80",
    "--set 10 20 30",
    "--start-daemon master",
    "--stop-daemon backup",
    "-h",
    "-v",
    "-D -t 10.0.0.2:80",
    "-Ln -f 77",
    "-A -t nonsense:80",
    "-A --bogus",
    "-C",
    "",
];

#[test]
fn a_process_does_what_a_call_does() {
    let before: Vec<String> = BEFORE.iter().map(|line| (*line).to_owned()).collect();
    let (called, started) = (world("called", true, &before), world("started", true, &before));
    let ours = &subjects().ours;
    for line in LINES {
        let words: Vec<&str> = line.split_whitespace().collect();
        let by_call = || (ours.run(Program::Ipvsadm, &words, ""), Held::read());
        let by_process = || (ours.start(Program::Ipvsadm, &words, ""), Held::read());
        let (call, left_by_call) = called.enter(by_call).expect("a namespace");
        let (process, left) = started.enter(by_process).expect("a namespace");
        assert_eq!(process, call, "{line}");
        let (call, process) = (format!("{left_by_call:#?}"), format!("{left:#?}"));
        assert!(call == process, "{line}: {}", differing("table", &call, &process));
    }
}

#[test]
fn the_verb_is_the_same_program() {
    let before: Vec<String> = BEFORE.iter().map(|line| (*line).to_owned()).collect();
    let space = world("verb", true, &before);
    let both = subjects();
    for line in [
        "-Ln",
        "-Sn",
        "-L --daemon",
        "-D -t 10.0.0.2:80",
        "-A -x",
        "bogus",
        "-v",
        "",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = || {
            let original = both.original.run(Program::Ipvsadm, &words, "");
            (original, both.verb(&words))
        };
        let (original, verb) = space.enter(run).expect("a namespace");
        assert_eq!(difference(&original, &verb), None, "{line}");
    }
}
