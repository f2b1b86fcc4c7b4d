//! Who asks: requests over plain sockets from a client's namespace, answered by the real server's identity.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Socket, Type};

use crate::Host;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The connection was refused.
    Refused,
    /// Nothing came within the time allowed.
    TimedOut,
    /// The connection was cut, or closed before an answer.
    Reset,
    /// No way there.
    Unreachable,
    /// The client's own trouble, such as no free port.
    Local,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::Local => "the client's own trouble",
        })
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::TimedOut,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => Self::Reset,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            _ => Self::Local,
        }
    }
}

/// Asks from a host. Cheap to make; cloneable, so that it can say the same from several source addresses.
#[derive(Clone, Copy, Debug)]
pub struct Client<'lab> {
    host: &'lab Host,
    source: Option<IpAddr>,
    timeout: Duration,
}

impl<'lab> Client<'lab> {
    /// A client on a host, with 5 s for each request.
    pub fn new(host: &'lab Host) -> Self {
        Self {
            host,
            source: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The same client with another source address, which the host must have.
    pub fn from(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// The same client with another time limit for a whole request.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The identity of the server that answers one new connection, be it HTTP or a [`crate::Responder`].
    pub fn get(&self, address: SocketAddr) -> Result<String, Failure> {
        let (source, timeout) = (self.source, self.timeout);
        self.host
            .in_namespace(|| request(address, source, timeout))
            .unwrap_or(Err(Failure::Local))
    }

    /// A connection that stays open, to a server that speaks first (a [`crate::Responder`]).
    pub fn open(&self, address: SocketAddr) -> Result<Connection, Failure> {
        let (source, timeout) = (self.source, self.timeout);
        self.host
            .in_namespace(|| Connection::open(address, source, timeout))
            .unwrap_or(Err(Failure::Local))
    }

    /// The identity of the server that answers one datagram.
    pub fn ask_udp(&self, address: SocketAddr) -> Result<String, Failure> {
        let (source, timeout) = (self.source, self.timeout);
        self.host
            .in_namespace(|| datagram(address, source, timeout))
            .unwrap_or(Err(Failure::Local))
    }

    /// How many of `requests` new connections, one after the other, each server answered; the first failure ends it.
    pub fn spread(&self, address: SocketAddr, requests: usize) -> Result<BTreeMap<String, usize>> {
        let mut counts = BTreeMap::new();
        for identity in self.sequence(address, requests)? {
            *counts.entry(identity).or_default() += 1;
        }
        Ok(counts)
    }

    /// Who answered each of `requests` new connections, in order; the first failure ends it.
    pub fn sequence(&self, address: SocketAddr, requests: usize) -> Result<Vec<String>> {
        let (source, timeout) = (self.source, self.timeout);
        self.host.in_namespace(|| {
            (0..requests)
                .map(|number| {
                    request(address, source, timeout)
                        .with_context(|| format!("request {} of {requests} to {address} failed", number + 1))
                })
                .collect()
        })?
    }

    /// Asks until a server with this identity answers; fails with the last answer after `limit`.
    pub fn wait_for_answer(&self, address: SocketAddr, identity: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let last = self.get(address);
            if last.as_deref() == Ok(identity) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(anyhow!(
                    "waited {limit:?} for {identity} to answer on {address}; the last was {last:?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A connection held open; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    identity: String,
}

impl Connection {
    fn open(address: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> Result<Self, Failure> {
        let mut stream = connect(address, source, timeout)?;
        let identity = read_answer(&mut stream, Instant::now() + timeout)?;
        Ok(Self { stream, identity })
    }

    /// Who is at the other end.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The client's own address and port.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.stream
            .local_addr()
            .context("cannot tell a connection's own address")
    }

    /// Whether the other end has neither closed nor cut the connection by now.
    pub fn is_open(&self) -> bool {
        let looked = self
            .stream
            .set_nonblocking(true)
            .and_then(|()| self.stream.peek(&mut [0; 1]));
        let open = match looked {
            Ok(read) => read > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        open && self.stream.set_nonblocking(false).is_ok()
    }

    /// Sends a byte, which moves the connection in the kernel's table.
    pub fn send(&mut self) -> Result<(), Failure> {
        Ok(self.stream.write_all(b"\n")?)
    }

    /// Says good-bye and waits until the other end has: all that was sent has arrived there then.
    pub fn finish(mut self, limit: Duration) -> Result<(), Failure> {
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(limit))?;
        match self.stream.read(&mut [0; 1])? {
            0 => Ok(()),
            _ => Err(Failure::Reset),
        }
    }
}

/// One request in the namespace of the calling thread.
pub(crate) fn request(address: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> Result<String, Failure> {
    let end = Instant::now() + timeout;
    let mut stream = connect(address, source, timeout)?;
    stream.write_all(question(address).as_bytes())?;
    read_answer(&mut stream, end)
}

/// What is asked of whatever answers there.
pub(crate) fn question(address: SocketAddr) -> String {
    format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
}

/// Whether an answer so far is HTTP, which ends with the connection; any other ends with the line.
pub(crate) fn is_http(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/")
}

/// Who has given a whole answer.
pub(crate) fn identity(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map_or(text.as_ref(), |(_, body)| body);
    body.trim_end().to_owned()
}

fn connect(address: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> Result<TcpStream, Failure> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), timeout)?;
    socket.set_write_timeout(Some(timeout))?;
    Ok(socket.into())
}

/// Reads an HTTP answer to its end, or the line of a server that speaks no HTTP.
fn read_answer(stream: &mut TcpStream, end: Instant) -> Result<String, Failure> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let is_http = is_http(&answer);
        if !is_http && answer.ends_with(b"\n") {
            break;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::TimedOut);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) if is_http => break,
            Ok(0) => return Err(Failure::Reset),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(identity(&answer))
}

fn datagram(address: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> Result<String, Failure> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(source.unwrap_or(any), 0))?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(address)?;
    socket.send(b"who\n")?;
    let mut buffer = [0; 2048];
    let read = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).trim_end().to_owned())
}
