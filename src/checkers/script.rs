//! The script probe: a program of the user's is run and its exit status read (keepalived's `MISC_CHECK`).
//!
//! It gets a process group of its own, a clean environment and nothing to read. When the probe ends, for whatever
//! reason, the whole group is killed: what a script leaves behind would pile up.

use std::convert::Infallible;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::attempt::Attempt;
use super::{Findings, Verdict, fault};
use crate::model::{Advice, Excerpt, FailureCause, LocalTrouble, ProbeOutcome, ScriptProbe, Stage, WeightAdvice};

/// The environment's only variable beside those that name the server.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of what it writes is kept; the rest is read and forgotten.
const KEPT: usize = 512;
/// How long output may still come in after the end: it is in the pipe already.
const REST: Duration = Duration::from_millis(20);

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &ScriptProbe) -> Verdict {
    attempt.await_stage(Stage::Exit);
    let user = look_up(settings.user.clone()).await?;
    let program = settings.argv.first().map(String::as_str).unwrap_or_default();
    let mut command = std::process::Command::new(program);
    command
        .args(settings.argv.get(1..).unwrap_or_default())
        .env_clear()
        .env("PATH", PATH)
        .env("IPVSD_SERVER_ADDRESS", attempt.target().ip().to_string())
        .env("IPVSD_SERVER_PORT", attempt.target().port().to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    if nix::unistd::geteuid() != user.uid {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let mut child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| not_started(program, &error))?;
    let _group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
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
            status = child.wait() => status.map_err(|error| fault::of(&error))?,
            never = listen => match never {},
        }
    };
    if let Some(output) = &mut output {
        // A child of the script's may hold the pipe open: what is in it has come.
        let _ = tokio::time::timeout(REST, listen(output, &mut said)).await;
    }
    judge(status, &said, settings.dynamic_weight)
}

/// Reads to the end, and keeps the beginning.
async fn listen(output: &mut (impl AsyncRead + Unpin), said: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let keep = read.min(KEPT.saturating_sub(said.len()));
        said.extend_from_slice(&buffer[..keep]);
    }
}

/// Kills a process group when it goes out of scope.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Mostly there is nobody left.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

async fn look_up(name: String) -> Result<User, ProbeOutcome> {
    let setup = |why: String| ProbeOutcome::Local(LocalTrouble::Setup(why.into()));
    let asked = name.clone();
    let found = tokio::task::spawn_blocking(move || User::from_name(&asked)).await;
    match found {
        Ok(Ok(Some(user))) => Ok(user),
        Ok(Ok(None)) => Err(setup(format!("there is no user `{name}`"))),
        Ok(Err(errno)) => Err(setup(format!("cannot look up the user `{name}`: {errno}"))),
        Err(error) => Err(setup(error.to_string())),
    }
}

/// A program that does not start says nothing about the server.
fn not_started(program: &str, error: &std::io::Error) -> ProbeOutcome {
    let trouble = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => LocalTrouble::FileDescriptors,
        Some(Errno::ENOMEM | Errno::EAGAIN) => LocalTrouble::Memory,
        _ => LocalTrouble::Setup(format!("cannot start {program}: {error}").into()),
    };
    ProbeOutcome::Local(trouble)
}

fn judge(status: ExitStatus, said: &[u8], dynamic_weight: bool) -> Verdict {
    let first_line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(Findings::default()),
        (Some(code @ 2..), _) if dynamic_weight => {
            let weight = u32::try_from(code - 2).ok().map(WeightAdvice::Absolute);
            Ok(Findings {
                advice: Some(Advice {
                    weight,
                    ..Advice::default()
                }),
                ..Findings::default()
            })
        }
        (Some(code), _) => Err(ProbeOutcome::Failure(FailureCause::Exit {
            code,
            said: Excerpt::of(first_line),
        })),
        (None, signal) => Err(ProbeOutcome::Failure(FailureCause::Killed {
            signal: signal.unwrap_or(0),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_verdicts_and_weights() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(judge(exit(0), b"", false), Ok(Findings::default()));
        let failed = |code, said: &str| {
            Err(ProbeOutcome::Failure(FailureCause::Exit {
                code,
                said: Excerpt::of(said),
            }))
        };
        assert_eq!(judge(exit(1), b"disk full\nmore", true), failed(1, "disk full"));
        assert_eq!(judge(exit(7), b"", false), failed(7, ""));
        for (code, weight) in [(2, 0), (3, 1), (255, 253)] {
            let advice = judge(exit(code), b"", true).expect("well").advice.expect("advice");
            assert_eq!(advice.weight, Some(WeightAdvice::Absolute(weight)));
        }
        let killed = Err(ProbeOutcome::Failure(FailureCause::Killed { signal: 9 }));
        assert_eq!(judge(ExitStatus::from_raw(9), b"", true), killed);
    }
}
