//! What goes over the wire as tshark reads it: adverts of both versions and families are what the configuration says,
//! with good checksums, and nothing in them is complained of.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Host, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{Routers, SOON};

/// What is asked of each packet, and how the rows below are to be read.
const FIELDS: [&str; 14] = [
    "vrrp.virt_rtr_id",
    "vrrp.version",
    "vrrp.type",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.ip_addr",
    "vrrp.ipv6_addr",
    "vrrp.adver_int",
    "vrrp.short_adver_int",
    "vrrp.auth_type",
    "vrrp.auth_string",
    "ip.ttl",
    "ipv6.hlim",
    "ip.dst",
];
/// What has to be said in the same way of each.
const SOUND: [&str; 4] = [
    "vrrp.checksum.status",
    "ip.checksum.status",
    "_ws.malformed",
    "_ws.expert.message",
];

/// The packets of a file as tshark dissects them, one a line; `version_2` is how it sums up those of version 3 over IPv4:
/// without the pseudo-header.
fn dissect(host: &Host, file: &Path, version_2: bool) -> Vec<String> {
    let file = file.display().to_string();
    let sums = format!("vrrp.v3_checksum_as_in_v2:{}", if version_2 { "TRUE" } else { "FALSE" });
    let mut command = vec![
        "tshark",
        "-n",
        "-r",
        &file,
        "-Y",
        "vrrp",
        "-o",
        "ip.check_checksum:TRUE",
        "-o",
        &sums,
    ];
    command.extend(["-T", "fields", "-E", "separator=|", "-E", "aggregator=,"]);
    for field in FIELDS.iter().chain(&SOUND) {
        command.extend(["-e", field]);
    }
    let rows = host
        .exec_ok(&command)
        .expect("tshark is missing in the lab: tests/lab/setup package:tshark");
    rows.lines().map(str::to_owned).collect()
}

#[test]
fn adverts_of_both_versions_and_families_are_dissected_without_complaint() {
    let routers = Routers::build("dissected");
    let (watcher, device) = (routers.lab.client(0), routers.device(0));
    let (vip, second, third, vip6) = (routers.vip(0), routers.vip(1), routers.vip(2), routers.vip6(0));
    let [own, other] = [0, 1].map(|index| routers.address(index));
    let instance = |name: &str, number: u8, more: &str| {
        format!(
            "[[vrrp_instance]]\nname = \"{name}\"\ninterface = \"{device}\"\nvirtual_router_id = {number}\n{more}\n"
        )
    };
    let text = [
        "virtual_server = []\n".to_owned(),
        instance(
            "two",
            21,
            &format!("version = 2\npassword = \"secret\"\npriority = 101\nvirtual_address = \"{vip}/24\""),
        ),
        instance(
            "three",
            22,
            &format!("priority = 150\nadvert_int = \"500ms\"\nvirtual_address = [\"{second}/24\", \"{third}/24\"]"),
        ),
        instance(
            "dropped",
            23,
            "advert_int = \"700ms\"\nchecksum = \"rfc9568\"\nvirtual_address = \"192.0.2.220/24\"",
        ),
        instance(
            "six",
            24,
            &format!("advert_int = \"1s\"\nvirtual_address = \"{vip6}/64\""),
        ),
        instance(
            "unicast",
            25,
            &format!("peers = \"{other}\"\nsource_address = \"{own}\"\nvirtual_address = \"192.0.2.221/24\""),
        ),
    ]
    .concat();

    let file = watcher.directory().join("adverts.pcap");
    let shown = file.display().to_string();
    // The unicast ones go to the other director, and the bridge sends them there alone.
    let mirror = routers.director(1).directory().join("adverts.pcap");
    let mirrored = mirror.display().to_string();
    let watch = |host: &Host, file: &str| {
        let device = host.device(Segment::Client);
        let arguments = ["-i", device, "-U", "-w", file, "proto 112 or ip6 proto 112"];
        host.tcpdump(&arguments).expect("tcpdump")
    };
    let mut watching = [watch(watcher, &shown), watch(routers.director(1), &mirrored)];
    let mut daemon = routers.start(0, &text, &[]);
    wait_until("all are master", SOON, || routers.has(0, vip) && routers.has(0, vip6)).expect("in time");
    sleep(Duration::from_secs(4));
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    for process in &mut watching {
        process.signal(Signal::SIGINT).expect("a signal");
        process.wait(SOON).expect("tcpdump ends");
    }

    // As they are while it is master, and the last one, which says that it leaves.
    let group = "224.0.0.18";
    let wanted = [
        [101, 0].map(|priority| format!("21|2|1|{priority}|1|{vip}||1||1|secret|255||{group}")),
        [150, 0].map(|priority| format!("22|3|1|{priority}|2|{second},{third}|||50|||255||{group}")),
        [100, 0].map(|priority| format!("23|3|1|{priority}|1|192.0.2.220|||70|||255||{group}")),
        [100, 0].map(|priority| format!("24|3|1|{priority}|1||{vip6}||100||||255|")),
        [100, 0].map(|priority| format!("25|3|1|{priority}|1|192.0.2.221|||100|||255||{other}")),
    ];
    let mut found = BTreeSet::new();
    for (host, file) in [(watcher, &file), (routers.director(1), &mirror)] {
        for version_2 in [false, true] {
            for row in dissect(host, file, version_2) {
                let number = row.split('|').next().unwrap_or_default().to_owned();
                // Those of version 3 over IPv4 have one of the two sums, and tshark looks for the other one half the time.
                let fits = match number.as_str() {
                    "22" | "25" => !version_2,
                    "23" => version_2,
                    _ => true,
                };
                let sums = if number == "24" { "1||" } else { "1|1|" };
                let sound = format!("|{sums}|");
                match row.strip_suffix(&sound) {
                    Some(fields) if fits => drop(found.insert(fields.to_owned())),
                    _ => assert!(!fits && row.contains("Bad checksum"), "{row}"),
                }
            }
        }
    }
    assert_eq!(found, wanted.into_iter().flatten().collect::<BTreeSet<_>>());
}
