//! Another program takes the running daemon's place, under traffic; one that is not good does not.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipvsd_lab::{Finished, Forwarding, Prober, wait_until};
use nix::sys::signal::Signal;

use crate::restart::watched;
use crate::service_manager::ServiceManager;
use crate::site::{Daemon, Family, Held, IPVSD, Site, table};

const SOON: Duration = Duration::from_secs(10);
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"500ms\", retry_interval = \"200ms\", timeout = \"150ms\", \
                     rise = 2, fall = 3 }]";

/// A site with three real servers, and a daemon that was started by way of a link.
struct Running {
    site: Site,
    vip: SocketAddr,
    servers: Vec<SocketAddr>,
    link: PathBuf,
    daemon: Daemon,
}

impl Running {
    fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let site = Site::build(name, Forwarding::Nat, Family::V4, 3, 1);
        let vip = SocketAddr::new(site.vip(0), 80);
        let servers = (0..3)
            .map(|index| SocketAddr::new(site.server_address(index), 80))
            .collect();
        let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\ninhibit_on_failure = true\n{CHECK}");
        let address = format!("address = \"{vip}\"");
        let file = site.configure(&site.virtual_server("web", &address, &more, &[(0, 1), (1, 1), (2, 1)]));
        let link = site.director().directory().join("ipvsd");
        symlink(IPVSD, &link).expect("a link");
        let (program, file) = (link.display().to_string(), file.display().to_string());
        let environment: Vec<_> = environment
            .iter()
            .copied()
            .chain([("IPVSD_LOG", "ipvsd=debug")])
            .collect();
        let process = site
            .director()
            .spawn_with(&[&program, "run", "-c", &file], &environment)
            .expect("ipvsd starts");
        let mut daemon = Daemon { process };
        daemon.wait_for("ready:");
        Self {
            site,
            vip,
            servers,
            link,
            daemon,
        }
    }

    /// Puts something else where the program was started from.
    fn install(&self, make: impl FnOnce(&Path)) {
        fs::remove_file(&self.link).expect("removable");
        make(&self.link);
    }

    fn install_script(&self, text: &str) {
        self.install(|path| {
            fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("writable");
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a mode");
        });
    }

    fn upgrade(&self) -> Finished {
        self.site.ipvsd(&["upgrade"])
    }

    fn weight(&self, server: usize) -> Option<u32> {
        let found = table(self.site.director(), &["-t", &self.vip.to_string()])?;
        found.get(&self.servers[server]).map(|found| found.weight)
    }

    fn serve(&self, wanted: &[u32]) {
        let is = || (0..3).all(|index| self.weight(index) == Some(wanted[index]));
        wait_until("the table has these weights", SOON, is)
            .unwrap_or_else(|error| panic!("{error}: {wanted:?}\n{}", self.daemon.process.log()));
    }
}

#[test]
fn upgrades_under_traffic_lose_no_connection_no_verdict_and_no_caller() {
    const TIMES: usize = 5;
    let manager = Arc::new(ServiceManager::listen());
    let heard = Arc::new(Mutex::new(String::new()));
    let (ended, all) = (Arc::new(AtomicBool::new(false)), Arc::clone(&heard));
    let listening = {
        let (ended, manager) = (Arc::clone(&ended), Arc::clone(&manager));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                if let Some(told) = manager.hear(Duration::from_millis(100)) {
                    let mut heard = all.lock().unwrap();
                    *heard += &told;
                    heard.push('\n');
                }
            }
        })
    };
    let mut running = Running::start("upgrade", &manager.environment("900000"));
    let site = &running.site;
    let mut nginx = site.nginx_on(3);
    running.serve(&[1, 1, 1]);
    site.client()
        .wait_for_answer(running.vip, site.lab.real_server(1).name(), SOON)
        .expect("traffic");
    nginx[0].kill();
    running.serve(&[0, 1, 1]);
    let mut held = Held::open(site.lab.client(0), running.vip);
    let (every, timeout) = (Duration::from_millis(20), Duration::from_secs(5));
    let prober =
        Prober::start(site.lab.client(0), running.vip, every, timeout, Duration::from_secs(60)).expect("a prober");
    let pid = running.daemon.process.id();
    let writes = running.daemon.process.log().matches("writing:").count();
    let ((), seen) = watched(site.director(), running.servers[0], || {
        for _ in 0..TIMES {
            let upgraded = running.upgrade();
            let said = format!("upgraded: ipvsd {0} -> {0}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!((upgraded.code(), upgraded.stdout), (0, said), "{}", upgraded.stderr);
            let status = site.ipvsd(&["status"]);
            assert!(
                status.code() == 0 && status.stdout.contains("web"),
                "{}{}",
                status.stdout,
                status.stderr
            );
            std::thread::sleep(Duration::from_millis(700));
        }
    });
    let log = running.daemon.process.log();
    assert_eq!(seen, [0], "{log}");
    assert_eq!(log.matches("writing:").count(), writes, "{log}");
    assert_eq!(
        log.matches("took over the states of 3 of 3 checks").count(),
        TIMES,
        "{log}"
    );
    assert!(!log.contains("stopping") && running.daemon.process.id() == pid && running.daemon.process.is_running());
    assert!(held.goes_on());
    let report = prober.stop().expect("a report");
    assert!(report.failures().is_empty() && report.attempts.len() > 100, "{report}");
    // Checks go on: somebody returns, somebody dies.
    nginx[0].restart().expect("nginx");
    nginx[1].kill();
    running.serve(&[1, 0, 1]);
    // What the service manager heard: every program said that it was ready, after the one before had said that it reloads.
    ended.store(true, Ordering::Relaxed);
    listening.join().expect("a listener");
    let heard = heard.lock().unwrap().clone();
    let told: Vec<_> = heard
        .lines()
        .filter(|line| matches!(*line, "READY=1" | "RELOADING=1" | "STOPPING=1"))
        .collect();
    let wanted: Vec<_> = std::iter::once("READY=1")
        .chain(["RELOADING=1", "READY=1"].repeat(TIMES))
        .collect();
    assert_eq!(told, wanted);
    assert!(heard.matches("WATCHDOG=1").count() > TIMES, "{heard}");
    // Signals reach the program that came last.
    running.daemon.process.signal_alone(Signal::SIGTERM).expect("a signal");
    let status = running.daemon.process.wait(SOON).expect("an end");
    assert!(status.success() && running.daemon.process.log().contains("stopping"));
}

#[test]
fn a_program_that_is_not_good_does_not_take_over() {
    let mut running = Running::start("no-upgrade", &[]);
    let mut nginx = running.site.nginx_on(3);
    running.serve(&[1, 1, 1]);
    let good = "[ \"$1\" = --version ] && { echo ipvsd 9.9.9; exit; }\n[ \"$1\" = upgrade ] && exit 0\n";
    let refused = |running: &Running, said: &str| {
        let finished = running.upgrade();
        assert_eq!(finished.code(), 1, "{said}: {}", finished.stdout);
        assert!(finished.stderr.contains(said), "no `{said}` in {}", finished.stderr);
        let status = running.site.ipvsd(&["status"]);
        assert_eq!(status.code(), 0, "{said}: {}", status.stderr);
    };
    fs::remove_file(&running.link).expect("removable");
    refused(&running, "cannot start");
    symlink(IPVSD, &running.link).expect("a link");
    running.install_script("exit 1");
    refused(&running, "does not tell its version");
    running.install_script("[ \"$1\" = --version ] && { echo ipvsd 0.0.1; exit; }; exit 2");
    refused(&running, "0.0.1, which cannot take over");
    running.install_script(&format!("{good}echo 'ipvsd.toml:1:1: error: too new'; exit 1"));
    refused(&running, "ipvsd.toml:1:1: error: too new");
    // Good until it is to be run.
    running.install_script(&format!("{good}chmod -x \"$0\""));
    refused(&running, "cannot run");
    let log = running.daemon.process.log();
    assert_eq!(log.matches("no upgrade:").count(), 5, "{log}");
    assert_eq!(log.matches("ready:").count(), 1, "{log}");
    // The one that went on still judges, listens and heeds signals.
    nginx[0].kill();
    running.serve(&[0, 1, 1]);
    running.daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    running.daemon.wait_for("configuration reloaded");
    // One that ends before it is ready: traffic flows on, and the caller knows.
    running.install_script(&format!("{good}[ \"$1\" = check-config ] || exit 7"));
    let finished = running.upgrade();
    assert!(
        finished.code() == 1 && finished.stderr.contains("before it was ready"),
        "{}",
        finished.stderr
    );
    assert_eq!(running.daemon.process.wait(SOON).expect("an end").code(), Some(7));
    assert!(running.site.client().get(running.vip).is_ok());
    running.serve(&[0, 1, 1]);
    let file = running.site.director().directory().join("ipvsd.toml");
    let again = Daemon::start(running.site.director(), &file, &[]);
    assert!(again.process.log().contains("3 of 3 checks"), "{}", again.process.log());
}
