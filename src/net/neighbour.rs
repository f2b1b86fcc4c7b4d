//! Asking a segment whether anybody has an address, and telling it who has it now.
//!
//! IPv4 by ARP as in RFC 5227, IPv6 by neighbour discovery as in RFC 4862 and 4861. Frames are written and read on a
//! packet socket, so that an address can be probed for before it is on the host; it takes `CAP_NET_RAW`.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc;
use nix::net::if_::if_indextoname;
use nix::sys::socket::LinkAddr;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout_at};

use super::packet::{Arp, ArpOperation, ETHERTYPE_ARP, ETHERTYPE_IPV6, NeighbourFrame};
use super::{HostNetwork, NetError, sysctl};
use crate::model::{Link, Mac, interface_sysctl};

const CAPABILITY: &str = "CAP_NET_RAW";

#[allow(clippy::cast_possible_truncation, reason = "both are numbers below 100")]
const AF_PACKET: libc::sa_family_t = libc::AF_PACKET as libc::sa_family_t;
#[allow(clippy::cast_possible_truncation, reason = "both are numbers below 100")]
const SOCKADDR_LL: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// How often and how long a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeTiming {
    /// How many times.
    pub count: u32,
    /// From one to the next.
    pub interval: Duration,
    /// How long to listen after the last.
    pub wait: Duration,
}

impl ProbeTiming {
    /// Three times within 600 ms: a neighbour on the same segment answers within a few.
    pub const QUICK: Self = Self {
        count: 3,
        interval: Duration::from_millis(200),
        wait: Duration::from_millis(200),
    };
}

/// How often an address is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// How many times.
    pub count: u32,
    /// From one to the next.
    pub interval: Duration,
}

impl Burst {
    /// Three times within 100 ms, for a lost frame or two.
    pub const SHORT: Self = Self {
        count: 3,
        interval: Duration::from_millis(50),
    };
}

/// Asks the hosts behind `device` whether one of them has `address`, and says which hardware address answers first.
///
/// Ends early at the first answer. Our own frames do not count; another host's probe for the same address does.
///
/// # Errors
/// [`NetError::NoSuchDevice`], [`NetError::DeviceDown`], [`NetError::NotEthernet`], [`NetError::NotPermitted`],
/// [`NetError::Kernel`].
pub async fn probe(device: &str, address: IpAddr, timing: ProbeTiming) -> Result<Option<Mac>, NetError> {
    ask(device, address, None, timing).await
}

/// Asks the hosts behind `device` whether one of them has `address` although this host has it, and says which hardware
/// address answers first.
///
/// Nobody learns anything from it. For IPv6 this is no probe: its answer goes to all hosts, which would take it for a move
/// of the address to whoever answers. The question comes from `asker`, an address of this host alone; without one nobody
/// is asked for an IPv6 address.
///
/// # Errors
/// As [`probe`].
pub async fn other_holder(
    device: &str,
    address: IpAddr,
    asker: Option<Ipv6Addr>,
    timing: ProbeTiming,
) -> Result<Option<Mac>, NetError> {
    match (address, asker) {
        (IpAddr::V6(_), None) => Ok(None),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => ask(device, address, asker, timing).await,
    }
}

async fn ask(
    device: &str,
    address: IpAddr,
    asker: Option<Ipv6Addr>,
    timing: ProbeTiming,
) -> Result<Option<Mac>, NetError> {
    let action = || format!("probe for {address} on {device}");
    let explain = |error| NetError::from_io(error, action(), device, CAPABILITY);
    let (kind, filter) = match address {
        IpAddr::V4(_) => (ETHERTYPE_ARP, None),
        IpAddr::V6(_) => (ETHERTYPE_IPV6, Some(neighbour_messages_only())),
    };
    let socket = PacketSocket::open(
        &HostNetwork::connect()?.link(device)?,
        kind,
        filter.as_ref().map(|filter| &filter[..]),
        action(),
    )?;
    let own = socket.mac;
    let question = match address {
        IpAddr::V4(address) => Arp::probe(own, address).broadcast_frame(),
        IpAddr::V6(address) => match asker {
            Some(asker) => NeighbourFrame::question(own, asker, address).frame(),
            None => NeighbourFrame::probe(own, address).frame(),
        },
    };
    let holder = |frame: &[u8]| match address {
        IpAddr::V4(address) => {
            let arp = Arp::parse(frame)?;
            arp.contests(address, own).then_some(arp.sender_mac)
        }
        IpAddr::V6(address) => NeighbourFrame::parse(frame)?.contests(address, own),
    };
    let mut buffer = vec![0; 2048];
    for round in 1..=timing.count {
        socket.send(&question).await.map_err(explain)?;
        let listen = if round == timing.count {
            timing.wait
        } else {
            timing.interval
        };
        let until = Instant::now() + listen;
        while let Ok(received) = timeout_at(until, socket.receive(&mut buffer)).await {
            if let Some(mac) = received.map_err(explain)?.and_then(holder) {
                return Ok(Some(mac));
            }
        }
    }
    Ok(None)
}

/// Tells the hosts behind `device` that `address` is here, as [`Announcer::announce`].
///
/// # Errors
/// As [`probe`].
pub async fn announce(device: &str, address: IpAddr, burst: Burst) -> Result<(), NetError> {
    let announcer = Announcer::open(&HostNetwork::connect()?.link(device)?)?;
    announcer.announce(address, burst).await
}

/// Tells the hosts behind a device of addresses.
pub struct Announcer {
    link: Link,
    socket: PacketSocket,
}

impl Announcer {
    /// Opens a socket on the device; neighbours are told of the hardware address that it has in `link`.
    ///
    /// # Errors
    /// As [`probe`].
    pub fn open(link: &Link) -> Result<Self, NetError> {
        let action = format!("announce addresses on {}", link.name);
        Ok(Self {
            link: link.clone(),
            socket: PacketSocket::open(link, NOTHING, None, action)?,
        })
    }

    /// The number of its device, where that has its name still.
    pub fn index(&self) -> Option<u32> {
        let name = if_indextoname(self.link.index).ok()?;
        (name.to_bytes() == self.link.name.as_bytes()).then_some(self.link.index)
    }

    /// Whether it was opened on this device as it is now.
    pub fn fits(&self, link: &Link) -> bool {
        link.up && (self.link.index, self.link.mac) == (link.index, link.mac)
    }

    /// Tells that `address` is here: gratuitous ARP as request and as reply, or an unsolicited
    /// neighbour advertisement. For IPv6 the address should be on the device already: it is the sender.
    ///
    /// # Errors
    /// As [`probe`].
    pub async fn announce(&self, address: IpAddr, burst: Burst) -> Result<(), NetError> {
        let (device, mac) = (&self.link.name, self.socket.mac);
        let frames = match address {
            IpAddr::V4(address) => [ArpOperation::Request, ArpOperation::Reply]
                .map(|operation| Arp::gratuitous(operation, mac, address).broadcast_frame())
                .to_vec(),
            IpAddr::V6(address) => {
                let setting = interface_sysctl("ipv6", device, "forwarding");
                let router = sysctl::read(&setting).is_ok_and(|value| value != "0");
                vec![NeighbourFrame::unsolicited(mac, address, router).frame()]
            }
        };
        for round in 0..burst.count {
            if round > 0 && !burst.interval.is_zero() {
                sleep(burst.interval).await;
            }
            for frame in &frames {
                self.socket.send(frame).await.map_err(|error| {
                    NetError::from_io(error, format!("announce {address} on {device}"), device, CAPABILITY)
                })?;
            }
        }
        Ok(())
    }
}

/// A packet socket on one Ethernet interface.
struct PacketSocket {
    socket: AsyncFd<Socket>,
    index: usize,
    mac: Mac,
}

impl PacketSocket {
    fn open(link: &Link, kind: u16, filter: Option<&[SockFilter]>, action: String) -> Result<Self, NetError> {
        let device = || link.name.clone();
        let mac = link.mac.ok_or_else(|| NetError::NotEthernet { device: device() })?;
        if !link.up {
            return Err(NetError::DeviceDown { device: device() });
        }
        let protocol = Protocol::from(i32::from(kind.to_be()));
        let open = || -> io::Result<_> {
            let index = i32::try_from(link.index).map_err(io::Error::other)?;
            let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
            if let Some(filter) = filter {
                socket.attach_filter(filter)?;
            }
            socket.bind(&behind(index, kind))?;
            register(socket)
        };
        Ok(Self {
            socket: open().map_err(|error| NetError::from_io(error, action, &link.name, CAPABILITY))?,
            index: link.index as usize,
            mac,
        })
    }

    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        // Mostly there is room; whether there is need not be asked for.
        match self.socket.get_ref().send(frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent.map(drop),
        }
        loop {
            let mut ready = self.socket.writable().await?;
            if let Ok(sent) = ready.try_io(|socket| socket.get_ref().send(frame)) {
                return sent.map(|_| ());
            }
        }
    }

    /// The next frame; `None` where it came in elsewhere, before the socket was bound.
    async fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let read = ready.try_io(|socket| {
                let received = nix::sys::socket::recvfrom::<LinkAddr>(socket.get_ref().as_raw_fd(), buffer);
                received.map_err(io::Error::from)
            });
            match read {
                Ok(Ok((length, from))) => {
                    let here = from.is_some_and(|from| from.ifindex() == self.index);
                    return Ok(buffer.get(..length).filter(|_| here));
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// Hands a socket to the runtime.
#[allow(unsafe_code, reason = "tokio's safe constructor is deprecated in favour of this one")]
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its descriptor, gives the same one for as long as it lives, and is only ever lent out
    // by reference, so that it is closed after the runtime has let go of it.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Where a packet socket is bound: an interface, and the protocol that the socket was opened with.
#[allow(unsafe_code, reason = "socket2 has no safe constructor for it")]
fn behind(index: i32, kind: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a sockaddr_ll is shorter than the storage, and any bytes are one.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = AF_PACKET;
    address.sll_protocol = kind.to_be();
    address.sll_ifindex = index;
    // SAFETY: the storage has a valid sockaddr_ll, and this is the length of one.
    unsafe { SockAddr::new(storage, SOCKADDR_LL) }
}

/// The protocol of a socket that only sends: it is given no packet (packet(7)).
const NOTHING: u16 = 0;

const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// A classic BPF program that lets in IPv6 neighbour solicitations and advertisements, so that a busy director does
/// not copy all its traffic here.
fn neighbour_messages_only() -> [SockFilter; 9] {
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 6, u32::from(ETHERTYPE_IPV6)),
        SockFilter::new(LOAD_BYTE, 0, 0, 20),
        SockFilter::new(JUMP_IF_EQUAL, 0, 4, 58),
        SockFilter::new(LOAD_BYTE, 0, 0, 54),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, 135),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 136),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
