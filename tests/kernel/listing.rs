//! `ipvsd list` beside `ipvsadm -L` on one table with live connections and traffic in it: the same bytes.
//!
//! Figures move while two programs run one after the other, so a comparison is made again until the original prints
//! the same before and after ours.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ipvsd::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, Protocol, Scheduler, ServiceKey, ServiceSpec, Step,
};
use ipvsd_lab::{Client, Finished, Host, Lab, Responder, Segment, Topology, prepare_director_by_hand, require_kernel};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// Views of services and destinations.
const VIEWS: [&str; 8] = [
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--tun-info",
    "--exact",
    "--nosort",
    "--sort",
];

/// A table with something of everything, written by the original. Services that traffic goes through use the lab's
/// addresses, the rest those that make the sort interesting.
fn fill_table(lab: &Lab) {
    let director = lab.director(0);
    let (vip4, vip6) = (lab.vip4(0), lab.vip6(0));
    let server = |index: usize| lab.real_server(index).address4(Segment::Server);
    let server6 = |index: usize| lab.real_server(index).address6(Segment::Server);
    let mut rules = String::new();
    let mut add = |line: &str| writeln!(rules, "{line}").unwrap();
    add(&format!("-A -t {vip4}:80 -s rr"));
    add(&format!("-a -t {vip4}:80 -r {}:80 -m -w 3 -x 100 -y 80", server(0)));
    add(&format!("-a -t {vip4}:80 -r {}:80 -m -w 0 -x 7", server(1)));
    add(&format!("-A -t {vip4}:81 -s rr -p 600"));
    add(&format!("-a -t {vip4}:81 -r {}:80 -m", server(0)));
    add(&format!("-A -t {vip4}:82 -s wlc -p 360 -M 255.255.255.0"));
    add(&format!("-a -t {vip4}:82 -r {}:80 -m", server(1)));
    add(&format!("-A -u {vip4}:53 -s rr"));
    add(&format!("-a -u {vip4}:53 -r {}:53 -m", server(0)));
    add(&format!("-A -u {vip4}:54 -s rr -o"));
    add(&format!("-a -u {vip4}:54 -r {}:53 -m", server(0)));
    add(&format!("-A -t [{vip6}]:80 -s rr"));
    add(&format!("-a -t [{vip6}]:80 -r [{}]:80 -m", server6(0)));
    add(&format!("-A -u {vip4}:5060 -s rr -p 60 --pe sip -o"));
    for (port, scheduler, flags) in [
        (90, "sh", "sh-fallback,sh-port"),
        (91, "sh", "sh-port"),
        (92, "sh", "flag-3"),
        (93, "mh", "mh-fallback,mh-port"),
        (94, "mh", "mh-fallback"),
        (95, "rr", "flag-1,flag-3"),
        (96, "rr", "flag-2"),
    ] {
        add(&format!("-A -t 203.0.113.7:{port} -s {scheduler} -b {flags}"));
    }
    for (place, scheduler) in ["wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sed", "nq", "fo", "ovf"]
        .iter()
        .enumerate()
    {
        add(&format!("-A -t 10.9.8.{place}:80 -s {scheduler}"));
    }
    add("-A -t 127.0.0.1:8080 -s rr -M 255.255.0.0");
    add("-A -t 192.0.2.1:8080 -s rr");
    add("-A -t 10.9.8.7:0 -s rr -p 2678400");
    add("-A -u 10.9.8.7:53 -s rr");
    add("-A --sctp-service 10.9.8.7:3868 -s rr");
    add("-a --sctp-service 10.9.8.7:3868 -r 192.0.2.77:3868 -m -w 2147483647");
    // Three distances of more than half the address space: the comparison goes round in a circle.
    for address in [
        "10.1.0.9",
        "127.0.0.1",
        "192.0.2.1",
        "100.64.0.1",
        "203.0.113.9",
        "198.18.0.1",
        "10.1.0.1",
    ] {
        add(&format!("-a -t 10.9.8.7:0 -r {address}:0 -m"));
    }
    for (last, tunnel) in [
        "",
        "--tun-type gue --tun-port 6080",
        "--tun-type gue --tun-port 6080 --tun-csum",
        "--tun-type gue --tun-port 6080 --tun-remcsum",
        "--tun-type gre",
        "--tun-type gre --tun-csum",
    ]
    .iter()
    .enumerate()
    {
        add(&format!("-a -t 10.9.8.2:80 -r 192.0.2.{}:80 -i {tunnel}", 60 + last));
    }
    add("-a -t 10.9.8.2:80 -r [2001:db8:1111:2222:3333:4444:5555:6666]:80 -i");
    add("-A -t [2001:db8:9::1]:443 -s rr -p 100 -M 96");
    for address in [
        "[2001:db8:9::2]",
        "192.0.2.1",
        "198.51.100.1",
        "[9000:db8::1]",
        "[2001:db8::1]",
        "10.0.0.1",
    ] {
        add(&format!("-a -t [2001:db8:9::1]:443 -r {address}:443 -i"));
    }
    add("-A -u [2001:db8:9::1]:53 -s rr -p 360");
    add("-A -f 1 -s rr");
    add("-a -f 1 -r 192.0.2.78:8080 -m");
    add("-a -f 1 -r 192.0.2.77 -g");
    add("-A -f 2 -s wlc -p 30 -M 255.255.0.0");
    add("-A -f 2 -6 -s lblc -p 360 -M 64");
    add("-a -f 2 -6 -r [2001:db8:2::77]:0 -g");
    add("-A -f 4294967295 -s rr");
    director.exec_ok_with_input(&["ipvsadm", "-R"], &rules).unwrap();
}

fn listing_lab(name: &str) -> Lab {
    let lab = Topology::two_segments().build(name).unwrap();
    let director = lab.director(0);
    let vips: [IpAddr; 2] = [lab.vip4(0).into(), lab.vip6(0).into()];
    prepare_director_by_hand(director, director.device(Segment::Client), &vips).unwrap();
    fill_table(&lab);
    lab
}

fn ours(host: &Host, options: &[&str]) -> Finished {
    host.exec(&[&[IPVSD, "list"], options].concat()).unwrap()
}

fn theirs(host: &Host, options: &[&str]) -> Finished {
    host.exec(&[&["ipvsadm", "-L"], options].concat()).unwrap()
}

/// Connections with `00:00` in place of the time that they have left, which stands between their protocol and their
/// state.
fn without_times(listed: &str) -> String {
    let is_time = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let line = |line: &str| match line.split(' ').nth(1) {
        Some(time) if is_time(time) => line.replacen(time, "00:00", 1),
        _ => line.to_owned(),
    };
    listed.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Compares both programs with the same options, over again while the figures move.
fn assert_same(host: &Host, options: &[&str]) {
    // The time that connections have left runs on from one program to the next.
    let still = |shown: &Finished| match options.iter().any(|option| matches!(*option, "-c" | "-nc")) {
        true => without_times(&shown.stdout),
        false => shown.stdout.clone(),
    };
    for _ in 0..20 {
        let before = theirs(host, options);
        let our = ours(host, options);
        let after = theirs(host, options);
        if still(&before) == still(&after) {
            assert_eq!(still(&our), still(&before), "{options:?}\n{}", our.stderr);
            assert_eq!(our.code(), before.code(), "{options:?}\n{}", our.stderr);
            return;
        }
    }
    panic!("the original's figures never stood still with {options:?}");
}

#[test]
fn every_listing_is_the_originals_with_live_connections_in_it() {
    require_kernel();
    let lab = listing_lab("listing");
    let (director, client) = (lab.director(0), Client::new(lab.client(0)));
    let (vip4, vip6) = (IpAddr::from(lab.vip4(0)), IpAddr::from(lab.vip6(0)));
    let any4 = IpAddr::from([0, 0, 0, 0]);
    let any6 = IpAddr::from([0; 16]);
    let mut servers = Vec::new();
    for server in lab.real_servers() {
        let listens = [SocketAddr::new(any4, 80), SocketAddr::new(any6, 80)];
        servers.push(Responder::start(server, &listens, server.name()).unwrap());
        servers.push(Responder::start_udp(server, &[SocketAddr::new(any4, 53)], server.name()).unwrap());
    }
    let mut open = Vec::new();
    for (address, port) in [(vip4, 80), (vip4, 80), (vip4, 81), (vip4, 82), (vip6, 80)] {
        open.push(client.open(SocketAddr::new(address, port)).unwrap());
        client.get(SocketAddr::new(address, port)).unwrap();
    }
    client.ask_udp(SocketAddr::new(vip4, 53)).unwrap();
    // The answer to one-packet scheduling is not translated back, so the client does not take it.
    let impatient = Client::new(lab.client(0)).timeout(Duration::from_millis(200));
    assert!(impatient.ask_udp(SocketAddr::new(vip4, 54)).is_err());

    let plain = ours(director, &["-n"]).stdout;
    assert!(plain.lines().any(|line| line.starts_with("TCP  ")), "{plain}");
    let busy = plain
        .lines()
        .filter(|line| line.starts_with("  -> ") && !line.trim_end().ends_with(" 0 0"));
    assert!(busy.count() > 0, "no live connections in\n{plain}");

    assert_same(director, &["-n"]);
    for (place, first) in VIEWS.iter().enumerate() {
        assert_same(director, &["-n", first]);
        for second in &VIEWS[place + 1..] {
            assert_same(director, &["-n", first, second]);
        }
    }
    let selections = [
        vec!["-t".to_owned(), format!("{vip4}:80")],
        vec!["-u".to_owned(), format!("{vip4}:53")],
        vec!["--sctp-service".to_owned(), "10.9.8.7:3868".to_owned()],
        vec!["-t".to_owned(), "10.9.8.7".to_owned()],
        vec!["-t".to_owned(), "10.9.8.2:http".to_owned()],
        vec!["-t".to_owned(), format!("[{vip6}]:80")],
        vec!["-t".to_owned(), "[2001:db8:9::1]:443".to_owned()],
        vec!["-f".to_owned(), "2".to_owned()],
        vec!["-f".to_owned(), "2".to_owned(), "-6".to_owned()],
        vec!["-f".to_owned(), "4294967295".to_owned()],
        // Not there.
        vec!["-t".to_owned(), format!("{vip4}:65535")],
        vec!["-f".to_owned(), "1".to_owned(), "-6".to_owned()],
        // Refused.
        vec!["-t".to_owned(), "80".to_owned()],
        vec!["-f".to_owned(), "0".to_owned()],
    ];
    // Three views each, others for the next one: each view meets services of every kind.
    let mut views = VIEWS.iter().cycle();
    for selection in &selections {
        let selection: Vec<&str> = selection.iter().map(String::as_str).collect();
        assert_same(director, &[&["-n"], selection.as_slice()].concat());
        for view in views.by_ref().take(3) {
            assert_same(director, &[&["-n", view], selection.as_slice()].concat());
        }
    }
    assert!(ours(director, &["-nc"]).stdout.contains(" ESTABLISHED "));
    for options in [
        vec!["-nc"],
        vec!["-nc", "--persistent-conn"],
        vec!["-nc", "--nosort", "--exact"],
        vec!["-c", "--tun-info", "-n"],
        vec!["--timeout"],
        vec!["--timeout", "--exact", "-n"],
        vec!["--daemon"],
    ] {
        assert_same(director, &options);
    }
    // What the original refuses.
    for options in [
        vec!["-c", "--stats"],
        vec!["-c", "--rate"],
        vec!["-c", "--thresholds"],
        vec!["-c", "--timeout"],
        vec!["-c", "-f", "1"],
        vec!["--timeout", "--daemon"],
        vec!["--timeout", "--stats"],
        vec!["--timeout", "--persistent-conn"],
        vec!["--daemon", "--persistent-conn"],
        vec!["-n", "-n"],
        vec!["-6"],
        vec!["-f", "1", "-t", "10.9.8.7:80"],
        vec!["extra"],
    ] {
        assert_same(director, &options);
        assert_eq!(ours(director, &options).code(), 2, "{options:?}");
    }
    drop(open);
}

#[test]
fn sync_daemons_are_listed_as_the_original_lists_them() {
    require_kernel();
    let lab = Topology::one_segment().build("listing-sync").unwrap();
    let director = lab.director(0);
    assert_same(director, &["--daemon"]);
    assert_eq!(ours(director, &["--daemon"]).stdout, "");
    let start = |arguments: &[&str]| {
        director
            .exec_ok(&[&["ipvsadm", "--start-daemon"], arguments].concat())
            .unwrap();
    };
    start(&["master", "--mcast-interface", "eth0", "--syncid", "7"]);
    assert_same(director, &["--daemon"]);
    start(&[
        "backup",
        "--mcast-interface",
        "eth0",
        "--mcast-group",
        "ff02::81",
        "--mcast-port",
        "9999",
        "--mcast-ttl",
        "4",
    ]);
    assert_same(director, &["--daemon", "-n"]);
    let document: serde_json::Value = serde_json::from_str(&ours(director, &["--daemon", "--json"]).stdout).unwrap();
    assert_eq!(document["daemons"][0]["sync_id"], 7);
    assert_eq!(document["daemons"][1]["group"], "ff02::81");
    for role in ["master", "backup"] {
        director.exec_ok(&["ipvsadm", "--stop-daemon", role]).unwrap();
    }
}

/// Runs a command line with another `/etc/hosts`, name servers and order of sources, in a mount namespace.
fn with_names(host: &Host, sources: &str, command: &str) -> Finished {
    let folder = host.directory();
    std::fs::write(
        folder.join("hosts"),
        "127.0.0.1 localhost\n\
         10.9.8.7 www.example.com www\n\
         192.0.2.1 a-real-server-with-a-rather-long-name.example.com\n\
         2001:db8:9::1 six.example.com\n\
         2001:db8:9::2 another-real-server-with-a-long-name.and-a-long-domain.and-more.example.com\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("nsswitch.conf"),
        format!("hosts: {sources}\nservices: files\n"),
    )
    .unwrap();
    std::fs::write(folder.join("resolv.conf"), "nameserver 192.0.2.11\n").unwrap();
    let mut script = String::new();
    for file in ["hosts", "nsswitch.conf", "resolv.conf"] {
        writeln!(
            script,
            "mount --bind {}/{file} /etc/{file} || exit 99",
            folder.display()
        )
        .unwrap();
    }
    writeln!(script, "exec {command}").unwrap();
    host.exec(&["unshare", "-m", "sh", "-c", &script]).unwrap()
}

#[test]
fn hosts_and_ports_have_the_names_the_original_gives_them() {
    require_kernel();
    let lab = listing_lab("listing-names");
    let director = lab.director(0);
    for options in [
        "",
        "--stats",
        "--rate",
        "--thresholds",
        "--persistent-conn",
        "--tun-info",
        "--nosort",
        "-c",
        "-t www.example.com:80",
        "-t www.example.com",
        "-u www:domain",
        "-t no-such-host.example.com:80",
        "-t 10.9.8.7:no-such-port",
    ] {
        let our = with_names(director, "files", &format!("{IPVSD} list {options}"));
        let original = with_names(director, "files", &format!("ipvsadm -L {options}"));
        assert_eq!(our.stdout, original.stdout, "{options}\n{}", our.stderr);
        assert_eq!(our.code(), original.code(), "{options}\n{}", our.stderr);
        assert_ne!(our.code(), 99, "{}", our.stderr);
    }
    let named = with_names(director, "files", &format!("{IPVSD} list")).stdout;
    assert!(
        named.contains("TCP  www.example.com:0 rr") && named.contains("a-real-server-with-a-rather- "),
        "{named}"
    );
}

#[test]
fn a_dead_name_server_costs_a_listing_seconds_and_no_line() {
    require_kernel();
    let lab = listing_lab("listing-dead-dns");
    let director = lab.director(0);
    // It takes questions and never answers.
    let _silent = lab
        .real_server(0)
        .in_namespace(|| UdpSocket::bind("0.0.0.0:53").unwrap())
        .unwrap();
    let start = Instant::now();
    let our = with_names(director, "files dns", &format!("{IPVSD} list"));
    let took = start.elapsed();
    assert_eq!(our.code(), 0, "{}", our.stderr);
    // One after the other they would take some minutes.
    assert!(took < Duration::from_secs(35), "{took:?}");
    assert!(
        took > Duration::from_secs(2),
        "the name server was not asked at all: {took:?}"
    );
    let numeric = ours(director, &["-n"]).stdout;
    assert_eq!(our.stdout.lines().count(), numeric.lines().count());
    assert!(our.stdout.contains("TCP  www.example.com:0 rr"), "{}", our.stdout);
    assert!(our.stdout.contains("TCP  203.0.113.7:90 sh"), "{}", our.stdout);
}

#[test]
fn json_has_the_rows_of_the_table() {
    require_kernel();
    let lab = listing_lab("listing-json");
    let director = lab.director(0);
    let document: serde_json::Value = serde_json::from_str(&ours(director, &["--json"]).stdout).unwrap();
    let services = document["services"].as_array().unwrap();
    let table = ours(director, &["-n"]).stdout;
    assert_eq!(document["schema"], 1);
    let destinations: usize = services
        .iter()
        .map(|service| service["destinations"].as_array().unwrap().len())
        .sum();
    // The kernel's line, two titles, and one line each.
    assert_eq!(3 + services.len() + destinations, table.lines().count());
    let keys: BTreeSet<String> = services
        .iter()
        .map(|service| {
            format!(
                "{} {} {} {} {}",
                service["protocol"], service["address"], service["port"], service["fwmark"], service["family"]
            )
        })
        .collect();
    assert_eq!(keys.len(), services.len());
    let sctp = services.iter().find(|service| service["protocol"] == "sctp").unwrap();
    assert_eq!(sctp["destinations"][0]["weight"], 2_147_483_647_u32);
    assert_eq!(sctp["destinations"][0]["forward"], "nat");
    let one: serde_json::Value = serde_json::from_str(&ours(director, &["--json", "-f", "2", "-6"]).stdout).unwrap();
    assert!(one["kernel"].is_null());
    assert_eq!(one["services"][0]["persistence"]["netmask"], "64");
}

#[test]
fn what_ipvsadm_cannot_write_is_listed_as_ipvsadm_lists_it() {
    require_kernel();
    let lab = Topology::one_segment().build("listing-odd").unwrap();
    let director = lab.director(0);
    let address = IpAddr::from([10, 9, 8, 7]);
    let odd_protocol = ServiceKey::Address {
        protocol: Protocol::Other(50),
        address,
        port: 1,
    };
    let tcp = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address,
        port: 1,
    };
    let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
    let mut steps: Vec<Step> = [odd_protocol, tcp]
        .into_iter()
        .map(|service| Step::AddService {
            service,
            spec: spec.clone(),
        })
        .collect();
    for (last, forwarding) in [Forwarding::Bypass, Forwarding::Local, Forwarding::Other(6)]
        .into_iter()
        .enumerate()
    {
        steps.push(Step::AddDestination {
            service: tcp,
            destination: DestinationKey::new(IpAddr::from([192, 0, 2, 70 + last as u8]), 1),
            spec: DestinationSpec::new(forwarding, 1),
        });
    }
    let outcomes = director
        .in_namespace(|| ipvsd::ipvs::Client::connect().unwrap().apply(&steps))
        .unwrap();
    for outcome in outcomes {
        outcome.result.unwrap();
    }
    for options in [vec!["-n", "--tun-info"], vec!["-n", "--stats"]] {
        assert_same(director, &options);
    }
    // Known difference: the plain table is /proc/net/ip_vs's, which has a word where the original has none.
    let original = theirs(director, &["-n"]).stdout;
    assert!(original.contains(" (null)  1 "), "{original}");
    assert_eq!(
        ours(director, &["-n"]).stdout,
        original.replace(" (null)  1 ", " Masq    1 ")
    );
}
