//! The kernel's error numbers in words: what was tried, on which service and destination, why not, the remedy.

use nix::errno::Errno;

use super::encode::Request;
use crate::model::{Refusal, RefusalKind, Scheduler, ServiceSpec};

/// Whether an error number is one that may be gone the next time.
pub(super) fn is_transient(errno: i32) -> bool {
    matches!(
        Errno::from_raw(errno),
        Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN | Errno::EBUSY | Errno::EINTR | Errno::ETIMEDOUT
    )
}

/// Why a request was refused; `text` is the kernel's own, where it gave one.
pub(super) fn refusal(request: &Request<'_>, errno: i32, text: Option<&str>) -> Refusal {
    let number = Errno::from_raw(errno);
    let kind = match number {
        _ if is_transient(errno) => RefusalKind::Transient,
        Errno::EEXIST | Errno::ESRCH => RefusalKind::TableChanged,
        Errno::ENOENT if is_about_destination(request) => RefusalKind::TableChanged,
        _ => RefusalKind::Permanent,
    };
    let kernel = text
        .map(|text| format!("; the kernel says: {text}"))
        .unwrap_or_default();
    Refusal {
        kind,
        message: format!("cannot {}: {}{kernel}", what(request), why(request, number)),
    }
}

fn is_about_destination(request: &Request<'_>) -> bool {
    matches!(
        request,
        Request::NewDest(..) | Request::SetDest(..) | Request::DelDest(..) | Request::GetDests(_)
    )
}

/// What a request does, with the service and destination named.
pub(super) fn what(request: &Request<'_>) -> String {
    match request {
        Request::NewService(service, _) => format!("add service {service}"),
        Request::SetService(service, _) => format!("change service {service}"),
        Request::DelService(service) => format!("remove service {service}"),
        Request::GetService(service) => format!("read service {service}"),
        Request::GetServices => "read the services".to_owned(),
        Request::NewDest(service, destination, _) => format!("add real server {destination} to {service}"),
        Request::SetDest(service, destination, _) => format!("change real server {destination} of {service}"),
        Request::DelDest(service, destination) => format!("remove real server {destination} from {service}"),
        Request::GetDests(service) => format!("read the real servers of {service}"),
        Request::NewDaemon(daemon) => format!("start the {} sync daemon on {}", daemon.role, daemon.interface),
        Request::DelDaemon(role) => format!("stop the {role} sync daemon"),
        Request::GetDaemons => "read the sync daemons".to_owned(),
        Request::SetConfig(_) => "set the connection timeouts".to_owned(),
        Request::GetConfig => "read the connection timeouts".to_owned(),
        Request::GetInfo => "read IPVS's version".to_owned(),
        Request::Zero(Some(service)) => format!("zero the counters of {service}"),
        Request::Zero(None) => "zero the counters".to_owned(),
        Request::Flush => "clear the table".to_owned(),
    }
}

fn why(request: &Request<'_>, errno: Errno) -> String {
    let known = match (request, errno) {
        (_, Errno::EPERM) => {
            "not permitted (needs CAP_NET_ADMIN in the initial user namespace: run as root, not in a user namespace)"
        }
        (Request::NewService(_, spec) | Request::SetService(_, spec), Errno::ENOENT) => return missing_module(spec),
        (Request::NewService(..), Errno::EEXIST) => "the service is there already",
        (Request::NewDest(..), Errno::EEXIST) => "the real server is there already",
        (Request::NewDaemon(_), Errno::EEXIST) => "it runs already",
        (Request::DelDaemon(_), Errno::ESRCH) => "it does not run",
        (_, Errno::ESRCH) => "there is no such service",
        (Request::SetDest(..) | Request::DelDest(..), Errno::ENOENT) => "there is no such real server",
        (Request::NewDest(_, destination, _) | Request::SetDest(_, destination, _), Errno::EINVAL) => {
            return format!(
                "the kernel takes no such address or settings (is {} a unicast address that routes, is `lo` up? Only \
                 tunnels may mix IPv4 and IPv6, and not while a sync daemon runs)",
                destination.address
            );
        }
        (Request::NewDest(_, _, spec) | Request::SetDest(_, _, spec), Errno::ERANGE) => {
            return format!(
                "a number is out of range (weight {}, uthreshold {}, lthreshold {}; lthreshold must not exceed \
                 uthreshold)",
                spec.weight, spec.upper_threshold, spec.lower_threshold
            );
        }
        (Request::NewService(..) | Request::SetService(..), Errno::EINVAL) => {
            "the kernel takes no such settings (netmask, flags or timeout)"
        }
        (Request::NewDaemon(_), Errno::EINVAL) => {
            "the kernel takes no such settings (the group must be multicast; not while a tunnel mixes IPv4 and IPv6)"
        }
        (Request::SetConfig(_), Errno::EINVAL) => "a timeout is too large",
        (Request::NewDaemon(_), Errno::ENODEV) => "there is no such interface",
        (Request::NewDaemon(_), Errno::ENETUNREACH) => "the interface is down or has no route to the group",
        (_, Errno::EAFNOSUPPORT) => "this kernel has no IPv6 or has it switched off (ipv6.disable)",
        (_, Errno::EOPNOTSUPP) => "this kernel's IPVS cannot do that",
        (_, Errno::ENOBUFS | Errno::ENOMEM) => "the kernel is out of memory for it",
        (_, other) => return other.desc().to_lowercase(),
    };
    known.to_owned()
}

/// `ENOENT` for a service: a module of the scheduler's or the persistence engine's name cannot be loaded.
fn missing_module(spec: &ServiceSpec) -> String {
    let scheduler = match spec.scheduler {
        Scheduler::None => None,
        ref scheduler => Some(format!("ip_vs_{scheduler}")),
    };
    let engine = spec.persistence_engine.as_ref().map(|name| format!("ip_vs_pe_{name}"));
    match (scheduler, engine) {
        (Some(scheduler), Some(engine)) => format!(
            "scheduler module {scheduler} or persistence engine module {engine} is missing (modprobe -a {scheduler} \
             {engine})"
        ),
        (Some(scheduler), None) => format!("scheduler module {scheduler} is missing (modprobe {scheduler})"),
        (None, Some(engine)) => format!("persistence engine module {engine} is missing (modprobe {engine})"),
        (None, None) => "a module is missing (modprobe ip_vs)".to_owned(),
    }
}
