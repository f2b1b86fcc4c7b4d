//! Routes and policy rules that are where a virtual router is master, and the record of all that it has put on this host.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{AddressScope, Family, VrrpDevice, VrrpEntry, VrrpSetting};

/// The table that everything is looked up in unless a rule says otherwise (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;

/// A network: an address whose bits behind the prefix are 0, and the length of the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// 0 to 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// Everything of one family.
    pub fn all(family: Family) -> Self {
        let address = match family {
            Family::Inet => Ipv4Addr::UNSPECIFIED.into(),
            Family::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { address, length: 0 }
    }

    /// The network that this address is in.
    pub fn of(address: IpAddr, length: u8) -> Self {
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        };
        Self { address, length }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.length, self.length == self.family().host_prefix()) {
            (0, _) => f.write_str("default"),
            (_, true) => write!(f, "{}", self.address),
            (length, false) => write!(f, "{}/{length}", self.address),
        }
    }
}

/// What becomes of packets that a route is for (ip-route(8), type).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// They are sent on.
    #[default]
    Unicast,
    /// They vanish.
    Blackhole,
    /// They vanish, and their sender is told that the host is unreachable.
    Unreachable,
    /// They vanish, and their sender is told that somebody forbids it.
    Prohibit,
}

impl RouteKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unicast, Self::Blackhole, Self::Unreachable, Self::Prohibit];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }

    /// Whether packets are sent on.
    pub fn is_unicast(&self) -> bool {
        *self == Self::Unicast
    }
}

/// A route (ip-route(8), with one next hop at most).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VrrpRoute {
    /// Where to; its family is that of the route.
    pub to: Prefix,
    /// The next hop; `None` for hosts that are on the link.
    pub via: Option<IpAddr>,
    /// The interface; the kernel finds it by the next hop where it is not said.
    pub device: Option<String>,
    /// The source address that this host prefers for it.
    pub source: Option<IpAddr>,
    /// The table, 1 to 4294967295 but for 255.
    pub table: u32,
    /// The lowest counts; the kernel makes 1024 of 0 for IPv6.
    pub metric: u32,
    /// How far away it is; IPv4 only, `Global` for IPv6 and where nothing is sent on.
    pub scope: AddressScope,
    /// What becomes of the packets.
    #[serde(default, skip_serializing_if = "RouteKind::is_unicast")]
    pub kind: RouteKind,
    /// The next hop is on the link, whatever this host's networks are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onlink: bool,
    /// The largest packet in bytes; the interface's where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// What the kernel knows a route by: two with the same one cannot be there together, but as one with several next hops.
pub type RouteKey = (u32, Prefix, u32);

impl VrrpRoute {
    /// What the kernel knows it by.
    pub fn key(&self) -> RouteKey {
        (self.table, self.to, self.metric)
    }

    /// Whether this one, as it was found, is what `wanted` asks for.
    pub fn is(&self, wanted: &Self) -> bool {
        let found = Self {
            // Where it is not asked for, the kernel has chosen it.
            device: wanted.device.as_ref().and(self.device.clone()),
            ..self.clone()
        };
        found == *wanted
    }
}

impl fmt::Display for VrrpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inet6 = self.to.family() == Family::Inet6;
        if !self.kind.is_unicast() {
            write!(f, "{} ", self.kind.name())?;
        }
        match inet6 && self.to.length == 0 {
            true => f.write_str("::/0")?,
            false => write!(f, "{}", self.to)?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " dev {device}")?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        if !inet6 && self.scope != AddressScope::Global {
            write!(f, " scope {}", self.scope)?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

/// A rule that says which packets are looked up in which table (ip-rule(8)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VrrpRule {
    /// Of which packets.
    pub family: Family,
    /// The lowest is asked first; 1 to 4294967295 but for 32766 and 32767.
    pub priority: u32,
    /// Where they come from; `None` for everywhere.
    pub from: Option<Prefix>,
    /// Where they go to; `None` for everywhere.
    pub to: Option<Prefix>,
    /// The interface they came in by; `lo` for those of this host.
    pub iif: Option<String>,
    /// The interface that a socket of this host is bound to.
    pub oif: Option<String>,
    /// Their firewall mark.
    pub fwmark: Option<u32>,
    /// The bits of it that count; all where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmask: Option<u32>,
    /// The table, 1 to 4294967295 but for 255.
    pub table: u32,
}

impl fmt::Display for VrrpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Some(from) => write!(f, "from {from}")?,
            None => f.write_str("from all")?,
        }
        if let Some(to) = &self.to {
            write!(f, " to {to}")?;
        }
        if let Some(mark) = self.fwmark {
            write!(f, " fwmark {mark:#x}")?;
            if let Some(mask) = self.fwmask {
                write!(f, "/{mask:#x}")?;
            }
        }
        if let Some(iif) = &self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = &self.oif {
            write!(f, " oif {oif}")?;
        }
        if self.family == Family::Inet6 && self.from.is_none() && self.to.is_none() {
            f.write_str(" inet6")?;
        }
        write!(f, " table {} priority {}", self.table, self.priority)
    }
}

/// What virtual routers have put on this host, or are about to, for the process after this one.
///
/// A list of addresses is read as well: so it was written once where there was nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RecordForm")]
pub struct VrrpRecord {
    /// Addresses.
    pub addresses: BTreeSet<VrrpEntry>,
    /// Routes.
    pub routes: BTreeSet<VrrpRoute>,
    /// Rules.
    pub rules: BTreeSet<VrrpRule>,
    /// Devices with a virtual MAC.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<VrrpDevice>,
    /// Kernel settings of the interfaces below them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub settings: BTreeSet<VrrpSetting>,
}

impl VrrpRecord {
    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        let nothing_else = self.devices.is_empty() && self.settings.is_empty();
        self.addresses.is_empty() && self.routes.is_empty() && self.rules.is_empty() && nothing_else
    }

    /// Takes in all that another one has.
    pub fn add(&mut self, other: &Self) {
        self.addresses.extend(other.addresses.iter().cloned());
        self.routes.extend(other.routes.iter().cloned());
        self.rules.extend(other.rules.iter().cloned());
        self.devices.extend(other.devices.iter().cloned());
        self.settings.extend(other.settings.iter().cloned());
    }

    /// Takes out all that another one has.
    pub fn remove(&mut self, other: &Self) {
        self.addresses.retain(|entry| !other.addresses.contains(entry));
        self.routes.retain(|route| !other.routes.contains(route));
        self.rules.retain(|rule| !other.rules.contains(rule));
        self.devices.retain(|device| !other.devices.contains(device));
        self.settings.retain(|setting| !other.settings.contains(setting));
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RecordForm {
    Addresses(BTreeSet<VrrpEntry>),
    All {
        #[serde(default)]
        addresses: BTreeSet<VrrpEntry>,
        #[serde(default)]
        routes: BTreeSet<VrrpRoute>,
        #[serde(default)]
        rules: BTreeSet<VrrpRule>,
        #[serde(default)]
        devices: BTreeSet<VrrpDevice>,
        #[serde(default)]
        settings: BTreeSet<VrrpSetting>,
    },
}

impl From<RecordForm> for VrrpRecord {
    fn from(form: RecordForm) -> Self {
        match form {
            RecordForm::Addresses(addresses) => Self {
                addresses,
                ..Self::default()
            },
            RecordForm::All {
                addresses,
                routes,
                rules,
                devices,
                settings,
            } => Self {
                addresses,
                routes,
                rules,
                devices,
                settings,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').expect("a prefix");
        Prefix::of(address.parse().expect("an address"), length.parse().expect("a length"))
    }

    fn route() -> VrrpRoute {
        VrrpRoute {
            to: prefix("198.51.100.0/24"),
            via: Some([192, 0, 2, 1].into()),
            device: None,
            source: None,
            table: MAIN_TABLE,
            metric: 0,
            scope: AddressScope::Global,
            kind: RouteKind::Unicast,
            onlink: false,
            mtu: None,
        }
    }

    fn rule() -> VrrpRule {
        VrrpRule {
            family: Family::Inet,
            priority: 1000,
            from: Some(prefix("192.0.2.200/32")),
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            fwmask: None,
            table: 100,
        }
    }

    #[test]
    fn a_network_has_no_bits_behind_its_prefix() {
        for (given, shown) in [
            ("198.51.100.7/24", "198.51.100.0/24"),
            ("198.51.100.7/32", "198.51.100.7"),
            ("198.51.100.7/0", "default"),
            ("2001:db8::7/64", "2001:db8::/64"),
            ("2001:db8::7/128", "2001:db8::7"),
            ("2001:db8::7/0", "default"),
        ] {
            assert_eq!(prefix(given).to_string(), shown);
        }
    }

    #[test]
    fn routes_and_rules_are_shown_in_the_words_of_ip() {
        let plain = route();
        let full = VrrpRoute {
            to: Prefix::all(Family::Inet),
            via: None,
            device: Some("eth0".to_owned()),
            source: Some([192, 0, 2, 200].into()),
            table: 100,
            metric: 10,
            scope: AddressScope::Link,
            ..route()
        };
        let six = VrrpRoute {
            to: Prefix::all(Family::Inet6),
            via: Some("2001:db8::1".parse().expect("an address")),
            metric: 1024,
            ..route()
        };
        assert_eq!(plain.to_string(), "198.51.100.0/24 via 192.0.2.1");
        assert_eq!(
            full.to_string(),
            "default dev eth0 table 100 scope link src 192.0.2.200 metric 10"
        );
        assert_eq!(six.to_string(), "::/0 via 2001:db8::1 metric 1024");
        let narrow = VrrpRoute {
            onlink: true,
            mtu: Some(1400),
            ..route()
        };
        let nowhere = VrrpRoute {
            via: None,
            kind: RouteKind::Blackhole,
            ..route()
        };
        assert_eq!(narrow.to_string(), "198.51.100.0/24 via 192.0.2.1 onlink mtu 1400");
        assert_eq!(nowhere.to_string(), "blackhole 198.51.100.0/24");
        let marked = VrrpRule {
            family: Family::Inet6,
            from: None,
            fwmark: Some(16),
            fwmask: Some(255),
            iif: Some("eth1".to_owned()),
            oif: Some("eth0".to_owned()),
            ..rule()
        };
        let both = VrrpRule {
            to: Some(prefix("198.51.100.0/24")),
            ..rule()
        };
        assert_eq!(rule().to_string(), "from 192.0.2.200 table 100 priority 1000");
        assert_eq!(
            both.to_string(),
            "from 192.0.2.200 to 198.51.100.0/24 table 100 priority 1000"
        );
        assert_eq!(
            marked.to_string(),
            "from all fwmark 0x10/0xff iif eth1 oif eth0 inet6 table 100 priority 1000"
        );
    }

    #[test]
    fn a_route_without_a_device_is_found_on_the_one_that_the_kernel_has_chosen() {
        let on = |device: &str| VrrpRoute {
            device: Some(device.to_owned()),
            ..route()
        };
        assert!(on("eth0").is(&route()));
        assert!(on("eth0").is(&on("eth0")));
        assert!(!on("eth1").is(&on("eth0")));
        assert!(
            !VrrpRoute {
                via: None,
                ..on("eth0")
            }
            .is(&on("eth0"))
        );
    }

    #[test]
    fn the_record_is_read_in_its_old_form_and_has_place_for_more() {
        let old = r#"[{"device":"eth0","address":"192.0.2.100","prefix":24}]"#;
        let mut record: VrrpRecord = serde_json::from_str(old).expect("an old record");
        assert_eq!(record.addresses.len(), 1);
        let text = serde_json::to_string(&record).expect("text");
        assert_eq!(text, format!(r#"{{"addresses":{old},"routes":[],"rules":[]}}"#));
        record.routes.insert(route());
        record.rules.insert(rule());
        let text = serde_json::to_string(&record).expect("text");
        for new in ["devices", "kind", "onlink", "mtu", "fwmask"] {
            assert!(!text.contains(new), "an older program reads it: {text}");
        }
        assert_eq!(serde_json::from_str::<VrrpRecord>(&text).expect("a record"), record);
        record.devices.insert(VrrpDevice {
            name: "vrrp.51".to_owned(),
            interface: "eth0".to_owned(),
            family: Family::Inet,
            virtual_router_id: 51,
        });
        record.settings.insert(VrrpSetting {
            interface: "eth0".to_owned(),
            name: "net.ipv4.conf.eth0.arp_ignore".to_owned(),
            before: "0".to_owned(),
            set: "1".to_owned(),
        });
        let text = serde_json::to_string(&record).expect("text");
        assert_eq!(serde_json::from_str::<VrrpRecord>(&text).expect("a record"), record);
        let partial: VrrpRecord = serde_json::from_str(r#"{"routes":[]}"#).expect("a record");
        assert!(partial.is_empty());
        assert!(serde_json::from_str::<VrrpRecord>("{\"routes\":7}").is_err());
    }
}
