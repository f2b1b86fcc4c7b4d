//! Reloads in a storm, under requests and long connections: servers come and go, weights change, files are broken, and
//! nothing is lost of a server that stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, Host, wait_until};
use nix::sys::signal::Signal;

use crate::chance::{Times, measured, pause, seeded};
use crate::pool::{LongOnes, Servers, Story, holdings, traffic};
use crate::site::{Daemon, Family, Site};
use crate::wanted::{Destination, Service, Wanted, weights};

const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 1, fall = 2 }]";
/// From a signal until the table has what the file says, a new server's first success included, on a slow machine.
const IN_FORCE: Duration = Duration::from_secs(20);
/// Longer than any request takes. A server is emptied (weight 0) for this time before it is taken out of the file:
/// what is removed with requests under way loses them, by the kernel's own doing.
const REQUEST: Duration = Duration::from_millis(700);

/// What the file says of each server of the pool; a server that is not in it has no entry.
type Weights = BTreeMap<usize, u32>;

/// Puts a configuration file in place of the one before, whole: the daemon may be reading.
fn install(host: &Host, text: &str) -> PathBuf {
    let file = host.directory().join("ipvsd.toml");
    let draft = file.with_extension("new");
    fs::write(&draft, text).expect("a configuration file");
    fs::rename(&draft, &file).expect("a configuration file");
    file
}

#[test]
fn three_hundred_reloads_under_traffic_lose_no_request_and_no_long_connection() {
    const NAME: &str = "reloads";
    const RELOADS: usize = 300;
    const SERVERS: u8 = 6;
    const LONG_ONES: usize = 200;
    /// It is dead all the time: no reload may forget that.
    const DEAD: usize = 5;
    let mut chance = seeded(NAME, 21);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, SERVERS, 1);
    let director = site.director();
    let SocketAddr::V4(vip) = SocketAddr::new(site.vip(0), 80) else {
        unreachable!("the site is one over IPv4")
    };
    let mut servers = Servers::threads(&site, usize::from(SERVERS));
    servers.kill(DEAD);
    // The web service, and eleven more that come, go and change without anybody asking them.
    let others = |chance: &mut fastrand::Rng| -> BTreeMap<SocketAddrV4, Service> {
        let ports = (1000..1011).filter(|_| chance.u8(0..3) > 0).collect::<Vec<_>>();
        let service = |port: u16| {
            let mut service = Service::new("wlc");
            for last in 1..=chance.u8(1..=5) {
                let server = SocketAddrV4::new([198, 18, chance.u8(0..3), last].into(), port);
                let (forward, weight) = ("nat", chance.u32(0..5));
                service.destinations.insert(server, Destination { forward, weight });
            }
            (SocketAddrV4::new([192, 0, 2, 210].into(), port), service)
        };
        ports.into_iter().map(service).collect()
    };
    let wanted = |weights: &Weights, others: &BTreeMap<SocketAddrV4, Service>| {
        let mut web = Service::new("wrr");
        web.more = format!("device = \"eth0\"\n{CHECK}");
        for (index, weight) in weights {
            let SocketAddr::V4(server) = servers.address(*index) else {
                unreachable!("the site is one over IPv4")
            };
            let (forward, weight) = (site.forward(), *weight);
            web.destinations.insert(server, Destination { forward, weight });
        }
        let mut services = others.clone();
        services.insert(vip, web);
        Wanted { services }
    };
    // The table has everything but the dead server.
    let in_force = |wanted: &Wanted| {
        let mut wanted = wanted.clone();
        let web = wanted.services.get_mut(&vip).expect("the web service");
        web.destinations
            .retain(|address, _| SocketAddr::V4(*address) != servers.address(DEAD));
        wanted
    };
    let mut now: Weights = (0..usize::from(SERVERS)).map(|index| (index, 1)).collect();
    let mut fillers = others(&mut chance);
    let mut daemon = Daemon::start(
        director,
        &install(director, &wanted(&now, &fillers).configuration()),
        &[],
    );
    let settle = |now: &Weights, fillers: &BTreeMap<_, _>, daemon: &Daemon, what: &str| {
        let wanted = in_force(&wanted(now, fillers));
        let expected: BTreeMap<SocketAddr, u32> = wanted.services[&vip]
            .destinations
            .iter()
            .map(|(address, destination)| (SocketAddr::V4(*address), destination.weight))
            .collect();
        // The cheap look first; Debian's ipvsadm has the last word.
        let mut differences = Vec::new();
        wait_until(what, IN_FORCE, || {
            if weights(director, SocketAddr::V4(vip)).as_ref() != Some(&expected) {
                return false;
            }
            differences = wanted.differs(director, &[]);
            if !differences.is_empty() {
                std::thread::sleep(Duration::from_millis(100));
            }
            differences.is_empty()
        })
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", differences.join("\n"), daemon.process.log()));
    };
    settle(&now, &fillers, &daemon, "the first file is in force");
    site.client()
        .wait_for_answer(SocketAddr::V4(vip), "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let prober = traffic(&site, SocketAddr::V4(vip));
    let mut long = LongOnes::open(&site, SocketAddr::V4(vip), LONG_ONES);
    let mut story = Story::default();
    let (mut removed, mut added, mut refused) = (0, 0, 0);
    let mut took = Times::default();
    let mut early = None;
    // Since when a server has been empty in the kernel's table.
    let mut empty: BTreeMap<usize, Instant> = BTreeMap::new();
    for reload in 1..=RELOADS {
        if chance.u8(0..10) == 0 {
            // A file that is replaced before it was read is never in force.
            settle(
                &now,
                &fillers,
                &daemon,
                &format!("the file before reload {reload} is in force"),
            );
            install(
                director,
                "[[virtual_server]]\nname = \"x\"\nadress = \"192.0.2.200:80\"\n",
            );
            refused += 1;
        } else {
            fillers = others(&mut chance);
            for index in 0..usize::from(SERVERS) {
                let is_empty = empty.get(&index).is_some_and(|since| since.elapsed() > REQUEST);
                match (now.get(&index).copied(), chance.u8(0..6)) {
                    (None, 0..3) => {
                        now.insert(index, chance.u32(1..6));
                        added += 1;
                    }
                    (Some(0), 0..=4) if is_empty => {
                        // Long ones to what is removed would be lost rightly.
                        long.leave(site.lab.real_server(index).name());
                        now.remove(&index);
                        removed += 1;
                    }
                    (Some(0), 5) => {
                        now.insert(index, chance.u32(1..6));
                    }
                    // The first server always serves, so that somebody does.
                    (Some(1..), 0) if index > 0 => {
                        now.insert(index, 0);
                    }
                    (Some(1..), 1..3) => {
                        now.insert(index, chance.u32(1..6));
                    }
                    (None | Some(_), _) => {}
                }
            }
            install(director, &wanted(&now, &fillers).configuration());
        }
        story.tell(format_args!("reload {reload}: {now:?}"));
        let sent = Instant::now();
        daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
        pause(&mut chance, Duration::from_millis(300));
        long.assert_open(format_args!("after reload {reload}"));
        if chance.u8(0..5) < 2 {
            // A file that was refused changed nothing: the one before is still in force.
            settle(&now, &fillers, &daemon, &format!("reload {reload} is in force"));
            took.push(sent.elapsed());
            story.tell("it is in force");
            long.fill_up();
            let emptied: BTreeSet<_> = now
                .iter()
                .filter(|(_, weight)| **weight == 0)
                .map(|(i, _)| *i)
                .collect();
            empty.retain(|index, _| emptied.contains(index));
            for index in emptied {
                empty.entry(index).or_insert_with(Instant::now);
            }
        } else {
            // Nobody has seen yet what became of those that are to be emptied or filled.
            empty.retain(|index, _| now.get(index) == Some(&0));
        }
        if reload == RELOADS / 10 {
            early = Some(holdings(&daemon));
        }
    }
    install(director, &wanted(&now, &fillers).configuration());
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    settle(&now, &fillers, &daemon, "the last file is in force");
    std::thread::sleep(Duration::from_secs(1));
    long.finish();
    let report = prober.stop().expect("a report");
    let (early, late) = (early.expect("a look"), holdings(&daemon));
    measured(
        NAME,
        format_args!(
            "{RELOADS} signals, {refused} of them with a broken file; servers added {added} times, removed {removed} \
             times; {} requests, {} failed; none of {LONG_ONES} long connections to servers that stayed lost",
            report.attempts.len(),
            report.failures().len()
        ),
    );
    measured(NAME, format_args!("from the signal to the table, now and then: {took}"));
    measured(
        NAME,
        format_args!(
            "the daemon: {} KiB and {} descriptors after a tenth, {} KiB and {} at the end",
            early.memory, early.descriptors, late.memory, late.descriptors
        ),
    );
    story.assert_explained(&report, &[]);
    let dead = format!("real-server-{}", DEAD + 1);
    assert!(!report.answered_by().contains_key(dead.as_str()), "{report}");
    assert!(added > 30 && removed > 30 && refused > 10, "the seed moved too little");
    assert!(took.count() >= 100, "the table was looked at too rarely: {took}");
    assert!(late.memory <= early.memory + 2048, "{early:?}, then {late:?}");
    assert!(late.descriptors <= early.descriptors + 4, "{early:?}, then {late:?}");
    assert!(daemon.process.is_running());
}
