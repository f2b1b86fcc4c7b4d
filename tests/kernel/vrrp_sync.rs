//! Connections that outlive their director: the kernel's sync daemons run as the role wants, and what they have sent is
//! worth something.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Client, Responder, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{ADVERTS, Own, Routers, SOON, measured};
use crate::site::{configure, ipvsd};

/// Adverts that a slow guest keeps, and connections that are sent at once and again every two seconds.
const SYSCTL: &str = "sysctl = { sync_threshold = \"0 1\", sync_refresh_period = 2 }";
const CONNECTIONS: usize = 20;

fn text(routers: &Routers, index: usize, ipvs: &str) -> String {
    let own = Own {
        priority: [150, 100][index],
        more: ADVERTS,
    };
    format!("{}[ipvs]\n{SYSCTL}\n{ipvs}\n", routers.instance(index, own))
}

/// The sync daemons that run on a director, as ipvsadm shows them.
fn daemons(routers: &Routers, index: usize) -> Vec<String> {
    let shown = routers
        .director(index)
        .exec_ok(&["ipvsadm", "-L", "--daemon"])
        .expect("ipvsadm");
    let words = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
    shown
        .lines()
        .filter(|line| line.contains("sync daemon"))
        .map(words)
        .collect()
}

fn wait_for_daemons(routers: &Routers, what: &str, wanted: [&[&str]; 2]) {
    let found = || [0, 1].map(|index| daemons(routers, index));
    wait_until(what, SOON, || found() == wanted).unwrap_or_else(|problem| panic!("{problem}: {:?}", found()));
}

#[test]
fn connections_outlive_their_director_and_the_sync_daemons_follow_the_role() {
    let routers = Routers::build("vrrp-sync");
    let everywhere = SocketAddr::new([0, 0, 0, 0].into(), 80);
    let _server = Responder::start(routers.lab.real_server(0), &[everywhere], "behind").expect("a server");
    let vip = routers.vip(0);
    let sync = |index: usize| {
        let device = routers.device(index);
        format!(
            "sync_daemon = {{ interface = \"{device}\", vrrp_instance = \"VI_1\", group = \"224.0.0.99\", ttl = 2 }}"
        )
    };
    let first = routers.start(0, &text(&routers, 0, &sync(0)), &[]);
    let _second = routers.start(1, &text(&routers, 1, &sync(1)), &[]);
    routers.wait_for_master("the first one is master", 0, vip);
    let (master, backup) = (&["master sync daemon"][..], &["backup sync daemon"][..]);
    wait_for_daemons(&routers, "they follow the role", [master, backup]);
    let shown = routers
        .director(0)
        .exec_ok(&["ipvsadm", "-L", "--daemon"])
        .expect("ipvsadm");
    for wanted in ["syncid=51", "group=224.0.0.99", "ttl=2"] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }

    // There and back, as quickly as can be: the kernel keeps some of its answers to itself then.
    for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
        let handed = ipvsd(routers.director(from), &["vrrp", "step-down", "VI_1"]);
        assert_eq!(handed.code(), 0, "{}", handed.stderr);
        routers.wait_for_master("handed over", to, vip);
    }
    wait_for_daemons(&routers, "they follow the role back", [master, backup]);

    let client = Client::new(routers.lab.client(0)).timeout(Duration::from_secs(10));
    let address = SocketAddr::new(vip, 80);
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|_| client.open(address).expect("a connection"))
        .collect();
    for connection in &mut open {
        connection.send().expect("a byte");
    }
    let known = || {
        let shown = routers
            .director(1)
            .exec_ok(&["ipvsadm", "-L", "-n", "-c"])
            .expect("ipvsadm");
        shown.matches("ESTABLISHED").count()
    };
    wait_until("the other one knows them", SOON, || known() >= CONNECTIONS)
        .unwrap_or_else(|problem| panic!("{problem}: {}", known()));
    routers.director(0).link_down(Segment::Client).expect("the cable");
    wait_until("the other one takes over", SOON, || routers.has(1, vip)).expect("in time");
    wait_until("neighbours know", SOON, || routers.learnt(vip) == Some(routers.mac(1))).expect("in time");
    for connection in &mut open {
        // One that is cut says so here or a moment later.
        let _ = connection.send();
    }
    sleep(Duration::from_secs(2));
    let alive = open.iter().filter(|connection| connection.is_open()).count();
    measured(format_args!(
        "{alive} of {CONNECTIONS} connections have outlived their director"
    ));
    assert_eq!(alive, CONNECTIONS, "{}", first.process.log());
    routers.director(0).link_up(Segment::Client).expect("the cable");
    routers.wait_for_master("the first one is back", 0, vip);

    // Others' are left alone, and ours go with their words.
    wait_for_daemons(&routers, "they follow once more", [master, backup]);
    for index in [0, 1] {
        configure(routers.director(index), &text(&routers, index, ""));
        let reloaded = ipvsd(routers.director(index), &["reload"]);
        assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
    }
    wait_for_daemons(&routers, "nobody wants them", [&[], &[]]);
    let log = first.process.log();
    assert!(!log.contains("it is tried again"), "{log}");
}

#[test]
fn without_a_role_both_run_and_what_is_missing_is_tried_again() {
    let routers = Routers::build("sync-both");
    let director = routers.director(0);
    let sync = "sync_daemon = { interface = \"sync0\", sync_id = 7 }";
    let mut daemon = routers.start(0, &text(&routers, 0, sync), &[]);
    daemon.wait_for("it is tried again");
    director
        .ip(&[
            "link add sync0 type dummy",
            "address add 192.0.2.77/32 dev sync0",
            "link set sync0 up",
        ])
        .expect("ip");
    director.ip(&["route add 224.0.0.0/4 dev sync0"]).expect("ip");
    wait_for_daemons(
        &routers,
        "both run",
        [&["master sync daemon", "backup sync daemon"], &[]],
    );
    director
        .exec_ok(&["ipvsadm", "--stop-daemon", "backup"])
        .expect("ipvsadm");
    wait_for_daemons(
        &routers,
        "both run again",
        [&["master sync daemon", "backup sync daemon"], &[]],
    );
}

#[test]
fn a_returning_master_waits_for_the_connections() {
    let routers = Routers::build("sync-wait");
    let vip = routers.vip(0);
    let sync = |index: usize| {
        format!(
            "sync_daemon = {{ interface = \"{}\", vrrp_instance = \"VI_1\" }}",
            routers.device(index)
        )
    };
    let waits = text(&routers, 0, &sync(0)).replace(ADVERTS, &format!("{ADVERTS}\npreempt_after_sync = \"8s\""));
    let _second = routers.start(1, &text(&routers, 1, &sync(1)), &[]);
    routers.wait_for_master("the only one", 1, vip);
    let _first = routers.start(0, &waits, &[]);
    sleep(Duration::from_secs(6));
    assert!(routers.has(1, vip) && !routers.has(0, vip), "it waits");
    routers.wait_for_master("it has waited", 0, vip);
}

#[test]
fn without_any_state_connections_outlive_their_director_where_both_find_the_same_server() {
    let routers = Routers::with_servers("vrrp-stateless", 2);
    let everywhere = SocketAddr::new([0, 0, 0, 0].into(), 80);
    let servers = [0, 1].map(|index| routers.lab.real_server(index));
    let _responders = servers.map(|server| Responder::start(server, &[everywhere], server.name()).expect("a server"));
    let vip = routers.vip(0);
    let other = SocketAddr::new(servers[1].address4(Segment::Server).into(), 80);
    // The client's port counts too: there is one client.
    let hash = "forward = \"dr\"\nscheduler = \"mh\"\nflags = [\"mh-port\"]";
    let texts = [150, 100].map(|priority| Own {
        priority,
        more: ADVERTS,
    });
    let text = |index: usize| {
        let text = routers.instance(index, texts[index]);
        let hashed = text.replace("forward = \"dr\"", hash);
        assert_ne!(hashed, text);
        format!(
            "{hashed}[[virtual_server.real_server]]\naddress = \"{other}\"\n[ipvs]\nsysctl = {{ sloppy_tcp = 1 }}\n"
        )
    };
    let [first, second] = [0, 1].map(|index| {
        let checked = ipvsd(
            routers.director(index),
            &[
                "check-config",
                &configure(routers.director(index), &text(index)).display().to_string(),
            ],
        );
        assert!(
            checked.code() == 0 && !checked.stderr.contains("warning"),
            "{}",
            checked.stderr
        );
        routers.start(index, &text(index), &[])
    });
    routers.wait_for_master("the first one is master", 0, vip);
    assert_eq!(
        [daemons(&routers, 0), daemons(&routers, 1)],
        [[], []] as [[String; 0]; 2]
    );

    let client = Client::new(routers.lab.client(0)).timeout(Duration::from_secs(10));
    let address = SocketAddr::new(vip, 80);
    client
        .wait_for_answer(address, servers[0].name(), SOON)
        .expect("an answer");
    client
        .wait_for_answer(address, servers[1].name(), SOON)
        .expect("an answer");
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|_| client.open(address).expect("a connection"))
        .collect();
    for server in servers {
        assert!(open.iter().any(|connection| connection.identity() == server.name()));
    }
    let known = routers
        .director(1)
        .exec_ok(&["ipvsadm", "-L", "-n", "-c"])
        .expect("ipvsadm");
    assert!(!known.contains("ESTABLISHED"), "{known}");

    routers.director(0).link_down(Segment::Client).expect("the cable");
    first.process.signal_alone(Signal::SIGKILL).expect("a signal");
    wait_until("the other one takes over", SOON, || routers.has(1, vip)).expect("in time");
    wait_until("neighbours know", SOON, || routers.learnt(vip) == Some(routers.mac(1))).expect("in time");
    for connection in &mut open {
        // One that is cut says so here or a moment later.
        let _ = connection.send();
    }
    // What was sent has arrived, and by way of this director.
    let ended = open
        .into_iter()
        .map(|connection| connection.finish(Duration::from_secs(10)));
    let alive = ended.filter(Result::is_ok).count();
    measured(format_args!(
        "{alive} of {CONNECTIONS} connections have outlived their director without any state"
    ));
    assert_eq!(alive, CONNECTIONS, "{}", second.process.log());
}
