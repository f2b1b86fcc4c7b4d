//! Checks that go the way of clients, `via = "path"`: what they prove, and what they leave behind.

use std::net::SocketAddr;
use std::time::Duration;

use ipvsd_lab::{Forwarding, wait_until};

use crate::site::{Daemon, Family, Site, table};

const SOON: Duration = Duration::from_secs(10);
const PATH: &str = "check = [{ type = \"tcp\", via = \"path\", interval = \"300ms\", retry_interval = \"100ms\", \
                    timeout = \"1s\" }]";

/// A pool of two; the check is left out where it is empty.
fn pool(site: &Site, check: &str) -> String {
    let address = format!("address = \"{}\"", SocketAddr::new(site.vip(0), 80));
    site.virtual_server(
        "web",
        &address,
        &format!("device = \"eth0\"\n{check}"),
        &[(0, 1), (1, 1)],
    )
}

/// How many real servers the service has.
fn serving(site: &Site) -> usize {
    let service = SocketAddr::new(site.vip(0), 80).to_string();
    table(site.director(), &["-t", &service]).map_or(0, |found| found.len())
}

fn saved(site: &Site) -> String {
    site.director().exec_ok(&["ipvsadm", "-S", "-n"]).expect("ipvsadm")
}

/// Without the virtual address on a real server its path probe fails while a direct one passes; with it, it passes.
fn the_virtual_address_goes_and_comes(name: &str, mode: Forwarding, family: Family) {
    let site = Site::build(name, mode, family, 2, 1);
    let _nginx = site.nginx_on(2);
    let vip = site.vip(0);
    let prefix = if vip.is_ipv4() { 32 } else { 128 };
    let mut daemon = site.run(&pool(&site, PATH));
    wait_until("both serve", SOON, || serving(&site) == 2)
        .unwrap_or_else(|problem| panic!("{site}: {problem}\n{}\n{}", daemon.process.log(), saved(&site)));
    let marks = saved(&site)
        .lines()
        .filter(|line| line.starts_with("-A -f 17689477"))
        .count();
    assert_eq!(marks, 2, "{site}: {}", saved(&site));
    let device = |server: &ipvsd_lab::Host| {
        let shown = server.exec_ok(&["ip", "-o", "address", "show"]).expect("ip");
        let line = shown
            .lines()
            .find(|line| line.contains(&format!(" {vip}/")))
            .expect("it has the address");
        line.split_whitespace().nth(1).expect("a device").to_owned()
    };
    let server = site.lab.real_server(0);
    let device = device(server);
    server
        .ip(&[&format!("addr del {vip}/{prefix} dev {device}")])
        .expect("ip");
    wait_until("the server without the address is out", SOON, || serving(&site) == 1)
        .unwrap_or_else(|problem| panic!("{site}: {problem}\n{}", daemon.process.log()));
    server
        .ip(&[&format!(
            "addr add {vip}/{prefix} dev {device}{}",
            if prefix == 128 { " nodad" } else { "" }
        )])
        .expect("ip");
    wait_until("it is back", SOON, || serving(&site) == 2)
        .unwrap_or_else(|problem| panic!("{site}: {problem}\n{}", daemon.process.log()));
    // A direct check sees nothing of it.
    std::fs::write(site.configure(""), pool(&site, &PATH.replace("via = \"path\", ", ""))).expect("a file");
    daemon
        .process
        .signal(nix::sys::signal::Signal::SIGHUP)
        .expect("a signal");
    daemon.wait_for("configuration reloaded");
    wait_until("the marks are cleaned up", SOON, || {
        !saved(&site).contains("-f 17689477")
    })
    .expect("in time");
    server
        .ip(&[&format!("addr del {vip}/{prefix} dev {device}")])
        .expect("ip");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(serving(&site), 2, "{site}: {}", daemon.process.log());
}

#[test]
fn a_path_check_proves_the_virtual_address_on_the_real_server_over_dr() {
    the_virtual_address_goes_and_comes("path-dr", Forwarding::Direct, Family::V4);
}

#[test]
fn a_path_check_proves_the_virtual_address_on_the_real_server_over_tun() {
    the_virtual_address_goes_and_comes("path-tun", Forwarding::Tunnel, Family::V4);
}

#[test]
fn a_path_check_proves_the_virtual_address_on_the_real_server_over_dr_and_ipv6() {
    the_virtual_address_goes_and_comes("path-dr6", Forwarding::Direct, Family::V6);
}

#[test]
fn settings_are_made_for_path_checks_alone_and_a_cleared_table_is_no_servers_failure() {
    let site = Site::build("path-table", Forwarding::Direct, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let director = site.director();
    director
        .set_sysctl("net/ipv4/conf/eth0/rp_filter", "1")
        .expect("a setting");
    let settings = || {
        ["accept_local", "rp_filter"].map(|key| {
            director
                .sysctl(&format!("net/ipv4/conf/eth0/{key}"))
                .expect("a setting")
        })
    };
    let daemon = site.run(&pool(&site, &PATH.replace("via = \"path\", ", "")));
    assert_eq!(settings(), ["0", "1"], "nobody asked for more");
    drop(daemon);
    let daemon = site.run(&pool(&site, PATH));
    wait_until("both serve", SOON, || serving(&site) == 2).expect("a pool");
    assert_eq!(settings(), ["1", "2"]);
    let log = daemon.process.log();
    assert!(
        log.contains("checks with via") && log.contains("set net.ipv4.conf.eth0.accept_local = 1"),
        "{log}"
    );
    // Before its first result nothing is known of a server, and a failure then is one.
    let mut said = 0;
    wait_until("both have passed", SOON, || {
        let log = daemon.process.log();
        said = log.len();
        log.matches("real server is up").count() == 2
    })
    .expect("in time");
    director.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
    wait_until("the table is repaired", SOON, || serving(&site) == 2).expect("in time");
    std::thread::sleep(Duration::from_secs(1));
    let log = daemon.process.log();
    assert!(!log[said..].contains("real server is down"), "{log}");
    // `plan` leaves the daemon's own services alone, a restart takes them over.
    let file = site.configure(&pool(&site, PATH)).display().to_string();
    let plan = site.ipvsd(&["plan", "-c", &file]);
    assert_eq!((plan.code(), plan.stdout.as_str()), (0, ""), "{}", plan.stderr);
    let before = saved(&site);
    drop(daemon);
    let _daemon = Daemon::start(director, std::path::Path::new(&file), &[]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(saved(&site), before);
}

#[test]
fn a_path_check_proves_the_virtual_address_on_the_real_server_over_tun_and_ipv6() {
    the_virtual_address_goes_and_comes("path-tun6", Forwarding::Tunnel, Family::V6);
}
