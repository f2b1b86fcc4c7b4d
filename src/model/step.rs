//! One change of the kernel's table, and what the kernel said to it.

use std::fmt;

use super::{DestinationKey, DestinationSpec, ServiceKey, ServiceSpec};

/// One change of the kernel's table; one line of `ipvsd plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a service.
    AddService {
        /// Which.
        service: ServiceKey,
        /// With these settings.
        spec: ServiceSpec,
    },
    /// Replace a service's settings; its destinations and connections stay.
    SetService {
        /// Which.
        service: ServiceKey,
        /// The new settings.
        spec: ServiceSpec,
    },
    /// Remove a service with its destinations.
    RemoveService {
        /// Which.
        service: ServiceKey,
    },
    /// Create a destination.
    AddDestination {
        /// In which service.
        service: ServiceKey,
        /// Which.
        destination: DestinationKey,
        /// With these settings.
        spec: DestinationSpec,
    },
    /// Replace a destination's settings; its connections stay.
    SetDestination {
        /// In which service.
        service: ServiceKey,
        /// Which.
        destination: DestinationKey,
        /// The new settings.
        spec: DestinationSpec,
    },
    /// Remove a destination.
    RemoveDestination {
        /// From which service.
        service: ServiceKey,
        /// Which.
        destination: DestinationKey,
    },
}

impl Step {
    /// The service that this step is about.
    pub fn service(&self) -> ServiceKey {
        match self {
            Self::AddService { service, .. }
            | Self::SetService { service, .. }
            | Self::RemoveService { service }
            | Self::AddDestination { service, .. }
            | Self::SetDestination { service, .. }
            | Self::RemoveDestination { service, .. } => *service,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService { service, spec } => write!(f, "add service {service} ({spec})"),
            Self::SetService { service, spec } => write!(f, "set service {service} ({spec})"),
            Self::RemoveService { service } => write!(f, "remove service {service}"),
            Self::AddDestination {
                service,
                destination,
                spec,
            } => {
                write!(f, "add real server {destination} to {service} ({spec})")
            }
            Self::SetDestination {
                service,
                destination,
                spec,
            } => {
                write!(f, "set real server {destination} of {service} ({spec})")
            }
            Self::RemoveDestination { service, destination } => {
                write!(f, "remove real server {destination} from {service}")
            }
        }
    }
}

/// A step and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutcome {
    /// The step.
    pub step: Step,
    /// Done, or why not.
    pub result: Result<(), Refusal>,
}

/// Why the kernel refused a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind, for the program.
    pub kind: RefusalKind,
    /// The whole sentence, for a person: what could not be done, why, and the remedy.
    pub message: String,
}

/// The kinds of refusal that call for different answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The table is not what it was taken for (something is there already, or gone): read it again and plan anew.
    TableChanged,
    /// Trying again later may help: a full buffer, no answer in time, no memory.
    Transient,
    /// Trying again will not help until a person does something: a bad value, a missing module, no privilege.
    Permanent,
}
