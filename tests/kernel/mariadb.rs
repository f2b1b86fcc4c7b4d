//! Debian's MariaDB on a host: its files, the server, and statements that are put to it.

use std::net::SocketAddr;

use ipvsd_lab::{Finished, Host, Process};

use crate::probes::SOON;
use crate::probes::servers::{run_long, start};

/// Buffers as small as can be: those of MariaDB's own choice are most of what its start costs here.
const SMALL: &str = "--aria-pagecache-buffer-size=1M --key-buffer-size=256K";

/// Where the messages of the server lie, and the scripts that make its tables.
fn share() -> String {
    format!("{}/usr/share/mysql", std::env::var("LAB_ROOT").expect("the lab"))
}

/// A data folder with the system tables, without the dear InnoDB, and beside it what is run at each start: statements,
/// each to its semicolon on one line.
pub(crate) fn make(host: &Host, statements: &str) -> String {
    let data = host.directory().join("data").display().to_string();
    std::fs::create_dir_all(format!("{data}/mysql")).expect("a folder");
    let share = share();
    std::fs::write(format!("{data}.sql"), statements).expect("a file");
    let script = format!(
        "(echo 'use mysql;'; cat {share}/mysql_system_tables.sql {share}/mysql_system_tables_data.sql) \
         | mariadbd --no-defaults --bootstrap --datadir={data} --user=root --lc-messages-dir={share} --innodb=OFF \
           --default-storage-engine=Aria {SMALL}"
    );
    run_long(host, &["sh", "-c", &script]);
    data
}

/// The files of one host for another, with the same statements.
pub(crate) fn copy(data: &str, to: &Host) -> String {
    let copied = to.directory().join("data").display().to_string();
    to.exec_ok(&["cp", "-a", data, &copied]).expect("cp");
    std::fs::copy(format!("{data}.sql"), format!("{copied}.sql")).expect("a file");
    copied
}

/// A server on a port of all addresses, with further options; the host's name is its `@@hostname`. It finds names for
/// directors and clients, without which MariaDB remembers nothing about a host, and does not block it.
pub(crate) fn serve(host: &Host, data: &str, port: u16, more: &[&str]) -> Process {
    let share = format!("--lc-messages-dir={}", share());
    let (datadir, socket) = (format!("--datadir={data}"), format!("--socket={data}/socket"));
    let grants = format!("--init-file={data}.sql");
    let names = host.directory().join("hosts").display().to_string();
    std::fs::write(
        &names,
        "127.0.0.1 localhost\n192.0.2.1 director-1\n192.0.2.101 client-1\n",
    )
    .expect("a file");
    let port_option = format!("--port={port}");
    let mut command = vec![
        "unshare",
        "--uts",
        "--mount",
        "sh",
        "-c",
        "hostname \"$0\" && mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"",
        host.name(),
        &names,
        "mariadbd",
        "--no-defaults",
        "--user=root",
        "--innodb=OFF",
        "--default-storage-engine=Aria",
        "--bind-address=0.0.0.0",
        &port_option,
        &share,
        &datadir,
        &socket,
        &grants,
    ];
    command.extend(SMALL.split(' '));
    command.extend(more);
    start(host, &command, port)
}

/// Runs statements on a new connection, as the client would that an operator types; rows come without a heading.
pub(crate) fn ask(client: &Host, server: SocketAddr, user: &str, password: &str, statements: &str) -> Finished {
    let command = client_command(server, user, password, statements);
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    client.exec(&command).expect("a client")
}

/// A session that asks who serves it, once a second, for as long as the value lives.
pub(crate) struct Session {
    process: Process,
    pub(crate) server: String,
}

impl Session {
    pub(crate) fn open(client: &Host, server: SocketAddr, user: &str, password: &str) -> Self {
        let statements = "SELECT @@hostname; DO SLEEP(1); ".repeat(600);
        let command = client_command(server, user, password, &statements);
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let mut process = client.spawn(&command).expect("a client");
        process.wait_for_log("\n", SOON).expect("a row");
        let log = process.log();
        let server = log.lines().next().unwrap_or_default().to_owned();
        Self { process, server }
    }

    /// How often it was answered so far.
    pub(crate) fn answers(&self) -> usize {
        self.process.log().lines().filter(|line| *line == self.server).count()
    }

    /// Whether nobody has cut it.
    pub(crate) fn is_open(&mut self) -> bool {
        self.process.is_running()
    }
}

fn client_command(server: SocketAddr, user: &str, password: &str, statements: &str) -> Vec<String> {
    let (address, port) = (format!("--host={}", server.ip()), format!("--port={}", server.port()));
    let (user, password) = (format!("--user={user}"), format!("--password={password}"));
    let command = [
        "mariadb",
        "--no-defaults",
        "--protocol=tcp",
        "--connect-timeout=5",
        "--batch",
        "--unbuffered",
        "--skip-column-names",
        &address,
        &port,
        &user,
        &password,
        "--execute",
        statements,
    ];
    command.map(str::to_owned).to_vec()
}

/// The same on the server's own host, as root; what it answers.
pub(crate) fn order(host: &Host, data: &str, statements: &str) -> String {
    let socket = format!("--socket={data}/socket");
    let command = [
        "mariadb",
        "--no-defaults",
        "--user=root",
        &socket,
        "--execute",
        statements,
    ];
    host.exec_ok(&command).expect("a client")
}
