//! The dns probe against dnsmasq.

use std::time::Duration;

use ipvsd::model::ProbeType;
use nix::sys::signal::Signal;

use super::servers::{Odd, start};
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Dns);
    let server = stand.server();
    let (udp, tcp) = (
        "name = \"www.example.com\"",
        "name = \"www.example.com\"\ntransport = \"tcp\"",
    );
    stand.fails(Form::Refusing, udp, 53, "connection refused");
    stand.fails(Form::Refusing, tcp, 53, "connection refused");
    let dnsmasq = start(
        server,
        &[
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
            "--local=/example.com/",
            "--address=/www.example.com/192.0.2.80",
            "--txt-record=t.example.com,hello",
        ],
        53,
    );
    for transport in [udp, tcp] {
        stand.passes(Form::Healthy, transport, 53);
        stand.passes(Form::Healthy, &format!("{transport}\nexpect = \"192.0.2.80\""), 53);
        let wrong = format!("{transport}\nexpect = \"192.0.2.81\"");
        stand.fails(
            Form::WrongAnswer,
            &wrong,
            53,
            "the answer is \"192.0.2.80\", not 192.0.2.81",
        );
    }
    stand.fails(
        Form::WrongAnswer,
        "name = \"none.example.com\"",
        53,
        "the response code is ",
    );
    stand.passes(Form::Healthy, "name = \"none.example.com\"\nrcode = \"NXDOMAIN\"", 53);
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 81, 53, late, usize::MAX);
    assert!(stand.passes(Form::Slow, tcp, 81).latency >= late);
    let _half = Odd::relay(server, 82, 53, Duration::ZERO, 10);
    stand.fails(
        Form::HalfBroken,
        tcp,
        82,
        "connection closed: the expected answer is missing",
    );
    let _junk = Odd::saying(server, 83, b"\x00\x05junk!");
    stand.fails(Form::HalfBroken, tcp, 83, "the answer is no DNS");
    dnsmasq.signal(Signal::SIGSTOP).expect("a signal");
    for transport in [udp, tcp] {
        let keys = format!("timeout = \"1s\"\n{transport}");
        stand.fails(
            Form::Hanging,
            &keys,
            53,
            "no answer in time: the expected answer is missing",
        );
    }
    stand.finish();
}
