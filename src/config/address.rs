//! Addresses as a configuration writes them: service addresses with ranges, and real servers with or without a port.
//!
//! Text in, addresses or a reason out; names are never looked up.

use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{Protocol, ServiceKey, plain_socket};

/// The most services that one virtual server may write out.
pub(super) const MOST_SERVICES: u64 = 65_536;

/// Why an address cannot be used, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) text: String,
    pub(super) hint: String,
}

impl Unusable {
    fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: hint.into(),
        }
    }
}

/// One or more service addresses in a row with one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServiceRange {
    pub(super) first: IpAddr,
    /// How many addresses, at least 1.
    pub(super) count: u64,
    pub(super) port: u16,
}

impl ServiceRange {
    /// The services of the range, in the order of their addresses.
    pub(super) fn services(self, protocol: Protocol) -> impl Iterator<Item = ServiceKey> {
        (0..self.count).map(move |step| ServiceKey::Address {
            protocol,
            address: match self.first {
                IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(step as u32)).into(),
                IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().wrapping_add(u128::from(step))).into(),
            },
            port: self.port,
        })
    }
}

/// Reads a service address: `192.0.2.200:80`, `192.0.2.200-210:80`, `[2001:db8::1-f]:80`.
pub(super) fn service(text: &str) -> Result<ServiceRange, Unusable> {
    let range = match socket(text) {
        Ok(socket) if is_plain(&socket) => ServiceRange {
            first: socket.ip(),
            count: 1,
            port: socket.port(),
        },
        Ok(_) => return Err(scoped(text)),
        Err(_) => {
            let (host, port) = split(text)?;
            let Some(port) = port else {
                range(host, text)?;
                return Err(Unusable::new(
                    format!("`{text}` has no port"),
                    format!("write \"{}\"", with_port(host)),
                ));
            };
            let (first, count) = range(host, text)?;
            ServiceRange { first, count, port }
        }
    };
    let last = match range.first {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(
            first.to_bits().saturating_add((range.count - 1) as u32),
        )),
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(
            first.to_bits().saturating_add(u128::from(range.count - 1)),
        )),
    };
    for address in [range.first, last] {
        if let Some(kind) = not_unicast(address) {
            return Err(Unusable::new(
                format!("`{text}` cannot be served: {address} is {kind}"),
                "a virtual address is one unicast address of this host",
            ));
        }
    }
    Ok(range)
}

/// Reads a real server's address with or without a port: `192.0.2.11:80`, `192.0.2.11`, `[2001:db8::11]:80`.
pub(super) fn real_server(text: &str) -> Result<(IpAddr, Option<u16>), Unusable> {
    let (address, port) = match socket(text) {
        Ok(socket) if is_plain(&socket) => (socket.ip(), Some(socket.port())),
        Ok(_) => return Err(scoped(text)),
        Err(_) => {
            let (host, port) = split(text)?;
            (single(host, text)?, port)
        }
    };
    let kind = not_unicast(address).or(match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    });
    match kind {
        Some(kind) => Err(Unusable::new(
            format!("`{text}` cannot be a real server: {address} is {kind}"),
            "the kernel takes unicast addresses only",
        )),
        None => Ok((address, port)),
    }
}

/// Neither a scope (`fe80::1%2`) nor flow information.
fn socket(text: &str) -> Result<SocketAddr, AddrParseError> {
    plain_socket(text).map_or_else(|| text.parse(), |socket| Ok(socket.into()))
}

fn is_plain(socket: &SocketAddr) -> bool {
    match socket {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(socket) => socket.scope_id() == 0,
    }
}

fn scoped(text: &str) -> Unusable {
    Unusable::new(
        format!("`{text}` names an interface"),
        "the kernel balances global addresses only",
    )
}

/// Why an address is no single host's, where it is not.
fn not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(address) if address.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Some("an IPv4 address in IPv6 clothes"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The host part and the port of an address that is not a plain `address:port`.
fn split(text: &str) -> Result<(&str, Option<u16>), Unusable> {
    if text.contains(char::is_whitespace) {
        let mut words = text.split_whitespace();
        let hint = match (words.next(), words.next(), words.next()) {
            (Some(host), Some(port), None) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("write \"{}\"", joined(host, port))
            }
            _ => "write \"192.0.2.11:80\" or \"[2001:db8::11]:80\"".to_owned(),
        };
        return Err(Unusable::new(format!("`{text}` has a space in it"), hint));
    }
    if let Some(inside) = text.strip_prefix('[') {
        let Some((host, rest)) = inside.split_once(']') else {
            return Err(Unusable::new(
                format!("`{text}` has no closing `]`"),
                "write \"[2001:db8::11]:80\"",
            ));
        };
        return match rest.strip_prefix(':') {
            Some(number) => Ok((host, Some(port(number, text)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(Unusable::new(
                format!("`{text}` is no address and port"),
                "write \"[2001:db8::11]:80\"",
            )),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, number)) => Ok((host, Some(port(number, text)?))),
    }
}

fn port(number: &str, text: &str) -> Result<u16, Unusable> {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse() {
        Ok(port) if digits => Ok(port),
        _ if number.contains('-') => Err(Unusable::new(
            format!("`{text}` has a range of ports"),
            "list the ports as addresses of their own, or use port 0 with persistence_timeout, or a fwmark",
        )),
        _ => Err(Unusable::new(
            format!("`{number}` in `{text}` is no port"),
            "a number from 0 to 65535; service names are not looked up",
        )),
    }
}

fn single(host: &str, text: &str) -> Result<IpAddr, Unusable> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    if range(host, text).is_ok_and(|(_, count)| count > 1) {
        return Err(Unusable::new(
            format!("`{text}` is a range of addresses"),
            "write one [[virtual_server.real_server]] each",
        ));
    }
    Err(no_address(host, text))
}

fn no_address(host: &str, text: &str) -> Unusable {
    if host.contains('/') {
        return Unusable::new(
            format!("`{text}` has a prefix length"),
            "write single addresses, or a range: \"192.0.2.200-210:80\"",
        );
    }
    let looks_like_a_name = host.contains(|letter: char| letter.is_ascii_alphabetic()) && !host.contains(':');
    match looks_like_a_name {
        true => Unusable::new(
            format!("`{host}` is no address"),
            "names are not looked up: write the address itself",
        ),
        false => Unusable::new(
            format!("`{text}` is no address"),
            "write \"192.0.2.11:80\" or \"[2001:db8::11]:80\"",
        ),
    }
}

/// One address, or a range by its last octet, last group or full end address, as first address and count.
fn range(host: &str, text: &str) -> Result<(IpAddr, u64), Unusable> {
    if let Ok(address) = host.parse() {
        return Ok((address, 1));
    }
    let Some((first, last)) = host.split_once('-') else {
        return Err(no_address(host, text));
    };
    let Ok(first) = first.parse::<IpAddr>() else {
        return Err(no_address(first, text));
    };
    let last = match (first, last.parse::<IpAddr>()) {
        (IpAddr::V4(_), Ok(last @ IpAddr::V4(_))) | (IpAddr::V6(_), Ok(last @ IpAddr::V6(_))) => Some(last),
        (_, Ok(_)) => None,
        (IpAddr::V4(first), Err(_)) => last.parse::<u8>().ok().map(|octet| {
            let [a, b, c, _] = first.octets();
            Ipv4Addr::new(a, b, c, octet).into()
        }),
        (IpAddr::V6(first), Err(_)) => u16::from_str_radix(last, 16).ok().map(|group| {
            let [a, b, c, d, e, f, g, _] = first.segments();
            Ipv6Addr::new(a, b, c, d, e, f, g, group).into()
        }),
    };
    let Some(last) = last else {
        return Err(Unusable::new(
            format!("`{text}` has no end of its range that fits its start"),
            "write \"192.0.2.200-210:80\", \"192.0.2.200-192.0.3.20:80\" or \"[2001:db8::1-f]:80\"",
        ));
    };
    let distance = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => last.to_bits().checked_sub(first.to_bits()).map(u128::from),
        (IpAddr::V6(first), IpAddr::V6(last)) => last.to_bits().checked_sub(first.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    };
    match distance {
        None => Err(Unusable::new(
            format!("the range in `{text}` ends before it starts"),
            format!("did you mean {last}-{first}?"),
        )),
        Some(distance) if distance >= u128::from(MOST_SERVICES) => Err(Unusable::new(
            format!("`{text}` is a range of more than {MOST_SERVICES} addresses"),
            "use a firewall mark for so many: fwmark = 1",
        )),
        Some(distance) => Ok((first, distance as u64 + 1)),
    }
}

/// The host with port 80, as an example that can be copied.
fn with_port(host: &str) -> String {
    joined(host, "80")
}

fn joined(host: &str, port: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
