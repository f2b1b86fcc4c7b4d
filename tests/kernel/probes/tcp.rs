//! The tcp probe against nginx.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ipvsd::model::{LocalTrouble, ProbeOutcome, ProbeType};
use ipvsd_lab::{Nginx, Segment};

use super::servers::{Odd, start};
use super::{Form, Stand};

const TALK: &str = "talk = [{ send = 'GET / HTTP/1.0\\r\\n\\r\\n' }, { expect_regex = '^HTTP/1\\.1 200 ' }, \
                    { expect = \"web\" }]";

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Tcp);
    let server = stand.server();
    stand.fails(Form::Refusing, "", 80, "connection refused");
    let _nginx = Nginx::start(server, &[SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))], "web").expect("nginx");
    stand.passes(Form::Healthy, "", 80);
    stand.passes(Form::Healthy, TALK, 80);
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 81, 80, late, usize::MAX);
    assert!(stand.passes(Form::Slow, TALK, 81).latency >= late);
    stand.fails(
        Form::WrongAnswer,
        "send = 'NONSENSE\\r\\n\\r\\n'\nexpect = \"200 OK\"",
        80,
        "400 Bad Request",
    );
    let _half = Odd::relay(server, 82, 80, Duration::ZERO, 20);
    stand.fails(Form::HalfBroken, TALK, 82, "answer is \"OK\\r\\n");
    let _silent = Odd::silent(server, 83);
    stand.fails(
        Form::Hanging,
        &format!("timeout = \"500ms\"\n{TALK}"),
        83,
        "no answer in time: the expected answer is missing",
    );
    stand.passes(Form::Hanging, "", 83);
    server.drop_tcp_port(Segment::Server, 80).expect("a switch");
    stand.fails(Form::Hanging, "timeout = \"500ms\"", 80, "no answer in time");
    stand.finish();
}

#[test]
fn a_probe_is_bounded_whatever_a_server_sends() {
    let stand = Stand::build(ProbeType::Tcp);
    let server = stand.server();
    let _flood = Odd::flooding(server, 80, &[b'x'; 65536]);
    let _drip = Odd::dripping(server, 81, b"x", Duration::from_millis(100));
    let expect = "timeout = \"2s\"\nexpect = \"220\"";
    stand.fails(Form::HalfBroken, expect, 80, "longer than 16384 bytes");
    let started = Instant::now();
    stand.fails(Form::HalfBroken, expect, 81, "answer is \"xxx");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn the_origin_of_a_probe_is_seen_by_the_server_and_its_absence_is_this_hosts_trouble() {
    let stand = Stand::build(ProbeType::Tcp);
    let (director, server) = (stand.director(), stand.server());
    director
        .ip(&[
            "addr add 192.0.2.77/32 dev eth0",
            "route add 203.0.113.0/24 via 192.0.2.254",
        ])
        .expect("ip");
    let echo = "import socket\ns=socket.create_server(('0.0.0.0',80))\nwhile True:\n c,a=s.accept()\n \
                c.sendall(a[0].encode()+b' ')\n c.close()";
    let _echo = start(server, &["/usr/bin/python3", "-c", echo], 80);
    let outcome = |keys: &str| stand.probe(keys, 80).outcome;
    assert_eq!(
        outcome("source_address = \"192.0.2.77\"\nexpect = \"192.0.2.77 \""),
        ProbeOutcome::Success
    );
    assert_eq!(
        outcome("device = \"eth0\"\nfwmark = 7\nexpect = \"192.0.2.1 \""),
        ProbeOutcome::Success
    );
    for (keys, trouble) in [
        ("source_address = \"192.0.2.78\"", LocalTrouble::SourceAddress),
        ("device = \"eth7\"", LocalTrouble::Device),
        ("connect_ip = \"198.51.100.9\"", LocalTrouble::NoRoute),
    ] {
        assert_eq!(outcome(keys), ProbeOutcome::Local(trouble), "{keys}");
    }
    // A mark decides by which rule the packets go.
    director
        .ip(&["rule add fwmark 9 table 99", "route add unreachable default table 99"])
        .expect("ip");
    assert_ne!(outcome("fwmark = 9"), ProbeOutcome::Success);
    assert_eq!(outcome("fwmark = 8"), ProbeOutcome::Success);
    let far = stand.probe("connect_ip = \"203.0.113.1\"\ntimeout = \"8s\"", 80);
    assert_eq!(
        super::cause(&far).to_string(),
        "host unreachable",
        "nobody is at the gateway's address"
    );
}
