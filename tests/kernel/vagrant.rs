//! The scripts that make virtual machines of `vagrant/` what they are, on the lab's hosts; and the Vagrantfile.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use ipvsd_lab::{Finished, Host, Nginx, Segment, Topology, require_kernel};

use crate::mariadb;
use crate::routers::Routers;

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vagrant")
}

/// Runs a role's script on a host.
fn provision(host: &Host, role: &str, environment: &[String]) -> Finished {
    let script = folder().join(format!("provision/{role}.sh"));
    let run_dir = format!("RUN_DIR={}", host.directory().join("run").display());
    let ipvsd = format!("IPVSD={IPVSD}");
    let project = concat!("PROJECT=", env!("CARGO_MANIFEST_DIR"));
    let mut arguments = vec!["env", &ipvsd, &run_dir, project];
    arguments.extend(environment.iter().map(String::as_str));
    let script = script.to_str().unwrap();
    arguments.push(script);
    host.exec(&arguments).unwrap()
}

#[test]
fn the_scripts_make_directors_and_real_servers_that_a_client_reaches() {
    require_kernel();
    let lab = Topology::one_segment().directors(2).build("vagrant").unwrap();
    let (vip4, vip6) = (lab.vip4(0), lab.vip6(0));
    let vips = [format!("VIP4={vip4}"), format!("VIP6={vip6}")];

    let unprepared = [&vips[..], &["PATIENCE=1".to_owned()]].concat();
    let nobody = provision(lab.client(0), "client", &unprepared);
    assert_eq!(nobody.code(), 1, "{}", nobody.stdout);
    assert!(
        nobody.stderr.contains(&format!("{vip4}: no answer")),
        "{}",
        nobody.stderr
    );

    let mut servers = Vec::new();
    for host in lab.real_servers() {
        let wildcards: [SocketAddr; 2] = ["0.0.0.0:80", "[::]:80"].map(|address| address.parse().unwrap());
        servers.push(Nginx::start(host, &wildcards, host.name()).unwrap());
        // Twice: provisioning a machine again changes nothing.
        for _ in 0..2 {
            let made = provision(host, "realserver", &vips);
            assert_eq!(made.code(), 0, "{}{}", made.stdout, made.stderr);
            assert!(
                made.stdout.ends_with("this host works as a real server\n"),
                "{}",
                made.stdout
            );
        }
    }

    let (mut reals, mut reals6) = (Vec::new(), Vec::new());
    for host in lab.real_servers() {
        reals.push(host.address4(Segment::Server).to_string());
        reals6.push(host.address6(Segment::Server).to_string());
    }
    let told = [
        format!("REAL_SERVERS={}", reals.join(" ")),
        format!("REAL_SERVERS6={}", reals6.join(" ")),
    ];
    let told = [&vips[..], &told].concat();
    let mut daemons: Vec<_> = [0, 1]
        .map(|index| start_director(lab.director(index), index, &told))
        .into();

    let asked = [&vips[..], &["REQUESTS=6".to_owned()]].concat();
    let answered = provision(lab.client(0), "client", &asked);
    assert_eq!(answered.code(), 0, "{}{}", answered.stdout, answered.stderr);
    let lines: Vec<_> = answered.stdout.lines().map(str::trim).collect();
    let wanted = [
        format!("3 {vip4}: real-server-1"),
        format!("3 {vip4}: real-server-2"),
        format!("3 {vip6}: real-server-1"),
        format!("3 {vip6}: real-server-2"),
    ];
    assert_eq!(lines, wanted);

    // The first one leaves, and the second one goes on.
    drop(daemons.remove(0));
    let answered = provision(lab.client(0), "client", &asked);
    assert_eq!(answered.code(), 0, "{}{}", answered.stdout, answered.stderr);
}

/// Makes a host the first or second director of what it is told.
fn start_director(host: &Host, index: usize, told: &[String]) -> Daemon {
    let own = [
        format!("NUMBER={}", index + 1),
        format!("CONF_DIR={}", host.directory().join("etc").display()),
    ];
    let made = provision(host, "director", &[told, &own].concat());
    assert_eq!(made.code(), 0, "{}{}", made.stdout, made.stderr);
    let said = format!(": director {} of ", index + 1);
    assert!(made.stdout.contains(&said), "{}", made.stdout);
    Daemon(host.directory().join("run/director.pid"))
}

/// The scenarios of `conf/` that the Vagrantfile knows, and the machines of each.
const SCENARIOS: [(&str, &[&str]); 5] = [
    ("mysql-pair", &[]),
    ("mysql-replicas", &["rs1", "rs2"]),
    ("mysql-writer", &[]),
    ("tidb-pool", &["rs1", "rs2", "rs3"]),
    ("web-proxies", &["rs1", "rs2"]),
];

#[test]
fn the_scripts_make_directors_by_the_examples_and_a_client_of_databases() {
    let routers = Routers::with_servers("vagrant-sql", 1);
    let (server, client) = (routers.lab.real_server(0), routers.lab.client(0));
    for (scenario, _) in SCENARIOS {
        for index in [0, 1] {
            let told = [format!("SCENARIO={scenario}"), "START=no".to_owned()];
            let host = routers.director(index);
            drop(start_director(host, index, &told));
            assert!(!host.directory().join("run/director.pid").exists(), "{scenario}");
        }
    }
    let data = mariadb::make(server, "CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\n");
    let _server = mariadb::serve(server, &data, 4000, &["--skip-name-resolve"]);
    let _daemon = start_director(routers.director(1), 1, &["SCENARIO=tidb-pool".to_owned()]);
    let asked = [format!("VIP4={}", routers.vip(0)), "SQL=4000".to_owned()];
    let asked = [&asked[..], &["REQUESTS=2".to_owned()]].concat();
    let answered = provision(client, "client", &asked);
    assert_eq!(answered.code(), 0, "{}{}", answered.stdout, answered.stderr);
    let lines: Vec<_> = answered.stdout.lines().map(str::trim).collect();
    assert_eq!(lines, ["2 192.0.2.200: real-server-1"]);
}

/// What director.sh has started in the background; ended with the test.
struct Daemon(PathBuf);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid {
            // Gone already is as good.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
    }
}

#[test]
fn the_vagrantfile_gives_each_machine_its_script() {
    require_kernel();
    // Without gems: they are not where an unpacked ruby looks for them.
    let ruby = |scenario: &str, arguments: &[&str]| {
        let mut command = Command::new("ruby");
        let output = command
            .arg("--disable-gems")
            .args(arguments)
            .env("SCENARIO", scenario)
            .output();
        output.expect("ruby is missing in the lab: tests/lab/setup")
    };
    let file = folder().join("Vagrantfile");
    let syntax = ruby("", &["-wc", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&syntax.stderr);
    assert!(syntax.status.success() && said.is_empty(), "{said}");

    let other: [(&str, &[&str]); 1] = [("", &["rs1", "rs2"])];
    for (scenario, servers) in SCENARIOS.into_iter().chain(other) {
        let read = ruby(scenario, &[folder().join("check.rb").to_str().unwrap()]);
        assert!(
            read.status.success(),
            "{scenario}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
        let text = String::from_utf8(read.stdout).unwrap();
        let machines: BTreeSet<_> = text
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                (words.next().unwrap(), words.next().unwrap())
            })
            .collect();
        let mut wanted: BTreeSet<_> = servers.iter().map(|name| (*name, "provision/realserver.sh")).collect();
        wanted.extend(["director1", "director2"].map(|name| (name, "provision/director.sh")));
        if servers.is_empty() {
            // Who directs serves as well.
            wanted.extend(["director1", "director2"].map(|name| (name, "provision/realserver.sh")));
        }
        wanted.insert(("client", "provision/client.sh"));
        assert_eq!(machines, wanted, "{scenario}");
    }
    let unknown = ruby("nothing", &[folder().join("check.rb").to_str().unwrap()]);
    assert!(!unknown.status.success());
}
