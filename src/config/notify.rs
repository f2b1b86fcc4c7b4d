//! `[notify]`: keepalived's FIFO, webhooks and mail.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use lettre::message::Mailbox;

use super::checks::optional;
use super::hints;
use super::probes::{is_host_name, read_path};
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::settings::SettingsSeen;
use super::tree::Table;
use crate::model::control::EventKind;
use crate::model::{Config, Delivery, Mail, MailTls, NotifySettings, Secret, Trust, Webhook};

/// What can be told of.
const EVENTS: [(&str, EventKind); 8] = [
    ("server", EventKind::Server),
    ("tier", EventKind::Tier),
    ("vrrp", EventKind::Vrrp),
    ("peer", EventKind::Peer),
    ("admin", EventKind::Admin),
    ("probe", EventKind::Probe),
    ("table", EventKind::Table),
    ("configuration", EventKind::Configuration),
];
const MAIL_TLS: [(&str, MailTls); 3] = [
    ("starttls", MailTls::StartTls),
    ("implicit", MailTls::Implicit),
    ("off", MailTls::Off),
];
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const MOST_RETRIES: u32 = 20;
const DEFAULT_GATHER: Duration = Duration::from_secs(5);
/// More would be a mailing list.
const MOST_RECIPIENTS: usize = 50;
/// Headers that the request writes itself.
const OWN_HEADERS: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "upgrade",
];

/// Reads `[notify]` of one file.
pub(super) fn read(reader: &mut Reader, seen: &mut SettingsSeen, item: &Item<'_>, config: &mut Config) {
    let Some(table) = reader.table(item, "notify") else {
        return;
    };
    let [fifo, webhook, mail] = reader.fields(table, Scope::Notify);
    if let Some(item) = fifo
        && let Some(path) = read_path(reader, item, "fifo")
        && seen.first(reader, item.span().start, "fifo")
    {
        config.notify.fifo = Some(path);
    }
    if let Some(item) = webhook {
        for element in reader.one_or_list(item) {
            if let Some(table) = reader.table(element, "webhook") {
                let read = read_webhook(reader, element.span().start, table);
                config.notify.webhooks.extend(read.map(Arc::new));
            }
        }
    }
    if let Some(item) = mail
        && let Some(table) = reader.table(item, "mail")
        && seen.first(reader, item.span().start, "mail")
    {
        config.notify.mail = read_mail(reader, item.span().start, table).map(Arc::new);
    }
}

fn read_webhook(reader: &mut Reader, at: usize, table: &Table<'_>) -> Option<Webhook> {
    let [url, headers, events, timeout, retries, retry_interval, verify, ca_file] =
        reader.fields(table, Scope::Webhook);
    let url_at = url.map_or(at, |item| item.span().start);
    let headers = optional(headers, |item| read_headers(reader, item));
    let kinds = read_events(reader, events);
    let delivery = read_delivery(reader, timeout, retries, retry_interval);
    let trust = read_trust(reader, verify, ca_file);
    let Some(url) = url else {
        let hint = "write url = \"https://hooks.example.net/ipvsd\"";
        reader.missing(at, "the webhook has no `url`", hint);
        return None;
    };
    let text = reader.string(url, "url")?;
    if text.contains('@') && split_url(text).is_none() {
        let hint = "write headers = { Authorization = \"Basic ...\" }";
        reader.error(url_at, "`url` cannot have a user or a password", hint);
        return None;
    }
    let Some((tls, host, port, path)) = split_url(text) else {
        let hint = "\"http://\" or \"https://\", a host, a path: \"https://hooks.example.net:8443/ipvsd\"";
        let shown = shorten(&without_path(text));
        reader.error(url_at, format!("`url` cannot be \"{shown}\""), hint);
        return None;
    };
    if !tls && let Some(item) = verify.or(ca_file) {
        let text = "`verify` and `ca_file` are for https";
        reader.error(item.span().start, text, "write https://, or take them out");
    }
    Some(Webhook {
        tls,
        host,
        port,
        path,
        headers: headers?.unwrap_or_default(),
        trust: trust?,
        kinds: kinds?,
        delivery: delivery?,
    })
}

/// A URL as far as it may be shown: what comes after the host is a secret with many.
fn without_path(text: &str) -> String {
    let host = text.find("://").map_or(0, |scheme| scheme + 3);
    let end = text[host..].find(['/', '?', '#']).map(|end| host + end + 1);
    match end.filter(|end| *end < text.len()) {
        Some(end) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether over TLS, the host without brackets, the port, the path with its query.
fn split_url(text: &str) -> Option<(bool, String, u16, String)> {
    let uri: Uri = text.parse().ok()?;
    let tls = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?;
    // What stands before an @ would be a password in clear text in every log.
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let after = authority
        .as_str()
        .rsplit_once(']')
        .map_or(authority.as_str(), |(_, after)| after);
    let port = match after.rsplit_once(':') {
        Some((_, port)) => port.parse().ok().filter(|port| *port != 0)?,
        None if tls => 443,
        None => 80,
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    is_host_name(host).then(|| (tls, host.to_owned(), port, path.to_owned()))
}

fn read_headers(reader: &mut Reader, item: &Item<'_>) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let errors = reader.ledger.errors();
    for (key, value) in reader.table(item, "headers")? {
        let (name, at): (&str, usize) = (key.get_ref(), key.span().start);
        let Some(value) = reader.string(value, name) else {
            continue;
        };
        if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            let text = format!("the header `{name}` is the request's own");
            reader.error(at, text, "take it out");
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
            let text = format!("`{}` cannot be a header", shorten(name));
            reader.error(at, text, "{ Authorization = \"Bearer ...\" }");
        } else {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    (reader.ledger.errors() == errors).then_some(headers)
}

fn read_mail(reader: &mut Reader, at: usize, table: &Table<'_>) -> Option<Mail> {
    let [
        server,
        port,
        tls,
        user,
        password,
        password_file,
        from,
        to,
        helo,
        gather,
        events,
        timeout,
        retries,
        retry_interval,
        verify,
        ca_file,
    ] = reader.fields(table, Scope::Mail);
    let errors = reader.ledger.errors();
    for (item, key, example) in [
        (server, "server", "server = \"mail.example.net\""),
        (from, "from", "from = \"ipvsd@example.net\""),
        (to, "to", "to = [\"operators@example.net\"]"),
    ] {
        if item.is_none() {
            reader.missing(at, format!("the mail has no `{key}`"), format!("write {example}"));
        }
    }
    let host = |reader: &mut Reader, item: &Item<'_>, key| {
        let text = reader.string(item, key)?;
        if !is_host_name(text) {
            let problem = format!("`{key}` cannot be \"{}\"", shorten(text));
            reader.error(item.span().start, problem, "a host name or an address, without a port");
            return None;
        }
        Some(text.to_owned())
    };
    let server = server.and_then(|item| host(reader, item, "server"));
    let helo = helo.and_then(|item| host(reader, item, "helo"));
    let tls_is_off = tls
        .and_then(|item| reader.word(item, "tls", &MAIL_TLS))
        .unwrap_or(MailTls::StartTls);
    let port = port
        .and_then(|item| reader.port(item, "port"))
        .unwrap_or(match tls_is_off {
            MailTls::StartTls => 587,
            MailTls::Implicit => 465,
            MailTls::Off => 25,
        });
    if tls_is_off == MailTls::Off {
        if let Some(item) = verify.or(ca_file) {
            let text = "`verify` and `ca_file` are for TLS";
            reader.error(item.span().start, text, "take tls = \"off\" out, or take them out");
        }
        if let Some(item) = user {
            let hint = "take tls = \"off\" out";
            reader.warning(item.span().start, "the password is sent in clear text", hint);
        }
    }
    let login = read_login(reader, user, password, password_file);
    let from = from.and_then(|item| read_mailbox(reader, item, "from"));
    let mut recipients = Vec::new();
    if let Some(item) = to {
        let elements = reader.one_or_list(item);
        let mut count = 0;
        for element in elements {
            count += 1;
            recipients.extend(read_mailbox(reader, element, "to"));
        }
        if !(1..=MOST_RECIPIENTS).contains(&count) {
            let text = format!("`to` has {count} addresses");
            reader.error(item.span().start, text, format!("1 to {MOST_RECIPIENTS}"));
        }
    }
    let gather = gather.and_then(|item| reader.duration(item, "gather", Duration::ZERO..=LONGEST_WAIT));
    let kinds = read_events(reader, events);
    let delivery = read_delivery(reader, timeout, retries, retry_interval);
    let trust = read_trust(reader, verify, ca_file);
    if reader.ledger.errors() != errors {
        return None;
    }
    Some(Mail {
        server: server?,
        port,
        tls: tls_is_off,
        trust: trust?,
        login: login?,
        helo,
        from: from?,
        to: recipients,
        gather: gather.unwrap_or(DEFAULT_GATHER),
        kinds: kinds?,
        delivery: delivery?,
    })
}

fn read_mailbox(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<String> {
    let text = reader.string(item, key)?;
    if text.parse::<Mailbox>().is_err() {
        let problem = format!("`{key}` cannot be \"{}\"", shorten(text));
        let hint = "an address: \"ipvsd@example.net\" or \"Directors <ipvsd@example.net>\"";
        reader.error(item.span().start, problem, hint);
        return None;
    }
    Some(text.to_owned())
}

#[expect(clippy::option_option, reason = "the outer one says whether it can be used")]
fn read_login(
    reader: &mut Reader,
    user: Option<&Item<'_>>,
    password: Option<&Item<'_>>,
    file: Option<&Item<'_>>,
) -> Option<Option<(String, Secret)>> {
    let name = optional(user, |item| reader.string(item, "user").map(str::to_owned))?;
    let text = optional(password, |item| reader.string(item, "password").map(str::to_owned))?;
    let path = optional(file, |item| read_path(reader, item, "password_file"))?;
    let at = |item: Option<&Item<'_>>| item.map_or(0, |item| item.span().start);
    match (name, text, path) {
        (None, None, None) => Some(None),
        (Some(name), Some(text), None) => Some(Some((name, Secret::Text(text)))),
        (Some(name), None, Some(path)) => Some(Some((name, Secret::File(path)))),
        (_, Some(_), Some(_)) => {
            let text = "`password` and `password_file` are both there";
            reader.error(at(file), text, "take one of them out");
            None
        }
        (Some(_), None, None) => {
            reader.missing(at(user), "there is a user and no password", "add `password_file`");
            None
        }
        (None, _, _) => {
            reader.missing(at(password.or(file)), "there is a password and no user", "add `user`");
            None
        }
    }
}

fn read_events(reader: &mut Reader, item: Option<&Item<'_>>) -> Option<Vec<EventKind>> {
    let Some(item) = item else {
        return Some(NotifySettings::USUAL.to_vec());
    };
    let errors = reader.ledger.errors();
    let mut kinds = Vec::new();
    for element in reader.one_or_list(item) {
        if let Some(text) = reader.string(element, "events") {
            match EVENTS.iter().find(|(word, _)| *word == text) {
                Some((_, kind)) => kinds.push(*kind),
                None => {
                    let hint = match text {
                        // A quorum is a matter of the tier that serves.
                        "quorum" => "here it is \"tier\"".to_owned(),
                        _ => hints::unknown_word(text, &EVENTS.map(|(word, _)| word)),
                    };
                    let problem = format!("`events` cannot be \"{}\"", shorten(text));
                    reader.error(element.span().start, problem, hint);
                }
            }
        }
    }
    (reader.ledger.errors() == errors).then_some(kinds)
}

fn read_delivery(
    reader: &mut Reader,
    timeout: Option<&Item<'_>>,
    retries: Option<&Item<'_>>,
    retry_interval: Option<&Item<'_>>,
) -> Option<Delivery> {
    let usual = Delivery::default();
    let timeout = optional(timeout, |item| {
        reader.duration(item, "timeout", SHORTEST..=LONGEST_ATTEMPT)
    });
    let retries = optional(retries, |item| reader.number(item, "retries", 0..=MOST_RETRIES));
    let wait = optional(retry_interval, |item| {
        reader.duration(item, "retry_interval", SHORTEST..=LONGEST_WAIT)
    });
    Some(Delivery {
        timeout: timeout?.unwrap_or(usual.timeout),
        retries: retries?.unwrap_or(usual.retries),
        retry_interval: wait?.unwrap_or(usual.retry_interval),
    })
}

fn read_trust(reader: &mut Reader, verify: Option<&Item<'_>>, ca_file: Option<&Item<'_>>) -> Option<Trust> {
    let verified = optional(verify, |item| reader.boolean(item, "verify"));
    let file: Option<Option<PathBuf>> = optional(ca_file, |item| read_path(reader, item, "ca_file"));
    match (verified?.unwrap_or(true), file?) {
        (true, None) => Some(Trust::System),
        (true, Some(file)) => Some(Trust::File(file)),
        (false, None) => Some(Trust::Anybody),
        (false, Some(_)) => {
            let at = ca_file.map_or(0, |item| item.span().start);
            reader.error(at, "`ca_file` stands beside `verify = false`", "take one of them out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let good = [
            ("http://192.0.2.1", (false, "192.0.2.1", 80, "/")),
            (
                "https://hooks.example.net/a?b=c",
                (true, "hooks.example.net", 443, "/a?b=c"),
            ),
            ("http://[2001:db8::1]:8080/", (false, "2001:db8::1", 8080, "/")),
            ("https://[2001:db8::1]/x", (true, "2001:db8::1", 443, "/x")),
        ];
        for (text, (tls, host, port, path)) in good {
            let wanted = (tls, host.to_owned(), port, path.to_owned());
            assert_eq!(split_url(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "/hook",
            "hooks.example.net/hook",
            "ftp://hooks.example.net/",
            "https://user:secret@hooks.example.net/",
            "http://hooks.example.net:0/",
            "http://hooks.example.net:99999/",
            "http://a b/",
        ] {
            assert_eq!(split_url(text), None, "{text}");
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (text, shown) in [
            ("htps://chat.example/services/secret", "htps://chat.example/..."),
            ("chat.example/services/secret", "chat.example/..."),
            ("https:/chat.example/secret", "https:/..."),
            ("ftp://chat.example?secret", "ftp://chat.example?..."),
            ("ftp://chat.example/", "ftp://chat.example/"),
            ("ä", "ä"),
        ] {
            assert_eq!(without_path(text), shown);
        }
    }
}
