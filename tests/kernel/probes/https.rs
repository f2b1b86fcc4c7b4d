//! The https probe against nginx with certificates of every kind.

use std::time::Duration;

use ipvsd::model::{ProbeOutcome, ProbeType, ProbeWarning};
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, nginx};
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Https);
    let server = stand.server();
    let authority = Authority::make(server);
    let other = Authority::make(stand.director());
    let (good, soon, old) = (
        authority.issue("good", "www.example.com", 90),
        authority.issue("soon", "www.example.com", 3),
        authority.issue("old", "www.example.com", -1),
    );
    let client = authority.issue("client", "director.example.com", 90);
    let site = |port: u16, (certificate, key): &(String, String), more: &str| {
        format!(
            "server {{ listen {port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}; {more}
             location / {{ return 200 '$ssl_server_name over $server_protocol'; }} }}\n"
        )
    };
    let verifies = format!(
        "ssl_client_certificate {}; ssl_verify_client on;",
        authority.path("ca.pem")
    );
    let sites = site(443, &good, "")
        + &site(444, &soon, "")
        + &site(445, &old, "")
        + &site(446, &good, &verifies)
        + &site(447, &good, "ssl_protocols TLSv1.2;");
    let keys = format!(
        "host = \"www.example.com\"\nca_file = \"{}\"\nexpect = \"www.example.com over HTTP/1.1\"",
        authority.path("ca.pem")
    );
    stand.fails(Form::Refusing, &keys, 443, "connection refused");
    let nginx = nginx(server, &sites, 443);
    assert_eq!(stand.passes(Form::Healthy, &keys, 443).warning, None);
    stand.passes(Form::Healthy, &keys, 447);
    stand.passes(
        Form::Healthy,
        &format!("{}\nhttp_version = \"2\"", keys.replace("HTTP/1.1", "HTTP/2.0")),
        443,
    );
    // nginx counts from now, so that a moment of the third day is gone.
    let warned = stand.passes(Form::Healthy, &keys, 444).warning;
    assert_eq!(warned, Some(ProbeWarning::CertificateExpires { days: 2 }));
    let identity = format!("\nclient_certificate = \"{}\"\nclient_key = \"{}\"", client.0, client.1);
    stand.passes(Form::Healthy, &format!("{keys}{identity}"), 446);
    stand.fails(Form::WrongAnswer, &keys, 446, "the status is 400, not 200-299");
    stand.fails(Form::WrongAnswer, &keys, 445, "TLS: the certificate has expired");
    stand.fails(
        Form::WrongAnswer,
        &format!("{keys}\nserver_name = \"shop.example.com\""),
        443,
        "TLS: the certificate is for another name",
    );
    let stranger = keys.replace(&authority.path("ca.pem"), &other.path("ca.pem"));
    stand.fails(
        Form::WrongAnswer,
        &stranger,
        443,
        "TLS: nobody who is trusted has issued the certificate",
    );
    let unverified = stand.passes(Form::Healthy, "verify = false", 445).warning;
    assert_eq!(unverified, Some(ProbeWarning::CertificateExpired));
    let missing = stand
        .probe("host = \"www.example.com\"\nca_file = \"/no/such/file\"", 443)
        .outcome;
    let ProbeOutcome::Local(trouble) = missing else {
        panic!("{missing:?}")
    };
    assert!(trouble.to_string().contains("cannot read /no/such/file"), "{trouble}");
    let late = Duration::from_millis(200);
    let _slow = Odd::relay(server, 81, 443, late, usize::MAX);
    assert!(stand.passes(Form::Slow, &keys, 81).latency >= 2 * late);
    let _half = Odd::relay(server, 82, 443, Duration::ZERO, 100);
    stand.fails(
        Form::HalfBroken,
        &keys,
        82,
        "connection closed: the end of the TLS handshake is missing",
    );
    let _junk = Odd::saying(server, 83, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    stand.fails(Form::HalfBroken, &keys, 83, "the answer is no TLS");
    nginx.signal(Signal::SIGSTOP).expect("a signal");
    let hanging = format!("timeout = \"1s\"\n{keys}");
    stand.fails(
        Form::Hanging,
        &hanging,
        443,
        "no answer in time: the end of the TLS handshake is missing",
    );
    stand.finish();
}
