//! Two directors that tell each other what they know, over TLS with pinned keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipvsd_lab::{Client, Finished, Responder, wait_until};
use serde_json::Value;

use crate::routers::{ADVERTS, Own, Routers, SOON, measured};
use crate::site::{Daemon, configure, ipvsd, table};

mod apart;

/// Both directors' keys, and what each says of the other one.
struct Pair {
    routers: Routers,
    folder: tempfile::TempDir,
    keys: [String; 3],
}

const CHECK: &str = "type = \"tcp\", interval = \"500ms\", timeout = \"400ms\"";

impl Pair {
    fn build(name: &str) -> Self {
        let routers = Routers::build(name);
        let folder = tempfile::tempdir().expect("a folder");
        let key = |name: &str| {
            let path = folder.path().join(name).display().to_string();
            let made = ipvsd(routers.director(0), &["peer", "key", &path]);
            assert_eq!(made.code(), 0, "{}", made.stderr);
            made.stdout.trim().to_owned()
        };
        let keys = ["0", "1", "stranger"].map(key);
        Self { routers, folder, keys }
    }

    fn key_file(&self, name: impl ToString) -> PathBuf {
        self.folder.path().join(name.to_string())
    }

    fn peer(&self, index: usize) -> String {
        let at = |index| SocketAddr::new(self.routers.address(index), 8964);
        format!(
            "[peer]\naddress = \"{}\"\nlisten = \"{}\"\nkey = \"{}\"\npeer_key = \"{}\"\ninterval = \"500ms\"\n",
            at(1 - index),
            at(index),
            self.key_file(index).display(),
            self.keys[1 - index]
        )
    }

    fn vip(&self) -> SocketAddr {
        SocketAddr::new(self.routers.vip(0), 80)
    }

    /// The real server, and one that does not answer.
    fn servers(&self) -> [SocketAddr; 2] {
        let real = self.routers.lab.real_server(0).address4(ipvsd_lab::Segment::Server);
        let [a, b, c, _] = real.octets();
        [real.into(), [a, b, c, 77].into()].map(|address| SocketAddr::new(address, 80))
    }

    fn pool(&self, check: &str) -> String {
        let [good, dead] = self.servers();
        let check = if check.is_empty() {
            String::new()
        } else {
            format!("check = [{{ {check} }}]\n")
        };
        format!(
            "[[virtual_server]]\nname = \"web\"\naddress = \"{}\"\nforward = \"dr\"\nscheduler = \"wrr\"\n\
             inhibit_on_failure = true\n{check}\
             [[virtual_server.real_server]]\naddress = \"{good}\"\nweight = 3\n\
             [[virtual_server.real_server]]\naddress = \"{dead}\"\nweight = 3\n",
            self.vip()
        )
    }

    fn start(&self, index: usize, text: &str) -> Daemon {
        self.routers.start(index, &format!("{}{text}", self.peer(index)), &[])
    }

    fn says(&self, index: usize, arguments: &[&str]) -> String {
        let Finished { status, stdout, stderr } = ipvsd(self.routers.director(index), arguments);
        assert_eq!(status.code(), Some(0), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    fn json(&self, index: usize, arguments: &[&str]) -> Value {
        let text = self.says(index, &[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn status(&self, index: usize) -> Value {
        self.json(index, &["peer", "status"])
    }

    fn wait_for_link(&self) {
        let linked = || [0, 1].iter().all(|index| self.status(*index)["connected"] == true);
        wait_until("the two are connected", SOON, linked).expect("in time");
    }

    /// The weights in a director's kernel.
    fn weights(&self, index: usize) -> [Option<u32>; 2] {
        let found = table(self.routers.director(index), &["-t", &self.vip().to_string()]).unwrap_or_default();
        self.servers()
            .map(|server| found.get(&server).map(|found| found.weight))
    }

    fn wait_for_weights(&self, index: usize, wanted: [Option<u32>; 2]) {
        wait_until("the weights in the kernel", SOON, || self.weights(index) == wanted)
            .unwrap_or_else(|error| panic!("{error}: {:?}, wanted {wanted:?}", self.weights(index)));
    }
}

#[test]
fn a_fresh_director_takes_over_the_other_ones_verdicts_before_its_first_probes() {
    let pair = Pair::build("peer-blind");
    let _nginx = pair.routers.serve();
    // The digest of a check is over all its settings, so both wait for their first probes; one has waited.
    let text = pair.pool(&format!("{CHECK}, warmup = \"20s\""));
    let _first = pair.start(0, &text);
    pair.wait_for_weights(0, [Some(3), Some(0)]);
    let second = pair.start(1, &text);
    let started = std::time::Instant::now();
    let good = pair.servers()[0].to_string();
    wait_until("it goes by the other one", SOON, || {
        pair.status(1)["checks_by_peer"]
            .as_u64()
            .is_some_and(|checks| checks > 0)
    })
    .expect("in time");
    let words = pair.says(1, &["why", &good]);
    let why = pair.json(1, &["why", &good]);
    let check = &why["servers"][0]["checks"][0];
    // Its own first probe may be due at any moment of the warm-up; what was asked before that is the other one's.
    if check["results"].as_array().is_some_and(Vec::is_empty) {
        assert_eq!(
            (&check["by_peer"], &check["state"]),
            (&true.into(), &"up".into()),
            "{why}"
        );
        assert!(words.contains("the peer says"), "{words}");
    }
    pair.wait_for_weights(1, [Some(3), Some(0)]);
    let log = second.process.log();
    assert!(log.contains("the peer's verdicts count"), "{log}");
    assert!(log.contains("the peer says: "), "{log}");
    // Its own verdicts end that.
    let left = Duration::from_secs(40).saturating_sub(started.elapsed());
    wait_until("own verdicts", left + SOON, || pair.status(1)["checks_by_peer"] == 0).expect("in time");
    assert_eq!(pair.weights(1), [Some(3), Some(0)]);
}

#[test]
fn a_drain_on_one_holds_on_the_other_and_over_restarts_of_either() {
    let pair = Pair::build("peer-drain");
    // Nobody probes, so that nothing else changes a weight.
    let text = pair.pool("");
    let server = format!("web/{}", pair.servers()[0]);
    let mut daemons = [0, 1].map(|index| Some(pair.start(index, &text)));
    pair.wait_for_link();
    for index in [0, 1] {
        pair.wait_for_weights(index, [Some(3), Some(3)]);
    }
    pair.says(0, &["drain", &server]);
    pair.wait_for_weights(1, [Some(0), Some(3)]);
    let why = pair.says(1, &["why", &server]);
    assert!(why.contains("drain, said by root on the peer"), "{why}");
    assert!(
        pair.says(0, &["why", &server]).contains("said by root "),
        "not on the peer"
    );
    // One comes back to the other, and to what it had heard itself.
    for index in [1, 0] {
        drop(daemons[index].take());
        daemons[index] = Some(pair.start(index, &text));
        pair.wait_for_link();
        assert_eq!(pair.weights(index), [Some(0), Some(3)]);
    }
    // What is said while nobody hears it is heard later, and the later word counts.
    drop(daemons[0].take());
    pair.says(1, &["ready", &server]);
    pair.says(1, &["weight", &server, "7"]);
    pair.wait_for_weights(1, [Some(7), Some(3)]);
    daemons[0] = Some(pair.start(0, &text));
    pair.wait_for_weights(0, [Some(7), Some(3)]);
    pair.says(0, &["weight", &server, "auto"]);
    pair.wait_for_weights(1, [Some(3), Some(3)]);
    assert_eq!(pair.weights(0), [Some(3), Some(3)]);
}

#[test]
fn another_key_is_refused_and_said_and_the_right_one_taken() {
    let pair = Pair::build("peer-keys");
    let text = pair.pool(CHECK);
    let _first = pair.start(0, &text);
    let wrong = pair.peer(1).replace(
        &pair.key_file(1).display().to_string(),
        &pair.key_file("stranger").display().to_string(),
    );
    let mut second = pair.routers.start(1, &format!("{wrong}{text}"), &[]);
    second.wait_for("does not take this director's key");
    let trouble = || pair.status(0)["trouble"].as_str().unwrap_or_default().to_owned();
    wait_until("the first one says why", SOON, || trouble().contains(&pair.keys[2])).expect("in time");
    assert_eq!(pair.status(0)["connected"], false);
    let said = pair.says(1, &["peer", "status"]);
    assert!(said.contains("not connected") && said.contains(&pair.keys[2]), "{said}");
    // One that is there is never written over.
    let again = ipvsd(
        pair.routers.director(1),
        &["peer", "key", &pair.key_file(1).display().to_string()],
    );
    assert!(
        again.code() == 1 && again.stderr.contains("is there already") && again.stderr.contains("peer key --show"),
        "{}",
        again.stderr
    );
    configure(pair.routers.director(1), &format!("{}{text}", pair.peer(1)));
    pair.says(1, &["reload"]);
    pair.wait_for_link();
}

#[test]
fn what_differs_is_named_and_then_gone() {
    let pair = Pair::build("peer-differs");
    let text = pair.pool(CHECK);
    let mut first = pair.start(0, &text);
    let other = text
        .replace("\"wrr\"", "\"wlc\"")
        .replacen("weight = 3", "weight = 5", 1);
    let _second = pair.start(1, &other);
    pair.wait_for_link();
    first.wait_for("the two directors differ");
    let differences = |index: usize| pair.status(index)["differences"].as_array().map_or(0, Vec::len);
    wait_until("both know", SOON, || {
        [0, 1].iter().all(|index| differences(*index) == 2)
    })
    .expect("in time");
    let said = pair.says(0, &["peer", "status"]);
    let [good, _] = pair.servers();
    for wanted in [
        "scheduler is wrr here and wlc on the peer".to_owned(),
        format!("real server {good}: weight is 3 here and 5 on the peer"),
    ] {
        assert!(said.contains(&wanted), "{wanted} is not in {said}");
    }
    configure(pair.routers.director(1), &format!("{}{text}", pair.peer(1)));
    pair.says(1, &["reload"]);
    first.wait_for("agree in everything now");
    wait_until("both agree", SOON, || {
        [0, 1].iter().all(|index| differences(*index) == 0)
    })
    .expect("in time");
    let events = pair.says(0, &["events"]);
    assert!(
        events.contains("the two directors differ") && events.contains("agree in everything"),
        "{events}"
    );
}

/// Connections that the master has before the other director comes back.
const CONNECTIONS: usize = 20;

#[test]
fn a_returning_master_waits_until_it_has_its_share_of_the_connections() {
    let pair = Pair::build("peer-share");
    let routers = &pair.routers;
    let everywhere = SocketAddr::new([0, 0, 0, 0].into(), 80);
    let _server = Responder::start(routers.lab.real_server(0), &[everywhere], "behind").expect("a server");
    let text = |index: usize| {
        let waits = format!("{ADVERTS}\npreempt_after_sync = {{ share = \"90%\", at_most = \"10m\" }}");
        let own = Own {
            priority: [150, 100][index],
            more: [waits.as_str(), ADVERTS][index],
        };
        let device = routers.device(index);
        format!(
            "{}[ipvs]\nsysctl = {{ sync_threshold = \"0 1\", sync_refresh_period = 2 }}\n\
             sync_daemon = {{ interface = \"{device}\", vrrp_instance = \"VI_1\" }}\n",
            routers.instance(index, own)
        )
    };
    let vip = routers.vip(0);
    let _second = pair.start(1, &text(1));
    routers.wait_for_master("the only one", 1, vip);
    let client = Client::new(routers.lab.client(0)).timeout(Duration::from_secs(10));
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|_| client.open(pair.vip()).expect("a connection"))
        .collect();
    let first = pair.start(0, &text(0));
    pair.wait_for_link();
    let known = || {
        let shown = routers
            .director(0)
            .exec_ok(&["ipvsadm", "-L", "-n", "-c"])
            .expect("ipvsadm");
        shown.matches("ESTABLISHED").count()
    };
    // Longer than it would take without waiting.
    let end = std::time::Instant::now() + Duration::from_secs(8);
    while std::time::Instant::now() < end {
        let known = known();
        assert!(
            known >= CONNECTIONS * 9 / 10 || !routers.has(0, vip),
            "it has {known} of {CONNECTIONS}"
        );
        std::thread::sleep(Duration::from_millis(300));
    }
    // With every byte a connection is told of.
    let began = std::time::Instant::now();
    wait_until("it has waited for enough", SOON, || {
        for connection in &mut open {
            connection.send().expect("a byte");
        }
        std::thread::sleep(Duration::from_millis(500));
        routers.has(0, vip)
    })
    .unwrap_or_else(|error| panic!("{error}: {} known\n{}", known(), first.process.log()));
    measured(format_args!(
        "{:.1} s from the first byte to the takeover",
        began.elapsed().as_secs_f64()
    ));
    let log = first.process.log();
    let said = log
        .lines()
        .find(|line| line.contains("need not wait for more connections"))
        .expect("it says so");
    assert!(said.contains(&format!("{CONNECTIONS} on the peer")), "{said}");
    assert!(known() >= CONNECTIONS * 9 / 10, "{} known", known());
    for connection in &mut open {
        connection.send().expect("a byte");
    }
    std::thread::sleep(Duration::from_secs(1));
    let alive = open.iter().filter(|connection| connection.is_open()).count();
    assert_eq!(alive, CONNECTIONS, "{log}");
}

#[test]
fn without_a_link_the_time_counts() {
    let pair = Pair::build("peer-time");
    let routers = &pair.routers;
    let _nginx = routers.serve();
    let vip = routers.vip(0);
    let text = |index: usize, more: &str| {
        let priority = [150, 100][index];
        let device = routers.device(index);
        format!(
            "{}[ipvs]\nsysctl = {{ sync_threshold = \"0 1\", sync_refresh_period = 2 }}\n\
             sync_daemon = {{ interface = \"{device}\", vrrp_instance = \"VI_1\" }}\n",
            routers.instance(index, Own { priority, more })
        )
    };
    // The other one has no [peer].
    let _second = routers.start(1, &text(1, ADVERTS), &[]);
    routers.wait_for_master("the only one", 1, vip);
    let waits = format!("{ADVERTS}\npreempt_after_sync = {{ share = \"90%\", at_most = \"8s\" }}");
    let _first = pair.start(0, &text(0, &waits));
    std::thread::sleep(Duration::from_secs(6));
    assert!(routers.has(1, vip) && !routers.has(0, vip), "it waits");
    routers.wait_for_master("it has waited", 0, vip);
}
