//! What a daemon leaves for the next one: states of servers, a table that needs no write, services that drain.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipvsd_lab::{Forwarding, Host, Nginx, wait_until};
use nix::sys::signal::Signal;

use crate::site::{Daemon, Family, Found, Held, IPVSD, Site, holds, table};

const SOON: Duration = Duration::from_secs(10);
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"500ms\", retry_interval = \"200ms\", timeout = \"300ms\", \
                     rise = 2, fall = 3 }]";

/// Starts the daemon on the site's configuration, with every write in its log, and waits until it is ready.
fn start(site: &Site) -> Daemon {
    let file = site.director().directory().join("ipvsd.toml").display().to_string();
    let run = run_dir(site.director()).display().to_string();
    let process = site
        .director()
        .spawn_with(
            &[IPVSD, "run", "-c", &file, "--run-dir", &run],
            &[("IPVSD_LOG", "ipvsd=debug")],
        )
        .expect("ipvsd starts");
    let mut daemon = Daemon { process };
    daemon.wait_for("ready:");
    daemon
}

fn run_dir(director: &Host) -> PathBuf {
    director.directory().join("run")
}

/// The state file of a run directory, which has one namespace.
fn state_file(director: &Host) -> PathBuf {
    let mut folders = fs::read_dir(run_dir(director)).expect("a run directory");
    folders
        .next()
        .expect("a namespace")
        .expect("readable")
        .path()
        .join("state.json")
}

fn stop(mut daemon: Daemon, signal: Signal) {
    daemon.process.signal_alone(signal).expect("a signal");
    daemon.process.wait(SOON).expect("an end");
}

fn weights(site: &Site, vip: SocketAddr) -> BTreeMap<SocketAddr, u32> {
    let found = table(site.director(), &["-t", &vip.to_string()]).unwrap_or_default();
    found
        .into_iter()
        .map(|(key, Found { weight, .. })| (key, weight))
        .collect()
}

/// The counters of connections of every service and destination.
fn counters(director: &Host) -> String {
    let text = director
        .exec_ok(&["ipvsadm", "-L", "-n", "--stats", "--exact"])
        .expect("ipvsadm");
    let columns = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    text.lines().map(columns).collect::<Vec<_>>().join("\n")
}

/// A pool of three that keeps the dead in the table, behind `device`.
fn pool(site: &Site, vip: SocketAddr) -> String {
    let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\ninhibit_on_failure = true\n{CHECK}");
    site.virtual_server("web", &format!("address = \"{vip}\""), &more, &[(0, 1), (1, 2), (2, 3)])
}

/// Tells when it goes out of scope.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` while the weight of a destination is looked at all the time; answers with the weights it had.
pub(crate) fn watched<T>(director: &Host, server: SocketAddr, work: impl FnOnce() -> T) -> (T, Vec<u32>) {
    let SocketAddr::V4(server) = server else {
        unreachable!("the site is one over IPv4")
    };
    let needle = format!("{:08X}:{:04X}", server.ip().to_bits(), server.port());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let look = || {
            let mut seen = Vec::new();
            let watch = || {
                while !ended.load(Ordering::Relaxed) {
                    let text = fs::read_to_string("/proc/thread-self/net/ip_vs").expect("the table");
                    let line = text.lines().find(|line| line.contains(&needle));
                    // Without the destination there is no weight at all.
                    let weight = line.map_or(u32::MAX, |line| {
                        line.split_whitespace()
                            .nth(3)
                            .and_then(|word| word.parse().ok())
                            .expect("a weight")
                    });
                    if seen.last() != Some(&weight) {
                        seen.push(weight);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            director.in_namespace(watch).expect("a namespace");
            seen
        };
        let watcher = scope.spawn(look);
        // Also where the work fails: nobody waits for a watcher for ever.
        let end = End(&ended);
        let done = work();
        drop(end);
        (done, watcher.join().expect("a watcher"))
    })
}

/// Ends a daemon, and starts another one after `meanwhile`.
fn restart(site: &Site, daemon: Daemon, signal: Signal, meanwhile: impl FnOnce()) -> Daemon {
    // A kill comes after what was found has been kept.
    std::thread::sleep(Duration::from_millis(1200));
    stop(daemon, signal);
    meanwhile();
    start(site)
}

/// A site with three real servers behind NAT, the pool of [`pool`] on it, and a running daemon.
fn three(name: &str) -> (Site, SocketAddr, Vec<SocketAddr>) {
    let site = Site::build(name, Forwarding::Nat, Family::V4, 3, 1);
    let vip = SocketAddr::new(site.vip(0), 80);
    let servers = (0..3)
        .map(|index| SocketAddr::new(site.server_address(index), 80))
        .collect();
    site.configure(&pool(&site, vip));
    (site, vip, servers)
}

/// Real servers and a daemon that has found the first of them dead.
fn without_the_first<'s>(site: &'s Site, vip: SocketAddr, servers: &[SocketAddr]) -> (Vec<Nginx<'s>>, Daemon) {
    let mut nginx = site.nginx_on(3);
    let daemon = start(site);
    wait_until("all serve", SOON, || weights(site, vip).values().eq(&[1, 2, 3])).expect("in time");
    nginx[0].kill();
    wait_until("one is out", SOON, || weights(site, vip)[&servers[0]] == 0).expect("in time");
    (nginx, daemon)
}

#[test]
fn a_restart_writes_nothing_and_raises_nobody_who_is_down() {
    let (site, vip, servers) = three("adopt");
    let director = site.director();
    let (_nginx, mut daemon) = without_the_first(&site, vip, &servers);
    let mut held = Held::open(site.lab.client(0), vip);
    // The kernel renews what it shows every two seconds.
    wait_until("the connection is counted", SOON, || {
        counters(director).contains(":80 1")
    })
    .expect("in time");
    let before = (counters(director), weights(&site, vip));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (again, seen) = watched(director, servers[0], || {
            let again = restart(&site, daemon, signal, || ());
            std::thread::sleep(Duration::from_secs(1));
            again
        });
        assert_eq!(seen, [0], "{signal}: the dead server's weight was raised");
        let log = again.process.log();
        assert!(log.contains("took over the states of 3 of 3 checks"), "{log}");
        assert!(!log.contains("writing:"), "{signal}: {log}");
        assert_eq!((counters(director), weights(&site, vip)), before, "{signal}");
        assert!(held.goes_on(), "{signal}");
        daemon = again;
    }
    let run = run_dir(director).display().to_string();
    let why = site.ipvsd(&["why", &servers[0].to_string(), "--run-dir", &run]);
    assert!(
        why.stdout.contains("connection refused"),
        "{}{}",
        why.stdout,
        why.stderr
    );
    stop(daemon, Signal::SIGTERM);
}

#[test]
fn what_happens_while_the_daemon_is_dead_is_right_soon_after_its_start() {
    let (site, vip, servers) = three("meanwhile");
    let director = site.director();
    let (mut nginx, daemon) = without_the_first(&site, vip, &servers);
    // The one returns, another one dies, somebody lowers the third and empties nothing.
    let daemon = restart(&site, daemon, Signal::SIGKILL, || {
        nginx[0].restart().expect("nginx");
        nginx[1].kill();
        let third = servers[2].to_string();
        let edit = ["ipvsadm", "-e", "-t", &vip.to_string(), "-r", &third, "-m", "-w", "0"];
        director.exec_ok(&edit).expect("ipvsadm");
    });
    // The third is back with its first success: for all that is known it may have died after the file was written.
    wait_until("the living serve and the dead do not", Duration::from_secs(3), || {
        weights(&site, vip).values().eq(&[1, 0, 3])
    })
    .unwrap_or_else(|error| panic!("{error} {:?}\n{}", weights(&site, vip), daemon.process.log()));
    let log = daemon.process.log();
    assert!(
        log.contains("real server is up") && log.contains("real server is down"),
        "{log}"
    );
    // An empty table is filled with who was up, before anybody is probed.
    let daemon = restart(&site, daemon, Signal::SIGTERM, || {
        director.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
    });
    assert!(weights(&site, vip).values().eq(&[1, 0, 3]), "{}", daemon.process.log());
}

#[test]
fn a_service_that_the_configuration_lost_meanwhile_is_drained_where_asked() {
    let site = Site::build("lost", Forwarding::Nat, Family::V4, 2, 2);
    let director = site.director();
    let _nginx = site.nginx_on(2);
    let vips = [SocketAddr::new(site.vip(0), 80), SocketAddr::new(site.vip(1), 80)];
    let service = |name: &str, vip: SocketAddr, more: &str| {
        let more = format!("device = \"eth0\"\n{CHECK}\n{more}");
        site.virtual_server(name, &format!("address = \"{vip}\""), &more, &[(0, 1)])
    };
    let slowly = "on_down = \"drain\"\ndrain_timeout = \"20s\"";
    let (stays, leaves) = (service("stays", vips[0], ""), service("leaves", vips[1], slowly));
    site.configure(&(stays.clone() + &leaves));
    let daemon = start(&site);
    wait_until("it serves", SOON, || weights(&site, vips[1]).values().eq(&[1])).expect("in time");
    let mut held = Held::open(site.lab.client(0), vips[1]);
    let daemon = restart(&site, daemon, Signal::SIGTERM, || drop(site.configure(&stays)));
    wait_until("it drains", SOON, || weights(&site, vips[1]).values().eq(&[0])).expect("in time");
    std::thread::sleep(Duration::from_secs(2));
    assert!(held.goes_on(), "{}", daemon.process.log());
    assert!(weights(&site, vips[1]).values().eq(&[0]) && holds(director, vips[1].ip()));
    // Its connection is gone, and with it the service and its address.
    held.reset();
    let gone = || weights(&site, vips[1]).is_empty() && !holds(director, vips[1].ip());
    wait_until("it is gone", Duration::from_secs(25), gone)
        .unwrap_or_else(|error| panic!("{error}\n{}", daemon.process.log()));
    assert!(weights(&site, vips[0]).values().eq(&[1]));
}

#[test]
fn a_bad_state_file_costs_a_warning_and_servers_stay_as_they_were_found() {
    let (site, vip, servers) = three("bad-state");
    let director = site.director();
    let (_nginx, mut daemon) = without_the_first(&site, vip, &servers);
    let before = weights(&site, vip);
    let whole = |file: &PathBuf| fs::read_to_string(file).expect("a state");
    type Damage = (&'static str, fn(&str) -> String);
    let cases: [Damage; 4] = [
        ("not all of it", |whole| whole[..whole.len() / 2].to_owned()),
        ("schema 7", |whole| whole.replacen("\"schema\":1", "\"schema\":7", 1)),
        ("s from now", |whole| {
            whole.replacen("\"uptime_ms\":", "\"uptime_ms\":99999", 1)
        }),
        ("not all of it", |_| "\0".repeat(4096)),
    ];
    for (said, damage) in cases {
        daemon = restart(&site, daemon, Signal::SIGTERM, || {
            let file = state_file(director);
            fs::write(&file, damage(&whole(&file))).expect("writable");
        });
        let log = daemon.process.log();
        assert!(
            log.contains(said) && log.contains("first verdicts"),
            "no `{said}` in {log}"
        );
        assert_eq!(log.matches("state.json").count(), 1, "{log}");
        assert!(!log.contains("writing:") && weights(&site, vip) == before, "{log}");
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(weights(&site, vip), before, "{said}");
        let again = restart(&site, daemon, Signal::SIGTERM, || ());
        assert!(
            again.process.log().contains("3 of 3 checks"),
            "a new state is kept after `{said}`"
        );
        daemon = again;
    }
    let aside = state_file(director).with_file_name("state.schema-7.json");
    assert!(aside.exists(), "the state of a newer ipvsd is put aside");
}

#[test]
fn a_full_or_read_only_run_directory_costs_a_warning_and_no_verdict() {
    let (site, vip, servers) = three("full-disk");
    let director = site.director();
    let run = run_dir(director);
    let mut nginx = site.nginx_on(3);
    for (damage, repair) in [("fill", "rm"), ("ro", "rw")] {
        let shown = run.display().to_string();
        fs::create_dir_all(&run).expect("a folder");
        director
            .exec_ok(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", &shown])
            .expect("a small file system");
        let change = |what: &str| {
            let command = match what {
                "fill" => format!("head -c 1M /dev/zero > {shown}/filler; true"),
                "rm" => format!("rm {shown}/filler"),
                other => format!("mount -o remount,{other} {shown}"),
            };
            director.exec_ok(&["sh", "-c", &command]).expect("a command");
        };
        let mut daemon = start(&site);
        wait_until("all serve", SOON, || weights(&site, vip).values().eq(&[1, 2, 3])).expect("in time");
        std::thread::sleep(Duration::from_millis(1500));
        change(damage);
        nginx[0].kill();
        daemon.wait_for("would not know the states");
        wait_until("one is out", SOON, || weights(&site, vip)[&servers[0]] == 0).expect("in time");
        nginx[0].restart().expect("nginx");
        wait_until("it is back", SOON, || weights(&site, vip)[&servers[0]] == 1).expect("in time");
        assert_eq!(
            daemon.process.log().matches("would not know the states").count(),
            1,
            "{}",
            daemon.process.log()
        );
        change(repair);
        daemon
            .process
            .wait_for_log("are kept for a restart again", Duration::from_secs(15))
            .expect("in time");
        let daemon = restart(&site, daemon, Signal::SIGKILL, || ());
        assert!(
            daemon.process.log().contains("3 of 3 checks"),
            "{}",
            daemon.process.log()
        );
        stop(daemon, Signal::SIGTERM);
        director.exec_ok(&["umount", &shown]).expect("umount");
    }
}
