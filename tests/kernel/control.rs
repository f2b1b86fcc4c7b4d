//! Talking to the running daemon: what operators say shows in the kernel, and callers do it no harm.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipvsd_lab::{Finished, Forwarding, Prober, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{Daemon, Family, Held, IPVSD, Site, table};

const SOON: Duration = Duration::from_secs(10);
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", timeout = \"200ms\" }]";

fn site(name: &str) -> Site {
    Site::build(name, Forwarding::Nat, Family::V4, 2, 1)
}

fn vip(site: &Site) -> SocketAddr {
    SocketAddr::new(site.vip(0), 80)
}

fn pool(site: &Site, more: &str) -> String {
    let address = format!("address = \"{}\"", vip(site));
    let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\n{CHECK}\n{more}");
    site.virtual_server("web", &address, &more, &[(0, 3), (1, 3)])
}

fn server(site: &Site, index: usize) -> String {
    SocketAddr::new(site.server_address(index), 80).to_string()
}

fn weight(site: &Site, index: usize) -> Option<u32> {
    let found = table(site.director(), &["-t", &vip(site).to_string()])?;
    let address = SocketAddr::new(site.server_address(index), 80);
    found.get(&address).map(|found| found.weight)
}

fn wait_for_weights(site: &Site, wanted: [Option<u32>; 2]) {
    let found = || [weight(site, 0), weight(site, 1)];
    wait_until("the weights in the kernel", SOON, || found() == wanted)
        .unwrap_or_else(|error| panic!("{error}: {:?}, wanted {wanted:?}", found()));
}

/// Runs a verb that has to succeed.
fn says(site: &Site, arguments: &[&str]) -> String {
    let finished = site.ipvsd(arguments);
    assert_eq!(
        finished.code(),
        0,
        "{arguments:?}: {}{}",
        finished.stdout,
        finished.stderr
    );
    finished.stdout
}

fn json(site: &Site, arguments: &[&str]) -> Value {
    let text = says(site, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn serving(name: &str) -> (Site, Daemon) {
    let site = site(name);
    let daemon = site.run(&pool(&site, ""));
    (site, daemon)
}

#[test]
fn a_drained_server_keeps_its_connections_and_gets_no_new_ones_until_it_is_ready() {
    let (site, _daemon) = serving("ctl-drain");
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    let held: Vec<_> = (0..4).map(|_| Held::open(site.lab.client(0), vip(&site))).collect();
    assert!(held.iter().any(|held| held.identity == "real-server-1"));
    let (minute, moment) = (Duration::from_secs(60), Duration::from_millis(50));
    let prober =
        Prober::start(site.lab.client(0), vip(&site), moment, Duration::from_secs(2), minute).expect("a prober");
    let said = says(&site, &["drain", &server(&site, 0)]);
    assert!(said.contains(&format!("web/{}: drain", server(&site, 0))), "{said}");
    wait_for_weights(&site, [Some(0), Some(3)]);
    let spread = site.client().spread(vip(&site), 10).expect("no request fails");
    assert_eq!(spread.keys().collect::<Vec<_>>(), ["real-server-2"]);
    let connections = json(&site, &["why", &server(&site, 0)])["servers"][0]["kernel"][0]["active_connections"].clone();
    assert!(connections.as_u64() >= Some(2), "{connections}");
    let status = json(&site, &["status"]);
    let shown = &status["virtual_servers"][0]["real_servers"][0];
    assert_eq!(
        (&shown["state"], &shown["admin"], &shown["kernel_weight"]),
        (&"up".into(), &"drain".into(), &0.into())
    );
    let why = says(&site, &["why", &server(&site, 0)]);
    assert!(
        why.contains("because the operator drains it") && why.contains("said by root"),
        "{why}"
    );
    says(&site, &["ready", &format!("web/{}", server(&site, 0))]);
    wait_for_weights(&site, [Some(3), Some(3)]);
    assert_eq!(site.client().spread(vip(&site), 10).expect("no request fails").len(), 2);
    let report = prober.stop().expect("a report");
    assert!(report.failures().is_empty(), "{report}");
}

#[test]
fn a_server_in_maintenance_is_out_and_comes_back() {
    let (site, _daemon) = serving("ctl-maint");
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    says(&site, &["maint", &site.server_address(1).to_string()]);
    wait_for_weights(&site, [Some(3), None]);
    // Once more is no change, and no error.
    let said = says(&site, &["maint", &server(&site, 1)]);
    assert!(said.contains("as before"), "{said}");
    let both = site.ipvsd(&["maint", &server(&site, 0)]);
    assert!(both.stderr.contains("nobody is left to serve web"), "{}", both.stderr);
    says(&site, &["ready", &server(&site, 0)]);
    says(&site, &["ready", &server(&site, 1)]);
    wait_for_weights(&site, [Some(3), Some(3)]);
}

#[test]
fn an_operators_weight_counts_until_it_is_auto_again() {
    let (site, _daemon) = serving("ctl-weight");
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    says(&site, &["weight", &server(&site, 0), "17"]);
    wait_for_weights(&site, [Some(17), Some(3)]);
    let why = says(&site, &["why", &server(&site, 0)]);
    assert!(why.contains("its weight is 17 by the operator, in place of 3"), "{why}");
    says(&site, &["weight", &server(&site, 0), "0"]);
    wait_for_weights(&site, [Some(0), Some(3)]);
    says(&site, &["weight", &server(&site, 0), "auto"]);
    wait_for_weights(&site, [Some(3), Some(3)]);
    let refused = site.ipvsd(&["weight", &server(&site, 0), "-1"]);
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
}

#[test]
fn servers_that_are_unknown_or_several_are_refused_with_candidates() {
    let (site, _daemon) = serving("ctl-names");
    let refused = |server: &str| {
        let Finished { status, stderr, .. } = site.ipvsd(&["drain", server]);
        assert_eq!(status.code(), Some(1), "{server}: {stderr}");
        stderr
    };
    assert!(refused("192.0.2.99").contains(&server(&site, 0)));
    assert!(refused("mail/192.0.2.99").contains("there is web"));
    assert!(refused("nonsense").contains("is no real server"));
    assert!(refused(&format!("{}:81", site.server_address(0))).contains(&format!("web/{}", server(&site, 0))));
    let both = pool(&site, "")
        + &pool(&site, "")
            .replace("\"web\"", "\"admin\"")
            .replace(":80\"", ":81\"");
    site.configure(&both);
    says(&site, &["reload"]);
    let several = refused(&site.server_address(0).to_string());
    assert!(
        several.contains("several real servers") && several.contains(":81"),
        "{several}"
    );
}

#[test]
fn a_failed_server_says_why() {
    let (site, _daemon) = serving("ctl-why");
    let mut nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    nginx[0].kill();
    wait_for_weights(&site, [None, Some(3)]);
    let status = says(&site, &["status"]);
    let line = status
        .lines()
        .find(|line| line.contains(&server(&site, 0)))
        .expect("its line");
    assert!(
        line.contains("down") && line.contains("tcp: connection refused"),
        "{status}"
    );
    let why = says(&site, &["why", &server(&site, 0)]);
    assert!(why.contains("because check tcp fails: connection refused"), "{why}");
    assert!(why.contains("not there"), "{why}");
    let document = json(&site, &["why", &server(&site, 0)]);
    let report = &document["servers"][0];
    assert_eq!(report["state"], "down");
    let results = report["checks"][0]["results"].as_array().expect("results");
    let last = results.last().expect("a result");
    assert_eq!(
        (&last["outcome"], &last["cause"]),
        (&"failure".into(), &"connection refused".into())
    );
    let event = report["events"]
        .as_array()
        .and_then(|events| events.last())
        .expect("an event");
    assert_eq!((&event["from"], &event["to"]), (&"up".into(), &"down".into()));
    nginx[0].restart().expect("nginx");
    wait_for_weights(&site, [Some(3), Some(3)]);
}

#[test]
fn what_operators_want_survives_a_reload_a_kill_and_a_stop() {
    let (site, mut daemon) = serving("ctl-keep");
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    says(&site, &["drain", &server(&site, 0)]);
    says(&site, &["weight", &server(&site, 1), "9"]);
    wait_for_weights(&site, [Some(0), Some(9)]);
    let file = site.configure(&pool(&site, "persistence_timeout = \"60s\""));
    assert!(says(&site, &["reload"]).contains("reloaded: 1 virtual servers, 2 real servers"));
    wait_for_weights(&site, [Some(0), Some(9)]);
    daemon.process.kill();
    // Somebody else's weight is no operator's word.
    let by_hand = [
        "ipvsadm",
        "-e",
        "-t",
        &vip(&site).to_string(),
        "-r",
        &server(&site, 0),
        "-m",
        "-w",
        "5",
    ];
    site.director().exec_ok(&by_hand).expect("ipvsadm");
    let mut daemon = Daemon::start(site.director(), &file, &[]);
    wait_for_weights(&site, [Some(0), Some(9)]);
    let report = json(&site, &["why", &server(&site, 0)])["servers"][0]["operator"].clone();
    assert_eq!((&report["state"], &report["by"]), (&"drain".into(), &"root".into()));
    daemon.process.signal_alone(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("its end");
    let _daemon = Daemon::start(site.director(), &file, &[]);
    wait_for_weights(&site, [Some(0), Some(9)]);
    // A server that the configuration drops and brings back is as it was left.
    let one = site.virtual_server("web", &format!("address = \"{}\"", vip(&site)), CHECK, &[(1, 3)]);
    site.configure(&one);
    says(&site, &["reload"]);
    wait_for_weights(&site, [None, Some(9)]);
    site.configure(&pool(&site, ""));
    says(&site, &["reload"]);
    wait_for_weights(&site, [Some(0), Some(9)]);
    says(&site, &["ready", &server(&site, 0)]);
    says(&site, &["weight", &server(&site, 1), "auto"]);
    wait_for_weights(&site, [Some(3), Some(3)]);
}

#[test]
fn a_drain_is_waited_for_and_its_deadline_gives_the_rest_up() {
    let site = site("ctl-wait");
    let _daemon = site.run(&pool(&site, ""));
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    let mut held: Vec<_> = (0..4).map(|_| Held::open(site.lab.client(0), vip(&site))).collect();
    let started = Instant::now();
    says(&site, &["drain", "--wait", "--deadline", "4s", &server(&site, 0)]);
    assert!(
        started.elapsed() >= Duration::from_secs(3),
        "its connections were not waited for"
    );
    wait_for_weights(&site, [None, Some(3)]);
    says(&site, &["ready", &server(&site, 0)]);
    held.clear();
    wait_for_weights(&site, [Some(3), Some(3)]);
    let started = Instant::now();
    says(&site, &["drain", "--wait", "--deadline", "50s", &server(&site, 1)]);
    assert!(
        started.elapsed() < Duration::from_secs(45),
        "it waited for its deadline: {:?}",
        started.elapsed()
    );
    assert_eq!(weight(&site, 1), Some(0));
    let bad = site.ipvsd(&["drain", "--deadline", "5", &server(&site, 0)]);
    assert!(
        bad.code() == 2 && bad.stderr.contains("with its unit"),
        "{}",
        bad.stderr
    );
}

#[test]
fn a_reload_reports_every_problem_and_changes_nothing() {
    let (site, _daemon) = serving("ctl-reload");
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    let bad = pool(&site, "")
        .replace("\"rr\"", "\"fastest\"")
        .replace("weight = 3", "weight = -3");
    let file = site.configure(&bad);
    let refused = site.ipvsd(&["reload"]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""), "{}", refused.stderr);
    assert!(refused.stderr.contains("the running one stays"), "{}", refused.stderr);
    let checked = site.ipvsd(&["check-config", &file.display().to_string()]);
    let problems: Vec<_> = checked
        .stdout
        .lines()
        .filter(|line| line.contains(": error: "))
        .collect();
    assert_eq!(problems.len(), 3, "{}", checked.stdout);
    for problem in problems {
        assert!(refused.stderr.contains(problem), "no `{problem}` in {}", refused.stderr);
    }
    let document = site.ipvsd(&["reload", "--json"]);
    let parsed: Value = serde_json::from_str(&document.stdout).expect("JSON");
    assert_eq!((document.code(), &parsed["trouble"]), (1, &"bad_configuration".into()));
    wait_for_weights(&site, [Some(3), Some(3)]);
    site.configure(&pool(&site, "").replace("weight = 3", "weight = 4"));
    let good = says(&site, &["reload"]);
    assert!(good.contains("reloaded"), "{good}");
    wait_for_weights(&site, [Some(4), Some(4)]);
}

#[test]
fn events_are_kept_and_followed() {
    let (site, _daemon) = serving("ctl-events");
    let follower = site
        .director()
        .spawn(&[IPVSD, "events", "--follow", "--json"])
        .expect("ipvsd");
    let _nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    says(&site, &["maint", &server(&site, 0)]);
    let to_maint = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        event["kind"] == "admin" && event["to"] == "maint" && event["server"] == server(&site, 0).as_str()
    };
    wait_until("the event is told", SOON, || follower.log().lines().any(to_maint)).expect("in time");
    let kept = says(&site, &["events"]);
    assert!(
        kept.lines().count() >= 4 && kept.contains(&format!("web/{} is up", server(&site, 0))),
        "{kept}"
    );
    assert!(kept.contains("root asks for maint"), "{kept}");
    assert_eq!(says(&site, &["events", "-n", "2"]).lines().count(), 2);
    let numbers: Vec<u64> = says(&site, &["events", "--json"])
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["number"]
                .as_u64()
                .expect("a number")
        })
        .collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

fn socket_of(site: &Site) -> PathBuf {
    let inode = || {
        std::fs::metadata("/proc/thread-self/ns/net")
            .expect("a namespace")
            .ino()
    };
    let inode = site.director().in_namespace(inode).expect("a namespace");
    PathBuf::from(format!("/run/ipvsd/netns-{inode}/control.sock"))
}

#[test]
fn who_may_not_is_refused_and_a_group_can_be_allowed() {
    let (site, _daemon) = serving("ctl-user");
    let as_nobody = |group: &str, arguments: &[&str]| {
        let user = ["setpriv", "--reuid", "65534", "--regid", group, "--clear-groups", IPVSD];
        site.director()
            .exec(&[&user, arguments].concat())
            .expect("setpriv runs")
    };
    for verb in [
        &["status"] as &[&str],
        &["drain", "192.0.2.11"],
        &["reload"],
        &["events"],
    ] {
        let refused = as_nobody("65534", verb);
        assert_eq!(refused.code(), 1, "{verb:?}: {}{}", refused.stdout, refused.stderr);
        let wanted = format!("permission denied on {}", socket_of(&site).display());
        assert!(
            refused.stderr.contains(&wanted) && refused.stderr.contains("[control] group"),
            "{}",
            refused.stderr
        );
    }
    let mode = |site: &Site| {
        let found = std::fs::metadata(socket_of(site)).expect("the socket");
        (found.mode() & 0o777, found.uid(), found.gid())
    };
    assert_eq!(mode(&site), (0o600, 0, 0));
    let group = std::fs::read_to_string("/etc/group").expect("groups");
    let daemon_group = group
        .lines()
        .find_map(|line| line.strip_prefix("daemon:x:"))
        .expect("the group daemon");
    let gid = daemon_group.split(':').next().expect("its number");
    site.configure(&("[control]\ngroup = \"daemon\"\n".to_owned() + &pool(&site, "")));
    says(&site, &["reload"]);
    assert_eq!(mode(&site), (0o660, 0, gid.parse().expect("a number")));
    let allowed = as_nobody(gid, &["drain", &server(&site, 0)]);
    assert_eq!(allowed.code(), 0, "{}{}", allowed.stdout, allowed.stderr);
    assert!(says(&site, &["why", &server(&site, 0)]).contains("said by uid 65534"));
    assert_eq!(as_nobody("65534", &["status"]).code(), 1);
    site.configure(&pool(&site, ""));
    says(&site, &["reload"]);
    assert_eq!(mode(&site), (0o600, 0, 0));
}

#[test]
fn without_a_daemon_the_verbs_say_where_they_looked() {
    let site = site("ctl-none");
    for verb in [
        &["status"] as &[&str],
        &["why", "192.0.2.11"],
        &["ready", "192.0.2.11"],
        &["reload"],
        &["events"],
    ] {
        let refused = site.ipvsd(verb);
        assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""), "{verb:?}");
        assert!(
            refused.stderr.contains(&socket_of(&site).display().to_string()),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains("systemctl start ipvsd"), "{}", refused.stderr);
    }
    let file = site.configure(&pool(&site, ""));
    let elsewhere = site.director().directory().join("run").display().to_string();
    let _daemon = Daemon::start(site.director(), &file, &["--run-dir", &elsewhere]);
    let refused = site.ipvsd(&["status"]);
    assert!(refused.stderr.contains("another --run-dir"), "{}", refused.stderr);
    says(&site, &["status", "--run-dir", &elsewhere]);
}

#[test]
fn hostile_callers_do_no_harm() {
    let (site, mut daemon) = serving("ctl-hostile");
    let mut nginx = site.nginx_on(2);
    wait_for_weights(&site, [Some(3), Some(3)]);
    let path = socket_of(&site);
    let connect = || {
        let stream = UnixStream::connect(&path).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time limit");
        stream
    };
    let answer = |bytes: &[u8]| {
        let mut stream = connect();
        // It may be hung up on in the midst of it.
        let _ = stream.write_all(bytes);
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line);
        line
    };
    for (bytes, wanted) in [
        (b"GET / HTTP/1.0\r\n\r\n".as_slice(), "cannot be read"),
        (b"\xff\xfe\x00\n", "cannot be read"),
        (b"{}\n", "missing field"),
        (b"{\"version\":9,\"command\":\"x\"}\n", "version 9"),
        (&[b'['; 5000], "longer than 4096"),
        (&[b'x'; 4 << 20], "longer than 4096"),
        (
            b"{\"version\":1,\"command\":\"events\",\"last\":1e99}\n",
            "cannot be read",
        ),
        // Half a line, and silence.
        (b"{\"version\":1,", "no end after 10 s"),
    ] {
        let said = answer(bytes);
        assert!(
            said.contains("\"refused\"") && said.contains(wanted),
            "{wanted}: {said}"
        );
    }
    let memory = |daemon: &Daemon| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process.id())).expect("a process");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let before = memory(&daemon);
    // More than are listened to, each with a question and none who reads; then many more who only connect.
    let mut silent: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = connect();
            for _ in 0..40 {
                let _ = stream.write_all(b"{\"version\":1,\"command\":\"status\"}\n");
            }
            stream
        })
        .collect();
    for _ in 0..1000 {
        let Ok(stream) = UnixStream::connect(&path) else {
            continue;
        };
        silent.push(stream);
        if silent.len() > 500 {
            silent.truncate(60);
        }
    }
    // Probes and the kernel's table go on meanwhile.
    nginx[0].kill();
    wait_for_weights(&site, [None, Some(3)]);
    nginx[0].restart().expect("nginx");
    wait_for_weights(&site, [Some(3), Some(3)]);
    let after = memory(&daemon);
    assert!(after < before + 16 * 1024, "{before} kB before, {after} kB after");
    drop(silent);
    wait_until("it answers again", Duration::from_secs(30), || {
        site.ipvsd(&["status"]).code() == 0
    })
    .expect("in time");
    assert!(daemon.process.is_running());
    // A follower that never reads is hung up on, and no other waits for it.
    let mut stream = connect();
    stream
        .write_all(b"{\"version\":1,\"command\":\"events\",\"follow\":true}\n")
        .expect("a request");
    says(&site, &["events"]);
    let mut some = [0; 1];
    stream.read_exact(&mut some).expect("an event");
}
