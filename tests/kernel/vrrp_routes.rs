//! Routes and rules that are where a virtual router is master.

use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Segment, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{ADVERTS, Own, Routers, SOON};
use crate::site::{Daemon, configure, ipvsd};

/// What is in the table 100 of a director and which rules lead there, of both families, without what the kernel adds.
fn found(routers: &Routers, index: usize) -> Vec<String> {
    let director = routers.director(index);
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        // A table that has never had anything in it is an error.
        let routes = director
            .exec(&["ip", family, "route", "show", "table", "100"])
            .expect("ip");
        found.extend(routes.stdout.lines().map(|line| words_of(&format!("{family} {line}"))));
        let rules = director.exec_ok(&["ip", family, "rule", "show"]).expect("ip");
        let ours = rules.lines().filter(|line| line.contains("lookup 100"));
        found.extend(ours.map(|line| words_of(&format!("{family} {line}"))));
    }
    found
}

/// Single blanks, and nothing that iproute2 says in one version only.
fn words_of(line: &str) -> String {
    let (words, pref) = line.split_once(" pref ").unwrap_or((line, ""));
    debug_assert!(pref.len() < 10, "{line}");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the directors are told to have: a route and a rule of each family, and a default route with another metric.
struct Wanted {
    text: String,
    found: Vec<String>,
}

fn wanted(routers: &Routers, metric: u32) -> Wanted {
    wanted_with(routers, metric, ["blackhole", "unreachable"], 1400)
}

fn wanted_with(routers: &Routers, metric: u32, [kind, kind6]: [&str; 2], mtu: u32) -> Wanted {
    let client = routers.lab.client(0);
    let (via, via6) = (client.address4(Segment::Client), client.address6(Segment::Client));
    let (vip, vip6, device) = (routers.vip(0), routers.vip6(0), routers.device(0));
    let text = format!(
        "virtual_address = [\"{vip}/32\", {{ address = \"{vip6}/128\", excluded = true }}]\n\
         routes = [\n\
           {{ to = \"198.51.100.0/24\", via = \"{via}\", device = \"{device}\", source = \"{vip}\", table = 100, metric = 10 }},\n\
           {{ to = \"0.0.0.0/0\", via = \"{via}\", table = 100, metric = {metric} }},\n\
           {{ to = \"2001:db8:77::/64\", via = \"{via6}\", device = \"{device}\", source = \"{vip6}\", table = 100 }},\n\
           {{ to = \"198.51.100.0/25\", via = \"203.0.113.1\", device = \"{device}\", onlink = true, mtu = {mtu}, table = 100 }},\n\
           {{ to = \"198.51.100.128/25\", type = \"{kind}\", table = 100 }},\n\
           {{ to = \"2001:db8:78::/64\", type = \"{kind6}\", table = 100 }},\n\
           {{ to = \"2001:db8:79::/64\", via = \"2001:db8:ff::1\", device = \"{device}\", onlink = true, mtu = {mtu}, table = 100 }},\n\
         ]\n\
         rules = [\n\
           {{ from = \"{vip}\", table = 100, priority = 1000 }},\n\
           {{ from = \"{vip6}\", fwmark = 7, table = 100, priority = 1000 }},\n\
           {{ fwmark = 0x10, fwmask = 0xffff00f0, table = 100, priority = 1001 }},\n\
         ]\n"
    );
    let ours = |line: String| format!("{line} proto 77");
    let mut found = vec![
        ours(format!("-4 default via {via} dev {device}")) + &format!(" metric {metric}"),
        ours(format!("-4 198.51.100.0/24 via {via} dev {device}")) + &format!(" src {vip} metric 10"),
        format!("-4 1000: from {vip} lookup 100 proto 77"),
        ours(format!("-6 2001:db8:77::/64 via {via6} dev {device}")) + &format!(" src {vip6} metric 1024"),
        ours(format!("-4 198.51.100.0/25 via 203.0.113.1 dev {device}")) + &format!(" onlink mtu {mtu}"),
        ours(format!("-4 {kind} 198.51.100.128/25")),
        ours(format!("-6 {kind6} 2001:db8:78::/64 dev lo")) + " metric 1024",
        ours(format!("-6 2001:db8:79::/64 via 2001:db8:ff::1 dev {device}"))
            + &format!(" metric 1024 onlink mtu {mtu}"),
        "-4 1001: from all fwmark 0x10/0xffff00f0 lookup 100 proto 77".to_owned(),
        format!("-6 1000: from {vip6} fwmark 0x7 lookup 100 proto 77"),
    ];
    found.sort();
    Wanted { text, found }
}

fn with(routers: &Routers, priority: u8, more: &str) -> String {
    let more = format!("{ADVERTS}\n{more}");
    routers.instance(0, Own { priority, more: &more })
}

/// Waits until a director has exactly these.
fn wait_for(routers: &Routers, what: &str, index: usize, wanted: &[String]) {
    let sorted = || {
        let mut found = found(routers, index);
        found.sort();
        found
    };
    wait_until(what, SOON, || sorted() == wanted).unwrap_or_else(|error| {
        let events = ipvsd(routers.director(index), &["events"]).stdout;
        panic!(
            "{error}: director {index} has {:#?}\nwanted {wanted:#?}\n{events}",
            sorted()
        )
    });
}

/// Waits until one director has them and the other one none.
fn wait_for_both(routers: &Routers, what: &str, index: usize, wanted: &[String]) {
    wait_for(routers, what, index, wanted);
    wait_for(routers, what, 1 - index, &[]);
}

fn reload(routers: &Routers, index: usize, text: &str) {
    let director = routers.director(index);
    configure(director, text);
    let reloaded = ipvsd(director, &["reload"]);
    assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
}

fn end(mut daemon: Daemon) {
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
}

/// How often the log of a daemon speaks of a route or rule that it has put in or taken out.
fn changes(daemon: &Daemon) -> usize {
    let log = daemon.process.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("route ") || line.contains("rule "));
    lines
        .filter(|line| line.ends_with(" added") || line.ends_with(" taken out"))
        .count()
}

#[test]
fn routes_and_rules_are_where_the_master_is_and_nowhere_else() {
    let routers = Routers::build("vrrp-routes");
    let all = wanted(&routers, 20);
    let first = with(&routers, 150, &all.text);
    let second = with(&routers, 100, &all.text);
    let one = routers.start(0, &first, &[]);
    let two = routers.start(1, &second, &[]);
    wait_for_both(&routers, "the first one has them", 0, &all.found);
    let shown = ipvsd(routers.director(0), &["status"]).stdout;
    assert!(
        shown.contains("vrrp_instance VI_1 route: 198.51.100.0/24 via "),
        "{shown}"
    );
    assert!(shown.contains("vrrp_instance VI_1 rule: from "), "{shown}");

    end(one);
    wait_for_both(&routers, "they go with a clean stop", 1, &all.found);
    let one = routers.start(0, &first, &[]);
    wait_for_both(&routers, "they return", 0, &all.found);
    assert_eq!(changes(&one), all.found.len(), "{}", one.process.log());

    let director = routers.director(0);
    director
        .ip(&["route del 198.51.100.0/24 table 100", "rule del priority 1000"])
        .expect("ip");
    wait_for(&routers, "what somebody takes out comes back", 0, &all.found);
    let before = changes(&one);
    reload(&routers, 0, &with(&routers, 151, &all.text));
    sleep(Duration::from_secs(2));
    assert_eq!(found(&routers, 0).len(), all.found.len());
    assert_eq!(changes(&one), before, "{}", one.process.log());

    let other = wanted(&routers, 30);
    reload(&routers, 0, &with(&routers, 151, &other.text));
    wait_for(&routers, "another metric", 0, &other.found);
    for (kinds, mtu) in [(["prohibit", "blackhole"], 1400), (["unreachable", "prohibit"], 1300)] {
        let other = wanted_with(&routers, 30, kinds, mtu);
        reload(&routers, 0, &with(&routers, 151, &other.text));
        wait_for(&routers, "another type or mtu", 0, &other.found);
        sleep(Duration::from_secs(2));
        assert_eq!(found(&routers, 0).len(), other.found.len(), "and that stays");
    }
    let bare = with(&routers, 151, &format!("virtual_address = [\"{}/32\"]", routers.vip(0)));
    reload(&routers, 0, &bare);
    wait_for(&routers, "none any more", 0, &[]);
    reload(&routers, 0, &first);
    wait_for(&routers, "all again", 0, &all.found);

    one.process.signal_alone(Signal::SIGKILL).expect("a signal");
    drop(one);
    wait_for(&routers, "the second one takes over from a dead daemon", 1, &all.found);
    assert_eq!(found(&routers, 0).len(), all.found.len(), "which takes nothing with it");
    let one = routers.start(0, &first, &[]);
    wait_for_both(&routers, "the first one has them again", 0, &all.found);
    end(two);
    end(one);
    wait_for_both(&routers, "a clean end leaves nothing", 0, &[]);
}

#[test]
fn routes_and_rules_that_a_dead_daemon_has_left_go_when_nobody_wants_them() {
    let routers = Routers::build("vrrp-route-orphan");
    let all = wanted(&routers, 20);
    let bare = with(&routers, 150, &format!("virtual_address = [\"{}/32\"]", routers.vip(0)));
    for after in ["virtual_server = []", &bare] {
        let daemon = routers.start(0, &with(&routers, 150, &all.text), &[]);
        wait_for(&routers, "they are there", 0, &all.found);
        daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
        drop(daemon);
        assert_eq!(
            found(&routers, 0).len(),
            all.found.len(),
            "a killed daemon takes nothing with it"
        );
        let daemon = routers.start(0, after, &[]);
        wait_for(&routers, "they are gone", 0, &[]);
        end(daemon);
    }
}

#[test]
fn what_is_somebody_elses_stays() {
    let routers = Routers::build("vrrp-route-foreign");
    let director = routers.director(0);
    let (vip, device) = (routers.vip(0), routers.device(0));
    let via = routers.lab.client(0).address4(Segment::Client);
    director
        .ip(&[
            &format!("route add 198.51.100.0/24 dev {device} table 100 metric 10 proto static"),
            &format!("route add 203.0.113.0/24 via {via} dev {device} table 100 proto static"),
            &format!("rule add from {vip} table 100 priority 1000"),
        ])
        .expect("ip");
    let before = found(&routers, 0);
    assert_eq!(before.len(), 3, "{before:?}");
    let text = format!(
        "virtual_address = [\"{vip}/32\"]\nroutes = [\n\
         {{ to = \"198.51.100.0/24\", via = \"{via}\", table = 100, metric = 10 }},\n\
         {{ to = \"203.0.113.0/24\", via = \"{via}\", table = 100 }},\n\
         {{ to = \"10.0.0.0/8\", via = \"203.0.113.99\", table = 100 }},\n]\n\
         rules = [{{ from = \"{vip}\", table = 100, priority = 1000 }}]"
    );
    let mut daemon = routers.start(0, &with(&routers, 150, &text), &[]);
    daemon.wait_for("somebody else's is in its place, 198.51.100.0/24 dev");
    daemon
        .wait_for("cannot add route 10.0.0.0/8 via 203.0.113.99 table 100: its next hop is in no network of this host");
    sleep(Duration::from_secs(3));
    assert_eq!(found(&routers, 0), before);
    let told = daemon.process.log().matches("somebody else's is in its place").count();
    assert_eq!(told, 1, "{}", daemon.process.log());
    director.ip(&["route del 198.51.100.0/24 table 100"]).expect("ip");
    let place = format!("-4 198.51.100.0/24 via {via} dev {device} proto 77 metric 10");
    wait_until("the place is free", SOON, || found(&routers, 0).contains(&place))
        .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", found(&routers, 0), daemon.process.log()));
    end(daemon);
    let left: Vec<_> = before
        .into_iter()
        .filter(|line| !line.contains("198.51.100.0"))
        .collect();
    assert_eq!(
        found(&routers, 0),
        left,
        "an equal one that was there before is not ours"
    );
}
