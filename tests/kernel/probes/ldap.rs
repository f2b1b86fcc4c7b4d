//! The ldap probe against Debian's slapd.

use std::time::Duration;

use ipvsd::model::ProbeType;
use nix::sys::signal::Signal;

use super::servers::{Odd, start};
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Ldap);
    let server = stand.server();
    stand.fails(Form::Refusing, "", 389, "connection refused");
    let file = server.directory().join("slapd.conf").display().to_string();
    let text = "database ldif\ndirectory /tmp\nsuffix cn=example\nrootdn cn=admin,cn=example\nrootpw s3cret\n";
    std::fs::write(&file, text).expect("a file");
    let slapd = start(
        server,
        &["slapd", "-d", "0", "-f", &file, "-h", "ldap://0.0.0.0:389/"],
        389,
    );
    let login = "user = \"cn=admin,cn=example\"\npassword = \"s3cret\"";
    stand.passes(Form::Healthy, "", 389);
    stand.passes(Form::Healthy, login, 389);
    stand.fails(
        Form::WrongAnswer,
        &login.replace("s3cret", "wrong"),
        389,
        "refused: \"result 49: ",
    );
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 81, 389, late, usize::MAX);
    assert!(stand.passes(Form::Slow, login, 81).latency >= late);
    let _half = Odd::relay(server, 82, 389, Duration::ZERO, 5);
    stand.fails(
        Form::HalfBroken,
        login,
        82,
        "connection closed: the answer to the login is missing",
    );
    let _junk = Odd::saying(server, 83, b"HTTP/1.1 400\r\n");
    stand.fails(Form::HalfBroken, login, 83, "the answer is no LDAP");
    slapd.signal(Signal::SIGSTOP).expect("a signal");
    let hanging = format!("timeout = \"1s\"\n{login}");
    stand.fails(
        Form::Hanging,
        &hanging,
        389,
        "no answer in time: the answer to the login is missing",
    );
    stand.finish();
}
