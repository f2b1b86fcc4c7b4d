//! Hundreds of real servers killed and brought back at moments that nobody chose.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, wait_until};

use crate::chance::{Times, measured, pause, seeded};
use crate::pool::{Servers, Story, holdings, traffic};
use crate::site::{Family, Site};
use crate::wanted::weights;

const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 2, fall = 2 }]";
/// With direct routing and tunnels the director never hears a dead server's refusal, and remembers the attempt for a
/// minute. A client that comes from the same port again goes to the same dead server, whatever its weight, unless
/// the kernel is told this.
const KERNEL: &str = "[ipvs]\nsysctl = { expire_nodest_conn = true }\n";
/// interval + (fall − 1) × retry_interval, as docs/configuration.md promises for servers that refuse: the time-out does
/// not matter then, and is long here, so that a machine that has no time for a server does not make it fail.
const OUT: Duration = Duration::from_millis(300 + 100);
/// interval + (rise − 1) × retry_interval.
const BACK: Duration = Duration::from_millis(300 + 100);
/// For one probe and one change of the table, where all share one processor: what half of all may take.
const PROBE: Duration = Duration::from_millis(200);
/// What any may take longer than promised: others may want the machine.
const SLOW_MACHINE: Duration = Duration::from_secs(5);
/// How much more memory the daemon may hold at the end than after the first tenth, in KiB.
const GROWTH: u64 = 2048;

#[test]
fn hundreds_of_kills_of_a_pool_over_nat() {
    let plan = Plan {
        name: "kills-nat",
        mode: Forwarding::Nat,
        servers: 6,
        real: false,
        inhibit: false,
        rounds: 300,
        seed: 1,
    };
    hundreds_of_kills(&plan);
}

#[test]
fn hundreds_of_kills_of_an_inhibited_pool_over_dr() {
    let plan = Plan {
        name: "kills-dr",
        mode: Forwarding::Direct,
        servers: 4,
        real: false,
        inhibit: true,
        rounds: 300,
        seed: 2,
    };
    hundreds_of_kills(&plan);
}

#[test]
fn many_kills_of_real_nginx_over_tun() {
    let plan = Plan {
        name: "kills-nginx",
        mode: Forwarding::Tunnel,
        servers: 3,
        real: true,
        inhibit: true,
        rounds: 60,
        seed: 3,
    };
    hundreds_of_kills(&plan);
}

struct Plan {
    name: &'static str,
    mode: Forwarding,
    /// The last of them is the sorry server, and is never killed.
    servers: u8,
    real: bool,
    inhibit: bool,
    /// How often something is killed or brought back.
    rounds: usize,
    seed: u64,
}

/// What happens in one round.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// One that lives dies.
    Kill,
    /// One that is dead returns.
    Return,
    /// All that live die within a moment.
    KillAll,
    /// All that are dead return.
    ReturnAll,
    /// One dies and is back before or after anybody noticed.
    Stumble,
}

/// The weights that the table should have: `inhibit` keeps the dead, and the sorry server while it is not needed.
fn wanted(servers: &Servers<'_>, inhibit: bool) -> BTreeMap<SocketAddr, u32> {
    let sorry = servers.count() - 1;
    let pool = (0..sorry).map(|index| (index, servers.is_alive(index)));
    let needed = (0..sorry).all(|index| !servers.is_alive(index));
    let all = pool.chain([(sorry, needed)]);
    all.filter(|(_, serves)| *serves || inhibit)
        .map(|(index, serves)| (servers.address(index), u32::from(serves)))
        .collect()
}

fn hundreds_of_kills(plan: &Plan) {
    let mut chance = seeded(plan.name, plan.seed);
    let site = Site::build(plan.name, plan.mode, Family::V4, plan.servers, 1);
    let vip = SocketAddr::new(site.vip(0), 80);
    let count = usize::from(plan.servers);
    let mut servers = if plan.real {
        Servers::nginx(&site, count)
    } else {
        Servers::threads(&site, count)
    };
    let sorry = count - 1;
    let Plan { inhibit, .. } = *plan;
    let more = format!(
        "scheduler = \"rr\"\ndevice = \"eth0\"\n{CHECK}\ninhibit_on_failure = {inhibit}\n\
         sorry_server = {{ address = \"{}\", inhibit = {inhibit} }}",
        servers.address(sorry)
    );
    let pool: Vec<_> = (0..sorry).map(|index| (index, 1)).collect();
    let configuration = KERNEL.to_owned() + &site.virtual_server("web", &format!("address = \"{vip}\""), &more, &pool);
    let daemon = site.run(&configuration);
    let settle = |servers: &Servers<'_>, limit: Duration, what: &str| {
        let wanted = wanted(servers, inhibit);
        wait_until(what, limit, || weights(site.director(), vip).as_ref() == Some(&wanted)).unwrap_or_else(|error| {
            panic!(
                "{error}\nwanted {wanted:?}\nfound {:?}\n{}",
                weights(site.director(), vip),
                daemon.process.log()
            )
        });
    };
    settle(&servers, BACK + SLOW_MACHINE, "all serve");
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let prober = traffic(&site, vip);
    // Requests may fail from a blow until the table was seen to have settled, and at no other time.
    let mut windows = Vec::new();
    let (mut out, mut back) = (Times::default(), Times::default());
    let (mut killed, mut sorry_phases) = (0, 0);
    let mut early = None;
    let mut story = Story::default();
    for round in 0..plan.rounds {
        pause(&mut chance, Duration::from_millis(400));
        let (alive, dead) = (servers.which(true), servers.which(false));
        let alive: Vec<_> = alive.into_iter().filter(|index| *index != sorry).collect();
        let blow = match (chance.u32(0..100), alive.is_empty(), dead.is_empty()) {
            (0..10, false, _) => Blow::KillAll,
            (10..25, false, _) => Blow::Stumble,
            (25..45, _, false) => Blow::ReturnAll,
            (_, true, _) => Blow::Return,
            (_, _, true) | (45..75, false, false) => Blow::Kill,
            (_, false, false) => Blow::Return,
        };
        story.tell(format_args!("{blow:?}, while these live: {:?}", servers.which(true)));
        let start = Instant::now();
        match blow {
            Blow::Kill => {
                servers.kill(alive[chance.usize(..alive.len())]);
                killed += 1;
            }
            Blow::KillAll => {
                for index in &alive {
                    servers.kill(*index);
                    pause(&mut chance, Duration::from_millis(30));
                }
                killed += alive.len();
            }
            Blow::Return => servers.restart(dead[chance.usize(..dead.len())]),
            Blow::ReturnAll => dead.iter().for_each(|index| servers.restart(*index)),
            Blow::Stumble => {
                let index = alive[chance.usize(..alive.len())];
                servers.kill(index);
                pause(&mut chance, OUT + PROBE);
                servers.restart(index);
                killed += 1;
            }
        }
        let struck = Instant::now();
        story.tell(format_args!("{blow:?} is done, these live: {:?}", servers.which(true)));
        let (limit, times) = match blow {
            Blow::Kill | Blow::KillAll => (OUT, &mut out),
            Blow::Return | Blow::ReturnAll | Blow::Stumble => (BACK, &mut back),
        };
        // A server that stumbled may go out a moment after it has returned, and has to come back from there.
        let limit = if matches!(blow, Blow::Stumble) {
            OUT + BACK
        } else {
            limit
        };
        if matches!(blow, Blow::Stumble) {
            std::thread::sleep(OUT + PROBE);
        }
        settle(
            &servers,
            limit + SLOW_MACHINE,
            &format!("round {round}: the table follows {blow:?}"),
        );
        let settled = Instant::now();
        story.tell(format_args!("settled: {:?}", weights(site.director(), vip)));
        if !matches!(blow, Blow::Stumble) {
            times.push(struck.elapsed());
        }
        let nobody_is_left = servers.which(true) == [sorry];
        sorry_phases += usize::from(nobody_is_left);
        let may_fail = match blow {
            Blow::Kill | Blow::KillAll | Blow::Stumble => true,
            // The sorry server is taken out, and the kernel drops what it had begun; inhibited, it finishes.
            Blow::Return | Blow::ReturnAll => alive.is_empty() && !inhibit,
        };
        if may_fail {
            windows.push((start, settled));
        }
        if round == plan.rounds / 10 {
            early = Some(holdings(&daemon));
        }
    }
    let dead = servers.which(false);
    dead.iter().for_each(|index| servers.restart(*index));
    settle(&servers, BACK + SLOW_MACHINE, "all serve at the end");
    std::thread::sleep(Duration::from_secs(1));
    let report = prober.stop().expect("a report");
    let failed = report.failures().len();
    measured(
        plan.name,
        format_args!(
            "{killed} kills, {sorry_phases} times nobody was left; {} requests, {failed} failed, each before the \
             table had settled",
            report.attempts.len()
        ),
    );
    measured(plan.name, format_args!("out (promised {} ms): {out}", OUT.as_millis()));
    measured(
        plan.name,
        format_args!("back (promised {} ms): {back}", BACK.as_millis()),
    );
    story.assert_explained(&report, &windows);
    assert!(sorry_phases > 0, "the seed brought no moment in which all were dead");
    assert!(
        report
            .answered_by()
            .contains_key(format!("real-server-{count}").as_str()),
        "the sorry server answered nobody: {report}"
    );
    assert!(
        out.percentile(50) <= OUT + PROBE && back.percentile(50) <= BACK + PROBE,
        "the middle of all is later than promised: {out}; {back}"
    );

    let file = site.director().directory().join("ipvsd.toml").display().to_string();
    let planned = site.ipvsd(&["plan", "-c", &file]);
    assert_eq!((planned.code(), planned.stdout.as_str()), (0, ""), "{}", planned.stderr);
    let (early, late) = (early.expect("a look"), holdings(&daemon));
    measured(
        plan.name,
        format_args!(
            "the daemon: {} KiB and {} descriptors after a tenth, {} KiB and {} at the end",
            early.memory, early.descriptors, late.memory, late.descriptors
        ),
    );
    assert!(late.memory <= early.memory + GROWTH, "{early:?}, then {late:?}");
    // Each server may have been probed at the same moment within the last seconds, and sockets are kept for a while.
    let most = early.descriptors + count + 1;
    assert!(late.descriptors <= most, "{early:?}, then {late:?}");
}
