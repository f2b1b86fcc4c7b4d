//! The SMTP probe: banner, EHLO, STARTTLS where asked for, QUIT.

use super::attempt::Attempt;
use super::packet::smtp::{self as packet, Reply};
use super::tls::{self, Stream};
use super::{Findings, Verdict};
use crate::model::{Excerpt, FailureCause, ProbeOutcome, SmtpProbe, Stage};

/// The longest reply.
const LIMIT: usize = 16 * 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &SmtpProbe) -> Verdict {
    let stream = attempt.connect().await?;
    let at_once = settings.tls.as_ref().filter(|_| !settings.starttls);
    let (mut stream, mut warning) = tls::maybe(attempt, stream, at_once).await?;
    attempt.await_stage(Stage::Greeting);
    expect(attempt, &mut stream, 220, "the banner", Stage::Greeting).await?;
    let hello = format!("EHLO {}\r\n", settings.helo);
    let offers = say(attempt, &mut stream, &hello, 250).await?;
    if let Some(tls_settings) = settings.tls.as_ref().filter(|_| settings.starttls) {
        if !offers
            .lines
            .iter()
            .any(|line| line.trim().eq_ignore_ascii_case("STARTTLS"))
        {
            return Err(ProbeOutcome::Failure(FailureCause::Tls(
                "the server offers no STARTTLS".into(),
            )));
        }
        say(attempt, &mut stream, "STARTTLS\r\n", 220).await?;
        let (encrypted, warned) = tls::handshake(attempt, stream, tls_settings, &[]).await?;
        stream = Box::new(encrypted);
        warning = warned;
        say(attempt, &mut stream, &hello, 250).await?;
    }
    // Whether the farewell arrives changes nothing.
    let _ = attempt.send(&mut stream, b"QUIT\r\n").await;
    Ok(Findings {
        warning,
        ..Findings::default()
    })
}

async fn say(
    attempt: &Attempt<'_>,
    stream: &mut Box<dyn Stream>,
    line: &str,
    wanted: u16,
) -> Result<Reply, ProbeOutcome> {
    attempt.await_stage(Stage::Answer);
    attempt.send(stream, line.as_bytes()).await?;
    expect(attempt, stream, wanted, "the reply", Stage::Answer).await
}

async fn expect(
    attempt: &Attempt<'_>,
    stream: &mut Box<dyn Stream>,
    wanted: u16,
    what: &'static str,
    stage: Stage,
) -> Result<Reply, ProbeOutcome> {
    let mut received = Vec::new();
    let reply = loop {
        attempt.read_more(stream, &mut received, LIMIT, stage).await?;
        let read = packet::reply(&received).map_err(|why| {
            ProbeOutcome::Failure(FailureCause::Malformed {
                protocol: "SMTP",
                why: why.into(),
            })
        })?;
        if let Some((reply, _)) = read {
            break reply;
        }
    };
    if reply.code == wanted {
        return Ok(reply);
    }
    let said = reply.lines.last().map(String::as_str).unwrap_or_default();
    Err(ProbeOutcome::Failure(FailureCause::Unexpected {
        what,
        wanted: Excerpt::words(wanted.to_string()),
        got: Excerpt::of(format!("{} {said}", reply.code)),
    }))
}
