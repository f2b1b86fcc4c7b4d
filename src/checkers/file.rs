//! The file probe: somebody writes into a file how a server is (keepalived's `FILE_CHECK`).

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::attempt::Attempt;
use super::packet::advice::{self, BareNumber};
use super::{Verdict, agent};
use crate::model::{Excerpt, FailureCause, FileProbe, LocalTrouble, ProbeOutcome, Stage, StateAdvice, WeightAdvice};

/// The most that is read.
const LIMIT: usize = 4096;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &FileProbe) -> Verdict {
    attempt.await_stage(Stage::File);
    let path = settings.path.clone();
    let found = tokio::task::spawn_blocking(move || read(&path)).await;
    let setup = |why: String| ProbeOutcome::Local(LocalTrouble::Setup(why.into()));
    let content = match found {
        Ok(Ok(content)) => content,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return match settings.missing_is_up {
                true => judge(b""),
                false => Err(ProbeOutcome::Failure(FailureCause::NoFile)),
            };
        }
        Ok(Err(error)) => return Err(setup(format!("cannot read {}: {error}", settings.path.display()))),
        Err(error) => return Err(setup(error.to_string())),
    };
    judge(&content)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe without a writer must not hold the reader up.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(LIMIT as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// The first line that is not empty counts.
fn judge(content: &[u8]) -> Verdict {
    if content.len() > LIMIT {
        let (what, limit) = (Stage::File, LIMIT);
        return Err(ProbeOutcome::Failure(FailureCause::TooLong { what, limit }));
    }
    let text = String::from_utf8_lossy(content);
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let mut advised = advice::parse(line, BareNumber::IsWeight).map_err(|word| {
        ProbeOutcome::Failure(FailureCause::Malformed {
            protocol: "weight or state",
            why: format!("{} means nothing", Excerpt::of(word)).into(),
        })
    })?;
    // An agent adds to what it said before; a file says all there is, and what it no longer says no longer holds.
    advised.advice.weight.get_or_insert(WeightAdvice::AS_CONFIGURED);
    advised.advice.state.get_or_insert(StateAdvice::Ready);
    agent::verdict(advised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        let weight = |content: &[u8]| judge(content).expect("well").advice.and_then(|advice| advice.weight);
        assert_eq!(weight(b"\n 7 \nnonsense"), Some(WeightAdvice::Absolute(7)));
        assert_eq!(weight(b"up 50%"), Some(WeightAdvice::Percent(50)));
        assert_eq!(weight(b""), Some(WeightAdvice::AS_CONFIGURED));
        let state = |content: &[u8]| judge(content).expect("well").advice.and_then(|advice| advice.state);
        assert_eq!(state(b"7"), Some(StateAdvice::Ready));
        assert_eq!(state(b"drain"), Some(StateAdvice::Drain));
        assert!(judge(b"down # disk").is_err());
        assert!(judge(b"\xff\xfe").is_err());
        assert!(judge(&[b'\n'; LIMIT + 1]).is_err());
    }

    #[test]
    fn only_regular_files_are_read() {
        assert!(read(Path::new("/dev/zero")).is_err());
        assert!(read(Path::new("/")).is_err());
    }
}
