//! Drains, backup tiers, panic, slow start, quorum and commands on a real kernel, with real nginx.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ipvsd_lab::{Forwarding, wait_until};

use crate::site::{Daemon, Family, Held, IPVSD, Site, table};

const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"300ms\", \
                     rise = 2, fall = 2 }]";
/// Well above what any change takes.
const SOON: Duration = Duration::from_secs(8);

fn vip_of(site: &Site) -> SocketAddr {
    SocketAddr::new(site.vip(0), 80)
}

/// A pool of these `(index, weight)` servers.
fn pool(site: &Site, more: &str, servers: &[(usize, u32)]) -> String {
    let address = format!("address = \"{}\"", vip_of(site));
    let more = format!("device = \"eth0\"\n{CHECK}\n{more}");
    site.virtual_server("web", &address, &more, servers)
}

/// The weights of the first `count` real servers in the kernel; `None` where one is not there.
fn weights(site: &Site, count: usize) -> Vec<Option<u32>> {
    let found = table(site.director(), &["-t", &vip_of(site).to_string()]).unwrap_or_default();
    (0..count)
        .map(|index| {
            let key = SocketAddr::new(site.server_address(index), 80);
            found.get(&key).map(|found| found.weight)
        })
        .collect()
}

fn wait_for(site: &Site, what: &str, wanted: &[Option<u32>]) {
    let reached = wait_until(what, SOON, || weights(site, wanted.len()) == wanted);
    if reached.is_err() {
        panic!("{what}: {:?}, not {wanted:?}", weights(site, wanted.len()));
    }
}

fn stays(site: &Site, what: &str, wanted: &[Option<u32>]) {
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(weights(site, wanted.len()), wanted, "{what}");
    }
}

#[test]
fn a_file_drains_a_server_and_its_connections_go_on() {
    let site = Site::build("pol-file", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let (text, file) = pool_with_file(&site, "scheduler = \"rr\"");
    let _daemon = site.run(&text);
    wait_for(&site, "both serve", &[Some(3), Some(1)]);
    let first = site.server_address(0);
    let held: Vec<_> = (0..4).map(|_| Held::open(site.lab.client(0), vip_of(&site))).collect();
    assert!(held.iter().any(|held| held.identity == "real-server-1"), "{first}");
    std::fs::write(&file, "drain\n").expect("a file");
    wait_for(&site, "the first one is drained", &[Some(0), Some(1)]);
    let spread = site.client().spread(vip_of(&site), 6).expect("requests");
    assert_eq!(spread, [("real-server-2".to_owned(), 6)].into());
    let found = table(site.director(), &["-t", &vip_of(&site).to_string()]).expect("the service");
    assert!(found[&SocketAddr::new(first, 80)].connections > 0, "{found:?}");
    std::fs::write(&file, "50%\n").expect("a file");
    wait_for(&site, "half of its weight, rounded up", &[Some(2), Some(1)]);
    std::fs::write(&file, "maint\n").expect("a file");
    wait_for(&site, "maintenance is like a failure", &[None, Some(1)]);
    std::fs::write(&file, "\n").expect("a file");
    wait_for(&site, "as configured again", &[Some(3), Some(1)]);
}

/// A pool whose first server is also as a file on the director says, and that file.
fn pool_with_file(site: &Site, more: &str) -> (String, std::path::PathBuf) {
    let file = site.director().directory().join("state");
    std::fs::write(&file, "ready\n").expect("a file");
    let check = format!(
        "check = [{{ type = \"file\", path = \"{}\", interval = \"200ms\", fall = 1 }}]\n",
        file.display()
    );
    (pool(site, more, &[(1, 1), (0, 3)]) + &check, file)
}

#[test]
fn a_failed_server_drains_until_its_connections_are_gone_or_its_time_is_over() {
    let site = Site::build("pol-drain", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let (text, file) = pool_with_file(
        &site,
        "scheduler = \"rr\"\non_down = \"drain\"\ndrain_timeout = \"25s\"",
    );
    let _daemon = site.run(&text);
    let hold = || -> Vec<_> {
        wait_for(&site, "both serve", &[Some(3), Some(1)]);
        let held: Vec<_> = (0..4).map(|_| Held::open(site.lab.client(0), vip_of(&site))).collect();
        assert!(held.iter().any(|held| held.identity == "real-server-1"));
        held
    };
    let held = hold();
    std::fs::write(&file, "down\n").expect("a file");
    wait_for(&site, "it drains", &[Some(0), Some(1)]);
    stays(&site, "with connections it stays", &[Some(0), Some(1)]);
    held.into_iter().for_each(Held::reset);
    wait_until("the last connection is gone", Duration::from_secs(22), || {
        weights(&site, 2) == [None, Some(1)]
    })
    .expect("before its time is over");
    std::fs::write(&file, "up\n").expect("a file");
    let _held = hold();
    std::fs::write(&file, "down\n").expect("a file");
    wait_for(&site, "it drains again", &[Some(0), Some(1)]);
    wait_until("its time is over", Duration::from_secs(30), || {
        weights(&site, 2) == [None, Some(1)]
    })
    .expect("in time");
}

#[test]
fn a_server_taken_out_of_the_configuration_drains_too() {
    let site = Site::build("pol-gone", Forwarding::Nat, Family::V4, 2, 1);
    let _nginx = site.nginx_on(2);
    let more = "scheduler = \"rr\"\non_down = \"drain\"\ndrain_timeout = \"300s\"";
    let mut daemon = site.run(&pool(&site, more, &[(0, 1), (1, 1)]));
    wait_for(&site, "both serve", &[Some(1), Some(1)]);
    let held: Vec<_> = (0..4).map(|_| Held::open(site.lab.client(0), vip_of(&site))).collect();
    site.configure(&pool(&site, more, &[(1, 1)]));
    daemon
        .process
        .signal_alone(nix::sys::signal::Signal::SIGHUP)
        .expect("a signal");
    daemon.wait_for("configuration reloaded");
    wait_for(&site, "it drains", &[Some(0), Some(1)]);
    stays(&site, "with connections it stays", &[Some(0), Some(1)]);
    held.into_iter().for_each(Held::reset);
    wait_until("the last connection is gone", Duration::from_secs(30), || {
        weights(&site, 2) == [None, Some(1)]
    })
    .expect("in time");
}

#[test]
fn a_backup_tier_is_left_only_when_it_fails_with_a_manual_return() {
    let site = Site::build("pol-tier", Forwarding::Direct, Family::V4, 2, 1);
    let mut nginx = site.nginx_on(2);
    let text = pool(&site, "scheduler = \"rr\"\nreturn_mode = \"manual\"", &[(0, 1), (1, 1)]) + "tier = 1\n";
    let daemon = site.run(&text);
    wait_for(&site, "the first tier serves", &[Some(1), None]);
    nginx[0].kill();
    wait_for(&site, "the second one serves", &[None, Some(1)]);
    nginx[0].restart().expect("nginx");
    wait_until("the return is awaited", SOON, || {
        daemon.process.log().contains("waits for an operator")
    })
    .expect("a line");
    stays(&site, "it is not gone back", &[None, Some(1)]);
    drop(daemon);
    let file = site.director().directory().join("ipvsd.toml");
    let _again = Daemon::start(site.director(), &file, &[]);
    stays(&site, "a restart is no return", &[None, Some(1)]);
    nginx[1].kill();
    wait_for(&site, "the second tier fails", &[Some(1), None]);
    assert_eq!(site.client().get(vip_of(&site)).as_deref(), Ok("real-server-1"));
}

#[test]
fn a_delayed_return_comes_after_its_time() {
    let site = Site::build("pol-delay", Forwarding::Nat, Family::V4, 2, 1);
    let mut nginx = site.nginx_on(2);
    let sorry = SocketAddr::new(site.server_address(1), 80);
    let more = format!("return_mode = \"delayed\"\nreturn_after = \"6s\"\nsorry_server = \"{sorry}\"");
    let _daemon = site.run(&pool(&site, &more, &[(0, 1)]));
    wait_for(&site, "the pool serves", &[Some(1), None]);
    nginx[0].kill();
    wait_for(&site, "the sorry server serves", &[None, Some(1)]);
    nginx[0].restart().expect("nginx");
    stays(&site, "not at once", &[None, Some(1)]);
    wait_for(&site, "back in the pool", &[Some(1), None]);
}

#[test]
fn in_a_panic_those_stay_in_that_were_in() {
    let site = Site::build("pol-panic", Forwarding::Nat, Family::V4, 3, 1);
    let mut nginx = site.nginx_on(3);
    let sorry = SocketAddr::new(site.server_address(2), 80);
    let more = format!("panic_threshold = 50\nsorry_server = \"{sorry}\"");
    let daemon = site.run(&pool(&site, &more, &[(0, 1), (1, 1)]));
    wait_for(&site, "both serve", &[Some(1), Some(1), None]);
    nginx[0].kill();
    wait_for(&site, "one of two may be out", &[None, Some(1), None]);
    nginx[1].kill();
    wait_until("the panic is told", SOON, || {
        daemon.process.log().contains("PANIC: only 0 of 2")
    })
    .expect("a line");
    stays(&site, "it stays in", &[None, Some(1), None]);
    nginx[0].restart().expect("nginx");
    wait_for(&site, "one is enough again", &[Some(1), None, None]);
    assert!(
        daemon.process.log().contains("panic is over"),
        "{}",
        daemon.process.log()
    );
}

#[test]
fn a_returning_server_of_weight_1_gets_its_weight_in_steps() {
    let site = Site::build("pol-slow", Forwarding::Nat, Family::V4, 2, 1);
    let mut nginx = site.nginx_on(2);
    let _daemon = site.run(&pool(
        &site,
        "scheduler = \"wrr\"\nslow_start = \"10s\"",
        &[(0, 1), (1, 1)],
    ));
    wait_for(&site, "both serve at once", &[Some(1), Some(1)]);
    nginx[0].kill();
    wait_for(&site, "one is out", &[None, Some(1)]);
    nginx[0].restart().expect("nginx");
    let mut seen: Vec<Vec<Option<u32>>> = vec![weights(&site, 2)];
    wait_until("the end of the slow start", Duration::from_secs(30), || {
        let now = weights(&site, 2);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        seen.len() > 2 && seen.last() == Some(&vec![Some(1), Some(1)])
    })
    .expect("in time");
    let ramp: Vec<u32> = seen
        .iter()
        .filter(|weights| weights[1] == Some(10))
        .filter_map(|weights| weights[0])
        .collect();
    assert!(ramp.len() >= 5 && ramp.is_sorted(), "{seen:?}");
    assert!(ramp.iter().all(|weight| (1..10).contains(weight)), "{seen:?}");
}

#[test]
fn without_a_quorum_the_sorry_server_serves_and_the_commands_are_run_in_order() {
    let site = Site::build("pol-quorum", Forwarding::Nat, Family::V4, 3, 1);
    let mut nginx = site.nginx_on(3);
    let sorry = SocketAddr::new(site.server_address(2), 80);
    let directory = site.director().directory();
    let (script, told) = (directory.join("tell"), directory.join("told"));
    // Slower than the events come, so that two commands of one subject would overlap if they could.
    let text = format!(
        "#!/bin/sh\nsleep 0.3\necho \"$IPVSD_EVENT $IPVSD_VIRTUAL_SERVER $IPVSD_SERVER $IPVSD_REASON $(id -un) $1\" >>{}\n",
        told.display()
    );
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a script");
    std::fs::write(&told, "").expect("a file");
    std::fs::set_permissions(&told, std::fs::Permissions::from_mode(0o666)).expect("a file");
    let command = |word: &str| format!("{{ argv = [\"{}\", \"{word}\"] }}", script.display());
    let more = format!(
        "sorry_server = \"{sorry}\"\nquorum = 2\nquorum_up = {}\nquorum_down = {}\nnotify_down = {}\nnotify_up = {}",
        command("a"),
        command("b"),
        command("c"),
        "{ argv = [\"/bin/sleep\", \"60\"], timeout = \"200ms\" }",
    );
    let daemon = site.run(&pool(&site, &more, &[(0, 1), (1, 1)]));
    wait_for(&site, "both serve", &[Some(1), Some(1), None]);
    nginx[0].kill();
    wait_for(&site, "the sorry server serves", &[None, None, Some(1)]);
    assert_eq!(site.client().get(vip_of(&site)).as_deref(), Ok("real-server-3"));
    nginx[0].restart().expect("nginx");
    wait_for(&site, "both serve again", &[Some(1), Some(1), None]);
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_until("all commands have run", SOON, || lines().lines().count() == 4).expect("four lines");
    let lines = lines();
    let of = |word: &str| lines.lines().filter(|line| line.starts_with(word)).collect::<Vec<_>>();
    assert_eq!(
        of("quorum"),
        [
            "quorum_up web   nobody a",
            "quorum_down web   nobody b",
            "quorum_up web   nobody a"
        ]
    );
    let server = SocketAddr::new(site.server_address(0), 80);
    assert_eq!(
        of("server"),
        [format!("server_down web {server} connection refused nobody c")]
    );
    wait_until("the slow command is killed", SOON, || {
        daemon.process.log().contains("was killed after 200ms")
    })
    .expect("a line");
}

#[test]
fn checks_wait_until_an_address_is_on_this_host() {
    let site = Site::build("pol-susp", Forwarding::Nat, Family::V4, 1, 1);
    let _nginx = site.nginx_on(1);
    let address = format!("address = \"{}\"\n{CHECK}\nha_suspend = true", vip_of(&site));
    let mut daemon = site.run(&site.virtual_server("web", &address, "", &[(0, 1)]));
    daemon.wait_for("checks suspended");
    stays(&site, "nobody is probed", &[None]);
    let director = site.director();
    let change = |word: &str| format!("address {word} {}/32 dev eth0", site.vip(0));
    director.ip(&[&change("add")]).expect("an address");
    wait_for(&site, "it is probed and serves", &[Some(1)]);
    director.ip(&[&change("del")]).expect("an address");
    daemon.wait_for("checks suspended");
    stays(&site, "states stay", &[Some(1)]);
}

/// Two pools of the same servers, whose histories differ; who serves which client has to be the same in the end, and also
/// while the same server is out of both.
fn hashes_alike(name: &str, scheduler: &str) {
    let site = Site::build(name, Forwarding::Nat, Family::V4, 4, 2);
    let _nginx = site.nginx_on(4);
    let file = |pool: u8, index: usize| site.director().directory().join(format!("{pool}-{index}"));
    let say = |pool: u8, index: usize, word: &str| std::fs::write(file(pool, index), word).expect("a file");
    let text = |pool: u8, order: &[usize]| {
        let mut text = site.virtual_server(
            &format!("pool-{pool}"),
            &format!("address = \"{}\"", SocketAddr::new(site.vip(pool), 80)),
            &format!("scheduler = \"{scheduler}\"\ndevice = \"eth0\""),
            &[],
        );
        for index in order {
            say(pool, *index, "up\n");
            text += &format!(
                "[[virtual_server.real_server]]\naddress = \"{}\"\ncheck = [{{ type = \"file\", path = \"{}\", \
                 interval = \"200ms\", rise = 1, fall = 1 }}]\n",
                site.server_address(*index),
                file(pool, *index).display()
            );
        }
        text
    };
    let config = text(0, &[0, 1, 2, 3]) + &text(1, &[3, 1, 0, 2]);
    // In the second pool two are down from the start, and come up one after the other.
    say(1, 0, "down\n");
    say(1, 2, "down\n");
    let _daemon = site.run(&config);
    let served = |pool: u8| {
        let found = table(
            site.director(),
            &["-t", &SocketAddr::new(site.vip(pool), 80).to_string()],
        );
        let found = found.unwrap_or_default();
        let weight = |index: usize| {
            found
                .get(&SocketAddr::new(site.server_address(index), 80))
                .map(|found| found.weight)
        };
        (0..4).map(weight).collect::<Vec<_>>()
    };
    let until = |what: &str, pool: u8, wanted: [u32; 4]| {
        let wanted: Vec<_> = wanted.into_iter().map(Some).collect();
        let reached = wait_until(what, SOON, || served(pool) == wanted);
        reached.unwrap_or_else(|_| panic!("{what}: {:?}", served(pool)));
    };
    until("the first pool is full", 0, [1, 1, 1, 1]);
    until("the second one is half empty, and nobody is missing", 1, [0, 1, 0, 1]);
    say(1, 2, "up\n");
    until("one is up", 1, [0, 1, 1, 1]);
    let sources = site.client_sources(site.lab.client(0));
    let answers = |pool: u8| -> Vec<String> {
        let vip = SocketAddr::new(site.vip(pool), 80);
        let answer = |source: &std::net::IpAddr| site.client().from(*source).get(vip).expect("an answer");
        sources.iter().map(answer).collect()
    };
    // One pool has known the first server, the other one has not yet.
    say(0, 0, "down\n");
    until("one is out", 0, [0, 1, 1, 1]);
    assert_eq!(answers(0), answers(1), "one was up before and one never");
    for pool in [0, 1] {
        say(pool, 0, "up\n");
        until("all are up", pool, [1, 1, 1, 1]);
    }
    let full = answers(0);
    assert_eq!(full, answers(1), "all up");
    for pool in [0, 1] {
        say(pool, 1, "down\n");
        until("one is out", pool, [1, 0, 1, 1]);
    }
    let (first, second) = (answers(0), answers(1));
    assert_eq!(first, second, "one down in both");
    let moved = |(before, after): (&String, &String)| before != after && before != "real-server-2";
    assert!(
        !full.iter().zip(&first).any(moved),
        "nobody moves but the failed server's clients: {full:?} {first:?}"
    );
}

#[test]
fn two_pools_with_maglev_hashing_build_the_same_table() {
    hashes_alike("pol-mh", "mh");
}

#[test]
fn two_pools_with_source_hashing_build_the_same_table() {
    hashes_alike("pol-sh", "sh");
}

#[test]
fn what_the_systemd_unit_leaves_the_daemon_is_enough_for_scripts_commands_and_their_end() {
    let unit = include_str!("../../conf/systemd/ipvsd.service");
    let words = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let kept = words.expect("a bounding set").split_whitespace();
    let kept: String = kept
        .map(|word| format!(",+{}", word.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let site = Site::build("pol-unit", Forwarding::Nat, Family::V4, 2, 1);
    let directory = site.director().directory();
    let told = directory.join("told");
    std::fs::write(&told, "").expect("a file");
    std::fs::set_permissions(&told, std::fs::Permissions::from_mode(0o666)).expect("a file");
    let tell = format!("echo $(id -un) >>{}", told.display());
    // The second server's script outlives its time, and is nobody's.
    let check = |script: &str| {
        format!(
            "check = [{{ type = \"script\", interval = \"300ms\", timeout = \"2s\", argv = [\"/bin/sh\", \"-c\", \"{script}\"] }}]"
        )
    };
    let address = format!("address = \"{}\"", vip_of(&site));
    let more = format!("device = \"eth0\"\nnotify_down = {{ argv = [\"/bin/sh\", \"-c\", \"{tell}\"] }}");
    let mut text = site.virtual_server("web", &address, &more, &[(0, 1)]);
    text += &check("test $(id -un) = nobody");
    text += &format!(
        "\n[[virtual_server.real_server]]\naddress = \"{}\"\n{}\n",
        site.server_address(1),
        check("sleep 73")
    );
    let file = site.configure(&text).display().to_string();
    let set = format!("-all{kept}");
    let command = [
        "setpriv",
        "--bounding-set",
        &set,
        "--inh-caps",
        "-all",
        "--no-new-privs",
        "--",
        IPVSD,
        "run",
        "-c",
        &file,
    ];
    let mut daemon = Daemon {
        process: site.director().spawn(&command).expect("setpriv"),
    };
    daemon.wait_for("ready:");
    wait_for(&site, "one serves", &[Some(1), None]);
    daemon.wait_for("no answer in time");
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_until("the command has run", SOON, || lines() == "nobody\n")
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", lines(), daemon.process.log()));
    // One is killed before the next is started.
    std::thread::sleep(Duration::from_secs(5));
    let left = site.director().exec(&["pgrep", "-cf", "^sleep 73"]).expect("pgrep");
    assert!(matches!(left.stdout.trim(), "0" | "1"), "{} are left", left.stdout);
}

#[test]
fn programs_of_a_daemon_that_is_not_root_have_none_of_its_capabilities_and_no_other_user() {
    const NOBODY: u32 = 65534;
    let site = Site::build("pol-user", Forwarding::Nat, Family::V4, 2, 1);
    let directory = site.director().directory();
    let (run, told) = (directory.join("run"), directory.join("told"));
    std::fs::create_dir(&run).expect("a run directory");
    std::fs::write(&told, "").expect("a file");
    for path in [&run, &told] {
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
    let check = |user: &str, script: &str| {
        format!(
            "check = [{{ type = \"script\", interval = \"300ms\", timeout = \"5s\", user = \"{user}\", \
             argv = [\"/bin/sh\", \"-c\", \"{script}\"] }}]"
        )
    };
    let address = format!("address = \"{}\"", vip_of(&site));
    let mut text = site.virtual_server("web", &address, "device = \"eth0\"", &[(0, 1)]);
    text += &check("nobody", &format!("grep ^Cap /proc/self/status >{}", told.display()));
    text += &format!(
        "\n[[virtual_server.real_server]]\naddress = \"{}\"\n{}\n",
        site.server_address(1),
        check("daemon", "exit 0")
    );
    let (file, run) = (site.configure(&text).display().to_string(), run.display().to_string());
    let user = NOBODY.to_string();
    // As the service manager does it with `User=` and `AmbientCapabilities=`.
    let command = [
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--inh-caps",
        "-all,+net_admin,+net_raw",
        "--ambient-caps",
        "-all,+net_admin,+net_raw",
        "--no-new-privs",
        "--",
        IPVSD,
        "run",
        "-c",
        &file,
        "--run-dir",
        &run,
    ];
    let mut daemon = Daemon {
        process: site.director().spawn(&command).expect("setpriv"),
    };
    daemon.wait_for("may not run /bin/sh as `daemon`, for it is not root");
    let service = vip_of(&site).to_string();
    wait_until("the kernel has the service", SOON, || {
        table(site.director(), &["-t", &service]).is_some()
    })
    .unwrap_or_else(|error| panic!("{error}: {}", daemon.process.log()));
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_until("the script has run", SOON, || lines().contains("CapAmb"))
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.process.log()));
    let none = "0".repeat(16);
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert!(lines().contains(&format!("{set}:\t{none}\n")), "{}", lines());
    }
}
