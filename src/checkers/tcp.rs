//! The TCP probe: a connection, talked over where steps are given (keepalived's `TCP_CHECK`, HAProxy's `tcp-check`).

use tokio::io::{AsyncRead, AsyncWrite};

use super::attempt::Attempt;
use super::{Findings, Verdict};
use crate::model::{Bytes, Excerpt, FailureCause, Pattern, ProbeOutcome, Stage, TalkStep};

/// The most that is read for one step.
const LIMIT: usize = 16 * 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, steps: &[TalkStep]) -> Verdict {
    let mut stream = attempt.connect().await?;
    talk(attempt, &mut stream, steps).await?;
    Ok(Findings::default())
}

/// Goes through the steps of a conversation.
pub(super) async fn talk(
    attempt: &Attempt<'_>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    steps: &[TalkStep],
) -> Result<(), ProbeOutcome> {
    // What was received and no step has taken yet.
    let mut received = Vec::new();
    for step in steps {
        attempt.await_stage(Stage::Answer);
        let wanted = match step {
            TalkStep::Send(bytes) => {
                attempt.send(stream, &bytes.0).await?;
                continue;
            }
            TalkStep::Expect(bytes) => Wanted::Bytes(bytes),
            TalkStep::ExpectMatch(pattern) => Wanted::Match(pattern),
        };
        loop {
            if let Some(end) = wanted.end(&received) {
                received.drain(..end);
                break;
            }
            // Whatever ends the wait from here on, what came instead says more.
            let other = |cause| match received.is_empty() {
                true => cause,
                false => wanted.missing(&received),
            };
            attempt.await_or(other(FailureCause::Stalled(Stage::Answer)));
            let instead = other(FailureCause::Closed(Stage::Answer));
            match attempt.read_more(stream, &mut received, LIMIT, Stage::Answer).await {
                Err(ProbeOutcome::Failure(FailureCause::Closed(_))) => return Err(ProbeOutcome::Failure(instead)),
                other => other?,
            }
        }
    }
    Ok(())
}

enum Wanted<'a> {
    Bytes(&'a Bytes),
    Match(&'a Pattern),
}

impl Wanted<'_> {
    /// Where it ends in what was received, if it is there.
    fn end(&self, received: &[u8]) -> Option<usize> {
        match self {
            Self::Bytes(Bytes(bytes)) => received
                .windows(bytes.len())
                .position(|window| window == bytes)
                .map(|start| start + bytes.len()),
            Self::Match(pattern) => pattern.end_of_match(received),
        }
    }

    fn missing(&self, received: &[u8]) -> FailureCause {
        FailureCause::Unexpected {
            what: "answer",
            wanted: match self {
                Self::Bytes(Bytes(bytes)) => Excerpt::of(bytes),
                Self::Match(pattern) => Excerpt::words(format!("a match of /{}/", pattern.as_str())),
            },
            got: Excerpt::of(received),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::checkers::probe;
    use crate::model::{
        Bytes, FailureCause, LocalTrouble, Origin, Pattern, ProbeKind, ProbeOutcome, ProbeSpec, Stage, TalkStep,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn text(text: &str) -> Bytes {
        Bytes(text.as_bytes().to_vec())
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// A server that says these pieces, one after the other, and holds the connection.
    async fn saying(pieces: &'static [&'static [u8]]) -> SocketAddr {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            for piece in pieces {
                stream.write_all(piece).await.expect("room");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        address
    }

    async fn talk(address: SocketAddr, steps: Vec<TalkStep>, timeout: Duration) -> ProbeOutcome {
        probe(&ProbeSpec::new(ProbeKind::Tcp(steps)), address, timeout)
            .await
            .outcome
    }

    #[tokio::test]
    async fn a_listener_is_a_success_and_a_closed_port_is_refused() {
        let (_listener, address) = listener().await;
        assert_eq!(talk(address, Vec::new(), SECOND).await, ProbeOutcome::Success);
        // A port that nobody listens on and that nobody else gets meanwhile.
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        closed
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .expect("a port");
        let address = closed
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .expect("an address");
        let refused = ProbeOutcome::Failure(FailureCause::Refused);
        assert_eq!(talk(address, Vec::new(), SECOND).await, refused);
    }

    #[tokio::test]
    async fn steps_take_what_they_match_and_leave_the_rest_to_the_next() {
        let address = saying(&[b"220 mail", b".example ESMTP\r\n25", b"0 ok\r\n"]).await;
        let steps = vec![
            TalkStep::Expect(text("220 ")),
            TalkStep::ExpectMatch(Pattern::new("ESMTP\r\n").expect("good")),
            TalkStep::Send(text("NOOP\r\n")),
            TalkStep::Expect(text("250 ok")),
        ];
        assert_eq!(talk(address, steps, SECOND).await, ProbeOutcome::Success);
    }

    #[tokio::test]
    async fn a_wrong_answer_is_told_in_its_own_words_and_silence_as_silence() {
        let short = Duration::from_millis(100);
        let wrong = talk(saying(&[b"-ERR\r\n"]).await, vec![TalkStep::Expect(text("+OK"))], short).await;
        let ProbeOutcome::Failure(cause) = wrong else {
            panic!("{wrong:?}")
        };
        assert_eq!(cause.to_string(), r#"answer is "-ERR\r\n", not "+OK""#);
        let silent = talk(saying(&[]).await, vec![TalkStep::Expect(text("+OK"))], short).await;
        assert_eq!(silent, ProbeOutcome::Failure(FailureCause::Stalled(Stage::Answer)));
    }

    #[tokio::test]
    async fn a_server_that_closes_owes_its_answer() {
        let (listener, address) = listener().await;
        tokio::spawn(async move { drop(listener.accept().await) });
        let closed = talk(address, vec![TalkStep::Expect(text("+OK"))], SECOND).await;
        assert_eq!(closed, ProbeOutcome::Failure(FailureCause::Closed(Stage::Answer)));
    }

    #[tokio::test]
    async fn endless_answers_are_read_to_a_limit() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
        });
        let endless = talk(address, vec![TalkStep::Expect(text("+OK"))], 5 * SECOND).await;
        let cause = FailureCause::TooLong {
            what: Stage::Answer,
            limit: super::LIMIT,
        };
        assert_eq!(endless, ProbeOutcome::Failure(cause));
    }

    #[tokio::test]
    async fn it_comes_from_the_address_it_is_told_and_one_of_another_host_is_our_trouble() {
        let (listener, address) = listener().await;
        let mut spec = ProbeSpec::new(ProbeKind::Tcp(Vec::new()));
        spec.origin = Origin {
            address: Some(Ipv4Addr::new(127, 0, 0, 9).into()),
            ..Origin::default()
        };
        assert_eq!(probe(&spec, address, SECOND).await.outcome, ProbeOutcome::Success);
        let (_, peer) = listener.accept().await.expect("a connection");
        assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 9));
        spec.origin.address = Some(Ipv4Addr::new(192, 0, 2, 99).into());
        let elsewhere = ProbeOutcome::Local(LocalTrouble::SourceAddress);
        assert_eq!(probe(&spec, address, SECOND).await.outcome, elsewhere);
        spec.origin = Origin {
            device: Some("not-a-device".to_owned()),
            ..Origin::default()
        };
        assert_eq!(
            probe(&spec, address, SECOND).await.outcome,
            ProbeOutcome::Local(LocalTrouble::Device)
        );
    }
}
