//! Carries out the lines on standard input.
//!
//! Changes that follow each other are gathered and written in one go, and everything is written before more input is
//! waited for. It comes to the same as one after the other: what stands before a bad line is in the kernel.

use std::io::{self, BufRead};

use super::session::{self, Session};
use crate::cli::names::HostNames;
use crate::ipvsadm::{self, Command, Refusal, Rehearsal};
use crate::model::Step;

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Check everything first, and write nothing if a line is bad.
    atomic: bool,
    /// Lines that start with `#` are comments.
    comments: bool,
    /// Clear the table first.
    clear: bool,
}

impl Style {
    /// `ipvsadm -R`
    pub(super) fn bare(atomic: bool) -> Self {
        Self {
            atomic,
            comments: false,
            clear: false,
        }
    }

    /// `ipvsadm-restore`
    pub(super) fn file(atomic: bool) -> Self {
        Self {
            atomic,
            comments: true,
            clear: true,
        }
    }
}

/// Carries out the lines of standard input; answers with the exit status.
pub(super) fn from_stdin(session: &mut Session, style: Style) -> u8 {
    let mut stdin = io::stdin().lock();
    let result = match style.atomic {
        false => stream(session, &mut stdin, style),
        true => all_or_nothing(session, &mut stdin, style),
    };
    result.unwrap_or_else(|error| {
        session::add(&format!("cannot read standard input: {error}"));
        1
    })
}

/// One line that is a command.
#[derive(Debug)]
struct Line {
    number: usize,
    text: Box<[u8]>,
}

impl Line {
    /// Its place and text, for a message.
    fn place(&self) -> String {
        format!("line {}, `{}`", self.number, String::from_utf8_lossy(&self.text).trim())
    }
}

/// The command of a line; `None` where there is none on it.
fn command(line: &[u8], program: &str, style: Style) -> Option<Result<Command, Refusal>> {
    if style.comments && ipvsadm::is_comment(line) {
        return None;
    }
    let words = ipvsadm::words(line, program);
    if words.is_empty() {
        return None;
    }
    Some(
        ipvsadm::parse(&words, program, &HostNames).and_then(|command| match command {
            Command::Restore { .. } => Err(Refusal::usage(program)),
            command => Ok(command),
        }),
    )
}

fn stream(session: &mut Session, input: &mut impl BufRead, style: Style) -> io::Result<u8> {
    if style.clear {
        // The original has read all of its input by now as well.
        let mut all = Vec::new();
        input.read_to_end(&mut all)?;
        let cleared = session.carry_out(&Command::Clear);
        if cleared.ends {
            return Ok(cleared.status);
        }
        return stream_lines(session, &mut all.as_slice(), style);
    }
    stream_lines(session, input, style)
}

fn stream_lines(session: &mut Session, input: &mut impl BufRead, style: Style) -> io::Result<u8> {
    let mut run = Run::new(session, style);
    // The front of a line whose end has not been read yet.
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let length = chunk.len();
        if length == 0 {
            break;
        }
        let mut rest = chunk;
        let mut ended = false;
        while let (false, Some(end)) = (ended, rest.iter().position(|byte| *byte == b'\n')) {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if begun.is_empty() {
                ended = run.take(line);
            } else {
                begun.extend_from_slice(line);
                ended = run.take(&begun);
                begun.clear();
            }
        }
        begun.extend_from_slice(rest);
        input.consume(length);
        // Whoever types the lines wants to see what comes of each.
        if ended || run.flush() {
            return Ok(run.status);
        }
    }
    if !run.take(&begun) {
        run.flush();
    }
    Ok(run.status)
}

/// Lines on their way into the kernel.
struct Run<'a> {
    session: &'a mut Session,
    style: Style,
    number: usize,
    steps: Vec<Step>,
    lines: Vec<Line>,
    /// That of the last line that was a command.
    status: u8,
}

impl<'a> Run<'a> {
    fn new(session: &'a mut Session, style: Style) -> Self {
        Self {
            session,
            style,
            number: 0,
            steps: Vec::new(),
            lines: Vec::new(),
            status: 0,
        }
    }

    /// Takes one line; whether it was the last one to be carried out.
    fn take(&mut self, line: &[u8]) -> bool {
        self.number += 1;
        let Some(command) = command(line, self.session.program(), self.style) else {
            return false;
        };
        let line = Line {
            number: self.number,
            text: line.into(),
        };
        self.carry_out(command, line)
    }

    fn carry_out(&mut self, command: Result<Command, Refusal>, line: Line) -> bool {
        match command {
            Ok(Command::Change(step)) => {
                self.steps.push(step);
                self.lines.push(line);
                false
            }
            Ok(command) => {
                if self.flush() {
                    return true;
                }
                let outcome = self.session.carry_out(&command);
                if outcome.status != 0 {
                    session::add(&line.place());
                }
                self.status = outcome.status;
                outcome.ends
            }
            Err(refusal) => {
                if self.flush() {
                    return true;
                }
                tell(&refusal, &line);
                self.status = refusal.status;
                refusal.ends
            }
        }
    }

    /// Writes what has been gathered; whether nothing more can be written.
    fn flush(&mut self) -> bool {
        if self.steps.is_empty() {
            return false;
        }
        let steps = std::mem::take(&mut self.steps);
        let lines = std::mem::take(&mut self.lines);
        let results = match self.session.write(&steps) {
            Ok(results) => results,
            Err(error) => {
                self.status = session::fail(&Command::Clear, &error).status;
                return true;
            }
        };
        for ((step, line), result) in steps.into_iter().zip(lines).zip(results) {
            self.status = 0;
            if let Err(refused) = result {
                let outcome = session::refuse(&Command::Change(step), &refused, Some(&line.place()));
                self.status = outcome.status;
                if outcome.ends {
                    return true;
                }
            }
        }
        false
    }
}

/// A refusal with its line.
fn tell(refusal: &Refusal, line: &Line) {
    session::tell(&refusal.message);
    let place = line.place();
    match &refusal.hint {
        Some(hint) => session::add(&format!("{place}: {hint}")),
        None => session::add(&place),
    }
}

/// Checks every line, against the kernel's table where it is not cleared first, and carries them out if all are good.
fn all_or_nothing(session: &mut Session, input: &mut impl BufRead, style: Style) -> io::Result<u8> {
    let mut all = Vec::new();
    input.read_to_end(&mut all)?;
    let mut table = match style.clear {
        true => Rehearsal::default(),
        false => match session.client().and_then(|client| client.cheap_listing(|_| false)) {
            Ok(listed) => Rehearsal::of(&listed),
            Err(error) => return Ok(session::fail(&Command::Clear, &error).status),
        },
    };
    let mut good = Vec::new();
    let mut first_bad = None;
    let mut misread = false;
    for (index, text) in all.split(|byte| *byte == b'\n').enumerate() {
        let Some(command) = command(text, session.program(), style) else {
            continue;
        };
        let line = Line {
            number: index + 1,
            text: text.into(),
        };
        let refusal = match command {
            // What follows a line that nobody understands may be wrong only because of it.
            Ok(_) if misread => continue,
            Ok(command) => match table.carry_out(&command) {
                Ok(()) => {
                    good.push((command, line));
                    continue;
                }
                Err(errno) => Refusal::foreseen(&command, errno),
            },
            Err(refusal) => {
                misread = true;
                refusal
            }
        };
        tell(&refusal, &line);
        first_bad.get_or_insert(refusal.status);
    }
    if let Some(status) = first_bad {
        session::add("nothing was written");
        return Ok(status);
    }
    if style.clear {
        let cleared = session.carry_out(&Command::Clear);
        if cleared.ends {
            return Ok(cleared.status);
        }
    }
    let mut run = Run::new(session, style);
    for (command, line) in good {
        if run.carry_out(Ok(command), line) {
            return Ok(run.status);
        }
    }
    run.flush();
    Ok(run.status)
}
