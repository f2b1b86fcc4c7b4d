//! Carries out commands one by one, and tells what went wrong in the original's words.

use std::io::{self, Write};

use nix::errno::Errno;

use super::owned::Touched;
use crate::cli::list;
use crate::ipvs::{Client, IpvsError, Refused};
use crate::ipvsadm::{self, Command};
use crate::listing::NeededNames;
use crate::model::Step;

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The exit status.
    pub(super) status: u8,
    /// Nothing that follows is carried out.
    pub(super) ends: bool,
}

impl Outcome {
    pub(super) const DONE: Self = Self { status: 0, ends: false };
}

/// One run of the program: the kernel, asked for when it is first needed, and what has been changed.
#[derive(Debug)]
pub(super) struct Session {
    program: String,
    client: Option<Client>,
    touched: Touched,
}

/// A line of the original's.
pub(super) fn tell(line: &str) {
    // Nobody is left to tell where standard error itself is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line of this program's own.
pub(super) fn add(line: &str) {
    tell(&format!("ipvsadm: {line}"));
}

impl Session {
    /// `program` is the name in messages.
    pub(super) fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            client: None,
            touched: Touched::default(),
        }
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    pub(super) fn touched(&self) -> &Touched {
        &self.touched
    }

    pub(super) fn client(&mut self) -> Result<&mut Client, IpvsError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect()?,
        };
        Ok(self.client.insert(client))
    }

    /// Carries out one command; [`Command::Restore`] is not one of these.
    pub(super) fn carry_out(&mut self, command: &Command) -> Outcome {
        let done = match command {
            Command::Change(step) => {
                return match self.write(std::slice::from_ref(step)) {
                    Ok(results) => match results.into_iter().next() {
                        Some(Err(refused)) => refuse(command, &refused, None),
                        Some(Ok(())) | None => Outcome::DONE,
                    },
                    Err(error) => fail(command, &error),
                };
            }
            Command::Clear => self.client().and_then(Client::flush).map(|()| self.touched.add_all()),
            Command::Zero(key) => self.client().and_then(|client| client.zero(*key)),
            Command::SetTimeouts(timeouts) => self.client().and_then(|client| client.set_timeouts(timeouts)),
            Command::StartDaemon(daemon) => self.client().and_then(|client| client.start_sync_daemon(daemon)),
            Command::StopDaemon(role) => self.client().and_then(|client| client.stop_sync_daemon(*role)),
            Command::Save { numeric } => self.save(*numeric),
            Command::List(request) => match list::render(request) {
                Ok(Some(bytes)) => return print(&bytes),
                Ok(None) => {
                    tell(&ipvsadm::of_errno(command, Errno::ESRCH as i32));
                    return Outcome { status: 1, ends: true };
                }
                Err(error) => Err(error),
            },
            Command::Help => return ended(print(ipvsadm::help(&self.program).as_bytes())),
            Command::Version => return ended(print(format!("{}\n", ipvsadm::VERSION).as_bytes())),
            // A table is not restored from within another.
            Command::Restore { .. } => {
                return Outcome {
                    status: 255,
                    ends: true,
                };
            }
        };
        match done {
            Ok(()) => Outcome::DONE,
            Err(error) => fail(command, &error),
        }
    }

    /// Writes steps in one go; one result each.
    pub(super) fn write(&mut self, steps: &[Step]) -> Result<Vec<Result<(), Refused>>, IpvsError> {
        let results = self.client()?.write(steps);
        for (step, _) in steps.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
            self.touched.add(step);
        }
        Ok(results)
    }

    fn save(&mut self, numeric: bool) -> Result<(), IpvsError> {
        let services = self.client()?.cheap_listing(|_| false)?;
        let names = list::named(numeric, || NeededNames::of_services(&services));
        let mut out = Vec::new();
        ipvsadm::save(&mut out, &services, &names);
        print(&out);
        Ok(())
    }
}

fn ended(outcome: Outcome) -> Outcome {
    Outcome { ends: true, ..outcome }
}

fn print(bytes: &[u8]) -> Outcome {
    match list::print(bytes) {
        Ok(()) => Outcome::DONE,
        Err(error) => {
            add(&format!("{error:#}"));
            Outcome { status: 1, ends: true }
        }
    }
}

/// Tells that the kernel has refused, `place` with it where the command is a line of many.
pub(super) fn refuse(command: &Command, refused: &Refused, place: Option<&str>) -> Outcome {
    let text = &refused.refusal.message;
    if let outcome @ Outcome { ends: true, .. } = uninitialized(refused.errno, text) {
        return outcome;
    }
    tell(&ipvsadm::of_errno(command, refused.errno));
    match place {
        Some(place) => add(&format!("{place}: {text}")),
        None => add(text),
    }
    Outcome {
        status: 255,
        ends: false,
    }
}

/// Tells why the kernel could not be asked, or did not do it.
pub(super) fn fail(command: &Command, error: &IpvsError) -> Outcome {
    let text = error.to_string();
    if let outcome @ Outcome { ends: true, .. } = uninitialized(error.errno(), &text) {
        return outcome;
    }
    tell(&ipvsadm::of_errno(command, error.errno()));
    add(&text);
    Outcome {
        status: 255,
        ends: false,
    }
}

/// The original asks the kernel for its version before all else, so that it is told there if nobody may.
fn uninitialized(errno: i32, text: &str) -> Outcome {
    let is_permitted = errno != Errno::EPERM as i32;
    if is_permitted && errno != Errno::ENOPROTOOPT as i32 {
        return Outcome::DONE;
    }
    tell(&ipvsadm::not_initialized(is_permitted));
    add(text);
    Outcome { status: 2, ends: true }
}
