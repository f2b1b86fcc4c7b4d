//! Two namespaces that hold the same, one a subject, for many command lines one after the other.

use std::thread;

use ipvsd_lab::Namespace;

use crate::compare::{difference, differing};
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

    /// Makes both hold what was there before.
    pub(crate) fn restore(&self) {
        for space in [&self.original, &self.ours] {
            space.enter(|| self.before.restore()).expect("a namespace");
        }
    }
}
