//! The HTTP probe: one request over a fresh connection, its status, and as much of its body as the check asks for.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::attempt::Attempt;
use super::{Findings, Verdict, fault, tls};
use crate::model::{
    BodyTest, Excerpt, FailureCause, HttpProbe, HttpVersion, LocalTrouble, ProbeOutcome, ProbeWarning, Stage,
};

/// The most that status line and headers may take, in bytes.
const HEADERS_LIMIT: usize = 64 * 1024;
const MOST_HEADERS: usize = 200;
/// What this program calls itself to a server.
pub(super) const AGENT: &str = concat!("ipvsd/", env!("CARGO_PKG_VERSION"));

pub(super) async fn probe(attempt: &Attempt<'_>, probe: &HttpProbe) -> Verdict {
    let stream = attempt.connect().await?;
    let Some(settings) = &probe.tls else {
        return ask(attempt, probe, stream, None).await;
    };
    let (stream, warning) = tls::handshake(attempt, stream, settings, protocols(probe.version)).await?;
    if probe.version == HttpVersion::Http2 {
        require_http2(stream.get_ref().1.alpn_protocol())?;
    }
    ask(attempt, probe, stream, warning).await
}

fn protocols(version: HttpVersion) -> &'static [&'static [u8]] {
    match version {
        HttpVersion::Http1 => &[b"http/1.1"],
        HttpVersion::Http2 => HTTP2,
    }
}

/// What is offered by ALPN for HTTP/2.
pub(super) const HTTP2: &[&[u8]] = &[b"h2"];

/// A server that does not choose HTTP/2 has none.
pub(super) fn require_http2(chosen: Option<&[u8]>) -> Result<(), ProbeOutcome> {
    match chosen {
        Some(b"h2") => Ok(()),
        other => Err(ProbeOutcome::Failure(FailureCause::Unexpected {
            what: "the protocol chosen by ALPN",
            wanted: Excerpt::words("h2"),
            got: other.map_or_else(|| Excerpt::words("none"), Excerpt::of),
        })),
    }
}

async fn ask(
    attempt: &Attempt<'_>,
    probe: &HttpProbe,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    warning: Option<ProbeWarning>,
) -> Verdict {
    let request = request(attempt, probe)?;
    attempt.await_stage(Stage::Headers);
    match probe.version {
        HttpVersion::Http1 => {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(HEADERS_LIMIT).max_headers(MOST_HEADERS);
            let (mut sender, connection) = builder
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| classify(&error, Stage::Headers))?;
            let exchange = async {
                let answer = sender
                    .send_request(request)
                    .await
                    .map_err(|error| classify(&error, Stage::Headers))?;
                judge(attempt, probe, answer).await
            };
            // The connection moves only while somebody polls it.
            let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
            tokio::select! {
                biased;
                verdict = &mut exchange => verdict?,
                // Who breaks it off by speaking before being asked is told of in its own words.
                ended = &mut connection => exchange.await.map_err(|lost| match ended {
                    Err(error) if !error.is_closed() => classify(&error, Stage::Headers),
                    Ok(()) | Err(_) => lost,
                })?,
            }
        }
        HttpVersion::Http2 => {
            let (mut sender, _tasks) = http2_connection(stream).await?;
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| classify(&error, Stage::Headers))?;
            judge(attempt, probe, answer).await?;
        }
    }
    Ok(Findings {
        warning,
        ..Findings::default()
    })
}

/// An HTTP/2 connection; what moves it ends with the second value.
pub(super) async fn http2_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(http2::SendRequest<Full<Bytes>>, Tasks), ProbeOutcome> {
    let tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.spawner());
    builder
        .max_header_list_size(u32::try_from(HEADERS_LIMIT).unwrap_or(u32::MAX))
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| classify(&error, Stage::Headers))?;
    hyper::rt::Executor::execute(&tasks.spawner(), async move {
        let _ = connection.await;
    });
    Ok((sender, tasks))
}

/// The tasks of one connection, ended when this is dropped.
#[derive(Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn spawner(&self) -> Spawner {
        Spawner(Arc::clone(&self.0))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

#[derive(Clone)]
pub(super) struct Spawner(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, work: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move {
            work.await;
        });
    }
}

fn request(attempt: &Attempt<'_>, probe: &HttpProbe) -> Result<Request<Full<Bytes>>, ProbeOutcome> {
    let target = attempt.target();
    let (scheme, usual) = if probe.tls.is_some() {
        ("https", 443)
    } else {
        ("http", 80)
    };
    let host = probe.host.clone().unwrap_or_else(|| match target.port() == usual {
        true if target.is_ipv6() => format!("[{}]", target.ip()),
        true => target.ip().to_string(),
        false => target.to_string(),
    });
    let mut builder = Request::builder().method(probe.method.as_str());
    builder = match probe.version {
        HttpVersion::Http1 => builder.uri(&probe.path).header(HOST, host).header(CONNECTION, "close"),
        HttpVersion::Http2 => builder
            .version(hyper::Version::HTTP_2)
            .uri(format!("{scheme}://{host}{}", probe.path)),
    };
    for (name, value) in &probe.headers {
        builder = builder.header(name, value);
    }
    let body = probe
        .body
        .as_ref()
        .map_or_else(Bytes::new, |bytes| Bytes::copy_from_slice(&bytes.0));
    let mut request = builder
        .body(Full::new(body))
        .map_err(|error| ProbeOutcome::Local(LocalTrouble::Setup(error.to_string().into())))?;
    let headers = request.headers_mut();
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    Ok(request)
}

async fn judge(attempt: &Attempt<'_>, probe: &HttpProbe, answer: Response<Incoming>) -> Result<(), ProbeOutcome> {
    let status = answer.status().as_u16();
    let unexpected = || FailureCause::Unexpected {
        what: "the status",
        wanted: Excerpt::words(show(&probe.status)),
        got: Excerpt::words(status.to_string()),
    };
    if probe.drain_status.iter().any(|range| range.contains(&status)) {
        return Err(ProbeOutcome::Drain(unexpected()));
    }
    if !probe.status.iter().any(|range| range.contains(&status)) {
        return Err(ProbeOutcome::Failure(unexpected()));
    }
    match &probe.expect {
        None => Ok(()),
        Some(test) => judge_body(attempt, test, answer.into_body(), probe.body_limit).await,
    }
}

/// `200-299, 404`
fn show(ranges: &[std::ops::RangeInclusive<u16>]) -> String {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| match range.start() == range.end() {
            true => range.start().to_string(),
            false => format!("{}-{}", range.start(), range.end()),
        })
        .collect();
    ranges.join(", ")
}

/// Reads a body to its end, or until it is known whether it is as it should be.
async fn judge_body(
    attempt: &Attempt<'_>,
    test: &BodyTest,
    mut body: Incoming,
    limit: usize,
) -> Result<(), ProbeOutcome> {
    let mut received = Vec::new();
    loop {
        attempt.await_stage(Stage::Body);
        let Some(frame) = body.frame().await else { break };
        let Ok(piece) = frame.map_err(|error| classify(&error, Stage::Body))?.into_data() else {
            continue;
        };
        let room = limit - received.len();
        received.extend_from_slice(&piece[..piece.len().min(room)]);
        let known = match test {
            BodyTest::Contains(wanted) => contains(&received, &wanted.0),
            BodyTest::Matches(pattern) => pattern.is_match(&received),
            BodyTest::MatchesNot(_) | BodyTest::Sha256(_) => false,
        };
        if known {
            return Ok(());
        }
        if piece.len() > room {
            let what = Stage::Body;
            return Err(ProbeOutcome::Failure(FailureCause::TooLong { what, limit }));
        }
    }
    let (good, wanted, got) = match test {
        BodyTest::Contains(wanted) => (
            contains(&received, &wanted.0),
            Excerpt::of(&wanted.0),
            Excerpt::of(&received),
        ),
        BodyTest::Matches(pattern) => (
            pattern.is_match(&received),
            Excerpt::words(format!("a match of /{}/", pattern.as_str())),
            Excerpt::of(&received),
        ),
        BodyTest::MatchesNot(pattern) => (
            !pattern.is_match(&received),
            Excerpt::words(format!("without a match of /{}/", pattern.as_str())),
            Excerpt::of(&received),
        ),
        BodyTest::Sha256(wanted) => {
            let digest: [u8; 32] = Sha256::digest(&received).into();
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            (
                digest == *wanted,
                Excerpt::words(hex(wanted)),
                Excerpt::words(hex(&digest)),
            )
        }
    };
    let what = match test {
        BodyTest::Contains(_) | BodyTest::Matches(_) | BodyTest::MatchesNot(_) => "the body",
        BodyTest::Sha256(_) => "the body's SHA-256",
    };
    match good {
        true => Ok(()),
        false => Err(ProbeOutcome::Failure(FailureCause::Unexpected { what, wanted, got })),
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|window| window == wanted)
}

/// Whose fault an error of the exchange is, in words.
pub(super) fn classify(error: &hyper::Error, stage: Stage) -> ProbeOutcome {
    let mut source = std::error::Error::source(error);
    let mut words = error.to_string();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && (io.raw_os_error().is_some()
                || io.kind() == std::io::ErrorKind::UnexpectedEof
                || tls::cause::within(io).is_some())
        {
            return fault::of_stream(io, stage);
        }
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    let cause = if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        FailureCause::Closed(stage)
    } else if error.is_parse() && words.contains("too large") {
        let (what, limit) = (stage, HEADERS_LIMIT);
        FailureCause::TooLong { what, limit }
    } else {
        FailureCause::Malformed {
            protocol: "HTTP",
            why: words.into(),
        }
    };
    ProbeOutcome::Failure(cause)
}

#[cfg(test)]
mod tests;
