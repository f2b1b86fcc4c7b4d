//! The tls probe against `openssl s_server`.

use std::time::Duration;

use ipvsd::model::ProbeType;
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, start};
use super::{Form, Stand};

/// Record of type 22, version 3.1, 42 bytes; message of type 2, 38 bytes; version 3.1, random, no session, cipher,
/// no compression.
const SERVER_HELLO_1_0: &[u8] =
    b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01abcdefghijklmnopqrstuvwxyz012345\x00\x00\x2f\x00";

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
    let too_old = "TLS: the server speaks neither TLS 1.2 nor 1.3";
    stand.fails(Form::WrongAnswer, &keys, 4434, too_old);
    // One that is older still does not refuse, it answers with what it has: a ServerHello of TLS 1.0.
    let _older = Odd::saying(server, 4435, SERVER_HELLO_1_0);
    stand.fails(Form::WrongAnswer, &keys, 4435, too_old);
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

#[test]
fn a_server_that_wants_a_certificate_gets_one_or_says_so() {
    let stand = Stand::build(ProbeType::Tls);
    let server = stand.server();
    let authority = Authority::make(server);
    let other = Authority::make(stand.director());
    let (certificate, key) = authority.issue("good", "mail.example.com", 90);
    let ca = authority.path("ca.pem");
    let keys = format!("server_name = \"mail.example.com\"\nca_file = \"{ca}\"");
    let identity = |authority: &Authority<'_>| {
        let (certificate, key) = authority.issue("client", "director.example.com", 90);
        format!("{keys}\nclient_certificate = \"{certificate}\"\nclient_key = \"{key}\"")
    };
    let (known, unknown) = (identity(&authority), identity(&other));
    let s_server = |port: &'static str, version: &'static str| {
        let command = [
            "openssl",
            "s_server",
            "-rev",
            "-accept",
            port,
            version,
            "-cert",
            &certificate,
            "-key",
            &key,
            "-CAfile",
            &ca,
            "-Verify",
            "1",
            "-verify_return_error",
        ];
        start(server, &command, port.parse().expect("a number"))
    };
    let _servers = [s_server("4433", "-tls1_3"), s_server("4434", "-tls1_2")];
    for port in [4433, 4434] {
        stand.passes(Form::Healthy, &known, port);
        stand.passes(
            Form::Healthy,
            &format!("{known}\nsend = 'olleh\\n'\nexpect = \"hello\""),
            port,
        );
        let wanted = "TLS: the server wants a certificate of this host (add client_certificate and client_key)";
        stand.fails(Form::WrongAnswer, &keys, port, wanted);
        stand.fails(
            Form::WrongAnswer,
            &format!("{keys}\nsend = 'olleh\\n'\nexpect = \"hello\""),
            port,
            wanted,
        );
        stand.fails(
            Form::WrongAnswer,
            &unknown,
            port,
            "TLS: the server does not take the client_certificate: UnknownCA",
        );
    }
    let half = known.replace("client.key", "good.key");
    stand.here(Form::WrongAnswer, &half, 4433, "and its key do not fit");
}
