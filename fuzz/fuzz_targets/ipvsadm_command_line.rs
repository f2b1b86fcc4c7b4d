//! Command lines of ipvsadm built from its own options: a command, or a refusal with a status of the original; and what
//! a command makes, saved and read again, is the same.

#![no_main]

use std::net::Ipv4Addr;

use ipvsd::ipvsadm::{self, Command, NameService, OPTIONS, Takes};
use ipvsd::listing::Names;
use ipvsd::model::{
    ListedDestination, ListedService, Netmask, Protocol, Scheduler, ServiceFlags, ServiceSpec, Statistics, Step,
};
use libfuzzer_sys::fuzz_target;

struct Known;

impl NameService for Known {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "www").then_some(Ipv4Addr::LOCALHOST)
    }

    fn port(&self, protocol: Protocol, name: &str) -> Option<u16> {
        (protocol == Protocol::Tcp && name == "http").then_some(80)
    }
}

const VALUES: &[&str] = &[
    "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1", "www:http", "10.1", "0x7f.1:0", "1", "300", "2147483647",
    "4294967295", "-1", "", "64", "255.255.255.0", "rr", "sh", "mh", "sip", "flag-1,flag-3", "sh-port", "mh-fallback",
    "gue", "gre", "ipip", "6080", "224.0.0.1", "ff02::1", "lo", "master", "backup", "x",
];

/// Two bytes a word: which option in which form, and which value.
fn words(bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    for pair in bytes.chunks_exact(2) {
        let value = VALUES[usize::from(pair[1]) % VALUES.len()];
        let Some(entry) = OPTIONS.get(usize::from(pair[0] & 0x7f)) else {
            words.push(value.to_owned());
            continue;
        };
        let name = match entry.short {
            Some(letter) if pair[0] < 0x80 => format!("-{letter}"),
            _ => format!("--{}", entry.long),
        };
        match (entry.takes, pair[1] >= 0x80) {
            (Takes::Nothing, _) => words.push(name),
            (_, true) => words.push(format!("{name}={value}")),
            (_, false) => words.extend([name, value.to_owned()]),
        }
    }
    words
}

fn read_again(services: &[ListedService]) -> Vec<Step> {
    let mut saved = Vec::new();
    ipvsadm::save(&mut saved, services, &Names::none());
    saved
        .split(|byte| *byte == b'\n')
        .map(|line| ipvsadm::words(line, "ipvsadm"))
        .filter(|words| !words.is_empty())
        .map(|words| match ipvsadm::parse(&words, "ipvsadm", &Known) {
            Ok(Command::Change(step)) => step,
            other => panic!("{words:?}: {other:?}"),
        })
        .collect()
}

fuzz_target!(|bytes: &[u8]| {
    let words = words(bytes);
    let step = match ipvsadm::parse(&words, "ipvsadm", &Known) {
        Ok(Command::Change(step)) => step,
        Ok(_) => return,
        Err(refusal) => {
            assert!([2, 255].contains(&refusal.status) && !refusal.message.is_empty(), "{words:?}");
            return;
        }
    };
    let listed = |key, spec: &ServiceSpec, destinations| ListedService {
        key,
        spec: spec.clone(),
        statistics: Statistics::default(),
        destinations,
    };
    match step {
        Step::AddService { service, mut spec } => {
            // What a save leaves out.
            if !spec.flags.contains(ServiceFlags::PERSISTENT) {
                spec.netmask = Netmask::host(service.family());
            }
            if matches!(spec.scheduler, Scheduler::Sh | Scheduler::Mh) {
                spec.flags = ServiceFlags::from_bits(spec.flags.bits() & !ServiceFlags::SCHEDULER_3.bits());
            }
            let expected = Step::AddService { service, spec };
            let Step::AddService { spec, .. } = &expected else { return };
            // Nothing in a saved line is quoted.
            if spec.persistence_engine.as_deref().is_some_and(|name| name.starts_with('-')) {
                return;
            }
            assert_eq!(read_again(&[listed(service, spec, Vec::new())]), [expected], "{words:?}");
        }
        Step::AddDestination {
            service,
            destination,
            mut spec,
        } => {
            spec.upper_threshold = 0;
            spec.lower_threshold = 0;
            let mut flags = ServiceSpec::new(Scheduler::Rr, service.family());
            // A service of every port has to be persistent.
            flags.flags = ServiceFlags::PERSISTENT;
            flags.persistence_timeout = 1;
            let found = ListedDestination {
                key: destination,
                spec,
                active_connections: 0,
                inactive_connections: 0,
                persistent_connections: 0,
                statistics: Statistics::default(),
            };
            let again = read_again(&[listed(service, &flags, vec![found])]);
            let expected = Step::AddDestination {
                service,
                destination,
                spec,
            };
            assert_eq!(again.last(), Some(&expected), "{words:?}");
        }
        Step::SetService { .. }
        | Step::RemoveService { .. }
        | Step::SetDestination { .. }
        | Step::RemoveDestination { .. } => {}
    }
});
