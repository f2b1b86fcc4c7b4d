//! The http probe against nginx.

use std::time::{Duration, Instant};

use ipvsd::model::{ProbeOutcome, ProbeType};
use nix::sys::signal::Signal;

use super::servers::{Odd, flood, nginx, say};
use super::{Form, Stand};

const SITE: &str = "server {
    listen 80;
    location = /health { return 200 'all is well'; }
    location = /moved { return 302 /health; }
    location = /drain { return 404; }
    location = /ill { return 503; }
    location = /host { return 200 $host; }
    location = /method { return 200 $request_method; }
}
server { listen 8080 http2; location / { return 200 'over $server_protocol'; } }";

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Http);
    let server = stand.server();
    let health = "path = \"/health\"\nexpect = \"well\"";
    stand.fails(Form::Refusing, health, 80, "connection refused");
    let nginx = nginx(server, SITE, 80);
    stand.passes(Form::Healthy, health, 80);
    stand.passes(
        Form::Healthy,
        "path = \"/host\"\nhost = \"a.example\"\nexpect_regex = '^a\\.example$'",
        80,
    );
    stand.passes(
        Form::Healthy,
        "path = \"/method\"\nmethod = \"POST\"\nsend = \"x\"\nexpect = \"POST\"",
        80,
    );
    stand.passes(Form::Healthy, "path = \"/moved\"\nstatus = [302]", 80);
    stand.passes(Form::Healthy, "http_version = \"2\"\nexpect = \"over HTTP/2.0\"", 8080);
    // printf 'all is well' | sha256sum
    let digest = "expect_sha256 = \"49d54d8ba59b3ceb7a2e5d2f32d4cd7f85b06df3a9c22fa1cb38a5b8d5c4e7cb\"";
    stand.fails(
        Form::WrongAnswer,
        &format!("path = \"/health\"\n{digest}"),
        80,
        "the body's SHA-256 is ",
    );
    stand.fails(
        Form::WrongAnswer,
        "path = \"/health\"\nexpect = \"ill\"",
        80,
        "the body is \"all is well\", not \"ill\"",
    );
    stand.fails(
        Form::WrongAnswer,
        "path = \"/moved\"",
        80,
        "the status is 302, not 200-299",
    );
    stand.fails(
        Form::WrongAnswer,
        "path = \"/ill\"",
        80,
        "the status is 503, not 200-299",
    );
    stand.fails(
        Form::WrongAnswer,
        "path = \"/health\"\nhttp_version = \"2\"",
        80,
        "the answer is no HTTP",
    );
    let drains = stand.probe("path = \"/drain\"\ndrain_status = 404", 80).outcome;
    assert!(matches!(drains, ProbeOutcome::Drain(_)), "{drains:?}");
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 81, 80, late, usize::MAX);
    assert!(stand.passes(Form::Slow, health, 81).latency >= late);
    let _half = Odd::relay(server, 82, 80, Duration::ZERO, 20);
    stand.fails(
        Form::HalfBroken,
        health,
        82,
        "connection closed: the status line and headers is missing",
    );
    let _half_two = Odd::relay(server, 83, 8080, Duration::ZERO, 12);
    stand.fails(Form::HalfBroken, "http_version = \"2\"", 83, "");
    nginx.signal(Signal::SIGSTOP).expect("a signal");
    for version in ["", "\nhttp_version = \"2\""] {
        let port = if version.is_empty() { 80 } else { 8080 };
        let keys = format!("timeout = \"1s\"\n{health}{version}");
        stand.fails(
            Form::Hanging,
            &keys,
            port,
            "no answer in time: the status line and headers is missing",
        );
    }
    stand.finish();
}

#[test]
fn answers_are_bounded_whatever_a_server_sends() {
    let stand = Stand::build(ProbeType::Http);
    let server = stand.server();
    let endless = flood(b"HTTP/1.1 200 OK\r\nX-Long: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
    let _headers = Odd::when_asked(server, 80, endless);
    let _body = Odd::when_asked(server, 81, flood(b"HTTP/1.1 200 OK\r\n\r\ngigabytes"));
    let _drip = Odd::dripping(server, 82, b"HTTP/1.1 200 OK\r\nX: y\r\n", Duration::from_millis(200));
    let _junk = Odd::when_asked(server, 83, say(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"));
    let keys = "timeout = \"3s\"\nexpect = \"nothing of the kind\"";
    for version in ["", "\nhttp_version = \"2\""] {
        for port in [80, 81, 82, 83] {
            let started = Instant::now();
            stand.fails(Form::HalfBroken, &format!("{keys}{version}"), port, "");
            assert!(started.elapsed() < Duration::from_secs(6), "{port} {version}");
        }
    }
    stand.fails(Form::HalfBroken, keys, 80, "is longer than");
    stand.fails(
        Form::HalfBroken,
        keys,
        81,
        "the end of the body is longer than 65536 bytes",
    );
    stand.fails(Form::HalfBroken, keys, 83, "the answer is no HTTP");
}
