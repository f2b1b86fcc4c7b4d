//! Who else on this host has an address that an instance gives up: another instance, or a virtual server that keeps it on
//! a device for good. What one of them has is not taken off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::Belongings;
use super::{Keeper, vip};
use crate::model::{Family, VirtualAddress, VrrpAddress};
use crate::net::{AddOptions, Change, HostNetwork, NetError};

/// What becomes of an address that an instance gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// It goes: nobody else has it.
    Goes,
    /// It stays: another instance has it there.
    Stays,
    /// A virtual server has it there from now on.
    IsHandedOver,
}

/// Those who have addresses beside what the instances hold.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// What virtual servers keep on devices.
    servers: BTreeSet<VirtualAddress>,
    /// What instances are about to be told to hold.
    next: BTreeMap<Arc<str>, Arc<Belongings>>,
}

impl Owners {
    /// Virtual servers keep these from now on, and no others.
    pub(super) fn serve(&mut self, addresses: BTreeSet<VirtualAddress>) {
        self.servers = addresses;
    }

    /// These instances are about to be told to hold this.
    pub(super) fn expect(&mut self, next: BTreeMap<Arc<str>, Arc<Belongings>>) {
        self.next = next;
    }

    /// This one was told.
    pub(super) fn was_told(&mut self, instance: &str) {
        self.next.remove(instance);
    }

    /// What instances are about to hold.
    pub(super) fn expected(&self) -> impl Iterator<Item = &Arc<Belongings>> {
        self.next.values()
    }

    /// Whether a virtual server keeps this one.
    pub(super) fn has(&self, address: &VirtualAddress) -> bool {
        self.servers.contains(address)
    }

    /// What becomes of an address, given what is `kept` on this host by instances, with whatever prefix.
    pub(super) fn parting(&self, address: &VrrpAddress, kept: &[Arc<Belongings>]) -> Parting {
        let mut held = kept.iter().flat_map(|kept| &kept.addresses);
        if held.any(|held| are_one(held, address)) {
            Parting::Stays
        } else if self.has(&vip(address)) {
            Parting::IsHandedOver
        } else {
            Parting::Goes
        }
    }
}

/// The same address on the same device, with whatever prefix.
pub(super) fn are_one(one: &VrrpAddress, other: &VrrpAddress) -> bool {
    one.address == other.address && one.device == other.device
}

impl Keeper {
    /// Leaves an address on its device to a virtual server, without the prefix of its network: with it nobody would ever
    /// take it off.
    pub(super) fn hand_over(
        &self,
        network: &HostNetwork,
        address: &VirtualAddress,
        prefix: u8,
    ) -> Result<Change, NetError> {
        if prefix == Family::of(address.address).host_prefix() {
            return Ok(Change::Made);
        }
        let present = network.addresses()?;
        let mut here = present.iter().filter(|held| held.prefix == prefix);
        if !here.any(|held| held.address == address.address && held.device == address.device) {
            return Ok(Change::AlreadySo);
        }
        let options = AddOptions::director();
        // IPv4 can be there with both; IPv6 is there once, whatever its prefix.
        if address.address.is_ipv4() {
            network.add_address(address, &options)?;
        }
        network.remove_address_of(address, prefix)?;
        if address.address.is_ipv6() {
            network.add_address(address, &options)?;
        }
        Ok(Change::Made)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example as address;
    use super::*;

    fn holding(addresses: &[VrrpAddress]) -> Arc<Belongings> {
        let addresses = addresses.to_vec();
        Arc::new(Belongings {
            addresses,
            ..Belongings::default()
        })
    }

    #[test]
    fn an_address_goes_only_where_nobody_else_has_it() {
        let mut owners = Owners::default();
        let given_up = address(1, "eth0", 24);
        assert_eq!(owners.parting(&given_up, &[]), Parting::Goes);
        let others = [holding(&[address(2, "eth0", 24), address(1, "eth1", 24)])];
        assert_eq!(
            owners.parting(&given_up, &others),
            Parting::Goes,
            "another one, or elsewhere"
        );
        let another = [holding(&[]), holding(&[address(1, "eth0", 32)])];
        assert_eq!(
            owners.parting(&given_up, &another),
            Parting::Stays,
            "whatever its prefix"
        );
        owners.serve(BTreeSet::from([vip(&address(1, "eth1", 32))]));
        assert_eq!(owners.parting(&given_up, &[]), Parting::Goes, "on another device");
        owners.serve(BTreeSet::from([vip(&address(1, "eth0", 32))]));
        assert_eq!(owners.parting(&given_up, &[]), Parting::IsHandedOver);
        assert_eq!(owners.parting(&given_up, &another), Parting::Stays);
        owners.serve(BTreeSet::new());
        assert_eq!(owners.parting(&given_up, &[]), Parting::Goes);
    }

    #[test]
    fn what_is_expected_counts_until_it_was_told() {
        let mut owners = Owners::default();
        let next = [("A", 1), ("Z", 2)].map(|(name, last)| (name.into(), holding(&[address(last, "eth0", 32)])));
        owners.expect(BTreeMap::from(next));
        let parting = |owners: &Owners, last| {
            let kept: Vec<_> = owners.expected().cloned().collect();
            owners.parting(&address(last, "eth0", 32), &kept)
        };
        assert_eq!(parting(&owners, 1), Parting::Stays);
        owners.was_told("A");
        assert_eq!(
            [1, 2].map(|last| parting(&owners, last)),
            [Parting::Goes, Parting::Stays]
        );
    }
}
