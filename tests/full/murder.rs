//! `ipvsd run` and `ipvsd apply` killed with SIGKILL at moments that nobody chose: traffic goes on, and the next one
//! finds its way.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, Host, Process, wait_until};
use nix::sys::signal::Signal;

use crate::chance::{Times, measured, pause, seeded};
use crate::pool::{Servers, Story, traffic};
use crate::site::{Daemon, Family, IPVSD, Site, configure, ipvsd};
use crate::wanted::{Destination, Service, Wanted, saved, weights};

const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 2, fall = 2 }]";
/// From the daemon's readiness until a first verdict or a failure has its effect, and a slow machine.
const SETTLED: Duration = Duration::from_secs(10);
/// User-mode Linux is slow to start programs, and others may want the machine.
const READY: Duration = Duration::from_secs(45);
/// What holds up every message to the kernel for a while: a batch is written in so short a time that no blow would
/// ever come in the midst of it.
const SLOWLY: [&str; 9] = [
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
const FILLERS: u16 = 100;
/// Services of others, which nobody may touch.
const FOREIGN: [&str; 5] = [
    "-A -t 192.0.2.99:25 -s wlc",
    "-a -t 192.0.2.99:25 -r 192.0.2.13:25 -m -w 9",
    "-A -u 192.0.2.99:53 -s rr",
    "-A -f 9 -s rr",
    "-a -f 9 -r 192.0.2.13:0 -g -w 1",
];

fn add_foreign_services(director: &Host) {
    let lines = FOREIGN.join("\n") + "\n";
    director
        .exec_ok_with_input(&["ipvsadm", "-R"], &lines)
        .expect("services of others");
}

/// The service that has traffic, with the weights 1, 2 and 3 in some order, and `fillers` that nobody asks: their
/// ports from `first` on, their servers and weights by chance.
fn table(site: &Site, chance: &mut fastrand::Rng, first: u16, fillers: u16) -> Wanted {
    let SocketAddr::V4(vip) = SocketAddr::new(site.vip(0), 80) else {
        unreachable!("the site is one over IPv4")
    };
    let mut weights = [1, 2, 3];
    chance.shuffle(&mut weights);
    let mut web = Service::new("rr");
    web.more = format!("device = \"eth0\"\n{CHECK}");
    for (index, weight) in weights.into_iter().enumerate() {
        let SocketAddr::V4(server) = SocketAddr::new(site.server_address(index), 80) else {
            unreachable!("the site is one over IPv4")
        };
        let forward = site.forward();
        web.destinations.insert(server, Destination { forward, weight });
    }
    let filler = |port: u16, chance: &mut fastrand::Rng| {
        let mut service = Service::new(if chance.bool() { "wlc" } else { "wrr" });
        for last in 1..=chance.u8(1..=4) {
            let server = SocketAddrV4::new([198, 18, chance.u8(0..2), last].into(), port);
            let (forward, weight) = ("nat", chance.u32(0..5));
            service.destinations.insert(server, Destination { forward, weight });
        }
        (SocketAddrV4::new([192, 0, 2, 210].into(), port), service)
    };
    let mut services: BTreeMap<_, _> = (first..first + fillers).map(|port| filler(port, chance)).collect();
    services.insert(vip, web);
    Wanted { services }
}

/// Whether the kernel has neither the table it had nor the wanted one. The services of others are there in any case.
fn is_half_way(director: &Host, before: &[String], wanted: &Wanted) -> bool {
    let found = saved(director);
    for line in FOREIGN {
        assert!(found.iter().any(|found| found == line), "`{line}` is gone");
    }
    found != before && !wanted.differences(&found, &FOREIGN).is_empty()
}

/// Returns at the first change of the kernel's table, or after `limit`: a file may be the same as before.
fn until_something_changes(director: &Host, limit: Duration) {
    // Without the numbers of connections, which change all the time.
    let read = || -> Vec<String> {
        let text = fs::read_to_string("/proc/thread-self/net/ip_vs").expect("the table");
        let columns = |line: &str| line.split_whitespace().take(4).collect();
        text.lines().map(columns).collect()
    };
    let watch = || {
        let (before, end) = (read(), Instant::now() + limit);
        while Instant::now() < end && read() == before {
            std::thread::sleep(Duration::from_micros(100));
        }
    };
    director.in_namespace(watch).expect("a namespace");
}

/// Holds up a running daemon's messages to the kernel for as long as the returned value lives.
fn slow_down(director: &Host, daemon: &Daemon) -> Process {
    let pid = daemon.process.id().to_string();
    let command: Vec<_> = SLOWLY.into_iter().chain(["-p", &pid]).collect();
    let strace = director.spawn(&command).expect("strace starts");
    let is_traced = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    };
    wait_until("all threads are traced", SETTLED, || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a running daemon");
        tasks.flatten().all(is_traced)
    })
    .expect("in time");
    strace
}

/// Waits until a daemon says that it is ready; tells where its threads are if it does not.
fn wait_until_ready(daemon: &mut Daemon) {
    if daemon.process.wait_for_log("ready:", READY).is_ok() {
        return;
    }
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process.id()));
    let mut threads = String::new();
    for task in tasks.into_iter().flatten().flatten() {
        for file in ["comm", "wchan", "syscall", "stack"] {
            let text = fs::read_to_string(task.path().join(file)).unwrap_or_else(|error| error.to_string());
            threads += &format!("{file}: {}\n", text.trim());
        }
    }
    panic!(
        "not ready within {READY:?}; its threads:\n{threads}its log:\n{}",
        daemon.process.log()
    );
}

/// Where the record lies: one folder for the one namespace.
fn record(run_dir: &Path) -> Option<PathBuf> {
    let mut folders = fs::read_dir(run_dir).ok()?;
    let file = folders.next()?.expect("a folder").path().join("owned.json");
    file.exists().then_some(file)
}

/// Fails where the record is there and is not whole; answers with how many services it has.
fn read_record(run_dir: &Path) -> usize {
    let Some(file) = record(run_dir) else { return 0 };
    let text = fs::read(&file).expect("readable");
    let record: serde_json::Value = serde_json::from_slice(&text).expect("a whole record");
    record["services"].as_array().expect("a list").len()
}

#[test]
fn a_daemon_killed_at_any_moment_leaves_traffic_and_its_successor_unharmed() {
    const NAME: &str = "murder-run";
    const ROUNDS: usize = 75;
    let mut chance = seeded(NAME, 11);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 3, 1);
    let director = site.director();
    let vip = SocketAddr::new(site.vip(0), 80);
    let mut servers = Servers::threads(&site, 3);
    add_foreign_services(director);
    let run_dir = director.directory().join("run");
    let run_dir_text = run_dir.display().to_string();
    let start = |wanted: &Wanted| {
        let file = configure(director, &wanted.configuration());
        Daemon::spawn(director, &file, &["--run-dir", &run_dir_text])
    };
    let mut wanted = table(&site, &mut chance, 1000, FILLERS);
    let settle = |daemon: &Daemon, wanted: &Wanted, round: usize| {
        let mut differences = Vec::new();
        wait_until("the table is the wanted one", SETTLED, || {
            differences = wanted.differs(director, &FOREIGN);
            if !differences.is_empty() {
                std::thread::sleep(Duration::from_millis(100));
            }
            differences.is_empty()
        })
        .unwrap_or_else(|error| {
            let log = daemon.process.log();
            panic!("round {round}: {error}\n{}\n{log}", differences.join("\n"))
        });
    };
    let mut daemon = start(&wanted);
    wait_until_ready(&mut daemon);
    settle(&daemon, &wanted, 0);
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let prober = traffic(&site, vip);
    let mut story = Story::default();
    let mut windows = Vec::new();
    let (mut torn, mut unready, mut deaths) = (0, 0, 0);
    let mut ready = Times::default();
    for round in 1..=ROUNDS {
        // What is under way when the blow comes.
        let before = saved(director);
        let what = chance.u32(0..4);
        if what > 0 {
            let first = 1000 + 25 * chance.u16(0..6);
            wanted = table(&site, &mut chance, first, FILLERS);
            configure(director, &wanted.configuration());
        }
        let mut slow = None;
        match what {
            0 => pause(&mut chance, Duration::from_millis(600)),
            1 => {
                daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
                pause(&mut chance, Duration::from_millis(120));
            }
            2 => {
                slow = Some(slow_down(director, &daemon));
                daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
                until_something_changes(director, Duration::from_secs(5));
                pause(&mut chance, Duration::from_millis(60));
            }
            _ => {
                for _ in 0..chance.u32(2..6) {
                    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
                    pause(&mut chance, Duration::from_millis(30));
                }
            }
        }
        daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
        daemon.process.wait(SETTLED).expect("an end");
        drop(slow);
        story.tell(format_args!("round {round}: killed (case {what})"));
        let log = daemon.process.log();
        assert!(!log.contains("cannot read") && !log.contains("panicked"), "{log}");
        read_record(&run_dir);
        torn += usize::from(is_half_way(director, &before, &wanted));
        // Somebody dies while nobody looks.
        let dies = (round % 6 == 0).then(|| chance.usize(0..servers.count()));
        let since = Instant::now();
        if let Some(index) = dies {
            servers.kill(index);
            deaths += 1;
        }
        // A successor that does not live to be ready, now and then several.
        while chance.u32(0..5) < 2 {
            let mut daemon = start(&wanted);
            pause(&mut chance, Duration::from_millis(400));
            unready += usize::from(!daemon.process.log().contains("ready:"));
            daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
            daemon.process.wait(SETTLED).expect("an end");
            read_record(&run_dir);
        }
        let started = Instant::now();
        daemon = start(&wanted);
        wait_until_ready(&mut daemon);
        ready.push(started.elapsed());
        story.tell(format_args!("round {round}: ready"));
        if let Some(index) = dies {
            let gone = || weights(director, vip).is_some_and(|weights| !weights.contains_key(&servers.address(index)));
            wait_until("the dead server is out", SETTLED, gone).expect("in time");
            windows.push((since, Instant::now()));
            servers.restart(index);
        }
        settle(&daemon, &wanted, round);
        story.tell(format_args!("round {round}: settled"));
        assert_eq!(
            read_record(&run_dir),
            wanted.services.len(),
            "the record has what is configured"
        );
    }
    let file = director.directory().join("ipvsd.toml").display().to_string();
    let planned = site.ipvsd(&["plan", "-c", &file, "--run-dir", &run_dir_text]);
    assert_eq!((planned.code(), planned.stdout.as_str()), (0, ""), "{}", planned.stderr);
    let report = prober.stop().expect("a report");
    let failed = report.failures().len();
    measured(
        NAME,
        format_args!(
            "{} daemons killed, {unready} of them before they were ready, {torn} times the table was half way; \
             {deaths} servers died meanwhile; {} requests, {failed} failed, each for a dead server",
            ROUNDS + unready,
            report.attempts.len(),
        ),
    );
    measured(NAME, format_args!("from start to ready: {ready}"));
    story.assert_explained(&report, &windows);
    assert!(
        torn >= 10 && unready > 0,
        "too few blows came in the midst of something"
    );
}

#[test]
fn an_apply_killed_at_any_moment_is_completed_by_the_next() {
    const NAME: &str = "murder-apply";
    const ROUNDS: usize = 70;
    let mut chance = seeded(NAME, 12);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 3, 1);
    let director = site.director();
    let vip = SocketAddr::new(site.vip(0), 80);
    let _servers = Servers::threads(&site, 3);
    add_foreign_services(director);
    let run_dir = director.directory().join("run");
    let run_dir_text = run_dir.display().to_string();
    let mut wanted = table(&site, &mut chance, 1000, FILLERS);
    let file = configure(director, &wanted.configuration()).display().to_string();
    let apply = ["apply", "-c", &file, "--run-dir", &run_dir_text];
    let first = ipvsd(director, &apply);
    assert_eq!(first.code(), 0, "{}", first.stderr);
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let prober = traffic(&site, vip);
    let mut took = Times::default();
    let mut torn = 0;
    for round in 1..=ROUNDS {
        let before = saved(director);
        let first = 1000 + 50 * chance.u16(0..6);
        wanted = table(&site, &mut chance, first, FILLERS);
        configure(director, &wanted.configuration());
        let command: Vec<_> = [IPVSD].into_iter().chain(apply).collect();
        let mut process = if chance.bool() {
            let process = director.spawn(&command).expect("ipvsd starts");
            pause(&mut chance, Duration::from_millis(200));
            process
        } else {
            let command: Vec<_> = SLOWLY.into_iter().chain(command).collect();
            let process = director.spawn(&command).expect("strace starts");
            until_something_changes(director, Duration::from_secs(5));
            pause(&mut chance, Duration::from_millis(60));
            process
        };
        process.kill();
        read_record(&run_dir);
        torn += usize::from(is_half_way(director, &before, &wanted));
        // Half of the time nobody completes it before the next is killed too.
        if chance.bool() {
            continue;
        }
        let started = Instant::now();
        let applied = ipvsd(director, &apply);
        took.push(started.elapsed());
        assert_eq!(applied.code(), 0, "round {round}: {}", applied.stderr);
        let differences = wanted.differs(director, &FOREIGN);
        assert!(differences.is_empty(), "round {round}:\n{}", differences.join("\n"));
        let planned = ipvsd(director, &["plan", "-c", &file, "--run-dir", &run_dir_text]);
        assert_eq!((planned.code(), planned.stdout.as_str()), (0, ""), "round {round}");
        assert_eq!(read_record(&run_dir), wanted.services.len());
    }
    let report = prober.stop().expect("a report");
    measured(
        NAME,
        format_args!(
            "{ROUNDS} killed, {torn} times the table was half way; {} requests, {} failed",
            report.attempts.len(),
            report.failures().len()
        ),
    );
    measured(NAME, format_args!("an apply of {} services: {took}", FILLERS + 1));
    assert!(report.failures().is_empty(), "{report}");
    assert!(torn >= 10, "too few blows came in the midst of writing");
}
