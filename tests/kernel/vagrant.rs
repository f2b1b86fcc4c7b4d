//! The scripts that make virtual machines of `vagrant/` what they are, on the lab's hosts; and the Vagrantfile.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use ipvsd::model::VirtualAddress;
use ipvsd::net::{HostNetwork, vip};
use ipvsd_lab::{Finished, Host, Nginx, Segment, Topology, prepare_director_by_hand, require_kernel};

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
fn the_scripts_make_real_servers_that_a_client_reaches() {
    require_kernel();
    let lab = Topology::one_segment().build("vagrant").unwrap();
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

    let director = lab.director(0);
    prepare_director_by_hand(director, "eth0", &[]).unwrap();
    let mut rules = String::new();
    for address in [IpAddr::from(vip4), vip6.into()] {
        hold(director, address);
        let service = SocketAddr::new(address, 80);
        rules.push_str(&format!("-A -t {service} -s rr\n"));
        for host in lab.real_servers() {
            let real: IpAddr = match address {
                IpAddr::V4(_) => host.address4(Segment::Server).into(),
                IpAddr::V6(_) => host.address6(Segment::Server).into(),
            };
            rules.push_str(&format!("-a -t {service} -r {} -g\n", SocketAddr::new(real, 80)));
        }
    }
    director.exec_ok_with_input(&["ipvsadm", "-R"], &rules).unwrap();

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

fn hold(director: &Host, address: IpAddr) {
    let held = VirtualAddress {
        device: "eth0".to_owned(),
        address,
    };
    director
        .in_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let network = HostNetwork::connect().await.unwrap();
                vip::hold(&network, &held).await.unwrap();
            });
        })
        .unwrap();
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
