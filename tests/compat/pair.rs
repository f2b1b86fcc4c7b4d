//! Two namespaces that hold the same, one a subject, for many command lines one after the other.

use std::fmt::Write;
use std::thread;

use ipvsd_lab::Namespace;

use crate::compare::{difference, differing, says_as_much};
use crate::resident::Resident;
use crate::subject::{Outcome, Program, Subject, subjects};
use crate::table::Held;
use crate::world::world;

pub(crate) struct Pair {
    original: Namespace,
    ours: Namespace,
    before: Held,
}

/// What one command line came to.
pub(crate) struct Verdict {
    pub(crate) accepted: bool,
    pub(crate) difference: Option<String>,
    /// Something is not as it was before the first command line.
    pub(crate) changed: bool,
}

impl Pair {
    /// Two namespaces with a device, in which the original has run these command lines.
    pub(crate) fn new(name: &str, before: &[&str]) -> Self {
        let before: Vec<String> = before.iter().map(|line| (*line).to_owned()).collect();
        let original = world(name, true, &before);
        let ours = world(name, true, &before);
        let held = original.enter(Held::read).expect("a namespace");
        Self {
            original,
            ours,
            before: held,
        }
    }

    /// Runs a command line on both subjects, each in its namespace, and compares what they say and what is left. A
    /// listing of the kernel's order is of one namespace: that order is another in each.
    pub(crate) fn run(&self, program: Program, arguments: &[String], input: &str) -> Verdict {
        let both = subjects();
        let run = |space: &Namespace, subject: &Subject| -> (Outcome, Held) {
            space
                .enter(|| (subject.run(program, arguments, input), Held::read()))
                .expect("a namespace")
        };
        let unsorted = arguments.iter().any(|word| word == "--nosort");
        let our_space = if unsorted { &self.original } else { &self.ours };
        let ((original, theirs), (ours, our)) = thread::scope(|scope| {
            let second = scope.spawn(|| run(our_space, &both.ours));
            (run(&self.original, &both.original), second.join().expect("our side"))
        });
        let mut found = difference(&original, &ours);
        if theirs != our {
            let text = differing("table", &format!("{theirs:#?}"), &format!("{our:#?}"));
            found.get_or_insert_default().push_str(&text);
        }
        Verdict {
            accepted: original.code == 0,
            changed: theirs != self.before || our != self.before,
            difference: found,
        }
    }

    /// A session of many command lines, of which the original reads as many as it can as one process.
    pub(crate) fn session(&self) -> Session<'_> {
        Session {
            pair: self,
            resident: None,
            said: String::new(),
        }
    }

    /// Makes both hold what was there before.
    pub(crate) fn restore(&self) {
        for space in [&self.original, &self.ours] {
            space.enter(|| self.before.restore()).expect("a namespace");
        }
    }
}

/// See [`Pair::session`].
pub(crate) struct Session<'a> {
    pair: &'a Pair,
    resident: Option<Resident>,
    /// What ours has written to its output since the resident was started.
    said: String,
}

impl Session<'_> {
    /// Runs a command line on both, as [`Pair::run`]; what goes to standard output is compared when the process ends.
    pub(crate) fn run(&mut self, words: &[String]) -> Verdict {
        // A restore is not to be found in another, and help and version end one.
        let alone = ["-R", "--restore", "-h", "--help", "-v", "--version"];
        let unsorted = words.iter().any(|word| word == "--nosort");
        if unsorted || words.first().is_some_and(|first| alone.contains(&first.as_str())) {
            return self.pair.run(Program::Ipvsadm, words, "");
        }
        let both = subjects();
        let (answer, theirs) = self
            .pair
            .original
            .enter(|| {
                let resident = self.resident.get_or_insert_with(|| Resident::start(&both.original));
                (resident.ask(words), Held::read())
            })
            .expect("a namespace");
        let ask = || (both.ours.run(Program::Ipvsadm, words, ""), Held::read());
        let (ours, our) = self.pair.ours.enter(ask).expect("a namespace");
        self.said.push_str(&ours.stdout);
        let accepted = answer.stderr.is_empty() && answer.ended.is_none_or(|code| code == 0);
        let mut found = String::new();
        if accepted != (ours.code == 0) || answer.ended.is_some_and(|code| code != ours.code) {
            writeln!(found, "exit code {}, the original's is {:?}", ours.code, answer.ended).unwrap();
        }
        if !says_as_much(&answer.stderr, &ours.stderr) {
            found.push_str(&differing("errors", &answer.stderr, &ours.stderr));
        }
        if theirs != our {
            found.push_str(&differing("table", &format!("{theirs:#?}"), &format!("{our:#?}")));
        }
        if answer.ended.is_some() {
            found.push_str(&self.compare_output().unwrap_or_default());
        }
        Verdict {
            accepted,
            changed: theirs != self.pair.before || our != self.pair.before,
            difference: (!found.is_empty()).then_some(found),
        }
    }

    /// Ends the process and compares what both have written to standard output since it was started.
    pub(crate) fn compare_output(&mut self) -> Option<String> {
        let original = self.resident.take()?.finish();
        let ours = std::mem::take(&mut self.said);
        (original != ours).then(|| differing("output up to here", &original, &ours))
    }
}
