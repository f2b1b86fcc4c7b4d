//! What a daemon leaves open for the program that takes its place in the same process (`ipvsd upgrade`), and how that one
//! finds it.
//!
//! The variable `IPVSD_HANDOVER` of the environment names the descriptors: `pid=812 from=0.1.0 instance=5 control=9
//! caller=14`. It is taken out of the environment at once, and means nothing to a process with another pid. Signals that
//! come between the two programs wait for the second one.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::{env, fs, io, process};

use anyhow::{Context, anyhow};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::execve;

const VARIABLE: &str = "IPVSD_HANDOVER";

/// What the program before has left open.
#[derive(Debug)]
pub(super) struct Handover {
    /// Its version.
    pub(super) from: String,
    /// The claim to the network namespace.
    pub(super) instance: Option<OwnedFd>,
    /// The control socket.
    pub(super) control: Option<OwnedFd>,
    /// Who has asked for the upgrade, and waits for its outcome.
    pub(super) caller: Option<OwnedFd>,
}

/// The same, while it is still the program's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) instance: Option<BorrowedFd<'a>>,
    pub(super) control: Option<BorrowedFd<'a>>,
    pub(super) caller: Option<BorrowedFd<'a>>,
}

/// Takes what the program before has left open, if there was one; to be called before the process has any other thread.
#[allow(
    unsafe_code,
    reason = "the environment may only be changed while nobody else reads it"
)]
pub(super) fn take() -> Option<Handover> {
    let text = env::var(VARIABLE).ok()?;
    // SAFETY: this is the only thread; see above.
    unsafe { env::remove_var(VARIABLE) };
    let named = Named::read(&text, process::id())?;
    Some(Handover {
        from: named.from,
        instance: named.instance.and_then(adopt),
        control: named.control.and_then(adopt),
        caller: named.caller.and_then(adopt),
    })
}

/// Lets the signals in that have waited since the program before; to be called once they are listened for.
pub(super) fn unblock_signals() {
    // Nothing was blocked where that fails.
    let _ = signals().thread_unblock();
}

fn signals() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    signals
}

/// Puts another program in this one's place, with the same arguments, environment and pid. Returns only where that fails,
/// with everything as it was.
pub(super) fn exec(program: &Path, left: Left<'_>) -> anyhow::Error {
    match try_exec(program, left) {
        Ok(never) => match never {},
        Err(problem) => {
            for descriptor in left.all() {
                let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
            }
            unblock_signals();
            problem
        }
    }
}

fn try_exec(program: &Path, left: Left<'_>) -> anyhow::Result<std::convert::Infallible> {
    let text = |text: OsString| CString::new(text.into_vec()).context("a NUL in the arguments or the environment");
    let path = CString::new(program.as_os_str().as_bytes())?;
    let arguments = env::args_os().map(text).collect::<Result<Vec<_>, _>>()?;
    let mut variables = env::vars_os()
        .map(|(name, value)| {
            let mut variable = name;
            variable.push("=");
            variable.push(value);
            text(variable)
        })
        .collect::<Result<Vec<_>, _>>()?;
    variables.push(CString::new(format!("{VARIABLE}={}", left.text(process::id())))?);
    for descriptor in left.all() {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).context("cannot keep a descriptor open")?;
    }
    signals().thread_block().context("cannot hold signals back")?;
    execve(&path, &arguments, &variables)
        .map_err(|errno| anyhow!("cannot run {}: {}", program.display(), io::Error::from(errno)))
}

impl<'a> Left<'a> {
    fn named(&self) -> [(&'static str, Option<BorrowedFd<'a>>); 3] {
        [
            ("instance", self.instance),
            ("control", self.control),
            ("caller", self.caller),
        ]
    }

    fn all(&self) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.named().into_iter().filter_map(|(_, descriptor)| descriptor)
    }

    fn text(&self, pid: u32) -> String {
        use std::os::fd::AsRawFd;
        let mut text = format!("pid={pid} from={}", env!("CARGO_PKG_VERSION"));
        for (name, descriptor) in self.named() {
            if let Some(descriptor) = descriptor {
                text += &format!(" {name}={}", descriptor.as_raw_fd());
            }
        }
        text
    }
}

/// What the variable names.
#[derive(Debug, PartialEq, Eq, Default)]
struct Named {
    from: String,
    instance: Option<RawFd>,
    control: Option<RawFd>,
    caller: Option<RawFd>,
}

impl Named {
    /// What is meant for the process with this pid. Words that are not known are those of another version.
    fn read(text: &str, pid: u32) -> Option<Self> {
        let mut named = Self::default();
        let mut meant = false;
        for (name, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            // Standard input, output and errors are nobody's to hand over.
            let number = || value.parse().ok().filter(|number: &RawFd| *number > 2);
            match name {
                "pid" => meant = value.parse() == Ok(pid),
                "from" => value.clone_into(&mut named.from),
                "instance" => named.instance = number(),
                "control" => named.control = number(),
                "caller" => named.caller = number(),
                _ => {}
            }
        }
        meant.then_some(named)
    }
}

/// A descriptor that the program before has left open; `None` where the number is none of a socket.
#[allow(unsafe_code, reason = "an owner can only be had from a number this way")]
fn adopt(number: RawFd) -> Option<OwnedFd> {
    let is_socket = fs::read_link(format!("/proc/self/fd/{number}"))
        .is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"socket:"));
    if !is_socket {
        return None;
    }
    // SAFETY: it is open, and nobody in this process has opened it: it was there when the program began, left by the one
    // before with this very pid, for this one to own. It is named once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    let _ = fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    Some(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_found_by_the_process_that_it_is_meant_for() {
        let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let left = Left {
            instance: Some(socket.as_fd()),
            control: None,
            caller: Some(socket.as_fd()),
        };
        let text = left.text(812);
        let named = Named::read(&text, 812).expect("it is meant");
        assert_eq!(named.from, env!("CARGO_PKG_VERSION"));
        assert!(named.instance.is_some() && named.control.is_none() && named.instance == named.caller);
        assert_eq!(Named::read(&text, 813), None);
    }

    #[test]
    fn nonsense_names_nothing() {
        for text in ["", "pid", "pid=x", "instance=5", "pid=-1", "\0"] {
            assert_eq!(Named::read(text, 1), None, "{text}");
        }
        let text = "pid=1 instance=2 control=-7 caller=99999999999999 more=3";
        assert_eq!(Named::read(text, 1), Some(Named::default()));
    }

    #[test]
    fn only_sockets_are_adopted() {
        use std::os::fd::IntoRawFd;
        let file = fs::File::open("/dev/null").expect("a file").into_raw_fd();
        assert!(adopt(file).is_none() && adopt(1_000_000).is_none());
        let socket = std::os::unix::net::UnixDatagram::unbound()
            .expect("a socket")
            .into_raw_fd();
        assert!(adopt(socket).is_some());
    }
}
