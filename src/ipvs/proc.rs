//! The lines of `/proc/net/ip_vs`: the plain listing's columns at a fraction of a dump's cost.
//!
//! Pure and total: a line that is not understood is passed over, and with it the service it belongs to, so that the
//! caller reads that one by netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{
    DestinationKey, DestinationSpec, Forwarding, ListedDestination, Protocol, ServiceKey, Statistics, Tunnel,
};

/// The destinations of every service with an address, in the order of the file.
///
/// Firewall-mark services are left out, for their family is not in the file. Thresholds, tunnel options, persistent
/// connections and traffic are not either; they are zero (ipip) in the result.
pub fn destinations(text: &[u8]) -> Vec<(ServiceKey, Vec<ListedDestination>)> {
    let mut services: Vec<(ServiceKey, Vec<ListedDestination>)> = Vec::new();
    let mut inside = false;
    // Version, and two lines of titles.
    for line in text.split(|byte| *byte == b'\n').skip(3) {
        if line.is_empty() {
            continue;
        }
        if let Some(rest) = line.strip_prefix(b"  -> ") {
            if !inside {
                continue;
            }
            match (destination(rest), services.last_mut()) {
                (Some(found), Some((_, list))) => list.push(found),
                // Not understood: the whole service is left to the caller.
                _ => {
                    services.pop();
                    inside = false;
                }
            }
        } else {
            let key = service(line);
            inside = key.is_some();
            services.extend(key.map(|key| (key, Vec::new())));
        }
    }
    services
}

fn service(line: &[u8]) -> Option<ServiceKey> {
    let mut words = words(line);
    let protocol = match words.next()? {
        b"TCP" => Protocol::Tcp,
        b"UDP" => Protocol::Udp,
        b"SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let (address, port) = socket_address(words.next()?)?;
    Some(ServiceKey::Address {
        protocol,
        address,
        port,
    })
}

fn destination(line: &[u8]) -> Option<ListedDestination> {
    let mut words = words(line);
    let (address, port) = socket_address(words.next()?)?;
    let forwarding = match words.next()? {
        b"Masq" => Forwarding::Nat,
        b"Local" => Forwarding::Local,
        b"Tunnel" => Forwarding::Tun(Tunnel::IPIP),
        b"Route" => Forwarding::Dr,
        b"Bypass" => Forwarding::Bypass,
        _ => return None,
    };
    let mut number = || decimal(words.next()?);
    Some(ListedDestination {
        key: DestinationKey::new(address, port),
        spec: DestinationSpec::new(forwarding, number()?),
        active_connections: number()?,
        inactive_connections: number()?,
        persistent_connections: 0,
        statistics: Statistics::default(),
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// `C0A80001:0050` or `[2001:0db8:0000:0000:0000:0000:0000:0001]:0050`.
fn socket_address(word: &[u8]) -> Option<(IpAddr, u16)> {
    let colon = word.iter().rposition(|byte| *byte == b':')?;
    let (address, port) = (&word[..colon], &word[colon + 1..]);
    let port = u16::try_from(hexadecimal(port, 4)?).ok()?;
    let address = match address.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(address) => std::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok()?.into(),
        None => Ipv4Addr::from(hexadecimal(address, 8)?).into(),
    };
    Some((address, port))
}

fn hexadecimal(word: &[u8], digits: usize) -> Option<u32> {
    if word.len() != digits {
        return None;
    }
    word.iter()
        .try_fold(0u32, |number, byte| Some(number << 4 | char::from(*byte).to_digit(16)?))
}

fn decimal(word: &[u8]) -> Option<u32> {
    word.iter().try_fold(0u32, |number, byte| {
        number.checked_mul(10)?.checked_add(char::from(*byte).to_digit(10)?)
    })
}
