//! The tls probe against `openssl s_server`.

use std::time::Duration;

use ipvsd::model::ProbeType;
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, start};
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Tls);
    let server = stand.server();
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("good", "mail.example.com", 90);
    let keys = format!(
        "server_name = \"mail.example.com\"\nca_file = \"{}\"",
        authority.path("ca.pem")
    );
    stand.fails(Form::Refusing, &keys, 4433, "connection refused");
    let s_server = |port: &'static str, more: &[&'static str]| {
        let mut command = vec![
            "openssl",
            "s_server",
            "-accept",
            port,
            "-cert",
            &certificate,
            "-key",
            &key,
        ];
        command.extend(more);
        start(server, &command, port.parse().expect("a number"))
    };
    let plain = s_server("4433", &["-rev"]);
    stand.passes(Form::Healthy, &keys, 4433);
    // With -rev it answers with the line turned round.
    stand.passes(
        Form::Healthy,
        &format!("{keys}\nsend = 'olleh\\n'\nexpect = \"hello\""),
        4433,
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("timeout = \"2s\"\n{keys}\nsend = 'olleh\\n'\nexpect = \"bye\""),
        4433,
        "answer is \"hello\\n\", not \"bye\"",
    );
    let _old = s_server("4434", &["-rev", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    stand.fails(Form::WrongAnswer, &keys, 4434, "TLS: ");
    let late = Duration::from_millis(200);
    let _slow = Odd::relay(server, 81, 4433, late, usize::MAX);
    assert!(stand.passes(Form::Slow, &keys, 81).latency >= late);
    let _half = Odd::relay(server, 82, 4433, Duration::ZERO, 100);
    stand.fails(
        Form::HalfBroken,
        &keys,
        82,
        "connection closed: the end of the TLS handshake is missing",
    );
    let _junk = Odd::flooding(server, 83, b"\x16\x03\x03\x40\x00\x02\x00\xff\xff");
    stand.fails(Form::HalfBroken, &keys, 83, "");
    let _silent = Odd::silent(server, 84);
    let hanging = format!("timeout = \"1s\"\n{keys}");
    stand.fails(
        Form::Hanging,
        &hanging,
        84,
        "no answer in time: the end of the TLS handshake is missing",
    );
    plain.signal(Signal::SIGSTOP).expect("a signal");
    stand.fails(
        Form::Hanging,
        &hanging,
        4433,
        "no answer in time: the end of the TLS handshake is missing",
    );
    stand.finish();
}
