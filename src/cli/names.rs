//! Names and numbers: the names of hosts and ports that a listing shows, within a time limit, and the address and port
//! that a person has typed.
//!
//! The system's name service is asked, as ipvsadm(8) does: `/etc/hosts`, DNS and `/etc/services`, as nsswitch.conf(5)
//! says. Unlike there each address is asked for once, several at a time, and a name server that does not answer costs
//! [`SILENCE`], not some seconds an address: what has no name by then is shown as a number.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::ipvsadm::{self, NameService};
use crate::listing::{Names, NeededNames};
use crate::model::{Protocol, ServiceKey};
use crate::net::names::{self, Patience};

/// How long a listing waits for the next name.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// How long it waits for all of them.
const ALL: Duration = Duration::from_secs(30);
/// How long the name that somebody has typed may take: as libc's own resolver with two dead name servers.
const TYPED_LIMIT: Duration = Duration::from_secs(20);

/// Looks up what is needed, and comes back with what was found when nobody has answered for the time of `silence`.
pub(super) fn look_up(needed: NeededNames, silence: Duration) -> Names {
    let patience = Patience {
        silence,
        end: Instant::now() + ALL,
    };
    let mut found = Names::none();
    // Ports first: they come from a file, and must not wait behind hosts.
    found.ports.extend(names::ports(needed.ports, patience));
    found.hosts.extend(names::hosts(needed.hosts, patience));
    found
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

/// The names that this host knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostNames;

impl NameService for HostNames {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        names::address_of(name, Patience::for_one(TYPED_LIMIT)).ok()?
    }

    fn port(&self, protocol: Protocol, name: &str) -> Option<u16> {
        // A number with blanks or a sign in front is one for the C library, which does not mind its size.
        let is_number = name
            .trim_start()
            .trim_start_matches(['-', '+'])
            .starts_with(|first: char| first.is_ascii_digit());
        if is_number {
            return None;
        }
        names::port_of(name, protocol, Patience::for_one(TYPED_LIMIT)).ok()?
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn ports_and_hosts_without_a_name_are_left_out() {
        let mut needed = NeededNames::default();
        needed.ports.insert((Protocol::Other(50), 80));
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
