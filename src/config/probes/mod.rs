//! What a check of each type tries: one file a family of types.

mod bytes;
mod database;
mod http;
mod local;
mod network;
mod talk;
mod tls;

use std::path::PathBuf;
pub(super) use tls::is_name as is_host_name;

use super::checks::optional;
use super::hints::unknown_word;
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::tree::Table;
use crate::model::{AgentProbe, Pattern, ProbeKind, ProbeType, TlsProbe};

/// Reads what a check tries, by its `type`; keys that neither checks nor this type have are problems.
pub(super) fn read(reader: &mut Reader, table: &Table<'_>, probe_type: &Item<'_>) -> Option<ProbeKind> {
    let Some(found) = read_type(reader, probe_type) else {
        reader.report_unknown(table, &any_scope());
        return None;
    };
    let at = probe_type.span().start;
    let mut scopes = vec![Scope::Check];
    scopes.extend(groups(found));
    scopes.push(Scope::Probe(found));
    reader.report_unknown(table, &scopes);
    match found {
        ProbeType::Tcp => talk::read(reader, table).map(ProbeKind::Tcp),
        ProbeType::Tls => {
            let steps = talk::read(reader, table);
            let settings = tls::read(reader, table, at, None);
            Some(ProbeKind::Tls(TlsProbe {
                tls: settings?,
                steps: steps?,
            }))
        }
        ProbeType::Http => http::read(reader, table, None),
        ProbeType::Https => http::read(reader, table, Some(at)),
        ProbeType::Script => local::read_script(reader, table, at),
        ProbeType::File => local::read_file(reader, table, at),
        ProbeType::Mysql => database::read_mysql(reader, table, at),
        ProbeType::Postgresql => database::read_postgresql(reader, table, at),
        ProbeType::Redis => database::read_redis(reader, table, at),
        ProbeType::Dns => network::read_dns(reader, table, at),
        ProbeType::Udp => network::read_udp(reader, table),
        ProbeType::Ping => Some(ProbeKind::Ping),
        ProbeType::Smtp => network::read_smtp(reader, table, at),
        ProbeType::Ldap => network::read_ldap(reader, table, at),
        ProbeType::Grpc => network::read_grpc(reader, table, at),
        ProbeType::Agent => {
            let [send] = reader.pick(table, Scope::AgentKeys);
            let send = optional(send, |item| bytes::text(reader, item, "send"))?;
            Some(ProbeKind::Agent(AgentProbe { send }))
        }
    }
}

/// The groups of keys that a type has beside those of every check.
fn groups(probe_type: ProbeType) -> &'static [Scope] {
    match probe_type {
        ProbeType::Tcp => &[Scope::TalkKeys],
        ProbeType::Tls => &[Scope::TlsKeys, Scope::TalkKeys],
        ProbeType::Http => &[Scope::HttpKeys],
        ProbeType::Https => &[Scope::HttpKeys, Scope::TlsKeys],
        ProbeType::Script => &[Scope::ScriptKeys],
        ProbeType::File => &[Scope::FileKeys],
        ProbeType::Mysql => &[
            Scope::LoginKeys,
            Scope::SqlKeys,
            Scope::MysqlKeys,
            Scope::TlsSwitch,
            Scope::TlsKeys,
        ],
        ProbeType::Postgresql => &[Scope::LoginKeys, Scope::SqlKeys, Scope::TlsSwitch, Scope::TlsKeys],
        ProbeType::Redis => &[Scope::LoginKeys, Scope::RedisKeys, Scope::TlsSwitch, Scope::TlsKeys],
        ProbeType::Dns => &[Scope::DnsKeys],
        ProbeType::Udp => &[Scope::UdpKeys],
        ProbeType::Ping => &[],
        ProbeType::Smtp => &[Scope::SmtpKeys, Scope::TlsSwitch, Scope::TlsKeys],
        ProbeType::Ldap => &[Scope::LoginKeys, Scope::TlsSwitch, Scope::TlsKeys],
        ProbeType::Grpc => &[Scope::GrpcKeys, Scope::TlsSwitch, Scope::TlsKeys],
        ProbeType::Agent => &[Scope::AgentKeys],
    }
}

/// The keys of all types: what may stand in a check whose type is not known.
pub(super) fn any_scope() -> Vec<Scope> {
    let groups = ProbeType::ALL.into_iter().flat_map(groups).copied();
    groups.chain([Scope::Check]).collect()
}

fn read_type(reader: &mut Reader, item: &Item<'_>) -> Option<ProbeType> {
    let word = reader.string(item, "type")?;
    let found = ProbeType::ALL.into_iter().find(|known| known.name() == word);
    if found.is_none() {
        let known: Vec<_> = ProbeType::ALL.into_iter().map(ProbeType::name).collect();
        reader.error(
            item.span().start,
            format!("`type` cannot be \"{}\"", shorten(word)),
            unknown_word(word, &known),
        );
    }
    found
}

/// A regular expression.
fn pattern(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<Pattern> {
    let text = reader.string(item, key)?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            reader.error(
                item.span().start,
                format!("`{key}` is no regular expression: {why}"),
                "in single quotes a backslash stays a backslash: '^220 \\S+'",
            );
            None
        }
    }
}

/// The path of a file, absolute: the daemon's working directory is no place to look from.
/// An absolute path.
pub(super) fn read_path(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<PathBuf> {
    path(reader, item, key)
}

fn path(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<PathBuf> {
    let text = reader.string(item, key)?;
    if !text.starts_with('/') || text.contains('\0') {
        reader.error(
            item.span().start,
            format!("`{key}` cannot be \"{}\"", shorten(text)),
            "an absolute path: \"/etc/ipvsd/ca.pem\"",
        );
        return None;
    }
    Some(text.into())
}
