//! HTTP answers of every kind, over loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::checkers::probe;
use crate::model::{BodyTest, Bytes, HttpProbe, HttpVersion, Pattern, ProbeKind, ProbeOutcome, ProbeSpec};

fn get() -> HttpProbe {
    HttpProbe {
        tls: None,
        version: HttpVersion::Http1,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        body: None,
        status: vec![200..=299],
        drain_status: vec![404..=404],
        expect: None,
        body_limit: 1000,
    }
}

/// A server that answers the first request with these bytes, the last of them over and over where it is `endless`.
async fn answering(answer: Vec<u8>, endless: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
        let more = answer.last().copied().map(|byte| [byte; 65536]);
        while endless && stream.write_all(&more.expect("a byte")).await.is_ok() {}
    });
    address
}

/// What a probe says to an answer.
async fn told(settings: HttpProbe, answer: impl Into<Vec<u8>>, endless: bool) -> String {
    let address = answering(answer.into(), endless).await;
    let spec = ProbeSpec::new(ProbeKind::Http(settings));
    match probe(&spec, address, Duration::from_secs(5)).await.outcome {
        ProbeOutcome::Success => "success".to_owned(),
        ProbeOutcome::Failure(cause) => cause.to_string(),
        ProbeOutcome::Drain(cause) => format!("drain: {cause}"),
        ProbeOutcome::NoVerdict(cause) => format!("no verdict: {cause}"),
        ProbeOutcome::Local(trouble) => format!("here: {trouble}"),
    }
}

fn expecting(test: BodyTest) -> HttpProbe {
    HttpProbe {
        expect: Some(test),
        ..get()
    }
}

fn text(text: &str) -> BodyTest {
    BodyTest::Contains(Bytes(text.as_bytes().to_vec()))
}

#[tokio::test]
async fn the_status_decides() {
    for (answer, wanted) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "success"),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "success"),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            "the status is 302, not 200-299",
        ),
        (
            "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n",
            "the status is 503, not 200-299",
        ),
        (
            "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n",
            "drain: the status is 404, not 200-299",
        ),
    ] {
        assert_eq!(told(get(), answer, false).await, wanted, "{answer}");
    }
}

#[tokio::test]
async fn the_body_decides_where_it_is_asked_for() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let pattern = |text| Pattern::new(text).expect("good");
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let sha256: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&digest[at..at + 2], 16).expect("hex"))
        .collect();
    let sha256 = BodyTest::Sha256(sha256.try_into().expect("32 bytes"));
    for answer in [ok, chunked] {
        for (test, wanted) in [
            (text("ell"), "success"),
            (BodyTest::Matches(pattern("^h.*o$")), "success"),
            (BodyTest::MatchesNot(pattern("error")), "success"),
            (sha256.clone(), "success"),
            (text("bye"), r#"the body is "hello", not "bye""#),
            (
                BodyTest::MatchesNot(pattern("l+")),
                r#"the body is "hello", not without a match of /l+/"#,
            ),
        ] {
            assert_eq!(told(expecting(test), answer, false).await, wanted, "{answer}");
        }
    }
    let wrong = told(expecting(BodyTest::Sha256([0; 32])), ok, false).await;
    assert!(wrong.starts_with("the body's SHA-256 is 2cf24d"), "{wrong}");
}

#[tokio::test]
async fn broken_and_endless_answers_are_told_and_bounded() {
    for (settings, answer, endless, wanted) in [
        (
            get(),
            "SSH-2.0-OpenSSH_9.2\r\n",
            false,
            "the answer is no HTTP: invalid HTTP version parsed",
        ),
        (
            get(),
            "",
            false,
            "connection closed: the status line and headers is missing",
        ),
        (
            get(),
            "HTTP/1.1 200 OK\r\nX: y",
            false,
            "connection closed: the status line and headers is missing",
        ),
        (
            get(),
            "HTTP/1.1 200 OK\r\nX: y",
            true,
            "the status line and headers is longer than 65536 bytes",
        ),
        (
            expecting(text("x")),
            "HTTP/1.1 200 OK\r\n\r\ny",
            true,
            "the end of the body is longer than 1000 bytes",
        ),
        (expecting(text("y")), "HTTP/1.1 200 OK\r\n\r\ny", true, "success"),
        (
            expecting(text("x")),
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
            false,
            "connection closed: the end of the body is missing",
        ),
    ] {
        assert_eq!(told(settings, answer, endless).await, wanted, "{answer}");
    }
}
