//! Programs of the user's: started with a clean environment as an unprivileged user, heard, and ended with all that they
//! have started.
//!
//! A hand: it runs what it is told to and says how it ended; it decides nothing, retries nothing and keeps no queue.
//! `running` looks which programs of a name there are, `children` knows those of this process.

pub(crate) mod children;
mod running;

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::net::names::{self, Patience};

use children::{CHILDREN, Nobody, Running};
pub use running::running;

/// How long a user is looked for.
const LOOKED_UP: Duration = Duration::from_secs(5);
/// The environment's only variable beside those that are asked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of what it writes is kept; the rest is read and forgotten.
const KEPT: usize = 512;
/// How long output may still come in after the end: it is in the pipe already.
const REST: Duration = Duration::from_millis(20);

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// With which status, or by which signal.
    pub status: ExitStatus,
    /// The beginning of what it wrote to its output, at most 512 bytes.
    pub said: Vec<u8>,
}

impl Ended {
    /// The first line that it wrote.
    pub fn first_line(&self) -> &[u8] {
        self.said.split(|byte| *byte == b'\n').next().unwrap_or_default()
    }
}

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such user.
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// The users could not be looked through.
    #[error("cannot look up the user `{name}`: {why}")]
    LookUp {
        /// Whom.
        name: String,
        /// What went wrong.
        why: String,
    },
    /// It is to run as another user, and this process may not become one.
    #[error(
        "this daemon may not run {program} as `{user}`, for it is not root (set `user` to the one that the daemon runs as)"
    )]
    NotAs {
        /// Its path.
        program: String,
        /// As whom.
        user: String,
    },
    /// It does not start.
    #[error("cannot start {program}: {source}")]
    NotStarted {
        /// Its path.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its end could not be waited for.
    #[error("cannot wait for {program}: {source}")]
    Wait {
        /// Its path.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Runs a program to its end.
///
/// It gets a process group of its own, `PATH` and `environment`, and nothing to read; of groups the user's own one, or
/// those of this process where that is the user's already; of this process's ambient capabilities none. When it ends, and
/// when this future is dropped, the whole group is killed: what it leaves behind would pile up. There is no time limit
/// here: who wants one drops the future.
///
/// # Errors
/// [`ProcessError`], where it could not be run at all.
pub async fn run<'e, K: AsRef<OsStr>>(
    argv: &[String],
    user: &str,
    environment: impl IntoIterator<Item = (K, &'e str)>,
) -> Result<Ended, ProcessError> {
    let (uid, gid) = look_up(user.to_owned()).await?;
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let mut command = std::process::Command::new(program);
    command
        .args(argv.get(1..).unwrap_or_default())
        .env_clear()
        .env("PATH", PATH)
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let own = nix::unistd::geteuid();
    if own != uid {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    without_privileges(&mut command);
    let started = Command::from(command).kill_on_drop(true).spawn();
    let mut child = started.map_err(|source| {
        let program = program.to_owned();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) if own != uid && !own.is_root() => ProcessError::NotAs {
                program,
                user: user.to_owned(),
            },
            _ => ProcessError::NotStarted { program, source },
        }
    })?;
    let _group = Group::of(child.id());
    let mut output = child.stdout.take();
    let mut said = Vec::new();
    let status = {
        let listen = async {
            if let Some(output) = &mut output {
                listen(output, &mut said).await;
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            status = child.wait() => status.map_err(|source| ProcessError::Wait { program: program.to_owned(), source })?,
            never = listen => match never {},
        }
    };
    if let Some(output) = &mut output {
        // A child of it may hold the pipe open: what is in it has come.
        let _ = tokio::time::timeout(REST, listen(output, &mut said)).await;
    }
    Ok(Ended { status, said })
}

/// Ambient capabilities and leave to be nicer to oneself: what this process has of them is for its own work
/// (`conf/systemd`); every program that it starts would inherit them.
#[allow(unsafe_code, reason = "nothing else can be done between fork and exec")]
fn without_privileges(command: &mut std::process::Command) {
    let clear = || {
        let (all, unused) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0 as libc::c_ulong);
        // SAFETY: a system call that takes numbers and nothing else.
        let done = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, all, unused, unused, unused) };
        match Errno::result(done) {
            // Before Linux 4.3 there are none.
            Ok(_) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
        setrlimit(Resource::RLIMIT_NICE, 0, 0).map_err(std::io::Error::from)
    };
    // SAFETY: it makes two system calls and allocates nothing, as the child of a process with threads has to.
    unsafe { command.pre_exec(clear) };
}

/// Reads to the end, and keeps the beginning.
async fn listen(output: &mut (impl AsyncRead + Unpin), said: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let keep = read.min(KEPT.saturating_sub(said.len()));
        said.extend_from_slice(&buffer[..keep]);
    }
}

/// What a program of our own has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// It ended with status 0.
    pub success: bool,
    /// What it wrote to its output, or to its errors where that is nothing.
    pub text: String,
}

/// Runs a program of our own to its end, as ourselves, with our own environment. It is killed where this future is dropped.
///
/// # Errors
/// It does not start, or its end cannot be waited for.
pub async fn consult(program: &Path, arguments: &[&Path]) -> Result<Said, ProcessError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|source| ProcessError::NotStarted {
        program: program.display().to_string(),
        source,
    })?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    Ok(Said {
        success: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    })
}

/// Kills all that runs at once, for this process to become another program that knows of none of it. Nobody starts before
/// the answer goes out of scope, which may not wait for the end of anything that was started here.
pub fn end_all() -> Nobody<'static> {
    CHILDREN.end_all()
}

/// Kills a process group when it goes out of scope.
struct Group(Option<Running<'static>>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(leader.map(|number| CHILDREN.take_leader(Pid::from_raw(number.cast_signed()))))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            let leader = running.number();
            drop(running);
            // Mostly there is nobody left.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

/// Not by libc, whose name service a static program must not call (docs/adr/0007).
async fn look_up(name: String) -> Result<(Uid, Gid), ProcessError> {
    let asked = name.clone();
    let look = move || names::user_of(&asked, Patience::for_one(LOOKED_UP));
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(Some((user, group)))) => Ok((Uid::from_raw(user), Gid::from_raw(group))),
        Ok(Ok(None)) => Err(ProcessError::NoUser(name)),
        Ok(Err(problem)) => Err(ProcessError::LookUp {
            name,
            why: problem.to_string(),
        }),
        Err(error) => Err(ProcessError::LookUp {
            name,
            why: error.to_string(),
        }),
    }
}
