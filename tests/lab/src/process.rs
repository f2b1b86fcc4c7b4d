//! A program that runs on a host until its value is dropped; its output goes to a file, for diagnosis.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};

use crate::namespace::Namespace;
use crate::wait_until;

const GONE_LIMIT: Duration = Duration::from_secs(5);

/// A running program of a host. Dropping it kills it and everything it started.
#[derive(Debug)]
pub struct Process {
    program: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(
        namespace: &Namespace,
        arguments: &[&str],
        environment: &[(&str, &str)],
        log: PathBuf,
    ) -> Result<Self> {
        let Some((program, rest)) = arguments.split_first() else {
            bail!("no program named")
        };
        let output = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let errors = output.try_clone().context("cannot duplicate a log's descriptor")?;
        let mut command = Command::new(program);
        command.args(rest).envs(environment.iter().copied());
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        let child = namespace
            .enter(move || command.spawn())?
            .with_context(|| format!("cannot start {program}; outside of the lab? (tests/lab/run)"))?;
        Ok(Self {
            program: (*program).to_owned(),
            child,
            log,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with everything it has written so far, output and errors together.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has written so far, output and errors together.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the program and everything it started that stayed in its process group; after one that stops
    /// them, they stand still.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let sent = killpg(self.group(), signal);
        self.take_effect(sent, signal, &|process| getpgid(Some(process)) == Ok(self.group()))
    }

    /// As [`Process::signal`], to the program alone.
    pub fn signal_alone(&self, signal: Signal) -> Result<()> {
        let sent = nix::sys::signal::kill(self.group(), signal);
        self.take_effect(sent, signal, &|process| process == self.group())
    }

    fn take_effect(&self, sent: nix::Result<()>, signal: Signal, concerns: &dyn Fn(Pid) -> bool) -> Result<()> {
        sent.with_context(|| format!("cannot send {signal} to {}", self.program))?;
        match signal {
            // Each thread runs on until it comes to it.
            Signal::SIGSTOP => wait_until("a stopped program stands still", GONE_LIMIT, || {
                processes().filter(|process| concerns(*process)).all(stands_still)
            }),
            _ => Ok(()),
        }
    }

    /// Waits for its end; fails, with what it wrote, when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait_until("the end of a program", limit, || !self.is_running())
            .with_context(|| format!("{} still runs; it wrote:\n{}", self.program, self.log()))?;
        self.child
            .wait()
            .with_context(|| format!("cannot wait for {}", self.program))
    }

    /// Waits until its output contains `text`; fails, with what it wrote, after `limit` or at its end.
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<()> {
        let mut ended = false;
        let found = wait_until("a line in a program's output", limit, || {
            ended = !self.is_running();
            ended || self.log().contains(text)
        });
        if self.log().contains(text) {
            return Ok(());
        }
        let state = if ended { "has ended" } else { "goes on" };
        found.and_then(|()| bail!("it ended")).with_context(|| {
            format!(
                "{} {state} without having written {text:?}; it wrote:\n{}",
                self.program,
                self.log()
            )
        })
    }

    /// Kills it and everything it started, without a chance to clean up, and returns when all of them are gone:
    /// a worker that lives a moment longer would still hold the listening socket.
    pub fn kill(&mut self) {
        // A group that is gone already is what was wanted; one that lingers is the kernel's affair.
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.wait();
        let _ = wait_until("the end of a group", GONE_LIMIT, || killpg(self.group(), None).is_err());
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.map(Pid::from_raw)
}

/// Whether each of its threads is stopped, or has ended (proc_pid_stat(5)).
fn stands_still(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    threads.into_iter().flatten().flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, after)| after.chars().next());
        matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
    })
}
