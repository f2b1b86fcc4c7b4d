//! Whether an address lies behind an interface of this host that is down, on its own network or by a route.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Socket, Type};

use crate::model::Origin;

/// How long a look at the interfaces counts. Where one goes down a thousand probes fail at once, and on a director with
/// a thousand addresses each look costs a millisecond.
const COUNTS_FOR: Duration = Duration::from_millis(200);

/// A network that one of the interfaces is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    device: String,
    own: IpAddr,
    mask: IpAddr,
    /// The interface is up and has a carrier.
    works: bool,
}

thread_local! {
    /// The last look, in the network namespace of this thread.
    static LAST: RefCell<Option<(Instant, Vec<Network>)>> = const { RefCell::new(None) };
}

/// Whether every way to `address` leads over an interface that is down or without a carrier: it is a neighbour of this
/// host by its addresses, or the route to it starts from an address there, or the origin asks for such a device.
/// Where the kernel does not tell, it is not.
///
/// IPv4 addresses stay on an interface that is down, IPv6 ones go: for those only a missing carrier is seen.
pub fn is_cut_off(address: IpAddr, origin: &Origin) -> bool {
    LAST.with_borrow_mut(|last| {
        let recent = last.as_ref().is_some_and(|(at, _)| at.elapsed() < COUNTS_FOR);
        if !recent {
            *last = Some((Instant::now(), networks().unwrap_or_default()));
        }
        let networks = last.as_ref().map_or(&[][..], |(_, networks)| networks);
        if let Some(device) = &origin.device {
            return all_down(networks, |network| network.device == *device);
        }
        all_down(networks, |network| network.holds(address))
            || source_towards(address, origin.fwmark.filter(|_| origin.through.is_none()))
                .is_some_and(|source| all_down(networks, |network| network.own == source))
    })
}

/// The device that has this host's address towards another one.
pub fn device_towards(address: IpAddr) -> Option<String> {
    let source = source_towards(address, None)?;
    let networks = networks().ok()?;
    networks
        .into_iter()
        .find(|network| network.own == source)
        .map(|network| network.device)
}

/// The address of its own that this host would send from.
pub fn source_towards(address: IpAddr, fwmark: Option<u32>) -> Option<IpAddr> {
    // The port does not matter: nothing is sent.
    let target = SocketAddr::new(address, 9);
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM, None).ok()?;
    if let Some(mark) = fwmark {
        socket.set_mark(mark).ok()?;
    }
    socket.connect(&target.into()).ok()?;
    Some(socket.local_addr().ok()?.as_socket()?.ip())
}

fn networks() -> io::Result<Vec<Network>> {
    Ok(getifaddrs()?.filter_map(|entry| network_of(&entry)).collect())
}

fn network_of(entry: &InterfaceAddress) -> Option<Network> {
    let (own, mask) = (entry.address.as_ref()?, entry.netmask.as_ref()?);
    let (own, mask) = match (own.as_sockaddr_in(), mask.as_sockaddr_in()) {
        (Some(own), Some(mask)) => (own.ip().into(), mask.ip().into()),
        _ => (own.as_sockaddr_in6()?.ip().into(), mask.as_sockaddr_in6()?.ip().into()),
    };
    let works = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    Some(Network {
        device: entry.interface_name.clone(),
        own,
        mask,
        works: entry.flags.contains(works),
    })
}

/// Whether there are such networks, and none of them works.
fn all_down(networks: &[Network], such: impl Fn(&Network) -> bool) -> bool {
    let mut such = networks.iter().filter(|network| such(network)).peekable();
    such.peek().is_some() && such.all(|network| !network.works)
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.own, self.mask, address) {
            (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(address)) => own & mask == address & mask,
            (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(address)) => own & mask == address & mask,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(own: &str, mask: &str, works: bool) -> Network {
        Network {
            device: "eth0".to_owned(),
            own: own.parse().expect("an address"),
            mask: mask.parse().expect("a mask"),
            works,
        }
    }

    #[test]
    fn only_an_address_whose_every_interface_is_down_is_cut_off() {
        let networks = [
            network("192.0.2.1", "255.255.255.0", false),
            network("192.0.2.200", "255.255.255.255", true),
            network("198.51.100.1", "255.255.255.0", true),
            network("203.0.113.1", "255.255.255.0", false),
            network("203.0.113.2", "255.255.255.0", true),
            network("2001:db8::1", "ffff:ffff:ffff:ffff::", false),
        ];
        let cut_off = |address: &str| {
            let address = address.parse().expect("an address");
            all_down(&networks, |network| network.holds(address))
        };
        assert!(cut_off("192.0.2.11") && cut_off("2001:db8::11"));
        for address in [
            "192.0.2.200",
            "198.51.100.11",
            "203.0.113.11",
            "10.0.0.1",
            "2001:db8:1::1",
        ] {
            assert!(!cut_off(address), "{address}");
        }
    }

    #[test]
    fn the_loopback_is_never_cut_off() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!(!is_cut_off(loopback, &Origin::default()));
        assert_eq!(source_towards(loopback, None), Some(loopback));
    }
}
