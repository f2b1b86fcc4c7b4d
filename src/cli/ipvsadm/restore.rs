//! Carries out the lines on standard input.
//!
//! A thread writes what another one has read: changes that follow each other in one go, and everything before more
//! input is waited for. It comes to the same as one after the other: what stands before a bad line is in the kernel.

use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::session::{self, Session};
use crate::cli::names::HostNames;
use crate::ipvsadm::{self, Command, Refusal, Rehearsal};
use crate::model::Step;

/// How much is read at a time, in bytes: some hundred lines, so that the kernel has work soon.
const CHUNK: usize = 32 << 10;
/// How many batches may wait for the kernel.
const AHEAD: usize = 4;

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
    let stdin = io::stdin().lock();
    let result = match style {
        Style { atomic: true, .. } => read_all(stdin).and_then(|all| all_or_nothing(session, &all, style)),
        // The original has read all of its input by then as well.
        Style { clear: true, .. } => read_all(stdin).and_then(|all| {
            let cleared = session.carry_out(&Command::Clear);
            match cleared.ends {
                true => Ok(cleared.status),
                false => stream(session, all.as_slice(), || true, style),
            }
        }),
        Style { .. } => stream(session, stdin, more_is_there, style),
    };
    result.unwrap_or_else(|error| {
        session::add(&format!("cannot read standard input: {error}"));
        1
    })
}

fn read_all(mut input: impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    input.read_to_end(&mut all)?;
    Ok(all)
}

/// Whether standard input can be read without waiting.
fn more_is_there() -> bool {
    let stdin = io::stdin();
    let mut ears = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    // Whoever cannot be asked is waited for.
    poll(&mut ears, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// One line that is a command: its number and where its text is.
#[derive(Debug)]
struct Line {
    number: usize,
    chunk: Arc<[u8]>,
    text: Range<usize>,
}

impl Line {
    /// Its place and text, for a message.
    fn place(&self) -> String {
        let text = String::from_utf8_lossy(&self.chunk[self.text.clone()]);
        format!("line {}, `{}`", self.number, text.trim())
    }
}

/// Lines of a chunk of text, with their numbers.
fn lines(chunk: &Arc<[u8]>, before: usize) -> impl Iterator<Item = Line> {
    let mut start = 0;
    let mut number = before;
    std::iter::from_fn(move || {
        let rest = chunk.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let text = start..start + length;
        start += length + 1;
        number += 1;
        Some(Line {
            number,
            chunk: Arc::clone(chunk),
            text,
        })
    })
}

/// Input as chunks of whole lines.
struct Chunks<R> {
    input: R,
    /// The front of a line whose end has not been read yet.
    begun: Vec<u8>,
}

impl<R: Read> Chunks<R> {
    /// The next lines; empty where the line goes on, `None` at the end.
    fn next(&mut self) -> io::Result<Option<Arc<[u8]>>> {
        let before = self.begun.len();
        self.begun.resize(before + CHUNK, 0);
        let length = loop {
            match self.input.read(&mut self.begun[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => break length,
            }
        };
        self.begun.truncate(before + length);
        let whole = match length {
            0 if before == 0 => return Ok(None),
            0 => before,
            _ => self.begun[before..]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |last| before + last + 1),
        };
        let rest = self.begun.split_off(whole);
        Ok(Some(std::mem::replace(&mut self.begun, rest).into()))
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

/// Changes that follow each other, and what comes behind them.
#[derive(Debug, Default)]
struct Batch {
    steps: Vec<Step>,
    lines: Vec<Line>,
    then: Option<(Result<Command, Refusal>, Line)>,
}

/// Reads lines and hands them to the thread that writes, until it takes no more.
///
/// `at_hand` says whether input can be read without waiting for it.
fn stream(session: &mut Session, input: impl Read, at_hand: impl Fn() -> bool, style: Style) -> io::Result<u8> {
    let program = session.program().to_owned();
    let (batches, taken) = sync_channel(AHEAD);
    let (done, finished) = channel();
    thread::scope(|scope| {
        let writer = thread::Builder::new().spawn_scoped(scope, move || Run::new(session).work(&taken, &done))?;
        let read = hand_over(
            Chunks {
                input,
                begun: Vec::new(),
            },
            at_hand,
            &program,
            style,
            batches,
            &finished,
        );
        let status = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map(|()| status)
    })
}

fn hand_over(
    mut chunks: Chunks<impl Read>,
    at_hand: impl Fn() -> bool,
    program: &str,
    style: Style,
    batches: SyncSender<Batch>,
    finished: &Receiver<()>,
) -> io::Result<()> {
    let mut under_way = 0;
    let mut number = 0;
    loop {
        // Whoever types the lines wants to see what comes of each.
        while under_way > 0 && !at_hand() {
            if finished.recv().is_err() {
                return Ok(());
            }
            under_way -= 1;
        }
        let Some(chunk) = chunks.next()? else { return Ok(()) };
        let mut batch = Batch::default();
        for line in lines(&chunk, number) {
            number = line.number;
            match command(&chunk[line.text.clone()], program, style) {
                None => {}
                Some(Ok(Command::Change(step))) => {
                    batch.steps.push(step);
                    batch.lines.push(line);
                }
                Some(other) => {
                    batch.then = Some((other, line));
                    if batches.send(std::mem::take(&mut batch)).is_err() {
                        return Ok(());
                    }
                    under_way += 1;
                }
            }
        }
        if !batch.steps.is_empty() {
            if batches.send(batch).is_err() {
                return Ok(());
            }
            under_way += 1;
        }
    }
}

/// Lines on their way into the kernel.
struct Run<'a> {
    session: &'a mut Session,
    steps: Vec<Step>,
    lines: Vec<Line>,
    /// That of the last line that was a command.
    status: u8,
}

impl<'a> Run<'a> {
    fn new(session: &'a mut Session) -> Self {
        Self {
            session,
            steps: Vec::new(),
            lines: Vec::new(),
            status: 0,
        }
    }

    /// Carries out batches as they come, tells of each, and answers with the exit status.
    fn work(mut self, batches: &Receiver<Batch>, done: &Sender<()>) -> u8 {
        // While the first lines are read; whoever cannot be reached is told of with the first command.
        let _ = self.session.client();
        for Batch { steps, lines, then } in batches {
            (self.steps, self.lines) = (steps, lines);
            let ended = match then {
                Some((command, line)) => self.carry_out(command, line),
                None => self.flush(),
            };
            if ended {
                break;
            }
            // The reader's ear is open for as long as this thread runs.
            let _ = done.send(());
        }
        self.status
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
fn all_or_nothing(session: &mut Session, all: &[u8], style: Style) -> io::Result<u8> {
    let all: Arc<[u8]> = all.into();
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
    for line in lines(&all, 0) {
        let Some(command) = command(&all[line.text.clone()], session.program(), style) else {
            continue;
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
    let mut run = Run::new(session);
    for (command, line) in good {
        if run.carry_out(Ok(command), line) {
            return Ok(run.status);
        }
    }
    run.flush();
    Ok(run.status)
}
