//! Telling neighbours where addresses are: at once of those that are on their devices, of the others as soon as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{ANNOUNCING, Keeper};
use crate::model::VrrpAddress;
use crate::net::NetError;
use crate::net::neighbour::{self, Burst};

/// What neighbours are to be told, and can be.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// The addresses that were on their devices when they were looked at last.
    here: BTreeSet<VrrpAddress>,
    /// Those that are to be announced, and how often.
    owed: BTreeMap<VrrpAddress, u32>,
}

impl Announcements {
    /// It was seen whether an address is on its device.
    pub(super) fn saw(&mut self, address: &VrrpAddress, here: bool) {
        if !here {
            self.here.remove(address);
        } else if !self.here.contains(address) {
            self.here.insert(address.clone());
        }
    }

    /// An address is to be announced so many times, once it is here.
    pub(super) fn owe(&mut self, address: &VrrpAddress, repeat: u32) {
        let owed = self.owed.entry(address.clone()).or_default();
        *owed = repeat.max(*owed);
    }

    /// No instance holds it any more.
    fn drop_unless(&mut self, is_held: impl Fn(&VrrpAddress) -> bool) {
        self.owed.retain(|address, _| is_held(address));
    }

    /// What is to be announced now: it is here.
    fn take_due(&mut self) -> BTreeMap<VrrpAddress, u32> {
        let owed = std::mem::take(&mut self.owed).into_iter();
        let (due, later) = owed.partition(|(address, _)| self.here.contains(address));
        self.owed = later;
        due
    }
}

impl Keeper {
    /// Announces each address of an instance so many times.
    pub(super) async fn announce(&mut self, instance: &str, repeat: u32) {
        for address in self.held.get(instance).iter().flat_map(|held| &held.addresses) {
            self.announcements.owe(address, repeat);
        }
        self.announce_what_is_here().await;
    }

    /// Announces what is to be and was not here before.
    pub(super) async fn announce_what_is_here(&mut self) {
        let held = &self.held;
        let is_held = |address: &VrrpAddress| held.values().any(|held| held.addresses.contains(address));
        self.announcements.drop_unless(is_held);
        let mut stuck = BTreeSet::new();
        for (address, count) in self.announcements.take_due() {
            if stuck.contains(&address.device) {
                continue;
            }
            let burst = Burst {
                count,
                interval: Duration::ZERO,
            };
            let announcing = neighbour::announce(&address.device, address.address, burst);
            let problem = match tokio::time::timeout(ANNOUNCING, announcing).await {
                // Nobody is behind it.
                Ok(Ok(()) | Err(NetError::NotEthernet { .. })) => None,
                Ok(Err(problem)) => Some(problem.to_string()),
                Err(_elapsed) => {
                    stuck.insert(address.device.clone());
                    let limit = ANNOUNCING.as_secs();
                    Some(format!(
                        "an announcement has not gone out in {limit} s; neighbours there may not know"
                    ))
                }
            };
            self.note_announced(&address, problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn address(device: &str) -> VrrpAddress {
        example(1, device, 24)
    }

    #[test]
    fn only_what_is_here_is_announced_and_the_rest_once_it_is() {
        let (here, gone) = (address("eth0"), address("dummy0"));
        let mut announcements = Announcements::default();
        announcements.saw(&here, true);
        announcements.saw(&gone, false);
        for repeat in [5, 1] {
            announcements.owe(&here, repeat);
            announcements.owe(&gone, repeat);
            assert_eq!(announcements.take_due(), BTreeMap::from([(here.clone(), repeat)]));
        }
        assert!(announcements.take_due().is_empty(), "once");
        announcements.saw(&gone, true);
        assert_eq!(announcements.take_due(), BTreeMap::from([(gone.clone(), 5)]));
        announcements.saw(&gone, false);
        announcements.owe(&gone, 1);
        announcements.drop_unless(|address| *address == here);
        announcements.saw(&gone, true);
        assert!(announcements.take_due().is_empty(), "it was given up meanwhile");
    }
}
