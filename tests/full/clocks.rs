//! Clocks that are set by hours while a daemon runs and between two of them, beside virtual routers as well, and a daemon
//! that stands still for a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ipvsd_lab::{Forwarding, wait_until};
use nix::sys::signal::Signal;

use crate::chance::measured;
use crate::pool::{Servers, traffic};
use crate::routers::{Routers, own};
use crate::site::{Daemon, Family, Site};
use crate::wanted::weights;

const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 2, fall = 2 }]";
const SOON: Duration = Duration::from_secs(15);
/// One interval of the table, one of a check that reaches a verdict, and a slow machine.
const RIGHT: Duration = Duration::from_secs(5 + 1 + 5);

/// The site's pool, by the weights of its servers.
struct Pool<'s> {
    site: &'s Site,
    vip: SocketAddr,
    weights: Vec<u32>,
}

impl Pool<'_> {
    fn configure(&self) {
        let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\ninhibit_on_failure = true\n{CHECK}");
        let servers: Vec<_> = self.weights.iter().copied().enumerate().collect();
        let address = format!("address = \"{}\"", self.vip);
        self.site
            .configure(&self.site.virtual_server("web", &address, &more, &servers));
    }

    /// What the table should have.
    fn wanted(&self, servers: &Servers<'_>) -> BTreeMap<SocketAddr, u32> {
        let weight = |index: usize| {
            if servers.is_alive(index) {
                self.weights[index]
            } else {
                0
            }
        };
        (0..servers.count())
            .map(|index| (servers.address(index), weight(index)))
            .collect()
    }

    fn settle(&self, servers: &Servers<'_>, daemon: &Daemon, what: &str) {
        let wanted = self.wanted(servers);
        let found = || weights(self.site.director(), self.vip);
        wait_until(what, RIGHT, || found().as_ref() == Some(&wanted)).unwrap_or_else(|error| {
            panic!(
                "{error}\nwanted {wanted:?}\nfound {:?}\n{}",
                found(),
                daemon.process.log()
            )
        });
    }
}

fn start(site: &Site) -> Daemon {
    let file = site.director().directory().join("ipvsd.toml");
    let mut daemon = Daemon::spawn(site.director(), &file, &[]);
    daemon
        .process
        .wait_for_log("ready:", Duration::from_secs(45))
        .unwrap_or_else(|error| panic!("{error}\n{}", daemon.process.log()));
    daemon
}

#[test]
fn clocks_that_are_set_and_a_daemon_that_stands_still_change_no_verdict() {
    const NAME: &str = "clocks";
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 3, 1);
    let director = site.director();
    let vip = SocketAddr::new(site.vip(0), 80);
    let pool = Pool {
        site: &site,
        vip,
        weights: vec![1, 1, 1],
    };
    let mut servers = Servers::threads(&site, 3);
    servers.kill(2);
    pool.configure();
    let mut daemon = start(&site);
    pool.settle(&servers, &daemon, "two serve");
    site.client()
        .wait_for_answer(vip, site.lab.real_server(0).name(), SOON)
        .expect("traffic");
    let prober = traffic(&site, vip);
    // Verdicts that were told since the daemon knows of everybody.
    let verdicts = |daemon: &Daemon| daemon.process.log().matches("real server is").count();
    let step = |hours: i64| {
        let command = format!("date -s @$(($(date +%s) + {}))", hours * 3600);
        director.exec_ok(&["sh", "-c", &command]).expect("date");
    };
    let before = verdicts(&daemon);
    for hours in [1, -1, -1, 1] {
        step(hours);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(verdicts(&daemon), before, "{hours} h: {}", daemon.process.log());
        assert_eq!(weights(director, vip), Some(pool.wanted(&servers)), "{hours} h");
    }
    // Between two daemons; the state is as old as it is.
    for (hours, signal) in [(1, Signal::SIGKILL), (-2, Signal::SIGTERM), (1, Signal::SIGKILL)] {
        std::thread::sleep(Duration::from_millis(1500));
        daemon.process.signal_alone(signal).expect("a signal");
        daemon.process.wait(SOON).expect("an end");
        step(hours);
        daemon = start(&site);
        let log = daemon.process.log();
        assert!(
            log.contains("took over the states of 3 of 3 checks"),
            "{hours} h: {log}"
        );
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(verdicts(&daemon), 0, "{hours} h: {log}");
        assert_eq!(weights(director, vip), Some(pool.wanted(&servers)), "{hours} h");
    }
    // A minute of standing still, with probes under way.
    daemon.process.signal_alone(Signal::SIGSTOP).expect("a signal");
    std::thread::sleep(Duration::from_secs(60));
    daemon.process.signal_alone(Signal::SIGCONT).expect("a signal");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(verdicts(&daemon), 0, "{}", daemon.process.log());
    assert_eq!(weights(director, vip), Some(pool.wanted(&servers)));
    let report = prober.stop().expect("a report");
    assert!(report.failures().is_empty(), "{report}");
    // And it still judges.
    servers.kill(1);
    servers.restart(2);
    pool.settle(&servers, &daemon, "one dies and one returns");
    measured(NAME, format_args!("{} requests, none failed", report.attempts.len()));
}

#[test]
fn clocks_that_are_set_move_no_address() {
    const NAME: &str = "clocks of routers";
    let routers = Routers::build("clocks-vrrp");
    let vip = routers.vip(0);
    let first = routers.start(0, &routers.instance(0, own(150)), &[]);
    let second = routers.start(1, &routers.instance(1, own(100)), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    let adverts = routers.watch_adverts(0);
    let changes = || [&first, &second].map(|daemon| daemon.process.log().matches("virtual router VI_1 is").count());
    let before = changes();
    for hours in [1_i64, -1, -1, 1] {
        let command = format!("date -s @$(($(date +%s) + {}))", hours * 3600);
        routers.director(0).exec_ok(&["sh", "-c", &command]).expect("date");
        // Longer than either is patient.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(changes(), before, "{hours} h: {}", first.process.log());
        assert_eq!(routers.holders(vip), BTreeSet::from([0]), "{hours} h");
    }
    let sent = adverts.log().matches(" vrid 51,").count();
    measured(
        NAME,
        format_args!("{sent} adverts of 500 ms in 12 s, with four steps of an hour"),
    );
    assert!(sent >= 20, "{}", adverts.log());
}
