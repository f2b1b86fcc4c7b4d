//! Whose fault an error of the system is: the server's, or this host's.

use std::io;

use nix::errno::Errno;

use super::tls;
use crate::model::{FailureCause, LocalTrouble, ProbeOutcome, Stage};

/// An error of a socket call, or of a connection that was still being set up.
pub(super) fn of(error: &io::Error) -> ProbeOutcome {
    let number = error.raw_os_error().unwrap_or(0);
    match Errno::from_raw(number) {
        Errno::ECONNREFUSED => ProbeOutcome::Failure(FailureCause::Refused),
        Errno::ETIMEDOUT => ProbeOutcome::Failure(FailureCause::TimedOut),
        Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE => ProbeOutcome::Failure(FailureCause::Reset),
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => ProbeOutcome::Failure(FailureCause::HostUnreachable),
        Errno::ENETUNREACH => ProbeOutcome::Failure(FailureCause::NetworkUnreachable),
        Errno::EMFILE | Errno::ENFILE => ProbeOutcome::Local(LocalTrouble::FileDescriptors),
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => ProbeOutcome::Local(LocalTrouble::LocalPorts),
        Errno::ENOMEM | Errno::ENOBUFS => ProbeOutcome::Local(LocalTrouble::Memory),
        Errno::EPERM | Errno::EACCES => ProbeOutcome::Local(LocalTrouble::Forbidden),
        Errno::ENETDOWN => ProbeOutcome::Local(LocalTrouble::InterfaceDown),
        Errno::ENODEV | Errno::ENXIO => ProbeOutcome::Local(LocalTrouble::Device),
        _ => ProbeOutcome::Failure(FailureCause::Errno(number)),
    }
}

/// An error of `connect(2)` itself, before anything can have come back: a missing route is this host's then.
pub(super) fn of_connect(error: &io::Error) -> ProbeOutcome {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENETUNREACH) => ProbeOutcome::Local(LocalTrouble::NoRoute),
        _ => of(error),
    }
}

/// An error of `bind(2)` to the check's own source address.
pub(super) fn of_source(error: &io::Error) -> ProbeOutcome {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRNOTAVAIL) => ProbeOutcome::Local(LocalTrouble::SourceAddress),
        _ => of(error),
    }
}

/// An error on a connection that stands, while the server owes something.
pub(super) fn of_stream(error: &io::Error, stage: Stage) -> ProbeOutcome {
    if let Some(error) = tls::cause::within(error) {
        return ProbeOutcome::Failure(tls::cause::of(error, false));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ProbeOutcome::Failure(FailureCause::Closed(stage)),
        _ => of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_of_this_host_is_no_failure_of_the_server() {
        let outcome = |errno: Errno| of(&io::Error::from_raw_os_error(errno as i32));
        for (errno, trouble) in [
            (Errno::EMFILE, LocalTrouble::FileDescriptors),
            (Errno::EADDRNOTAVAIL, LocalTrouble::LocalPorts),
            (Errno::ENOBUFS, LocalTrouble::Memory),
            (Errno::EPERM, LocalTrouble::Forbidden),
            (Errno::ENETDOWN, LocalTrouble::InterfaceDown),
            (Errno::ENODEV, LocalTrouble::Device),
        ] {
            assert_eq!(outcome(errno), ProbeOutcome::Local(trouble));
        }
        for (errno, cause) in [
            (Errno::EHOSTUNREACH, FailureCause::HostUnreachable),
            (Errno::ENETUNREACH, FailureCause::NetworkUnreachable),
            (Errno::EPIPE, FailureCause::Reset),
            (Errno::EPROTO, FailureCause::Errno(Errno::EPROTO as i32)),
        ] {
            assert_eq!(outcome(errno), ProbeOutcome::Failure(cause));
        }
    }

    #[test]
    fn a_missing_route_is_ours_before_a_packet_was_sent() {
        let error = io::Error::from_raw_os_error(Errno::ENETUNREACH as i32);
        assert_eq!(of_connect(&error), ProbeOutcome::Local(LocalTrouble::NoRoute));
        let error = io::Error::from_raw_os_error(Errno::EADDRNOTAVAIL as i32);
        assert_eq!(of_source(&error), ProbeOutcome::Local(LocalTrouble::SourceAddress));
    }
}
