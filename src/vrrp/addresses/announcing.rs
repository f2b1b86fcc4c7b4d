//! Telling neighbours where addresses are: at once of those that are on their devices, of the others as soon as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{ANNOUNCING, Keeper};
use crate::model::{Family, Link, VrrpAddress};
use crate::net::NetError;
use crate::net::neighbour::{Announcer, Burst};

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
    /// Each address of an instance is to be announced so many times.
    pub(super) fn owe(&mut self, instance: &str, repeat: u32) {
        for address in self.held.get(instance).iter().flat_map(|held| &held.addresses) {
            self.announcements.owe(address, repeat);
        }
    }

    /// Has a way to tell the hosts behind each device on which instances have addresses, before there is something to tell.
    /// They are told again where a device that addresses are on has another hardware address than it had.
    pub(super) fn prepare_to_announce(&mut self, links: &[Link]) {
        let addresses = self.specs.iter().flat_map(|spec| &spec.addresses);
        let wanted: BTreeSet<_> = addresses.map(way).collect();
        self.announcers.retain(|way, _| wanted.contains(way));
        for way in wanted {
            let link = links.iter().find(|link| link.name == way.0 && link.up);
            if let (Some(link), Some(known)) = (link, self.announcers.get(&way))
                && known.fits(link)
            {
                continue;
            }
            let before = self.announcers.remove(&way);
            // Why it cannot be had is told when it is needed.
            let Some(announcer) = link.and_then(|link| Announcer::open(link, way.1).ok()) else {
                continue;
            };
            self.announcers.insert(way.clone(), announcer);
            if before.is_some() {
                let held = self.held.values().flat_map(|held| &held.addresses);
                for address in held.filter(|address| self::way(address) == way) {
                    self.announcements.owe(address, 1);
                }
            }
        }
    }

    /// Announces what is to be and is here.
    pub(super) async fn announce_what_is_here(&mut self) {
        if self.announcements.owed.is_empty() {
            return;
        }
        let held: BTreeSet<_> = self.held.values().flat_map(|held| &held.addresses).collect();
        self.announcements.drop_unless(|address| held.contains(address));
        let mut stuck = BTreeSet::new();
        for (address, count) in self.announcements.take_due() {
            if stuck.contains(&address.device) {
                continue;
            }
            let problem = match tokio::time::timeout(ANNOUNCING, self.tell_neighbours(&address, count)).await {
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

    async fn tell_neighbours(&mut self, address: &VrrpAddress, count: u32) -> Result<(), NetError> {
        let way = way(address);
        let burst = Burst {
            count,
            interval: Duration::ZERO,
        };
        // It may have been down meanwhile.
        if let Some(known) = self.announcers.get(&way)
            && known.announce(address.address, burst).await.is_ok()
        {
            return Ok(());
        }
        self.announcers.remove(&way);
        let link = self.network()?.link(&address.device)?;
        let announcer = Announcer::open(&link, way.1)?;
        announcer.announce(address.address, burst).await?;
        self.announcers.insert(way, announcer);
        Ok(())
    }
}

/// Behind which device and in which family neighbours are told of an address.
fn way(address: &VrrpAddress) -> (String, Family) {
    (address.device.clone(), Family::of(address.address))
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
