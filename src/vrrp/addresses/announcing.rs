//! Telling neighbours where addresses are: at once of those that are on their devices, of the others as soon as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{ANNOUNCING, Keeper};
use crate::model::{Link, VrrpAddress};
use crate::net::NetError;
use crate::net::neighbour::{Announcer, Burst};

/// What neighbours are to be told, and can be.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// The addresses that were on their devices when they were looked at last.
    here: BTreeSet<VrrpAddress>,
    /// Those that are to be announced, and how often.
    owed: BTreeMap<VrrpAddress, u32>,
    /// Those that could not be announced, not even once.
    failed: BTreeSet<VrrpAddress>,
    /// Devices that took nothing when it was tried last: nobody waits for them again before they do.
    stuck: BTreeSet<String>,
}

/// What came of trying to announce some addresses.
#[derive(Default)]
struct Attempt<'a> {
    /// Why an address was not announced, or that it was; of a stuck device's there is nothing.
    outcomes: BTreeMap<&'a VrrpAddress, Option<String>>,
    /// The time that was left for each device.
    left: BTreeMap<&'a str, Duration>,
    /// Those that took nothing any more.
    stuck: BTreeSet<&'a str>,
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

    /// What could not be announced is to be announced once.
    pub(super) fn try_again(&mut self) {
        for address in std::mem::take(&mut self.failed) {
            self.owe(&address, 1);
        }
    }

    /// No instance holds what is not among these.
    fn drop_unless(&mut self, held: &BTreeSet<&VrrpAddress>) {
        self.owed.retain(|address, _| held.contains(address));
        self.failed.retain(|address| held.contains(address));
        self.stuck
            .retain(|device| held.iter().any(|address| address.device == *device));
    }

    /// The addresses of a device that could not be announced yet.
    pub(super) fn waiting_for<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a VrrpAddress> {
        let all = self.failed.iter().chain(self.owed.keys());
        all.filter(move |address| address.device == device)
    }

    /// The devices that took nothing when it was tried last.
    pub(super) fn stuck(&self) -> &BTreeSet<String> {
        &self.stuck
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
        let devices: BTreeSet<_> = addresses.map(|address| address.device.clone()).collect();
        self.announcers.retain(|device, _| devices.contains(device));
        self.seen_as.retain(|device, _| devices.contains(device));
        for device in devices {
            let Some(link) = links.iter().find(|link| link.name == device && link.up) else {
                self.announcers.remove(&device);
                continue;
            };
            let seen_as = (link.index, link.mac);
            let before = self.seen_as.insert(device.clone(), seen_as);
            if before.is_some_and(|before| before != seen_as) {
                let held = self.held.values().flat_map(|held| &held.addresses);
                for address in held.filter(|address| address.device == device) {
                    self.announcements.owe(address, 1);
                }
            }
            if !self.announcers.get(&device).is_some_and(|known| known.fits(link)) {
                self.announcers.remove(&device);
                // Why it cannot be had is told when it is needed.
                if let Ok(announcer) = Announcer::open(link) {
                    self.announcers.insert(device, announcer);
                }
            }
        }
    }

    /// Announces what is to be and is here. What could not be announced is in another attempt's way only once a second.
    pub(super) async fn announce_what_is_here(&mut self) {
        if self.announcements.owed.is_empty() {
            return;
        }
        let held: BTreeSet<_> = self.held.values().flat_map(|held| &held.addresses).collect();
        self.announcements.drop_unless(&held);
        self.said.forget_announcements_unless(&held, &self.announcements);
        let due = self.announcements.take_due();
        let Attempt { outcomes, left, .. } = self.attempt(&due).await;
        let tried = left.into_keys();
        for (address, problem) in &outcomes {
            match problem {
                Some(_) => drop(self.announcements.failed.insert((*address).clone())),
                None => drop(self.announcements.failed.remove(*address)),
            }
            self.note_announced(address, problem.as_deref());
        }
        let waiting: BTreeSet<_> = due.keys().filter(|address| !outcomes.contains_key(address)).collect();
        for device in tried {
            match waiting.iter().any(|address| address.device == device) {
                true => drop(self.announcements.stuck.insert(device.to_owned())),
                false => drop(self.announcements.stuck.remove(device)),
            }
        }
        self.announcements.failed.extend(waiting.into_iter().cloned());
        self.troubled |= !self.announcements.failed.is_empty();
        self.note_stuck();
    }

    /// Announces each address so many times.
    async fn attempt<'a>(&mut self, due: &'a BTreeMap<VrrpAddress, u32>) -> Attempt<'a> {
        let mut attempt = Attempt::default();
        // All once, before any of them again.
        for again in [false, true] {
            for (address, count) in due {
                let count = if again { count.saturating_sub(1) } else { *count.min(&1) };
                let has_failed = matches!(attempt.outcomes.get(address), Some(Some(_)));
                if count == 0 || has_failed || attempt.stuck.contains(&*address.device) {
                    continue;
                }
                self.turns.fetch_add(1, Ordering::Relaxed);
                let left = attempt.left.entry(&address.device).or_insert_with(|| {
                    let is_stuck = self.announcements.stuck.contains(&address.device);
                    if is_stuck { Duration::ZERO } else { ANNOUNCING }
                });
                let began = Instant::now();
                let result = tokio::time::timeout(*left, self.tell_neighbours(address, count)).await;
                *left = left.saturating_sub(began.elapsed());
                match result {
                    // Nobody is behind what is no Ethernet.
                    Ok(Ok(()) | Err(NetError::NotEthernet { .. })) => drop(attempt.outcomes.insert(address, None)),
                    // Once is enough, if it has to be.
                    Ok(Err(problem)) => {
                        attempt
                            .outcomes
                            .entry(address)
                            .or_insert_with(|| Some(problem.to_string()));
                    }
                    Err(_elapsed) => drop(attempt.stuck.insert(&address.device)),
                }
            }
            // What is sent by a virtual interface is handed on by a thread of the kernel's, which on one processor waits for
            // this one.
            std::thread::yield_now();
        }
        attempt
    }

    async fn tell_neighbours(&mut self, address: &VrrpAddress, count: u32) -> Result<(), NetError> {
        let device = &address.device;
        let burst = Burst {
            count,
            interval: Duration::ZERO,
        };
        // It may have been down meanwhile.
        if let Some(known) = self.announcers.get(device)
            && known.announce(address.address, burst).await.is_ok()
        {
            return Ok(());
        }
        self.announcers.remove(device);
        let announcer = Announcer::open(&self.network()?.link(device)?)?;
        announcer.announce(address.address, burst).await?;
        self.announcers.insert(device.clone(), announcer);
        Ok(())
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
        announcements.drop_unless(&BTreeSet::from([&here]));
        announcements.saw(&gone, true);
        assert!(announcements.take_due().is_empty(), "it was given up meanwhile");
    }
}
