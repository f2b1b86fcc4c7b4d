//! Virtual routers whose addresses have the virtual MAC, on a device of their own (`use_vmac`).

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Client, Prober, Process, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{ADVERTS, Own, Routers, SOON, measured};
use crate::site::{Daemon, configure, ipvsd};

const MAC_51: &str = "00:00:5e:00:01:33";

/// `VI_1` with the virtual MAC and more.
fn with(routers: &Routers, priority: u8, more: &str) -> String {
    let more = format!("{ADVERTS}\nuse_vmac = true\n{more}");
    routers.instance(0, Own { priority, more: &more })
}

/// A device of a director: what `ip -d link` shows of it, on one line; nothing where there is none.
fn device(routers: &Routers, index: usize, name: &str) -> Option<String> {
    let found = routers
        .director(index)
        .exec(&["ip", "-d", "-o", "link", "show", "dev", name]);
    let found = found.expect("ip");
    (found.code() == 0).then_some(found.stdout)
}

fn is_up(routers: &Routers, index: usize, name: &str) -> bool {
    device(routers, index, name).is_some_and(|shown| shown.contains(",UP"))
}

/// The devices that an address is on.
fn places(routers: &Routers, index: usize, address: IpAddr) -> Vec<String> {
    let shown = routers.director(index).exec_ok(&["ip", "-o", "address", "show"]);
    let shown = shown.expect("ip");
    let lines = shown.lines().filter(|line| line.contains(&format!(" {address}/")));
    lines
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect()
}

fn wait_for_device(routers: &Routers, what: &str, index: usize, name: &str, there: bool) {
    wait_until(what, SOON, || device(routers, index, name).is_some() == there).expect("in time");
}

fn end(mut daemon: Daemon) -> String {
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    daemon.process.log()
}

/// Whether a daemon has complained of its virtual router.
fn complains(log: &str) -> bool {
    let mut lines = log.lines().filter(|line| line.contains("virtual router"));
    lines.any(|line| line.contains("WARN") || line.contains("ERROR"))
}

/// Whether an address answers the client.
fn pings(routers: &Routers, address: IpAddr) -> bool {
    let family = if address.is_ipv4() { "-4" } else { "-6" };
    let ping = ["ping", family, "-c", "1", "-W", "1", &address.to_string()];
    let pinged = routers.lab.client(0).exec(&ping);
    pinged.is_ok_and(|pinged| pinged.code() == 0)
}

/// All frames with ARP or neighbour discovery that the client sees, with their hardware addresses.
fn watch_segment(routers: &Routers, filter: &str) -> Process {
    let client = routers.lab.client(0);
    let arguments = ["-l", "-n", "-e", "-i", "eth0", filter];
    client.tcpdump(&arguments).expect("tcpdump")
}

/// The adverts in what tcpdump has written, but for the last word (priority 1) of whoever is master no longer: its device
/// is down by then.
fn adverts_of_masters(seen: &str) -> Vec<&str> {
    let adverts = seen.lines().filter(|line| line.contains("VRRPv"));
    adverts.filter(|line| !line.contains(" prio 1,")).collect()
}

#[test]
fn the_address_moves_and_the_neighbours_notice_nothing() {
    let routers = Routers::build("vrrp-vmac");
    let _server = routers.serve();
    let vip = routers.vip(0);
    let address = SocketAddr::new(vip, 80);
    let plain = [0, 1].map(|index| routers.mac(index));
    let segment = watch_segment(&routers, "arp or proto 112");
    let first = routers.start(0, &with(&routers, 150, ""), &[]);
    let second = routers.start(1, &with(&routers, 100, ""), &[]);
    routers.wait_for_master("the first one has it", 0, vip);
    let shown = device(&routers, 0, "vrrp.51").expect("a device");
    assert!(
        shown.contains(MAC_51) && shown.contains("macvlan mode bridge"),
        "{shown}"
    );
    assert_eq!(places(&routers, 0, vip), ["vrrp.51"]);
    wait_for_device(&routers, "the backup has its device", 1, "vrrp.51", true);
    assert!(!is_up(&routers, 1, "vrrp.51"), "and it is down");

    let client = Client::new(routers.lab.client(0));
    client.wait_for_answer(address, "behind", SOON).expect("an answer");
    assert_eq!(routers.learnt(vip).as_deref(), Some(MAC_51));
    // Only what the client is told by a request of its own counts from now on.
    for setting in ["arp_accept", "drop_gratuitous_arp"] {
        let value = if setting == "arp_accept" { "0" } else { "1" };
        let name = format!("net/ipv4/conf/eth0/{setting}");
        routers.lab.client(0).set_sysctl(&name, value).expect("a setting");
    }
    let (every, timeout) = (Duration::from_millis(20), Duration::from_millis(500));
    let prober = Prober::start(routers.lab.client(0), address, every, timeout, Duration::from_secs(90));
    let prober = prober.expect("a prober");
    sleep(Duration::from_secs(2));
    let log = end(first);
    routers.wait_for_master("the second one has it", 1, vip);
    assert_eq!(routers.learnt(vip).as_deref(), Some(MAC_51), "the entry is as it was");
    assert!(device(&routers, 0, "vrrp.51").is_none(), "a clean end leaves no device");
    sleep(Duration::from_secs(2));
    let first = routers.start(0, &with(&routers, 150, ""), &[]);
    routers.wait_for_master("the first one has it again", 0, vip);
    assert_eq!(routers.learnt(vip).as_deref(), Some(MAC_51));
    sleep(Duration::from_secs(2));
    let report = prober.stop().expect("a report");
    let gap = report.longest_gap();
    measured(format_args!(
        "a virtual MAC that moves and returns: longest gap {gap:?}, {} of {} failed",
        report.failures().len(),
        report.attempts.len()
    ));
    assert!(gap < Duration::from_secs(1), "{report}\n{log}");
    assert!(!complains(&log), "{log}");

    // The director itself has to ask who the client is, on behalf of the address.
    routers.director(0).ip(&["neighbour flush dev eth0"]).expect("ip");
    assert!(pings(&routers, vip), "{vip} answers");

    // Nobody has heard of the address from another MAC, asked or unasked, nor of a director's own from this one.
    sleep(Duration::from_millis(500));
    let seen = segment.log();
    let own = [0, 1].map(|index| routers.address(index));
    let told = |line: &&str, address: IpAddr| {
        line.contains(&format!("Reply {address} is-at")) || line.contains(&format!("tell {address},"))
    };
    let mut of_vip = 0;
    for line in seen.lines() {
        let from_vmac = line.contains(&format!("{MAC_51} >"));
        if told(&line, vip) {
            of_vip += 1;
            assert!(
                from_vmac && !plain.iter().any(|mac| line.contains(&format!("is-at {mac}"))),
                "{line}"
            );
        }
        assert!(!own.iter().any(|own| told(&line, *own) && from_vmac), "{line}");
    }
    assert!(of_vip > 0, "{seen}");
    // The first advert of a master may go out before its device is up.
    let adverts = adverts_of_masters(&seen);
    let by_vmac = adverts
        .iter()
        .filter(|line| line.contains(&format!("{MAC_51} >")))
        .count();
    assert!(
        adverts.len() > 6 && adverts.len() - by_vmac <= 3,
        "{by_vmac} of {}\n{seen}",
        adverts.len()
    );
    end(first);
    end(second);
}

#[test]
fn what_a_dead_daemon_has_left_is_taken_over_and_what_it_is_not_told_to_have_goes() {
    let routers = Routers::build("vrrp-vmac-left");
    let (vip, director) = (routers.vip(0), routers.director(0));
    let setting = |key: &str| {
        director
            .sysctl(&format!("net/ipv4/conf/eth0/{key}"))
            .expect("a setting")
    };
    let before = [setting("arp_ignore"), setting("arp_announce")];
    let killed = || {
        let daemon = routers.start(0, &with(&routers, 150, ""), &[]);
        wait_until("it is master", SOON, || routers.has(0, vip)).expect("in time");
        daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
        drop(daemon);
        assert!(
            is_up(&routers, 0, "vrrp.51") && routers.has(0, vip),
            "a killed daemon takes nothing with it"
        );
    };
    let number = || {
        let shown = device(&routers, 0, "vrrp.51").expect("a device");
        shown.split(':').next().map(str::to_owned)
    };
    killed();
    let left = number();
    assert_eq!([setting("arp_ignore"), setting("arp_announce")], ["1", "2"]);
    let mut daemon = routers.start(0, &with(&routers, 150, ""), &["--keep"]);
    daemon.wait_for("virtual router VI_1 is master");
    assert_eq!(number(), left, "it is the same");
    assert_eq!(ipvsd(director, &["upgrade"]).code(), 0);
    daemon.wait_for("the process before this one was master until just now");
    assert_eq!(number(), left, "and after an upgrade");
    end(daemon);
    assert!(is_up(&routers, 0, "vrrp.51"), "--keep leaves it");
    assert_eq!(number(), left);

    let second = routers.start(1, &with(&routers, 200, ""), &[]);
    let daemon = routers.start(0, &with(&routers, 150, ""), &[]);
    wait_until("the left-over address goes where there is another master", SOON, || {
        !routers.has(0, vip) && !is_up(&routers, 0, "vrrp.51")
    })
    .expect("in time");
    assert_eq!(number(), left);
    end(second);
    routers.wait_for_master("it is master again", 0, vip);
    end(daemon);
    assert!(device(&routers, 0, "vrrp.51").is_none());
    assert_eq!([setting("arp_ignore"), setting("arp_announce")], before);

    killed();
    let daemon = routers.start(0, "virtual_server = []", &[]);
    wait_for_device(&routers, "nobody wants it any more", 0, "vrrp.51", false);
    wait_until("the settings are as before", SOON, || {
        [setting("arp_ignore"), setting("arp_announce")] == before
    })
    .expect("in time");
    drop(daemon);

    // Another number under the same name: it is ours and made anew.
    killed();
    let text = with(&routers, 150, "").replace("virtual_router_id = 51", "virtual_router_id = 52");
    let text = text.replace("use_vmac = true", "use_vmac = \"vrrp.51\"");
    let daemon = routers.start(0, &text, &[]);
    wait_until("it has the other MAC", SOON, || {
        device(&routers, 0, "vrrp.51").is_some_and(|shown| shown.contains("00:00:5e:00:01:34"))
    })
    .expect("in time");
    wait_until("it is master", SOON, || routers.has(0, vip)).expect("in time");
    configure(director, &text.replace("\"vrrp.51\"", "\"other\""));
    assert_eq!(ipvsd(director, &["reload"]).code(), 0);
    wait_until("another name", SOON, || places(&routers, 0, vip) == ["other"]).expect("in time");
    wait_for_device(&routers, "the old one is gone", 0, "vrrp.51", false);
    let log = daemon.process.log();
    assert!(!log.contains("ERROR"), "{log}");
    configure(director, &text.replace("use_vmac = \"vrrp.51\"", ""));
    assert_eq!(ipvsd(director, &["reload"]).code(), 0);
    wait_until("none", SOON, || places(&routers, 0, vip) == [routers.device(0)]).expect("in time");
    wait_for_device(&routers, "it is gone as well", 0, "other", false);
    end(daemon);
}

#[test]
fn somebody_elses_device_is_left_alone_and_ours_is_put_back() {
    let routers = Routers::build("vrrp-vmac-foreign");
    let (vip, director) = (routers.vip(0), routers.director(0));
    let foreign = "link add link eth0 name vrrp.51 address 00:00:5e:00:01:33 type macvlan mode bridge";
    director.ip(&[foreign]).expect("ip");
    let before = device(&routers, 0, "vrrp.51");
    let mut daemon = routers.start(0, &with(&routers, 150, ""), &[]);
    daemon.wait_for("there is an interface of that name that ipvsd has not made");
    sleep(Duration::from_secs(4));
    assert_eq!(device(&routers, 0, "vrrp.51"), before);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(
        status.contains("fault") && status.contains("ip link del vrrp.51"),
        "{status}"
    );
    director.ip(&["link del vrrp.51"]).expect("ip");
    wait_until("the name is free", SOON, || routers.has(0, vip)).expect("in time");
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains(&format!("virtual MAC: vrrp.51 {MAC_51}")), "{status}");

    // Taken away, taken down, and moved: within a second it is there again.
    for command in ["link del vrrp.51", "link set vrrp.51 down"] {
        sleep(Duration::from_secs(2));
        director.ip(&[command]).expect("ip");
        wait_until(command, SOON, || is_up(&routers, 0, "vrrp.51") && routers.has(0, vip))
            .unwrap_or_else(|problem| panic!("{problem}: {}", daemon.process.log()));
    }
    let log = daemon.process.log();
    assert_eq!(log.matches("is backup, was master").count(), 0, "{log}");

    // The interface below goes and comes back: it waits, and says so.
    director.ip(&["link set eth0 down"]).expect("ip");
    daemon.wait_for("is fault, was master");
    director.ip(&["link set eth0 up"]).expect("ip");
    wait_until("it is back", SOON, || {
        is_up(&routers, 0, "vrrp.51") && routers.has(0, vip)
    })
    .expect("in time");

    // Somebody else has the virtual MAC.
    end(daemon);
    director
        .ip(&[&foreign.replace("vrrp.51", "ka.51"), "link set ka.51 up"])
        .expect("ip");
    let mut daemon = routers.start(0, &with(&routers, 150, ""), &[]);
    daemon.wait_for("ka.51 on the same interface has the virtual MAC");
    director.ip(&["link del ka.51"]).expect("ip");
    wait_until("it is free", SOON, || routers.has(0, vip)).expect("in time");
    end(daemon);
}

#[test]
fn both_versions_and_families_have_it() {
    let routers = Routers::build("vrrp-vmac-families");
    let (vip, vip6) = (routers.vip(0), routers.vip6(0));
    // Answers go out by another device than questions come in by.
    for index in [0, 1] {
        let director = routers.director(index);
        director
            .set_sysctl("net/ipv4/conf/all/rp_filter", "1")
            .expect("a setting");
    }
    let local: IpAddr = "fe80::5e:100".parse().expect("an address");
    let two = format!("version = 2\npassword = \"secret\"\nvirtual_address = \"{vip}/24\"");
    let six = format!("{ADVERTS}\nvirtual_address = [\"{local}/64\", \"{vip6}/64\"]");
    let base = format!("{ADVERTS}\nvmac_xmit_base = true\nvirtual_address = \"{vip}/24\"");
    for (name, more, device, mac, addresses, by_vmac) in [
        ("version 2", &two, "vrrp.51", MAC_51, vec![vip], true),
        ("IPv6", &six, "vrrp6.51", "00:00:5e:00:02:33", vec![vip6], true),
        ("by the interface", &base, "vrrp.51", MAC_51, vec![vip], false),
    ] {
        let segment = watch_segment(&routers, "proto 112 or ip6 proto 112");
        let text = |priority: u8| {
            format!(
                "virtual_server = []\n[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\n\
                 priority = {priority}\nuse_vmac = true\n{more}\n"
            )
        };
        let first = routers.start(0, &text(150), &[]);
        let second = routers.start(1, &text(100), &[]);
        for (what, index) in [("the first one", 0), ("the second one", 1)] {
            for address in &addresses {
                routers.wait_for_master(&format!("{name}: {what}"), index, *address);
                assert_eq!(places(&routers, index, *address), [device], "{name}");
                wait_until(&format!("{name}: {what} answers"), SOON, || pings(&routers, *address)).expect("in time");
                assert_eq!(routers.learnt(*address).as_deref(), Some(mac), "{name}: {what}");
            }
            let shown = routers
                .director(index)
                .exec_ok(&["ip", "-o", "address", "show", "dev", device])
                .expect("ip");
            let wanted = if name == "IPv6" { 2 } else { 1 };
            assert_eq!(shown.lines().count(), wanted, "no other address: {shown}");
            if index == 0 {
                sleep(Duration::from_secs(4));
                let log = second.process.log();
                assert!(!log.contains("is master, was"), "{name}: {log}");
                first.process.signal(Signal::SIGTERM).expect("a signal");
            }
        }
        drop(first);
        let log = end(second);
        assert!(!complains(&log), "{name}: {log}");
        sleep(Duration::from_millis(500));
        let seen = segment.log();
        let adverts = adverts_of_masters(&seen);
        let with_mac = adverts.iter().filter(|line| line.contains(&format!("{mac} >"))).count();
        match by_vmac {
            true => assert!(adverts.len() > 6 && adverts.len() - with_mac <= 2, "{name}: {seen}"),
            false => assert!(adverts.len() > 6 && with_mac == 0, "{name}: {seen}"),
        }
    }
}
