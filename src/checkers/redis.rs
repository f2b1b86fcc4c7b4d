//! The Redis probe: AUTH where there is a password, PING, and ROLE where one is asked for.

use super::attempt::Attempt;
use super::packet::redis::{self as packet, Reply};
use super::tls::{self, Stream};
use super::{Findings, Verdict, secret};
use crate::model::{Excerpt, FailureCause, ProbeOutcome, RedisProbe, RedisRole, Stage};

/// The most that is read for one reply.
const LIMIT: usize = 16 * 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &RedisProbe) -> Verdict {
    let password = secret::read(settings.password.as_ref()).await?;
    let stream = attempt.connect().await?;
    let (mut stream, warning) = tls::maybe(attempt, stream, settings.tls.as_ref()).await?;
    if settings.password.is_some() {
        let command = match &settings.user {
            Some(user) => packet::command(&[b"AUTH", user.as_bytes(), &password]),
            None => packet::command(&[b"AUTH", &password]),
        };
        let reply = ask(attempt, &mut stream, &command, Stage::Login).await?;
        expect_status(reply, "OK")?;
    }
    let reply = ask(attempt, &mut stream, &packet::command(&[b"PING"]), Stage::Answer).await?;
    expect_status(reply, "PONG")?;
    if let Some(role) = settings.role {
        let reply = ask(attempt, &mut stream, &packet::command(&[b"ROLE"]), Stage::Answer).await?;
        judge_role(role, reply)?;
    }
    Ok(Findings {
        warning,
        ..Findings::default()
    })
}

async fn ask(
    attempt: &Attempt<'_>,
    stream: &mut Box<dyn Stream>,
    command: &[u8],
    stage: Stage,
) -> Result<Reply, ProbeOutcome> {
    attempt.await_stage(stage);
    attempt.send(stream, command).await?;
    let mut received = Vec::new();
    loop {
        attempt.read_more(stream, &mut received, LIMIT, stage).await?;
        if let Some((reply, _)) = packet::reply(&received).map_err(malformed)? {
            return Ok(reply);
        }
    }
}

fn expect_status(reply: Reply, wanted: &str) -> Result<(), ProbeOutcome> {
    match reply {
        Reply::Status(status) if status == wanted => Ok(()),
        Reply::Error(words) => Err(ProbeOutcome::Failure(FailureCause::Denied(Excerpt::of(words)))),
        Reply::Status(other) => Err(unexpected("the reply", wanted, Excerpt::of(other))),
        Reply::Number(_) | Reply::Text(_) | Reply::Array(_) => Err(malformed("a reply of another kind was due")),
    }
}

fn judge_role(wanted: RedisRole, reply: Reply) -> Result<(), ProbeOutcome> {
    let elements = match reply {
        Reply::Array(elements) => elements,
        Reply::Error(words) => return Err(ProbeOutcome::Failure(FailureCause::Denied(Excerpt::of(words)))),
        Reply::Status(_) | Reply::Number(_) | Reply::Text(_) => return Err(malformed("ROLE is no array")),
    };
    let text = |index: usize| match elements.get(index) {
        Some(Reply::Text(Some(text))) => text.as_slice(),
        _ => b"",
    };
    let (role, link) = (text(0), text(3));
    match wanted {
        RedisRole::Master if role == b"master" => Ok(()),
        RedisRole::Replica if role == b"slave" && link == b"connected" => Ok(()),
        RedisRole::Master => Err(unexpected("the role", "master", Excerpt::of(role))),
        RedisRole::Replica if role == b"slave" => Err(unexpected("the replica's link", "connected", Excerpt::of(link))),
        RedisRole::Replica => Err(unexpected("the role", "replica", Excerpt::of(role))),
    }
}

fn unexpected(what: &'static str, wanted: &str, got: Excerpt) -> ProbeOutcome {
    let wanted = Excerpt::words(wanted);
    ProbeOutcome::Failure(FailureCause::Unexpected { what, wanted, got })
}

fn malformed(why: &'static str) -> ProbeOutcome {
    ProbeOutcome::Failure(FailureCause::Malformed {
        protocol: "Redis",
        why: why.into(),
    })
}
