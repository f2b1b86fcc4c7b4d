//! One generic-netlink socket with a deadline on every answer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::IpvsError;

/// What carries requests to the kernel and answers back; tests put their own in between.
pub trait Transport {
    /// Sends one datagram of requests. The kernel carries them out before this returns.
    ///
    /// # Errors
    /// That of `send(2)`.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Receives one datagram of answers into the buffer; `None` where none came in time.
    ///
    /// # Errors
    /// That of `recv(2)`, `ENOBUFS` where answers were lost; `EMSGSIZE` where the buffer was too small.
    fn receive(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<Option<usize>>;
}

/// The kernel's end of a [`Transport`].
pub struct Socket(NlSocket);

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, IpvsError> {
        // Rarely more than the system's maximum is granted; the windows of `client` fit its default.
        const RECEIVE_BUFFER: usize = 1 << 20;
        let failed = |cause| IpvsError::Socket {
            action: "open a netlink socket",
            cause,
        };
        let socket = NlSocket::connect(NlFamily::Generic, None, Groups::empty()).map_err(failed)?;
        socket.enable_ext_ack(true).map_err(failed)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(failed)?;
        Ok(Self(socket))
    }

    #[allow(unsafe_code, reason = "neli lends no file descriptor that poll(2) takes")]
    fn wait(&self, left: Duration) -> io::Result<bool> {
        // SAFETY: the descriptor belongs to `self.0`, which outlives the borrow.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) };
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], timeout)?;
        Ok(ready > 0)
    }
}

impl Transport for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.0.send(datagram, Msg::empty()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<Option<usize>> {
        loop {
            match self.0.recv(&mut *buffer, Msg::DONTWAIT | Msg::TRUNC) {
                Ok((length, _)) if length > buffer.len() => return Err(Errno::EMSGSIZE.into()),
                Ok((length, _)) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    match self.wait(left) {
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}
