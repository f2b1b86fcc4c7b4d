//! Devices with a virtual MAC that cannot be had although the interface below them works: the kernel refuses to put one
//! up while that interface has its MAC itself. And interfaces that are not there yet.

use std::time::{Duration, Instant};

use ipvsd_lab::wait_until;

use crate::routers::{ADVERTS, Own, Routers, SOON, measured};
use crate::site::ipvsd;

const MAC_51: &str = "00:00:5e:00:01:33";

fn text(routers: &Routers, index: usize, adverts: &str) -> String {
    let more = format!("{adverts}\nuse_vmac = true");
    let own = Own {
        priority: [150, 100][index],
        more: &more,
    };
    routers.instance(index, own)
}

/// Gives the first director's interface this MAC.
fn set_mac(routers: &Routers, mac: &str) {
    let line = format!("link set dev {} address {mac}", routers.device(0));
    routers.director(0).ip(&[&line]).expect("ip");
}

#[test]
fn whoever_loses_the_device_of_its_addresses_says_so_by_the_interface() {
    let routers = Routers::build("vrrp-device-lost");
    let (vip, client) = (routers.vip(0), routers.lab.client(0));
    let segment = client
        .tcpdump(&["-l", "-n", "-i", "eth0", "proto 112"])
        .expect("tcpdump");
    let slow = "advert_int = \"3s\"";
    let mut first = routers.start(0, &text(&routers, 0, slow), &[]);
    let _second = routers.start(1, &text(&routers, 1, slow), &[]);
    routers.wait_for_master("the first one has it", 0, vip);
    set_mac(&routers, MAC_51);
    routers.director(0).ip(&["link set vrrp.51 down"]).expect("ip");
    let lost = Instant::now();
    first.wait_for("virtual router VI_1 waits: cannot set interface vrrp.51 up");
    wait_until("the other one takes over", SOON, || routers.has(1, vip)).expect("in time");
    let took = lost.elapsed();
    measured(format_args!(
        "a master that has lost its device: taken over after {took:?} with adverts of 3 s"
    ));
    // After the skew, 1.8 s; a silent master is waited for 7.8 s after its last advert or longer.
    assert!(took < Duration::from_millis(4_500), "{took:?}");
    let own = routers.address(0);
    let seen = segment.log();
    let mut of_first = seen.lines().filter(|line| line.contains(&format!("IP {own} >")));
    assert!(of_first.any(|line| line.contains("prio 0,")), "{seen}");
}

#[test]
fn an_address_waits_for_its_device_and_the_other_master_is_left_alone() {
    let routers = Routers::build("vrrp-device-busy");
    let _server = routers.serve();
    let (vip, own) = (routers.vip(0), routers.mac(0));
    let second = routers.start(1, &text(&routers, 1, ADVERTS), &[]);
    routers.wait_for_master("the second one is alone", 1, vip);
    set_mac(&routers, MAC_51);
    let mut first = routers.start(0, &text(&routers, 0, ADVERTS), &[]);
    first.wait_for("virtual router VI_1 waits: cannot set interface vrrp.51 up");
    // For several times as long as it listens before it takes over.
    std::thread::sleep(Duration::from_secs(8));
    let log = first.process.log();
    assert!(!log.contains("virtual address put on its device"), "{log}");
    assert_eq!(log.matches("VI_1 is master").count(), 1, "it has tried once\n{log}");
    assert!(routers.has(1, vip) && !routers.has(0, vip), "{}", second.process.log());
    let refused = |line: &&str| line.contains("cannot set interface vrrp.51 up");
    let told = log.lines().filter(refused).count();
    assert_eq!(
        told, 2,
        "once by the keeper of the addresses, once by the instance\n{log}"
    );
    set_mac(&routers, &own);
    routers.wait_for_master("its device can be put up again", 0, vip);
    first.wait_for("device of the virtual MAC can be put up again");
}

#[test]
fn an_interface_that_comes_later_is_waited_for() {
    let routers = Routers::build("vrrp-later");
    let (director, vip) = (routers.director(0), routers.vip(0));
    let text = format!(
        "virtual_server = []\n[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"later0\"\nvirtual_router_id = 51\n\
         {ADVERTS}\nvirtual_address = [\"{vip}/24\"]\n"
    );
    let mut daemon = routers.start(0, &text, &[]);
    daemon.wait_for("virtual router VI_1 waits: interface later0 is not there");
    let status = ipvsd(director, &["status"]).stdout;
    assert!(
        status.contains("fault") && status.contains("waits: interface later0 is not there"),
        "{status}"
    );
    // There, and then up, and at last with an address that adverts can come from.
    director
        .ip(&["link add later0 type veth peer name later1"])
        .expect("ip");
    director.ip(&["link set later1 up", "link set later0 up"]).expect("ip");
    std::thread::sleep(Duration::from_secs(3));
    let log = daemon.process.log();
    assert!(!log.contains("is master") && !routers.has(0, vip), "{log}");
    director.ip(&["address add 203.0.113.1/24 dev later0"]).expect("ip");
    daemon.wait_for("virtual router VI_1 is master, was backup");
    let shown = || director.exec_ok(&["ip", "-o", "address", "show", "dev", "later0"]);
    wait_until("it has its address", SOON, || {
        shown().is_ok_and(|shown| shown.contains(&format!(" {vip}/24 ")))
    })
    .expect("in time");
    let log = daemon.process.log();
    assert_eq!(log.matches(" waits: ").count(), 1, "it is said once\n{log}");
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains("master") && !status.contains("waits:"), "{status}");
}
