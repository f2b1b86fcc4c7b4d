//! What a look at the host's interfaces makes of a device with a virtual MAC. Pure.

use std::collections::BTreeSet;

use crate::model::{Link, VrrpDevice};
use crate::net::Layer;

/// What is to be done about a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding<'a> {
    /// There is no interface that it could be on.
    NoInterface,
    /// It is not there.
    Missing,
    /// It is there as it should be.
    Ours(&'a Link),
    /// Ours, with another MAC or on another interface.
    Stale(&'a Link),
    /// There is somebody else's interface of that name.
    Foreign,
    /// Somebody else's interface has the virtual MAC.
    Taken(&'a Link),
}

pub(super) fn judge<'a>(device: &VrrpDevice, layers: &'a [Layer], record: &BTreeSet<VrrpDevice>) -> Finding<'a> {
    let named = |name: &str| layers.iter().find(|layer| layer.link.name == name);
    let Some(interface) = named(&device.interface) else {
        return Finding::NoInterface;
    };
    let mut others = of_same_mac(device, interface, layers).filter(|layer| !is_ours(layer, record));
    if let Some(other) = others.next() {
        return Finding::Taken(&other.link);
    }
    let Some(found) = named(&device.name) else {
        return Finding::Missing;
    };
    if !is_ours(found, record) {
        return Finding::Foreign;
    }
    match found.link.mac == Some(device.mac()) && is_on(found, interface) {
        true => Finding::Ours(&found.link),
        false => Finding::Stale(&found.link),
    }
}

/// The kernel puts a macvlan on a macvlan beside it.
fn is_on(layer: &Layer, interface: &Layer) -> bool {
    layer.below == Some(interface.link.index) || interface.bridges && layer.below == interface.below
}

/// Other devices that are up with the virtual MAC of this one on the same interface: the kernel lets one be up.
pub(super) fn of_same_mac<'a>(
    device: &VrrpDevice,
    interface: &Layer,
    layers: &'a [Layer],
) -> impl Iterator<Item = &'a Layer> {
    let up =
        move |layer: &&Layer| layer.link.up && layer.link.mac == Some(device.mac()) && layer.link.name != device.name;
    layers.iter().filter(up).filter(move |layer| is_on(layer, interface))
}

/// Whether a process of ours has made this one.
pub(super) fn is_ours(found: &Layer, record: &BTreeSet<VrrpDevice>) -> bool {
    let made_it = |made: &VrrpDevice| made.name == found.link.name && Some(made.mac()) == found.link.mac;
    found.bridges && record.iter().any(made_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, Mac};

    fn layer(index: u32, name: &str, mac: [u8; 6], below: Option<u32>) -> Layer {
        Layer {
            link: Link {
                index,
                name: name.to_owned(),
                up: true,
                loopback: false,
                resolves: true,
                mac: Some(Mac(mac)),
                mtu: 1500,
            },
            below,
            bridges: below.is_some(),
        }
    }

    fn device(name: &str, virtual_router_id: u8) -> VrrpDevice {
        VrrpDevice {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
            family: Family::Inet,
            virtual_router_id,
        }
    }

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const MAC_51: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

    #[test]
    fn only_what_is_on_record_is_taken_for_ours() {
        let wanted = device("vrrp.51", 51);
        let eth0 = || layer(2, "eth0", OWN, None);
        let word = |layers: &[Layer], record: &[VrrpDevice]| {
            let record = record.iter().cloned().collect();
            match judge(&wanted, layers, &record) {
                Finding::NoInterface => "no interface".to_owned(),
                Finding::Missing => "missing".to_owned(),
                Finding::Ours(link) => format!("ours {}", link.index),
                Finding::Stale(link) => format!("stale {}", link.index),
                Finding::Foreign => "foreign".to_owned(),
                Finding::Taken(link) => format!("taken by {}", link.name),
            }
        };
        let right = || layer(7, "vrrp.51", MAC_51, Some(2));
        let on_record = [wanted.clone()];
        assert_eq!(word(&[], &on_record), "no interface");
        assert_eq!(word(&[eth0()], &on_record), "missing");
        assert_eq!(word(&[eth0(), right()], &on_record), "ours 7");
        assert_eq!(word(&[eth0(), right()], &[]), "foreign");
        let plain = Layer {
            bridges: false,
            ..right()
        };
        assert_eq!(
            word(&[eth0(), plain], &on_record),
            "foreign",
            "it is no macvlan of ours"
        );
        let other_mac = layer(7, "vrrp.51", [0, 0, 0x5e, 0, 1, 50], Some(2));
        assert_eq!(word(&[eth0(), other_mac.clone()], &on_record), "foreign");
        assert_eq!(word(&[eth0(), other_mac], &[device("vrrp.51", 50)]), "stale 7");
        let elsewhere = layer(7, "vrrp.51", MAC_51, Some(3));
        assert_eq!(word(&[eth0(), elsewhere], &on_record), "stale 7");
        let others = layer(8, "keepalived.51", MAC_51, Some(2));
        assert_eq!(word(&[eth0(), others.clone()], &on_record), "taken by keepalived.51");
        let former = [wanted.clone(), device("keepalived.51", 51)];
        assert_eq!(
            word(&[eth0(), others.clone()], &former),
            "missing",
            "the other one was ours"
        );
        let elsewhere = Layer {
            below: Some(3),
            ..others
        };
        assert_eq!(word(&[eth0(), elsewhere], &on_record), "missing");
        // A macvlan on a macvlan is on what that one is on.
        let eth0 = layer(2, "eth0", OWN, Some(1));
        assert_eq!(
            word(&[eth0, layer(7, "vrrp.51", MAC_51, Some(1))], &on_record),
            "ours 7"
        );
    }
}
