//! The programs that this process has started and that run: all of them can be ended at once, for this process to become
//! another program that knows of none of them.

use std::collections::BTreeMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long what was killed may take to end. It ends at once, unless it sleeps in the kernel and cannot be woken.
const LIMIT: Duration = Duration::from_millis(100);
/// How often it is looked whether it has.
const AGAIN: Duration = Duration::from_millis(2);

/// All of them.
pub(crate) static CHILDREN: Children = Children(Mutex::new(BTreeMap::new()));

/// Programs that run, by their numbers.
pub(crate) struct Children(Mutex<BTreeMap<Pid, Reach>>);

/// What ends with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It alone.
    Alone,
    /// Its process group, which it leads.
    Group,
}

/// A program that runs, until this goes out of scope.
pub(crate) struct Running<'c> {
    children: &'c Children,
    number: Pid,
}

/// Nobody runs, and nobody starts until this goes out of scope.
#[must_use = "whoever waits starts when this is gone"]
pub struct Nobody<'c> {
    _running: MutexGuard<'c, BTreeMap<Pid, Reach>>,
    /// How many have not ended all the same.
    pub left: usize,
}

impl Children {
    fn running(&self) -> MutexGuard<'_, BTreeMap<Pid, Reach>> {
        // Nothing that holds it can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program that starts no others; where all are being ended, once it is known that this process goes on.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<(Child, Running<'_>)> {
        let mut running = self.running();
        let child = command.spawn()?;
        let number = Pid::from_raw(child.id().cast_signed());
        running.insert(number, Reach::Alone);
        drop(running);
        Ok((child, Running { children: self, number }))
    }

    /// Takes in a program that was started as the leader of a group.
    pub(crate) fn take_leader(&self, number: Pid) -> Running<'_> {
        self.running().insert(number, Reach::Group);
        Running { children: self, number }
    }

    /// Kills all that runs, and waits a moment for its end, for nobody else will ever ask how it ended.
    pub(crate) fn end_all(&self) -> Nobody<'_> {
        let running = self.running();
        let killed = running.iter().filter(|(number, reach)| {
            let done = match reach {
                Reach::Alone => kill(**number, Signal::SIGKILL),
                Reach::Group => killpg(**number, Signal::SIGKILL),
            };
            done.is_ok()
        });
        let killed: Vec<_> = killed.map(|(number, _)| *number).collect();
        let left = wait_for(killed, LIMIT, |number| {
            let found = waitpid(number, Some(WaitPidFlag::WNOHANG));
            !matches!(found, Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
        });
        Nobody {
            _running: running,
            left,
        }
    }
}

impl Running<'_> {
    pub(crate) fn number(&self) -> Pid {
        self.number
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.children.running().remove(&self.number);
    }
}

/// Waits for the end of all of them, and answers with how many go on when the time is over.
fn wait_for(mut left: Vec<Pid>, limit: Duration, mut has_ended: impl FnMut(Pid) -> bool) -> usize {
    let end = Instant::now() + limit;
    loop {
        left.retain(|number| !has_ended(*number));
        if left.is_empty() || Instant::now() >= end {
            return left.len();
        }
        sleep(AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::sync::mpsc::channel;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000");
        command
    }

    #[test]
    fn all_end_and_leave_nothing_to_wait_for() {
        let children = Children(Mutex::default());
        let (_alone, _first) = children.start(&mut sleeper()).expect("it starts");
        let mut leads = sleeper().process_group(0).spawn().expect("it starts");
        let _second = children.take_leader(Pid::from_raw(leads.id().cast_signed()));
        let numbers: Vec<_> = children.running().keys().copied().collect();
        let nobody = children.end_all();
        assert_eq!((numbers.len(), nobody.left), (2, 0));
        for number in numbers {
            assert_eq!(waitpid(number, None), Err(Errno::ECHILD));
        }
        drop(nobody);
        assert!(leads.wait().is_err(), "it was waited for");
    }

    #[test]
    fn what_has_ended_is_nobodys_any_more() {
        let children = Children(Mutex::default());
        let (mut child, running) = children.start(&mut sleeper()).expect("it starts");
        child.kill().expect("a signal");
        child.wait().expect("an end");
        drop(running);
        assert!(children.running().is_empty() && children.end_all().left == 0);
    }

    #[test]
    fn what_does_not_end_is_not_waited_for_without_end() {
        let began = Instant::now();
        let pids = [1, 2, 3].map(Pid::from_raw).to_vec();
        assert_eq!(wait_for(pids, LIMIT, |number| number.as_raw() == 2), 2);
        assert!((LIMIT..LIMIT * 50).contains(&began.elapsed()));
    }

    #[test]
    fn nobody_starts_before_it_is_known_what_becomes_of_this_process() {
        let children = Children(Mutex::default());
        std::thread::scope(|scope| {
            let nobody = children.end_all();
            let (says, hears) = channel();
            let children = &children;
            scope.spawn(move || {
                let (mut child, _running) = children.start(&mut sleeper()).expect("it starts");
                says.send(()).expect("somebody hears");
                child.kill().and_then(|()| child.wait()).expect("it ends");
            });
            assert!(hears.recv_timeout(Duration::from_millis(200)).is_err());
            drop(nobody);
            hears.recv_timeout(Duration::from_secs(30)).expect("it has started");
        });
    }
}
