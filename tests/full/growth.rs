//! A thousand services that change and change again: the kernel has the wanted table each time, by Debian's ipvsadm.

use std::net::SocketAddrV4;
use std::time::Instant;

use ipvsd_lab::{Topology, require_kernel};

use crate::chance::{Times, measured, seeded};
use crate::site::{configure, ipvsd};
use crate::wanted::{Destination, Service, Wanted};

const FOREIGN: [&str; 2] = [
    "-A -t 192.0.2.99:25 -s wlc",
    "-a -t 192.0.2.99:25 -r 192.0.2.13:25 -m -w 9",
];
const SCHEDULERS: [&str; 6] = ["rr", "wrr", "lc", "wlc", "sed", "nq"];

fn address(number: u16) -> SocketAddrV4 {
    let [high, low] = (number / 250).to_be_bytes();
    assert_eq!(high, 0, "at most 64000 services");
    let last = u8::try_from(number % 250 + 1).expect("at most 250");
    SocketAddrV4::new([192, 0, 2, low].into(), 1000 + u16::from(last))
}

fn destination(chance: &mut fastrand::Rng) -> Destination {
    Destination {
        forward: ["nat", "dr", "tun"][chance.usize(0..3)],
        weight: chance.u32(0..10),
    }
}

fn server(service: SocketAddrV4, number: u8) -> SocketAddrV4 {
    let [.., group, _] = service.ip().octets();
    SocketAddrV4::new([198, 18, group, number].into(), service.port())
}

fn service(address: SocketAddrV4, chance: &mut fastrand::Rng) -> Service {
    let mut service = Service::new(SCHEDULERS[chance.usize(..SCHEDULERS.len())]);
    if chance.u8(0..4) == 0 {
        service.persistence = chance.u32(1..600);
    }
    for number in 1..=10 {
        service
            .destinations
            .insert(server(address, number), destination(chance));
    }
    service
}

/// Changes a table by chance: sometimes in one place, sometimes everywhere.
fn change(wanted: &mut Wanted, chance: &mut fastrand::Rng) -> usize {
    let number = [1, 10, 100, 500][chance.usize(0..4)];
    for _ in 0..number {
        let address = address(chance.u16(0..1100));
        let Some(found) = wanted.services.get_mut(&address) else {
            wanted.services.insert(address, service(address, chance));
            continue;
        };
        let server = server(address, chance.u8(1..=14));
        match chance.u8(0..8) {
            0 => {
                wanted.services.remove(&address);
            }
            1 => found.scheduler = SCHEDULERS[chance.usize(..SCHEDULERS.len())],
            2 => found.persistence = if found.persistence == 0 { chance.u32(1..600) } else { 0 },
            3 => {
                found.destinations.remove(&server);
            }
            _ => {
                found.destinations.insert(server, destination(chance));
            }
        }
    }
    number
}

#[test]
fn a_thousand_services_changed_fifty_times_are_in_the_kernel_as_wanted_each_time() {
    const NAME: &str = "growth";
    require_kernel();
    let mut chance = seeded(NAME, 41);
    let topology = Topology::one_segment().directors(1).real_servers(0).clients(0);
    let lab = topology.build(NAME).expect("a topology");
    let director = lab.director(0);
    let foreign = FOREIGN.join("\n") + "\n";
    director
        .exec_ok_with_input(&["ipvsadm", "-R"], &foreign)
        .expect("services of others");
    let mut wanted = Wanted::default();
    for number in 0..1000 {
        let address = address(number);
        wanted.services.insert(address, service(address, &mut chance));
    }
    let (mut first, mut took) = (None, Times::default());
    for round in 0..=50 {
        let changes = if round == 0 {
            0
        } else {
            change(&mut wanted, &mut chance)
        };
        let file = configure(director, &wanted.configuration()).display().to_string();
        let started = Instant::now();
        let applied = ipvsd(director, &["apply", "-c", &file]);
        if first.is_none() {
            first = Some(started.elapsed());
        } else {
            took.push(started.elapsed());
        }
        assert_eq!(
            applied.code(),
            0,
            "round {round}, {changes} changes: {}",
            applied.stderr
        );
        let differences = wanted.differs(director, &FOREIGN);
        assert!(
            differences.is_empty(),
            "round {round}, {changes} changes:\n{}",
            differences.join("\n")
        );
    }
    measured(
        NAME,
        format_args!(
            "a thousand services with ten servers each: {} ms; each change after it: {took}",
            first.unwrap_or_default().as_millis()
        ),
    );
    let file = configure(director, "virtual_server = []\n").display().to_string();
    let applied = ipvsd(director, &["apply", "-c", &file]);
    assert_eq!(applied.code(), 0, "{}", applied.stderr);
    let differences = Wanted::default().differs(director, &FOREIGN);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
