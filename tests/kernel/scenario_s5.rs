//! The classic web pool, as an operator would set it up: the example configurations of `conf/`, real nginx,
//! `ipvsd realserver up` on the real servers, `ipvsd run` on the director; once in each mode.
//!
//! Requests spread as the scheduler says; `ipvsadm -Ln` and `ipvsd list -n` tell the same; after an nginx is stopped
//! the listing shows weight 0 within the configured time and no request fails; it returns.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipvsd_lab::{Client, Host, Lab, Nginx, Prober, Topology, require_kernel, wait_until};

use crate::site::{Daemon, configure, ipvsd, table};

const WEB_NAT: &str = include_str!("../../conf/web-nat.toml");
const WEB_DR: &str = include_str!("../../conf/web-dr.toml");

/// What a slow machine may take on top of what the configuration promises.
const SLACK: Duration = Duration::from_millis(200);

/// The examples have their clients where the lab has its real servers, and the other way round.
fn for_the_lab(example: &str) -> String {
    let (clients, servers) = ("192.0.2.", "198.51.100.");
    example
        .replace(clients, "CLIENTS.")
        .replace(servers, clients)
        .replace("CLIENTS.", servers)
}

struct Pool<'lab> {
    lab: &'lab Lab,
    vip: SocketAddr,
    port: u16,
    daemon: Daemon,
    nginx: Vec<Nginx<'lab>>,
}

impl<'lab> Pool<'lab> {
    fn start(lab: &'lab Lab, vip: SocketAddr, port: u16, config: &str, wanted: &[Option<u32>]) -> Self {
        let servers = lab.real_servers();
        let listen = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let nginx = servers
            .iter()
            .map(|server| Nginx::start(server, &[listen], server.name()).expect("nginx"))
            .collect();
        let daemon = Daemon::start(lab.director(0), &configure(lab.director(0), config), &[]);
        let pool = Self {
            lab,
            vip,
            port,
            daemon,
            nginx,
        };
        wait_until("the pool serves", Duration::from_secs(10), || pool.weights() == wanted).expect("a pool");
        wait_until("traffic flows", Duration::from_secs(5), || {
            pool.client().get(vip).is_ok()
        })
        .expect("traffic");
        pool
    }

    fn client(&self) -> Client<'lab> {
        Client::new(self.lab.client(0))
    }

    fn director(&self) -> &'lab Host {
        self.lab.director(0)
    }

    /// The weights of all real servers in the kernel; `None` for one that is not there.
    fn weights(&self) -> Vec<Option<u32>> {
        let found = table(self.director(), &["-t", &self.vip.to_string()]).unwrap_or_default();
        let key = |server: &&Host| SocketAddr::new(server.address4(ipvsd_lab::Segment::Server).into(), self.port);
        self.lab
            .real_servers()
            .iter()
            .map(|server| found.get(&key(server)).map(|found| found.weight))
            .collect()
    }

    fn expect_spread(&self, requests: usize, wanted: &[(&str, usize)]) {
        let spread = self
            .client()
            .spread(self.vip, requests)
            .expect("every request is answered");
        let wanted: BTreeMap<_, _> = wanted
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        assert_eq!(spread, wanted);
    }

    /// Ours and the original's listing, read until nothing moved between the two.
    fn expect_same_listing(&self) {
        let original = || self.director().exec_ok(&["ipvsadm", "-L", "-n"]).expect("ipvsadm");
        let same = || {
            let before = original();
            let ours = ipvsd(self.director(), &["list", "-n"]);
            assert_eq!(ours.code(), 0, "{}", ours.stderr);
            before == ours.stdout && before == original()
        };
        wait_until(
            "ipvsadm -Ln and ipvsd list -n tell the same",
            Duration::from_secs(10),
            same,
        )
        .expect("the same");
    }

    /// Stops one nginx and starts it again while a client keeps asking.
    fn expect_stop_and_return(&mut self, index: usize, promised: Duration, while_out: &[Option<u32>]) {
        let before = self.weights();
        self.nginx[index].kill();
        wait_until("the stopped server has weight 0", promised + SLACK, || {
            self.weights() == while_out
        })
        .expect("in time");
        let client = self.lab.client(0);
        let every = Duration::from_millis(50);
        let prober =
            Prober::start(client, self.vip, every, Duration::from_secs(3), Duration::from_secs(2)).expect("a prober");
        let report = prober.finish().expect("a report");
        assert!(report.failures().is_empty(), "requests fail while it is out: {report}");
        self.expect_same_listing();
        self.nginx[index].restart().expect("nginx");
        wait_until("it returns", Duration::from_secs(40), || self.weights() == before).expect("in time");
        let log = self.daemon.process.log();
        assert!(
            log.contains("real server is down") && log.contains("connection refused"),
            "{log}"
        );
    }
}

#[test]
fn the_nat_example_serves_with_backup_and_inhibition() {
    require_kernel();
    let lab = Topology::two_segments()
        .real_servers(3)
        .build("s5-nat")
        .expect("a topology");
    let vip = SocketAddr::new(IpAddr::V4(lab.vip4(0)), 80);
    let mut pool = Pool::start(&lab, vip, 8080, &for_the_lab(WEB_NAT), &[Some(2), Some(1), Some(0)]);
    pool.expect_same_listing();
    // interval 2 s, (fall − 1) × retry_interval 1 s, timeout 1 s.
    let promised = Duration::from_secs(2 + 2 + 1);
    pool.expect_stop_and_return(0, promised, &[Some(0), Some(1), Some(0)]);
    pool.nginx[0].kill();
    pool.nginx[1].kill();
    wait_until("the backup serves", promised + SLACK, || {
        pool.weights() == [Some(0), Some(0), Some(1)]
    })
    .expect("in time");
    pool.expect_spread(5, &[("real-server-3", 5)]);
}

#[test]
fn the_dr_example_serves_real_servers_prepared_by_ipvsd() {
    require_kernel();
    let lab = Topology::one_segment().build("s5-dr").expect("a topology");
    let vip = SocketAddr::new(IpAddr::V4(lab.vip4(0)), 80);
    for server in lab.real_servers() {
        let up = ipvsd(server, &["realserver", "up", "--vip", &vip.ip().to_string()]);
        assert_eq!(up.code(), 0, "{}{}", up.stdout, up.stderr);
    }
    let mut pool = Pool::start(&lab, vip, 80, WEB_DR, &[Some(3), Some(1)]);
    pool.expect_same_listing();
    let spread = pool.client().spread(vip, 20).expect("every request is answered");
    assert_eq!(spread.len(), 2, "both serve: {spread:?}");
    // interval 2 s, (fall − 1) × retry_interval 500 ms, timeout 400 ms.
    pool.expect_stop_and_return(0, Duration::from_millis(2000 + 1000 + 400), &[Some(0), Some(1)]);
    pool.expect_stop_and_return(1, Duration::from_millis(2000 + 1000 + 400), &[Some(3), Some(0)]);
}

#[test]
fn a_tunnel_pool_serves_real_servers_prepared_by_ipvsd() {
    require_kernel();
    let lab = Topology::routed().build("s5-tun").expect("a topology");
    let vip = SocketAddr::new(IpAddr::V4(lab.vip4(0)), 80);
    for server in lab.real_servers() {
        let up = ipvsd(
            server,
            &["realserver", "up", "--mode", "tun", "--vip", &vip.ip().to_string()],
        );
        assert_eq!(up.code(), 0, "{}{}", up.stdout, up.stderr);
    }
    let config = for_the_lab(WEB_DR)
        .replace("\"dr\"", "\"tun\"")
        .replace("\"wlc\"", "\"wrr\"");
    // Only the virtual addresses are on the clients' side.
    let config = config
        .replace("\"198.51.100.11\"", "\"192.0.2.11\"")
        .replace("\"198.51.100.12\"", "\"192.0.2.12\"");
    let mut pool = Pool::start(&lab, vip, 80, &config, &[Some(3), Some(1)]);
    pool.expect_same_listing();
    pool.expect_stop_and_return(0, Duration::from_millis(2000 + 1000 + 400), &[Some(0), Some(1)]);
    let before = table(pool.director(), &["-t", &vip.to_string()]).expect("a service");
    let spread = pool.client().spread(vip, 40).expect("every request is answered");
    assert_eq!(
        spread,
        BTreeMap::from([("real-server-1".to_owned(), 30), ("real-server-2".to_owned(), 10)]),
        "{before:?}"
    );
}
