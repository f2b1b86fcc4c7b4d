//! The redis probe against Debian's Redis.

use std::time::Duration;

use ipvsd::model::{ProbeOutcome, ProbeType};
use ipvsd_lab::{Host, Process, wait_until};
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, start};
use super::{Form, SOON, Stand};

fn redis(host: &Host, port: u16, more: &[&str]) -> Process {
    let (number, directory) = (port.to_string(), host.directory().display().to_string());
    let mut command = vec![
        "redis-server",
        "--port",
        &number,
        "--save",
        "",
        "--protected-mode",
        "no",
        "--dir",
        &directory,
    ];
    command.extend(more);
    start(host, &command, port)
}

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Redis);
    let server = stand.server();
    stand.fails(Form::Refusing, "", 6379, "connection refused");
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("redis", "cache.example.com", 90);
    let master = redis(
        server,
        6379,
        &[
            "--tls-port",
            "6390",
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority.path("ca.pem"),
            "--tls-auth-clients",
            "no",
        ],
    );
    stand.passes(Form::Healthy, "", 6379);
    stand.passes(Form::Healthy, "role = \"master\"", 6379);
    let tls = format!(
        "tls = true\nserver_name = \"cache.example.com\"\nca_file = \"{}\"",
        authority.path("ca.pem")
    );
    stand.passes(Form::Healthy, &tls, 6390);
    stand.fails(
        Form::WrongAnswer,
        "role = \"replica\"",
        6379,
        "the role is \"master\", not replica",
    );
    let _replica = redis(server, 6380, &["--replicaof", "127.0.0.1 6379"]);
    let replicates = || stand.probe("role = \"replica\"", 6380).outcome == ProbeOutcome::Success;
    wait_until("the replica has its data", SOON, replicates).expect("a replica");
    stand.fails(
        Form::WrongAnswer,
        "role = \"master\"",
        6380,
        "the role is \"slave\", not master",
    );
    let _locked = redis(server, 6381, &["--requirepass", "s3cret"]);
    stand.passes(Form::Healthy, "password = \"s3cret\"", 6381);
    let file = stand.director().directory().join("password");
    std::fs::write(&file, "s3cret\n").expect("a file");
    stand.passes(
        Form::Healthy,
        &format!("user = \"default\"\npassword_file = \"{}\"", file.display()),
        6381,
    );
    stand.fails(Form::WrongAnswer, "", 6381, "refused: \"NOAUTH");
    stand.fails(Form::WrongAnswer, "password = \"wrong\"", 6381, "refused: \"WRONGPASS");
    stand.here(
        Form::WrongAnswer,
        "password_file = \"/no/such/file\"",
        6381,
        "cannot read /no/such/file",
    );
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 81, 6379, late, usize::MAX);
    assert!(stand.passes(Form::Slow, "", 81).latency >= late);
    let _half = Odd::relay(server, 82, 6379, Duration::ZERO, 3);
    stand.fails(
        Form::HalfBroken,
        "",
        82,
        "connection closed: the expected answer is missing",
    );
    let _junk = Odd::saying(server, 83, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    stand.fails(Form::HalfBroken, "", 83, "the answer is no Redis");
    let _flood = Odd::flooding(server, 84, b"+PONGPONGPONGPONG");
    stand.fails(Form::HalfBroken, "", 84, "longer than 16384 bytes");
    master.signal(Signal::SIGSTOP).expect("a signal");
    stand.fails(
        Form::Hanging,
        "timeout = \"1s\"",
        6379,
        "no answer in time: the expected answer is missing",
    );
    // The replica says at once that it has lost its master where it is asked for that.
    drop(master);
    let lost = || stand.probe("role = \"replica\"", 6380).outcome != ProbeOutcome::Success;
    wait_until("the replica has lost its master", SOON, lost).expect("lost");
    stand.fails(
        Form::WrongAnswer,
        "role = \"replica\"",
        6380,
        "the replica's link is \"connect",
    );
    stand.finish();
}
