//! Packets as the kernel has stamped them.

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, SockFilter, Socket, Type};

/// Packets of one kind, kept by the kernel with the time at which they passed, in the network namespace of whoever asked
/// for them.
pub(super) struct Packets(Socket);

/// Which packets.
pub(super) struct Kind {
    /// Their EtherType; 3 for all, with those that this host sends.
    protocol: u16,
    filter: &'static [SockFilter],
}

/// One of them.
pub(super) struct Packet {
    /// Since 1970.
    pub(super) at: Duration,
    head: [u8; 40],
}

impl Packet {
    fn address(&self, from: usize) -> IpAddr {
        let bytes: [u8; 4] = std::array::from_fn(|index| self.head[from + index]);
        Ipv4Addr::from(bytes).into()
    }

    /// Where an IPv4 packet comes from.
    pub(super) fn source(&self) -> IpAddr {
        self.address(12)
    }

    /// Where it goes.
    pub(super) fn destination(&self) -> IpAddr {
        self.address(16)
    }

    /// Whose hardware address an ARP packet tells.
    pub(super) fn announced(&self) -> IpAddr {
        self.address(14)
    }
}

impl Packets {
    /// What passes at once is read when all is over, so that nobody reads beside the contestants.
    const ROOM: usize = 256 << 20;

    /// The first packets of connections over IPv4 that are received, also over the loopback.
    pub(super) const HANDSHAKES: Kind = Kind {
        protocol: 0x0800,
        filter: &[
            // TCP, at the offset that the header's own length says: SYN without ACK.
            op(0x30, 0, 0, 9),
            op(0x15, 0, 4, 6),
            op(0xb1, 0, 0, 0),
            op(0x50, 0, 0, 13),
            op(0x54, 0, 0, 0x12),
            op(0x15, 1, 0, 0x02),
            op(0x06, 0, 0, 0),
            op(0x06, 0, 0, 40),
        ],
    };

    /// VRRP's adverts over IPv4, sent and received.
    pub(super) const ADVERTS: Kind = Kind {
        protocol: 0x0003,
        filter: &[
            op(0x30, 0, 0, 0),
            op(0x54, 0, 0, 0xf0),
            op(0x15, 0, 2, 0x40),
            op(0x30, 0, 0, 9),
            op(0x15, 1, 0, 112),
            op(0x06, 0, 0, 0),
            op(0x06, 0, 0, 40),
        ],
    };

    /// What is received of ARP: who tells its own address, and asks for it, announces itself.
    pub(super) const ANNOUNCEMENTS: Kind = Kind {
        protocol: 0x0806,
        filter: &[
            op(0x20, 0, 0, 14),
            op(0x02, 0, 0, 0),
            op(0x20, 0, 0, 24),
            op(0x61, 0, 0, 0),
            op(0x1d, 1, 0, 0),
            op(0x06, 0, 0, 0),
            op(0x06, 0, 0, 40),
        ],
    };

    /// Keeps them from now on.
    pub(super) fn watch(kind: &Kind) -> Result<Self> {
        let open = || -> std::io::Result<_> {
            let protocol = i32::from(kind.protocol.to_be()).into();
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
            socket.attach_filter(kind.filter)?;
            setsockopt(&socket, sockopt::RcvBufForce, &Self::ROOM)?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            Ok(socket)
        };
        open().map(Self).context("cannot watch for packets")
    }

    /// Those until now, in their order.
    pub(super) fn all(self) -> Result<Vec<Packet>> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut found = vec![];
        loop {
            let mut head = [0; 40];
            let mut buffers = [IoSliceMut::new(&mut head)];
            let mut more = cmsg_space!(TimeSpec);
            let read = recvmsg::<()>(
                self.0.as_raw_fd(),
                &mut buffers,
                Some(&mut more),
                MsgFlags::MSG_DONTWAIT,
            );
            let at = match read {
                Ok(read) => read
                    .cmsgs()
                    .context("a packet without a time")?
                    .find_map(|message| match message {
                        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                        _ => None,
                    }),
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error).context("cannot read the packets"),
            };
            let at = at.context("a packet without a time")?;
            // What came before the kernel had begun to stamp packets is stamped when it is read.
            if at <= end {
                found.push(Packet { at, head });
            }
        }
        Ok(found)
    }
}

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code, jt, jf, k)
}
