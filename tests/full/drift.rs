//! Somebody keeps changing the table: each change in services of ours is put right in time, everything else stays.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use ipvsd_lab::{Host, Topology, require_kernel, wait_until};

use crate::chance::{Times, measured, pause, seeded};
use crate::site::{Daemon, configure};
use crate::wanted::{Destination, Service, Wanted};

/// How often the daemon looks at the table while nothing happens.
const INTERVAL: Duration = Duration::from_secs(5);
/// For the repair itself, on user-mode Linux with five daemons at a time.
const SLACK: Duration = Duration::from_secs(4);
/// One fight each, at the same time: a repair is mostly waiting.
const DIRECTORS: u8 = 5;
const BLOWS: usize = 22;
const FOREIGN: [&str; 4] = [
    "-A -t 192.0.2.99:25 -s wlc",
    "-a -t 192.0.2.99:25 -r 192.0.2.13:25 -m -w 9",
    "-A -f 9 -s rr",
    "-a -f 9 -r 192.0.2.13:0 -g -w 1",
];

fn wanted(chance: &mut fastrand::Rng) -> Wanted {
    let service = |port: u16| {
        let mut service = Service::new(if chance.bool() { "rr" } else { "sed" });
        for last in 1..=chance.u8(2..=6) {
            let server = SocketAddrV4::new([198, 18, 0, last].into(), port);
            let (forward, weight) = (["nat", "dr", "tun"][chance.usize(0..3)], chance.u32(1..9));
            service.destinations.insert(server, Destination { forward, weight });
        }
        (SocketAddrV4::new([192, 0, 2, 210].into(), port), service)
    };
    Wanted {
        services: (1000..1030).map(service).collect(),
    }
}

/// A line for ipvsadm that changes something of ours.
fn disturbance(wanted: &Wanted, chance: &mut fastrand::Rng) -> Vec<String> {
    let services: Vec<_> = wanted.services.iter().collect();
    let (vip, service) = services[chance.usize(..services.len())];
    let servers: Vec<_> = service.destinations.iter().collect();
    let (server, Destination { forward, weight }) = servers[chance.usize(..servers.len())];
    let other = if *forward == "dr" { "-m" } else { "-g" };
    match chance.u8(0..8) {
        // Everything, those of others too: they are put back by the one who did it.
        0 => [vec!["-C".to_owned()], FOREIGN.map(str::to_owned).to_vec()].concat(),
        1 => vec![format!("-D -t {vip}")],
        2 => vec![format!("-d -t {vip} -r {server}")],
        3 => vec![format!("-E -t {vip} -s lblc")],
        4 => vec![format!("-E -t {vip} -s {} -p 77", service.scheduler)],
        5 => vec![format!("-a -t {vip} -r 203.0.113.7:{} -m -w 1", vip.port())],
        6 => vec![format!("-e -t {vip} -r {server} {other} -w {weight}")],
        _ => {
            let method = match *forward {
                "nat" => "-m",
                "dr" => "-g",
                _ => "-i",
            };
            vec![format!("-e -t {vip} -r {server} {method} -w {}", weight + 3)]
        }
    }
}

/// Runs lines of ipvsadm, which takes everything but flushing from a file.
fn disturb(director: &Host, lines: &[String]) {
    let (flushes, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| *line == "-C");
    for _ in flushes {
        director.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
    }
    for line in others {
        let command: Vec<_> = ["ipvsadm"].into_iter().chain(line.split(' ')).collect();
        director.exec_ok(&command).expect("ipvsadm");
    }
}

fn fight(name: &str, director: &Host, seed: u64) -> Times {
    let mut chance = seeded(name, seed);
    let mut wanted = wanted(&mut chance);
    disturb(director, &FOREIGN.map(str::to_owned));
    let file = configure(director, &wanted.configuration());
    let daemon = Daemon::start(director, &file, &[]);
    let differences = wanted.differs(director, &FOREIGN);
    assert!(differences.is_empty(), "{name}:\n{}", differences.join("\n"));
    let mut took = Times::default();
    let mut touched = BTreeMap::new();
    for blow in 1..=BLOWS {
        pause(&mut chance, INTERVAL);
        // Once in a while the foreigner changes what is his own, which has to stay.
        if chance.u8(0..4) == 0 {
            disturb(director, &["-e -t 192.0.2.99:25 -r 192.0.2.13:25 -m -w 9".to_owned()]);
        }
        // Not so often that it is taken for a quarrel, which is repaired more slowly.
        let lines = loop {
            let lines = disturbance(&wanted, &mut chance);
            let of = lines[0].split(' ').nth(2).unwrap_or("everything").to_owned();
            let (times, most) = (touched.entry(of), if lines[0] == "-C" { 3 } else { 2 });
            let times = times.or_insert(0_usize);
            if *times < most {
                *times += 1;
                break lines;
            }
        };
        disturb(director, &lines);
        let struck = Instant::now();
        let mut differences = Vec::new();
        wait_until("the table is repaired", INTERVAL + SLACK, || {
            std::thread::sleep(Duration::from_millis(200));
            differences = wanted.differs(director, &FOREIGN);
            differences.is_empty()
        })
        .unwrap_or_else(|error| {
            let log = daemon.process.log();
            panic!("{name}: after {lines:?}: {error}\n{}\n{log}", differences.join("\n"))
        });
        took.push(struck.elapsed());
        let log = daemon.process.log();
        assert_eq!(
            log.matches("somebody else changed").count(),
            blow,
            "{name}: each change is told once; the last was {lines:?}\n{log}"
        );
    }
    wanted.services = BTreeMap::new();
    let file = configure(director, &wanted.configuration());
    daemon
        .process
        .signal_alone(nix::sys::signal::Signal::SIGHUP)
        .expect("a signal");
    wait_until("only the services of others are left", INTERVAL + SLACK, || {
        wanted.differs(director, &FOREIGN).is_empty()
    })
    .unwrap_or_else(|error| panic!("{name}: {error} ({})", file.display()));
    took
}

#[test]
fn a_table_disturbed_a_hundred_times_is_repaired_each_time() {
    const NAME: &str = "drift";
    require_kernel();
    let topology = Topology::one_segment().directors(DIRECTORS).real_servers(0).clients(0);
    let lab = topology.build(NAME).expect("a topology");
    std::thread::scope(|scope| {
        let fights: Vec<_> = (0..DIRECTORS)
            .map(|index| {
                let director = lab.director(usize::from(index));
                let name = format!("{NAME} {}", director.name());
                scope.spawn(move || {
                    let took = fight(&name, director, 30 + u64::from(index));
                    measured(
                        &name,
                        format_args!("repaired (within {} ms): {took}", INTERVAL.as_millis()),
                    );
                })
            })
            .collect();
        for fight in fights {
            if let Err(panic) = fight.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
