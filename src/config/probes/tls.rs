//! Keys of checks over TLS.

use std::net::IpAddr;
use std::time::Duration;

use super::super::reader::{Reader, shorten};
use super::super::scope::Scope;
use super::super::tree::Table;
use super::{optional, path};
use crate::model::{TlsSettings, Trust};

const DAY: Duration = Duration::from_secs(86_400);
const DEFAULT_WARNING: Duration = Duration::from_secs(14 * 86_400);
const LONGEST_WARNING: Duration = Duration::from_secs(3_650 * 86_400);

/// Reads the keys; `at` is where the check's type stands, `host` the name that an HTTP check has for the server.
pub(super) fn read(reader: &mut Reader, table: &Table<'_>, at: usize, host: Option<&str>) -> Option<TlsSettings> {
    let [server_name, verify, ca_file, expiry_warning, certificate, key] = reader.pick(table, Scope::TlsKeys);
    let name_is_written = server_name.is_some();
    let server_name = optional(server_name, |item| {
        let name = reader.string(item, "server_name")?;
        if !is_name(name) {
            reader.error(
                item.span().start,
                format!("`server_name` cannot be \"{}\"", shorten(name)),
                "a host name or an address, without a port",
            );
            return None;
        }
        Some(name.to_owned())
    });
    let verified = optional(verify, |item| reader.boolean(item, "verify"));
    let ca = optional(ca_file, |item| path(reader, item, "ca_file"));
    let expiry_warning = optional(expiry_warning, |item| {
        reader.duration(item, "expiry_warning", DAY..=LONGEST_WARNING)
    });
    let certificate_path = optional(certificate, |item| path(reader, item, "client_certificate"));
    let key_path = optional(key, |item| path(reader, item, "client_key"));
    if let (Some(item), None) | (None, Some(item)) = (certificate, key) {
        reader.error(
            item.span().start,
            "`client_certificate` and `client_key` go together",
            "add the other one",
        );
        return None;
    }
    let host = host.map(without_port).filter(|host| is_name(host)).map(str::to_owned);
    let server_name = server_name?.or(host);
    let trust = match (verified?.unwrap_or(true), ca?) {
        (true, None) => Trust::System,
        (true, Some(file)) => Trust::File(file),
        (false, None) => Trust::Anybody,
        (false, Some(_)) => {
            let at = ca_file.map_or(at, |item| item.span().start);
            reader.error(at, "`ca_file` stands beside `verify = false`", "take one of them out");
            return None;
        }
    };
    if trust != Trust::Anybody && server_name.is_none() && !name_is_written {
        reader.missing(
            at,
            "nobody says which name the server's certificate has to be for",
            "add server_name = \"www.example.com\", or verify = false",
        );
        return None;
    }
    Some(TlsSettings {
        server_name,
        trust,
        expiry_warning: expiry_warning?.unwrap_or(DEFAULT_WARNING),
        client: certificate_path?.zip(key_path?),
    })
}

/// Reads the keys of a check that uses TLS only where `tls = true` says so.
pub(super) fn read_optional(
    reader: &mut Reader,
    table: &Table<'_>,
    at: usize,
    host: Option<&str>,
) -> Option<Option<TlsSettings>> {
    let [switch] = reader.pick(table, Scope::TlsSwitch);
    let wanted = optional(switch, |item| reader.boolean(item, "tls"))?;
    if wanted == Some(true) {
        return read(reader, table, at, host).map(Some);
    }
    let written: [Option<_>; 6] = reader.pick(table, Scope::TlsKeys);
    if let Some((key, item)) = Scope::TlsKeys
        .keys()
        .iter()
        .zip(written)
        .find_map(|(key, item)| Some((key, item?)))
    {
        reader.error(
            item.span().start,
            format!("`{key}` has no effect without TLS"),
            "add tls = true",
        );
        return None;
    }
    Some(None)
}

/// Whether a text is a host name as DNS has them, or an address.
pub(in super::super) fn is_name(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            }))
}

/// The host of a `Host` header.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}
