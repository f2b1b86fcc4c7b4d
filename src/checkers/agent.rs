//! The agent probe: a program on the real server says how it is (HAProxy's `agent-check`).
//!
//! An agent that is not there is no verdict about the server: nobody has said anything.

use super::attempt::Attempt;
use super::packet::advice::{self, Advised, BareNumber};
use super::{Findings, Verdict};
use crate::model::{Advice, AgentProbe, Excerpt, FailureCause, ProbeOutcome, Stage};

/// The longest line.
const LIMIT: usize = 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &AgentProbe) -> Verdict {
    let line = match line(attempt, settings).await {
        Err(ProbeOutcome::Failure(cause)) => return Err(ProbeOutcome::NoVerdict(cause)),
        other => other?,
    };
    let text = String::from_utf8_lossy(&line);
    match advice::parse(text.trim_end_matches('\r'), BareNumber::IsNothing) {
        Ok(advised) => verdict(advised),
        Err(word) => Err(ProbeOutcome::NoVerdict(FailureCause::Malformed {
            protocol: "agent's line",
            why: format!("{} means nothing", Excerpt::of(word)).into(),
        })),
    }
}

async fn line(attempt: &Attempt<'_>, settings: &AgentProbe) -> Result<Vec<u8>, ProbeOutcome> {
    let mut stream = attempt.connect().await?;
    attempt.await_stage(Stage::Answer);
    if let Some(bytes) = &settings.send {
        attempt.send(&mut stream, &bytes.0).await?;
    }
    let mut line = Vec::new();
    loop {
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return Ok(line);
        }
        match attempt.read_more(&mut stream, &mut line, LIMIT, Stage::Answer).await {
            // Agents in the field forget the line's end.
            Err(ProbeOutcome::Failure(FailureCause::Closed(_))) if !line.is_empty() => return Ok(line),
            other => other?,
        }
    }
}

/// The verdict that lies in advice.
pub(super) fn verdict(advised: Advised) -> Verdict {
    let said = |word: &str| FailureCause::Said(Excerpt::of(advised.reason.as_deref().unwrap_or(word)));
    match advised.up {
        Some(false) => Err(ProbeOutcome::Failure(said("down"))),
        Some(true) | None => Ok(Findings {
            advice: Some(advised.advice).filter(|advice| *advice != Advice::default()),
            ..Findings::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StateAdvice;

    #[test]
    fn what_an_agent_says_is_a_verdict() {
        let told = |line| verdict(advice::parse(line, BareNumber::IsNothing).expect("good"));
        assert_eq!(told("up"), Ok(Findings::default()));
        assert!(told("ready 50%").expect("well").advice.is_some());
        assert_eq!(
            told("down # full"),
            Err(ProbeOutcome::Failure(FailureCause::Said(Excerpt::of("full"))))
        );
        let state = |line| told(line).expect("well").advice.expect("advice").state;
        assert_eq!(state("drain"), Some(StateAdvice::Drain));
        assert_eq!(state("up maint"), Some(StateAdvice::Maint));
    }
}
