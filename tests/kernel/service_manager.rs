//! A service manager as a daemon sees it: somebody who is told (sd_notify(3)).

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Somebody who listens to what a daemon tells.
pub(crate) struct ServiceManager {
    socket: String,
    listener: UnixDatagram,
    _folder: TempDir,
}

impl ServiceManager {
    pub(crate) fn listen() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        Self {
            socket: path.display().to_string(),
            listener: UnixDatagram::bind(path).expect("a socket"),
            _folder: folder,
        }
    }

    /// What the daemon is started with: whom to tell, and how often at least, in microseconds.
    pub(crate) fn environment<'a>(&'a self, watchdog: &'a str) -> [(&'a str, &'a str); 2] {
        [("NOTIFY_SOCKET", &self.socket), ("WATCHDOG_USEC", watchdog)]
    }

    /// The next message, if one comes within this time.
    pub(crate) fn hear(&self, time: Duration) -> Option<String> {
        self.listener.set_read_timeout(Some(time)).expect("a time limit");
        let mut buffer = [0; 4096];
        let read = self.listener.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..read]).into_owned())
    }

    /// How often the watchdog is fed within this time.
    pub(crate) fn fed(&self, time: Duration) -> usize {
        self.count(time).0
    }

    /// How often the watchdog is fed within this time, and how often it is told anything else.
    pub(crate) fn count(&self, time: Duration) -> (usize, usize) {
        let (end, mut fed, mut other) = (Instant::now() + time, 0, 0);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (fed, other);
            }
            match self.hear(left) {
                Some(heard) if heard.contains("WATCHDOG=1") => fed += 1,
                Some(_) => other += 1,
                None => {}
            }
        }
    }
}
