//! The original as one process for many command lines, which it reads as those of a restore.
//!
//! Starting a process is what costs most, and a restore goes through the same parser and the same calls. It ends at a
//! command line that cannot be meant; an unknown option does not end it, and so tells where one line's answer stops.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin};

use crate::subject::{Subject, Watched};

const MARK: &str = "--end-of-answer";

pub(crate) struct Resident {
    child: Child,
    input: Option<ChildStdin>,
    errors: BufReader<ChildStderr>,
    output: File,
    watched: Watched,
}

/// What it says to one command line.
pub(crate) struct Answer {
    pub(crate) stderr: String,
    /// It has ended, with this exit code.
    pub(crate) ended: Option<i32>,
}

impl Resident {
    /// Starts it in the network namespace of the calling thread.
    pub(crate) fn start(original: &Subject) -> Self {
        let (mut child, output) = original.restoring();
        Self {
            input: child.stdin.take(),
            errors: BufReader::new(child.stderr.take().expect("a pipe")),
            watched: Watched::new(&child),
            output,
            child,
        }
    }

    pub(crate) fn ask(&mut self, words: &[String]) -> Answer {
        self.watched.again();
        let lines = format!("{}\n-A {MARK}\n", words.join(" "));
        self.input
            .as_mut()
            .expect("not ended yet")
            .write_all(lines.as_bytes())
            .expect("it reads, for it has not ended");
        let (mut stderr, mark) = (String::new(), format!("{MARK}: unknown option\n"));
        loop {
            let mut line = String::new();
            if self.errors.read_line(&mut line).expect("its errors") == 0 {
                return Answer {
                    stderr,
                    ended: Some(self.wait()),
                };
            }
            if line == mark {
                return Answer { stderr, ended: None };
            }
            stderr.push_str(&line);
        }
    }

    /// Ends it and returns all it has written to its output since it was started.
    pub(crate) fn finish(mut self) -> String {
        drop(self.input.take());
        self.wait();
        let mut text = String::new();
        self.output.rewind().expect("a file has a beginning");
        self.output.read_to_string(&mut text).expect("its output");
        text
    }

    fn wait(&mut self) -> i32 {
        let status = self.child.wait().expect("its end");
        status.code().unwrap_or_else(|| -status.signal().unwrap_or_default())
    }
}
