//! A table as a test wants it: as the configuration that asks for it, and as Debian's `ipvsadm -Sn` tells it.
//!
//! Both are written from the same numbers here, and nothing of ipvsd is asked what it makes of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use ipvsd_lab::Host;

/// One destination: how packets reach it, and its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    /// `nat`, `dr` or `tun`.
    pub(crate) forward: &'static str,
    pub(crate) weight: u32,
}

/// One service over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) scheduler: &'static str,
    /// Seconds of persistence, 0 for none.
    pub(crate) persistence: u32,
    pub(crate) destinations: BTreeMap<SocketAddrV4, Destination>,
    /// Further lines of the configuration, such as a check.
    pub(crate) more: String,
}

impl Service {
    pub(crate) fn new(scheduler: &'static str) -> Self {
        Self {
            scheduler,
            persistence: 0,
            destinations: BTreeMap::new(),
            more: String::new(),
        }
    }
}

/// A whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) services: BTreeMap<SocketAddrV4, Service>,
}

impl Wanted {
    /// The configuration that asks for it.
    pub(crate) fn configuration(&self) -> String {
        let mut text = String::new();
        for (address, service) in &self.services {
            let Service {
                scheduler,
                persistence,
                destinations,
                more,
            } = service;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "[[virtual_server]]\nname = \"{address}\"\naddress = \"{address}\"\nscheduler = \"{scheduler}\"\n{more}"
            );
            if *persistence > 0 {
                let _ = writeln!(text, "persistence_timeout = \"{persistence}s\"");
            }
            for (address, Destination { forward, weight }) in destinations {
                let _ = writeln!(
                    text,
                    "[[virtual_server.real_server]]\naddress = \"{address}\"\nforward = \"{forward}\"\nweight = {weight}"
                );
            }
        }
        let nothing = match text.is_empty() {
            true => "virtual_server = []\n",
            false => "",
        };
        // These configurations come from chance, not from files that lost their second half.
        text.insert_str(0, &format!("{nothing}[reload]\nremove_limit = 100\n"));
        text
    }

    /// The lines of `ipvsadm -Sn`, sorted.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (address, service) in &self.services {
            let persistence = match service.persistence {
                0 => String::new(),
                seconds => format!(" -p {seconds}"),
            };
            lines.push(format!("-A -t {address} -s {}{persistence}", service.scheduler));
            for (server, Destination { forward, weight }) in &service.destinations {
                let forward = match *forward {
                    "nat" => "-m",
                    "dr" => "-g",
                    _ => "-i",
                };
                let tunnel = if forward == "-i" { " --tun-type ipip" } else { "" };
                lines.push(format!("-a -t {address} -r {server} {forward} -w {weight}{tunnel}"));
            }
        }
        lines.sort_unstable();
        lines
    }

    /// What the kernel has too much, and what it lacks, by Debian's ipvsadm; empty where it has this table and
    /// `others`, services that are none of ours.
    pub(crate) fn differs(&self, host: &Host, others: &[&str]) -> Vec<String> {
        self.differences(&saved(host), others)
    }

    /// As [`Wanted::differs`], of lines that were read before.
    pub(crate) fn differences(&self, found: &[String], others: &[&str]) -> Vec<String> {
        let mut wanted = self.lines();
        wanted.extend(others.iter().map(|line| (*line).to_owned()));
        wanted.sort_unstable();
        difference(&wanted, found)
    }
}

/// The kernel's table by Debian's `ipvsadm -Sn`, sorted.
pub(crate) fn saved(host: &Host) -> Vec<String> {
    let text = host.exec_ok(&["ipvsadm", "-S", "-n"]).expect("ipvsadm");
    let mut lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort_unstable();
    lines
}

/// What is in one of two sorted lists only; a line that is twice in one and once in the other counts.
fn difference(wanted: &[String], found: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&String, i32> = BTreeMap::new();
    for line in wanted {
        *counts.entry(line).or_default() -= 1;
    }
    for line in found {
        *counts.entry(line).or_default() += 1;
    }
    let unequal = counts.into_iter().filter(|(_, count)| *count != 0);
    unequal
        .map(|(line, count)| format!("{}: {line}", if count < 0 { "missing" } else { "too much" }))
        .collect()
}

/// The weights of one service's destinations as the kernel's own `/proc/net/ip_vs` shows them; `None` where the
/// service is not there. Cheap enough to ask a hundred times a second.
pub(crate) fn weights(host: &Host, service: SocketAddr) -> Option<BTreeMap<SocketAddr, u32>> {
    let read = || std::fs::read_to_string("/proc/thread-self/net/ip_vs");
    let text = host.in_namespace(read).expect("a namespace").expect("the table");
    weights_in(&text, service)
}

/// As [`weights`], in the text of the file.
pub(crate) fn weights_in(text: &str, service: SocketAddr) -> Option<BTreeMap<SocketAddr, u32>> {
    let mut found: Option<BTreeMap<_, _>> = None;
    for line in text.lines().skip(3) {
        let words: Vec<_> = line.split_whitespace().collect();
        match (words.as_slice(), &mut found) {
            (["->", address, _, weight, ..], Some(weights)) => {
                weights.insert(address_of(address), weight.parse().expect("a weight"));
            }
            (["->", ..], None) => {}
            (["TCP", address, ..], None) if address_of(address) == service => found = Some(BTreeMap::new()),
            (_, Some(_)) => break,
            (_, None) => {}
        }
    }
    found
}

fn address_of(text: &str) -> SocketAddr {
    let (address, port) = text.split_once(':').expect("an IPv4 address and a port");
    let hexadecimal = |text| u32::from_str_radix(text, 16).expect("hexadecimal");
    let port = u16::try_from(hexadecimal(port)).expect("a port");
    SocketAddr::new(Ipv4Addr::from(hexadecimal(address)).into(), port)
}

#[test]
fn the_file_of_the_kernel_is_read() {
    let text = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                TCP  C0000264:0019 wlc\n  -> C000020D:0019      Masq    9      0          0         \n\
                TCP  C00002C8:0050 rr  \n  -> C000020B:0050      Masq    1      0          0         \n  \
                -> C000020C:0050      Masq    0      2          7         \nUDP  C00002C8:0050 rr  \n  \
                -> C000020E:0050      Masq    3      0          0         \n";
    let weights = weights_in(text, "192.0.2.200:80".parse().expect("an address")).expect("the service");
    let expected: [(SocketAddr, u32); 2] = [
        ("192.0.2.11:80".parse().expect("an address"), 1),
        ("192.0.2.12:80".parse().expect("an address"), 0),
    ];
    assert_eq!(weights, expected.into());
    assert_eq!(weights_in(text, "192.0.2.200:81".parse().expect("an address")), None);
}
