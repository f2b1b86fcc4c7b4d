//! What the service manager is told (`sd_notify(3)`), without ever waiting for it: one that does not listen for a while
//! must not keep the loop from its probes.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;
use tracing::warn;

/// Tells the service manager; where there is none, nobody.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    let Some(place) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let text: Vec<_> = states.iter().map(ToString::to_string).collect();
    if let Err(error) = send(&place, text.join("\n").as_bytes()) {
        warn!("cannot tell the service manager: {error}");
    }
}

fn send(place: &OsStr, text: &[u8]) -> io::Result<()> {
    // A leading @ stands for an abstract name.
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text, &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_that_does_not_listen_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("a socket");
        let full = (0..100_000)
            .map(|_| send(path.as_os_str(), b"WATCHDOG=1"))
            .find_map(Result::err);
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        let mut buffer = [0; 64];
        let read = listener.recv(&mut buffer).expect("a message");
        assert_eq!(&buffer[..read], b"WATCHDOG=1");
        send(path.as_os_str(), b"READY=1").expect("there is room again");
    }

    #[test]
    fn an_abstract_name_is_found() {
        let name = format!("ipvsd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("a socket");
        send(OsStr::new(&format!("@{name}")), b"READY=1").expect("somebody listens");
        let mut buffer = [0; 64];
        assert_eq!(listener.recv(&mut buffer).expect("a message"), 7);
    }
}
