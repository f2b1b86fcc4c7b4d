//! A pool on a real kernel: a topology for one forwarding mode, nginx on every real server, ipvsd on the director.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use ipvsd_lab::{
    Client, Finished, Forwarding, Host, Lab, Nginx, Process, Segment, Topology, prepare_director_by_hand,
    prepare_real_server_by_hand, require_kernel,
};

/// The program under test.
pub(crate) const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// How long the daemon may take to say that it is ready; user-mode Linux is slow to start programs.
const READY: Duration = Duration::from_secs(20);

/// An address family of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A topology for one forwarding mode and family.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) mode: Forwarding,
    pub(crate) family: Family,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} over {:?}", self.mode, self.family)
    }
}

impl Site {
    /// Hosts that can serve `vips` virtual addresses in this mode; the director's addresses are left to ipvsd.
    pub(crate) fn build(name: &str, mode: Forwarding, family: Family, real_servers: u8, vips: u8) -> Self {
        require_kernel();
        let topology = match mode {
            Forwarding::Nat => Topology::two_segments(),
            Forwarding::Direct => Topology::one_segment(),
            Forwarding::Tunnel => Topology::routed(),
        };
        let lab = topology.real_servers(real_servers).build(name).expect("a topology");
        let site = Self { lab, mode, family };
        let vips: Vec<_> = (0..vips).map(|index| site.vip(index)).collect();
        prepare_director_by_hand(site.director(), "eth0", &[]).expect("a director");
        for server in site.lab.real_servers() {
            prepare_real_server_by_hand(server, mode, &vips).expect("a real server");
        }
        site
    }

    pub(crate) fn director(&self) -> &Host {
        self.lab.director(0)
    }

    pub(crate) fn client(&self) -> Client<'_> {
        Client::new(self.lab.client(0))
    }

    pub(crate) fn vip(&self, index: u8) -> IpAddr {
        match self.family {
            Family::V4 => self.lab.vip4(index).into(),
            Family::V6 => self.lab.vip6(index).into(),
        }
    }

    pub(crate) fn server_address(&self, index: usize) -> IpAddr {
        let server = self.lab.real_server(index);
        match self.family {
            Family::V4 => server.address4(Segment::Server).into(),
            Family::V6 => server.address6(Segment::Server).into(),
        }
    }

    pub(crate) fn forward(&self) -> &'static str {
        match self.mode {
            Forwarding::Nat => "nat",
            Forwarding::Direct => "dr",
            Forwarding::Tunnel => "tun",
        }
    }

    /// Nginx on one real server, on port 80 of all its addresses.
    pub(crate) fn nginx(&self, index: usize) -> Nginx<'_> {
        let server = self.lab.real_server(index);
        let wildcard: IpAddr = match self.family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        Nginx::start(server, &[SocketAddr::new(wildcard, 80)], server.name()).expect("nginx")
    }

    /// Nginx on the first `count` real servers.
    pub(crate) fn nginx_on(&self, count: usize) -> Vec<Nginx<'_>> {
        (0..count).map(|index| self.nginx(index)).collect()
    }

    /// A `[[virtual_server]]` with its real servers, `(index, weight)` each; `more` is further lines of its table.
    pub(crate) fn virtual_server(&self, name: &str, address: &str, more: &str, servers: &[(usize, u32)]) -> String {
        let mut text = format!(
            "[[virtual_server]]\nname = \"{name}\"\n{address}\nforward = \"{}\"\n{more}\n",
            self.forward()
        );
        for (index, weight) in servers {
            let address = self.server_address(*index);
            text.push_str(&format!(
                "[[virtual_server.real_server]]\naddress = \"{address}\"\nweight = {weight}\n"
            ));
        }
        text
    }

    /// Writes the director's configuration file.
    pub(crate) fn configure(&self, text: &str) -> PathBuf {
        configure(self.director(), text)
    }

    /// Runs a verb of ipvsd on the director.
    pub(crate) fn ipvsd(&self, arguments: &[&str]) -> Finished {
        ipvsd(self.director(), arguments)
    }

    /// Starts the daemon with this configuration and waits until it is ready.
    pub(crate) fn run(&self, text: &str) -> Daemon {
        let file = self.configure(text);
        Daemon::start(self.director(), &file, &[])
    }
}

/// Writes a configuration file on a host.
pub(crate) fn configure(host: &Host, text: &str) -> PathBuf {
    let file = host.directory().join("ipvsd.toml");
    fs::write(&file, text).expect("a configuration file");
    file
}

/// Runs a verb of ipvsd on a host.
pub(crate) fn ipvsd(host: &Host, arguments: &[&str]) -> Finished {
    let command: Vec<_> = [IPVSD].iter().chain(arguments).copied().collect();
    host.exec(&command).expect("ipvsd runs")
}

/// A running `ipvsd run`; dropping it kills it.
pub(crate) struct Daemon {
    pub(crate) process: Process,
}

impl Daemon {
    pub(crate) fn start(host: &Host, file: &std::path::Path, more: &[&str]) -> Self {
        let mut daemon = Self::spawn(host, file, more);
        daemon.wait_for("ready:");
        daemon
    }

    pub(crate) fn spawn(host: &Host, file: &std::path::Path, more: &[&str]) -> Self {
        let file = file.display().to_string();
        // Measurements are made of an optimised one (benches/run).
        let program = std::env::var("IPVSD_PROGRAM").unwrap_or_else(|_| IPVSD.to_owned());
        let command: Vec<_> = [&program, "run", "-c", &file]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        Self {
            process: host.spawn(&command).expect("ipvsd starts"),
        }
    }

    /// Waits for a line of the log.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.process.wait_for_log(text, READY).expect("a line of the log");
    }
}

/// Whether a virtual address is on a device of a host by now.
pub(crate) fn holds(host: &Host, address: IpAddr) -> bool {
    let found = host.exec_ok(&["ip", "-o", "address", "show"]).expect("ip");
    let length = if address.is_ipv4() { 32 } else { 128 };
    found.contains(&format!(" {address}/{length} "))
}

/// The destinations of one service as the kernel has them: weight, and connections of any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) weight: u32,
    pub(crate) connections: u32,
}

/// What Debian's ipvsadm tells of one service, by destination; `None` where there is no such service.
pub(crate) fn table(host: &Host, service: &[&str]) -> Option<BTreeMap<SocketAddr, Found>> {
    let command: Vec<_> = ["ipvsadm", "-L", "-n"].iter().chain(service).copied().collect();
    let finished = host.exec(&command).expect("ipvsadm runs");
    if finished.code() != 0 {
        return None;
    }
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (Some(&"->"), Some(Ok(address))) = (words.first(), words.get(1).map(|word| word.parse())) else {
            return None;
        };
        let number = |index: usize| {
            words
                .get(index)
                .and_then(|word| word.parse::<u32>().ok())
                .expect("a number")
        };
        Some((
            address,
            Found {
                weight: number(3),
                connections: number(4) + number(5),
            },
        ))
    };
    Some(finished.stdout.lines().filter_map(line).collect())
}

/// A connection to an HTTP server that was answered once and stays open.
pub(crate) struct Held {
    stream: TcpStream,
    pub(crate) identity: String,
}

impl Held {
    pub(crate) fn open(client: &Host, address: SocketAddr) -> Self {
        let open = || -> std::io::Result<Self> {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let identity = ask(&mut stream)?;
            Ok(Self { stream, identity })
        };
        client.in_namespace(open).expect("a namespace").expect("an answer")
    }

    /// Whether the same server answers once more over the same connection.
    pub(crate) fn goes_on(&mut self) -> bool {
        ask(&mut self.stream).is_ok_and(|identity| identity == self.identity)
    }
}

/// Asks over a connection that stays open; the answer's body is one line, the identity.
fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    write!(stream, "GET / HTTP/1.1\r\nHost: held\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('\n')) {
            return Ok(body.trim_end().to_owned());
        }
    }
}

impl Held {
    /// Ends the connection by a reset, which the kernel forgets after ten seconds instead of two minutes.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket option");
    }
}

/// How many of these identities there are of each.
pub(crate) fn count<'a>(identities: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for identity in identities {
        *counts.entry(identity.to_owned()).or_default() += 1;
    }
    counts
}
