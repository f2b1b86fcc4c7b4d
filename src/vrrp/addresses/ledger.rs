//! What an instance has where it is master, and the record of what is there.

use std::collections::BTreeSet;

use crate::model::{VrrpAddress, VrrpDevice, VrrpRecord, VrrpRoute, VrrpRule, VrrpSpec};

/// What an instance has where it is master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::vrrp) struct Belongings {
    pub(super) addresses: Vec<VrrpAddress>,
    pub(super) routes: Vec<VrrpRoute>,
    pub(super) rules: Vec<VrrpRule>,
    /// The device with the virtual MAC; there also where nothing is held.
    pub(super) device: Option<VrrpDevice>,
}

impl Belongings {
    /// All that it is told to have.
    pub(in crate::vrrp) fn of(spec: &VrrpSpec) -> Self {
        Self {
            addresses: spec.addresses.clone(),
            routes: spec.routes.clone(),
            rules: spec.rules.clone(),
            device: VrrpDevice::of(spec),
        }
    }

    /// Whether there is something besides addresses.
    pub(super) fn has_routing(&self) -> bool {
        !self.routes.is_empty() || !self.rules.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.has_routing()
    }
}

/// Puts a record down; answers with whether it could.
type Write = Box<dyn FnMut(&VrrpRecord) -> bool + Send>;

/// What virtual routers of this host have put on it, or are about to, for the process after this one.
pub struct Ledger {
    /// What is there as far as is known, and what is prepared.
    pub(super) record: VrrpRecord,
    /// What was not there and may be soon.
    prepared: VrrpRecord,
    /// What is put down is another record.
    unwritten: bool,
    write: Write,
}

impl Ledger {
    /// One of what a process before this one has left. `write` puts the record down and answers with whether it could; it
    /// is called before something is put in, and after something was taken out.
    pub fn new(record: VrrpRecord, write: impl FnMut(&VrrpRecord) -> bool + Send + 'static) -> Self {
        Self {
            record,
            prepared: VrrpRecord::default(),
            unwritten: false,
            write: Box::new(write),
        }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut VrrpRecord)) {
        let before = self.record.clone();
        change(&mut self.record);
        if self.unwritten || self.record != before {
            self.unwritten = !(self.write)(&self.record);
        }
    }

    /// This is put in next.
    pub(super) fn add<'a>(&mut self, wanted: impl Iterator<Item = &'a Belongings>) {
        let wanted = record_of(wanted);
        self.prepared.remove(&wanted);
        self.change(|record| record.add(&wanted));
    }

    /// This may be put in soon.
    pub(super) fn prepare<'a>(&mut self, wanted: impl Iterator<Item = &'a Belongings>) {
        let mut wanted = record_of(wanted);
        wanted.remove(&self.record);
        self.prepared.add(&wanted);
        self.change(|record| record.add(&wanted));
    }

    /// What was prepared, was not put in and is not wanted by any of these is nobody's.
    pub(super) fn withdraw<'a>(&mut self, known: impl Iterator<Item = &'a Belongings>) {
        let mut gone = self.prepared.clone();
        gone.remove(&record_of(known));
        self.prepared.remove(&gone);
        self.change(|record| record.remove(&gone));
    }

    /// What belongs to no instance any more: neither to one of these, nor to one that still ends.
    pub(super) fn orphans<'a>(&self, known: impl Iterator<Item = &'a Belongings> + Clone) -> VrrpRecord {
        let addresses = known.clone().flat_map(|has| &has.addresses);
        let addresses: BTreeSet<_> = addresses.map(|address| (&*address.device, address.address)).collect();
        let routes: BTreeSet<_> = known.clone().flat_map(|has| &has.routes).collect();
        let rules: BTreeSet<_> = known.clone().flat_map(|has| &has.rules).collect();
        let devices: BTreeSet<_> = known.filter_map(|has| has.device.as_ref()).collect();
        let mut orphans = self.record.clone();
        orphans
            .addresses
            .retain(|entry| !addresses.contains(&(&*entry.device, entry.address)));
        orphans.routes.retain(|route| !routes.contains(route));
        orphans.rules.retain(|rule| !rules.contains(rule));
        // One of that name that has another MAC now is made anew by its instance.
        orphans
            .devices
            .retain(|made| !devices.iter().any(|device| device.name == made.name));
        orphans
            .settings
            .retain(|setting| !devices.iter().any(|device| device.interface == setting.interface));
        orphans
    }
}

/// Devices are put on record by whoever makes them.
fn record_of<'a>(wanted: impl Iterator<Item = &'a Belongings>) -> VrrpRecord {
    let mut record = VrrpRecord::default();
    for wanted in wanted {
        record.addresses.extend(wanted.addresses.iter().map(VrrpAddress::entry));
        record.routes.extend(wanted.routes.iter().cloned());
        record.rules.extend(wanted.rules.iter().cloned());
    }
    record
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::example as address;
    use super::*;
    use crate::model::{AddressScope, Family, Prefix, RouteKind};

    fn addresses(addresses: &[&VrrpAddress]) -> Belongings {
        Belongings {
            addresses: addresses.iter().map(|address| (*address).clone()).collect(),
            ..Belongings::default()
        }
    }

    fn routed(metric: u32, priority: u32) -> Belongings {
        Belongings {
            addresses: Vec::new(),
            routes: vec![VrrpRoute {
                to: Prefix::all(Family::Inet),
                via: None,
                device: Some("eth0".to_owned()),
                source: None,
                table: 100,
                metric,
                scope: AddressScope::Link,
                kind: RouteKind::Unicast,
                onlink: false,
                mtu: None,
            }],
            rules: vec![VrrpRule {
                family: Family::Inet,
                priority,
                from: None,
                to: None,
                iif: None,
                oif: None,
                fwmark: Some(1),
                fwmask: None,
                table: 100,
            }],
            device: None,
        }
    }

    /// So many things find no room.
    const FULL: usize = 3;

    /// A ledger with nothing in it, and what it has tried to write: how many things each time.
    fn ledger() -> (Ledger, Arc<Mutex<Vec<usize>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&written);
        let write = move |record: &VrrpRecord| {
            let many = record.addresses.len() + record.routes.len() + record.rules.len();
            log.lock().expect("a log").push(many);
            many != FULL
        };
        (Ledger::new(VrrpRecord::default(), write), written)
    }

    #[test]
    fn the_ledger_is_written_when_it_changes_and_knows_what_nobody_wants() {
        let (mut ledger, written) = ledger();
        let old = address(1, "eth0", 32);
        ledger.record.addresses.insert(old.entry());
        let (one, two, three) = (address(1, "eth0", 24), address(2, "eth0", 32), address(1, "eth1", 32));
        let orphans = |ledger: &Ledger, known: &[&VrrpAddress]| ledger.orphans([addresses(known)].iter()).addresses;
        assert_eq!(orphans(&ledger, &[&one]), BTreeSet::new(), "whatever its prefix");
        assert_eq!(orphans(&ledger, &[&two, &three]).len(), 1);
        assert_eq!(orphans(&ledger, &[]), BTreeSet::from([old.entry()]));
        ledger.add([addresses(&[&two])].iter());
        ledger.add([addresses(&[&two])].iter());
        ledger.change(|record| {
            record.addresses.remove(&three.entry());
        });
        ledger.change(|record| {
            record.addresses.remove(&two.entry());
        });
        assert_eq!(*written.lock().expect("a log"), [2, 1]);
    }

    #[test]
    fn what_was_prepared_and_has_not_come_is_withdrawn() {
        let (mut ledger, written) = ledger();
        let (one, two) = (address(1, "eth0", 24), address(2, "eth0", 32));
        ledger.add([addresses(&[&one])].iter());
        ledger.prepare([addresses(&[&one, &two])].iter());
        ledger.withdraw([addresses(&[&two])].iter());
        assert_eq!(ledger.record.addresses.len(), 2, "it may come");
        ledger.withdraw([].iter());
        assert_eq!(ledger.record.addresses, BTreeSet::from([one.entry()]), "one is there");
        ledger.prepare([addresses(&[&two])].iter());
        ledger.add([addresses(&[&two])].iter());
        ledger.withdraw([].iter());
        assert_eq!(ledger.record.addresses.len(), 2, "it has come");
        assert_eq!(*written.lock().expect("a log"), [1, 2, 1, 2]);
    }

    #[test]
    fn what_could_not_be_written_is_written_before_something_is_put_in() {
        let (mut ledger, written) = ledger();
        let all: Vec<_> = (1..=4).map(|last| address(last, "eth0", 32)).collect();
        let first = || addresses(&[&all[0], &all[1], &all[2]]);
        ledger.prepare([first()].iter());
        ledger.add([first()].iter());
        ledger.add([addresses(&[&all[3]])].iter());
        ledger.add([first()].iter());
        assert_eq!(
            *written.lock().expect("a log"),
            [FULL, FULL, 4],
            "tried until it could be"
        );
    }

    #[test]
    fn a_route_or_rule_that_is_no_longer_configured_like_that_is_nobodys() {
        let (mut ledger, written) = ledger();
        ledger.add([routed(10, 1000)].iter());
        ledger.add([routed(10, 1000)].iter());
        assert_eq!(*written.lock().expect("a log"), [2]);
        let orphans = |known: Belongings| {
            let orphans = ledger.orphans([known].iter());
            (orphans.routes.len(), orphans.rules.len())
        };
        assert_eq!(orphans(routed(10, 1000)), (0, 0));
        assert_eq!(orphans(routed(11, 1000)), (1, 0));
        assert_eq!(orphans(routed(10, 1001)), (0, 1));
        assert_eq!(orphans(Belongings::default()), (1, 1));
    }
}
