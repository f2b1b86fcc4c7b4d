//! The kernel settings that a virtual MAC needs: of its device, of the interface below, and those of the whole host that it
//! does not work with.

use crate::model::{VrrpDevice, interface_sysctl};
use crate::net::{NetError, sysctl};

/// Sets what is not so already; what this kernel does not have needs no setting.
pub(super) fn write(name: &str, value: &str) -> Result<(), NetError> {
    match sysctl::read(name) {
        Ok(before) if before != value => sysctl::write(name, value),
        Ok(_) | Err(NetError::NoSuchSysctl { .. }) => Ok(()),
        Err(problem) => Err(problem),
    }
}

/// The settings of a device. It answers for its own addresses only; what comes in by it may be answered by way of the
/// interface below; it has no address but those it is given; and what is to be forwarded is, as there.
pub(super) fn above(device: &VrrpDevice, inet6: bool, read: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let name = |family: &str, key: &str| interface_sysctl(family, &device.name, key);
    let strict = read("net.ipv4.conf.all.rp_filter").is_some_and(|value| value != "0");
    let mut settings = vec![
        (name("ipv4", "arp_ignore"), "1"),
        (name("ipv4", "arp_announce"), "2"),
        // The higher one of the two counts, and 2 is the looser one of 1 and 2.
        (name("ipv4", "rp_filter"), if strict { "2" } else { "0" }),
        (name("ipv4", "promote_secondaries"), "1"),
        (name("ipv6", "addr_gen_mode"), "1"),
        (name("ipv6", "accept_ra"), "0"),
        (name("ipv6", "autoconf"), "0"),
        (name("ipv6", "disable_ipv6"), if inet6 { "0" } else { "1" }),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .collect::<Vec<_>>();
    for family in ["ipv4", "ipv6"] {
        let forwards = read(&interface_sysctl(family, &device.interface, "forwarding"));
        settings.extend(forwards.map(|forwards| (name(family, "forwarding"), forwards)));
    }
    settings
}

/// The settings of the interface below a device, as far as they are to be others. Without the first it answers questions
/// for the device's addresses, with its own MAC; without the second its own questions name one of them as the asker
/// where they are for an answer of the address, and teach the segment the same.
pub(super) fn below(device: &VrrpDevice, read: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let wanted = [("arp_ignore", &["1", "2", "8"][..], "1"), ("arp_announce", &["2"], "2")];
    let wanted = wanted.map(|(key, right, set)| (interface_sysctl("ipv4", &device.interface, key), right, set));
    wanted
        .into_iter()
        .filter(|(name, right, _)| read(name).is_some_and(|value| !right.contains(&&*value)))
        .map(|(name, _, set)| (name, set.to_owned()))
        .collect()
}

/// The settings of all interfaces that count above those of one, and that a device does not work with.
pub(super) fn hindrances(read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let cases: [(&str, &[&str]); 2] = [
        ("net.ipv4.conf.all.arp_filter", &["0"]),
        ("net.ipv4.conf.all.arp_ignore", &["0", "1"]),
    ];
    let set = cases.into_iter().filter_map(|(name, right)| {
        let value = read(name).filter(|value| !right.contains(&&**value))?;
        Some(format!("{name} = {value}"))
    });
    set.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    #[test]
    fn settings_go_by_what_is_there() {
        let device = VrrpDevice {
            name: "vrrp.51".to_owned(),
            interface: "eth0".to_owned(),
            family: Family::Inet,
            virtual_router_id: 51,
        };
        let with = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = set.iter().find(|(known, _)| name.ends_with(known));
                Some(found.map_or("0", |(_, value)| value).to_owned())
            }
        };
        let value = |settings: &[(String, String)], key: &str| {
            let found = settings.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.clone())
        };
        let rp_filter = "net.ipv4.conf.vrrp/51.rp_filter";
        let loose = above(&device, false, with(&[("eth0.forwarding", "1")]));
        assert_eq!(value(&loose, rp_filter).as_deref(), Some("0"));
        assert_eq!(value(&loose, "net.ipv4.conf.vrrp/51.forwarding").as_deref(), Some("1"));
        assert_eq!(
            value(&loose, "net.ipv6.conf.vrrp/51.disable_ipv6").as_deref(),
            Some("1")
        );
        let strict = above(&device, true, with(&[("all.rp_filter", "1")]));
        assert_eq!(value(&strict, rp_filter).as_deref(), Some("2"));
        assert_eq!(
            value(&strict, "net.ipv6.conf.vrrp/51.disable_ipv6").as_deref(),
            Some("0")
        );

        let names = |settings: Vec<(String, String)>| {
            let words = settings.into_iter().map(|(name, value)| format!("{name} {value}"));
            words.collect::<Vec<_>>()
        };
        let both = ["net.ipv4.conf.eth0.arp_ignore 1", "net.ipv4.conf.eth0.arp_announce 2"];
        assert_eq!(names(below(&device, with(&[]))), both);
        assert_eq!(
            names(below(&device, with(&[("arp_ignore", "3"), ("arp_announce", "1")]))),
            both
        );
        assert_eq!(
            names(below(&device, with(&[("arp_ignore", "2"), ("arp_announce", "2")]))),
            [""; 0]
        );

        assert_eq!(hindrances(with(&[("all.arp_ignore", "1")])), [""; 0]);
        let set = with(&[("all.arp_filter", "1"), ("all.arp_ignore", "2")]);
        assert_eq!(
            hindrances(set),
            ["net.ipv4.conf.all.arp_filter = 1", "net.ipv4.conf.all.arp_ignore = 2"]
        );
    }
}
