//! The `http` and `https` types.

use std::ops::RangeInclusive;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery};

use super::super::reader::{Item, Reader, kind, shorten};
use super::super::scope::Scope;
use super::super::tree::{Table, Value};
use super::{bytes, optional, pattern, tls};
use crate::model::{BodyTest, HttpProbe, HttpVersion, ProbeKind};

const DEFAULT_BODY_LIMIT: u32 = 64 * 1024;
const MOST_BODY: u32 = 16 * 1024 * 1024;
const VERSIONS: [(&str, HttpVersion); 2] = [("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)];
/// What OPTIONS asks about where it is about no page (RFC 9112, 3.2.4).
const WHOLE_SERVER: &str = "*";
/// Headers that say how a message is framed and where it goes; the probe writes them itself.
const OWN_HEADERS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];

/// Reads a check; `tls_at` is where the type stands that says `https`.
pub(super) fn read(reader: &mut Reader, table: &Table<'_>, tls_at: Option<usize>) -> Option<ProbeKind> {
    let [
        version,
        method,
        path,
        host,
        headers,
        status,
        drain_status,
        send,
        expect,
        expect_regex,
        reject_regex,
        expect_sha256,
        body_limit,
    ] = reader.pick(table, Scope::HttpKeys);
    let version = optional(version, |item| reader.word(item, "http_version", &VERSIONS));
    let written = method.is_some();
    let method_at = method.map_or(0, |item| item.span().start);
    let method = text(
        reader,
        method,
        "method",
        "a method such as \"GET\" or \"HEAD\"",
        |text| Method::from_bytes(text.as_bytes()).is_ok() && text != "CONNECT",
    );
    let path_at = path.map_or(0, |item| item.span().start);
    let path = text(reader, path, "path", "from the slash on: \"/health?full=1\"", |text| {
        text == WHOLE_SERVER || (text.starts_with('/') && text.parse::<PathAndQuery>().is_ok())
    });
    let host = text(
        reader,
        host,
        "host",
        "a host name, with :PORT where there is one",
        |text| !text.contains('@') && text.parse::<Authority>().is_ok(),
    );
    let headers = optional(headers, |item| read_headers(reader, item));
    let status = optional(status, |item| read_statuses(reader, item, "status"));
    let drain_status = optional(drain_status, |item| read_statuses(reader, item, "drain_status"));
    let body = optional(send, |item| bytes::text(reader, item, "send"));
    let tests = [
        expect.map(|item| bytes::text(reader, item, "expect").map(BodyTest::Contains)),
        expect_regex.map(|item| pattern(reader, item, "expect_regex").map(BodyTest::Matches)),
        reject_regex.map(|item| pattern(reader, item, "reject_regex").map(BodyTest::MatchesNot)),
        expect_sha256.map(|item| read_digest(reader, item).map(BodyTest::Sha256)),
    ];
    let limit_range = 1..=MOST_BODY;
    let body_limit = optional(body_limit, |item| reader.number(item, "body_limit", limit_range));
    let tls = match tls_at {
        Some(at) => tls::read(reader, table, at, host.as_ref().and_then(Option::as_deref)).map(Some),
        None => Some(None),
    };
    let mut tests = tests.into_iter().flatten();
    let test = tests.next();
    if let (Some(_), Some(item)) = (
        tests.next(),
        [expect_sha256, reject_regex, expect_regex].into_iter().flatten().next(),
    ) {
        reader.error(
            item.span().start,
            "the body is tested in several ways",
            "one of expect, expect_regex, reject_regex, expect_sha256; a second check of the same page can test another",
        );
        return None;
    }
    let test = match test {
        Some(test) => Some(test?),
        None => None,
    };
    let method = method?.unwrap_or_else(|| "GET".to_owned());
    if method == "HEAD" && test.is_some() && written {
        reader.error(
            method_at,
            "an answer to HEAD has no body to test",
            "write method = \"GET\"",
        );
        return None;
    }
    let version = version?.unwrap_or(HttpVersion::Http1);
    let path = path?.unwrap_or_else(|| "/".to_owned());
    if path == WHOLE_SERVER && (method != "OPTIONS" || version == HttpVersion::Http2) {
        let problem = "`path = \"*\"` goes with method = \"OPTIONS\" and HTTP/1.1 only";
        reader.error(path_at, problem, "write path = \"/\"");
        return None;
    }
    let limit = body_limit?.unwrap_or(DEFAULT_BODY_LIMIT);
    Some(ProbeKind::Http(HttpProbe {
        tls: tls?,
        version,
        method,
        path,
        host: host?,
        headers: headers?.unwrap_or_default(),
        body: body?,
        status: status?.unwrap_or_else(|| vec![200..=299]),
        drain_status: drain_status?.unwrap_or_default(),
        expect: test,
        body_limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }))
}

/// A text that has to be of some form; the outer `None` where it is not.
fn text(
    reader: &mut Reader,
    item: Option<&Item<'_>>,
    key: &str,
    hint: &str,
    fits: impl FnOnce(&str) -> bool,
) -> Option<Option<String>> {
    optional(item, |item| {
        let text = reader.string(item, key)?;
        if !fits(text) {
            let problem = format!("`{key}` cannot be \"{}\"", shorten(text));
            reader.error(item.span().start, problem, hint);
            return None;
        }
        Some(text.to_owned())
    })
}

fn read_headers(reader: &mut Reader, item: &Item<'_>) -> Option<Vec<(String, String)>> {
    let table = reader.table(item, "headers")?;
    let mut headers = Vec::new();
    let mut good = true;
    for (key, value) in table {
        let name: &str = key.get_ref();
        let at = key.span().start;
        let Some(value) = reader.string(value, name) else {
            good = false;
            continue;
        };
        if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            reader.error(
                at,
                format!("the header `{name}` is the probe's own"),
                "`host` and `send` say what it is",
            );
            good = false;
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            reader.error(
                at,
                format!("`{}` cannot be a header", shorten(name)),
                "{ Accept = \"text/html\" }",
            );
            good = false;
        } else {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    good.then_some(headers)
}

fn read_statuses(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let mut statuses = Vec::new();
    let mut good = true;
    for element in reader.one_or_list(item) {
        let range = match element.get_ref() {
            Value::Integer(_) => reader
                .number(element, key, 100..=599)
                .map(|status| Some((status, status))),
            Value::String(text) => Some(status_range(text)),
            other => {
                let problem = format!("`{key}` takes numbers and ranges, not {}", kind(other));
                reader.error(element.span().start, problem, "[200, \"300-399\"]");
                None
            }
        };
        let range = match range {
            Some(None) => {
                reader.error(
                    element.span().start,
                    format!("`{key}` has a range that cannot be"),
                    "from 100 to 599: \"200-299\"",
                );
                None
            }
            Some(Some((first, last))) => u16::try_from(first).ok().zip(u16::try_from(last).ok()),
            None => None,
        };
        match range {
            Some((first, last)) => statuses.push(first..=last),
            None => good = false,
        }
    }
    if good && statuses.is_empty() {
        reader.error(
            item.span().start,
            format!("`{key}` has no status"),
            "[200, \"300-399\"]",
        );
        return None;
    }
    good.then_some(statuses)
}

fn status_range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|number| (100..=599).contains(number));
    number(first).zip(number(last)).filter(|(first, last)| first <= last)
}

fn read_digest(reader: &mut Reader, item: &Item<'_>) -> Option<[u8; 32]> {
    let text = reader.string(item, "expect_sha256")?;
    let digest = bytes::unhex(text)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if digest.is_none() {
        reader.error(
            item.span().start,
            "`expect_sha256` is no SHA-256 digest",
            "64 hexadecimal digits, as sha256sum(1) prints them",
        );
    }
    digest
}
