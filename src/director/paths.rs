//! Ways through the kernel's table to one real server alone, for checks with `via = "path"`: a service of one firewall
//! mark with one destination each. A probe that has the mark and goes to the virtual address proves the address, the
//! decapsulation and the service on that very server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, PATH_MARKS, Scheduler, Service, ServiceKey, ServiceSpec, Table,
};

/// The way to one real server. It is the same for all virtual addresses of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    /// The family of the virtual address.
    pub(super) family: Family,
    pub(super) server: IpAddr,
    pub(super) forwarding: Forwarding,
}

/// All ways that checks need, each with its mark.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    marks: BTreeMap<Path, u32>,
    /// Marks of ours that somebody else uses.
    foreign: BTreeSet<u32>,
}

impl Paths {
    /// Makes sure that a way has a mark, if there is one left.
    pub(super) fn want(&mut self, path: Path) {
        if !self.marks.contains_key(&path)
            && let Some(mark) = self.free_mark()
        {
            self.marks.insert(path, mark);
        }
    }

    /// Gives up the ways that nobody needs.
    pub(super) fn retain(&mut self, needed: &BTreeSet<Path>) {
        self.marks.retain(|path, _| needed.contains(path));
    }

    pub(super) fn mark(&self, path: &Path) -> Option<u32> {
        self.marks.get(path).copied()
    }

    /// Moves to other marks where the kernel has services of these that are not ours.
    pub(super) fn make_way(&mut self, table: &Table, owned: &BTreeSet<ServiceKey>) {
        let foreign = table.services.keys().filter(|key| !owned.contains(key));
        let marks = foreign.filter_map(|key| match key {
            ServiceKey::Fwmark { mark, .. } if PATH_MARKS.contains(mark) => Some(*mark),
            ServiceKey::Fwmark { .. } | ServiceKey::Address { .. } => None,
        });
        self.foreign = marks.collect();
        let foreign = &self.foreign;
        let lost: Vec<_> = self
            .marks
            .iter()
            .filter(|(_, mark)| foreign.contains(mark))
            .map(|(path, _)| *path)
            .collect();
        self.marks.retain(|_, mark| !foreign.contains(mark));
        for path in lost {
            self.want(path);
        }
    }

    /// The services that the table needs for all ways.
    pub(super) fn services(&self) -> impl Iterator<Item = (ServiceKey, Service)> + '_ {
        self.marks.iter().map(|(path, mark)| {
            let spec = DestinationSpec::new(path.forwarding, 1);
            let service = Service {
                spec: ServiceSpec::new(Scheduler::Rr, path.family),
                destinations: BTreeMap::from([(DestinationKey::new(path.server, 0), spec)]),
            };
            (key(*mark, path.family), service)
        })
    }

    /// Whether the table has the way as it has to be.
    pub(super) fn is_open(&self, path: &Path, table: &Table) -> bool {
        let found = self
            .mark(path)
            .and_then(|mark| table.services.get(&key(mark, path.family)));
        let destination = DestinationKey::new(path.server, 0);
        let leads_there = |service: &Service| {
            let spec = service.destinations.get(&destination);
            service.destinations.len() == 1
                && spec.is_some_and(|spec| spec.weight > 0 && spec.forwarding == path.forwarding)
        };
        found.is_some_and(leads_there)
    }

    fn free_mark(&self) -> Option<u32> {
        let taken: BTreeSet<_> = self.marks.values().chain(&self.foreign).collect();
        PATH_MARKS.into_iter().find(|mark| !taken.contains(mark))
    }
}

fn key(mark: u32, family: Family) -> ServiceKey {
    ServiceKey::Fwmark { mark, family }
}

/// Whether a service is one that ipvsd makes for checks.
pub fn is_path_service(key: &ServiceKey) -> bool {
    match key {
        ServiceKey::Fwmark { mark, .. } => PATH_MARKS.contains(mark),
        ServiceKey::Address { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(last: u8) -> Path {
        Path {
            family: Family::Inet,
            server: [192, 0, 2, last].into(),
            forwarding: Forwarding::Dr,
        }
    }

    #[test]
    fn a_way_keeps_its_mark_and_a_mark_that_is_free_is_used_again() {
        let first = *PATH_MARKS.start();
        let mut paths = Paths::default();
        for last in [11, 12, 13] {
            paths.want(path(last));
        }
        assert_eq!(paths.mark(&path(13)), Some(first + 2));
        paths.retain(&BTreeSet::from([path(11), path(13)]));
        paths.want(path(14));
        assert_eq!(paths.mark(&path(14)), Some(first + 1));
        assert_eq!(paths.mark(&path(13)), Some(first + 2));
        assert_eq!(paths.mark(&path(12)), None);
    }

    #[test]
    fn marks_that_somebody_else_uses_are_left_to_him() {
        let first = *PATH_MARKS.start();
        let mut paths = Paths::default();
        paths.want(path(11));
        let table = Table {
            services: paths.services().collect(),
            ..Table::default()
        };
        assert!(paths.is_open(&path(11), &table));
        paths.make_way(&table, &BTreeSet::from([key(first, Family::Inet)]));
        assert_eq!(paths.mark(&path(11)), Some(first), "it is ours");
        paths.make_way(&table, &BTreeSet::new());
        assert_eq!(paths.mark(&path(11)), Some(first + 1));
        assert!(!paths.is_open(&path(11), &table));
    }
}
