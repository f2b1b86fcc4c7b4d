//! Directors that share virtual addresses: their lab, their configurations, and who has what.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipvsd_lab::{
    Forwarding, Host, Lab, Nginx, Process, Segment, Topology, prepare_director_by_hand, prepare_real_server_by_hand,
    require_kernel, wait_until,
};

use crate::site::{Daemon, configure, ipvsd};

/// How long an election may take on a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A line that the suite shows also where the test passes: past the harness, which keeps what passing tests print.
pub(crate) fn measured(what: impl fmt::Display) {
    // Where nobody listens, nothing is lost but the line.
    let _ = writeln!(std::io::stderr(), "measured: {what}");
}

/// Two directors, real servers (one unless told), one client, all on one segment.
pub(crate) struct Routers {
    pub(crate) lab: Lab,
}

/// Slow enough for a guest that stands still for a moment, quick enough to wait for.
pub(crate) const ADVERTS: &str = "advert_int = \"500ms\"";

/// What one director is told beside what is common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) priority: u8,
    pub(crate) more: &'a str,
}

/// A director of this priority, with those adverts and nothing else.
pub(crate) fn own(priority: u8) -> Own<'static> {
    Own {
        priority,
        more: ADVERTS,
    }
}

impl Routers {
    pub(crate) fn build(name: &str) -> Self {
        Self::with_servers(name, 1)
    }

    /// The same with another number of real servers.
    pub(crate) fn with_servers(name: &str, real_servers: u8) -> Self {
        require_kernel();
        let topology = Topology::one_segment()
            .directors(2)
            .real_servers(real_servers)
            .clients(1);
        let lab = topology.build(name).expect("a topology");
        let routers = Self { lab };
        for index in 0..2 {
            prepare_director_by_hand(routers.director(index), "eth0", &[]).expect("a director");
        }
        let vips = [routers.vip(0), routers.vip(1), routers.vip6(0)];
        for server in routers.lab.real_servers() {
            prepare_real_server_by_hand(server, Forwarding::Direct, &vips).expect("a real server");
        }
        routers
    }

    pub(crate) fn director(&self, index: usize) -> &Host {
        self.lab.director(index)
    }

    pub(crate) fn address(&self, index: usize) -> IpAddr {
        self.director(index).address4(Segment::Client).into()
    }

    pub(crate) fn device(&self, index: usize) -> &str {
        self.director(index).device(Segment::Client)
    }

    pub(crate) fn vip(&self, index: u8) -> IpAddr {
        self.lab.vip4(index).into()
    }

    pub(crate) fn vip6(&self, index: u8) -> IpAddr {
        self.lab.vip6(index).into()
    }

    /// Nginx behind the virtual addresses.
    pub(crate) fn serve(&self) -> Nginx<'_> {
        let server = self.lab.real_server(0);
        Nginx::start(server, &[SocketAddr::new([0, 0, 0, 0].into(), 80)], "behind").expect("nginx")
    }

    /// An instance `VI_1` with the first address and number 51, and a virtual server that follows it.
    pub(crate) fn instance(&self, index: usize, own: Own<'_>) -> String {
        let server: IpAddr = self.lab.real_server(0).address4(Segment::Server).into();
        format!(
            "[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 51\npriority = {}\n{}\n\n\
             [[virtual_server]]\nname = \"web\"\naddress = \"{}\"\nvrrp_instance = \"VI_1\"\nforward = \"dr\"\n\
             check = [{{ type = \"tcp\", initial = \"up\", interval = \"1s\", timeout = \"1s\", fall = 10 }}]\n\
             [[virtual_server.real_server]]\naddress = \"{}\"\n",
            self.device(index),
            own.priority,
            own.more,
            SocketAddr::new(self.vip(0), 80),
            SocketAddr::new(server, 80),
        )
    }

    /// As [`Routers::instance`], of the first director and with [`ADVERTS`]: alone it is master soon.
    pub(crate) fn first_with(&self, more: &str) -> String {
        let more = format!("{ADVERTS}\n{more}");
        self.instance(
            0,
            Own {
                priority: 150,
                more: &more,
            },
        )
    }

    /// Starts a director with this configuration.
    pub(crate) fn start(&self, index: usize, text: &str, more: &[&str]) -> Daemon {
        let director = self.director(index);
        Daemon::start(director, &configure(director, text), more)
    }

    /// Whether a director has an address on one of its devices, with whatever prefix.
    pub(crate) fn has(&self, index: usize, address: IpAddr) -> bool {
        let found = self
            .director(index)
            .exec_ok(&["ip", "-o", "address", "show"])
            .expect("ip");
        found.contains(&format!(" {address}/"))
    }

    /// The directors that have an address.
    pub(crate) fn holders(&self, address: IpAddr) -> BTreeSet<usize> {
        (0..2).filter(|index| self.has(*index, address)).collect()
    }

    /// Waits until this director has the address and the other one has not.
    pub(crate) fn wait_for_master(&self, what: &str, index: usize, address: IpAddr) {
        wait_until(what, SOON, || self.holders(address) == BTreeSet::from([index])).unwrap_or_else(|error| {
            let status = [0, 1].map(|index| ipvsd(self.director(index), &["status"]).stdout);
            let events = [0, 1].map(|index| ipvsd(self.director(index), &["events"]).stdout);
            panic!(
                "{error}: {:?}\n{}\n{}\n{}\n{}",
                self.holders(address),
                status[0],
                events[0],
                status[1],
                events[1]
            )
        });
    }

    /// Where the client sends what is for an address: the hardware address it has learnt.
    pub(crate) fn learnt(&self, address: IpAddr) -> Option<String> {
        let client = self.lab.client(0);
        let found = client
            .exec_ok(&["ip", "neighbour", "show", "to", &address.to_string()])
            .expect("ip");
        let mut words = found.split_whitespace();
        words.find(|word| *word == "lladdr")?;
        words.next().map(str::to_owned)
    }

    /// Notes every advert that a director sends, as the client sees it; see [`spacing`].
    pub(crate) fn watch_adverts(&self, index: usize) -> Process {
        let filter = format!("(ip proto 112 or ip6 proto 112) and ether src {}", self.mac(index));
        let client = self.lab.client(0);
        client
            .tcpdump(&["-l", "-n", "-tt", "-i", "eth0", &filter])
            .expect("tcpdump")
    }

    /// Has the client ask for an address, so that it learns who has it; whether it was answered.
    pub(crate) fn pings(&self, address: IpAddr) -> bool {
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        let ping = ["ping", family, "-c", "1", "-W", "1", &address.to_string()];
        let pinged = self.lab.client(0).exec(&ping);
        pinged.is_ok_and(|pinged| pinged.code() == 0)
    }

    /// Waits until the client sends what is for an address to this director.
    pub(crate) fn wait_until_learnt(&self, what: &str, address: IpAddr, index: usize) {
        let mac = self.mac(index);
        wait_until(what, SOON, || self.learnt(address).as_ref() == Some(&mac))
            .unwrap_or_else(|error| panic!("{error}: {address} is at {:?} and not at {mac}", self.learnt(address)));
    }

    /// The hardware address of a director.
    pub(crate) fn mac(&self, index: usize) -> String {
        let shown = self
            .director(index)
            .exec_ok(&["ip", "-o", "link", "show", self.device(index)])
            .expect("ip");
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "link/ether").expect("an Ethernet address");
        words.next().expect("an address").to_owned()
    }
}

/// The number of a thread of a daemon's.
pub(crate) fn thread(daemon: u32, name: &str) -> String {
    let threads = fs::read_dir(format!("/proc/{daemon}/task")).expect("threads");
    let named =
        |thread: &fs::DirEntry| fs::read_to_string(thread.path().join("comm")).is_ok_and(|of| of.trim_end() == name);
    let mut threads = threads.filter_map(|thread| thread.ok()).filter(named);
    let found = threads.next().unwrap_or_else(|| panic!("no thread {name}"));
    found.file_name().into_string().expect("a number")
}

/// The times between the adverts of one virtual router, in what [`Routers::watch_adverts`] has written.
pub(crate) fn spacing(seen: &str, virtual_router_id: u8) -> Vec<Duration> {
    let number = format!(" vrid {virtual_router_id},");
    let sent = seen.lines().filter(|line| line.contains(&number));
    let times: Vec<_> = sent
        .filter_map(|line| line.split(' ').next()?.parse::<f64>().ok())
        .collect();
    times
        .windows(2)
        .map(|pair| Duration::from_secs_f64((pair[1] - pair[0]).max(0.0)))
        .collect()
}
