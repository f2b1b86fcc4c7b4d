//! The LDAP probe: a simple bind, anonymous where nobody is named.

use super::attempt::Attempt;
use super::packet::ldap as packet;
use super::{Findings, Verdict, secret, tls};
use crate::model::{Excerpt, FailureCause, LdapProbe, ProbeOutcome, Stage};

/// The longest answer.
const LIMIT: usize = 16 * 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &LdapProbe) -> Verdict {
    let password = secret::read(settings.login.as_ref().and_then(|login| login.password.as_ref())).await?;
    let dn = settings.login.as_ref().map_or("", |login| login.user.as_str());
    let stream = attempt.connect().await?;
    let (mut stream, warning) = tls::maybe(attempt, stream, settings.tls.as_ref()).await?;
    attempt.await_stage(Stage::Login);
    attempt
        .send(&mut stream, &packet::bind(dn.as_bytes(), &password))
        .await?;
    let mut received = Vec::new();
    let answer = loop {
        attempt
            .read_more(&mut stream, &mut received, LIMIT, Stage::Login)
            .await?;
        let read = packet::answer(&received).map_err(|why| {
            ProbeOutcome::Failure(FailureCause::Malformed {
                protocol: "LDAP",
                why: why.into(),
            })
        })?;
        if let Some(answer) = read {
            break answer;
        }
    };
    if answer.code != 0 {
        let words = format!("result {}: {}", answer.code, answer.words);
        return Err(ProbeOutcome::Failure(FailureCause::Denied(Excerpt::of(words))));
    }
    // Whether the farewell arrives changes nothing.
    let _ = attempt.send(&mut stream, &packet::unbind()).await;
    Ok(Findings {
        warning,
        ..Findings::default()
    })
}
