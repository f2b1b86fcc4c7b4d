//! The gRPC probe: a call of the health service, version 1, over HTTP/2.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Method, Request, Version};

use super::attempt::Attempt;
use super::packet::grpc::{self as packet, Health};
use super::{Findings, Verdict, http, tls};
use crate::model::{Excerpt, FailureCause, GrpcProbe, LocalTrouble, ProbeOutcome, Stage};

/// The longest answer.
const LIMIT: usize = 4096;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &GrpcProbe) -> Verdict {
    let stream = attempt.connect().await?;
    let mut warning = None;
    let (mut sender, _tasks) = match &settings.tls {
        None => http::http2_connection(stream).await?,
        Some(tls_settings) => {
            let (stream, warned) = tls::handshake(attempt, stream, tls_settings, http::HTTP2).await?;
            http::require_http2(stream.get_ref().1.alpn_protocol())?;
            warning = warned;
            http::http2_connection(stream).await?
        }
    };
    attempt.await_stage(Stage::Headers);
    let answer = sender.send_request(request(attempt, settings)?).await;
    let answer = answer.map_err(|error| http::classify(&error, Stage::Headers))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(unexpected(
            "the HTTP status",
            "200",
            Excerpt::words(status.as_u16().to_string()),
        ));
    }
    // An answer without a message has its status among the headers.
    judge_status(answer.headers())?;
    let mut body = answer.into_body();
    let mut received = Vec::new();
    loop {
        attempt.await_stage(Stage::Body);
        let Some(frame) = body.frame().await else { break };
        match frame.map_err(|error| http::classify(&error, Stage::Body))?.into_data() {
            Ok(data) if received.len() + data.len() > LIMIT => {
                let (what, limit) = (Stage::Body, LIMIT);
                return Err(ProbeOutcome::Failure(FailureCause::TooLong { what, limit }));
            }
            Ok(data) => received.extend_from_slice(&data),
            Err(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    judge_status(trailers)?;
                }
            }
        }
    }
    let health = packet::response(&received).map_err(|why| {
        ProbeOutcome::Failure(FailureCause::Malformed {
            protocol: "gRPC",
            why: why.into(),
        })
    })?;
    match health {
        Health::Serving => Ok(Findings {
            warning,
            ..Findings::default()
        }),
        Health::Unknown => Err(said("UNKNOWN")),
        Health::NotServing => Err(said("NOT_SERVING")),
        Health::ServiceUnknown => Err(said("SERVICE_UNKNOWN")),
        Health::Other(number) => Err(said(&format!("state {number}"))),
    }
}

fn request(attempt: &Attempt<'_>, settings: &GrpcProbe) -> Result<Request<Full<Bytes>>, ProbeOutcome> {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let host = settings.host.clone().unwrap_or_else(|| attempt.target().to_string());
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{scheme}://{host}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, http::AGENT)
        .body(Full::new(Bytes::from(packet::request(&settings.service))))
        .map_err(|error| ProbeOutcome::Local(LocalTrouble::Setup(error.to_string().into())))
}

/// A status other than 0 is a failure in the server's words; 5 is a service that it does not know.
fn judge_status(headers: &HeaderMap) -> Result<(), ProbeOutcome> {
    let Some(status) = headers.get("grpc-status") else {
        return Ok(());
    };
    if status == "0" {
        return Ok(());
    }
    let words = headers
        .get("grpc-message")
        .map_or(&b""[..], |message| message.as_bytes());
    let got = Excerpt::of([status.as_bytes(), b" ", words].concat());
    Err(unexpected("the gRPC status", "0", got))
}

fn said(word: &str) -> ProbeOutcome {
    ProbeOutcome::Failure(FailureCause::Said(Excerpt::words(word)))
}

fn unexpected(what: &'static str, wanted: &str, got: Excerpt) -> ProbeOutcome {
    let wanted = Excerpt::words(wanted);
    ProbeOutcome::Failure(FailureCause::Unexpected { what, wanted, got })
}
