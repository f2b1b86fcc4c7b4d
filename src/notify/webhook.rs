//! Webhooks: every event is posted as JSON, tried again a few times, and then given up.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::lookup;
use super::queue::Queue;
use super::task::another_attempt;
use crate::checkers::tls_towards;
use crate::model::Webhook;
use crate::model::control::EventRecord;

/// What is posted: the event, and whose it is.
#[derive(Serialize)]
struct Body<'a> {
    host: &'a str,
    #[serde(flatten)]
    event: &'a EventRecord,
}

/// How one attempt has failed.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// Another one may succeed.
    ForNow(String),
    /// The server does not want it.
    ForGood(String),
}

/// A webhook, and what it is called in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) webhook: Arc<Webhook>,
    pub(super) name: String,
}

/// Posts what is told, for good, by the settings of the moment.
pub(super) async fn serve(mut named: watch::Receiver<Named>, host: Arc<str>, queue: Arc<Queue<Arc<EventRecord>>>) {
    loop {
        let (event, lost) = queue.next().await;
        if lost > 0 {
            let name = named.borrow().name.clone();
            warn!("webhook {name}: {lost} events are left out, for more wait than can be posted");
        }
        let body = Body {
            host: &host,
            event: &event,
        };
        match serde_json::to_vec(&body) {
            Ok(body) => deliver(&mut named, body.into(), &event).await,
            Err(problem) => warn!("event {} cannot be posted: {problem}", event.number),
        }
    }
}

async fn deliver(settings: &mut watch::Receiver<Named>, body: Bytes, event: &EventRecord) {
    for attempt in 0.. {
        let Named { webhook, name } = settings.borrow_and_update().clone();
        let posted = timeout(webhook.delivery.timeout, post(&webhook, body.clone())).await;
        let (why, wait) = match posted {
            Ok(Ok(())) => return,
            Ok(Err(Failed::ForNow(why))) => (why, webhook.delivery.wait_after(attempt)),
            Ok(Err(Failed::ForGood(why))) => (why, None),
            Err(_elapsed) => ("no answer in time".to_owned(), webhook.delivery.wait_after(attempt)),
        };
        if !another_attempt(settings, wait).await {
            let attempts = attempt + 1;
            warn!(
                "webhook {name}: an event could not be posted ({attempts} attempts): {why}: {}",
                event.text
            );
            return;
        }
    }
}

/// Which of the webhooks before goes on as each of those that are wanted, and takes along what waits for it: the same one,
/// else one with its URL, else one on its server, else the one in its place, whose URL was corrected.
pub(super) fn successors(before: &[&Webhook], wanted: &[&Webhook]) -> Vec<Option<usize>> {
    type Alike = fn((usize, &Webhook), (usize, &Webhook)) -> bool;
    let likenesses: [Alike; 4] = [
        |one, other| one.1 == other.1,
        |one, other| server(one.1) == server(other.1) && one.1.path == other.1.path,
        |one, other| server(one.1) == server(other.1),
        |one, other| one.0 == other.0,
    ];
    let mut left: Vec<_> = before.iter().copied().enumerate().collect();
    let mut found = vec![None; wanted.len()];
    for alike in likenesses {
        for (webhook, known) in wanted.iter().copied().enumerate().zip(&mut found) {
            if known.is_none()
                && let Some(index) = left.iter().position(|old| alike(*old, webhook))
            {
                *known = Some(left.remove(index).0);
            }
        }
    }
    found
}

/// What webhooks are called in the log: by their servers, for a path is as secret as a query with many. Those that share
/// a server have their number in the configuration as well.
pub(super) fn names<'a>(webhooks: impl IntoIterator<Item = &'a Webhook>) -> Vec<String> {
    let servers: Vec<_> = webhooks.into_iter().map(server).collect();
    let named = servers.iter().enumerate().map(|(place, name)| {
        let others = servers.iter().filter(|other| *other == name).count() > 1;
        match others {
            true => format!("{name} (number {})", place + 1),
            false => name.clone(),
        }
    });
    named.collect()
}

fn server(webhook: &Webhook) -> String {
    let host = match webhook.host.contains(':') {
        true => format!("[{}]", webhook.host),
        false => webhook.host.clone(),
    };
    let scheme = if webhook.tls { "https" } else { "http" };
    format!("{scheme}://{host}:{}", webhook.port)
}

async fn post(webhook: &Webhook, body: Bytes) -> Result<(), Failed> {
    let for_now = |problem: std::io::Error| Failed::ForNow(problem.to_string());
    let addresses = lookup::addresses(&webhook.host, webhook.delivery.timeout).await;
    let addresses = addresses.map_err(Failed::ForNow)?;
    let sockets: Vec<_> = addresses
        .into_iter()
        .map(|address| SocketAddr::from((address, webhook.port)))
        .collect();
    let stream = TcpStream::connect(&*sockets).await.map_err(for_now)?;
    let request = request(webhook, body).map_err(|problem| Failed::ForGood(problem.to_string()))?;
    if !webhook.tls {
        return exchange(stream, request).await;
    }
    let config = tls_towards(&webhook.trust).await.map_err(Failed::ForNow)?;
    let name = ServerName::try_from(webhook.host.clone()).map_err(|problem| Failed::ForGood(problem.to_string()))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(for_now)?;
    exchange(stream, request).await
}

fn request(webhook: &Webhook, body: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let host = match webhook.host.contains(':') {
        true => format!("[{}]", webhook.host),
        false => webhook.host.clone(),
    };
    let usual = if webhook.tls { 443 } else { 80 };
    let host = match webhook.port == usual {
        true => host,
        false => format!("{host}:{}", webhook.port),
    };
    let mut request = Request::post(&webhook.path)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/json");
    let own_agent = |(name, _): &(String, String)| name.eq_ignore_ascii_case(USER_AGENT.as_str());
    if !webhook.headers.iter().any(own_agent) {
        request = request.header(USER_AGENT, concat!("ipvsd/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in &webhook.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(body))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(), Failed> {
    let for_now = |problem: hyper::Error| Failed::ForNow(problem.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(for_now)?;
    let mut answer = pin!(sender.send_request(request));
    // The connection moves only while somebody polls it.
    let mut connection = pin!(connection);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    };
    judge(answer.map_err(for_now)?.status())
}

/// What a status means: some say that another time may be better.
fn judge(status: StatusCode) -> Result<(), Failed> {
    let why = format!("the answer is {status}");
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failed::ForNow(why)),
        status if status.is_server_error() => Err(Failed::ForNow(why)),
        _ => Err(Failed::ForGood(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Delivery, Trust};

    #[test]
    fn a_status_says_whether_to_try_again() {
        for (status, ok, again) in [
            (200, true, false),
            (204, true, false),
            (301, false, false),
            (400, false, false),
            (404, false, false),
            (408, false, true),
            (429, false, true),
            (500, false, true),
            (503, false, true),
        ] {
            let judged = judge(StatusCode::from_u16(status).expect("a status"));
            assert_eq!(judged.is_ok(), ok, "{status}");
            assert_eq!(matches!(judged, Err(Failed::ForNow(_))), again, "{status}");
        }
    }

    fn webhook(host: &str, port: u16, tls: bool) -> Webhook {
        Webhook {
            tls,
            host: host.to_owned(),
            port,
            path: "/services/secret?key=secret".to_owned(),
            headers: vec![
                ("X-Key".to_owned(), "1".to_owned()),
                ("user-agent".to_owned(), "me".to_owned()),
            ],
            trust: Trust::System,
            kinds: Vec::new(),
            delivery: Delivery::default(),
        }
    }

    #[test]
    fn the_log_tells_webhooks_apart_without_what_may_be_secret() {
        let webhooks = [
            webhook("chat.example", 443, true),
            webhook("2001:db8::1", 8443, true),
            webhook("chat.example", 443, true),
            webhook("chat.example", 443, false),
        ];
        let wanted = [
            "https://chat.example:443 (number 1)",
            "https://[2001:db8::1]:8443",
            "https://chat.example:443 (number 3)",
            "http://chat.example:443",
        ];
        assert_eq!(names(&webhooks), wanted);
    }

    #[test]
    fn what_waits_goes_to_the_same_webhook_or_to_what_it_has_become() {
        let at = |host: &str, path: &str| Webhook {
            path: path.to_owned(),
            ..webhook(host, 443, true)
        };
        let (one, other, third) = (at("a.example", "/1"), at("a.example", "/2"), at("c.example", "/3"));
        let slower = Webhook {
            kinds: vec![crate::model::control::EventKind::Tier],
            ..one.clone()
        };
        let elsewhere = at("d.example", "/1");
        let new_secret = at("a.example", "/4");
        for (before, wanted, found) in [
            (vec![&one, &other, &third], vec![&third, &one], vec![Some(2), Some(0)]),
            (vec![&other, &one], vec![&slower, &other], vec![Some(1), Some(0)]),
            (vec![&third, &one], vec![&new_secret], vec![Some(1)]),
            (vec![&third, &one], vec![&third, &elsewhere], vec![Some(0), Some(1)]),
            (vec![&one], vec![&third, &one], vec![None, Some(0)]),
            (vec![&one, &one], vec![&one, &one, &one], vec![Some(0), Some(1), None]),
            (vec![], vec![&one], vec![None]),
        ] {
            assert_eq!(successors(&before, &wanted), found, "{wanted:?}");
        }
    }

    #[test]
    fn a_request_names_its_host_and_carries_the_headers() {
        for (host, port, tls, named) in [
            ("a.example", 80, false, "a.example"),
            ("a.example", 80, true, "a.example:80"),
            ("2001:db8::1", 443, true, "[2001:db8::1]"),
        ] {
            let webhook = webhook(host, port, tls);
            let request = request(&webhook, Bytes::new()).expect("a request");
            assert_eq!(request.headers()[HOST], named);
            assert_eq!(request.headers()[USER_AGENT], "me");
            assert_eq!(request.headers()["x-key"], "1");
        }
    }
}
