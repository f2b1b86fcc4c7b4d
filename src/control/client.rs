//! The verb's side of the control socket: one connection, requests and their replies, blocking.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ControlError;
use crate::model::control::{Reply, Request};

/// The longest reply that is read, in bytes: some hundred thousand servers.
const LONGEST_REPLY: u64 = 256 << 20;

/// A connection to the running daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    limit: Option<Duration>,
}

impl Client {
    /// Connects to the socket at a path.
    ///
    /// # Errors
    /// [`ControlError::NotRunning`] where nobody listens there, [`ControlError::Denied`] where this user may not.
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let path = path.to_owned();
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Self {
                path,
                stream: BufReader::new(stream),
                limit: None,
            }),
            Err(error) => Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => ControlError::NotRunning { path },
                ErrorKind::PermissionDenied => ControlError::Denied { path },
                _ => ControlError::Io {
                    action: "connect to",
                    path,
                    cause: error,
                },
            }),
        }
    }

    /// How long a reply is waited for; `None` for ever.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn set_limit(&mut self, limit: Option<Duration>) -> Result<(), ControlError> {
        let set = self.stream.get_ref().set_read_timeout(limit);
        set.map_err(|cause| self.failed("set a time limit on", cause))?;
        self.limit = limit;
        Ok(())
    }

    /// Sends a request; its replies come from [`Client::receive`].
    ///
    /// # Errors
    /// The daemon went away.
    pub fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        match self.stream.get_mut().write_all(&request.encode()) {
            Ok(()) => Ok(()),
            // It may have said why before it hung up.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(self.failed("write to", error)),
        }
    }

    /// The next reply; `None` where the daemon has hung up.
    ///
    /// # Errors
    /// No reply in time, or one that cannot be read.
    pub fn receive(&mut self) -> Result<Option<Reply>, ControlError> {
        let mut line = Vec::new();
        match (&mut self.stream).take(LONGEST_REPLY).read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(ControlError::TimedOut {
                    seconds: self.limit.unwrap_or_default().as_secs(),
                });
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(self.failed("read from", error)),
        }
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        let reply = Reply::decode(&line).map_err(|error| ControlError::Unreadable(error.to_string()))?;
        Ok(Some(reply))
    }

    /// Sends a request that has one reply, and answers with that.
    ///
    /// # Errors
    /// As [`Client::receive`], and where there is none.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ControlError> {
        self.send(request)?;
        self.receive()?.ok_or(ControlError::HungUp)
    }

    fn failed(&self, action: &'static str, cause: io::Error) -> ControlError {
        ControlError::Io {
            action,
            path: self.path.clone(),
            cause,
        }
    }
}
