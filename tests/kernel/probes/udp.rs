//! The udp probe against dnsmasq and a responder.

use std::time::Duration;

use ipvsd::model::ProbeType;
use ipvsd_lab::Responder;

use super::servers::start;
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Udp);
    let server = stand.server();
    stand.fails(Form::Refusing, "reply = true", 90, "connection refused");
    stand.fails(Form::Refusing, "", 90, "connection refused");
    let _responder = Responder::start_udp(server, &[stand.at(90)], "me").expect("a responder");
    stand.passes(Form::Healthy, "reply = true\nsend = \"?\"", 90);
    stand.passes(Form::Healthy, "expect = \"me\"\nsend = \"?\"", 90);
    let other = "timeout = \"500ms\"\nexpect = \"you\"\nsend = \"?\"";
    stand.fails(Form::WrongAnswer, other, 90, "the reply is \"me");
    // Who only listens is well where no reply is wanted.
    let script = "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',91))\n\
                  t=socket.create_server(('0.0.0.0',91))\ntime.sleep(600)";
    let _deaf = start(server, &["/usr/bin/python3", "-c", script], 91);
    let quiet = stand.passes(Form::Slow, "timeout = \"500ms\"", 91);
    assert!(quiet.latency >= Duration::from_millis(400), "{:?}", quiet.latency);
    stand.fails(
        Form::Hanging,
        "timeout = \"500ms\"\nreply = true",
        91,
        "no answer in time: the expected answer is missing",
    );
    let pattern = "timeout = \"500ms\"\nexpect_regex = '^\\x00'\nsend = \"?\"";
    stand.fails(Form::HalfBroken, pattern, 90, "the reply is \"me");
    stand.finish();
}
