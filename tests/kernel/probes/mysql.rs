//! The mysql probe against Debian's MariaDB.

use std::net::TcpStream;
use std::time::Duration;

use ipvsd::model::{ProbeOutcome, ProbeType};
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd};
use super::{Form, Stand};
use crate::mariadb;

const PORT: u16 = 3306;
const LOGIN: &str = "user = \"monitor\"\npassword = \"s3cret\"\n";

const STATEMENTS: &str = "CREATE USER IF NOT EXISTS monitor@'%' IDENTIFIED BY 's3cret';\n\
                          GRANT ALL ON *.* TO monitor@'%';\nCREATE DATABASE IF NOT EXISTS shop;\n";

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Mysql);
    let server = stand.server();
    let data = mariadb::make(server, STATEMENTS);
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("db", "db.example.com", 90);
    stand.fails(Form::Refusing, "", PORT, "connection refused");
    let (certificate, key) = (format!("--ssl-cert={certificate}"), format!("--ssl-key={key}"));
    let maria = mariadb::serve(
        server,
        &data,
        PORT,
        &[&certificate, &key, "--read-only", "--skip-name-resolve"],
    );
    stand.passes(Form::Healthy, "", PORT);
    stand.passes(Form::Healthy, LOGIN, PORT);
    stand.passes(
        Form::Healthy,
        &format!("{LOGIN}database = \"shop\"\nread_only = true"),
        PORT,
    );
    stand.passes(
        Form::Healthy,
        &format!("{LOGIN}query = \"SELECT 40 + 2, NULL\"\nexpect = \"42\""),
        PORT,
    );
    stand.passes(Form::Healthy, &format!("{LOGIN}query = \"SELECT DATABASE()\""), PORT);
    let tls = format!(
        "{LOGIN}tls = true\nserver_name = \"db.example.com\"\nca_file = \"{}\"\n",
        authority.path("ca.pem")
    );
    let cipher = "query = \"SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = \
                  'Ssl_cipher'\"\nexpect = \"1\"";
    stand.passes(Form::Healthy, &format!("{tls}{cipher}"), PORT);
    stand.fails(
        Form::WrongAnswer,
        &tls.replace("db.ex", "other.ex"),
        PORT,
        "TLS: the certificate is for another name",
    );
    stand.fails(
        Form::WrongAnswer,
        &LOGIN.replace("s3cret", "wrong"),
        PORT,
        "refused: \"1045: Access denied",
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("{LOGIN}database = \"none\""),
        PORT,
        "refused: \"1049: Unknown database",
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("{LOGIN}query = \"SELECT 41\"\nexpect = \"42\""),
        PORT,
        "the query's answer is \"41\", not \"42\"",
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("{LOGIN}query = \"SELEC\""),
        PORT,
        "refused: \"1064: ",
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("{LOGIN}read_only = false"),
        PORT,
        "the server is read-only, not writable",
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("{LOGIN}replication_lag = \"30s\""),
        PORT,
        "the server is no replica",
    );
    let endless = format!("{LOGIN}query = \"SELECT REPEAT('x', 1000) FROM seq_1_to_100000\"");
    let endless = endless.replace(
        "seq_1_to_100000",
        "information_schema.collations a, information_schema.collations b",
    );
    stand.fails(Form::HalfBroken, &endless, PORT, "is longer than 65536 bytes");
    let late = Duration::from_millis(200);
    let _slow = Odd::relay(server, 81, PORT, late, usize::MAX);
    assert!(stand.passes(Form::Slow, LOGIN, 81).latency >= 2 * late);
    let _half = Odd::relay(server, 82, PORT, Duration::ZERO, 20);
    stand.fails(
        Form::HalfBroken,
        LOGIN,
        82,
        "connection closed: the greeting is missing",
    );
    let _junk = Odd::saying(server, 83, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    stand.fails(Form::HalfBroken, &format!("timeout = \"2s\"\n{LOGIN}"), 83, "");
    let _flood = Odd::flooding(server, 84, b"\xff\xff\xff\x00garbage");
    stand.fails(Form::HalfBroken, LOGIN, 84, "the greeting is longer than 65536 bytes");
    let silent = format!("timeout = \"1s\"\n{LOGIN}");
    maria.signal(Signal::SIGSTOP).expect("a signal");
    stand.fails(
        Form::Hanging,
        &silent,
        PORT,
        "no answer in time: the greeting is missing",
    );
    drop(maria);
    is_welcome_until_the_server_is_full(&stand, &data);
    stand.finish();
}

/// A probe without a user does not get this host blocked, and a server that is full is no success for it.
fn is_welcome_until_the_server_is_full(stand: &Stand, data: &str) {
    let _maria = mariadb::serve(
        stand.server(),
        data,
        PORT,
        &[
            "--max-connect-errors=5",
            "--max-connections=10",
            "--extra-max-connections=1",
            // Those that hold it full are not sent away while this goes on.
            "--connect-timeout=600",
        ],
    );
    for _ in 0..30 {
        stand.passes(Form::Healthy, "", PORT);
    }
    stand.passes(Form::Healthy, LOGIN, PORT);
    let address = stand.at(PORT);
    let connect = || {
        (0..12)
            .map(|_| TcpStream::connect(address))
            .collect::<Result<Vec<_>, _>>()
    };
    let _held = stand
        .director()
        .in_namespace(connect)
        .expect("a namespace")
        .expect("connections");
    let full = || stand.probe("", PORT).outcome != ProbeOutcome::Success;
    ipvsd_lab::wait_until("the server is full", super::SOON, full).expect("full");
    stand.fails(Form::WrongAnswer, "", PORT, "refused: \"1040: Too many connections\"");
}
