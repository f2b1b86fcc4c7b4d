//! Directors that are the real servers themselves (scenario S3): only the master has the services, or packets go round
//! between the two.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Client, Host, Nginx, Prober, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{Routers, SOON, measured};
use crate::site::{Held, configure, ipvsd, table};

/// One instance, one service of both directors.
fn text(routers: &Routers, index: usize, more: &str) -> String {
    let servers = [0, 1].map(|index| format!("{{ address = \"{}\" }}", routers.address(index)));
    format!(
        "[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 51\npriority = {}\n\
         advert_int = \"500ms\"\n[[virtual_server]]\nname = \"read\"\naddress = \"{}\"\nscheduler = \"rr\"\n\
         forward = \"dr\"\nvrrp_instance = \"VI_1\"\n{more}\n\
         check = [{{ type = \"tcp\", interval = \"500ms\", timeout = \"400ms\" }}]\nreal_server = [{}]\n",
        routers.device(index),
        [150, 100][index],
        SocketAddr::new(routers.vip(0), 80),
        servers.join(", "),
    )
}

/// Nginx on a director, which carries the virtual address on `lo` as real servers of direct routing do.
fn serve<'lab>(routers: &Routers, director: &'lab Host) -> Nginx<'lab> {
    director
        .ip(&[&format!("address add {}/32 dev lo", routers.vip(0))])
        .expect("ip");
    for name in ["all", "eth0"] {
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            director
                .set_sysctl(&format!("net/ipv4/conf/{name}/{key}"), value)
                .expect("a setting");
        }
    }
    Nginx::start(director, &[SocketAddr::new([0, 0, 0, 0].into(), 80)], director.name()).expect("nginx")
}

/// Who holds the address on the segment: on `lo` both always have it.
fn holds(routers: &Routers, index: usize, address: IpAddr) -> bool {
    let (director, device) = (routers.director(index), routers.device(index));
    let found = director
        .exec_ok(&["ip", "-o", "address", "show", "dev", device])
        .expect("ip");
    found.contains(&format!(" {address}/"))
}

fn settles(routers: &Routers, what: &str, master: usize) {
    let vip = SocketAddr::new(routers.vip(0), 80);
    let has_services =
        |index: usize| table(routers.director(index), &["-t", &vip.to_string()]).is_some_and(|found| found.len() == 2);
    let as_wanted = || {
        (0..2).all(|index| {
            let is_master = index == master;
            holds(routers, index, vip.ip()) == is_master && has_services(index) == is_master
        })
    };
    wait_until(what, SOON, as_wanted).unwrap_or_else(|problem| {
        let shown = [0, 1].map(|index| {
            let director = routers.director(index);
            (
                ipvsd(director, &["status"]).stdout,
                ipvsd(director, &["list", "-n"]).stdout,
            )
        });
        panic!("{problem}: {shown:?}")
    });
}

/// Who answers twenty connections in a row.
fn answers(routers: &Routers) -> Vec<Result<String, String>> {
    let client = Client::new(routers.lab.client(0));
    let address = SocketAddr::new(routers.vip(0), 80);
    (0..20)
        .map(|_| client.get(address).map_err(|problem| format!("{problem:#}")))
        .collect()
}

#[test]
fn directors_that_serve_themselves_lose_nothing_while_only_the_master_has_the_services() {
    let routers = Routers::build("vrrp-roles");
    let directors = [0, 1].map(|index| routers.director(index));
    let _served = directors.map(|director| serve(&routers, director));
    let master = "program_when = \"master\"";
    let mut first = routers.start(0, &text(&routers, 0, master), &[]);
    let second = routers.start(1, &text(&routers, 1, master), &[]);
    settles(&routers, "the first one has the services", 0);
    let both: BTreeSet<_> = directors.map(|director| director.name().to_owned()).into();
    let all_answer = |what: &str| {
        let answers = answers(&routers);
        assert!(answers.iter().all(Result::is_ok), "{what}: {answers:?}");
        let who: BTreeSet<_> = answers
            .into_iter()
            .flatten()
            .map(|text| text.trim().to_owned())
            .collect();
        assert_eq!(who, both, "{what}");
    };
    all_answer("the first one is master");
    let status = ipvsd(directors[1], &["status"]).stdout;
    assert!(status.contains("its virtual router is master elsewhere"), "{status}");

    let handed = ipvsd(directors[0], &["vrrp", "step-down", "VI_1"]);
    assert_eq!(handed.code(), 0, "{}", handed.stderr);
    settles(&routers, "handed over", 1);
    all_answer("the second one is master");
    let handed = ipvsd(directors[1], &["vrrp", "step-down", "VI_1"]);
    assert_eq!(handed.code(), 0, "{}", handed.stderr);
    settles(&routers, "handed back", 0);

    // A daemon that is stopped takes the services out with the address: its nginx goes on serving.
    first.process.signal(Signal::SIGTERM).expect("a signal");
    first.process.wait(SOON).expect("it ends");
    settles(&routers, "stopped", 1);
    all_answer("the first daemon is stopped");
    let first = routers.start(0, &text(&routers, 0, master), &[]);
    settles(&routers, "it returns", 0);
    all_answer("the first one is back");

    // What is left by a daemon that was killed stays until somebody is heard.
    first.process.signal_alone(Signal::SIGKILL).expect("a signal");
    wait_until("the second one takes over", SOON, || holds(&routers, 1, routers.vip(0))).expect("in time");
    let _first = routers.start(0, &text(&routers, 0, master), &[]);
    settles(&routers, "it returns after a kill", 0);
    all_answer("the first one is back after a kill");
    let log = second.process.log();
    assert!(log.contains("programmed: VI_1 is master here"), "{log}");
    assert!(
        log.contains("taken out of the table: VI_1 is master elsewhere"),
        "{log}"
    );
    assert!(!log.contains("ERROR"), "{log}");
}

/// Whether a log says each time that the address had gone before the services went.
fn went_in_order(log: &str) -> bool {
    let gone = |line: &str| line.contains("virtual address taken off");
    let out = |line: &str| line.contains("taken out of the table");
    // At its start nobody had anything.
    let lines = log
        .lines()
        .skip_while(|line| !line.contains("virtual address put on its device"));
    let told: Vec<_> = lines.filter(|line| gone(line) || out(line)).map(gone).collect();
    told.len() > 1 && told.chunks(2).all(|pair| pair == [true, false])
}

#[test]
fn the_services_stay_until_the_address_has_gone_and_no_session_is_lost_in_between() {
    let routers = Routers::build("vrrp-roles-order");
    let directors = [0, 1].map(|index| routers.director(index));
    let _served = directors.map(|director| serve(&routers, director));
    let with_sync = |index: usize| {
        let sync = format!(
            "[ipvs]\nsysctl = {{ sync_threshold = \"0 1\", sync_refresh_period = 2, expire_nodest_conn = 1 }}\n\
             sync_daemon = {{ interface = \"{}\", vrrp_instance = \"VI_1\" }}\n",
            routers.device(index)
        );
        // A service that is always there keeps IPVS at work on both.
        let other = format!(
            "[[virtual_server]]\nname = \"other\"\naddress = \"{}\"\nforward = \"dr\"\nvrrp_instance = \"VI_1\"\n\
             check = [{{ type = \"tcp\", initial = \"up\", interval = \"10s\" }}]\n\
             real_server = [{{ address = \"{}\" }}]\n",
            SocketAddr::new(routers.vip(0), 81),
            routers.lab.real_server(0).address4(Segment::Server),
        );
        text(&routers, index, "program_when = \"master\"") + &other + &sync
    };
    let mut daemons = [0, 1].map(|index| routers.start(index, &with_sync(index), &[]));
    settles(&routers, "the first one has the services", 0);
    let (client, address) = (routers.lab.client(0), SocketAddr::new(routers.vip(0), 80));
    let mut held = [(); 4].map(|()| Held::open(client, address));
    let at: BTreeSet<_> = held.iter().map(|held| held.identity.clone()).collect();
    assert_eq!(at.len(), 2, "some at each of them: {at:?}");
    sleep(Duration::from_secs(3));
    let (every, timeout) = (Duration::from_millis(10), Duration::from_secs(4));
    let prober = Prober::start(client, address, every, timeout, Duration::from_secs(60)).expect("a prober");
    sleep(Duration::from_secs(1));
    for (from, to) in [(0, 1), (1, 0)] {
        let handed = ipvsd(directors[from], &["vrrp", "step-down", "VI_1"]);
        assert_eq!(handed.code(), 0, "{}", handed.stderr);
        settles(&routers, "handed over", to);
        sleep(Duration::from_secs(2));
        let alive = held.iter_mut().map(Held::goes_on).filter(|goes_on| *goes_on).count();
        assert_eq!(
            alive,
            held.len(),
            "sessions outlive the move to {to}: {}",
            daemons[from].process.log()
        );
    }
    daemons[0].process.signal(Signal::SIGTERM).expect("a signal");
    daemons[0].process.wait(SOON).expect("it ends");
    settles(&routers, "stopped", 1);
    sleep(Duration::from_secs(2));
    let report = prober.stop().expect("a report");
    measured(format_args!(
        "three moves between directors that are real servers: longest gap {:?}, {} of {} failed, slow ones: {}",
        report.longest_gap(),
        report.failures().len(),
        report.attempts.len(),
        report
            .attempts
            .iter()
            .filter(|attempt| attempt.took > Duration::from_millis(900))
            .count()
    ));
    // While both have all services, a new one may go back and forth between them.
    let few = report.attempts.len() / 50;
    assert!(report.failures().len() <= few, "new connections: {report}");
    let alive = held.iter_mut().map(Held::goes_on).filter(|goes_on| *goes_on).count();
    assert_eq!(alive, held.len(), "sessions outlive a stop");
    for daemon in &daemons {
        let log = daemon.process.log();
        assert!(went_in_order(&log), "{log}");
    }
}

#[test]
fn without_it_a_configuration_is_warned_of_on_the_host_that_it_is_for() {
    let routers = Routers::build("vrrp-loops");
    let director = routers.director(0);
    let check = |more: &str| {
        let file = configure(director, &text(&routers, 0, more));
        ipvsd(director, &["check-config", &file.display().to_string()]).stdout
    };
    let warned = check("");
    let own = director.address4(Segment::Client);
    assert!(
        warned.contains(&format!("real server {own} is this director itself")),
        "{warned}"
    );
    assert_eq!(warned.matches("is this director itself").count(), 1, "{warned}");
    let content = check("program_when = \"master\"");
    assert!(!content.contains("is this director itself"), "{content}");
    let elsewhere = routers.lab.client(0);
    let file = configure(elsewhere, &text(&routers, 0, ""));
    let elsewhere = ipvsd(elsewhere, &["check-config", &file.display().to_string()]).stdout;
    assert!(!elsewhere.contains("is this director itself"), "{elsewhere}");
}
