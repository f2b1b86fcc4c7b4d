//! The daemon's end: what it takes out where that is asked for, and what a stuck one leaves to the service manager.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, Prober, wait_until};
use nix::sys::signal::Signal;

use crate::service_manager::ServiceManager;
use crate::site::{Daemon, Family, IPVSD, Site, holds, table};

const SOON: Duration = Duration::from_secs(10);
const CHECK: &str =
    "check = [{ type = \"tcp\", interval = \"500ms\", retry_interval = \"200ms\", timeout = \"150ms\" }]";

#[test]
fn a_flush_takes_out_what_is_ours_and_runs_the_commands_that_were_asked_for() {
    let site = Site::build("flush", Forwarding::Nat, Family::V4, 2, 2);
    let director = site.director();
    let mut nginx = site.nginx_on(2);
    let vips = [SocketAddr::new(site.vip(0), 80), SocketAddr::new(site.vip(1), 80)];
    let told = director.directory().join("told");
    let command = format!(
        "{{ argv = [\"/bin/sh\", \"-c\", \"echo $IPVSD_EVENT $IPVSD_SERVER $IPVSD_REASON >> {}\"], user = \"root\" }}",
        told.display()
    );
    let commands = format!("quorum_down = {command}\nnotify_down = {command}");
    let service = |name: &str, vip: SocketAddr, more: &str| {
        let more = format!("device = \"eth0\"\n{CHECK}\n{more}");
        site.virtual_server(name, &format!("address = \"{vip}\""), &more, &[(0, 1), (1, 1)])
    };
    let text = service("told", vips[0], &format!("notify_on_stop = true\n{commands}"))
        + &service("untold", vips[1], &commands);
    director
        .exec_ok(&["ipvsadm", "-A", "-t", "192.0.2.99:25", "-s", "wlc"])
        .expect("a foreign service");
    let file = site.configure(&text);
    let serves = |vip: SocketAddr| table(director, &["-t", &vip.to_string()]).map_or(0, |found| found.len());
    for (signal, arguments, config) in [
        (Signal::SIGKILL, &["--flush-on-stop"][..], ""),
        (Signal::SIGTERM, &["--flush-on-stop"][..], ""),
        (Signal::SIGTERM, &[][..], "[ipvs]\nflush_on_stop = true\n"),
        (Signal::SIGTERM, &[][..], ""),
    ] {
        site.configure(&format!("{text}{config}"));
        let mut daemon = Daemon::start(director, &file, arguments);
        wait_until("both serve", SOON, || serves(vips[0]) == 2 && serves(vips[1]) == 2).expect("in time");
        wait_until("the addresses are there", SOON, || {
            vips.iter().all(|vip| holds(director, vip.ip()))
        })
        .expect("in time");
        nginx[1].kill();
        wait_until("one is out", SOON, || serves(vips[0]) == 1).expect("in time");
        // Its own commands have run by then.
        let ran = || daemon.process.log().matches("server_down command").count() == 2;
        wait_until("both pools have told of it", SOON, ran).expect("in time");
        let _ = fs::remove_file(&told);
        let asked = Instant::now();
        daemon.process.signal_alone(signal).expect("a signal");
        daemon.process.wait(SOON).expect("an end");
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let flushed = signal == Signal::SIGTERM && (!arguments.is_empty() || !config.is_empty());
        let log = daemon.process.log();
        let found = director.exec_ok(&["ipvsadm", "-S", "-n"]).expect("ipvsadm");
        assert!(found.contains("-A -t 192.0.2.99:25"), "{log}");
        assert_eq!(serves(vips[0]) == 0, flushed, "{found}\n{log}");
        assert_eq!(found.lines().count() == 1, flushed, "{found}\n{log}");
        assert!(vips.iter().all(|vip| holds(director, vip.ip()) != flushed), "{log}");
        let said = fs::read_to_string(&told).unwrap_or_default();
        let mut said: Vec<_> = said.lines().collect();
        said.sort_unstable();
        let up = format!("server_down {}:80 stop", site.server_address(0));
        let wanted: &[&str] = match signal {
            Signal::SIGTERM => &["quorum_down", &up],
            _ => &[],
        };
        assert_eq!(said.iter().map(|line| line.trim()).collect::<Vec<_>>(), wanted, "{log}");
        nginx[1].restart().expect("nginx");
    }
}

#[test]
fn a_stuck_daemon_is_no_longer_vouched_for_and_started_again_under_traffic() {
    let manager = ServiceManager::listen();
    let site = Site::build("watchdog", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let vip = SocketAddr::new(site.vip(0), 80);
    let more = format!("device = \"eth0\"\n{CHECK}");
    let file = site.configure(&site.virtual_server("web", &format!("address = \"{vip}\""), &more, &[(0, 1), (1, 1)]));
    let file = file.display().to_string();
    let start = || {
        let command = [IPVSD, "run", "-c", &file];
        let process = site
            .director()
            .spawn_with(&command, &manager.environment("600000"))
            .expect("ipvsd starts");
        let mut daemon = Daemon { process };
        daemon.wait_for("ready:");
        daemon
    };
    let mut daemon = start();
    site.client()
        .wait_for_answer(vip, site.lab.real_server(0).name(), SOON)
        .expect("traffic");
    let (every, timeout) = (Duration::from_millis(25), Duration::from_secs(5));
    let prober = Prober::start(site.lab.client(0), vip, every, timeout, Duration::from_secs(60)).expect("a prober");
    assert!(manager.fed(Duration::from_secs(2)) >= 5);
    daemon.process.signal_alone(Signal::SIGSTOP).expect("a signal");
    // What it had said before.
    manager.fed(Duration::from_millis(200));
    assert_eq!(manager.fed(Duration::from_secs(2)), 0);
    // What the service manager does then.
    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    daemon.process.wait(SOON).expect("an end");
    let daemon = start();
    assert!(manager.fed(Duration::from_secs(2)) >= 5);
    let report = prober.stop().expect("a report");
    assert!(report.failures().is_empty(), "{report}\n{}", daemon.process.log());
}
