//! The script probe: a program of the user's is run and its exit status read (keepalived's `MISC_CHECK`).
//!
//! How it is run, as whom and with what, is [`crate::process`]'s.

use std::os::unix::process::ExitStatusExt;

use nix::errno::Errno;

use super::attempt::Attempt;
use super::{Findings, Verdict, fault};
use crate::model::{Advice, Excerpt, FailureCause, LocalTrouble, ProbeOutcome, ScriptProbe, Stage, WeightAdvice};
use crate::process::{self, Ended, ProcessError};

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &ScriptProbe) -> Verdict {
    attempt.await_stage(Stage::Exit);
    let address = attempt.target().ip().to_string();
    let port = attempt.target().port().to_string();
    let environment = [("IPVSD_SERVER_ADDRESS", &*address), ("IPVSD_SERVER_PORT", &*port)];
    let ended = process::run(&settings.argv, &settings.user, environment)
        .await
        .map_err(not_run)?;
    judge(&ended, settings.dynamic_weight)
}

/// A program that does not start says nothing about the server.
fn not_run(error: ProcessError) -> ProbeOutcome {
    let errno = match &error {
        ProcessError::NotStarted { source, .. } => source.raw_os_error().map(Errno::from_raw),
        ProcessError::Wait { source, .. } => return fault::of(source),
        ProcessError::NoUser(_) | ProcessError::LookUp { .. } | ProcessError::NotAs { .. } => None,
    };
    let trouble = match errno {
        Some(Errno::EMFILE | Errno::ENFILE) => LocalTrouble::FileDescriptors,
        Some(Errno::ENOMEM | Errno::EAGAIN) => LocalTrouble::Memory,
        _ => LocalTrouble::Setup(error.to_string().into()),
    };
    ProbeOutcome::Local(trouble)
}

fn judge(ended: &Ended, dynamic_weight: bool) -> Verdict {
    let advised = |weight| {
        Ok(Findings {
            advice: Some(Advice {
                weight,
                ..Advice::default()
            }),
            ..Findings::default()
        })
    };
    match (ended.status.code(), ended.status.signal()) {
        // What another status has advised before no longer holds, as in keepalived.
        (Some(0), _) if dynamic_weight => advised(Some(WeightAdvice::AS_CONFIGURED)),
        (Some(0), _) => Ok(Findings::default()),
        (Some(code @ 2..), _) if dynamic_weight => advised(u32::try_from(code - 2).ok().map(WeightAdvice::Absolute)),
        (Some(code), _) => Err(ProbeOutcome::Failure(FailureCause::Exit {
            code,
            said: Excerpt::of(ended.first_line()),
        })),
        (None, signal) => Err(ProbeOutcome::Failure(FailureCause::Killed {
            signal: signal.unwrap_or(0),
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn exit_statuses_are_verdicts_and_weights() {
        let judge = |status, said: &[u8], dynamic_weight| {
            let said = said.to_vec();
            judge(&Ended { status, said }, dynamic_weight)
        };
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
        for (code, weight) in [
            (0, WeightAdvice::AS_CONFIGURED),
            (2, WeightAdvice::Absolute(0)),
            (3, WeightAdvice::Absolute(1)),
            (255, WeightAdvice::Absolute(253)),
        ] {
            let advice = judge(exit(code), b"", true).expect("well").advice.expect("advice");
            assert_eq!(advice.weight, Some(weight));
        }
        let killed = Err(ProbeOutcome::Failure(FailureCause::Killed { signal: 9 }));
        assert_eq!(judge(ExitStatus::from_raw(9), b"", true), killed);
    }
}
