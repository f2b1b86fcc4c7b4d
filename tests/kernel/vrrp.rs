//! Two ipvsd that share an address: who has it, when it moves, and what clients notice.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Prober, Segment, Wish, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{ADVERTS, Own, Routers, SOON, measured, own, spacing};
use crate::site::{configure, ipvsd};

#[test]
fn the_higher_priority_has_the_address_and_gets_it_back_after_a_kill() {
    let routers = Routers::build("vrrp-kill");
    let vip = routers.vip(0);
    let _server = routers.serve();
    let texts = [150, 100].map(own);
    let text = |index: usize| routers.instance(index, texts[index]);
    let first = routers.start(0, &text(0), &[]);
    let mut second = routers.start(1, &text(1), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    let client = ipvsd_lab::Client::new(routers.lab.client(0));
    client
        .wait_for_answer(SocketAddr::new(vip, 80), "behind", SOON)
        .expect("an answer by way of the master");
    assert_eq!(routers.learnt(vip), Some(routers.mac(0)));

    // The kernel goes on with the address, the other one takes it over, and neighbours go there.
    first.process.signal_alone(Signal::SIGKILL).expect("a signal");
    wait_until("the lower one takes over", SOON, || routers.has(1, vip)).expect("in time");
    wait_until("neighbours go there", SOON, || {
        routers.learnt(vip) == Some(routers.mac(1))
    })
    .expect("in time");
    assert!(routers.has(0, vip), "a killed daemon takes nothing with it");
    // Both have it now, and that is said.
    let (device, mac) = (routers.device(1), routers.mac(0));
    second.wait_for(&format!(
        "virtual router VI_1 has taken {vip} over on {device}, and another host there still answers for it, {mac}"
    ));
    wait_until("neighbours still go there", SOON, || {
        routers.learnt(vip) == Some(routers.mac(1))
    })
    .expect("in time");

    // The daemon that returns hears the other one and lets go of what was left, then takes it back.
    let returned = routers.start(0, &text(0), &[]);
    routers.wait_for_master("it comes back", 0, vip);
    wait_until("neighbours come back", SOON, || {
        routers.learnt(vip) == Some(routers.mac(0))
    })
    .expect("in time");
    let log = returned.process.log();
    assert!(log.contains("virtual router VI_1 is master, was backup"), "{log}");
    assert!(!log.contains("the address is not on this host"), "{log}");
    let events = ipvsd(routers.director(1), &["events"]).stdout;
    assert!(events.contains("is master with priority 150"), "{events}");
    let status = ipvsd(routers.director(1), &["status"]).stdout;
    assert!(status.contains("VI_1") && status.contains("backup"), "{status}");
}

#[test]
fn an_ipv6_address_that_a_killed_daemon_has_left_is_named_and_one_that_has_gone_is_not() {
    let routers = Routers::build("vrrp-kill-6");
    let vip = routers.vip6(0);
    let text = |index: usize| {
        format!(
            "virtual_server = []\n[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 7\n\
             priority = {}\n{ADVERTS}\nvirtual_address = [\"{vip}/64\"]\n",
            routers.device(index),
            [150, 100][index],
        )
    };
    let first = routers.start(0, &text(0), &[]);
    let mut second = routers.start(1, &text(1), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    first.process.signal_alone(Signal::SIGKILL).expect("a signal");
    let (device, mac) = (routers.device(1), routers.mac(0));
    second.wait_for(&format!(
        "has taken {vip} over on {device}, and another host there still answers for it, {mac}"
    ));
    let events = ipvsd(routers.director(1), &["events"]).stdout;
    assert!(events.contains("still answers for it"), "{events}");
    assert!(routers.has(1, vip), "the question does it no harm");

    // A host that is away as a whole answers for nothing.
    second.process.signal(Signal::SIGTERM).expect("a signal");
    second.process.wait(SOON).expect("it ends");
    let first = routers.start(0, &text(0), &[]);
    let second = routers.start(1, &text(1), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    let left = routers.director(0);
    first.process.signal_alone(Signal::SIGKILL).expect("a signal");
    left.link_down(Segment::Client).expect("the cable");
    wait_until("the lower one takes over", SOON, || routers.has(1, vip)).expect("in time");
    sleep(Duration::from_secs(3));
    let log = second.process.log();
    assert!(!log.contains("still answers for it"), "{log}");
}

#[test]
fn a_clean_stop_and_a_hand_over_cost_clients_next_to_nothing() {
    /// A guest that stands still for a moment looks like an outage; one that does so every time is none.
    const ROUNDS: usize = 3;
    /// With addresses that are dropped at once it would be the skew time: 305 ms.
    const LONGEST: Duration = Duration::from_millis(250);
    let routers = Routers::build("vrrp-stop");
    let vip = routers.vip(0);
    let _server = routers.serve();
    // Without sloppy_tcp a handshake in the very moment of the move is nobody's, and reset.
    let text = |index: usize, priority| {
        let instance = routers
            .instance(index, own(priority))
            .replace("forward", "scheduler = \"mh\"\nforward");
        format!("{instance}[ipvs]\nsysctl = {{ sloppy_tcp = 1 }}\n")
    };
    let mut first = routers.start(0, &text(0, 150), &[]);
    let second = routers.start(1, &text(1, 100), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    let address = SocketAddr::new(vip, 80);
    let client = ipvsd_lab::Client::new(routers.lab.client(0));
    client.wait_for_answer(address, "behind", SOON).expect("an answer");
    let (every, timeout) = (Duration::from_millis(20), Duration::from_millis(500));
    let gap = |what: &str, happens: &mut dyn FnMut()| {
        let prober =
            Prober::start(routers.lab.client(0), address, every, timeout, Duration::from_secs(60)).expect("a prober");
        sleep(Duration::from_millis(500));
        happens();
        sleep(Duration::from_secs(1));
        let report = prober.stop().expect("a report");
        let (gap, failures) = (report.longest_gap(), report.failures().len());
        measured(format_args!(
            "{what} at adverts of 500 ms: longest gap {gap:?}, {failures} of {} failed",
            report.attempts.len()
        ));
        gap
    };

    let mut gaps = Vec::new();
    for round in 0..2 * ROUNDS {
        let (from, to) = (round % 2, (round + 1) % 2);
        gaps.push(gap("handed over by hand", &mut || {
            let handed = ipvsd(routers.director(from), &["vrrp", "step-down", "VI_1"]);
            assert_eq!(handed.code(), 0, "{}", handed.stderr);
            routers.wait_for_master("the other one has it", to, vip);
        }));
        if round == 0 {
            // The higher one does not take it back from whom it has handed it to.
            sleep(Duration::from_secs(5));
            assert!(routers.has(1, vip) && !routers.has(0, vip));
        }
    }
    assert!(gaps.iter().min() < Some(&LONGEST), "{gaps:?}");

    let mut gaps = Vec::new();
    for _round in 0..ROUNDS {
        gaps.push(gap("clean stop", &mut || {
            first.process.signal(Signal::SIGTERM).expect("a signal");
            first.process.wait(SOON).expect("it ends");
            assert!(!routers.has(0, vip), "a clean end leaves nothing");
            assert!(routers.has(1, vip));
        }));
        first = routers.start(0, &text(0, 150), &[]);
        routers.wait_for_master("it takes it back", 0, vip);
    }
    assert!(gaps.iter().min() < Some(&LONGEST), "{gaps:?}");

    // Killed, it loses nothing: its kernel forwards until the other one does.
    let client = routers.lab.client(0);
    let limit = Duration::from_secs(60);
    let prober = Prober::wishing(Wish::Connection, client, address, every, Duration::from_secs(5), limit);
    let prober = prober.expect("a prober");
    sleep(Duration::from_millis(500));
    first.process.signal_alone(Signal::SIGKILL).expect("a signal");
    first.process.wait(SOON).expect("it is gone");
    wait_until("the other one takes over", SOON, || routers.has(1, vip)).expect("in time");
    assert!(routers.has(0, vip), "a killed daemon takes nothing with it");
    routers.wait_until_learnt("the client goes to the other one", vip, 1);
    sleep(Duration::from_secs(1));
    let _first = routers.start(0, &text(0, 150), &[]);
    routers.wait_for_master("it takes it back", 0, vip);
    routers.wait_until_learnt("the client comes back", vip, 0);
    sleep(Duration::from_millis(500));
    let report = prober.stop().expect("a report");
    measured(format_args!(
        "killed and started again at adverts of 500 ms: longest gap {:?}, {} of {} failed",
        report.longest_gap(),
        report.failures().len(),
        report.attempts.len()
    ));
    assert!(
        report.failures().is_empty() && report.attempts.len() > 50,
        "{report}\n{}",
        second.process.log()
    );

    let nobody = ipvsd(routers.director(1), &["vrrp", "step-down", "VI_2"]);
    assert!(
        nobody.code() == 1 && nobody.stderr.contains("known are: VI_1"),
        "{}",
        nobody.stderr
    );
}

#[test]
fn without_preemption_the_one_that_returns_waits_its_turn() {
    let routers = Routers::build("vrrp-nopreempt");
    let vip = routers.vip(0);
    let more = format!("{ADVERTS}\npreempt = false");
    let text = |index: usize, priority| routers.instance(index, Own { priority, more: &more });
    let _second = routers.start(1, &text(1, 100), &[]);
    routers.wait_for_master("the only one has it", 1, vip);
    let _first = routers.start(0, &text(0, 150), &[]);
    sleep(Duration::from_secs(6));
    routers.wait_for_master("it stays there", 1, vip);
    // A cable that is pulled is noticed, and told.
    routers.director(1).link_down(Segment::Client).expect("the cable");
    wait_until("the other one takes over", SOON, || routers.has(0, vip)).expect("in time");
    wait_until("nothing is left", SOON, || !routers.has(1, vip)).expect("in time");
    let status = ipvsd(routers.director(1), &["status"]).stdout;
    assert!(
        status.contains("fault") && status.contains("waits: interface"),
        "{status}"
    );
    routers.director(1).link_up(Segment::Client).expect("the cable");
    sleep(Duration::from_secs(4));
    routers.wait_for_master("it stays with the other one", 0, vip);
}

#[test]
fn an_address_that_somebody_takes_away_is_back_at_once_and_a_reload_moves_nothing() {
    let routers = Routers::build("vrrp-repair");
    let (vip, more) = (routers.vip(0), routers.vip(1));
    let text = routers.instance(0, own(150));
    let mut daemon = routers.start(0, &text, &[]);
    wait_until("it has the address", SOON, || routers.has(0, vip)).expect("in time");
    let director = routers.director(0);
    let device = routers.device(0).to_owned();
    director
        .ip(&[&format!("address del {vip}/32 dev {device}")])
        .expect("ip");
    wait_until("it is back", Duration::from_secs(5), || routers.has(0, vip)).expect("in time");

    let second = text.replace(ADVERTS, &format!("{ADVERTS}\nvirtual_address = [\"{more}/24\"]"));
    configure(director, &second);
    let reloaded = ipvsd(director, &["reload"]);
    assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
    wait_until("the second address is there", SOON, || routers.has(0, more)).expect("in time");
    configure(director, &text);
    let reloaded = ipvsd(director, &["reload"]);
    assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
    wait_until("it is gone", SOON, || !routers.has(0, more)).expect("in time");
    assert!(routers.has(0, vip));
    let log = daemon.process.log();
    assert_eq!(log.matches("virtual router VI_1 is").count(), 2, "{log}");

    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    assert!(!routers.has(0, vip), "nobody has followed, and nothing is left");
}

#[test]
fn a_process_that_stood_still_is_master_no_longer() {
    let routers = Routers::build("vrrp-pause");
    let vip = routers.vip(0);
    let mut first = routers.start(0, &routers.instance(0, own(150)), &[]);
    let _second = routers.start(1, &routers.instance(1, own(100)), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    first.process.signal_alone(Signal::SIGSTOP).expect("a signal");
    wait_until("the lower one takes over", SOON, || routers.has(1, vip)).expect("in time");
    first.process.signal_alone(Signal::SIGCONT).expect("a signal");
    first.wait_for("this process stood still for too long");
    routers.wait_for_master("it takes it back, in order", 0, vip);
}

/// Every way of speaking that two directors can have in common.
#[test]
fn however_they_speak_one_of_them_has_the_address() {
    let routers = Routers::build("vrrp-ways");
    let [one, two] = [0, 1].map(|index| routers.address(index));
    let peers = |index: usize| format!("peers = [\"{}\"]", if index == 0 { two } else { one });
    let (vip, vip6) = (routers.vip(0), routers.vip6(0));
    let plain = format!("{ADVERTS}\nvirtual_address = [\"{vip}/24\"]");
    // A host that does not answer and one that is not there are no reason to be silent to the others.
    let several = |index: usize| {
        let (silent, nobody) = (routers.lab.real_server(0).address4(Segment::Server), routers.vip(9));
        let other = if index == 0 { two } else { one };
        format!("{plain}\npeers = [\"{nobody}\", \"{silent}\", \"{other}\"]")
    };
    let addresses6 = [0, 1].map(|index| routers.director(index).address6(Segment::Client));
    let unicast6 = |index: usize| {
        let [own, other] = [addresses6[index], addresses6[1 - index]];
        let silent = routers.lab.real_server(0).address6(Segment::Server);
        format!(
            "{ADVERTS}\nsource_address = \"{own}\"\npeers = [\"{other}\", \"{silent}\"]\n\
             virtual_address = [\"{vip6}/64\"]"
        )
    };
    let ways: [(&str, [String; 2], _); 7] = [
        ("version 3", [plain.clone(), plain.clone()], vip),
        (
            "one form of the checksum and the other",
            [plain.clone(), format!("{plain}\nchecksum = \"rfc9568\"")],
            vip,
        ),
        ("unicast", [0, 1].map(|index| format!("{plain}\n{}", peers(index))), vip),
        ("unicast with several peers", [0, 1].map(several), vip),
        (
            "version 2 with a password",
            [0, 1].map(|_| format!("version = 2\npassword = \"secret\"\nvirtual_address = [\"{vip}/24\"]")),
            vip,
        ),
        (
            "IPv6",
            [0, 1].map(|_| format!("{ADVERTS}\nvirtual_address = [\"{vip6}/64\"]")),
            vip6,
        ),
        ("IPv6 unicast with several peers", [0, 1].map(unicast6), vip6),
    ];
    for (what, settings, address) in ways {
        let text = |index: usize| {
            format!(
                "virtual_server = []\n[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 7\n\
                 priority = {}\n{}\n",
                routers.device(index),
                [150, 100][index],
                settings[index]
            )
        };
        let mut first = routers.start(0, &text(0), &[]);
        let mut second = routers.start(1, &text(1), &[]);
        routers.wait_for_master(what, 0, address);
        // Long enough for the other one to have missed every advert if it did not understand them.
        sleep(Duration::from_secs(5));
        routers.wait_for_master(what, 0, address);
        let log = second.process.log();
        assert!(!log.contains("is master") && !log.contains("WARN"), "{what}: {log}");
        wait_until(what, SOON, || routers.pings(address)).expect("an answer");
        assert_eq!(routers.learnt(address), Some(routers.mac(0)), "{what}");
        first.process.signal(Signal::SIGTERM).expect("a signal");
        first.process.wait(SOON).expect("it ends");
        routers.wait_for_master(what, 1, address);
        // Nobody has asked: the client was told.
        routers.wait_until_learnt(what, address, 1);
        let log = first.process.log();
        assert!(!log.contains("WARN"), "{what}: {log}");
        second.process.signal(Signal::SIGTERM).expect("a signal");
        second.process.wait(SOON).expect("it ends");
    }
}

#[test]
fn an_upgrade_and_a_quick_restart_keep_the_role() {
    let routers = Routers::build("vrrp-keep");
    let vip = routers.vip(0);
    let slow = |priority| Own {
        priority,
        more: "advert_int = \"2s\"",
    };
    let text = routers.instance(0, slow(150));
    let mut first = routers.start(0, &text, &["--keep"]);
    routers.wait_for_master("the only one has it", 0, vip);
    let second = routers.start(1, &routers.instance(1, slow(100)), &[]);
    let upgraded = ipvsd(routers.director(0), &["upgrade"]);
    assert_eq!(upgraded.code(), 0, "{}", upgraded.stderr);
    first.wait_for("the process before this one was master until just now");
    first.process.signal(Signal::SIGTERM).expect("a signal");
    first.process.wait(SOON).expect("it ends");
    let mut again = routers.start(0, &text, &["--keep"]);
    again.wait_for("the process before this one was master until just now");
    sleep(Duration::from_secs(8));
    routers.wait_for_master("it has it still", 0, vip);
    let log = second.process.log();
    assert!(!log.contains("is master, was"), "{log}");
}

/// When a line of the log was written, without the hour: `2026-01-31T12:34:56.789012Z  INFO ...`.
fn second_of_hour(line: &str) -> Option<f64> {
    let time = line.split_once('T')?.1.split_once('Z')?.0;
    let mut parts = time.split(':').skip(1).map(str::parse::<f64>);
    Some(parts.next()?.ok()? * 60.0 + parts.next()?.ok()?)
}

#[test]
fn an_upgrade_leaves_no_advert_out() {
    const TIMES: usize = 5;
    /// One second, and what a guest that stands still for a moment adds.
    const LONGEST: Duration = Duration::from_millis(1_400);
    let routers = Routers::build("vrrp-upgrade");
    let vip = routers.vip(0);
    let text = |index: usize, priority| {
        let more = "advert_int = \"1s\"";
        routers.instance(index, Own { priority, more })
    };
    let first = routers.start(0, &text(0, 150), &[]);
    routers.wait_for_master("the only one has it", 0, vip);
    let second = routers.start(1, &text(1, 100), &[]);
    let adverts = routers.watch_adverts(0);
    for _ in 0..TIMES {
        let upgraded = ipvsd(routers.director(0), &["upgrade"]);
        assert_eq!(upgraded.code(), 0, "{}", upgraded.stderr);
        sleep(Duration::from_millis(1_300));
    }
    let log = first.process.log();
    let resumed = "the process before this one was master until just now";
    assert_eq!(log.matches(resumed).count(), TIMES, "{log}");
    let log = second.process.log();
    assert!(!log.contains("is master, was"), "{log}");
    // From the last word of one process to the first one of the next.
    let log = first.process.log();
    let said = |text: &str| {
        let lines = log.lines().filter(|line| line.contains(text));
        lines.filter_map(second_of_hour).collect::<Vec<_>>()
    };
    let (left, came) = (said(" takes over"), said(resumed));
    let silent = left
        .iter()
        .zip(&came)
        .map(|(left, came)| (came - left).rem_euclid(3600.0));
    let silent = silent.fold(0.0, f64::max);
    let seen = adverts.log();
    let spacing = spacing(&seen, 51);
    let longest = spacing.iter().max().copied().unwrap_or_default();
    measured(format_args!(
        "{TIMES} upgrades at adverts of 1 s: {} adverts, {longest:?} apart at most; from one process to the next {:.0} ms \
         at most",
        spacing.len() + 1,
        silent * 1000.0
    ));
    assert!(spacing.len() > TIMES && longest < LONGEST, "{spacing:?}\n{seen}");
}
