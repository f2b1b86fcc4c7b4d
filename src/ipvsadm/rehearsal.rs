//! Whether commands would be taken, one after the other, by a table of which only the keys are known.
//!
//! What only the kernel knows it does not foresee: whether a scheduler's module can be loaded, whether an address is
//! this host's broadcast address, whether there is memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::command::Command;
use crate::model::{DestinationKey, DestinationSpec, Family, ListedService, ServiceKey, Step};

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;

/// A table of services and their destinations that is written in thought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rehearsal {
    services: BTreeMap<ServiceKey, BTreeSet<DestinationKey>>,
}

impl Rehearsal {
    /// Starts from what is in the kernel.
    pub fn of(listed: &[ListedService]) -> Self {
        let keys = |service: &ListedService| service.destinations.iter().map(|found| found.key).collect();
        Self {
            services: listed.iter().map(|service| (service.key, keys(service))).collect(),
        }
    }

    /// Does what the command does to the table.
    ///
    /// # Errors
    /// The error number with which the kernel would refuse.
    pub fn carry_out(&mut self, command: &Command) -> Result<(), i32> {
        match command {
            Command::Change(step) => self.change(step),
            Command::Clear => {
                self.services.clear();
                Ok(())
            }
            Command::Zero(Some(key)) => self.destinations(key).map(|_| ()),
            Command::Restore { .. }
            | Command::Save { .. }
            | Command::List(_)
            | Command::Zero(None)
            | Command::SetTimeouts(_)
            | Command::StartDaemon(_)
            | Command::StopDaemon(_)
            | Command::Help
            | Command::Version => Ok(()),
        }
    }

    fn change(&mut self, step: &Step) -> Result<(), i32> {
        match step {
            Step::AddService { service, .. } => {
                if self.services.contains_key(service) {
                    return Err(EEXIST);
                }
                self.services.insert(*service, BTreeSet::new());
            }
            Step::SetService { service, .. } => {
                self.destinations(service)?;
            }
            Step::RemoveService { service } => {
                self.services.remove(service).ok_or(ESRCH)?;
            }
            Step::AddDestination {
                service,
                destination,
                spec,
            } => {
                let destinations = self.destinations(service)?;
                check(spec)?;
                if !is_unicast(destination.address) {
                    return Err(EINVAL);
                }
                if !destinations.insert(*destination) {
                    return Err(EEXIST);
                }
            }
            Step::SetDestination {
                service,
                destination,
                spec,
            } => {
                let destinations = self.destinations(service)?;
                check(spec)?;
                if !destinations.contains(destination) {
                    return Err(ENOENT);
                }
            }
            Step::RemoveDestination { service, destination } => {
                if !self.destinations(service)?.remove(destination) {
                    return Err(ENOENT);
                }
            }
        }
        Ok(())
    }

    fn destinations(&mut self, service: &ServiceKey) -> Result<&mut BTreeSet<DestinationKey>, i32> {
        self.services.get_mut(service).ok_or(ESRCH)
    }
}

fn check(spec: &DestinationSpec) -> Result<(), i32> {
    if spec.lower_threshold > spec.upper_threshold {
        return Err(ERANGE);
    }
    Ok(())
}

/// Whether packets can be sent to one host at this address.
fn is_unicast(address: IpAddr) -> bool {
    match (Family::of(address), address) {
        (Family::Inet, IpAddr::V4(address)) => {
            !(address.is_multicast() || address.is_broadcast() || address.is_unspecified())
        }
        (_, IpAddr::V6(address)) => {
            !(address.is_multicast() || address.is_unspecified() || address.is_unicast_link_local())
        }
        (Family::Inet6, IpAddr::V4(_)) => false,
    }
}
