//! Requests spread as the scheduler says: 13 schedulers × NAT, DR, TUN × IPv4, IPv6, with real nginx.
//!
//! Asserted at the client, by who answered, and by the kernel's own counts. Where a scheduler looks at open
//! connections, they are held open; then its choice is exact as well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipvsd_lab::{Forwarding, Host};

use crate::site::{Family, Held, Site, count, table};

/// The pool: one server each with weight 3, 2 and 1.
const WEIGHTS: [(usize, u32); 3] = [(0, 3), (1, 2), (2, 1)];
const SERVERS: [&str; 3] = ["real-server-1", "real-server-2", "real-server-3"];

/// Schedulers that are shown by services with an address, each with an address of its own.
const BY_ADDRESS: [&str; 10] = ["rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "mh", "fo", "ovf"];
/// Schedulers that look at the destination address; shown by one firewall-mark service each, its mark beside it.
const BY_MARK: [(&str, u32); 3] = [("dh", 1), ("lblc", 2), ("lblcr", 3)];
/// How many destination addresses each of those gets.
const DESTINATIONS: u16 = 56;

#[test]
fn nat_over_ipv4() {
    every_scheduler("sched-nat4", Forwarding::Nat, Family::V4);
}

#[test]
fn nat_over_ipv6() {
    every_scheduler("sched-nat6", Forwarding::Nat, Family::V6);
}

#[test]
fn dr_over_ipv4() {
    every_scheduler("sched-dr4", Forwarding::Direct, Family::V4);
}

#[test]
fn dr_over_ipv6() {
    every_scheduler("sched-dr6", Forwarding::Direct, Family::V6);
}

#[test]
fn tun_over_ipv4() {
    every_scheduler("sched-tun4", Forwarding::Tunnel, Family::V4);
}

#[test]
fn tun_over_ipv6() {
    every_scheduler("sched-tun6", Forwarding::Tunnel, Family::V6);
}

fn every_scheduler(name: &str, mode: Forwarding, family: Family) {
    let site = Site::build(name, mode, family, 3, BY_ADDRESS.len() as u8);
    let _nginx = site.nginx_on(3);
    site.mark_networks();
    let mut config = String::new();
    for (index, scheduler) in BY_ADDRESS.iter().enumerate() {
        let address = format!("address = \"{}\"", SocketAddr::new(site.vip(index as u8), 80));
        let more = format!("scheduler = \"{scheduler}\"\ndevice = \"eth0\"");
        config += &site.virtual_server(scheduler, &address, &more, &WEIGHTS);
    }
    for (scheduler, mark) in BY_MARK {
        let family = if family == Family::V4 { "inet" } else { "inet6" };
        let address = format!("fwmark = {mark}\nfamily = \"{family}\"");
        config += &site.virtual_server(scheduler, &address, &format!("scheduler = \"{scheduler}\""), &WEIGHTS);
    }
    let file = site.configure(&config).display().to_string();
    let applied = site.ipvsd(&["apply", "-c", &file]);
    assert_eq!(applied.code(), 0, "{}{}", applied.stdout, applied.stderr);
    let again = site.ipvsd(&["plan", "-c", &file]);
    assert_eq!(
        (again.code(), again.stdout.as_str()),
        (0, ""),
        "what was applied is in force"
    );
    for (index, scheduler) in BY_ADDRESS.iter().enumerate() {
        site.by_address(scheduler, SocketAddr::new(site.vip(index as u8), 80));
    }
    for (scheduler, mark) in BY_MARK {
        site.by_mark(scheduler, mark);
    }
}

impl Site {
    fn by_address(&self, scheduler: &str, vip: SocketAddr) {
        let answered = match scheduler {
            "rr" => self.expect_spread(vip, 30, [10, 10, 10]),
            "wrr" => self.expect_spread(vip, 30, [15, 10, 5]),
            "fo" => self.expect_spread(vip, 10, [10, 0, 0]),
            "lc" => self.expect_held(vip, [4, 4, 4]),
            "wlc" | "sed" => self.expect_held(vip, [6, 4, 2]),
            "nq" => self.expect_held_with_idle_first(vip),
            // One connection more than its weight before the next server is taken.
            "ovf" => self.expect_held(vip, [4, 3, 2]),
            "sh" | "mh" => self.expect_by_source(vip),
            other => panic!("no expectation for {other}"),
        };
        let found = table(self.director(), &["-t", &vip.to_string()]).expect("a service");
        for (index, server) in SERVERS.iter().enumerate() {
            let key = SocketAddr::new(self.server_address(index), 80);
            let counted = found.get(&key).map(|found| found.connections as usize);
            let wanted = answered.get(*server).copied().unwrap_or(0);
            assert_eq!(
                counted,
                Some(wanted),
                "{self}: {scheduler}: the kernel's count for {server}: {found:?}"
            );
        }
    }

    /// Requests one after the other.
    fn expect_spread(&self, vip: SocketAddr, requests: usize, wanted: [usize; 3]) -> BTreeMap<String, usize> {
        let spread = self.client().spread(vip, requests).expect("every request is answered");
        assert_eq!(spread, wanted_counts(wanted), "{self}: {vip}");
        spread
    }

    /// Connections that stay open while the next one comes.
    fn expect_held(&self, vip: SocketAddr, wanted: [usize; 3]) -> BTreeMap<String, usize> {
        let held = self.hold(vip, wanted.iter().sum());
        let spread = count(held.iter().map(|held| held.identity.as_str()));
        assert_eq!(spread, wanted_counts(wanted), "{self}: {vip}");
        spread
    }

    fn expect_held_with_idle_first(&self, vip: SocketAddr) -> BTreeMap<String, usize> {
        let held = self.hold(vip, 12);
        let first: BTreeSet<_> = held[..3].iter().map(|held| held.identity.as_str()).collect();
        assert_eq!(
            first.len(),
            3,
            "{self}: {vip}: the first three connections find three idle servers"
        );
        let spread = count(held.iter().map(|held| held.identity.as_str()));
        assert_eq!(spread, wanted_counts([6, 4, 2]), "{self}: {vip}");
        spread
    }

    fn hold(&self, vip: SocketAddr, connections: usize) -> Vec<Held> {
        (0..connections).map(|_| Held::open(self.lab.client(0), vip)).collect()
    }

    /// One client address always reaches the same server; many reach several.
    fn expect_by_source(&self, vip: SocketAddr) -> BTreeMap<String, usize> {
        let client = self.lab.client(0);
        let mut all = Vec::new();
        let mut servers = BTreeSet::new();
        for source in self.client_sources(client) {
            let answers: Vec<_> = (0..2)
                .map(|_| self.client().from(source).get(vip).expect("every request is answered"))
                .collect();
            assert_eq!(
                answers[0], answers[1],
                "{self}: {vip}: client {source} changes its server"
            );
            servers.insert(answers[0].clone());
            all.extend(answers);
        }
        assert!(servers.len() > 1, "{self}: {vip}: every client is on {servers:?}");
        count(all.iter().map(String::as_str))
    }

    /// Twenty further addresses of the client.
    pub(crate) fn client_sources(&self, client: &Host) -> Vec<IpAddr> {
        let sources: Vec<IpAddr> = (120..140u8)
            .map(|last| match client.address4(ipvsd_lab::Segment::Client).octets() {
                [a, b, c, _] if self.family == Family::V4 => Ipv4Addr::new(a, b, c, last).into(),
                _ => {
                    let mut segments = client.address6(ipvsd_lab::Segment::Client).segments();
                    segments[7] = u16::from(last);
                    Ipv6Addr::from(segments).into()
                }
            })
            .collect();
        let lines: Vec<_> = sources
            .iter()
            .map(|source| match source {
                IpAddr::V4(source) => format!("addr replace {source}/24 dev eth0"),
                IpAddr::V6(source) => format!("addr replace {source}/64 dev eth0 nodad"),
            })
            .collect();
        client
            .ip(&lines.iter().map(String::as_str).collect::<Vec<_>>())
            .expect("addresses");
        sources
    }

    /// The n-th destination address that gets a mark.
    fn marked(&self, mark: u32, index: u16) -> IpAddr {
        let last = 10 + index;
        match self.family {
            Family::V4 => Ipv4Addr::new(198, 18, mark as u8, last as u8).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x18, mark as u16, 0, 0, 0, last).into(),
        }
    }

    /// Networks of destination addresses: routed to the director by the client, marked there, taken by real servers.
    fn mark_networks(&self) {
        let director = match self.family {
            Family::V4 => IpAddr::V4(self.director().address4(ipvsd_lab::Segment::Client)),
            Family::V6 => IpAddr::V6(self.director().address6(ipvsd_lab::Segment::Client)),
        };
        for (_, mark) in BY_MARK {
            let network = match self.family {
                Family::V4 => format!("198.18.{mark}.0/24"),
                Family::V6 => format!("2001:db8:18:{mark}::/64"),
            };
            self.lab
                .client(0)
                .ip(&[&format!("route add {network} via {director}")])
                .expect("a route");
            self.director()
                .mark_incoming(ipvsd_lab::Segment::Client, &network, mark)
                .expect("a mark");
            self.director().own_network(&network).expect("a network");
            for server in self.lab.real_servers() {
                server.own_network(&network).expect("a network");
            }
        }
    }

    /// Each destination address always reaches the same server; many reach several.
    fn by_mark(&self, scheduler: &str, mark: u32) {
        let mut all = Vec::new();
        let mut servers = BTreeSet::new();
        for index in 0..DESTINATIONS {
            let target = SocketAddr::new(self.marked(mark, index), 80);
            let answers = self.client().sequence(target, 2).expect("every request is answered");
            assert_eq!(
                answers[0], answers[1],
                "{self}: {scheduler}: {target} changes its server"
            );
            servers.insert(answers[0].clone());
            all.extend(answers);
        }
        assert!(
            servers.len() > 1,
            "{self}: {scheduler}: every destination is on {servers:?}"
        );
        let answered = count(all.iter().map(String::as_str));
        let mark_text = mark.to_string();
        let mut selector = vec!["-f", mark_text.as_str()];
        if self.family == Family::V6 {
            selector.push("-6");
        }
        let found = table(self.director(), &selector).expect("a service");
        for (index, server) in SERVERS.iter().enumerate() {
            let key = SocketAddr::new(self.server_address(index), 0);
            let counted = found.get(&key).map(|found| found.connections as usize);
            let wanted = answered.get(*server).copied().unwrap_or(0);
            assert_eq!(
                counted,
                Some(wanted),
                "{self}: {scheduler}: the kernel's count for {server}: {found:?}"
            );
        }
    }
}

fn wanted_counts(wanted: [usize; 3]) -> BTreeMap<String, usize> {
    SERVERS
        .iter()
        .zip(wanted)
        .filter(|(_, n)| *n > 0)
        .map(|(server, n)| ((*server).to_owned(), n))
        .collect()
}
