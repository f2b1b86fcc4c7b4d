//! The scripts that make virtual machines of `vagrant/` what they are, on the lab's hosts; and the Vagrantfile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use ipvsd_lab::{Finished, Host, Nginx, Segment, Topology, require_kernel};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vagrant")
}

/// Runs a role's script on a host.
fn provision(host: &Host, role: &str, environment: &[String]) -> Finished {
    let script = folder().join(format!("provision/{role}.sh"));
    let run_dir = format!("RUN_DIR={}", host.directory().join("run").display());
    let ipvsd = format!("IPVSD={IPVSD}");
    let mut arguments = vec!["env", &ipvsd, &run_dir];
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
    let standing = |host: &Host, state: &str| {
        let told = [
            format!("STATE={state}"),
            format!("REAL_SERVERS={}", reals.join(" ")),
            format!("REAL_SERVERS6={}", reals6.join(" ")),
            format!("CONF_DIR={}", host.directory().join("etc").display()),
        ];
        let made = provision(host, "director", &[&vips[..], &told].concat());
        assert_eq!(made.code(), 0, "{}{}", made.stdout, made.stderr);
        assert!(made.stdout.contains(&format!("{state} director")), "{}", made.stdout);
    };
    standing(lab.director(1), "standby");
    assert!(!lab.director(1).directory().join("run/director.pid").exists());
    standing(lab.director(0), "active");
    let _daemon = Daemon(lab.director(0).directory().join("run/director.pid"));

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
    let ruby = |arguments: &[&str]| {
        let output = Command::new("ruby").arg("--disable-gems").args(arguments).output();
        output.expect("ruby is missing in the lab: tests/lab/setup")
    };
    let file = folder().join("Vagrantfile");
    let syntax = ruby(&["-wc", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&syntax.stderr);
    assert!(syntax.status.success() && said.is_empty(), "{said}");

    let read = ruby(&[folder().join("check.rb").to_str().unwrap()]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).unwrap();
    let machines: BTreeMap<_, _> = text
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let wanted = [
        ("client", "provision/client.sh"),
        ("director1", "provision/director.sh"),
        ("director2", "provision/director.sh"),
        ("rs1", "provision/realserver.sh"),
        ("rs2", "provision/realserver.sh"),
    ];
    assert_eq!(machines, wanted.into());
}
