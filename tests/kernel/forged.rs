//! Packets of protocol 112 that no director would send, in whatever name, from a host of the lab.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipvsd::model::{VrrpAdvert, VrrpAuthentication, VrrpChecksum, VrrpPassword, VrrpVersion};
use ipvsd::vrrp::packet::{GROUP_V4, PROTOCOL, TTL, encode};
use ipvsd_lab::{Host, Segment};
use socket2::{Domain, Protocol, Socket, Type};

/// Where the adverts of a virtual router stand in them.
const CHECKSUM: usize = 6;

/// Whoever sends them.
pub(crate) struct Forger {
    socket: Socket,
    own: Ipv4Addr,
}

/// One packet, but for what the kernel fills in.
#[derive(Debug, Clone)]
pub(crate) struct Forged {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

impl Forger {
    /// On a host with one cable.
    pub(crate) fn on(host: &Host) -> Self {
        let own = host.address4(Segment::Client);
        let device = host.device(Segment::Client).to_owned();
        let open = || {
            // IPPROTO_RAW: the header comes with the packet (raw(7)).
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
            socket.bind_device(Some(device.as_bytes()))?;
            std::io::Result::Ok(socket)
        };
        let socket = host.in_namespace(open).expect("a namespace").expect("a raw socket");
        Self { socket, own }
    }

    /// An advert of version 3 as it should be, of the highest priority that is no owner's, from here.
    pub(crate) fn good(&self, virtual_router_id: u8, address: IpAddr) -> Forged {
        self.of(&VrrpAdvert {
            version: VrrpVersion::V3,
            virtual_router_id,
            priority: 254,
            interval: Duration::from_millis(500),
            authentication: VrrpAuthentication::None,
            addresses: vec![address],
        })
    }

    /// The same of version 2, with a password and whole seconds.
    pub(crate) fn version_2(&self, virtual_router_id: u8, address: IpAddr, password: &[u8; 8], seconds: u64) -> Forged {
        self.of(&VrrpAdvert {
            version: VrrpVersion::V2,
            virtual_router_id,
            priority: 254,
            interval: Duration::from_secs(seconds),
            authentication: VrrpAuthentication::Password(VrrpPassword(*password)),
            addresses: vec![address],
        })
    }

    fn of(&self, advert: &VrrpAdvert) -> Forged {
        Forged {
            source: self.own,
            destination: GROUP_V4,
            ttl: TTL,
            payload: encode(advert, self.own.into(), GROUP_V4.into(), VrrpChecksum::Rfc9568),
        }
    }

    pub(crate) fn send(&self, forged: &Forged) {
        let mut packet = vec![0; 20];
        (packet[0], packet[8], packet[9]) = (0x45, forged.ttl, PROTOCOL);
        packet[12..16].copy_from_slice(&forged.source.octets());
        packet[16..20].copy_from_slice(&forged.destination.octets());
        packet.extend(&forged.payload);
        let destination = SocketAddrV4::new(forged.destination, 0).into();
        self.socket.send_to(&packet, &destination).expect("a packet goes out");
    }

    /// Sends these in turn, so many a second; how many it were in all.
    pub(crate) fn flood(&self, packets: &[Forged], a_second: u32, duration: Duration) -> usize {
        const BURST: Duration = Duration::from_millis(10);
        let (begin, mut sent) = (Instant::now(), 0);
        let mut next = packets.iter().cycle();
        while begin.elapsed() < duration {
            // What this thread was woken too late for is made up for.
            let due = (begin.elapsed() + BURST).as_secs_f64() * f64::from(a_second);
            while (sent as f64) < due {
                self.send(next.next().expect("packets"));
                sent += 1;
            }
            sleep(BURST);
        }
        sent
    }
}

impl Forged {
    /// Without its end.
    pub(crate) fn cut(mut self, length: usize) -> Self {
        self.payload.truncate(length);
        self
    }

    pub(crate) fn with_ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    pub(crate) fn damaged(mut self) -> Self {
        self.payload[CHECKSUM] ^= 0x55;
        self
    }

    /// In the name of somebody else; with the form of the checksum that does not cover addresses it stays right.
    pub(crate) fn from(self, source: Ipv4Addr) -> Self {
        Self { source, ..self }
    }

    /// To one host instead of all.
    pub(crate) fn to(self, destination: Ipv4Addr) -> Self {
        Self { destination, ..self }
    }
}
