//! Who stands on which segment, and the [`Lab`] made of it.
//!
//! Addresses: the client segment is 198.51.100.0/24 and 2001:db8:1::/64, the server segment 192.0.2.0/24 and
//! 2001:db8:2::/64; where there is but one, it is the server segment's. Last parts: directors from 1, real servers
//! from 11, clients from 101, virtual addresses from 200, the router 254.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::Interface;
use crate::namespace::Namespace;
use crate::switch::{Switch, ip_batch};
use crate::{Host, Role, wait_until};

/// A broadcast domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Where clients are.
    Client,
    /// Where real servers are.
    Server,
}

impl Segment {
    fn bridge(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    fn address4(self, last: u8) -> Ipv4Addr {
        match self {
            Self::Client => Ipv4Addr::new(198, 51, 100, last),
            Self::Server => Ipv4Addr::new(192, 0, 2, last),
        }
    }

    fn address6(self, last: u8) -> Ipv6Addr {
        let subnet = match self {
            Self::Client => 1,
            Self::Server => 2,
        };
        Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, last.into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    OneSegment,
    TwoSegments,
    Routed,
}

/// What a lab is to consist of. [`Topology::build`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    shape: Shape,
    directors: u8,
    real_servers: u8,
    clients: u8,
}

impl Topology {
    /// Everybody on one segment: direct routing.
    pub fn one_segment() -> Self {
        Self::of(Shape::OneSegment)
    }

    /// Clients on one segment, real servers on the other, directors on both: network address translation. The first
    /// director's address is the default route of each side. Nothing is forwarded before a director is prepared.
    pub fn two_segments() -> Self {
        Self::of(Shape::TwoSegments)
    }

    /// Clients and directors on one segment, real servers on the other, a router between: tunnels.
    pub fn routed() -> Self {
        Self::of(Shape::Routed)
    }

    fn of(shape: Shape) -> Self {
        Self {
            shape,
            directors: 1,
            real_servers: 2,
            clients: 1,
        }
    }

    /// How many directors, 1 unless told, 9 at most.
    pub fn directors(self, directors: u8) -> Self {
        Self { directors, ..self }
    }

    /// How many real servers, 2 unless told, 80 at most.
    pub fn real_servers(self, real_servers: u8) -> Self {
        Self { real_servers, ..self }
    }

    /// How many clients, 1 unless told, 90 at most.
    pub fn clients(self, clients: u8) -> Self {
        Self { clients, ..self }
    }

    /// Makes the hosts and returns when every host reaches the others of its segment over IPv4 and IPv6.
    pub fn build(self, name: &str) -> Result<Lab> {
        if self.directors > 9 || self.real_servers > 80 || self.clients > 90 {
            bail!("a lab has at most 9 directors, 80 real servers and 90 clients");
        }
        // IPv6 may be a module, which comes with the first socket.
        drop(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)));
        let unique = unique_name(name);
        let directory = std::env::temp_dir().join(&unique);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let switch = Arc::new(Switch::create(&format!("{unique}-switch"))?);
        let mut lab = Lab {
            hosts: Vec::new(),
            shape: self.shape,
            switch,
            directory,
        };
        let routers = u8::from(self.shape == Shape::Routed);
        for (role, count) in [
            (Role::Director, self.directors),
            (Role::RealServer, self.real_servers),
            (Role::Client, self.clients),
            (Role::Router, routers),
        ] {
            for index in 0..count {
                lab.add_host(&unique, role, index)?;
            }
        }
        lab.connect()?;
        lab.configure()?;
        lab.wait_until_neighbours_answer()?;
        Ok(lab)
    }
}

/// The hosts of a topology, as long as the value lives. Hold it longer than what was started on the hosts.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
    shape: Shape,
    switch: Arc<Switch>,
    directory: PathBuf,
}

impl Lab {
    /// All hosts: directors, real servers, clients, router.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A director, counted from 0.
    ///
    /// # Panics
    /// When there are not so many; as for the other roles.
    pub fn director(&self, index: usize) -> &Host {
        self.host(Role::Director, index)
    }

    /// A real server, counted from 0.
    pub fn real_server(&self, index: usize) -> &Host {
        self.host(Role::RealServer, index)
    }

    /// A client, counted from 0.
    pub fn client(&self, index: usize) -> &Host {
        self.host(Role::Client, index)
    }

    /// All real servers in order.
    pub fn real_servers(&self) -> Vec<&Host> {
        self.hosts
            .iter()
            .filter(|host| host.role() == Role::RealServer)
            .collect()
    }

    /// A free IPv4 address for a virtual server, on the segment where the clients are.
    pub fn vip4(&self, index: u8) -> Ipv4Addr {
        self.client_segment().address4(200 + index)
    }

    /// A free IPv6 address for a virtual server, on the segment where the clients are.
    pub fn vip6(&self, index: u8) -> Ipv6Addr {
        self.client_segment().address6(200 + index)
    }

    /// A folder for files of this lab, gone with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn client_segment(&self) -> Segment {
        match self.shape {
            Shape::OneSegment => Segment::Server,
            Shape::TwoSegments | Shape::Routed => Segment::Client,
        }
    }

    fn host(&self, role: Role, index: usize) -> &Host {
        self.hosts
            .iter()
            .filter(|host| host.role() == role)
            .nth(index)
            .unwrap_or_else(|| panic!("this lab has no {role} {index} (counted from 0)"))
    }

    fn add_host(&mut self, unique: &str, role: Role, index: u8) -> Result<()> {
        const BOTH: &[Segment] = &[Segment::Client, Segment::Server];
        const CLIENT: &[Segment] = &[Segment::Client];
        const SERVER: &[Segment] = &[Segment::Server];
        let cables: &[&'static [Segment]] = match (self.shape, role) {
            (Shape::OneSegment, _) => &[BOTH],
            (Shape::TwoSegments, Role::Director) | (_, Role::Router) => &[CLIENT, SERVER],
            (Shape::Routed, Role::Director) | (_, Role::Client) => &[CLIENT],
            (_, Role::RealServer) => &[SERVER],
        };
        let last = index
            + match role {
                Role::Director => 1,
                Role::RealServer => 11,
                Role::Client => 101,
                Role::Router => 254,
            };
        let name = format!("{role}-{}", index + 1);
        let directory = self.directory.join(&name);
        fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let interfaces = cables.iter().zip(["eth0", "eth1"]).map(|(segments, device)| {
            let segment = wire(segments);
            let port = format!("{}{last}", segment.bridge());
            let (address4, address6) = (segment.address4(last), segment.address6(last));
            Interface {
                segments,
                device,
                port,
                address4,
                address6,
            }
        });
        self.hosts.push(Host {
            role,
            namespace: Namespace::create(&format!("{unique}-{name}"))?,
            switch: Arc::clone(&self.switch),
            interfaces: interfaces.collect(),
            directory,
            started: AtomicU32::new(0),
            name,
        });
        Ok(())
    }

    fn cables(&self) -> impl Iterator<Item = (&Host, &Interface)> {
        self.hosts
            .iter()
            .flat_map(|host| host.interfaces.iter().map(move |interface| (host, interface)))
    }

    fn connect(&self) -> Result<()> {
        let mut lines = Vec::new();
        for segment in [Segment::Client, Segment::Server] {
            let bridge = segment.bridge();
            lines.push(format!(
                "link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
            ));
            lines.push(format!("link set {bridge} up"));
        }
        for (
            host,
            Interface {
                segments, device, port, ..
            },
        ) in self.cables()
        {
            lines.push(format!(
                "link add {port} type veth peer name {device} netns {}",
                host.namespace()
            ));
            lines.push(format!("link set {port} master {} up", wire(segments).bridge()));
        }
        self.switch
            .ip(&lines)
            .with_context(|| format!("cannot cable the hosts to {}", self.switch.name()))
    }

    fn configure(&self) -> Result<()> {
        for host in &self.hosts {
            let mut lines = vec!["link set lo up".to_owned()];
            for Interface {
                device,
                address4,
                address6,
                ..
            } in &host.interfaces
            {
                lines.push(format!("link set {device} up"));
                lines.push(format!("addr add {address4}/24 dev {device}"));
                lines.push(format!("addr add {address6}/64 dev {device} nodad"));
            }
            lines.extend(self.routes(host));
            host.namespace
                .enter(|| {
                    for conf in ["all", "default", "eth0", "eth1"] {
                        // A host without this device, or without IPv6, has nothing to set.
                        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/accept_dad"), "0");
                    }
                    ip_batch(&lines)
                })?
                .with_context(|| format!("cannot configure {}", host.name()))?;
            if host.role() == Role::Router {
                host.set_sysctl("net/ipv4/ip_forward", "1")?;
                host.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
            }
        }
        let ports: Vec<&str> = self.cables().map(|(_, interface)| interface.port.as_str()).collect();
        self.switch.wait_until_forwarding(&ports)
    }

    fn routes(&self, host: &Host) -> Vec<String> {
        let default_via = |segment: Segment, last: u8| {
            let (via4, via6) = (segment.address4(last), segment.address6(last));
            vec![
                format!("route add default via {via4}"),
                format!("route add ::/0 via {via6}"),
            ]
        };
        match (self.shape, host.role()) {
            (Shape::OneSegment, _) | (Shape::TwoSegments, Role::Director) | (_, Role::Router) => Vec::new(),
            (Shape::TwoSegments, Role::RealServer) => default_via(Segment::Server, 1),
            (Shape::TwoSegments, Role::Client) => default_via(Segment::Client, 1),
            (Shape::Routed, Role::RealServer) => default_via(Segment::Server, 254),
            (Shape::Routed, Role::Director | Role::Client) => default_via(Segment::Client, 254),
        }
    }

    /// The first host of each segment asks all others for a port nobody listens on: a refusal is an answer.
    fn wait_until_neighbours_answer(&self) -> Result<()> {
        for segment in [Segment::Client, Segment::Server] {
            let on_segment: Vec<(&Host, &Interface)> = self
                .cables()
                .filter(|(_, interface)| wire(interface.segments) == segment)
                .collect();
            let Some(((first, _), others)) = on_segment.split_first() else {
                continue;
            };
            let mut silent: Vec<IpAddr> = others
                .iter()
                .flat_map(|(_, other)| [other.address4.into(), other.address6.into()])
                .collect();
            first
                .namespace
                .enter(|| {
                    wait_until("all neighbours answer", Duration::from_secs(20), || {
                        silent.retain(|address| !answers(*address));
                        silent.is_empty()
                    })
                })?
                .with_context(|| format!("{} hears nothing from {silent:?}", first.name()))?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(&self.directory);
        }
        // The folder is on the lab's tmpfs; a rest of it does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The segment whose bridge and addresses a cable has: the server segment's where there is but one.
fn wire(segments: &[Segment]) -> Segment {
    if segments.contains(&Segment::Server) {
        Segment::Server
    } else {
        Segment::Client
    }
}

fn answers(address: IpAddr) -> bool {
    const DISCARD: u16 = 9;
    match TcpStream::connect_timeout(&SocketAddr::new(address, DISCARD), Duration::from_millis(500)) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

fn unique_name(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{name}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// After a failed test: the end of each program's output, which nobody can read later.
#[expect(clippy::print_stderr, reason = "the test harness shows a failed test's errors")]
fn show_logs(directory: &Path) {
    let hosts = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = hosts
        .flat_map(|host| fs::read_dir(host.path()).into_iter().flatten().flatten())
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    for log in logs {
        let bytes = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        if !last.is_empty() {
            eprintln!("--- the end of {}\n{}", log.display(), last.join("\n"));
        }
    }
}
