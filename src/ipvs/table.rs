//! Whole tables: services with their destinations, by dumps or through `/proc/net/ip_vs`, and the connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;

use super::client::Client;
use super::error::IpvsError;
use super::leisure::Leisure;
use super::proc;
use super::socket::Transport;
use crate::model::{
    ConnectionEntry, Forwarding, KernelInfo, ListedDestination, ListedService, Service, ServiceFlags, ServiceKey, Table,
};

const PROC_TABLE: &str = "/proc/thread-self/net/ip_vs";
const PROC_CONNECTIONS: &str = "/proc/thread-self/net/ip_vs_conn";
/// How many bytes of a file are read between two pauses.
const PIECE: u64 = 16 << 10;

impl<T: Transport> Client<T> {
    /// Everything with all figures, in the kernel's order: one dump a service.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn listing(&mut self) -> Result<Vec<ListedService>, IpvsError> {
        let mut services = self.services()?;
        for service in &mut services {
            service.destinations = self.destinations(&service.key)?;
        }
        Ok(services)
    }

    /// Everything, cheaply: one dump of the services, and `/proc/net/ip_vs` for their destinations.
    ///
    /// That file has forwarding method, weight and connections in full; it lacks thresholds, tunnel options, traffic
    /// and the family of firewall-mark services. `needs_all` names the services whose destinations have to be read
    /// one by one for that; firewall-mark services and those with tunnels always are.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn cheap_listing(&mut self, needs_all: impl Fn(&ServiceKey) -> bool) -> Result<Vec<ListedService>, IpvsError> {
        // Each takes the kernel about half of the time, and they do not wait for each other.
        let (services, found) = thread::scope(|scope| {
            let reading = scope.spawn(|| read_proc(PROC_TABLE).map(|text| proc::destinations(&text)));
            (self.services(), reading.join().unwrap_or(Err(IpvsError::ThreadEnded)))
        });
        self.complete(services?, found?, needs_all)
    }

    /// The services of a cheap listing with their destinations.
    fn complete(
        &mut self,
        mut services: Vec<ListedService>,
        found: Vec<(ServiceKey, Vec<ListedDestination>)>,
        needs_all: impl Fn(&ServiceKey) -> bool,
    ) -> Result<Vec<ListedService>, IpvsError> {
        self.fill_in(&mut services, found, |key, destinations| {
            needs_all(key) || destinations.iter().any(is_tunnel)
        })?;
        Ok(services)
    }

    /// Gives the services the destinations found in `/proc/net/ip_vs`, or those of a dump where `needs_all` says so
    /// of them and where the file does not have them.
    fn fill_in(
        &mut self,
        services: &mut [ListedService],
        found: Vec<(ServiceKey, Vec<ListedDestination>)>,
        needs_all: impl Fn(&ServiceKey, &[ListedDestination]) -> bool,
    ) -> Result<(), IpvsError> {
        // Both lists are in the kernel's order, so the next one found is the one wanted unless the table has changed.
        let mut found = found.into_iter().peekable();
        let mut others: BTreeMap<ServiceKey, Vec<ListedDestination>> = BTreeMap::new();
        for service in services {
            let is_address = service.key.address().is_some();
            let next = match found.next_if(|(key, _)| *key == service.key) {
                Some((_, destinations)) => Some(destinations),
                None if is_address => {
                    others.extend(&mut found);
                    others.remove(&service.key)
                }
                None => None,
            };
            service.destinations = match next {
                Some(destinations) if !needs_all(&service.key, &destinations) => destinations,
                _ => self.destinations(&service.key)?,
            };
        }
        Ok(())
    }

    /// The table as a value to compare; `needs_all` as in [`Client::cheap_listing`].
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn table(&mut self, needs_all: impl Fn(&ServiceKey) -> bool) -> Result<Table, IpvsError> {
        let listed = self.cheap_listing(needs_all)?;
        let mut table = Table::default();
        take_in(&mut table, listed);
        Ok(table)
    }

    /// The table as a value to compare, unless it is the one that is `known` already; `needs_all` as in
    /// [`Client::cheap_listing`].
    ///
    /// This is for looking at it again and again while the same host has better things to do: it takes one processor
    /// only, leaves it to others again and again unless `hurry` says that somebody waits, and makes nothing of
    /// a table that has not changed. What has not changed since the `last` look is not even taken apart.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn table_unless(
        &mut self,
        known: Option<&Arc<Table>>,
        last: &mut LastLook,
        needs_all: impl Fn(&ServiceKey) -> bool,
        hurry: impl Fn() -> bool,
    ) -> Result<Option<Table>, IpvsError> {
        let before = std::mem::take(last);
        let mut leisure = Leisure::new(|| known.is_none() || hurry());
        let mut services = self.services()?;
        services.iter_mut().for_each(forget_what_means_nothing);
        leisure.pause();
        let text = read_proc_at_leisure(PROC_TABLE, &mut leisure)?;
        if let Some(known) = known
            && are_listed(known, &services)
            && !services.iter().any(|service| needs_all(&service.key))
            && before.tells_of(known, &text)
        {
            *last = LastLook::that_found(known, text);
            return Ok(None);
        }
        let found = proc::destinations(&text);
        leisure.pause();
        let listed = self.complete(services, found, &needs_all)?;
        leisure.pause();
        if let Some(known) = known
            && is_listed(known, &listed)
        {
            // Of the others the text is not what was compared.
            let is_told = |service: &ListedService| {
                let in_full = service.key.address().is_none() || needs_all(&service.key);
                !in_full && !service.destinations.iter().any(is_tunnel)
            };
            if listed.iter().all(is_told) {
                *last = LastLook::that_found(known, text);
            }
            return Ok(None);
        }
        let mut table = Table::default();
        take_in(&mut table, listed);
        Ok(Some(table))
    }

    /// Some services in full, as a value to compare; one that is not there is not in the result.
    ///
    /// # Errors
    /// As [`Client::services`].
    pub fn table_of(&mut self, services: &BTreeSet<ServiceKey>) -> Result<Table, IpvsError> {
        let mut table = Table::default();
        for key in services {
            let mut listed = match self.service(key) {
                Ok(listed) => listed,
                Err(IpvsError::Refused { errno, .. }) if errno == Errno::ESRCH as i32 => continue,
                Err(error) => return Err(error),
            };
            listed.destinations = self.destinations(key)?;
            take_in(&mut table, [listed]);
        }
        Ok(table)
    }
}

/// The kernel's information and its whole table with the columns of the plain listing, at the least cost: forwarding
/// method (a tunnel without its options), weight, active and inactive connections. All else of a destination is zero.
///
/// As [`Client::cheap_listing`], but tunnels do not make it dearer, and a thread asks for the services while this one
/// reads `/proc/net/ip_vs`.
///
/// # Errors
/// As [`Client::connect`] and [`Client::services`].
pub fn read_plain_listing() -> Result<(KernelInfo, Vec<ListedService>), IpvsError> {
    let ask = || {
        let mut client = Client::connect()?;
        let info = client.info()?;
        let services = client.services()?;
        Ok::<_, IpvsError>((client, info, services))
    };
    let asked = thread::Builder::new().name("netlink".to_owned()).spawn(ask).ok();
    let found = read_proc(PROC_TABLE).map(|text| proc::destinations(&text));
    let (mut client, info, mut services) = match asked.map(JoinHandle::join) {
        Some(Ok(answers)) => answers?,
        Some(Err(_)) | None => ask()?,
    };
    let found = match found {
        Ok(found) => found,
        // The file may have come with the module, which connecting loads.
        Err(_) => proc::destinations(&read_proc(PROC_TABLE)?),
    };
    client.fill_in(&mut services, found, |_, _| false)?;
    Ok((info, services))
}

/// How many connections all destinations together have, active or not, in the calling thread's network namespace. Read from
/// what each destination counts: the table of connections itself would have to be walked through.
///
/// # Errors
/// The file cannot be read.
pub fn count_connections() -> Result<u64, IpvsError> {
    Ok(proc::connection_count(&read_proc(PROC_TABLE)?))
}

/// The connection table of the calling thread's network namespace, in the kernel's order.
///
/// It costs the kernel a walk through all connections.
///
/// # Errors
/// [`IpvsError::NoIpvs`] where the kernel has none; [`IpvsError::Proc`] where the file cannot be read.
pub fn read_connections() -> Result<Vec<ConnectionEntry>, IpvsError> {
    let text = match read_proc(PROC_CONNECTIONS) {
        // The file comes with the module, which connecting loads.
        Err(IpvsError::Proc { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            Client::connect()?;
            read_proc(PROC_CONNECTIONS)?
        }
        read => read?,
    };
    Ok(proc::connections(&text))
}

fn read_proc(path: &'static str) -> Result<Vec<u8>, IpvsError> {
    fs::read(path).map_err(|cause| IpvsError::Proc { path, cause })
}

/// As [`read_proc`], piece by piece.
fn read_proc_at_leisure(path: &'static str, leisure: &mut Leisure<impl Fn() -> bool>) -> Result<Vec<u8>, IpvsError> {
    let mut text = Vec::new();
    let mut read = || -> io::Result<()> {
        let mut file = fs::File::open(path)?;
        // What the kernel gives at once is a page.
        while file.by_ref().take(PIECE).read_to_end(&mut text)? > 0 {
            leisure.pause();
        }
        Ok(())
    };
    read().map_err(|cause| IpvsError::Proc { path, cause })?;
    Ok(text)
}

fn is_tunnel(destination: &ListedDestination) -> bool {
    matches!(destination.spec.forwarding, Forwarding::Tun(_))
}

/// Puts services into a table to compare, and notes which destinations of weight 0 have no connection left.
fn take_in(table: &mut Table, listed: impl IntoIterator<Item = ListedService>) {
    for mut service in listed {
        forget_what_means_nothing(&mut service);
        let idle = service.destinations.iter().filter(is_idle).map(|found| found.key);
        table.idle.extend(idle.map(|key| (service.key, key)));
        let destinations = service.destinations.into_iter().map(|found| (found.key, found.spec));
        let comparable = Service {
            spec: service.spec,
            destinations: destinations.collect(),
        };
        table.services.insert(service.key, comparable);
    }
}

/// A destination of weight 0 that has no connection left.
fn is_idle(found: &&ListedDestination) -> bool {
    found.spec.weight == 0 && found.active_connections == 0 && found.inactive_connections == 0
}

/// The kernel keeps the timeout of a service that is no longer persistent; it means nothing then.
fn forget_what_means_nothing(service: &mut ListedService) {
    if !service.spec.flags.contains(ServiceFlags::PERSISTENT) {
        service.spec.persistence_timeout = 0;
    }
}

/// What the last look at a table found, so that the next one need not take apart what has not changed.
#[derive(Debug, Default)]
pub struct LastLook {
    /// The table that was known, and was the kernel's; nothing where `/proc/net/ip_vs` does not tell all of it.
    known: Weak<Table>,
    /// What the file said of it.
    text: Vec<u8>,
}

impl LastLook {
    fn that_found(known: &Arc<Table>, text: Vec<u8>) -> Self {
        Self {
            known: Arc::downgrade(known),
            text,
        }
    }

    /// Whether the text of the file says of the table that is known now what it said then of the same one.
    fn tells_of(&self, known: &Arc<Table>, text: &[u8]) -> bool {
        std::ptr::eq(self.known.as_ptr(), Arc::as_ptr(known)) && proc::is_same_table(&self.text, text)
    }
}

/// Whether these are the services of a table, whatever their destinations are.
fn are_listed(table: &Table, services: &[ListedService]) -> bool {
    let same = |found: &ListedService| {
        let known = table.services.get(&found.key);
        known.is_some_and(|known| known.spec == found.spec)
    };
    table.services.len() == services.len() && services.iter().all(same)
}

/// Whether this table is the one that [`take_in`] would make of a listing.
fn is_listed(table: &Table, listed: &[ListedService]) -> bool {
    let mut idle = 0;
    let same = |service: &ListedService| {
        let Some(known) = table.services.get(&service.key) else {
            return false;
        };
        let destination = |found: &ListedDestination| {
            let is_known = known.destinations.get(&found.key) == Some(&found.spec);
            let is_idle = is_idle(&found);
            idle += usize::from(is_idle);
            is_known && (!is_idle || table.idle.contains(&(service.key, found.key)))
        };
        known.spec == service.spec
            && known.destinations.len() == service.destinations.len()
            && service.destinations.iter().all(destination)
    };
    // A listing has each key once.
    table.services.len() == listed.len() && listed.iter().all(same) && idle == table.idle.len()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ipvs::tests::{a_destination, a_service};
    use crate::model::Statistics;

    fn a_listed_destination() -> impl Strategy<Value = ListedDestination> {
        (a_destination(), 0..3_u32, 0..2_u32).prop_map(|((key, mut spec), weight, connections)| {
            spec.weight = weight;
            ListedDestination {
                key,
                spec,
                active_connections: connections,
                inactive_connections: 0,
                persistent_connections: 0,
                statistics: Statistics::default(),
            }
        })
    }

    fn a_listing() -> impl Strategy<Value = Vec<ListedService>> {
        let service = (a_service(), vec(a_listed_destination(), 0..4)).prop_map(|((key, spec), mut destinations)| {
            let mut seen = BTreeSet::new();
            destinations.retain(|found| seen.insert(found.key));
            ListedService {
                key,
                spec,
                statistics: Statistics::default(),
                destinations,
            }
        });
        vec(service, 0..5).prop_map(|mut services| {
            let mut seen = BTreeSet::new();
            services.retain(|service| seen.insert(service.key));
            services.iter_mut().for_each(forget_what_means_nothing);
            services
        })
    }

    fn table_of(listing: &[ListedService]) -> Table {
        let mut table = Table::default();
        take_in(&mut table, listing.to_vec());
        table
    }

    proptest! {
        #[test]
        fn a_listing_is_the_table_that_would_be_made_of_it_and_no_other(one in a_listing(), other in a_listing()) {
            prop_assert!(is_listed(&table_of(&one), &one));
            prop_assert_eq!(is_listed(&table_of(&one), &other), table_of(&one) == table_of(&other));
        }

        #[test]
        fn a_small_change_is_seen(
            listing in a_listing(),
            service: prop::sample::Index,
            place: prop::sample::Index,
            change in 0..5_u32,
        ) {
            prop_assume!(!listing.is_empty());
            let mut changed = listing.clone();
            let number = service.index(changed.len());
            let destinations = &mut changed[number].destinations;
            let found = match destinations.len() {
                0 => None,
                count => Some(&mut destinations[place.index(count)]),
            };
            match (change, found) {
                (0, Some(found)) => found.spec.weight += 1,
                (1, Some(found)) => found.active_connections ^= 1,
                (2, Some(_)) => drop(changed[number].destinations.pop()),
                (3, _) => drop(changed.remove(number)),
                (_, _) => changed[number].spec.persistence_timeout += 1,
            }
            changed.iter_mut().for_each(forget_what_means_nothing);
            prop_assert_eq!(is_listed(&table_of(&listing), &changed), table_of(&listing) == table_of(&changed));
        }
    }
}
