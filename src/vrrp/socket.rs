//! The raw sockets that adverts come in and go out by: protocol 112, bound to one interface each.
//!
//! One listens for all virtual routers of an interface and family; instances speak by one that is bound to their source
//! address, all of the same interface by the same: for each packet of the protocol the kernel goes through all such
//! sockets there are. Nothing here blocks.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Weak};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockFilter, Socket, Type};

use super::packet::{Envelope, GROUP_V4, GROUP_V6, PROTOCOL, PacketError, TTL, open_ipv4};
use crate::model::Family;
use crate::net::NetError;

const CAPABILITY: &str = "CAP_NET_RAW";
/// The class of what controls the network (CS6).
const TRAFFIC_CLASS: u32 = 0xc0;
/// A BPF program that lets nothing in: for a socket that only sends.
const NOTHING: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// What adverts come in by.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    family: Family,
}

/// What has come in.
pub(super) enum Received<'b> {
    /// Nothing more for now.
    Nothing,
    /// Not even a packet.
    Broken(PacketError),
    /// A packet's content.
    Packet(Envelope, &'b [u8]),
}

impl Listener {
    /// Listens on an interface, in the group that adverts are sent to.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`], [`NetError::NotPermitted`], [`NetError::Kernel`].
    pub(super) fn open(interface: &str, index: u32, family: Family) -> Result<Self, NetError> {
        let open = || -> io::Result<Socket> {
            let socket = raw(interface, family)?;
            match family {
                Family::Inet => socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?,
                Family::Inet6 => {
                    socket.set_recv_hoplimit_v6(true)?;
                    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                    socket.join_multicast_v6(&GROUP_V6, index)?;
                }
            }
            Ok(socket)
        };
        let socket = open().map_err(|error| {
            NetError::from_io(
                error,
                format!("listen for adverts on {interface}"),
                interface,
                CAPABILITY,
            )
        })?;
        Ok(Self { socket, family })
    }

    /// The next packet.
    ///
    /// # Errors
    /// Where the socket no longer works: the interface is gone.
    pub(super) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Received<'b>> {
        let received = match self.family {
            Family::Inet => nix::sys::socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)
                .map(|length| (length, None)),
            Family::Inet6 => self.receive_v6(buffer),
        };
        let (length, envelope) = match received {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        Ok(match envelope {
            Some(envelope) => Received::Packet(envelope, bytes),
            None => match open_ipv4(bytes) {
                Ok((envelope, inside)) => Received::Packet(envelope, inside),
                Err(error) => Received::Broken(error),
            },
        })
    }

    fn receive_v6(&self, buffer: &mut [u8]) -> nix::Result<(usize, Option<Envelope>)> {
        let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let (mut ttl, mut destination) = (0, None);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).unwrap_or(0),
                ControlMessageOwned::Ipv6PacketInfo(info) => destination = Some(info.ipi6_addr.s6_addr),
                _ => {}
            }
        }
        let source = message.address.map(|from| from.ip());
        let envelope = source.zip(destination).map(|(source, destination)| Envelope {
            source: source.into(),
            destination: IpAddr::V6(destination.into()),
            ttl,
        });
        // The kernel gives both, for they were asked for.
        let envelope = envelope.ok_or(Errno::EAGAIN)?;
        Ok((message.bytes, Some(envelope)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What adverts go out by from one address on one interface.
#[derive(Debug)]
pub(super) struct Speaker {
    socket: Socket,
    index: u32,
}

impl Speaker {
    /// Speaks on an interface from an address of this host, `borrowed` where that is another interface's.
    ///
    /// # Errors
    /// [`NetError::NoSuchDevice`], [`NetError::NotPermitted`], [`NetError::Kernel`] where the address is not there, or
    /// not there yet.
    fn open(interface: &str, index: u32, source: IpAddr, borrowed: bool) -> Result<Self, NetError> {
        let open = || -> io::Result<Socket> {
            let socket = raw(interface, Family::of(source))?;
            socket.attach_filter(&NOTHING)?;
            match source {
                IpAddr::V4(source) => {
                    socket.set_multicast_ttl_v4(TTL.into())?;
                    socket.set_ttl_v4(TTL.into())?;
                    socket.set_multicast_loop_v4(false)?;
                    socket.set_tos_v4(TRAFFIC_CLASS)?;
                    socket.bind(&SocketAddrV4::new(source, 0).into())?;
                }
                IpAddr::V6(source) => {
                    socket.set_multicast_hops_v6(TTL.into())?;
                    socket.set_unicast_hops_v6(TTL.into())?;
                    socket.set_multicast_loop_v6(false)?;
                    socket.set_multicast_if_v6(index)?;
                    socket.set_tclass_v6(TRAFFIC_CLASS)?;
                    // A link-local address is one of its own interface, else.
                    socket.set_freebind_v6(borrowed)?;
                    let scope = if source.is_unicast_link_local() { index } else { 0 };
                    socket.bind(&SocketAddrV6::new(source, 0, 0, scope).into())?;
                }
            }
            Ok(socket)
        };
        let socket = open().map_err(|error| {
            NetError::from_io(
                error,
                format!("speak from {source} on {interface}"),
                interface,
                CAPABILITY,
            )
        })?;
        Ok(Self { socket, index })
    }

    /// Sends an advert to a router, or to all of them.
    ///
    /// # Errors
    /// What the kernel says: the interface is down, there is no route.
    pub(super) fn send(&self, advert: &[u8], destination: IpAddr) -> io::Result<()> {
        let destination: SocketAddr = match destination {
            IpAddr::V4(address) => SocketAddrV4::new(address, 0).into(),
            IpAddr::V6(address) => {
                let local = address.is_unicast_link_local() || address.is_multicast();
                SocketAddrV6::new(address, 0, 0, if local { self.index } else { 0 }).into()
            }
        };
        self.socket.send_to(advert, &SockAddr::from(destination)).map(|_| ())
    }
}

/// The speakers that instances have, each while one of them has it.
#[derive(Debug, Default)]
pub(super) struct Speakers(BTreeMap<(u32, IpAddr), Weak<Speaker>>);

impl Speakers {
    /// As [`Speaker::open`], or what was opened for another instance.
    ///
    /// # Errors
    /// As [`Speaker::open`].
    pub(super) fn open(
        &mut self,
        interface: &str,
        index: u32,
        source: IpAddr,
        borrowed: bool,
    ) -> Result<Arc<Speaker>, NetError> {
        let key = (index, source);
        if let Some(speaker) = self.0.get(&key).and_then(Weak::upgrade) {
            return Ok(speaker);
        }
        let speaker = Arc::new(Speaker::open(interface, index, source, borrowed)?);
        self.0.retain(|_, known| known.strong_count() > 0);
        self.0.insert(key, Arc::downgrade(&speaker));
        Ok(speaker)
    }
}

/// Where adverts go that are not for somebody in particular.
pub(super) fn group(family: Family) -> IpAddr {
    match family {
        Family::Inet => GROUP_V4.into(),
        Family::Inet6 => GROUP_V6.into(),
    }
}

fn raw(interface: &str, family: Family) -> io::Result<Socket> {
    let domain = match family {
        Family::Inet => Domain::IPV4,
        Family::Inet6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    Ok(socket)
}
