//! The TCP probe: a connection is opened and closed again (keepalived's `TCP_CHECK`).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;

use crate::model::{FailureCause, LocalTrouble, ProbeOutcome};
use crate::net;

pub(super) async fn probe(target: SocketAddr, timeout: Duration) -> ProbeOutcome {
    match tokio::time::timeout(timeout, TcpStream::connect(target)).await {
        Ok(Ok(_connection)) => ProbeOutcome::Success,
        Ok(Err(error)) => match classify(&error) {
            // An interface that is down takes its route along, so the kernel does not say whose fault it is.
            ProbeOutcome::Failure(FailureCause::NetworkUnreachable | FailureCause::HostUnreachable)
                if net::reach::is_cut_off(target.ip()) =>
            {
                ProbeOutcome::Local(LocalTrouble::InterfaceDown)
            }
            outcome => outcome,
        },
        Err(_elapsed) => ProbeOutcome::Failure(FailureCause::TimedOut),
    }
}

/// Whose fault an error of `socket(2)` or `connect(2)` is.
fn classify(error: &io::Error) -> ProbeOutcome {
    let number = error.raw_os_error().unwrap_or(0);
    match Errno::from_raw(number) {
        Errno::ECONNREFUSED => ProbeOutcome::Failure(FailureCause::Refused),
        Errno::ETIMEDOUT => ProbeOutcome::Failure(FailureCause::TimedOut),
        Errno::ECONNRESET | Errno::ECONNABORTED => ProbeOutcome::Failure(FailureCause::Reset),
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => ProbeOutcome::Failure(FailureCause::HostUnreachable),
        Errno::ENETUNREACH => ProbeOutcome::Failure(FailureCause::NetworkUnreachable),
        Errno::EMFILE | Errno::ENFILE => ProbeOutcome::Local(LocalTrouble::FileDescriptors),
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => ProbeOutcome::Local(LocalTrouble::LocalPorts),
        Errno::ENOMEM | Errno::ENOBUFS => ProbeOutcome::Local(LocalTrouble::Memory),
        Errno::EPERM | Errno::EACCES => ProbeOutcome::Local(LocalTrouble::Forbidden),
        Errno::ENETDOWN => ProbeOutcome::Local(LocalTrouble::InterfaceDown),
        _ => ProbeOutcome::Failure(FailureCause::Errno(number)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[tokio::test]
    async fn a_listener_is_a_success_and_a_closed_port_is_refused() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let target = listener.local_addr().expect("an address");
        assert_eq!(probe(target, Duration::from_secs(2)).await, ProbeOutcome::Success);
        drop(listener);
        let refused = ProbeOutcome::Failure(FailureCause::Refused);
        assert_eq!(probe(target, Duration::from_secs(2)).await, refused);
    }

    #[test]
    fn trouble_of_this_host_is_no_failure_of_the_server() {
        let outcome = |errno: Errno| classify(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(
            outcome(Errno::EMFILE),
            ProbeOutcome::Local(LocalTrouble::FileDescriptors)
        );
        assert_eq!(
            outcome(Errno::EADDRNOTAVAIL),
            ProbeOutcome::Local(LocalTrouble::LocalPorts)
        );
        assert_eq!(outcome(Errno::ENOBUFS), ProbeOutcome::Local(LocalTrouble::Memory));
        assert_eq!(outcome(Errno::EPERM), ProbeOutcome::Local(LocalTrouble::Forbidden));
        assert_eq!(
            outcome(Errno::ENETDOWN),
            ProbeOutcome::Local(LocalTrouble::InterfaceDown)
        );
        assert_eq!(
            outcome(Errno::EHOSTUNREACH),
            ProbeOutcome::Failure(FailureCause::HostUnreachable)
        );
        assert_eq!(
            outcome(Errno::EPROTO),
            ProbeOutcome::Failure(FailureCause::Errno(Errno::EPROTO as i32))
        );
    }
}
