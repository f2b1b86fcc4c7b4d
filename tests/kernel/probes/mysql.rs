//! The mysql probe against Debian's MariaDB.

use std::io::Read;
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
                          GRANT ALL ON *.* TO monitor@'%';\n\
                          CREATE USER IF NOT EXISTS known@'%' IDENTIFIED BY 's3cret' REQUIRE X509;\nCREATE DATABASE IF NOT EXISTS shop;\n";

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Mysql);
    let server = stand.server();
    let data = mariadb::make(server, STATEMENTS);
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("db", "db.example.com", 90);
    stand.fails(Form::Refusing, "", PORT, "connection refused");
    let (certificate, key) = (format!("--ssl-cert={certificate}"), format!("--ssl-key={key}"));
    let ca = format!("--ssl-ca={}", authority.path("ca.pem"));
    let maria = mariadb::serve(
        server,
        &data,
        PORT,
        &[&certificate, &key, &ca, "--read-only", "--skip-name-resolve"],
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
    // A user who is let in with a certificate only.
    let known = tls.replace("monitor", "known");
    stand.fails(Form::WrongAnswer, &known, PORT, "refused: \"1045: Access denied");
    let client = authority.issue("client", "director.example.com", 90);
    let identity = format!("client_certificate = \"{}\"\nclient_key = \"{}\"", client.0, client.1);
    stand.passes(Form::Healthy, &(known + &identity), PORT);
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

#[test]
fn no_probe_gets_this_host_blocked_and_a_host_that_is_blocked_is_told_the_remedy() {
    let stand = Stand::build(ProbeType::Mysql);
    let server = stand.server();
    let data = mariadb::make(server, STATEMENTS);
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("db", "db.example.com", 90);
    let (certificate, key) = (format!("--ssl-cert={certificate}"), format!("--ssl-key={key}"));
    // The second connection that comes to nothing is one too many.
    let maria = mariadb::serve(server, &data, PORT, &[&certificate, &key, "--max-connect-errors=1"]);
    let blocked = || {
        let result = stand.probe(LOGIN, PORT);
        (result.outcome != ProbeOutcome::Success).then(|| super::cause(&result).to_string())
    };
    assert_eq!(blocked(), None);

    // What does count: a connection that ends at the greeting.
    let address = stand.at(PORT);
    let counted = || -> u32 {
        let said = mariadb::order(server, &data, "SHOW GLOBAL STATUS LIKE 'Aborted_connects'");
        let count = said.split_whitespace().last();
        count.and_then(|count| count.parse().ok()).expect("a number")
    };
    let before = counted();
    for _ in 0..3 {
        let greeted = || {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.read_exact(&mut [0; 20]).expect("a greeting");
        };
        stand.director().in_namespace(greeted).expect("a namespace");
    }
    ipvsd_lab::wait_until("the server has counted them", super::SOON, || counted() >= before + 3).expect("in time");
    let said = blocked().expect("blocked");
    assert_eq!(
        said,
        "refused: the server has blocked this host after too many failed connections (1129); run FLUSH HOSTS there, \
         and find who connects without logging in, or raise max_connect_errors"
    );
    stand.fails(Form::WrongAnswer, "", PORT, "has blocked this host");
    let flush = || mariadb::order(server, &data, "FLUSH HOSTS");
    flush();
    assert_eq!(blocked(), None);

    // What a probe may come to, each often enough.
    let tls = |name: &str, ca: &str| format!("tls = true\nserver_name = \"{name}\"\nca_file = \"{ca}\"\n");
    let (good_ca, other_ca) = (
        authority.path("ca.pem"),
        Authority::make(stand.director()).path("ca.pem"),
    );
    let good = tls("db.example.com", &good_ca);
    for (what, keys, words) in [
        ("no user", String::new(), None),
        ("a login", LOGIN.to_owned(), None),
        (
            "a wrong password",
            LOGIN.replace("s3cret", "wrong"),
            Some("1045: Access denied"),
        ),
        (
            "no such database",
            format!("{LOGIN}database = \"none\""),
            Some("1049: Unknown database"),
        ),
        ("a wrong query", format!("{LOGIN}query = \"SELEC\""), Some("1064: ")),
        (
            "another role",
            format!("{LOGIN}read_only = true"),
            Some("the server is writable"),
        ),
        ("TLS", format!("{LOGIN}{good}"), None),
        ("TLS without a user", good.clone(), None),
        (
            "TLS for another name",
            LOGIN.to_owned() + &tls("other.example.com", &good_ca),
            Some("for another name"),
        ),
        (
            "TLS of a stranger",
            LOGIN.to_owned() + &tls("db.example.com", &other_ca),
            Some("nobody who is trusted"),
        ),
    ] {
        for _ in 0..4 {
            match words {
                None => _ = stand.passes(Form::Healthy, &keys, PORT),
                Some(words) => stand.fails(Form::WrongAnswer, &keys, PORT, words),
            }
        }
        assert_eq!(blocked(), None, "by {what}");
        flush();
    }

    // A server that wakes up finds what waited for it meanwhile.
    let hasty = format!("timeout = \"500ms\"\n{LOGIN}");
    for keys in [hasty.clone(), hasty + &good] {
        maria.signal(Signal::SIGSTOP).expect("a signal");
        for _ in 0..4 {
            stand.fails(Form::Hanging, &keys, PORT, "no answer in time: the greeting is missing");
        }
        maria.signal(Signal::SIGCONT).expect("a signal");
        ipvsd_lab::wait_until("it is awake", super::SOON, || {
            stand.probe("", PORT).outcome == ProbeOutcome::Success
        })
        .unwrap_or_else(|error| panic!("{error}: {:?}", blocked()));
        assert_eq!(blocked(), None, "by a server that hung");
        flush();
    }
    drop(maria);
    let _without_tls = mariadb::serve(server, &data, PORT, &["--max-connect-errors=1", "--skip-ssl"]);
    for _ in 0..4 {
        stand.fails(
            Form::WrongAnswer,
            &format!("{LOGIN}{good}"),
            PORT,
            "TLS: the server has none",
        );
    }
    assert_eq!(blocked(), None, "by a server without TLS");
}
