//! What each command line means, and what is said of those that mean nothing. What is expected here was seen of
//! ipvsadm 1.31 on a kernel.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::listing::{Names, Order, View, What};
use crate::model::{
    DestinationSpec, Forwarding, ListedDestination, ListedService, Netmask, Protocol, Scheduler, ServiceFlags,
    ServiceSpec, Statistics, Step, SyncRole, Timeouts,
};

/// Knows one host and two ports.
struct Known;

impl NameService for Known {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "www").then_some(Ipv4Addr::new(192, 0, 2, 1))
    }

    fn port(&self, protocol: Protocol, name: &str) -> Option<u16> {
        match (protocol, name) {
            (Protocol::Tcp, "http") => Some(80),
            (Protocol::Udp, "tftp") => Some(69),
            _ => None,
        }
    }
}

/// Words as a shell would part them; `''` is an empty one, and `_` stands for a blank.
fn of(line: &str) -> Result<Command, Refusal> {
    let words: Vec<String> = line
        .split_whitespace()
        .map(|word| {
            if word == "''" {
                String::new()
            } else {
                word.replace('_', " ")
            }
        })
        .collect();
    parse(&words, "ipvsadm", &Known)
}

fn change(line: &str) -> Step {
    match of(line) {
        Ok(Command::Change(step)) => step,
        other => panic!("{line}: {other:?}"),
    }
}

fn service_spec(line: &str) -> ServiceSpec {
    match change(line) {
        Step::AddService { spec, .. } | Step::SetService { spec, .. } => spec,
        other => panic!("{line}: {other}"),
    }
}

fn destination(line: &str) -> (String, DestinationSpec) {
    match change(line) {
        Step::AddDestination { destination, spec, .. } | Step::SetDestination { destination, spec, .. } => {
            (destination.to_string(), spec)
        }
        other => panic!("{line}: {other}"),
    }
}

#[test]
fn changes_are_what_their_options_say() {
    for (line, expected) in [
        ("-A -t 192.0.2.1:80", "add service tcp 192.0.2.1:80 (scheduler wlc)"),
        ("-At www:http -srr", "add service tcp 192.0.2.1:80 (scheduler rr)"),
        (
            "--add-service --tcp-service=192.0.2.1:80 --scheduler=rr",
            "add service tcp 192.0.2.1:80 (scheduler rr)",
        ),
        (
            "-E -u 192.0.2.1:53 -o -s none",
            "set service udp 192.0.2.1:53 (scheduler none one_packet)",
        ),
        (
            "-A -f 7 -6 -p -M 64",
            "add service fwmark 7 inet6 (scheduler wlc persistence_timeout 360s netmask 64)",
        ),
        (
            "-A --sctp-service [2001:db8::1]:5 --pe sip",
            "add service sctp [2001:db8::1]:5 (scheduler wlc persistence_engine sip)",
        ),
        ("-D -t 2001:db8::1", "remove service tcp [2001:db8::1]:0"),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1",
            "add real server 10.0.0.1:80 to tcp 192.0.2.1:80 (dr weight 1)",
        ),
        (
            "-e -f 1 -r 10.0.0.1:http -m -w0 -x 9 -y 5",
            "set real server 10.0.0.1:80 of fwmark 1 (nat weight 0 uthreshold 9 lthreshold 5)",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 --tun-remcsum",
            "add real server 10.0.0.1:80 to tcp 192.0.2.1:80 (tun gue:6080 remcsum weight 1)",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gre --tun-csum",
            "add real server 10.0.0.1:80 to tcp 192.0.2.1:80 (tun gre csum weight 1)",
        ),
        (
            "-d -u www:tftp -r 10.0.0.2",
            "remove real server 10.0.0.2:69 from udp 192.0.2.1:69",
        ),
    ] {
        assert_eq!(change(line).to_string(), expected, "{line}");
    }
}

#[test]
fn all_else_is_what_its_options_say() {
    let timeouts = |tcp, tcp_fin, udp| Command::SetTimeouts(Timeouts { tcp, tcp_fin, udp });
    for (line, expected) in [
        ("-C", Command::Clear),
        ("-R", Command::Restore { atomic: false }),
        ("--restore --atomic", Command::Restore { atomic: true }),
        ("-S", Command::Save { numeric: false }),
        ("-Sn", Command::Save { numeric: true }),
        ("-Z", Command::Zero(None)),
        (
            "--zero -f 4294967295",
            Command::Zero(Some("fwmark 4294967295".parse().expect("a key"))),
        ),
        ("--set 1 2 3", timeouts(1, 2, 3)),
        ("1 --set 0 -- 2678400", timeouts(1, 0, 2_678_400)),
        ("--stop-daemon backup --syncid 9", Command::StopDaemon(SyncRole::Backup)),
        ("-h -z extra", Command::Help),
        ("extra -vz", Command::Version),
    ] {
        assert_eq!(of(line), Ok(expected), "{line}");
    }
    let Ok(Command::StartDaemon(daemon)) = of("--start-daemon=master") else {
        panic!("a sync daemon")
    };
    assert_eq!(
        (daemon.role, daemon.interface.as_str(), daemon.sync_id),
        (SyncRole::Master, "eth0", 0)
    );
    let Ok(Command::StartDaemon(daemon)) = of(
        "--start-daemon backup --mcast-interface dm0 --syncid 255 --mcast-group ff02::5 --mcast-port 9 --mcast-ttl 4 --sync-maxlen 1400",
    ) else {
        panic!("a sync daemon")
    };
    assert_eq!(
        (daemon.interface.as_str(), daemon.sync_id, daemon.max_length),
        ("dm0", 255, 1400)
    );
    assert_eq!((daemon.group, daemon.port, daemon.ttl), ("ff02::5".parse().ok(), 9, 4));
}

#[test]
fn listings_are_what_their_options_say() {
    let listing = |line: &str| match of(line) {
        Ok(Command::List(request)) => request,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(listing(""), crate::listing::Request::default());
    let request = listing("-Lnc --persistent-conn --nosort");
    assert_eq!(request.what, What::Connections { persistence: true });
    assert_eq!(
        (request.numeric, request.json, request.order),
        (true, false, Order::Kernel)
    );
    assert_eq!(listing("-l --timeout").what, What::Timeouts);
    assert_eq!(listing("-L --daemon --syncid 5 --sort --sort").what, What::Daemons);
    for (line, view) in [
        ("-L", View::Plain),
        ("-L --tun-info", View::TunnelInfo),
        ("-L --tun-info --persistent-conn", View::PersistentConnections),
        ("-L --persistent-conn --thresholds", View::Thresholds),
        ("-L --thresholds --rate", View::Rates { exact: false }),
        ("-L --rate --stats -X", View::Statistics { exact: true }),
    ] {
        assert_eq!(listing(line).view, view, "{line}");
    }
    let request = listing("-L -t 192.0.2.1:80 --json");
    assert_eq!(request.what, What::Service("tcp 192.0.2.1:80".parse().expect("a key")));
    assert!(request.json);
}

#[test]
fn what_is_refused_is_refused_in_the_original_words() {
    const USAGE: &str = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";
    for (line, status, message) in [
        // The first option.
        ("-n", 255, USAGE),
        ("-z -A", 255, USAGE),
        ("-L=5", 255, USAGE),
        ("--L", 255, USAGE),
        ("foo", 255, USAGE),
        ("-- -L", 255, USAGE),
        ("--start-daemon", 255, USAGE),
        ("-t 192.0.2.1:80 -A", 255, USAGE),
        // Options as such.
        ("-Lnz", 255, "-Lnz: unknown option"),
        ("-L --num", 255, "--num: unknown option"),
        ("-L --=x", 255, "--=x: unknown option"),
        ("-A -t", 255, "-t: missing argument"),
        ("-A -t 192.0.2.1:80 --pe", 255, "--pe: missing argument"),
        ("-L -n=", 255, "-n=: option does not take an argument"),
        ("-L --numeric=5", 255, "--numeric=5: option does not take an argument"),
        ("-A -t 192.0.2.1:80 -p -5", 255, "-5: unknown option"),
        ("-A -D", 2, "invalid option `-D'"),
        ("-AD", 2, "invalid option `-AD'"),
        ("-A --start-daemon master", 2, "invalid option `master'"),
        ("-L extra", 2, "unexpected argument extra"),
        ("-Ln -- -c", 2, "unexpected argument -c"),
        ("-L -", 2, "unexpected argument -"),
        ("-L -n -n", 2, "multiple 'numeric' options specified"),
        (
            "-a -t 192.0.2.1:80 -u 192.0.2.1:80",
            2,
            "multiple 'service-address' options specified",
        ),
        (
            "-a -f 1 -r 10.0.0.1 -gm",
            2,
            "multiple 'forwarding-method' options specified",
        ),
        // Values.
        (
            "-A -t 192.0.2.1:x",
            2,
            "illegal virtual server address[:port] specified",
        ),
        ("-a -r ''", 2, "illegal real server address[:port] specified"),
        ("-A -f 0", 2, "invalid fwmark value `0' specified"),
        ("-A -6 -f 5", 2, "-6 used before -f\n"),
        ("-A -f 5 -p 0", 2, "invalid timeout value `0' specified"),
        ("-A -f 5 -pt", 2, "invalid timeout value `t' specified"),
        ("-A -f 5 -M foo", 2, "illegal virtual server persistent mask specified"),
        ("-A -f 5 -6 -M 129", 2, "illegal ipv6 netmask specified"),
        ("-a -w 2147483648", 2, "illegal weight specified"),
        ("-a -x -1", 2, "illegal u_threshold specified"),
        ("-a -y x", 2, "illegal l_threshold specified"),
        ("-a --tun-type GUE", 2, "illegal tunnel type specified"),
        ("-a --tun-port 0", 2, "illegal tunnel port specified"),
        ("--start-daemon master --syncid 256", 2, "illegal syncid specified"),
        (
            "--start-daemon master --mcast-port 0",
            2,
            "illegal mcast-port specified",
        ),
        (
            "--start-daemon master --mcast-ttl 256",
            2,
            "illegal mcast-ttl specified",
        ),
        (
            "--start-daemon master --sync-maxlen 65508",
            2,
            "illegal sync-maxlen specified",
        ),
        (
            "--start-daemon master --mcast-group 224.1",
            2,
            "invalid IPv4 mcast-group `224.1'",
        ),
        (
            "--start-daemon master --mcast-group fe80::1",
            2,
            "invalid IPv6 mcast-group `fe80::1'",
        ),
        (
            "--start-daemon Master --zzz",
            2,
            "illegal start-daemon parameter specified",
        ),
        ("--stop-daemon ''", 2, "illegal start_daemon specified"),
        ("--set x", 2, "--set option requires 3 timeout values"),
        ("--set 1 2 x 4", 2, "invalid timeout value `x' specified"),
        ("--set 1 2 3 4", 2, "unexpected argument 4"),
        ("-A -b bogus -w 5 extra", 2, "unexpected argument extra"),
        ("-A -b bogus -w 5", 2, "invalid scheduler flag `bogus'"),
        ("-A -b sh-port,bogus", 2, "incompatible scheduler flag `sh-port'"),
        // Combinations.
        (
            "-A",
            2,
            "You need to supply the 'service-address' option for the 'add-service' command",
        ),
        ("-A -n", 2, "Illegal 'numeric' option with the 'add-service' command"),
        (
            "-a -t 192.0.2.1:80",
            2,
            "You need to supply the 'real-server' option for the 'add-server' command",
        ),
        (
            "-C --tun-info --stats",
            2,
            "Illegal 'stats' option with the 'flush' command",
        ),
        (
            "-L --daemon -c",
            2,
            "The option 'daemon' conflicts with the 'connection' option in the 'list' command",
        ),
        ("-L -c --stats", 2, "options conflicts in the list command"),
        (
            "-L --timeout --persistent-conn",
            2,
            "options conflicts in the list command",
        ),
        ("-L --atomic", 2, "Illegal 'atomic' option with the 'list' command"),
        ("-S --json", 2, "Illegal 'json' option with the 'save' command"),
        (
            "-A -t 192.0.2.1 -o",
            2,
            "Zero port specified for non-persistent service",
        ),
        (
            "-A -t 192.0.2.1:80 -o",
            2,
            "One-Packet Scheduling is only for UDP virtual services",
        ),
        (
            "-a -t 192.0.2.1:80 -r ::1 -m --tun-csum",
            2,
            "Different address family is allowed only for tunneling servers",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 --tun-csum",
            2,
            "Tunnel options conflict with forward method",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-csum",
            2,
            "Illegal 'tun-csum' option with the 'ipip' tunnel type",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue",
            2,
            "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gre --tun-nocsum --tun-csum",
            2,
            "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
        ),
    ] {
        let refusal = of(line).expect_err(line);
        assert_eq!((refusal.status, refusal.message.as_str()), (status, message), "{line}");
    }
}

#[test]
fn values_are_read_as_the_c_library_reads_them() {
    for (text, expected) in [
        ("192.0.2.1", Some("192.0.2.1:0")),
        ("80:80", Some("0.0.0.80:80")),
        ("10.1:80", Some("10.0.0.1:80")),
        ("010.1.1.1:+80", Some("8.1.1.1:80")),
        ("0x7f000001:_080", Some("127.0.0.1:80")),
        ("192.0.2.1_x:80", Some("192.0.2.1:80")),
        ("www:http", Some("192.0.2.1:80")),
        ("2001:db8::5:80", Some("[2001:db8::5:80]:0")),
        ("[2001:db8::5]:80", Some("[2001:db8::5]:80")),
        ("[192.0.2.1]:nonsense", Some("192.0.2.1:0")),
        ("[192.0.2.1:90]:80", Some("192.0.2.1:90")),
        ("1234", None),
        ("192.0.2.1:", None),
        ("192.0.2.1:65536", None),
        ("192.0.2.1:-1", None),
        ("192.0.2.1:0x50", None),
        ("256.1.1.1:80", None),
        ("1.2.3.4.5:80", None),
        ("09.1.1.1:80", None),
        ("4294967296:80", None),
        ("[2001:db8::5]", None),
        ("[2001:db8::5]x:80", None),
        ("[2001:db8::5%lo]:80", None),
        ("nobody:80", None),
        (":80", None),
    ] {
        let found = of(&format!("-D -t {text}")).ok().map(|command| match command {
            Command::Change(step) => step.service().to_string(),
            other => panic!("{other:?}"),
        });
        assert_eq!(found, expected.map(|expected| format!("tcp {expected}")), "{text}");
    }
    for (mask, expected) in [
        ("24", "0.0.0.24"),
        ("255.255", "255.0.0.255"),
        ("0xffffff00", "255.255.255.0"),
        ("www", "192.0.2.1"),
    ] {
        assert_eq!(
            service_spec(&format!("-A -f 1 -M {mask}")).netmask.to_string(),
            expected
        );
    }
    for (mask, expected) in [("64abc", 64), ("4294967360", 64), ("_+64", 64), ("064", 64)] {
        assert_eq!(
            service_spec(&format!("-A -f 1 -6 -M {mask}")).netmask,
            Netmask::V6(expected),
            "{mask}"
        );
    }
    assert!(of("-A -f 1 -6 -M 99999999999999999999").is_err());
}

#[test]
fn the_order_of_options_counts() {
    // The service's port is not known yet, and names have no protocol.
    assert_eq!(destination("-a -r 10.0.0.1 -m -t 192.0.2.1:80").0, "10.0.0.1:0");
    assert!(of("-a -r 10.0.0.1:http -m -t 192.0.2.1:80").is_err());
    // A mask is one of IPv4 until the service is one of IPv6, which then sets it anew.
    assert_eq!(service_spec("-A -M 255.0.0.0 -p -t [::1]:80").netmask, Netmask::V6(128));
    assert_eq!(service_spec("-A -f 7 -M 64 -6 -p").netmask, Netmask::V6(128));
    assert!(of("-A -t [::1]:80 -p -M 255.0.0.0").is_err());
    // A scheduler may come after its flags.
    assert!(
        service_spec("-A -f 7 -b sh-port -s sh")
            .flags
            .contains(ServiceFlags::SCHEDULER_2)
    );
}

#[test]
fn only_nat_has_a_port_of_its_own_except_with_a_mark() {
    for (line, expected) in [
        ("-a -t 192.0.2.1:80 -r 10.0.0.1:8080", "10.0.0.1:80"),
        ("-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -i", "10.0.0.1:80"),
        ("-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m", "10.0.0.1:8080"),
        ("-a -f 7 -r 10.0.0.1:8080 -g", "10.0.0.1:8080"),
    ] {
        assert_eq!(destination(line).0, expected, "{line}");
    }
    // The one that is removed is named as it stands in the table.
    assert_eq!(
        change("-d -t 192.0.2.1:80 -r 10.0.0.1:8080").to_string(),
        "remove real server 10.0.0.1:8080 from tcp 192.0.2.1:80"
    );
}

#[test]
fn names_too_long_for_the_kernel_are_cut_between_letters() {
    let spec = service_spec("-A -f 1 -s ääääääääää");
    assert_eq!(spec.scheduler, Scheduler::Other("äääääää".into()));
}

#[test]
fn a_refused_value_is_shown_with_its_limits() {
    let hint = |line: &str| of(line).expect_err(line).hint;
    assert_eq!(
        hint("-a -w x").as_deref(),
        Some("`x` is no number from 0 to 2147483647")
    );
    assert_eq!(
        hint("-A -t nobody:80").as_deref(),
        Some("cannot make anything of `nobody:80`")
    );
    assert_eq!(hint("-A -z"), None);
}

#[test]
fn the_kernel_refuses_in_the_original_words() {
    for (line, errno, expected) in [
        ("-A -f 1", 17, "Service already exists"),
        ("-E -f 1", 2, "Scheduler or persistence engine not found"),
        ("-D -f 1", 3, "No such service"),
        ("-Z -f 1", 3, "No such service"),
        ("-L -f 1", 3, "No such service"),
        ("-a -f 1 -r 10.0.0.1", 17, "Destination already exists"),
        ("-e -f 1 -r 10.0.0.1", 3, "Service not defined"),
        ("-d -f 1 -r 10.0.0.1", 2, "No such destination"),
        ("-a -f 1 -r 10.0.0.1", 34, "Numerical result out of range"),
        (
            "-a -f 1 -r 10.0.0.1",
            22,
            "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        ),
        ("--start-daemon master", 17, "Daemon has already run"),
        ("--start-daemon master", 19, "No such device"),
        ("--stop-daemon master", 3, "No daemon is running"),
        ("-C", 1, "Permission denied (you must be root)"),
    ] {
        assert_eq!(of_errno(&of(line).expect(line), errno), expected, "{line} {errno}");
    }
}

#[test]
fn lines_are_parted_at_blanks_and_nothing_quotes() {
    for (line, expected) in [
        ("-A -t 1.2.3.4:80", vec!["-A", "-t", "1.2.3.4:80"]),
        ("\t-A  -t\t1.2.3.4:80 \r", vec!["-A", "-t", "1.2.3.4:80"]),
        ("ipvsadm -A ipvsadm -f 1 ipvsadm", vec!["-A", "-f", "1"]),
        ("/sbin/ipvsadm -C", vec!["/sbin/ipvsadm", "-C"]),
        ("-A \"x y\" # z", vec!["-A", "\"x", "y\"", "#", "z"]),
        ("-A 1\0.2 \0", vec!["-A", "1", ""]),
        (" \t ", vec![]),
    ] {
        assert_eq!(words(line.as_bytes(), "ipvsadm"), expected, "{line:?}");
    }
    assert_eq!(words(&[b'a'; 5000], "ipvsadm")[0].len(), 4096);
}

fn listed(key: &str, spec: ServiceSpec, destinations: &[(&str, DestinationSpec)]) -> ListedService {
    ListedService {
        key: key.parse().expect("a key"),
        spec,
        statistics: Statistics::default(),
        destinations: destinations
            .iter()
            .map(|(key, spec)| ListedDestination {
                key: key.parse().expect("a key"),
                spec: *spec,
                active_connections: 0,
                inactive_connections: 0,
                persistent_connections: 0,
                statistics: Statistics::default(),
            })
            .collect(),
    }
}

/// The table that commands make.
fn table(lines: &[&str]) -> Vec<ListedService> {
    let mut services: Vec<ListedService> = Vec::new();
    for line in lines {
        match change(line) {
            Step::AddService { service, spec } => services.push(listed(&service.to_string(), spec, &[])),
            Step::AddDestination {
                service,
                destination,
                spec,
            } => {
                let new = listed(
                    "fwmark 1",
                    ServiceSpec::new(Scheduler::Rr, service.family()),
                    &[(&destination.to_string(), spec)],
                );
                let service = services
                    .iter_mut()
                    .find(|found| found.key == service)
                    .expect("added before");
                service.destinations.extend(new.destinations);
            }
            other => panic!("{other}"),
        }
    }
    services
}

#[test]
fn what_is_saved_makes_the_same_table_again() {
    let lines = [
        "-A -t 192.168.0.1:83 -s rr -b flag-1,flag-3",
        "-A -t 10.0.0.1:80 -s wlc",
        "-a -t 10.0.0.1:80 -r 10.1.0.1:80 -g -w 1",
        "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 5",
        "-a -t 10.0.0.1:80 -r 10.1.0.4:80 -i -w 65535 --tun-type ipip",
        "-a -t 10.0.0.1:80 -r 10.1.0.5:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
        "-a -t 10.0.0.1:80 -r 10.1.0.7:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        "-a -t 10.0.0.1:80 -r 10.1.0.9:80 -i -w 1 --tun-type gre --tun-csum",
        "-A -t 10.0.0.2:0 -s lc -p 300 -M 255.255.255.0",
        "-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip -o",
        "-A --sctp-service [2001:db8::1]:3868 -s fo",
        "-A -f 2 -6 -s lblc -p 360 -M 64",
        "-a -f 2 -6 -r [2001:db8:1::1]:80 -m -w 1",
        "-A -f 7 -s sh -b sh-fallback,sh-port",
    ];
    let services = table(&lines);
    let mut saved = Vec::new();
    save(&mut saved, &services, &Names::none());
    let saved = String::from_utf8(saved).expect("text");
    assert_eq!(saved.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn what_a_save_cannot_say_is_left_out() {
    let mut services = table(&[
        // Marks beyond the signed ones are printed negative by the original, which does not take them back.
        "-A -f 4294967295 -s mh -M 255.0.0.0",
        "-a -f 4294967295 -r 10.0.0.1:80 -x 9 -y 5",
    ]);
    services[0].spec.flags = ServiceFlags::SCHEDULER_3;
    services[0].destinations[0].spec.forwarding = Forwarding::Local;
    let mut saved = Vec::new();
    save(&mut saved, &services, &Names::none());
    assert_eq!(
        String::from_utf8_lossy(&saved),
        "-A -f 4294967295 -s mh\n-a -f 4294967295 -r 10.0.0.1:80 -g -w 1\n"
    );
}

#[test]
fn a_save_with_names_has_them_where_the_original_has() {
    let services = table(&[
        "-A -t 192.0.2.1:80",
        "-a -t 192.0.2.1:80 -r 10.0.0.1",
        "-A -f 1",
        "-a -f 1 -r 192.0.2.1:80",
    ]);
    let mut names = Names::none();
    names.hosts.insert(IpAddr::from([192, 0, 2, 1]), "www".to_owned());
    names.ports.insert((Protocol::Tcp, 80), "http".to_owned());
    let mut saved = Vec::new();
    save(&mut saved, &services, &names);
    assert_eq!(
        String::from_utf8_lossy(&saved),
        "-A -t www:http -s wlc\n-a -t www:http -r 10.0.0.1:http -g -w 1\n-A -f 1 -s wlc\n-a -f 1 -r www:80 -g -w 1\n"
    );
}

#[test]
fn a_rehearsal_foresees_what_the_kernel_would_refuse() {
    let there = table(&["-A -t 192.0.2.1:80", "-a -t 192.0.2.1:80 -r 10.0.0.1"]);
    for (lines, expected) in [
        (vec!["-A -t 192.0.2.1:80"], Err(17)),
        (vec!["-A -t 192.0.2.1:81", "-A -t 192.0.2.1:81"], Err(17)),
        (vec!["-C", "-A -t 192.0.2.1:80"], Ok(())),
        (vec!["-D -t 192.0.2.1:80", "-E -t 192.0.2.1:80"], Err(3)),
        (vec!["-a -t 192.0.2.1:80 -r 10.0.0.1"], Err(17)),
        (vec!["-a -t 192.0.2.1:81 -r 10.0.0.1"], Err(3)),
        (
            vec!["-a -t 192.0.2.1:80 -r 10.0.0.2", "-e -t 192.0.2.1:80 -r 10.0.0.2"],
            Ok(()),
        ),
        (
            vec!["-d -t 192.0.2.1:80 -r 10.0.0.1", "-e -t 192.0.2.1:80 -r 10.0.0.1"],
            Err(2),
        ),
        (vec!["-d -t 192.0.2.1:80 -r 10.0.0.2"], Err(2)),
        (vec!["-a -t 192.0.2.1:80 -r 10.0.0.2 -x 1 -y 2"], Err(34)),
        (vec!["-a -t 192.0.2.1:80 -r 224.0.0.1"], Err(22)),
        (vec!["-a -t 192.0.2.1:80 -r fe80::1 -i"], Err(22)),
        (vec!["-Z -t 192.0.2.1:81"], Err(3)),
        (vec!["-Z", "--set 1 2 3", "-L"], Ok(())),
    ] {
        let mut table = Rehearsal::of(&there);
        let result = lines
            .iter()
            .try_for_each(|line| table.carry_out(&of(line).expect(line)));
        assert_eq!(result, expected, "{lines:?}");
    }
}

#[test]
fn every_option_is_in_the_help() {
    let help = help("ipvsadm");
    for entry in OPTIONS {
        assert!(help.contains(&format!("--{}", entry.long)), "{}", entry.long);
    }
    assert!(
        help.lines().all(|line| line.trim_end() == line),
        "no blanks at the ends"
    );
    assert!(help.contains("\nDaemon options:\n  --syncid "), "{help}");
}

proptest::proptest! {
    #[test]
    fn no_words_upset_it(words in proptest::collection::vec("[-A-Za-z0-9=:.,\\[\\]é ]{0,12}", 0..8)) {
        let _ = parse(&words, "ipvsadm", &Known);
    }

    #[test]
    fn no_line_upsets_it(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = parse(&words(&line, "ipvsadm"), "ipvsadm", &Known);
    }
}
