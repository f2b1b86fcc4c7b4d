//! The `dns`, `udp`, `smtp`, `ldap` and `grpc` types.

use hickory_proto::rr::Name;
use hyper::http::uri::Authority;

use super::super::reader::{Reader, shorten};
use super::super::scope::Scope;
use super::super::tree::Table;
use super::{bytes, database, optional, pattern, tls};
use crate::model::{Bytes, DnsProbe, GrpcProbe, LdapProbe, ProbeKind, ReplyTest, SmtpProbe, UdpProbe};

const DEFAULT_HELO: &str = "ipvsd.invalid";
/// Types of records, by their numbers (RFC 1035 and its successors).
const RECORD_TYPES: [(&str, u16); 13] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("RRSIG", 46),
    ("DNSKEY", 48),
    ("HTTPS", 65),
    ("ANY", 255),
];
const RCODES: [(&str, u16); 5] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("REFUSED", 5),
];
const TRANSPORTS: [(&str, bool); 2] = [("udp", false), ("tcp", true)];

pub(super) fn read_dns(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let [name, record_type, rcode, expect, transport] = reader.pick(table, Scope::DnsKeys);
    let record_type = optional(record_type, |item| reader.word(item, "record_type", &RECORD_TYPES));
    let rcode = optional(rcode, |item| reader.word(item, "rcode", &RCODES));
    let expect = optional(expect, |item| database::text(reader, item, "expect"));
    let tcp = optional(transport, |item| reader.word(item, "transport", &TRANSPORTS));
    let Some(item) = name else {
        reader.missing(at, "the check has no `name` to ask for", "write name = \"example.com\"");
        return None;
    };
    let name = reader.string(item, "name")?;
    if name.is_empty() || Name::from_ascii(name).is_err() {
        let problem = format!("`name` cannot be \"{}\"", shorten(name));
        reader.error(
            item.span().start,
            problem,
            "a domain name, such as \"example.com\" or \".\"",
        );
        return None;
    }
    Some(ProbeKind::Dns(DnsProbe {
        tcp: tcp?.unwrap_or(false),
        name: name.to_owned(),
        record_type: record_type?.unwrap_or(1),
        rcode: rcode?.unwrap_or(0),
        expect: expect?,
    }))
}

pub(super) fn read_udp(reader: &mut Reader, table: &Table<'_>) -> Option<ProbeKind> {
    let [send, send_hex, reply, expect, expect_hex, expect_regex] = reader.pick(table, Scope::UdpKeys);
    let payloads = [
        send.map(|item| bytes::text(reader, item, "send")),
        send_hex.map(|item| bytes::hex(reader, item, "send_hex")),
    ];
    let wanted = optional(reply, |item| reader.boolean(item, "reply"));
    let tests = [
        expect.map(|item| bytes::text(reader, item, "expect").map(ReplyTest::Contains)),
        expect_hex.map(|item| bytes::hex(reader, item, "expect_hex").map(ReplyTest::Contains)),
        expect_regex.map(|item| pattern(reader, item, "expect_regex").map(ReplyTest::Matches)),
    ];
    let twice = [
        (send, send_hex),
        (expect, expect_hex),
        (expect, expect_regex),
        (expect_hex, expect_regex),
    ];
    if let Some((_, item)) = twice.into_iter().find_map(|(one, other)| one.zip(other)) {
        let problem = "two keys say what is sent, or what is expected";
        reader.error(item.span().start, problem, "take one of them out");
        return None;
    }
    let test = match tests.into_iter().flatten().next() {
        Some(test) => Some(test?),
        None => None,
    };
    let payload = match payloads.into_iter().flatten().next() {
        Some(payload) => payload?,
        None => Bytes(Vec::new()),
    };
    let reply_test = match (wanted?, test) {
        (Some(false), Some(_)) => {
            let at = reply.map_or(0, |item| item.span().start);
            reader.error(at, "a reply is expected and not wanted", "take `reply` out");
            return None;
        }
        (_, Some(test)) => test,
        (Some(true), None) => ReplyTest::Anything,
        (Some(false) | None, None) => ReplyTest::Silence,
    };
    Some(ProbeKind::Udp(UdpProbe {
        payload,
        reply: reply_test,
    }))
}

pub(super) fn read_smtp(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let [helo, starttls] = reader.pick(table, Scope::SmtpKeys);
    let [switch] = reader.pick(table, Scope::TlsSwitch);
    let name = optional(helo, |item| {
        let name = database::text(reader, item, "helo")?;
        if name.contains(|letter: char| letter.is_whitespace() || letter.is_control() || !letter.is_ascii()) {
            let problem = format!("`helo` cannot be \"{}\"", shorten(&name));
            reader.error(item.span().start, problem, "a host name, or an address in brackets");
            return None;
        }
        Some(name)
    });
    let wanted = optional(starttls, |item| reader.boolean(item, "starttls"))?;
    let tls = match (wanted, switch) {
        (Some(true), Some(item)) => {
            reader.error(
                item.span().start,
                "`tls` stands beside `starttls`",
                "take one of them out",
            );
            return None;
        }
        (Some(true), None) => tls::read(reader, table, at, None).map(Some),
        (Some(false) | None, _) => tls::read_optional(reader, table, at, None),
    };
    Some(ProbeKind::Smtp(SmtpProbe {
        tls: tls?,
        starttls: wanted.unwrap_or(false),
        helo: name?.unwrap_or_else(|| DEFAULT_HELO.to_owned()),
    }))
}

pub(super) fn read_ldap(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let tls = tls::read_optional(reader, table, at, None);
    let login = database::read_login(reader, table);
    Some(ProbeKind::Ldap(LdapProbe {
        tls: tls?,
        login: login?,
    }))
}

pub(super) fn read_grpc(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let [service, host] = reader.pick(table, Scope::GrpcKeys);
    let service = optional(service, |item| database::text(reader, item, "service"));
    let host = optional(host, |item| {
        let host = reader.string(item, "host")?;
        if host.contains('@') || host.parse::<Authority>().is_err() {
            let problem = format!("`host` cannot be \"{}\"", shorten(host));
            reader.error(item.span().start, problem, "a host name, with :PORT where there is one");
            return None;
        }
        Some(host.to_owned())
    });
    let name = host.as_ref().and_then(Option::as_deref);
    let tls = tls::read_optional(reader, table, at, name);
    Some(ProbeKind::Grpc(GrpcProbe {
        tls: tls?,
        service: service?.unwrap_or_default(),
        host: host?,
    }))
}
