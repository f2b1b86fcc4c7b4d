//! The postgresql probe against Debian's PostgreSQL.

use std::time::Duration;

use ipvsd::model::ProbeType;
use ipvsd_lab::{Host, Process};
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, run_long, start};
use super::{Form, Stand};

const PORT: u16 = 5432;
const LOGIN: &str = "user = \"admin\"\npassword = \"s3cret\"\ndatabase = \"postgres\"\n";

/// Runs a program as nobody: PostgreSQL refuses root.
fn unprivileged<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    words.extend(arguments);
    words
}

fn program(name: &str) -> String {
    let root = std::env::var("LAB_ROOT").expect("the lab");
    format!("{root}/usr/lib/postgresql/15/bin/{name}")
}

/// A cluster with the user `admin`.
fn make(host: &Host) -> String {
    let data = host.directory().join("data").display().to_string();
    let password = host.directory().join("password").display().to_string();
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(&password, "s3cret\n").expect("a file");
    nix::unistd::chown(data.as_str(), Some(65534.into()), Some(65534.into())).expect("root");
    let (initdb, pwfile) = (program("initdb"), format!("--pwfile={password}"));
    let command = unprivileged(&[
        &initdb,
        "-D",
        &data,
        "-U",
        "admin",
        "--no-sync",
        "-A",
        "scram-sha-256",
        &pwfile,
        "--locale=C",
    ]);
    run_long(host, &command);
    let access = "host all all 0.0.0.0/0 scram-sha-256\n";
    std::fs::write(format!("{data}/pg_hba.conf"), access).expect("a file");
    data
}

fn serve(host: &Host, data: &str, more: &[&str]) -> Process {
    let postgres = program("postgres");
    let mut command = unprivileged(&[&postgres, "-D", data, "-k", data, "-h", "0.0.0.0", "-F"]);
    command.extend(more);
    let mut process = start(host, &command, PORT);
    process
        .wait_for_log("ready to accept connections", super::SOON)
        .expect("PostgreSQL");
    process
}

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Postgresql);
    let server = stand.server();
    let data = make(server);
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("pg", "db.example.com", 90);
    for file in [&certificate, &key] {
        nix::unistd::chown(file.as_str(), Some(65534.into()), Some(65534.into())).expect("root");
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("root");
    }
    stand.fails(Form::Refusing, "", PORT, "connection refused");
    let (with_certificate, with_key) = (format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}"));
    let postgres = serve(
        server,
        &data,
        &["-c", "ssl=on", "-c", &with_certificate, "-c", &with_key],
    );
    stand.passes(Form::Healthy, "", PORT);
    stand.passes(Form::Healthy, LOGIN, PORT);
    stand.passes(
        Form::Healthy,
        &format!("{LOGIN}query = \"SELECT 40 + 2\"\nexpect = \"42\""),
        PORT,
    );
    stand.passes(Form::Healthy, &format!("{LOGIN}read_only = false"), PORT);
    let tls = format!(
        "{LOGIN}tls = true\nserver_name = \"db.example.com\"\nca_file = \"{}\"\n",
        authority.path("ca.pem")
    );
    let over_tls = "query = \"SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()\"\nexpect = \"t\"";
    stand.passes(Form::Healthy, &format!("{tls}{over_tls}"), PORT);
    let other_name = tls.replace("db.example", "other.example");
    stand.fails(
        Form::WrongAnswer,
        &other_name,
        PORT,
        "TLS: the certificate is for another name",
    );
    stand.fails(
        Form::WrongAnswer,
        &LOGIN.replace("s3cret", "wrong"),
        PORT,
        "refused: \"28P01: password authentication failed",
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
        "refused: \"42601: syntax error",
    );
    stand.fails(
        Form::WrongAnswer,
        &format!("{LOGIN}read_only = true"),
        PORT,
        "the server is writable, not read-only",
    );
    let endless = format!("{LOGIN}query = \"SELECT repeat('x', 1000) FROM generate_series(1, 100000)\"");
    stand.fails(Form::HalfBroken, &endless, PORT, "is longer than 262144 bytes");
    let late = Duration::from_millis(200);
    let _slow = Odd::relay(server, 81, PORT, late, usize::MAX);
    assert!(stand.passes(Form::Slow, LOGIN, 81).latency >= late);
    let _half = Odd::relay(server, 82, PORT, Duration::ZERO, 20);
    stand.fails(Form::HalfBroken, LOGIN, 82, "connection closed");
    let _junk = Odd::saying(server, 83, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    stand.fails(Form::HalfBroken, &format!("timeout = \"2s\"\n{LOGIN}"), 83, "");
    let _flood = Odd::flooding(
        server,
        84,
        b"N\x00\x00\x00\x20SNOTICE\x00MNothing of note here\x00\x00\x00\x00",
    );
    stand.fails(Form::HalfBroken, &format!("timeout = \"3s\"\n{LOGIN}"), 84, "");
    let _silent = Odd::silent(server, 85);
    let silent = format!("timeout = \"1s\"\n{LOGIN}");
    stand.fails(
        Form::Hanging,
        &silent,
        85,
        "no answer in time: the answer to the login is missing",
    );
    postgres.signal(Signal::SIGSTOP).expect("a signal");
    stand.fails(
        Form::Hanging,
        &silent,
        PORT,
        "no answer in time: the answer to the login is missing",
    );
    drop(postgres);
    takes_nobody_in(&stand, &data);
    stand.finish();
}

/// A server that is full is no success without a user either.
fn takes_nobody_in(stand: &Stand, data: &str) {
    let _postgres = serve(
        stand.server(),
        data,
        &["-c", "max_connections=3", "-c", "superuser_reserved_connections=0"],
    );
    stand.passes(Form::Healthy, "", PORT);
    let psql = program("psql");
    let address = "host=127.0.0.1 user=admin password=s3cret dbname=postgres";
    // One that came while a probe had the last place is sent away, so another one is sent.
    let mut sleepers = Vec::new();
    ipvsd_lab::wait_until("every connection is taken", super::SOON, || {
        // The server frees the last probe's place in its own time.
        std::thread::sleep(Duration::from_millis(500));
        sleepers.push(
            stand
                .server()
                .spawn(&[&psql, address, "-c", "SELECT pg_sleep(600)"])
                .expect("psql"),
        );
        std::thread::sleep(Duration::from_millis(500));
        stand.probe(LOGIN, PORT).outcome != ipvsd::model::ProbeOutcome::Success
    })
    .unwrap_or_else(|problem| panic!("{problem}: {:?}", sleepers.iter().map(Process::log).collect::<Vec<_>>()));
    stand.fails(
        Form::WrongAnswer,
        LOGIN,
        PORT,
        "refused: \"53300: sorry, too many clients already",
    );
}
