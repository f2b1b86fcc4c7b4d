//! One probe under way: the way to the server, the deadline over all of it, and what to say when time runs out.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::fault;
use crate::model::{FailureCause, LocalTrouble, Origin, ProbeKind, ProbeOutcome, Stage};
use crate::net;

/// The most that a probe reads in one go.
const PIECE: usize = 4096;

/// One probe under way.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    target: SocketAddr,
    origin: &'a Origin,
    deadline: Instant,
    /// How the probe has failed if its time runs out now.
    overdue: Mutex<FailureCause>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(target: SocketAddr, origin: &'a Origin, deadline: Instant) -> Self {
        Self {
            target,
            origin,
            deadline,
            overdue: Mutex::new(FailureCause::TimedOut),
        }
    }

    /// Where it goes.
    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    /// When it has to be over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// From now on the server owes this.
    pub(super) fn await_stage(&self, stage: Stage) {
        self.await_or(FailureCause::Stalled(stage));
    }

    /// From now on this is how the probe has failed when its time runs out.
    pub(super) fn await_or(&self, cause: FailureCause) {
        *self.overdue.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    /// The failure of a probe whose time has run out.
    pub(super) fn out_of_time(&self, kind: &ProbeKind) -> ProbeOutcome {
        let cause = self.overdue();
        match kind {
            ProbeKind::Agent(_) => ProbeOutcome::NoVerdict(cause),
            _ => ProbeOutcome::Failure(cause),
        }
    }

    /// How the probe has failed if its time runs out now.
    pub(super) fn overdue(&self) -> FailureCause {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A TCP connection to the server.
    pub(super) async fn connect(&self) -> Result<TcpStream, ProbeOutcome> {
        let socket = self.socket(Type::STREAM, Some(Protocol::TCP))?;
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(fault::of_connect(&error));
            }
            Ok(()) | Err(_) => (),
        }
        let stream = TcpStream::from_std(socket.into()).map_err(|error| fault::of(&error))?;
        stream.writable().await.map_err(|error| fault::of(&error))?;
        match stream.take_error() {
            Ok(None) => Ok(stream),
            Ok(Some(error)) | Err(error) => Err(fault::of(&error)),
        }
    }

    /// A UDP socket that is connected to the server, so that ICMP errors reach it.
    pub(super) fn connect_udp(&self) -> Result<UdpSocket, ProbeOutcome> {
        let socket = self.socket(Type::DGRAM, Some(Protocol::UDP))?;
        socket
            .connect(&self.target.into())
            .map_err(|error| fault::of_connect(&error))?;
        UdpSocket::from_std(socket.into()).map_err(|error| fault::of(&error))
    }

    /// A socket of the target's family with the origin's address, device and mark.
    pub(super) fn socket(&self, kind: Type, protocol: Option<Protocol>) -> Result<Socket, ProbeOutcome> {
        let here = |error: std::io::Error| fault::of(&error);
        let socket = Socket::new(Domain::for_address(self.target), kind.nonblocking(), protocol).map_err(here)?;
        let Origin {
            address,
            device,
            fwmark,
            through,
        } = self.origin;
        if let Some(mark) = fwmark {
            socket.set_mark(*mark).map_err(here)?;
        }
        if let Some(device) = device {
            socket.bind_device(Some(device.as_bytes())).map_err(here)?;
        }
        if through.is_some() && kind == Type::STREAM {
            // Nothing is left of it in the kernel's connection table, and no port waits.
            socket.set_linger(Some(Duration::ZERO)).map_err(here)?;
        }
        // From the virtual address, which is this host's too, it would not come back.
        let source = match (address, through) {
            (Some(address), _) => Some(*address),
            (None, None) => None,
            (None, Some(server)) => {
                Some(net::reach::source_towards(*server, None).ok_or(ProbeOutcome::Local(LocalTrouble::NoRoute))?)
            }
        };
        if let Some(address) = source {
            // The port is chosen by connect(2), for the pair of addresses: many more probes than local ports fit.
            if kind == Type::STREAM {
                // Older kernels do without.
                let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
            }
            let source: SockAddr = SocketAddr::new(address, 0).into();
            socket.bind(&source).map_err(|error| fault::of_source(&error))?;
        }
        Ok(socket)
    }

    /// Sends all of it.
    pub(super) async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), ProbeOutcome> {
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| fault::of_stream(&error, Stage::Answer))
    }

    /// Reads what is there, at least a byte and at most up to `limit` in all, to the end of `buffer`.
    ///
    /// The end of the connection is [`FailureCause::Closed`], a full buffer [`FailureCause::TooLong`].
    pub(super) async fn read_more(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut Vec<u8>,
        limit: usize,
        stage: Stage,
    ) -> Result<(), ProbeOutcome> {
        let room = limit.saturating_sub(buffer.len()).min(PIECE);
        if room == 0 {
            let cause = FailureCause::TooLong { what: stage, limit };
            return Err(ProbeOutcome::Failure(cause));
        }
        buffer.reserve(room);
        let read = stream.take(room as u64).read_buf(buffer).await;
        match read {
            Ok(0) => Err(ProbeOutcome::Failure(FailureCause::Closed(stage))),
            Ok(_) => Ok(()),
            Err(error) => Err(fault::of_stream(&error, stage)),
        }
    }
}
