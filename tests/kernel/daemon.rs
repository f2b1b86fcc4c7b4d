//! Plan, apply, run, reload, stop: what the kernel holds afterwards.

use std::net::SocketAddr;
use std::time::Duration;

use ipvsd_lab::{Forwarding, Host, wait_until};
use nix::sys::signal::Signal;

use crate::service_manager::ServiceManager;
use crate::site::{Daemon, Family, IPVSD, Site, configure, ipvsd, table};

const SOON: Duration = Duration::from_secs(10);

/// The whole table as Debian's ipvsadm saves it.
fn saved(host: &Host) -> String {
    host.exec_ok(&["ipvsadm", "-S", "-n"]).expect("ipvsadm")
}

/// A director with room for virtual addresses; nothing answers anywhere, for tables only.
fn bare(name: &str) -> Site {
    Site::build(name, Forwarding::Nat, Family::V4, 2, 1)
}

fn one_service(port: u16, servers: &[u8]) -> String {
    let mut text = format!(
        "[[virtual_server]]\nname = \"s{port}\"\naddress = \"192.0.2.200:{port}\"\nscheduler = \"rr\"\nforward = \"dr\"\n"
    );
    for server in servers {
        text += &format!("[[virtual_server.real_server]]\naddress = \"192.0.2.{server}\"\n");
    }
    text
}

#[test]
fn apply_makes_the_kernel_match_and_leaves_foreign_services_alone() {
    let site = bare("apply");
    let director = site.director();
    director
        .exec_ok(&["ipvsadm", "-A", "-t", "192.0.2.99:25", "-s", "wlc"])
        .expect("a foreign service");
    let file = configure(director, &(one_service(80, &[11, 12]) + &one_service(81, &[11])));
    let file = file.display().to_string();
    let plan = ipvsd(director, &["plan", "-c", &file]);
    assert_eq!(plan.code(), 3, "{}{}", plan.stdout, plan.stderr);
    assert_eq!(plan.stdout.lines().count(), 5, "{}", plan.stdout);
    assert!(saved(director).lines().count() == 1, "a plan changes nothing");
    let applied = ipvsd(director, &["apply", "-v", "-c", &file]);
    assert_eq!(
        (applied.code(), &applied.stdout),
        (0, &plan.stdout),
        "{}",
        applied.stderr
    );
    assert_eq!(ipvsd(director, &["plan", "-c", &file]).code(), 0);
    // A weight and a server change by hand, a service is dropped from the file: all of it is put right.
    director
        .exec_ok(&[
            "ipvsadm",
            "-e",
            "-t",
            "192.0.2.200:80",
            "-r",
            "192.0.2.11:80",
            "-g",
            "-w",
            "7",
        ])
        .expect("ipvsadm");
    director
        .exec_ok(&["ipvsadm", "-d", "-t", "192.0.2.200:80", "-r", "192.0.2.12:80"])
        .expect("ipvsadm");
    configure(director, &one_service(80, &[11, 12]));
    let applied = ipvsd(director, &["apply", "-v", "-c", &file]);
    assert_eq!(applied.code(), 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(applied.stdout.lines().count(), 3, "{}", applied.stdout);
    let wanted = "-A -t 192.0.2.99:25 -s wlc\n-A -t 192.0.2.200:80 -s rr\n\
                  -a -t 192.0.2.200:80 -r 192.0.2.11:80 -g -w 1\n-a -t 192.0.2.200:80 -r 192.0.2.12:80 -g -w 1\n";
    let (mut found, mut wanted): (Vec<_>, Vec<_>) = (
        saved(director).lines().map(str::to_owned).collect(),
        wanted.lines().map(str::to_owned).collect(),
    );
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn everything_a_configuration_can_say_is_in_the_kernel_and_needs_no_second_apply() {
    let site = bare("apply-all");
    let director = site.director();
    let text = r#"
[[virtual_server]]
name = "persistent"
address = "192.0.2.201:443"
scheduler = "sh"
flags = ["sh-port", "sh-fallback"]
persistence_timeout = "300s"
[[virtual_server.real_server]]
address = "192.0.2.11:8443"
weight = 5
uthreshold = 100
lthreshold = 50

[[virtual_server]]
name = "dns"
address = ["192.0.2.202:53", "192.0.2.203:53"]
protocol = "udp"
one_packet = true
[[virtual_server.real_server]]
address = "192.0.2.11:53"

[[virtual_server]]
name = "sctp"
address = "192.0.2.204:3868"
protocol = "sctp"
scheduler = "mh"
[[virtual_server.real_server]]
address = "192.0.2.11:3868"

[[virtual_server]]
name = "six"
address = "[2001:db8:2::200]:80"
scheduler = "lblcr"
forward = "dr"
[[virtual_server.real_server]]
address = "2001:db8:2::11"

[[virtual_server]]
name = "mark"
fwmark = 7
family = "inet6"
scheduler = "nq"
forward = "tun"
[[virtual_server.real_server]]
address = "2001:db8:2::11"

[[virtual_server]]
name = "gue"
address = "192.0.2.205:80"
forward = "tun"
tun = { type = "gue", port = 6080, csum = "csum" }
[[virtual_server.real_server]]
address = "192.0.2.11"
[[virtual_server.real_server]]
address = "192.0.2.12"
tun = { type = "gre" }
"#;
    let file = configure(director, text).display().to_string();
    let applied = ipvsd(director, &["apply", "-v", "-c", &file]);
    assert_eq!(applied.code(), 0, "{}{}", applied.stdout, applied.stderr);
    let again = ipvsd(director, &["plan", "-c", &file]);
    assert_eq!((again.code(), again.stdout.as_str()), (0, ""), "{}", again.stderr);
    let found = saved(director);
    for line in [
        "-A -t 192.0.2.201:443 -s sh -p 300 -b sh-fallback,sh-port",
        "-a -t 192.0.2.201:443 -r 192.0.2.11:8443 -m -w 5",
        "-A -u 192.0.2.202:53 -s wlc -o",
        "-A -u 192.0.2.203:53 -s wlc -o",
        "-A --sctp-service 192.0.2.204:3868 -s mh -b mh-fallback",
        "-A -t [2001:db8:2::200]:80 -s lblcr",
        "-A -f 7 -6 -s nq",
        "-a -f 7 -6 -r [2001:db8:2::11]:0 -i -w 1 --tun-type ipip",
        "-a -t 192.0.2.205:80 -r 192.0.2.11:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        "-a -t 192.0.2.205:80 -r 192.0.2.12:80 -i -w 1 --tun-type gre --tun-nocsum",
    ] {
        assert!(
            found.lines().any(|found| found.trim_end() == line),
            "no `{line}` in\n{found}"
        );
    }
    let thresholds = director
        .exec_ok(&["ipvsadm", "-L", "-n", "--thresholds"])
        .expect("ipvsadm");
    assert!(
        thresholds.lines().any(|line| line
            .split_whitespace()
            .collect::<Vec<_>>()
            .windows(2)
            .any(|pair| pair == ["100", "50"])),
        "{thresholds}"
    );
}

#[test]
fn one_bad_entry_of_a_thousand_is_named_and_the_others_are_in() {
    let site = bare("apply-bad");
    let director = site.director();
    let mut text =
        String::from("[[virtual_server]]\nname = \"many\"\naddress = \"192.0.2.200:80\"\nforward = \"nat\"\n");
    for n in 0..999u32 {
        text += &format!(
            "[[virtual_server.real_server]]\naddress = \"198.18.{}.{}:80\"\n",
            n / 250,
            n % 250 + 1
        );
    }
    // An address whose route says that it is a broadcast: only this kernel knows.
    director
        .ip(&["route add broadcast 198.51.100.77 dev eth0 table local"])
        .expect("a route");
    text += "[[virtual_server.real_server]]\naddress = \"198.51.100.77:80\"\n";
    let file = configure(director, &text).display().to_string();
    let applied = ipvsd(director, &["apply", "-v", "-c", &file]);
    assert_eq!(applied.code(), 1, "{}", applied.stderr);
    assert!(
        applied.stderr.contains("198.51.100.77:80") && applied.stderr.contains("192.0.2.200:80"),
        "{}",
        applied.stderr
    );
    assert_eq!(
        table(director, &["-t", "192.0.2.200:80"]).expect("a service").len(),
        999
    );
    assert_eq!(ipvsd(director, &["plan", "-c", &file]).stdout.lines().count(), 1);
}

#[test]
fn a_missing_scheduler_is_named_with_the_remedy() {
    let site = bare("no-sched");
    let director = site.director();
    // `twos` is a scheduler of newer kernels that Debian does not ship.
    let text = one_service(80, &[11]).replace("\"rr\"", "\"twos\"") + &one_service(81, &[11]);
    let file = configure(director, &text).display().to_string();
    let applied = ipvsd(director, &["apply", "-v", "-c", &file]);
    assert_eq!(applied.code(), 1);
    assert!(
        applied.stderr.contains("ip_vs_twos") && applied.stderr.contains("192.0.2.200:80"),
        "{}",
        applied.stderr
    );
    assert!(
        table(director, &["-t", "192.0.2.200:81"]).is_some(),
        "the other service is in"
    );
}

#[test]
fn a_second_daemon_in_the_namespace_is_refused_with_the_pid_of_the_first() {
    let site = bare("second");
    let first = site.run(&one_service(80, &[11]));
    let file = site.director().directory().join("ipvsd.toml").display().to_string();
    for verb in ["run", "apply"] {
        let second = site.ipvsd(&[verb, "-c", &file]);
        assert_eq!(second.code(), 1);
        assert!(
            second.stderr.contains(&format!("pid {}", first.process.id())),
            "{}",
            second.stderr
        );
    }
    // Nor does it matter how many have asked: nobody takes these calls, and their queue is full some time.
    let address = socket2::SockAddr::unix("\0ipvsd/director").expect("a name");
    let call = || {
        let caller = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM.nonblocking(), None)?;
        caller.connect(&address)
    };
    let calls = site
        .director()
        .in_namespace(|| (0..10_000).map(|_| call()).find_map(Result::err));
    let turned_away = calls.expect("a namespace").expect("a queue has an end");
    assert_eq!(turned_away.kind(), std::io::ErrorKind::WouldBlock, "{turned_away}");
    for verb in ["run", "apply"] {
        let second = site.ipvsd(&[verb, "-c", &file]);
        assert_eq!(second.code(), 1);
        assert!(
            second.stderr.contains("already runs in this network namespace"),
            "{}",
            second.stderr
        );
    }
    // The namespace of a real server is another one.
    let other = configure(site.lab.real_server(0), &one_service(80, &[11]));
    let _elsewhere = Daemon::start(site.lab.real_server(0), &other, &[]);
}

#[test]
fn stop_and_kill_leave_the_table_and_a_restart_writes_nothing() {
    let site = Site::build("restart", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let vip = SocketAddr::new(site.vip(0), 80);
    let address = format!("address = \"{vip}\"");
    let more = "device = \"eth0\"\ncheck = [{ type = \"tcp\", interval = \"500ms\" }]";
    let text = site.virtual_server("web", &address, more, &[(0, 1), (1, 1)]);
    let serves = || table(site.director(), &["-t", &vip.to_string()]).is_some_and(|found| found.len() == 2);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut daemon = site.run(&text);
        wait_until("the pool serves", SOON, serves).expect("a pool");
        wait_until("traffic flows", SOON, || site.client().get(vip).is_ok()).expect("traffic");
        let before = saved(site.director());
        daemon.process.signal_alone(signal).expect("a signal");
        let status = daemon.process.wait(SOON).expect("an end");
        assert_eq!(status.success(), signal == Signal::SIGTERM);
        assert_eq!(saved(site.director()), before);
        assert!(site.client().get(vip).is_ok(), "traffic flows without the daemon");
        let file = site.director().directory().join("ipvsd.toml");
        let again = Daemon::start(site.director(), &file, &[]);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(saved(site.director()), before);
        assert!(!again.process.log().contains("repair"), "{}", again.process.log());
    }
}

#[test]
fn sighup_changes_only_what_changed_and_a_bad_file_is_refused() {
    let site = bare("reload");
    let director = site.director();
    let mut daemon = site.run(&(one_service(80, &[11, 12]) + &one_service(81, &[11])));
    configure(director, &(one_service(80, &[11, 13]) + &one_service(82, &[11])));
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    wait_until("the reload is in force", SOON, || {
        let destinations = table(director, &["-t", "192.0.2.200:80"]).expect("a service");
        let has = |last: &str| destinations.contains_key(&last.parse().expect("an address"));
        has("192.0.2.13:80") && !has("192.0.2.12:80") && table(director, &["-t", "192.0.2.200:81"]).is_none()
    })
    .expect("in time");
    assert!(table(director, &["-t", "192.0.2.200:82"]).is_some());
    let before = saved(director);
    configure(
        director,
        "[[virtual_server]]\nname = \"x\"\nadress = \"192.0.2.200:80\"\n",
    );
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    daemon.wait_for("configuration refused");
    assert!(daemon.process.log().contains("adress"), "{}", daemon.process.log());
    assert_eq!(saved(director), before);
    assert!(daemon.process.is_running());
}

#[test]
fn thresholds_go_when_the_configuration_drops_them() {
    let site = bare("thresholds");
    let director = site.director();
    let with = one_service(80, &[11]) + "uthreshold = 100\nlthreshold = 50\n";
    let thresholds = || {
        director
            .exec_ok(&["ipvsadm", "-L", "-n", "--thresholds"])
            .expect("ipvsadm")
            .split_whitespace()
            .any(|word| word == "100")
    };
    let daemon = site.run(&with);
    assert!(thresholds());
    configure(director, &one_service(80, &[11]));
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    wait_until("the thresholds are gone", SOON, || !thresholds()).expect("in time");
    drop(daemon);
    // Set by somebody else while nobody looked.
    director
        .exec_ok(&[
            "ipvsadm",
            "-e",
            "-t",
            "192.0.2.200:80",
            "-r",
            "192.0.2.11:80",
            "-g",
            "-w",
            "1",
            "-x",
            "100",
            "-y",
            "50",
        ])
        .expect("ipvsadm");
    assert!(thresholds());
    let _daemon = site.run(&one_service(80, &[11]));
    wait_until("the thresholds are gone again", SOON, || !thresholds()).expect("in time");
}

#[test]
fn a_server_that_dies_is_out_although_its_service_cannot_be_changed() {
    let site = Site::build("refused-change", Forwarding::Direct, Family::V4, 2, 1);
    let mut nginx = site.nginx_on(2);
    let vip = SocketAddr::new(site.vip(0), 80);
    let text = |scheduler: &str| {
        let address = format!("address = \"{vip}\"\nscheduler = \"{scheduler}\"");
        let check =
            "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"100ms\" }]";
        site.virtual_server("web", &address, check, &[(0, 1), (1, 1)])
    };
    let pool = || table(site.director(), &["-t", &vip.to_string()]).map_or(0, |found| found.len());
    let mut daemon = site.run(&text("rr"));
    wait_until("the pool serves", SOON, || pool() == 2).expect("a pool");
    // `twos` is a scheduler of newer kernels that Debian does not ship.
    site.configure(&text("twos"));
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    daemon.wait_for("ip_vs_twos");
    nginx[0].kill();
    wait_until("the dead server is out", Duration::from_secs(3), || pool() == 1).expect("in time");
}

#[test]
fn drift_is_repaired() {
    let site = bare("drift");
    let director = site.director();
    let mut daemon = site.run(&one_service(80, &[11, 12]));
    let before = saved(director);
    director.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
    wait_until("the table is repaired", SOON, || saved(director) == before).expect("in time");
    daemon.wait_for("somebody else changed");
}

#[test]
fn observe_writes_nothing_and_says_what_it_would() {
    let site = bare("observe");
    let director = site.director();
    director
        .exec_ok(&["ipvsadm", "-A", "-t", "192.0.2.99:25", "-s", "wlc"])
        .expect("a foreign service");
    let before = saved(director);
    let file = configure(director, &one_service(80, &[11]));
    let mut daemon = Daemon::start(director, &file, &["--observe"]);
    daemon.wait_for("would add real server 192.0.2.11:80 to tcp 192.0.2.200:80");
    assert_eq!(saved(director), before);
}

#[test]
fn the_service_manager_is_told_of_readiness_and_the_watchdog_is_fed() {
    let site = bare("notify");
    let director = site.director();
    let manager = ServiceManager::listen();
    let file = configure(director, &one_service(80, &[11])).display().to_string();
    let process = director
        .spawn_with(&[IPVSD, "run", "-c", &file], &manager.environment("600000"))
        .expect("ipvsd starts");
    let mut heard = String::new();
    let mut hear_until = |word: &str| {
        while !heard.contains(word) {
            let told = manager.hear(SOON);
            heard += &told.unwrap_or_else(|| panic!("no {word} after `{heard}`"));
            heard.push('\n');
        }
        heard.clear();
    };
    hear_until("READY=1");
    for _ in 0..3 {
        hear_until("WATCHDOG=1");
    }
    hear_until("STATUS=");
    process.signal_alone(Signal::SIGHUP).expect("a signal");
    hear_until("RELOADING=1");
    hear_until("READY=1");
    process.signal_alone(Signal::SIGTERM).expect("a signal");
    hear_until("STOPPING=1");
}

#[test]
fn kernel_timeouts_and_settings_are_set_and_the_host_is_prepared_where_asked() {
    let site = bare("settings");
    let director = site.director();
    director.set_sysctl("net/ipv4/ip_forward", "0").expect("a setting");
    let settings = "[ipvs]\ntimeouts = { tcp = \"13s\", tcpfin = \"5s\", udp = \"13s\" }\nsysctl = { conntrack = 1 }\n";
    let nat = one_service(80, &[11]).replace("\"dr\"", "\"nat\"");
    let mut daemon = site.run(&format!("{settings}{nat}"));
    daemon.wait_for("net.ipv4.ip_forward is 0");
    let timeouts = director.exec_ok(&["ipvsadm", "-L", "--timeout"]).expect("ipvsadm");
    assert!(timeouts.contains("13 5 13"), "{timeouts}");
    assert_eq!(director.sysctl("net/ipv4/vs/conntrack").expect("a setting"), "1");
    drop(daemon);
    let _daemon = site.run(&format!("{settings}{nat}[host]\nprepare = true\n"));
    assert_eq!(director.sysctl("net/ipv4/ip_forward").expect("a setting"), "1");
    assert_eq!(
        director.sysctl("net/ipv4/conf/all/send_redirects").expect("a setting"),
        "0"
    );
}

#[test]
fn the_virtual_address_is_kept_on_its_device_and_goes_with_the_configuration() {
    let site = bare("device");
    let director = site.director();
    let with = one_service(80, &[11]).replace("forward =", "device = \"eth1\"\nforward =");
    let file = configure(director, &with);
    let daemon = Daemon::start(director, &file, &[]);
    let has = || {
        director
            .exec_ok(&["ip", "-4", "address", "show", "dev", "eth1"])
            .expect("ip")
            .contains("192.0.2.200/32")
    };
    wait_until("the address is on its device", SOON, has).expect("in time");
    director.ip(&["addr del 192.0.2.200/32 dev eth1"]).expect("ip");
    wait_until("the address is back", SOON, has).expect("in time");
    configure(director, &one_service(80, &[11]));
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    wait_until("the address is gone", SOON, || !has()).expect("in time");
}

#[test]
fn an_address_that_the_host_had_with_its_own_prefix_stays_when_the_configuration_drops_it() {
    let site = bare("own-prefix");
    let director = site.director();
    director.ip(&["addr add 192.0.2.200/24 dev eth1"]).expect("ip");
    let with = one_service(80, &[11]).replace("forward =", "device = \"eth1\"\nforward =");
    for text in [with, one_service(80, &[11])] {
        let file = configure(director, &text).display().to_string();
        let applied = ipvsd(director, &["apply", "-c", &file]);
        assert_eq!(applied.code(), 0, "{}", applied.stderr);
    }
    let shown = director
        .exec_ok(&["ip", "-4", "address", "show", "dev", "eth1"])
        .expect("ip");
    assert!(shown.contains("192.0.2.200/24"), "{shown}");
}
