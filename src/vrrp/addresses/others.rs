//! Whether another host has the addresses of an instance that took over from a master that fell silent: a daemon that was
//! killed leaves them, and its kernel answers for them.
//!
//! Asked in a task of its own, so that nothing waits for it. With a virtual MAC the other one has the same: it cannot be
//! told apart, and neighbours need not be told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use super::{Belongings, Keeper, Report};
use crate::model::{HostAddress, Mac, VrrpAddress};
use crate::net::neighbour::{self, ProbeTiming};
use crate::net::{HostNetwork, NetError};

/// How many addresses are asked for at the same time; each costs a socket.
const AT_ONCE: usize = 256;

/// Addresses of an instance that were found at another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    instance: Arc<str>,
    /// They are all on one device.
    addresses: Vec<VrrpAddress>,
    mac: Mac,
}

impl Keeper {
    /// Has the addresses of instances looked for elsewhere.
    pub(super) fn look_for_others(&self, instances: Vec<Arc<str>>) {
        let held = instances.into_iter().filter_map(|instance| {
            let held = self.held.get(&instance)?;
            let is_asked = held.device.is_none() && !held.addresses.is_empty();
            is_asked.then(|| (instance, Arc::clone(held)))
        });
        let asked: Vec<_> = held.collect();
        if asked.is_empty() {
            return;
        }
        let moving = self.specs.iter().flat_map(|spec| &spec.addresses);
        let moving = moving.map(|address| address.address).collect();
        let found = self.others.clone();
        tokio::spawn(async move {
            // Whoever cannot look has said so when the addresses were put on.
            let _ = look(asked, moving, found).await;
        });
    }

    /// Addresses are elsewhere as well: neighbours that have heard the other host are told once more.
    pub(super) async fn meet_other(&mut self, other: Other, tell: &impl Fn(&str, Report)) {
        let Other {
            instance,
            mut addresses,
            mac,
        } = other;
        // Another router may be master meanwhile.
        let held = self.held.get(&instance).map(|held| &*held.addresses);
        addresses.retain(|address| held.is_some_and(|held| held.contains(address)));
        let Some(device) = addresses.first().map(|address| address.device.clone()) else {
            return;
        };
        for address in &addresses {
            self.announcements.owe(address, 1);
        }
        self.announce_what_is_here().await;
        let addresses = addresses.into_iter().map(|address| address.address).collect();
        let elsewhere = Report::Elsewhere { addresses, device, mac };
        tell(&instance, elsewhere);
    }
}

async fn look(
    asked: Vec<(Arc<str>, Arc<Belongings>)>,
    moving: BTreeSet<IpAddr>,
    found: UnboundedSender<Other>,
) -> Result<(), NetError> {
    let host = HostNetwork::connect()?.survey()?;
    // By another interface on the same segment this host may answer itself.
    let own: BTreeSet<Mac> = host.links.iter().filter_map(|link| link.mac).collect();
    let room = Semaphore::new(AT_ONCE);
    let (present, moving, own, room, found) = (&host.addresses, &moving, &own, &room, &found);
    let asks = asked.into_iter().map(|(instance, held)| async move {
        let answers = held.addresses.iter().map(|address| async move {
            // It is never closed.
            let _room = room.acquire().await;
            let asker = asker(present, &address.device, moving);
            let asked = neighbour::other_holder(&address.device, address.address, asker, ProbeTiming::QUICK);
            (asked.await, address.clone())
        });
        let mut elsewhere: BTreeMap<_, Vec<VrrpAddress>> = BTreeMap::new();
        for (answer, address) in join_all(answers).await {
            if let Ok(Some(mac)) = answer
                && !own.contains(&mac)
            {
                let there = elsewhere.entry((address.device.clone(), mac)).or_default();
                there.push(address);
            }
        }
        for ((_, mac), mut addresses) in elsewhere {
            addresses.sort_unstable();
            let instance = Arc::clone(&instance);
            // Nobody keeps the addresses any more.
            let _ = found.send(Other {
                instance,
                addresses,
                mac,
            });
        }
    });
    join_all(asks).await;
    Ok(())
}

/// The link-local address of a device that is there whoever is master.
fn asker(present: &[HostAddress], device: &str, moving: &BTreeSet<IpAddr>) -> Option<Ipv6Addr> {
    let mut fitting = present
        .iter()
        .filter(|held| held.device == device && !held.duplicate && !moving.contains(&held.address));
    fitting.find_map(|held| match held.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AddressScope;

    #[test]
    fn nobody_asks_in_the_name_of_an_address_that_moves() {
        let held = |device: &str, address: &str| HostAddress {
            device: device.to_owned(),
            address: address.parse().expect("an address"),
            prefix: 64,
            scope: AddressScope::Link,
            label: None,
            owner: 0,
            duplicate: false,
        };
        let present = [
            held("eth0", "192.0.2.1"),
            held("eth0", "2001:db8::1"),
            held("eth0", "fe80::100"),
            held("eth1", "fe80::2"),
            HostAddress {
                duplicate: true,
                ..held("eth0", "fe80::3")
            },
            held("eth0", "fe80::1"),
        ];
        let moving = BTreeSet::from(["fe80::100".parse().expect("an address")]);
        assert_eq!(
            asker(&present, "eth0", &moving),
            Some("fe80::1".parse().expect("an address"))
        );
        assert_eq!(asker(&present[..5], "eth0", &moving), None);
    }
}
