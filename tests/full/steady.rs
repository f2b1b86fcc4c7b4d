//! A daemon with nothing to do, and one whose kernel has trouble: what it sends, how it comes back, what it says of itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, wait_until};
use nix::sys::signal::Signal;

use crate::chance::{Times, measured, seeded};
use crate::pool::{Servers, holdings, traffic};
use crate::service_manager::ServiceManager;
use crate::site::{Daemon, Family, IPVSD, Site, configure};
use crate::traced::{Counts, Notes, netlink_thread, spoil, writes};
use crate::wanted::{Destination, Service, Wanted, weights};

const SOON: Duration = Duration::from_secs(20);
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 1, fall = 2 }]";
/// Looks come twice a second, so that a short while is many of them.
const RECONCILE: &str = "[reconcile]\ninterval = \"500ms\"\n";

fn pool(site: &Site, weights: &[(usize, u32)]) -> String {
    let address = format!("address = \"{}:80\"", site.vip(0));
    let more = format!("scheduler = \"wrr\"\ndevice = \"eth0\"\n{CHECK}");
    String::from(RECONCILE) + &site.virtual_server("web", &address, &more, weights)
}

fn wait_for_weights(site: &Site, daemon: &Daemon, wanted: &[(usize, u32)]) {
    let vip = SocketAddr::new(site.vip(0), 80);
    let address = |index: usize| SocketAddr::new(site.server_address(index), 80);
    let wanted: BTreeMap<_, _> = wanted
        .iter()
        .map(|(index, weight)| (address(*index), *weight))
        .collect();
    wait_until("the table is as wanted", SOON, || {
        weights(site.director(), vip).as_ref() == Some(&wanted)
    })
    .unwrap_or_else(|error| {
        let found = weights(site.director(), vip);
        panic!("{error}: wanted {wanted:?}, found {found:?}\n{}", daemon.process.log())
    });
}

#[test]
fn a_daemon_with_nothing_to_do_only_looks_and_one_that_starts_on_its_table_too() {
    const NAME: &str = "steady";
    const WHILE: Duration = Duration::from_secs(10);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 3, 1);
    let director = site.director();
    let _servers = Servers::threads(&site, 3);
    let all = [(0, 1), (1, 2), (2, 3)];
    let file = site.configure(&pool(&site, &all));
    let daemon = Daemon::start(director, &file, &[]);
    wait_for_weights(&site, &daemon, &all);
    // What follows a start is over.
    std::thread::sleep(Duration::from_secs(2));
    let notes = Notes::attach(director, &daemon);
    std::thread::sleep(WHILE);
    let counts = notes.counts();
    measured(
        NAME,
        format_args!("sent within {WHILE:?} with nothing to do, by command: {counts:?}"),
    );
    assert_eq!(writes(&counts), Counts::new(), "{}", daemon.process.log());
    assert!(counts.get(&4).is_some_and(|looks| *looks >= 10), "{counts:?}");
    // One weight is wrong: one message.
    let server = format!("{}:80", site.server_address(1));
    let edit = [
        "ipvsadm",
        "-e",
        "-t",
        &format!("{}:80", site.vip(0)),
        "-r",
        &server,
        "-m",
        "-w",
        "9",
    ];
    director.exec_ok(&edit).expect("ipvsadm");
    wait_for_weights(&site, &daemon, &all);
    let mut daemon = daemon;
    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    daemon.process.wait(SOON).expect("an end");
    assert_eq!(writes(&notes.end()), Counts::from([(6, 1)]));
    // The next one finds what it wants.
    let notes = Notes::start(director, &file);
    std::thread::sleep(Duration::from_secs(3));
    let counts = notes.end();
    measured(
        NAME,
        format_args!("sent at a start on a table that is right, by command: {counts:?}"),
    );
    assert_eq!(writes(&counts), Counts::new());
    assert!(counts.get(&4).is_some_and(|looks| *looks >= 2), "{counts:?}");
}

#[test]
fn through_errors_of_every_call_to_the_kernel_the_table_becomes_right_and_traffic_flows() {
    const NAME: &str = "spoilt";
    // A new socket, a look and a batch are five calls or more: fewer between two faults, and none would ever go well.
    const FAULTS: [(&str, &str); 9] = [
        ("sendto", "error=ENOBUFS:when=2+4"),
        ("sendto", "error=EBUSY:when=1+4"),
        ("sendto", "error=EAGAIN:when=3+5"),
        ("recvfrom", "error=ENOBUFS:when=2+9"),
        ("recvfrom", "error=EBUSY:when=3+8"),
        ("recvfrom", "error=EINTR:when=1+2"),
        // More than the buffer takes; a part of a message, of which nothing is in the buffer.
        ("recvfrom", "retval=70000:when=3+10"),
        ("recvfrom", "retval=9:when=3+10"),
        // The socket cannot be opened again after trouble.
        ("recvfrom,socket", "error=ENOBUFS:when=2+9"),
    ];
    let mut chance = seeded(NAME, 31);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 3, 1);
    let director = site.director();
    let _servers = Servers::threads(&site, 3);
    let vip = SocketAddr::new(site.vip(0), 80);
    let mut wanted = [(0, 1), (1, 2), (2, 3)];
    let file = site.configure(&pool(&site, &wanted));
    let daemon = Daemon::start(director, &file, &[]);
    wait_for_weights(&site, &daemon, &wanted);
    site.client()
        .wait_for_answer(vip, "real-server-1", SOON)
        .expect("traffic flows");
    let prober = traffic(&site, vip);
    let mut took = Times::default();
    let thread = netlink_thread(&daemon);
    for (calls, how) in FAULTS {
        let spoilt = spoil(director, thread, calls, how);
        for tampered in [false, true] {
            let started = Instant::now();
            if tampered {
                let server = format!("{}:80", site.server_address(0));
                let edit = ["ipvsadm", "-e", "-t", &vip.to_string(), "-r", &server, "-m", "-w", "77"];
                director.exec_ok(&edit).expect("ipvsadm");
            } else {
                chance.shuffle(&mut wanted);
                for (_, weight) in &mut wanted {
                    *weight = chance.u32(1..50);
                }
                site.configure(&pool(&site, &wanted));
                daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
            }
            wait_for_weights(&site, &daemon, &wanted);
            took.push(started.elapsed());
        }
        drop(spoilt);
    }
    // And it is the better for it that nobody spoils anything any more.
    let planned = site.ipvsd(&["plan"]);
    assert_eq!((planned.code(), planned.stdout.as_str()), (0, ""), "{}", planned.stderr);
    let log = daemon.process.log();
    assert!(
        log.contains("cannot") && !log.contains("panicked"),
        "nothing was spoilt:\n{log}"
    );
    let report = prober.stop().expect("a report");
    measured(
        NAME,
        format_args!("until the table was right, all calls spoilt in turn: {took}"),
    );
    assert!(report.failures().is_empty(), "{report}");
}

#[test]
fn a_daemon_whose_kernel_does_not_answer_is_not_vouched_for_until_it_does() {
    let manager = ServiceManager::listen();
    let site = Site::build("unanswered", Forwarding::Nat, Family::V4, 2, 1);
    let _servers = Servers::threads(&site, 2);
    let vip = SocketAddr::new(site.vip(0), 80);
    let file = site.configure(&pool(&site, &[(0, 1), (1, 1)])).display().to_string();
    let command = [IPVSD, "run", "-c", &file];
    let process = site
        .director()
        .spawn_with(&command, &manager.environment("1500000"))
        .expect("ipvsd starts");
    let mut daemon = Daemon { process };
    daemon.wait_for("ready:");
    assert!(manager.fed(Duration::from_secs(3)) >= 4);
    site.client()
        .wait_for_answer(vip, "real-server-1", SOON)
        .expect("traffic flows");
    let prober = traffic(&site, vip);
    // The next call to the kernel takes two minutes.
    let held_up = spoil(
        site.director(),
        netlink_thread(&daemon),
        "sendto",
        "delay_enter=120000000",
    );
    // A minute is long for the kernel, and normal for the loading of modules on a slow disk.
    assert!(manager.fed(Duration::from_secs(45)) >= 60);
    wait_until("it is said", SOON * 2, || {
        daemon.process.log().contains("the kernel has not answered for 60 s")
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", daemon.process.log()));
    manager.fed(Duration::from_millis(100));
    // The loop is alive and says so; it does not say that all is well.
    let (fed, other) = manager.count(Duration::from_secs(5));
    assert!(fed == 0 && other >= 5, "{fed} {other}");
    drop(held_up);
    wait_until("it is vouched for again", SOON, || {
        manager.fed(Duration::from_secs(1)) > 0
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", daemon.process.log()));
    let report = prober.stop().expect("a report");
    assert!(report.failures().is_empty(), "{report}\n{}", daemon.process.log());
}

#[test]
fn ten_thousand_reloads_leave_memory_and_descriptors_as_they_were() {
    const NAME: &str = "memory";
    const RELOADS: u32 = 10_000;
    // By then the last events that are kept (4096) are as many as they will ever be.
    const SETTLED: u32 = RELOADS / 2;
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 2, 1);
    let director = site.director();
    let key: SocketAddr = "192.0.2.210:1000".parse().expect("an address");
    // The weight of the first server of the first service tells which file is in force; the last service comes and goes.
    let wanted = |reload: u32| {
        let mut wanted = Wanted::default();
        for port in 0..10 + u16::from(reload.is_multiple_of(2)) {
            let mut service = Service::new("wlc");
            for last in 1..=4_u8 {
                let weight = if port == 0 && last == 1 { 1 + reload } else { 1 };
                let server = std::net::SocketAddrV4::new([198, 18, 0, last].into(), 1000 + port);
                service
                    .destinations
                    .insert(server, Destination { forward: "nat", weight });
            }
            let address = std::net::SocketAddrV4::new([192, 0, 2, 210].into(), 1000 + port);
            wanted.services.insert(address, service);
        }
        wanted
    };
    let first: SocketAddr = "198.18.0.1:1000".parse().expect("an address");
    let is_in_force =
        |reload: u32| weights(director, key).is_some_and(|weights| weights.get(&first) == Some(&(1 + reload)));
    let daemon = Daemon::start(director, &configure(director, &wanted(0).configuration()), &[]);
    let began = Instant::now();
    let mut looks = Vec::new();
    for reload in 1..=RELOADS {
        configure(director, &wanted(reload).configuration());
        daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
        wait_until("the reload is in force", SOON, || is_in_force(reload))
            .unwrap_or_else(|error| panic!("reload {reload}: {error}\n{}", daemon.process.log()));
        if [SETTLED, SETTLED + RELOADS / 10, RELOADS].contains(&reload) {
            looks.push((reload, holdings(&daemon)));
        }
    }
    for (reload, holdings) in &looks {
        measured(
            NAME,
            format_args!(
                "after {reload} reloads: {} KiB, {} descriptors",
                holdings.memory, holdings.descriptors
            ),
        );
    }
    measured(
        NAME,
        format_args!("a reload, looking included: {:?}", began.elapsed() / RELOADS),
    );
    let differences = wanted(RELOADS).differs(director, &[]);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let early = looks[0].1;
    for (reload, late) in &looks {
        assert!(
            late.memory <= early.memory + 1024,
            "after {reload}: {early:?}, then {late:?}"
        );
        assert!(
            late.descriptors <= early.descriptors + 2,
            "after {reload}: {early:?}, then {late:?}"
        );
    }
}
