//! Names and numbers: looks up the names of hosts and ports that a listing shows, within a time limit, and finds the
//! address and port that a person has typed.
//!
//! Through libc, as ipvsadm(8) does: `/etc/hosts`, DNS and `/etc/services`, as nsswitch.conf(5) says. Unlike there
//! each address is asked for once, several at a time, and a name server that does not answer costs [`LIMIT`], not
//! some seconds an address: what has no name by then is shown as a number.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use dns_lookup::{AddrInfoHints, getaddrinfo, getnameinfo};
use nix::libc::{AF_INET, NI_DGRAM, NI_NAMEREQD, NI_NUMERICHOST, NI_NUMERICSERV, SOCK_DGRAM, SOCK_STREAM};

use crate::ipvsadm::{self, NameService};
use crate::listing::{Names, NeededNames};
use crate::model::{Protocol, ServiceKey};

/// How long a listing waits for names.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How many lookups run at a time.
const PARALLEL: usize = 16;

/// One thing to look up.
#[derive(Debug, Clone, Copy)]
enum Question {
    Host(IpAddr),
    Port(Protocol, u16),
}

/// Looks up what is needed, and comes back after `limit` with what was found by then.
///
/// Lookups that still wait for an answer go on in threads of their own, whose answers nobody takes.
pub(super) fn look_up(needed: NeededNames, limit: Duration) -> Names {
    let deadline = Instant::now() + limit;
    // Ports first: they come from a file, and must not wait behind hosts.
    let ports = needed
        .ports
        .into_iter()
        .map(|(protocol, port)| Question::Port(protocol, port));
    let hosts = needed.hosts.into_iter().map(Question::Host);
    let questions: Arc<[Question]> = ports.chain(hosts).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let (answers, answered) = mpsc::channel();
    for _ in 0..questions.len().min(PARALLEL) {
        let (questions, next, answers) = (Arc::clone(&questions), Arc::clone(&next), answers.clone());
        let worker = move || {
            while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if answers.send((*question, answer(*question))).is_err() {
                    return;
                }
            }
        };
        if thread::Builder::new().name("names".to_owned()).spawn(worker).is_err() {
            // As many as there are do; with none at all the listing is numeric.
            break;
        }
    }
    drop(answers);
    let mut names = Names::none();
    while let Ok((question, name)) = answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        match (question, name) {
            (Question::Host(address), Some(name)) => {
                names.hosts.insert(address, name);
            }
            (Question::Port(protocol, port), Some(name)) => {
                names.ports.insert((protocol, port), name);
            }
            (Question::Host(_) | Question::Port(..), None) => {}
        }
    }
    names
}

/// The name, if there is one.
fn answer(question: Question) -> Option<String> {
    match question {
        Question::Host(address) => {
            let endpoint = SocketAddr::new(address, 0);
            let (host, _) = getnameinfo(&endpoint, NI_NAMEREQD | NI_NUMERICSERV).ok()?;
            Some(host)
        }
        Question::Port(protocol, port) => {
            let datagrams = match protocol {
                Protocol::Tcp => 0,
                Protocol::Udp => NI_DGRAM,
                Protocol::Sctp => return sctp_name(port),
                Protocol::Other(_) => return None,
            };
            let endpoint = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            let (_, service) = getnameinfo(&endpoint, NI_NUMERICHOST | datagrams).ok()?;
            (service != port.to_string()).then_some(service)
        }
    }
}

/// The name of an SCTP port, which `getnameinfo` has no flag to ask for, in services(5).
fn sctp_name(port: u16) -> Option<String> {
    let wanted = format!("{port}/sctp");
    let services = std::fs::read_to_string("/etc/services").ok()?;
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let name = words.next()?;
        (words.next()? == wanted).then(|| name.to_owned())
    })
}

/// The service that `text` names for this protocol: `192.0.2.1:80`, `[2001:db8::1]:80`, `www.example.com:http`, or an
/// address alone for the service of every port.
///
/// # Errors
/// What is wrong with the text, with a remedy.
pub(super) fn service_key(protocol: Protocol, text: &str) -> Result<ServiceKey, String> {
    let (address, port) = ipvsadm::endpoint(text, Some(protocol), &HostNames).ok_or_else(|| {
        format!(
            "`{text}` is no address and port, or no host or port has that name (wanted: 192.0.2.1:80, \
             [2001:db8::1]:80 or host:port)"
        )
    })?;
    Ok(ServiceKey::Address {
        protocol,
        address,
        port: port.unwrap_or(0),
    })
}

/// The first IPv4 address of a host.
fn host_by_name(name: &str) -> Option<Ipv4Addr> {
    let hints = AddrInfoHints {
        address: AF_INET,
        socktype: SOCK_STREAM,
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).ok()?.next()?.ok()?;
    match found.sockaddr.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// The names that this host knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostNames;

impl NameService for HostNames {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        host_by_name(name)
    }

    fn port(&self, protocol: Protocol, name: &str) -> Option<u16> {
        // A number with blanks or a sign in front is one for the C library, which does not mind its size.
        let is_number = name
            .trim_start()
            .trim_start_matches(['-', '+'])
            .starts_with(|first: char| first.is_ascii_digit());
        if is_number { None } else { port_by_name(protocol, name) }
    }
}

/// The port of a service name.
fn port_by_name(protocol: Protocol, name: &str) -> Option<u16> {
    let socktype = match protocol {
        Protocol::Tcp | Protocol::Sctp => SOCK_STREAM,
        Protocol::Udp => SOCK_DGRAM,
        Protocol::Other(_) => return None,
    };
    let hints = AddrInfoHints {
        socktype,
        protocol: i32::from(protocol.number()),
        ..AddrInfoHints::default()
    };
    let mut found = getaddrinfo(None, Some(name), Some(hints)).ok()?;
    Some(found.next()?.ok()?.sockaddr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_hosts_without_a_name_are_left_out() {
        let mut needed = NeededNames::default();
        needed.ports.insert((Protocol::Sctp, 80));
        needed.ports.insert((Protocol::Tcp, 64999));
        assert_eq!(look_up(needed, Duration::from_secs(30)), Names::none());
    }

    #[test]
    fn without_time_there_are_no_names_and_no_wait() {
        let mut needed = NeededNames::default();
        needed.hosts.insert(IpAddr::from([192, 0, 2, 1]));
        let start = Instant::now();
        look_up(needed, Duration::ZERO);
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    #[test]
    fn services_are_found_by_what_people_type() {
        for (text, expected) in [
            ("192.0.2.1:80", "tcp 192.0.2.1:80"),
            ("192.0.2.1", "tcp 192.0.2.1:0"),
            ("[2001:db8::1]:80", "tcp [2001:db8::1]:80"),
            ("2001:db8::1:80", "tcp [2001:db8::1:80]:0"),
        ] {
            let found = service_key(Protocol::Tcp, text).map(|key| key.to_string());
            assert_eq!(found.as_deref(), Ok(expected));
        }
        for text in [
            "",
            "80",
            ":80",
            "[2001:db8::1]",
            "[2001:db8::1",
            "192.0.2.1:65536",
            "192.0.2.1:",
        ] {
            assert!(service_key(Protocol::Tcp, text).is_err(), "{text}");
        }
        assert!(service_key(Protocol::Sctp, "192.0.2.1:no-such-name").is_err());
    }
}
