//! The UDP probe: a datagram, and what comes back. A refusal by ICMP is a failure.

use std::time::Duration;

use super::attempt::Attempt;
use super::{Findings, Verdict, fault};
use crate::model::{Excerpt, FailureCause, ProbeOutcome, ReplyTest, Stage, UdpProbe};

/// The largest datagram.
const LARGEST: usize = 65_536;
/// How long before the deadline silence counts as none.
const SPARE: Duration = Duration::from_millis(5);

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &UdpProbe) -> Verdict {
    let socket = attempt.connect_udp()?;
    attempt.await_stage(Stage::Answer);
    socket
        .send(&settings.payload.0)
        .await
        .map_err(|error| fault::of(&error))?;
    let mut buffer = vec![0; LARGEST];
    let until = attempt.deadline().checked_sub(SPARE).unwrap_or(attempt.deadline());
    loop {
        let received = tokio::time::timeout_at(until.into(), socket.recv(&mut buffer)).await;
        let length = match received {
            Ok(received) => received.map_err(|error| fault::of(&error))?,
            Err(_) if settings.reply == ReplyTest::Silence => return Ok(Findings::default()),
            Err(_) => return Err(ProbeOutcome::Failure(attempt.overdue())),
        };
        let reply = &buffer[..length];
        let wanted = match &settings.reply {
            ReplyTest::Silence | ReplyTest::Anything => return Ok(Findings::default()),
            ReplyTest::Contains(bytes) if reply.windows(bytes.0.len()).any(|window| window == bytes.0) => {
                return Ok(Findings::default());
            }
            ReplyTest::Matches(pattern) if pattern.is_match(reply) => return Ok(Findings::default()),
            ReplyTest::Contains(bytes) => Excerpt::of(&bytes.0),
            ReplyTest::Matches(pattern) => Excerpt::words(format!("a match of /{}/", pattern.as_str())),
        };
        // Another datagram may still be the one.
        attempt.await_or(FailureCause::Unexpected {
            what: "the reply",
            wanted,
            got: Excerpt::of(reply),
        });
    }
}

/// Waits for the datagram that a closure takes; others are passed over.
pub(super) async fn receive<T>(
    socket: &tokio::net::UdpSocket,
    mut take: impl FnMut(&[u8]) -> Option<T>,
) -> Result<T, ProbeOutcome> {
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| fault::of(&error))?;
        if let Some(taken) = take(&buffer[..length]) {
            return Ok(taken);
        }
    }
}
