//! What is wrong around the program: no privilege, no descriptors, a table that others write.

use std::time::Duration;

use ipvsd_lab::{Forwarding, wait_until};

use crate::site::{Daemon, Family, IPVSD, Site, configure, table};

const POOL: &str = "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.200:80\"\nforward = \"dr\"\n\
                    check = [{ type = \"tcp\", interval = \"300ms\" }]\n\
                    [[virtual_server.real_server]]\naddress = \"192.0.2.11\"\n\
                    [[virtual_server.real_server]]\naddress = \"192.0.2.12\"\n";

fn site(name: &str) -> Site {
    Site::build(name, Forwarding::Direct, Family::V4, 2, 1)
}

#[test]
fn without_the_privilege_every_verb_says_which_one() {
    let site = site("no-root");
    let file = configure(site.director(), POOL).display().to_string();
    for verb in [
        &["apply", "-c", &file] as &[&str],
        &["plan", "-c", &file],
        &["run", "-c", &file],
        &["list", "-n"],
    ] {
        let command: Vec<_> = [
            "setpriv",
            "--bounding-set",
            "-net_admin",
            "--inh-caps",
            "-net_admin",
            IPVSD,
        ]
        .iter()
        .chain(verb)
        .copied()
        .collect();
        let finished = site.director().exec(&command).expect("setpriv runs");
        assert_eq!(finished.code(), 1, "{verb:?}: {}{}", finished.stdout, finished.stderr);
        assert!(
            finished.stderr.contains("CAP_NET_ADMIN"),
            "{verb:?}: {}",
            finished.stderr
        );
    }
}

#[test]
fn without_file_descriptors_no_server_is_blamed() {
    let site = site("emfile");
    let _nginx = site.nginx_on(2);
    // A probe without a word goes on with the sockets that it has.
    let asking = POOL.replace("type = \"tcp\"", "type = \"http\"");
    let file = configure(site.director(), &asking).display().to_string();
    let mut daemon = Daemon::spawn(site.director(), std::path::Path::new(&file), &[]);
    let serves = || table(site.director(), &["-t", "192.0.2.200:80"]).is_some_and(|found| found.len() == 2);
    wait_until("the pool serves", Duration::from_secs(10), serves).expect("a pool");
    let pid = daemon.process.id().to_string();
    site.director()
        .exec_ok(&["prlimit", "--pid", &pid, "--nofile=3:3"])
        .expect("prlimit");
    daemon.wait_for("out of file descriptors");
    std::thread::sleep(Duration::from_secs(2));
    assert!(serves(), "{}", daemon.process.log());
    site.director()
        .exec_ok(&["prlimit", "--pid", &pid, "--nofile=1024:1024"])
        .expect("prlimit");
    site.lab
        .real_server(0)
        .drop_tcp_port(ipvsd_lab::Segment::Server, 80)
        .expect("nft");
    wait_until("probing goes on", Duration::from_secs(10), || !serves()).expect("in time");
}

#[test]
fn a_real_server_that_goes_away_with_its_segment_is_out() {
    let site = site("unreachable");
    let _nginx = site.nginx_on(2);
    let _daemon = site.run(POOL);
    let pool = || table(site.director(), &["-t", "192.0.2.200:80"]).map_or(0, |found| found.len());
    wait_until("the pool serves", Duration::from_secs(10), || pool() == 2).expect("a pool");
    site.lab
        .real_server(0)
        .link_down(ipvsd_lab::Segment::Server)
        .expect("a cable");
    wait_until("the unreachable server is out", Duration::from_secs(10), || pool() == 1).expect("in time");
}

#[test]
fn an_own_interface_that_is_down_is_no_servers_failure() {
    let site = Site::build("own-link", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let vip = std::net::SocketAddr::new(site.vip(0), 80);
    let address = format!("address = \"{vip}\"");
    let check = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"100ms\" }]";
    let mut daemon = site.run(&site.virtual_server("web", &address, check, &[(0, 1), (1, 1)]));
    let pool = || table(site.director(), &["-t", &vip.to_string()]).map_or(0, |found| found.len());
    wait_until("the pool serves", Duration::from_secs(10), || pool() == 2).expect("a pool");
    site.director().ip(&["link set eth1 down"]).expect("ip");
    daemon.wait_for("own interface is down");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(pool(), 2, "{}", daemon.process.log());
    site.director().ip(&["link set eth1 up"]).expect("ip");
    site.lab
        .real_server(0)
        .drop_tcp_port(ipvsd_lab::Segment::Server, 80)
        .expect("nft");
    wait_until("probing goes on", Duration::from_secs(10), || pool() == 1).expect("in time");
}

#[test]
fn a_rival_that_writes_all_the_time_does_not_stop_the_daemon() {
    let site = site("rival");
    let _nginx = site.nginx_on(2);
    let mut daemon = site.run(POOL);
    let rival = "for n in 1 2 3 4 5 6 7 8 9 10; do ipvsadm -C; ipvsadm -A -t 192.0.2.200:80 -s wlc; \
                 ipvsadm -a -t 192.0.2.200:80 -r 192.0.2.11 -g -w 9; sleep 0.2; done";
    site.director().exec_ok(&["sh", "-c", rival]).expect("a rival");
    let repaired = || {
        table(site.director(), &["-t", "192.0.2.200:80"])
            .is_some_and(|found| found.len() == 2 && found.values().all(|found| found.weight == 1))
    };
    wait_until("the table is as configured", Duration::from_secs(12), repaired).expect("in time");
    assert!(daemon.process.is_running());
}

#[test]
fn a_virtual_address_that_is_not_on_this_host_is_said_at_start() {
    let site = site("vip-missing");
    let mut daemon = site.run(POOL);
    daemon.wait_for("192.0.2.200");
    assert!(
        daemon.process.log().contains("not on this host"),
        "{}",
        daemon.process.log()
    );
}

#[test]
fn a_caller_while_descriptors_are_out_does_not_keep_the_processor_busy() {
    let site = site("emfile-caller");
    let file = configure(site.director(), POOL).display().to_string();
    let mut daemon = Daemon::spawn(site.director(), std::path::Path::new(&file), &[]);
    daemon.wait_for("ready");
    let pid = daemon.process.id().to_string();
    site.director()
        .exec_ok(&["prlimit", "--pid", &pid, "--nofile=3:3"])
        .expect("prlimit");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        let fields: Vec<_> = stat.rsplit(' ').collect();
        // utime and stime are the 14th and 15th of 52 fields (proc(5)).
        [fields[38], fields[37]]
            .map(|field| field.parse::<u64>().expect("ticks"))
            .iter()
            .sum::<u64>()
    };
    let second = site.ipvsd(&["apply", "-c", &file]);
    assert!(second.stderr.contains(&format!("pid {pid}")), "{}", second.stderr);
    let before = ticks();
    std::thread::sleep(Duration::from_secs(3));
    let used = ticks() - before;
    assert!(used < 100, "{used} ticks of a hundredth of a second in 3 s");
}

#[test]
fn an_own_interface_without_a_carrier_is_no_servers_failure_however_short_the_timeout() {
    let site = Site::build("own-carrier", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    // One more server, beyond a router behind the same interface.
    let vip = std::net::SocketAddr::new(site.vip(0), 80);
    let address = format!("address = \"{vip}\"");
    let check = "check = [{ type = \"tcp\", interval = \"5s\", retry_interval = \"100ms\", timeout = \"100ms\", \
                 jitter = \"20%\" }]";
    let far = "[[virtual_server.real_server]]\naddress = \"203.0.113.9\"\n";
    site.lab
        .real_server(0)
        .ip(&["addr add 203.0.113.9/32 dev lo"])
        .expect("ip");
    let gateway = site.server_address(0);
    site.director()
        .ip(&[&format!("route add 203.0.113.0/24 via {gateway}")])
        .expect("ip");
    let text = site.virtual_server("web", &address, check, &[(0, 1), (1, 1)]) + far;
    let mut daemon = site.run(&text);
    let pool = || table(site.director(), &["-t", &vip.to_string()]).map_or(0, |found| found.len());
    wait_until("the pool serves", Duration::from_secs(10), || pool() == 3).expect("a pool");
    let server_segment = ipvsd_lab::Segment::Server;
    site.director().link_down(server_segment).expect("a cable");
    daemon.wait_for("own interface is down");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(pool(), 3, "{}", daemon.process.log());
    site.director().link_up(server_segment).expect("a cable");
    daemon.wait_for("own interface is back");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(pool(), 3, "{}", daemon.process.log());
    assert!(
        !daemon.process.log().contains("real server is down"),
        "{}",
        daemon.process.log()
    );
    site.lab.real_server(1).drop_tcp_port(server_segment, 80).expect("nft");
    wait_until("probing goes on", Duration::from_secs(10), || pool() == 2).expect("in time");
}
