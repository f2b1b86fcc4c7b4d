//! The ping probe against a kernel.

use std::time::Duration;

use ipvsd::model::{LocalTrouble, ProbeOutcome, ProbeType};
use ipvsd_lab::Segment;

use super::{Form, Stand, check, run};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Ping);
    let (director, server) = (stand.director(), stand.server());
    stand.passes(Form::Healthy, "", 80);
    let v6 = std::net::SocketAddr::new(server.address6(Segment::Server).into(), 80);
    assert_eq!(run(director, &check("ping", "", v6)).outcome, ProbeOutcome::Success);
    // Both kinds of socket are used.
    director
        .set_sysctl("net/ipv4/ping_group_range", "0 0")
        .expect("a setting");
    stand.passes(Form::Healthy, "", 80);
    director
        .set_sysctl("net/ipv4/ping_group_range", "1 0")
        .expect("a setting");
    stand.passes(Form::Healthy, "", 80);
    director
        .exec_ok(&["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "200ms"])
        .map_or_else(
            |_| stand.note(Form::Slow, "this kernel cannot delay packets"),
            |_| {
                assert!(stand.passes(Form::Slow, "", 80).latency >= Duration::from_millis(200));
                director
                    .exec_ok(&["tc", "qdisc", "del", "dev", "eth0", "root"])
                    .expect("tc");
            },
        );
    server
        .set_sysctl("net/ipv4/icmp_echo_ignore_all", "1")
        .expect("a setting");
    stand.fails(
        Form::Hanging,
        "timeout = \"500ms\"",
        80,
        "no answer in time: the echo is missing",
    );
    stand.fails(
        Form::HalfBroken,
        "timeout = \"500ms\"",
        80,
        "no answer in time: the echo is missing",
    );
    stand.fails(Form::Refusing, "connect_ip = \"192.0.2.99\"", 80, "");
    let nowhere = stand.probe("connect_ip = \"198.51.100.9\"", 80).outcome;
    assert_eq!(nowhere, ProbeOutcome::Local(LocalTrouble::NoRoute));
    stand.note(Form::WrongAnswer, "an echo is the same or none");
    stand.finish();
}
