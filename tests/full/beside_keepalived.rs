//! The same pool under ipvsd and under Debian's keepalived, each in a topology of its own, through the same failures.
//!
//! What both are to do alike: which server is in the kernel's table with which weight once each has settled, and how
//! long that takes. Where ipvsd knowingly does something else, both behaviours are held.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, Host, Process, Segment, prepare_director_by_hand, wait_until};
use nix::sys::signal::Signal;

use crate::chance::{Times, measured, pause, seeded};
use crate::pool::Servers;
use crate::site::{Daemon, Family, IPVSD, Site, configure};
use crate::wanted::{weights, weights_in};

/// `delay_loop`, `delay_before_retry` and `connect_timeout` there; `interval`, `retry_interval` and `timeout` here.
const INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(1);
/// `retry` there; `fall` here is one more.
const RETRY: u32 = 1;
/// Two labs on one processor.
const SLOW_MACHINE: Duration = Duration::from_secs(3);
/// Real servers; one more is the sorry server.
const SERVERS: usize = 3;
const SORRY: usize = SERVERS;

/// How a pool is set up, in words that both know.
#[derive(Debug, Clone, Copy)]
struct Setup {
    alpha: bool,
    inhibit: bool,
    /// Without one, or waiting with weight 0, or waiting outside.
    sorry: Option<Inhibited>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inhibited(bool);

impl Setup {
    fn keepalived(self, site: &Site, servers: &Servers<'_>) -> String {
        let flag = |on: bool, word: &str| if on { format!("    {word}\n") } else { String::new() };
        let seconds = |time: Duration| time.as_secs_f64();
        let mut text = format!(
            "global_defs {{\n    router_id lab\n}}\nvirtual_server {} 80 {{\n    delay_loop {}\n    lb_algo wrr\n    \
             lb_kind NAT\n    protocol TCP\n{}",
            site.vip(0),
            seconds(INTERVAL),
            flag(self.alpha, "alpha"),
        );
        if let Some(Inhibited(inhibit)) = self.sorry {
            text += &format!("    sorry_server {} 80\n", servers.address(SORRY).ip());
            text += &flag(inhibit, "sorry_server_inhibit");
        }
        for index in 0..SERVERS {
            text += &format!(
                "    real_server {} 80 {{\n    weight {}\n{}    TCP_CHECK {{\n        connect_timeout {}\n        \
                 retry {RETRY}\n        delay_before_retry {}\n        warmup 0\n    }}\n    }}\n",
                servers.address(index).ip(),
                index + 1,
                flag(self.inhibit, "inhibit_on_failure"),
                seconds(TIMEOUT),
                seconds(RETRY_INTERVAL),
            );
        }
        text + "}\n"
    }

    /// `initial` is `up` without `alpha` and `down` with it, as keepalived has no third way.
    fn ipvsd(self, site: &Site, servers: &Servers<'_>) -> String {
        let initial = if self.alpha { "down" } else { "up" };
        self.ipvsd_with(site, servers, initial)
    }

    fn ipvsd_with(self, site: &Site, servers: &Servers<'_>, initial: &str) -> String {
        let mut more = format!(
            "scheduler = \"wrr\"\ninhibit_on_failure = {}\ncheck = [{{ type = \"tcp\", interval = \"{}ms\", \
             retry_interval = \"{}ms\", timeout = \"{}ms\", rise = 1, fall = {}, initial = \"{initial}\" }}]",
            self.inhibit,
            INTERVAL.as_millis(),
            RETRY_INTERVAL.as_millis(),
            TIMEOUT.as_millis(),
            RETRY + 1,
        );
        if let Some(Inhibited(inhibit)) = self.sorry {
            let address = servers.address(SORRY);
            more += &format!("\nsorry_server = {{ address = \"{address}\", inhibit = {inhibit} }}");
        }
        let pool: Vec<_> = (0..SERVERS).map(|index| (index, weight(index))).collect();
        let address = format!("address = \"{}\"", SocketAddr::new(site.vip(0), 80));
        site.virtual_server("web", &address, &more, &pool)
    }

    /// The table once everything has settled; the servers that answer are given.
    fn settled(self, servers: &Servers<'_>, answers: &[bool]) -> BTreeMap<SocketAddr, u32> {
        let mut table = BTreeMap::new();
        for (index, answers) in answers.iter().enumerate() {
            match (answers, self.inhibit) {
                (true, _) => _ = table.insert(servers.address(index), weight(index)),
                (false, true) => _ = table.insert(servers.address(index), 0),
                (false, false) => {}
            }
        }
        if let Some(Inhibited(inhibit)) = self.sorry {
            let needed = !answers.contains(&true);
            if needed || inhibit {
                table.insert(servers.address(SORRY), u32::from(needed));
            }
        }
        table
    }
}

/// The weights are all different: none can be mistaken for another's.
fn weight(index: usize) -> u32 {
    u32::try_from(index).expect("few servers") + 1
}

/// A topology with its real servers; the virtual address is on the director for either program.
fn site(name: &str) -> Site {
    let servers = u8::try_from(SERVERS + 1).expect("few servers");
    let site = Site::build(name, Forwarding::Nat, Family::V4, servers, 1);
    prepare_director_by_hand(site.director(), "eth0", &[site.vip(0)]).expect("a director");
    site
}

/// Puts down a configuration of keepalived's that keepalived itself can follow, and answers with its file.
pub(crate) fn keepalived_conf(director: &Host, text: &str) -> String {
    let file = director.directory().join("keepalived.conf").display().to_string();
    fs::write(&file, text).expect("a configuration file");
    let tested = director.exec(&["keepalived", "-t", "-f", &file]).expect("keepalived");
    // 6 is its warning about scripts below /tmp, where all of the lab is.
    assert!(
        matches!(tested.code(), 0 | 6),
        "{}{}\n{text}",
        tested.stdout,
        tested.stderr
    );
    file
}

/// Starts keepalived's checker with this file, behind the words of another command if need be.
pub(crate) fn keepalived(director: &Host, text: &str, before: &[&str]) -> Process {
    let path = |name: &str| director.directory().join(name).display().to_string();
    let (pid, checkers) = (path("keepalived.pid"), path("checkers.pid"));
    let file = keepalived_conf(director, text);
    let own = [
        "keepalived",
        "--check",
        "--dont-fork",
        "--log-console",
        "--log-detail",
        "-f",
        &file,
        "-p",
        &pid,
        "-c",
        &checkers,
    ];
    let command: Vec<_> = before.iter().chain(&own).copied().collect();
    director.spawn(&command).expect("keepalived starts")
}

/// One of the two, with the servers of its topology.
struct Side<'lab> {
    name: &'static str,
    site: &'lab Site,
    servers: Servers<'lab>,
    process: Process,
    times: Times,
}

impl Side<'_> {
    fn table(&self) -> Option<BTreeMap<SocketAddr, u32>> {
        weights(self.site.director(), SocketAddr::new(self.site.vip(0), 80))
    }
}

/// What happens to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// It refuses.
    Kill(usize),
    /// Its segment loses everything that is for it.
    Silence(usize),
    /// It answers again.
    Return(usize),
}

/// How a server is, the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Answers,
    Refuses,
    Silent,
}

/// Twelve blows of which each can happen after those before it; at the end all are dead and return.
fn blows(chance: &mut fastrand::Rng) -> Vec<Blow> {
    let mut states = [State::Answers; SERVERS];
    let mut blows = Vec::new();
    for _ in 0..9 {
        let index = chance.usize(0..SERVERS);
        let blow = match (states[index], chance.u8(0..3)) {
            (State::Answers, 0) => Blow::Silence(index),
            (State::Answers, _) => Blow::Kill(index),
            (State::Refuses | State::Silent, _) => Blow::Return(index),
        };
        states[index] = match blow {
            Blow::Kill(_) => State::Refuses,
            Blow::Silence(_) => State::Silent,
            Blow::Return(_) => State::Answers,
        };
        blows.push(blow);
    }
    for (index, state) in states.iter().enumerate() {
        if *state == State::Answers {
            blows.push(Blow::Kill(index));
        }
    }
    blows.extend((0..SERVERS).map(Blow::Return));
    blows
}

fn strike(side: &mut Side<'_>, blow: Blow, before: State) {
    let host = |index: usize| side.site.lab.real_server(index);
    match (blow, before) {
        (Blow::Kill(index), _) => side.servers.kill(index),
        (Blow::Silence(index), _) => host(index).drop_tcp_port(Segment::Server, 80).expect("nft"),
        (Blow::Return(index), State::Silent) => host(index).drop_nothing(Segment::Server).expect("nft"),
        (Blow::Return(index), _) => side.servers.restart(index),
    }
}

/// How long either may take by keepalived's own description: the time to the next check, and for a failure another
/// check after it.
fn bound(blow: Blow) -> Duration {
    match blow {
        Blow::Kill(_) => INTERVAL + RETRY_INTERVAL * RETRY,
        Blow::Silence(_) => INTERVAL + RETRY_INTERVAL * RETRY + TIMEOUT * (RETRY + 1),
        // A check of a silent server may be waiting for an answer that will not come any more.
        Blow::Return(_) => INTERVAL + TIMEOUT,
    }
}

fn the_same_sequence(name: &str, setup: Setup, seed: u64) {
    let mut chance = seeded(name, seed);
    let (our_site, their_site) = (site(&format!("{name}-o")), site(&format!("{name}-k")));
    let (ours, theirs) = (
        Servers::threads(&our_site, SERVERS + 1),
        Servers::threads(&their_site, SERVERS + 1),
    );
    let file = configure(our_site.director(), &setup.ipvsd(&our_site, &ours))
        .display()
        .to_string();
    let ipvsd = our_site.director().spawn(&[IPVSD, "run", "-c", &file]).expect("ipvsd");
    let peer = keepalived(their_site.director(), &setup.keepalived(&their_site, &theirs), &[]);
    let mut sides = [
        Side {
            name: "ipvsd",
            site: &our_site,
            servers: ours,
            process: ipvsd,
            times: Times::default(),
        },
        Side {
            name: "keepalived",
            site: &their_site,
            servers: theirs,
            process: peer,
            times: Times::default(),
        },
    ];
    let mut states = [State::Answers; SERVERS];
    let mut outs = [Times::default(), Times::default()];
    let mut sequence = vec![None];
    sequence.extend(blows(&mut chance).into_iter().map(Some));
    let mut tables = Vec::new();
    for blow in sequence {
        pause(&mut chance, INTERVAL);
        let limit = match blow {
            Some(blow) => {
                let (Blow::Kill(index) | Blow::Silence(index) | Blow::Return(index)) = blow;
                let before = states[index];
                sides.iter_mut().for_each(|side| strike(side, blow, before));
                states[index] = match blow {
                    Blow::Kill(_) => State::Refuses,
                    Blow::Silence(_) => State::Silent,
                    Blow::Return(_) => State::Answers,
                };
                bound(blow)
            }
            // Programs start slowly there.
            None => Duration::from_secs(20),
        };
        let struck = Instant::now();
        let answers = states.map(|state| state == State::Answers);
        let mut settled = [None; 2];
        let all = wait_until("both have settled", limit + SLOW_MACHINE, || {
            for (side, settled) in sides.iter().zip(&mut settled) {
                if settled.is_none() && side.table() == Some(setup.settled(&side.servers, &answers)) {
                    *settled = Some(struck.elapsed());
                }
            }
            settled.iter().all(Option::is_some)
        });
        if let Err(error) = all {
            let tell = |side: &Side<'_>| format!("{}: {:?}\n{}", side.name, side.table(), side.process.log());
            panic!(
                "{name} ({setup:?}), {blow:?}, then {states:?}: {error}; within {settled:?}\n{}\n{}",
                tell(&sides[0]),
                tell(&sides[1])
            );
        }
        for (index, (side, settled)) in sides.iter_mut().zip(settled).enumerate() {
            let settled = settled.expect("both have");
            match blow {
                Some(Blow::Return(_)) => side.times.push(settled),
                Some(Blow::Kill(_) | Blow::Silence(_)) => outs[index].push(settled),
                None => {}
            }
        }
        // What settled stays so, and is the same in both.
        std::thread::sleep(Duration::from_millis(200));
        let [ours, theirs] = [0, 1].map(|index| sides[index].table());
        assert_eq!(ours, theirs, "{name} ({setup:?}) after {blow:?}, with {states:?}");
        tables.push(ours);
    }
    for (side, out) in sides.iter().zip(&outs) {
        measured(name, format_args!("{} notices a failure: {out}", side.name));
        measured(name, format_args!("{} notices a return: {}", side.name, side.times));
    }
    tables.dedup();
    measured(name, format_args!("{} tables in a row, the same in both", tables.len()));
    // A handful of times that chance spreads over a whole interval, on a slow machine: no finer measure than this.
    let [ours, theirs] = [0, 1].map(|index| outs[index].percentile(50));
    assert!(
        ours <= theirs * 3 + Duration::from_millis(500),
        "{name}: ipvsd notices failures in {ours:?}, keepalived in {theirs:?}"
    );
}

#[test]
fn the_same_failures_lead_to_the_same_tables_as_with_keepalived_sorry_server_outside() {
    let setup = Setup {
        alpha: false,
        inhibit: false,
        sorry: Some(Inhibited(false)),
    };
    the_same_sequence("beside-sorry", setup, 51);
}

#[test]
fn the_same_failures_lead_to_the_same_tables_as_with_keepalived_all_inhibited() {
    let setup = Setup {
        alpha: false,
        inhibit: true,
        sorry: Some(Inhibited(true)),
    };
    the_same_sequence("beside-inhibit", setup, 52);
}

#[test]
fn the_same_failures_lead_to_the_same_tables_as_with_keepalived_alpha_without_sorry_server() {
    let setup = Setup {
        alpha: true,
        inhibit: false,
        sorry: None,
    };
    the_same_sequence("beside-alpha", setup, 53);
}

#[test]
fn the_same_failures_lead_to_the_same_tables_as_with_keepalived_alpha_and_inhibited() {
    let setup = Setup {
        alpha: true,
        inhibit: true,
        sorry: Some(Inhibited(false)),
    };
    the_same_sequence("beside-both", setup, 54);
}

/// The tables that a service has had, in order, while something is done; looked at every millisecond.
fn tables_during(site: &Site, work: impl FnOnce()) -> Vec<BTreeMap<SocketAddr, u32>> {
    let vip = SocketAddr::new(site.vip(0), 80);
    let done = AtomicBool::new(false);
    let watch = || {
        let mut seen: Vec<BTreeMap<_, _>> = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let text = fs::read_to_string("/proc/thread-self/net/ip_vs").expect("the table");
            seen.extend(weights_in(&text, vip).filter(|table| seen.last() != Some(table)));
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    };
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| site.director().in_namespace(watch).expect("a namespace"));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        let seen = watcher.join().expect("a watcher");
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen
    })
}

fn wait_for_table(site: &Site, wanted: &BTreeMap<SocketAddr, u32>) {
    let vip = SocketAddr::new(site.vip(0), 80);
    wait_until("the table is as wanted", Duration::from_secs(20), || {
        weights(site.director(), vip).as_ref() == Some(wanted)
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}, not {wanted:?}", weights(site.director(), vip)));
}

/// Every message to the kernel is held up for 30 ms, so that what is between two of them can be seen.
const SLOWLY: [&str; 9] = [
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=sendmsg,sendto",
    "-e",
    "inject=sendmsg,sendto:delay_enter=30000",
];

/// All die and one returns, five times over; answers with the tables there were, without those of the start.
fn five_times_nobody(site: &Site, servers: &mut Servers<'_>, setup: Setup) -> Vec<BTreeMap<SocketAddr, u32>> {
    wait_for_table(site, &setup.settled(servers, &[true; SERVERS]));
    tables_during(site, || {
        for _ in 0..5 {
            (0..SERVERS).for_each(|index| servers.kill(index));
            wait_for_table(site, &setup.settled(servers, &[false; SERVERS]));
            servers.restart(0);
            wait_for_table(site, &setup.settled(servers, &[true, false, false]));
        }
    })
}

#[test]
fn between_pool_and_sorry_server_keepalived_has_nobody_and_ipvsd_always_somebody() {
    const NAME: &str = "beside-empty";
    let setup = Setup {
        alpha: false,
        inhibit: false,
        sorry: Some(Inhibited(false)),
    };
    let nobody = |table: &BTreeMap<SocketAddr, u32>| table.values().all(|weight| *weight == 0);
    let count = |tables: &[BTreeMap<_, _>]| tables.iter().filter(|table| nobody(table)).count();

    let site_of_theirs = site("beside-empty-k");
    let mut servers = Servers::threads(&site_of_theirs, SERVERS + 1);
    let _peer = keepalived(
        site_of_theirs.director(),
        &setup.keepalived(&site_of_theirs, &servers),
        &SLOWLY,
    );
    let theirs = five_times_nobody(&site_of_theirs, &mut servers, setup);

    let site_of_ours = site("beside-empty-o");
    let mut servers = Servers::threads(&site_of_ours, SERVERS + 1);
    let file = configure(site_of_ours.director(), &setup.ipvsd(&site_of_ours, &servers));
    let file = file.display().to_string();
    let command: Vec<_> = SLOWLY.iter().chain(&[IPVSD, "run", "-c", &file]).copied().collect();
    let _ours = site_of_ours.director().spawn(&command).expect("ipvsd starts");
    let ours = five_times_nobody(&site_of_ours, &mut servers, setup);

    measured(
        NAME,
        format_args!(
            "tables without anybody, of all that were seen: {} of {} with keepalived, {} of {} with ipvsd",
            count(&theirs),
            theirs.len(),
            count(&ours),
            ours.len()
        ),
    );
    assert!(ours.len() >= 10 && theirs.len() >= 10, "the changes were seen");
    assert_eq!(count(&ours), 0, "{ours:?}");
    assert!(count(&theirs) > 0, "keepalived has changed its ways: {theirs:?}");
}

#[test]
fn at_the_start_keepalived_lets_a_dead_server_in_and_ipvsd_waits_for_the_first_result() {
    let setup = Setup {
        alpha: false,
        inhibit: false,
        sorry: None,
    };
    let has_dead = |tables: &[BTreeMap<SocketAddr, u32>], dead| tables.iter().any(|table| table.contains_key(&dead));
    let site_of_theirs = site("beside-start-k");
    let mut servers = Servers::threads(&site_of_theirs, SERVERS + 1);
    servers.kill(1);
    let settled = setup.settled(&servers, &[true, false, true]);
    let mut peer = None;
    let theirs = tables_during(&site_of_theirs, || {
        peer = Some(keepalived(
            site_of_theirs.director(),
            &setup.keepalived(&site_of_theirs, &servers),
            &[],
        ));
        wait_for_table(&site_of_theirs, &settled);
    });
    assert!(
        has_dead(&theirs, servers.address(1)),
        "keepalived has changed its ways: {theirs:?}"
    );

    let site_of_ours = site("beside-start-o");
    let mut servers = Servers::threads(&site_of_ours, SERVERS + 1);
    servers.kill(1);
    let settled = setup.settled(&servers, &[true, false, true]);
    let ours = tables_during(&site_of_ours, || {
        let _daemon = site_of_ours.run(&setup.ipvsd_with(&site_of_ours, &servers, "first_result"));
        wait_for_table(&site_of_ours, &settled);
    });
    assert!(!has_dead(&ours, servers.address(1)), "{ours:?}");
}

#[test]
fn a_flushed_table_and_a_stop_are_survived_by_the_table_of_ipvsd_only() {
    let setup = Setup {
        alpha: false,
        inhibit: false,
        sorry: None,
    };
    let vip = |site: &Site| SocketAddr::new(site.vip(0), 80);
    let flush = |site: &Site| _ = site.director().exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
    // Longer than either looks at anything.
    let long = Duration::from_secs(8);
    let site_of_theirs = site("beside-flush-k");
    let servers = Servers::threads(&site_of_theirs, SERVERS + 1);
    let settled = setup.settled(&servers, &[true; SERVERS]);
    let text = setup.keepalived(&site_of_theirs, &servers);
    let mut peer = keepalived(site_of_theirs.director(), &text, &[]);
    wait_for_table(&site_of_theirs, &settled);
    flush(&site_of_theirs);
    std::thread::sleep(long);
    let found = weights(site_of_theirs.director(), vip(&site_of_theirs));
    assert_eq!(found, None, "keepalived has changed its ways");
    peer.signal_alone(Signal::SIGTERM).expect("a signal");
    peer.wait(Duration::from_secs(20)).expect("an end");
    let mut again = keepalived(site_of_theirs.director(), &text, &[]);
    wait_for_table(&site_of_theirs, &settled);
    again.signal_alone(Signal::SIGTERM).expect("a signal");
    again.wait(Duration::from_secs(20)).expect("an end");
    let found = weights(site_of_theirs.director(), vip(&site_of_theirs));
    assert_eq!(found, None, "keepalived has changed its ways");

    let site_of_ours = site("beside-flush-o");
    let servers = Servers::threads(&site_of_ours, SERVERS + 1);
    let settled = setup.settled(&servers, &[true; SERVERS]);
    let mut daemon = site_of_ours.run(&setup.ipvsd(&site_of_ours, &servers));
    wait_for_table(&site_of_ours, &settled);
    flush(&site_of_ours);
    wait_for_table(&site_of_ours, &settled);
    daemon.process.signal_alone(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(Duration::from_secs(20)).expect("an end");
    assert_eq!(
        weights(site_of_ours.director(), vip(&site_of_ours)),
        Some(settled.clone())
    );
    let file = site_of_ours.director().directory().join("ipvsd.toml");
    let during = tables_during(&site_of_ours, || {
        let _daemon = Daemon::start(site_of_ours.director(), &file, &[]);
        std::thread::sleep(INTERVAL * 2);
    });
    assert_eq!(during, [settled], "a start changes nothing that is right");
}
