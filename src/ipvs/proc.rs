//! The lines of `/proc/net/ip_vs`: the plain listing's columns at a fraction of a dump's cost. And those of
//! `/proc/net/ip_vs_conn`, the only way to the connection table.
//!
//! Pure and total: a line that is not understood is passed over, and with it the service it belongs to, so that the
//! caller reads that one by netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{
    ConnectionEntry, DestinationKey, DestinationSpec, Forwarding, ListedDestination, PersistenceData, Protocol,
    ServiceKey, Statistics, Tunnel,
};

/// The destinations of every service with an address, in the order of the file.
///
/// Firewall-mark services are left out, for their family is not in the file. Thresholds, tunnel options, persistent
/// connections and traffic are not either; they are zero (ipip) in the result. The file calls every forwarding
/// method above 3, which only other programs write, `Masq`: such a destination is NAT in the result.
pub fn destinations(text: &[u8]) -> Vec<(ServiceKey, Vec<ListedDestination>)> {
    let mut services = Vec::new();
    // The service whose lines are being read; its destinations gather in one list that keeps its memory.
    let mut current: Option<ServiceKey> = None;
    let mut gathered = Vec::new();
    let mut finish = |key: Option<ServiceKey>, gathered: &mut Vec<ListedDestination>| {
        services.extend(key.map(|key| (key, gathered.split_off(0))));
    };
    // Version, and two lines of titles.
    for line in lines(text).skip(3) {
        if let Some(rest) = line.strip_prefix(b"  -> ") {
            if current.is_none() {
                continue;
            }
            match destination(rest) {
                Some(found) => gathered.push(found),
                // Not understood: the whole service is left to the caller.
                None => {
                    current = None;
                    gathered.clear();
                }
            }
        } else if !line.is_empty() {
            finish(current, &mut gathered);
            current = service(line);
        }
    }
    finish(current, &mut gathered);
    services
}

/// How many connections, active or not, all destinations in the text have together, whatever service they stand under:
/// those of firewall marks as well as those of addresses.
pub fn connection_count(text: &[u8]) -> u64 {
    let of_destination = |line: &[u8]| {
        // The address, how it is forwarded to, the weight. The line of titles begins alike and has no numbers.
        let mut words = words(line.strip_prefix(b"  -> ")?).skip(3);
        let (active, inactive) = (decimal(words.next()?)?, decimal(words.next()?)?);
        Some(u64::from(active) + u64::from(inactive))
    };
    lines(text).filter_map(of_destination).sum()
}

/// Whether two texts of the file tell of the same table. How many connections there are may differ, but of a destination
/// of weight 0 not whether there are any.
pub fn is_same_table(one: &[u8], other: &[u8]) -> bool {
    let same = |(one, other): (&[u8], &[u8])| one == other || without_connections(one) == without_connections(other);
    one == other || (lines(one).count() == lines(other).count() && lines(one).zip(lines(other)).all(same))
}

/// A destination's line without its numbers of connections, and of one of weight 0 whether it has any; any other line
/// as it is.
fn without_connections(line: &[u8]) -> (&[u8], bool) {
    if !line.starts_with(b"  -> ") {
        return (line, false);
    }
    let (rest, inactive) = last_word(line);
    let (rest, active) = last_word(rest);
    let (_, weight) = last_word(rest);
    (
        rest.trim_ascii_end(),
        weight == b"0" && (active != b"0" || inactive != b"0"),
    )
}

/// A line up to its last word, and that word.
fn last_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_end();
    let begin = line.iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1);
    line.split_at(begin)
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

/// The connections in the text of the file, its line of titles left out.
pub fn connections(text: &[u8]) -> Vec<ConnectionEntry> {
    text.split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(connection)
        .collect()
}

fn connection(line: &[u8]) -> Option<ConnectionEntry> {
    let mut words = words(line);
    let protocol = protocol(words.next()?)?;
    let mut endpoint = || {
        let address: IpAddr = ip_address(words.next()?)?;
        let port = u16::try_from(hexadecimal(words.next()?, 4)?).ok()?;
        Some(SocketAddr::new(address, port))
    };
    let (client, virtual_address, destination) = (endpoint()?, endpoint()?, endpoint()?);
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let state = text(words.next()?);
    let expires = decimal(words.next()?)?;
    let persistence = match (words.next(), words.next()) {
        (Some(engine), Some(data)) => Some(PersistenceData {
            engine: text(engine),
            data: text(data),
        }),
        (_, None) | (None, Some(_)) => None,
    };
    Some(ConnectionEntry {
        protocol,
        client,
        virtual_address,
        destination,
        state,
        expires,
        persistence,
    })
}

/// The protocol by the name the kernel gives it; those without one are `IP_50`.
fn protocol(word: &[u8]) -> Option<Protocol> {
    match word {
        b"TCP" => Some(Protocol::Tcp),
        b"UDP" => Some(Protocol::Udp),
        b"SCTP" => Some(Protocol::Sctp),
        b"IP" => Some(Protocol::Other(0)),
        b"ICMP" => Some(Protocol::Other(1)),
        b"ICMPv6" => Some(Protocol::Other(58)),
        _ => {
            let number = decimal(word.strip_prefix(b"IP_")?)?;
            Some(Protocol::from_number(u16::try_from(number).ok()?))
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// The words of a line, however many spaces stand between them.
fn words(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while let [b' ', more @ ..] = rest {
            rest = more;
        }
        let length = rest.iter().take_while(|byte| **byte != b' ').count();
        let (word, more) = rest.split_at(length);
        rest = more;
        (!word.is_empty()).then_some(word)
    })
}

/// `C0A80001:0050` or `[2001:0db8:0000:0000:0000:0000:0000:0001]:0050`.
fn socket_address(word: &[u8]) -> Option<(IpAddr, u16)> {
    let colon = word.iter().rposition(|byte| *byte == b':')?;
    let (address, port) = (&word[..colon], &word[colon + 1..]);
    let port = u16::try_from(hexadecimal(port, 4)?).ok()?;
    let address = match address.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(address) => ip_address(address).filter(IpAddr::is_ipv6)?,
        None => ip_address(address).filter(IpAddr::is_ipv4)?,
    };
    Some((address, port))
}

/// `C0A80001` or `2001:0db8:0000:0000:0000:0000:0000:0001`.
fn ip_address(word: &[u8]) -> Option<IpAddr> {
    if word.len() == 8 && !word.contains(&b':') {
        return Some(Ipv4Addr::from(hexadecimal(word, 8)?).into());
    }
    Some(std::str::from_utf8(word).ok()?.parse::<Ipv6Addr>().ok()?.into())
}

fn hexadecimal(word: &[u8], digits: usize) -> Option<u32> {
    if word.len() != digits {
        return None;
    }
    let mut number = 0;
    for byte in word {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'F' => byte - b'A' + 10,
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u32::from(digit);
    }
    Some(number)
}

fn decimal(word: &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const TEXT: &[u8] = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
        TCP CB007109 9C42 C6336401 0050 C000020B 1F90 ESTABLISHED     896\n\
        IP  CB007109 0000 00000007 0000 C000020B 0000 NONE             59\n\
        TCP 2001:0db8:0020:0000:0000:0000:0000:0002 A7F8 2001:0db8:0000:0000:0000:0000:0000:0001 0050 \
        2001:0db8:0001:0000:0000:0000:0000:0001 0050 TIME_WAIT        116\n\
        UDP CB007109 13C4 C6336401 13C4 C000020B 13C4 UDP             299 sip a-call@client.example.com\n\
        no connection\n";

    #[test]
    fn every_kind_of_line_is_read() {
        let found = connections(TEXT);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].client, SocketAddr::from(([203, 0, 113, 9], 40002)));
        assert_eq!(found[0].destination, SocketAddr::from(([192, 0, 2, 11], 8080)));
        assert_eq!((found[0].state.as_str(), found[0].expires), ("ESTABLISHED", 896));
        assert_eq!(found[1].protocol, Protocol::Other(0));
        assert_eq!(found[1].virtual_address, SocketAddr::from(([0, 0, 0, 7], 0)));
        assert_eq!(found[2].virtual_address.to_string(), "[2001:db8::1]:80");
        let known = found[3].persistence.as_ref().expect("persistence data");
        assert_eq!(
            (known.engine.as_str(), known.data.as_str()),
            ("sip", "a-call@client.example.com")
        );
    }

    #[test]
    fn only_numbers_of_connections_make_no_other_table() {
        let table = |lines: &[&str]| {
            let head = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                        -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  C000020A:0050 rr\n";
            format!("{head}{}\n", lines.join("\n")).into_bytes()
        };
        let one = "  -> C0000214:0050      Masq    1      0          0         ";
        let six = "  -> [2001:0db8:0000:0000:0000:0000:0000:0014]:0050      Route   0      0          0         ";
        let same = [
            (one, "  -> C0000214:0050      Masq    1      12         345       "),
            (
                "  -> C0000214:0050      Masq    0      1          0         ",
                "  -> C0000214:0050      Masq    0      0          1234567890",
            ),
        ];
        for (line, other) in same {
            assert!(is_same_table(&table(&[line, six]), &table(&[other, six])), "{other}");
        }
        let different = [
            (one, "  -> C0000214:0050      Masq    2      0          0         "),
            (one, "  -> C0000214:0050      Masq    10     0          0         "),
            (one, "  -> C0000214:0050      Route   1      0          0         "),
            (one, "  -> C0000214:0051      Masq    1      0          0         "),
            (six, &six.replace("0          0 ", "0          1 ")),
            (six, &six.replace("Route   0", "Route   1")),
        ];
        for (line, other) in different {
            assert!(!is_same_table(&table(&[line]), &table(&[other])), "{other}");
            assert!(!is_same_table(&table(&[other]), &table(&[line])), "{other}");
        }
        assert!(!is_same_table(&table(&[one]), &table(&[one, six])));
        assert!(!is_same_table(&table(&[one, six]), &table(&[six])));
    }

    #[test]
    fn connections_count_whatever_service_they_belong_to() {
        let head = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
        let address = "TCP  C000020A:0050 rr \n  -> C0000214:0050      Masq    1      3          40        \n";
        let mark = "FWM  00000007 wlc persistent 360 FFFFFFFF\n  \
                    -> C0000214:0000      Route   1      500        6000      \n  \
                    -> [2001:0db8:0000:0000:0000:0000:0000:0014]:0000      Tunnel  0      0          70000     \n";
        let cases: [(&[&str], u64); 5] = [
            (&[], 0),
            (&["FWM  00000007 wlc \n"], 0),
            (&[address], 43),
            (&[mark], 76_500),
            (&[mark, address, "\n"], 76_543),
        ];
        for (services, count) in cases {
            let text = format!("{head}{}", services.concat());
            assert_eq!(connection_count(text.as_bytes()), count, "{text}");
        }
        let most = "  -> C0000214:0050      Masq    1      4294967295 4294967295\n".repeat(3);
        assert_eq!(connection_count(most.as_bytes()), 6 * u64::from(u32::MAX));
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_parser(mut text in proptest::collection::vec(any::<u8>(), 0..300), place in 0..TEXT.len()) {
            connections(&text);
            connection_count(&text);
            let mut broken = TEXT[..place].to_vec();
            broken.append(&mut text);
            broken.extend_from_slice(&TEXT[place..]);
            connections(&broken);
            connection_count(&broken);
        }
    }
}
