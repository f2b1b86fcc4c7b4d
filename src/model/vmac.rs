//! The virtual MAC of a virtual router: the hardware address that its virtual addresses have on every director, so that
//! nobody on the segment has to learn anything where they move.

use serde::{Deserialize, Serialize};

use super::{Family, Mac, VrrpSpec};

/// That an instance's addresses have the virtual MAC, on a device of their own (`use_vmac`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vmac {
    /// The name of the device, at most 15 bytes.
    pub device: String,
    /// Adverts go out by the device, with the virtual MAC; else by the interface, with that one's (`vmac_xmit_base`).
    pub transmits: bool,
}

impl Vmac {
    /// What the device is called where nobody says it: `vrrp.51`, `vrrp6.51` over IPv6, as keepalived does.
    pub fn default_name(family: Family, virtual_router_id: u8) -> String {
        match family {
            Family::Inet => format!("vrrp.{virtual_router_id}"),
            Family::Inet6 => format!("vrrp6.{virtual_router_id}"),
        }
    }
}

/// The device of a virtual MAC: a macvlan in bridge mode on the interface of its instance. Also for the record of what
/// virtual routers have put on this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VrrpDevice {
    /// Its name.
    pub name: String,
    /// The interface that it is on.
    pub interface: String,
    /// The family of its virtual router.
    pub family: Family,
    /// The number of its virtual router.
    pub virtual_router_id: u8,
}

impl VrrpDevice {
    /// The one that an instance is told to have.
    pub fn of(spec: &VrrpSpec) -> Option<Self> {
        let vmac = spec.vmac.as_ref()?;
        Some(Self {
            name: vmac.device.clone(),
            interface: spec.interface.clone(),
            family: spec.family,
            virtual_router_id: spec.virtual_router_id,
        })
    }

    /// The virtual MAC (RFC 9568, 7.3): 00-00-5E-00-01 and the number over IPv4, 00-00-5E-00-02 over IPv6.
    pub fn mac(&self) -> Mac {
        let family = match self.family {
            Family::Inet => 1,
            Family::Inet6 => 2,
        };
        Mac([0x00, 0x00, 0x5e, 0x00, family, self.virtual_router_id])
    }
}

/// A kernel setting of an interface that was changed for a virtual MAC on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VrrpSetting {
    /// The interface.
    pub interface: String,
    /// The setting's dotted name.
    pub name: String,
    /// What it was, and is again when there is no virtual MAC any more.
    pub before: String,
    /// What it was set to. Where it is something else by then, somebody else has changed it, and it stays so.
    pub set: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_mac_has_the_family_and_the_number_in_it() {
        let mac = |family, virtual_router_id| {
            let device = VrrpDevice {
                name: Vmac::default_name(family, virtual_router_id),
                interface: "eth0".to_owned(),
                family,
                virtual_router_id,
            };
            assert!(device.name.len() <= 15);
            format!("{} {}", device.name, device.mac())
        };
        assert_eq!(mac(Family::Inet, 51), "vrrp.51 00:00:5e:00:01:33");
        assert_eq!(mac(Family::Inet6, 255), "vrrp6.255 00:00:5e:00:02:ff");
    }
}
