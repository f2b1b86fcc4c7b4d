//! What the keeper of the addresses says, and once only until it is something else.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use tracing::{error, info, warn};

use super::announcing::Announcements;
use super::{ANNOUNCING, Keeper};
use crate::model::{VrrpAddress, VrrpEntry};
use crate::net::{Change, NetError};

/// What was said of each of many things.
#[derive(Debug)]
pub(super) struct Once<K>(BTreeMap<K, String>);

impl<K> Default for Once<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Once<K> {
    /// Whether a trouble is worth a word: it is another one than was said of this last.
    pub(super) fn is_news(&mut self, of: K, problem: &str) -> bool {
        self.0.insert(of, problem.to_owned()).as_deref() != Some(problem)
    }

    /// It is well; answers with whether something else was said.
    pub(super) fn is_over<Q: Ord + ?Sized>(&mut self, of: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove(of).is_some()
    }
}

/// What was said, of what.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Of an address that could not be put on, or taken off.
    pub(super) addresses: Once<VrrpAddress>,
    /// Of an address that could not be announced.
    announcements: Once<VrrpAddress>,
    /// For how many addresses a device took nothing.
    stuck: BTreeMap<String, usize>,
    /// Of an address that belongs to nobody any more.
    pub(super) orphans: Once<VrrpEntry>,
    /// Of a route or rule that could not be put in, or taken out.
    routing: Once<String>,
    /// Of a device that could not be put down.
    devices: Once<String>,
    /// Of this host, by what it means.
    host: Once<&'static str>,
}

impl Said {
    /// Nobody has what is not among these, and nobody waits for its device any more.
    pub(super) fn forget_announcements_unless(&mut self, held: &BTreeSet<&VrrpAddress>, of: &Announcements) {
        self.announcements.0.retain(|address, _| held.contains(address));
        self.stuck.retain(|device, _| of.waiting_for(device).next().is_some());
    }
}

impl Keeper {
    /// Says what is wrong with this host, once until it is something else.
    pub(super) fn say_of_host(&mut self, means: &'static str, result: Result<(), NetError>) {
        let Err(problem) = result else {
            self.said.host.is_over(means);
            return;
        };
        self.troubled = true;
        let problem = problem.to_string();
        if self.said.host.is_news(means, &problem) {
            error!("{means}: {problem}; it is tried again every second");
        }
    }

    /// Says what has become of an address.
    pub(super) fn note(&mut self, address: &VrrpAddress, result: Result<Change, NetError>, done: &str) {
        match result {
            Ok(change) => {
                self.said.addresses.is_over(address);
                if change == Change::Made {
                    info!(address = %address.address, device = address.device, "{done}");
                }
            }
            Err(problem) => {
                self.troubled = true;
                let problem = problem.to_string();
                if self.said.addresses.is_news(address.clone(), &problem) {
                    error!(address = %address.address, device = address.device, "{problem}");
                }
            }
        }
    }

    /// Says why an address could not be announced, or that it was at last.
    pub(super) fn note_announced(&mut self, address: &VrrpAddress, problem: Option<&str>) {
        match problem {
            None => {
                if self.said.announcements.is_over(address) {
                    info!(address = %address.address, device = address.device, "virtual address announced at last");
                }
            }
            Some(problem) => {
                if self.said.announcements.is_news(address.clone(), problem) {
                    warn!(address = %address.address, device = address.device, "{problem}; it is tried again every second");
                }
            }
        }
    }

    /// Says which devices take no announcement, again where more addresses wait for it, and when all have gone out.
    pub(super) fn note_stuck(&mut self) {
        let devices: BTreeSet<_> = self
            .announcements
            .stuck()
            .iter()
            .chain(self.said.stuck.keys())
            .cloned()
            .collect();
        for device in devices {
            let mut waiting = self.announcements.waiting_for(&device);
            let Some(first) = waiting.next() else {
                if self.said.stuck.remove(&device).is_some() {
                    info!(device, "all virtual addresses of this device are announced at last");
                }
                continue;
            };
            let (count, told) = (1 + waiting.count(), self.said.stuck.get(&device).copied().unwrap_or(0));
            if self.announcements.stuck().contains(&device) && count > told {
                warn!(
                    device,
                    "{device} has taken no packets for {} s: virtual addresses that could not be announced: {count}, the \
                     first of them {}; neighbours may send to the director before, and it is tried again every second \
                     (see what waits there: tc -s qdisc show dev {device})",
                    ANNOUNCING.as_secs(),
                    first.address
                );
                self.said.stuck.insert(device, count);
            }
        }
    }

    /// Says what has become of a route or rule.
    pub(super) fn note_routing(&mut self, what: &str, result: Result<Change, NetError>, done: &str) {
        match result {
            Ok(change) => {
                self.said.routing.is_over(what);
                if change == Change::Made {
                    info!("{what} {done}");
                }
            }
            Err(problem) => {
                self.troubled = true;
                let problem = problem.to_string();
                if self.said.routing.is_news(what.to_owned(), &problem) {
                    error!("{problem}");
                }
            }
        }
    }

    /// Says what has become of a device that was to go down; answers with whether it has.
    pub(super) fn note_lowered(&mut self, device: &str, result: Result<(), NetError>) -> bool {
        match result {
            Ok(()) => {
                if self.said.devices.is_over(device) {
                    info!(device, "device of the virtual MAC is down at last");
                }
                true
            }
            Err(problem) => {
                self.troubled = true;
                let problem = problem.to_string();
                if self.said.devices.is_news(device.to_owned(), &problem) {
                    error!(device, "{problem}; it is tried again every second");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_once_until_it_is_another_one_or_over() {
        let mut said = Once::<String>::default();
        assert!(!said.is_over("vrrp.51"), "nothing was said");
        let told = ["down", "down", "gone", "gone", "down"].map(|problem| said.is_news("vrrp.51".to_owned(), problem));
        assert_eq!(told, [true, false, true, false, true]);
        assert!(said.is_news("vrrp.52".to_owned(), "down"), "of another one");
        assert!(said.is_over("vrrp.51"));
        assert!(!said.is_over("vrrp.51"), "once as well");
        assert!(said.is_news("vrrp.51".to_owned(), "down"), "it has come back");
    }
}
