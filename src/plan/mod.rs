//! Desired × actual → steps: the smallest set of changes that turns one table into the other.
//!
//! Pure. It never removes a service that is not on the list of owned ones, and it orders the steps of a service so
//! that no instant passes without a server while somebody could serve: what adds or raises comes first, what
//! lowers or removes comes last. Destinations are added in the order of their addresses, on every director the
//! same, because hash schedulers build their lookup tables from it.

mod sync_daemons;

use std::collections::BTreeSet;

pub use sync_daemons::{SyncStep, sync_steps};

use crate::model::{DestinationKey, DestinationSpec, Service, ServiceKey, Step, StepOutcome, Table};

/// The steps that turn `actual` into `desired`.
///
/// Services of `actual` that are not desired are removed where `owned` names them and left alone otherwise. Empty
/// where nothing is to do.
pub fn steps(desired: &Table, actual: &Table, owned: &BTreeSet<ServiceKey>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (key, service) in &desired.services {
        service_steps(*key, service, actual.services.get(key), &mut steps);
    }
    steps.extend(removals(desired, actual, owned));
    steps
}

/// The steps that remove the owned services that are no longer desired.
pub fn removals<'t>(
    desired: &'t Table,
    actual: &'t Table,
    owned: &'t BTreeSet<ServiceKey>,
) -> impl Iterator<Item = Step> + 't {
    let gone = actual
        .services
        .keys()
        .filter(|key| owned.contains(key) && !desired.services.contains_key(key));
    gone.map(|key| Step::RemoveService { service: *key })
}

/// Appends the steps that take all destinations of a service out and put the desired ones in, in the order of their
/// addresses: the only way to change the order that hash schedulers go by. For that long nobody serves.
pub fn rebuild_steps(key: ServiceKey, desired: &Service, actual: Option<&Service>, steps: &mut Vec<Step>) {
    let empty = actual.map(|actual| {
        steps.extend(actual.destinations.keys().map(|destination| Step::RemoveDestination {
            service: key,
            destination: *destination,
        }));
        Service {
            spec: actual.spec.clone(),
            destinations: std::collections::BTreeMap::new(),
        }
    });
    service_steps(key, desired, empty.as_ref(), steps);
}

/// Appends the steps that make one service what it should be.
pub fn service_steps(key: ServiceKey, desired: &Service, actual: Option<&Service>, steps: &mut Vec<Step>) {
    // Nearly always, and cheaper to see than looking each destination up.
    if actual == Some(desired) {
        return;
    }
    let Some(actual) = actual else {
        steps.push(Step::AddService {
            service: key,
            spec: desired.spec.clone(),
        });
        steps.extend(
            desired
                .destinations
                .iter()
                .map(|(destination, spec)| Step::AddDestination {
                    service: key,
                    destination: *destination,
                    spec: *spec,
                }),
        );
        return;
    };
    if actual.spec != desired.spec {
        steps.push(Step::SetService {
            service: key,
            spec: desired.spec.clone(),
        });
    }
    let mut lowering = Vec::new();
    for (destination, spec) in &desired.destinations {
        match actual.destinations.get(destination) {
            None => steps.push(Step::AddDestination {
                service: key,
                destination: *destination,
                spec: *spec,
            }),
            Some(found) if found == spec => {}
            Some(found) => {
                let step = Step::SetDestination {
                    service: key,
                    destination: *destination,
                    spec: *spec,
                };
                if takes_over(*spec, *found) {
                    steps.push(step)
                } else {
                    lowering.push(step)
                }
            }
        }
    }
    steps.append(&mut lowering);
    let gone = actual
        .destinations
        .keys()
        .filter(|destination| !desired.destinations.contains_key(destination));
    steps.extend(gone.map(|destination| Step::RemoveDestination {
        service: key,
        destination: *destination,
    }));
}

/// Adds destinations of weight 0 with the weight that `full` has for them, and sets them to 0 in the next step.
///
/// For Maglev services that are being filled: the kernel gives a destination slots by the last weight above 0 that it had
/// (`ip_vs_mh.c`, `last_weight`), so one that never had any would come to other slots than on a director where it had.
pub fn add_with_slots(steps: Vec<Step>, full: impl Fn(&DestinationKey) -> u32) -> Vec<Step> {
    let mut with_slots = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::AddDestination {
                service,
                destination,
                spec,
            } if spec.weight == 0 => {
                let weight = full(&destination);
                let with_weight = DestinationSpec { weight, ..spec };
                with_slots.push(Step::AddDestination {
                    service,
                    destination,
                    spec: with_weight,
                });
                if weight > 0 {
                    with_slots.push(Step::SetDestination {
                        service,
                        destination,
                        spec,
                    });
                }
            }
            other => with_slots.push(other),
        }
    }
    with_slots
}

/// Whether the change lets a destination take more than before.
fn takes_over(new: DestinationSpec, old: DestinationSpec) -> bool {
    new.weight > old.weight
}

/// Brings a table up to date with what the kernel answered: steps that were done count, refused ones do not.
pub fn absorb(table: &mut Table, outcomes: &[StepOutcome]) {
    for outcome in outcomes.iter().filter(|outcome| outcome.result.is_ok()) {
        apply_to(table, &outcome.step);
    }
}

/// Does to a table in memory what the step does to the kernel's.
pub fn apply_to(table: &mut Table, step: &Step) {
    let service_of = |table: &mut Table, key: &ServiceKey, change: &mut dyn FnMut(&mut Service)| {
        if let Some(service) = table.services.get_mut(key) {
            change(service);
        }
    };
    match step {
        Step::AddService { service, spec } => {
            let new = Service {
                spec: spec.clone(),
                destinations: std::collections::BTreeMap::new(),
            };
            table.services.insert(*service, new);
        }
        Step::SetService { service, spec } => service_of(table, service, &mut |found| found.spec = spec.clone()),
        Step::RemoveService { service } => {
            table.services.remove(service);
        }
        Step::AddDestination {
            service,
            destination,
            spec,
        }
        | Step::SetDestination {
            service,
            destination,
            spec,
        } => {
            // What it gets from now on is only known once the table is read again.
            table.idle.remove(&(*service, *destination));
            service_of(table, service, &mut |found| {
                found.destinations.insert(*destination, *spec);
            });
        }
        Step::RemoveDestination { service, destination } => service_of(table, service, &mut |found| {
            found.destinations.remove(destination);
        }),
    }
}

/// The service and destination that a step is about, to remember it by.
pub fn subject(step: &Step) -> (ServiceKey, Option<DestinationKey>) {
    match step {
        Step::AddService { service, .. } | Step::SetService { service, .. } | Step::RemoveService { service } => {
            (*service, None)
        }
        Step::AddDestination {
            service, destination, ..
        }
        | Step::SetDestination {
            service, destination, ..
        }
        | Step::RemoveDestination { service, destination } => (*service, Some(*destination)),
    }
}

#[cfg(test)]
mod tests;
