//! A real server dies, hangs, comes back; all die; the sorry server serves. With real nginx, in every mode.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvsd_lab::{Failure, Forwarding, Prober, wait_in_time, wait_until};

use crate::site::{Family, Found, Site, table};

/// interval + (fall − 1) × retry_interval + timeout + 200 ms, with the settings of [`CHECK`]. (It holds for time-outs
/// too as long as the timeout is no longer than retry_interval: a probe does not start before the last one has ended.)
const PROMISED: Duration = Duration::from_millis(500 + 2 * 200 + 200 + 200);
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"500ms\", retry_interval = \"200ms\", \
                     timeout = \"200ms\", rise = 2, fall = 3 }]";
/// Until a returning server serves again: interval + (rise − 1) × retry_interval + 200 ms, and a slow machine.
const RETURN: Duration = Duration::from_millis(500 + 200 + 200 + 2000);

#[test]
fn a_killed_server_is_removed_in_time_and_returns_over_nat() {
    killed_server("fail-nat", Forwarding::Nat, Family::V4, false);
}

#[test]
fn a_killed_server_is_inhibited_in_time_and_returns_over_dr() {
    killed_server("fail-dr", Forwarding::Direct, Family::V4, true);
}

#[test]
fn a_killed_server_is_inhibited_in_time_and_returns_over_tun() {
    killed_server("fail-tun", Forwarding::Tunnel, Family::V4, true);
}

#[test]
fn a_killed_server_is_removed_in_time_and_returns_over_ipv6() {
    killed_server("fail-dr6", Forwarding::Direct, Family::V6, false);
}

fn vip_of(site: &Site) -> SocketAddr {
    SocketAddr::new(site.vip(0), 80)
}

fn pool(site: &Site, more: &str) -> String {
    let address = format!("address = \"{}\"", vip_of(site));
    let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\n{CHECK}\n{more}");
    site.virtual_server("web", &address, &more, &[(0, 1), (1, 1)])
}

/// The weight of a real server in the kernel; `None` where it is not there.
fn weight(site: &Site, index: usize) -> Option<u32> {
    let found = table(site.director(), &["-t", &vip_of(site).to_string()])?;
    found
        .get(&SocketAddr::new(site.server_address(index), 80))
        .map(|found: &Found| found.weight)
}

fn killed_server(name: &str, mode: Forwarding, family: Family, inhibit: bool) {
    let site = Site::build(name, mode, family, 2, 1);
    let mut nginx = site.nginx_on(2);
    let daemon = site.run(&pool(&site, &format!("inhibit_on_failure = {inhibit}")));
    let vip = vip_of(&site);
    wait_until("both servers serve", RETURN, || {
        weight(&site, 0) == Some(1) && weight(&site, 1) == Some(1)
    })
    .expect("a pool");
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let client = site.lab.client(0);
    let prober = Prober::start(
        client,
        vip,
        Duration::from_millis(50),
        Duration::from_secs(2),
        Duration::from_secs(30),
    )
    .expect("a prober");
    std::thread::sleep(Duration::from_millis(500));
    let killed = Instant::now();
    nginx[0].kill();
    let out = if inhibit { Some(0) } else { None };
    wait_in_time("the killed server is out", PROMISED, || weight(&site, 0) == out).expect("in time");
    let since_out = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    let returned = Instant::now();
    nginx[0].restart().expect("nginx");
    wait_until("the server is back", RETURN, || weight(&site, 0) == Some(1)).expect("in time");
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("it serves again");
    let report = prober.stop().expect("a report");
    let before = report
        .attempts
        .iter()
        .filter(|attempt| attempt.at + attempt.took < killed && attempt.outcome.is_err())
        .count();
    assert_eq!(before, 0, "{site}: requests fail before anything happened: {report}");
    let after = report.since(since_out);
    assert!(
        after.failures().is_empty(),
        "{site}: requests fail after the server was out: {after}"
    );
    assert!(
        after.attempts.iter().any(|attempt| attempt.at >= returned),
        "{site}: the prober saw the return"
    );
    let log = daemon.process.log();
    for line in ["real server is down", "connection refused", "real server is up"] {
        assert!(log.contains(line), "{site}: no `{line}` in the log:\n{log}");
    }
}

#[test]
fn a_server_that_drops_every_packet_is_out_after_its_time_outs() {
    let site = Site::build("fail-hang", Forwarding::Direct, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let daemon = site.run(&pool(&site, ""));
    wait_until("both servers serve", RETURN, || {
        weight(&site, 0) == Some(1) && weight(&site, 1) == Some(1)
    })
    .expect("a pool");
    site.lab
        .real_server(0)
        .drop_tcp_port(ipvsd_lab::Segment::Server, 80)
        .expect("nft");
    wait_in_time("the hanging server is out", PROMISED, || weight(&site, 0).is_none()).expect("in time");
    let spread = site.client().spread(vip_of(&site), 10).expect("no request fails");
    assert_eq!(spread.len(), 1, "{spread:?}");
    site.lab
        .real_server(0)
        .drop_nothing(ipvsd_lab::Segment::Server)
        .expect("nft");
    wait_until("the server is back", RETURN, || weight(&site, 0) == Some(1)).expect("in time");
    assert!(
        daemon.process.log().contains("no answer in time"),
        "{}",
        daemon.process.log()
    );
}

#[test]
fn the_sorry_server_serves_while_all_others_are_down_in_every_mode() {
    for (name, mode) in [
        ("sorry-nat", Forwarding::Nat),
        ("sorry-dr", Forwarding::Direct),
        ("sorry-tun", Forwarding::Tunnel),
    ] {
        let site = Site::build(name, mode, Family::V4, 3, 1);
        let mut nginx = site.nginx_on(3);
        let sorry = SocketAddr::new(site.server_address(2), 80);
        let _daemon = site.run(&pool(&site, &format!("sorry_server = \"{sorry}\"")));
        let vip = vip_of(&site);
        wait_until("both servers serve", RETURN, || {
            weight(&site, 0) == Some(1) && weight(&site, 1) == Some(1)
        })
        .expect("a pool");
        assert_eq!(weight(&site, 2), None, "{site}: the sorry server waits outside");
        nginx[0].kill();
        nginx[1].kill();
        wait_in_time("the sorry server serves", PROMISED, || weight(&site, 2) == Some(1)).expect("in time");
        let prober = Prober::start(
            site.lab.client(0),
            vip,
            Duration::from_millis(40),
            Duration::from_secs(2),
            Duration::from_secs(30),
        )
        .expect("a prober");
        nginx[1].restart().expect("nginx");
        wait_until("the sorry server has gone home", RETURN, || weight(&site, 2).is_none()).expect("in time");
        let home = Instant::now();
        site.client()
            .wait_for_answer(vip, "real-server-2", Duration::from_secs(5))
            .expect("the pool serves again");
        // The prober has to see it, too.
        std::thread::sleep(Duration::from_millis(400));
        let report = prober.stop().expect("a report");
        // An empty service refuses. (A request that the sorry server had begun to answer when it was removed times
        // out: the kernel drops packets of a removed server in silence.)
        let refused = report
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome == Err(Failure::Refused));
        assert_eq!(
            refused.count(),
            0,
            "{site}: the pool was empty for an instant: {report}"
        );
        let settled = report.since(home);
        assert!(
            settled.failures().is_empty(),
            "{site}: requests fail after the return: {settled}"
        );
        let answered = report.answered_by();
        assert!(
            answered.contains_key("real-server-3") && answered.contains_key("real-server-2"),
            "{site}: {report}"
        );
    }
}

#[test]
fn an_inhibited_sorry_server_waits_with_weight_0() {
    let site = Site::build("sorry-inh", Forwarding::Nat, Family::V4, 3, 1);
    let mut nginx = site.nginx_on(3);
    let sorry = SocketAddr::new(site.server_address(2), 80);
    let more = format!("sorry_server = {{ address = \"{sorry}\", inhibit = true }}\ninhibit_on_failure = true");
    let _daemon = site.run(&pool(&site, &more));
    wait_until("the pool serves", RETURN, || {
        weight(&site, 0) == Some(1) && weight(&site, 1) == Some(1)
    })
    .expect("a pool");
    assert_eq!(weight(&site, 2), Some(0));
    nginx[0].kill();
    nginx[1].kill();
    wait_in_time("the sorry server serves", PROMISED, || weight(&site, 2) == Some(1)).expect("in time");
    assert_eq!((weight(&site, 0), weight(&site, 1)), (Some(0), Some(0)));
    assert_eq!(site.client().get(vip_of(&site)).as_deref(), Ok("real-server-3"));
}

#[test]
fn a_server_is_let_in_as_initial_says() {
    let site = Site::build("initial", Forwarding::Nat, Family::V4, 2, 1);
    // Nobody listens, so that every probe is refused.
    let check = |initial: &str| pool(&site, "").replace("fall = 3", &format!("fall = 3, initial = \"{initial}\""));
    let file = site.configure(&check("down"));
    let daemon = crate::site::Daemon::start(site.director(), &file, &[]);
    assert_eq!((weight(&site, 0), weight(&site, 1)), (None, None));
    drop(daemon);
    let _nginx = site.nginx_on(2);
    let file = site.configure(&check("first_result"));
    let _daemon = crate::site::Daemon::start(site.director(), &file, &[]);
    wait_until("the first success lets them in", RETURN, || {
        weight(&site, 0) == Some(1) && weight(&site, 1) == Some(1)
    })
    .expect("in time");
}

#[test]
fn a_crash_under_a_held_connection_is_weight_0_long_before_the_next_probe() {
    let site = Site::build("hold", Forwarding::Direct, Family::V4, 2, 1);
    let mut nginx = site.nginx_on(2);
    let check = "check = [{ type = \"tcp\", interval = \"30s\", retry_interval = \"5s\", timeout = \"1s\", rise = 1, \
                 hold = true }]";
    let address = format!("address = \"{}\"", vip_of(&site));
    let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\ninhibit_on_failure = true\n{check}");
    let daemon = site.run(&site.virtual_server("web", &address, &more, &[(0, 1), (1, 1)]));
    wait_until("both servers serve", RETURN, || {
        weight(&site, 0) == Some(1) && weight(&site, 1) == Some(1)
    })
    .expect("a pool");
    let held = || {
        let sockets = site
            .director()
            .exec_ok(&["ss", "-tnH", "state", "established"])
            .expect("ss");
        let to_servers = sockets.lines().filter(|line| line.trim_end().ends_with(":80"));
        to_servers.map(str::to_owned).collect::<Vec<_>>()
    };
    // A probe's connection is there for an instant only.
    let mut seen = Vec::new();
    wait_until("both are held", Duration::from_secs(5), || {
        let before = std::mem::replace(&mut seen, held());
        std::thread::sleep(Duration::from_millis(100));
        seen.len() == 2 && before == seen
    })
    .expect("held connections");
    let killed = Instant::now();
    nginx[0].kill();
    wait_until("the crashed server is out", Duration::from_secs(4), || {
        weight(&site, 0) == Some(0)
    })
    .unwrap_or_else(|problem| panic!("{problem}\n{}", daemon.process.log()));
    // Starting ipvsadm to look takes most of it here; the daemon's own times are in its log.
    let _ = writeln!(
        std::io::stderr(),
        "measured: crash to weight 0 with hold, as seen by ipvsadm: {:?}",
        killed.elapsed()
    );
    assert_eq!(weight(&site, 1), Some(1));
    let log = daemon.process.log();
    assert!(
        log.contains("real server is down") && log.contains("connection refused"),
        "{log}"
    );
    assert_eq!(held().len(), 1);
}
