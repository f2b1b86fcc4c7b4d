//! Blows at moments that nobody chose: what is hit, how it is held up so that a blow comes in its midst, and what is
//! left of its record.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipvsd_lab::{Host, Process};

use crate::site::{Daemon, Site};
use crate::traced::wait_until_traced;
use crate::wanted::{Destination, Service, Wanted, saved};

/// From the daemon's readiness until a first verdict or a failure has its effect, and a slow machine.
pub(crate) const SETTLED: Duration = Duration::from_secs(10);
/// What holds up every message to the kernel for a while: a batch is written in so short a time that no blow would
/// ever come in the midst of it.
pub(crate) const SLOWLY: [&str; 9] = [
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=sendmsg,sendto",
    "-e",
    "inject=sendmsg,sendto:delay_enter=20000",
];
/// Services beside the one that has traffic: their changes are several messages to the kernel, and a blow may come
/// between two of those.
pub(crate) const FILLERS: u16 = 100;
/// Services of others, which nobody may touch.
pub(crate) const FOREIGN: [&str; 5] = [
    "-A -t 192.0.2.99:25 -s wlc",
    "-a -t 192.0.2.99:25 -r 192.0.2.13:25 -m -w 9",
    "-A -u 192.0.2.99:53 -s rr",
    "-A -f 9 -s rr",
    "-a -f 9 -r 192.0.2.13:0 -g -w 1",
];

pub(crate) fn add_foreign_services(director: &Host) {
    let lines = FOREIGN.join("\n") + "\n";
    director
        .exec_ok_with_input(&["ipvsadm", "-R"], &lines)
        .expect("services of others");
}

/// The service that has traffic, on the first address of the site.
pub(crate) fn web_address(site: &Site) -> SocketAddrV4 {
    match SocketAddr::new(site.vip(0), 80) {
        SocketAddr::V4(vip) => vip,
        SocketAddr::V6(_) => unreachable!("the site is one over IPv4"),
    }
}

/// The service that has traffic, with the weights 1, 2, 3 and so on in some order.
pub(crate) fn web(site: &Site, chance: &mut fastrand::Rng, more: &str) -> Service {
    let servers = site.lab.real_servers().len();
    let mut weights: Vec<u32> = (1..).take(servers).collect();
    chance.shuffle(&mut weights);
    let mut web = Service::new("rr");
    web.more = format!("device = \"eth0\"\n{more}");
    for (index, weight) in weights.into_iter().enumerate() {
        let SocketAddr::V4(server) = SocketAddr::new(site.server_address(index), 80) else {
            unreachable!("the site is one over IPv4")
        };
        let forward = site.forward();
        web.destinations.insert(server, Destination { forward, weight });
    }
    web
}

/// The service that has traffic, and `fillers` that nobody asks: their ports from `first` on, their weights by chance,
/// and as many servers each as `servers` says by chance.
pub(crate) fn table(
    site: &Site,
    chance: &mut fastrand::Rng,
    (first, fillers): (u16, u16),
    servers: impl Fn(&mut fastrand::Rng) -> u8,
    more: &str,
) -> Wanted {
    let web = web(site, chance, more);
    let filler = |port: u16, chance: &mut fastrand::Rng| {
        let mut service = Service::new(if chance.bool() { "wlc" } else { "wrr" });
        for last in 1..=servers(chance) {
            let server = SocketAddrV4::new([198, 18, chance.u8(0..2), last].into(), port);
            let (forward, weight) = ("nat", chance.u32(0..5));
            service.destinations.insert(server, Destination { forward, weight });
        }
        (SocketAddrV4::new([192, 0, 2, 210].into(), port), service)
    };
    let mut services: BTreeMap<_, _> = (first..first + fillers).map(|port| filler(port, chance)).collect();
    services.insert(web_address(site), web);
    Wanted { services }
}

/// Whether the kernel has neither the table it had nor the wanted one. The services of others are there in any case.
pub(crate) fn is_half_way(director: &Host, before: &[String], wanted: &Wanted) -> bool {
    let found = saved(director);
    for line in FOREIGN {
        assert!(found.iter().any(|found| found == line), "`{line}` is gone");
    }
    found != before && !wanted.differences(&found, &FOREIGN).is_empty()
}

/// Returns at the first change of the kernel's table, or after `limit`: a file may be the same as before.
pub(crate) fn until_something_changes(director: &Host, limit: Duration) {
    // Without the numbers of connections, which change all the time.
    let read = || -> Vec<String> {
        let text = fs::read_to_string("/proc/thread-self/net/ip_vs").expect("the table");
        let columns = |line: &str| line.split_whitespace().take(4).collect();
        text.lines().map(columns).collect()
    };
    let watch = || {
        let (before, end) = (read(), Instant::now() + limit);
        while Instant::now() < end && read() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    director.in_namespace(watch).expect("a namespace");
}

/// Holds up a running daemon's messages to the kernel for as long as the returned value lives.
pub(crate) fn slow_down(director: &Host, daemon: &Daemon) -> Process {
    let pid = daemon.process.id().to_string();
    let command: Vec<_> = SLOWLY.into_iter().chain(["-p", &pid]).collect();
    let strace = director.spawn(&command).expect("strace starts");
    wait_until_traced(daemon.process.id());
    strace
}

/// Where the record lies: one folder for the one namespace.
fn record(run_dir: &Path) -> Option<PathBuf> {
    let mut folders = fs::read_dir(run_dir).ok()?;
    let file = folders.next()?.expect("a folder").path().join("owned.json");
    file.exists().then_some(file)
}

/// Fails where the record is there and is not whole; answers with how many services it has.
pub(crate) fn read_record(run_dir: &Path) -> usize {
    let Some(file) = record(run_dir) else { return 0 };
    let text = fs::read(&file).expect("readable");
    let record: serde_json::Value = serde_json::from_slice(&text).expect("a whole record");
    record["services"].as_array().expect("a list").len()
}
