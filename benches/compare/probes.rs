//! Ten thousand servers that are probed, beside keepalived: what a probe costs, whether it comes in time, what they
//! take of memory; and half of them failing at once.
//!
//! Everything is seen from the servers' side: one listener for all their addresses counts while the processor time is
//! taken, and then the kernel's own stamps on the first packet of each connection say which server was probed when. So
//! both are measured alike, and a listener that is late is not held against them.

use std::cmp::Ordering as Order;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use ipvsd::ipvs::Client;
use ipvsd::model::control::{EventKind, Reply};
use nix::sys::resource::{Resource, setrlimit};

use super::lost::Contestant;
use super::packets::{Packet, Packets};
use super::{
    Bench, DESTINATIONS, Daemon, Keepalived, Row, in_new_namespace, keepalived_conf, run, service, toml, wait,
};

const SERVICES: usize = 1000;
const INTERVAL: Duration = Duration::from_secs(10);
/// After the table is full, until all have been probed.
const SETTLE: Duration = Duration::from_secs(15);
/// Two probes of each server, which are counted.
const COUNTED: Duration = Duration::from_secs(20);
/// Four probes of each server, with their times.
const TIMED: Duration = Duration::from_secs(40);
/// What is in time.
const IN_TIME: Duration = Duration::from_millis(20);
const WINDOW: Duration = Duration::from_millis(100);
const FAILING: usize = 500;
/// From one advert to the next, and for how long they are watched.
const ADVERT: Duration = Duration::from_millis(100);
const ADVERTS: Duration = Duration::from_secs(60);
const ADVERT_IN_TIME: Duration = Duration::from_millis(5);

/// What was seen of one contestant, in one round or as the median of all.
#[derive(Debug, Clone, Copy)]
struct Seen {
    per_probe: Duration,
    /// Share of the probes that came in time, from 0 to 1.
    in_time: f64,
    /// The 99th percentile of how late they were.
    late: Duration,
    /// The most in any tenth of a second, beside the mean.
    burst: f64,
    memory: u64,
}

impl Seen {
    /// Each figure for itself, so that one round beside a busy neighbour tells nothing.
    fn median(rounds: &[Self]) -> Self {
        fn middle<T: Copy>(rounds: &[Seen], figure: fn(&Seen) -> T, order: fn(&T, &T) -> Order) -> T {
            let mut figures: Vec<_> = rounds.iter().map(figure).collect();
            figures.sort_unstable_by(order);
            figures[figures.len() / 2]
        }
        Self {
            per_probe: middle(rounds, |seen| seen.per_probe, Ord::cmp),
            in_time: middle(rounds, |seen| seen.in_time, f64::total_cmp),
            late: middle(rounds, |seen| seen.late, Ord::cmp),
            burst: middle(rounds, |seen| seen.burst, f64::total_cmp),
            memory: middle(rounds, |seen| seen.memory, Ord::cmp),
        }
    }
}

/// All real servers.
struct Servers {
    ended: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Every address of the benchmark network on this namespace's loopback, listening. With `stay` connections are
    /// kept until the servers go.
    fn start(stay: bool) -> Result<Self> {
        run(Command::new("ip").args(["route", "add", "local", "198.18.0.0/15", "dev", "lo"]))?;
        let listener = TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80)).context("cannot listen")?;
        let mut servers = Self {
            ended: Arc::default(),
            count: Arc::default(),
            thread: None,
        };
        let (ended, count) = (Arc::clone(&servers.ended), Arc::clone(&servers.count));
        let accept = move || {
            let mut kept = Vec::new();
            loop {
                match listener.accept() {
                    Ok(_) if ended.load(Ordering::Relaxed) => break,
                    Ok((stream, _)) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        if stay {
                            kept.push(stream);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => (),
                    Err(_) => break,
                }
            }
        };
        servers.thread = Some(thread::spawn(accept));
        Ok(servers)
    }

    fn counted(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends all of them at once, with their connections.
    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.ended.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = std::net::TcpStream::connect((Ipv4Addr::new(198, 18, 0, 1), 80));
        let _ = thread.join();
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Bench {
    /// 10,000 servers, each probed every ten seconds.
    pub(super) fn probes(&self) -> Result<Vec<Row>> {
        let (mut ours, mut keepalived) = (vec![], vec![]);
        for _ in 0..self.rounds {
            ours.push(self.probed_by_us()?);
            keepalived.push(self.probed_by_keepalived()?);
        }
        let (ours, keepalived) = (Seen::median(&ours), Seen::median(&keepalived));
        let row = |what: &str, ours: String, peer: String, ratio: String, target: &str| Row {
            what: format!("10,000 servers, TCP, every 10 s: {what}"),
            ours,
            peer: format!("{peer} (keepalived)"),
            ratio,
            target: target.to_owned(),
        };
        let micros = |time: Duration| format!("{} µs", time.as_micros());
        let in_time = |seen: &Seen| {
            let late = seen.late.as_secs_f64() * 1000.0;
            format!("{:.2} %, 99 % within {late:.1} ms", seen.in_time * 100.0)
        };
        let megabytes = |kilobytes: u64| format!("{:.1} MB", kilobytes as f64 / 1024.0);
        Ok(vec![
            row(
                "CPU of one probe",
                micros(ours.per_probe),
                micros(keepalived.per_probe),
                format!("{:.2} × as much", super::ratio(ours.per_probe, keepalived.per_probe)),
                "at most 0.75 ×, aim 0.6 ×",
            ),
            row(
                "started within 20 ms of due",
                in_time(&ours),
                in_time(&keepalived),
                String::new(),
                "99 %",
            ),
            row(
                "most in any 100 ms, beside the mean",
                format!("{:.2} ×", ours.burst),
                format!("{:.2} ×", keepalived.burst),
                String::new(),
                "no burst",
            ),
            row(
                "resident memory",
                megabytes(ours.memory),
                megabytes(keepalived.memory),
                format!("{:.1} × as much", ours.memory as f64 / keepalived.memory as f64),
                "at most 48 MB",
            ),
        ])
    }

    fn probed_by_us(&self) -> Result<Seen> {
        in_new_namespace(|| {
            let check = "check = [{ type = \"tcp\", interval = \"10s\", timeout = \"5s\" }]";
            let config = self.file("probes.toml", &toml(SERVICES, check, 1))?;
            let servers = Servers::start(false)?;
            let daemon = self.running(&config)?;
            observe(&servers, &daemon.0, from_its_own_grid)
        })
    }

    fn probed_by_keepalived(&self) -> Result<Seen> {
        in_new_namespace(|| {
            let check = "  TCP_CHECK {\n   connect_timeout 5\n  }\n";
            let file = self.file("keepalived.conf", &keepalived_conf(SERVICES, check, 1))?;
            let servers = Servers::start(false)?;
            let daemon = Keepalived::start(&file, &self.work)?;
            observe(&servers, &daemon.0, from_one_to_the_next)
        })
    }

    /// Adverts every 100 ms beside a thousand probes a second.
    pub(super) fn adverts(&self) -> Result<Vec<Row>> {
        let watch = |daemon: &Child| -> Result<Vec<Duration>> {
            let mut client = Client::connect()?;
            wait(|| Ok(client.destinations(&service(SERVICES - 1))?.len() == DESTINATIONS))?;
            thread::sleep(SETTLE);
            let sent = Packets::watch(&Packets::ADVERTS)?;
            thread::sleep(ADVERTS);
            processor_time(daemon.id()).context("who sends them")?;
            let times: Vec<_> = sent.all()?.into_iter().map(|packet| packet.at).collect();
            ensure!(times.len() > 100, "there were {} adverts", times.len());
            // keepalived has no grid: each one is due an interval after the one before.
            let mut late: Vec<_> = times
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).saturating_sub(ADVERT))
                .collect();
            late.sort_unstable();
            Ok(late)
        };
        let mut told = Vec::new();
        for contestant in [Contestant::Ipvsd, Contestant::Keepalived] {
            let late = in_new_namespace(|| {
                for line in [
                    "link add vr0 type dummy",
                    "address add 192.0.2.1/24 dev vr0",
                    // Without multicast keepalived does nothing there.
                    "link set vr0 multicast on up",
                ] {
                    run(Command::new("ip").args(line.split(' ')))?;
                }
                let _servers = Servers::start(false)?;
                match contestant {
                    Contestant::Ipvsd => {
                        let check = "check = [{ type = \"tcp\", interval = \"10s\", timeout = \"5s\" }]";
                        let text = toml(SERVICES, check, 1)
                            + "[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"vr0\"\nvirtual_router_id = 51\n\
                               priority = 150\nadvert_int = \"100ms\"\nvirtual_address = [\"192.0.2.200/24\"]\n";
                        watch(&self.running(&self.file("adverts.toml", &text)?)?.0)
                    }
                    Contestant::Keepalived => {
                        let check = "  TCP_CHECK {\n   connect_timeout 5\n  }\n";
                        let text = keepalived_conf(SERVICES, check, 1)
                            + "vrrp_instance VI_1 {\nstate BACKUP\ninterface vr0\nvirtual_router_id 51\nversion 3\n\
                               priority 150\nadvert_int 0.1\nvirtual_ipaddress {\n192.0.2.200/24\n}\n}\n";
                        watch(&Keepalived::start_all(&self.file("keepalived.conf", &text)?, &self.work)?.0)
                    }
                }
            })
            .with_context(|| format!("{contestant:?}"))?;
            let in_time = late.partition_point(|late| *late <= ADVERT_IN_TIME);
            let (share, most) = (
                in_time as f64 / late.len() as f64,
                late.last().copied().unwrap_or_default(),
            );
            told.push(format!(
                "{:.2} %, 99.9 % within {:.1} ms, all within {:.1} ms",
                share * 100.0,
                late[late.len() * 999 / 1000].as_secs_f64() * 1000.0,
                most.as_secs_f64() * 1000.0
            ));
        }
        let (ours, theirs) = (&told[0], &told[1]);
        Ok(vec![Row {
            what: "adverts every 100 ms beside 1,000 probes a second: within 5 ms of due".to_owned(),
            ours: ours.clone(),
            peer: format!("{theirs} (keepalived)"),
            ratio: String::new(),
            target: "99.9 %".to_owned(),
        }])
    }

    /// 5,000 servers that fail at once: from a verdict to the table.
    pub(super) fn failures(&self) -> Result<Vec<Row>> {
        setrlimit(Resource::RLIMIT_NOFILE, 65536, 65536).context("cannot raise the limit of open files")?;
        let (verdicts, waited) = in_new_namespace(|| {
            let check = "check = [{ type = \"tcp\", interval = \"10s\", timeout = \"5s\", fall = 1, hold = true }]";
            let config = self.file("failures.toml", &toml(FAILING, check, 1))?;
            let mut servers = Servers::start(true)?;
            let _daemon = self.running(&config)?;
            let all = FAILING * DESTINATIONS;
            // Loads the module, where nothing has yet.
            Client::connect()?;
            wait(|| Ok(destinations()? == all))?;
            // Each has been probed and is held.
            wait(|| Ok(servers.counted() >= 2 * all as u64))?;
            thread::sleep(SETTLE);
            // There are more of them than the daemon keeps.
            let told = self.work.join("events");
            let _follows = self.follow(&told)?;
            servers.end();
            let mut left = vec![];
            wait(|| {
                let count = destinations()?;
                left.push((unix_millis(), count));
                thread::sleep(Duration::from_millis(20));
                Ok(count == 0)
            })?;
            let mut verdicts = vec![];
            wait(|| {
                verdicts = down(&told)?;
                Ok(verdicts.len() >= all)
            })?;
            ensure!(verdicts.len() == all, "{} verdicts, not {all}", verdicts.len());
            // At each look the oldest verdict that was not carried out yet has waited longest.
            let waited = left.iter().filter_map(|(at, left)| {
                let oldest = verdicts.get(all.saturating_sub(*left))?;
                Some(at.saturating_sub(*oldest))
            });
            let waited = waited
                .max()
                .unwrap_or(0)
                .max(left.last().map_or(0, |(at, _)| at.saturating_sub(verdicts[all - 1])));
            Ok((verdicts[all - 1] - verdicts[0], waited))
        })?;
        Ok(vec![Row {
            what: format!(
                "5,000 servers fail at once (verdicts within {verdicts} ms): a verdict to the table, the longest"
            ),
            ours: format!("{waited} ms"),
            peer: String::new(),
            ratio: String::new(),
            target: "at most 2000 ms".to_owned(),
        }])
    }

    /// Writes the events from here on to a file.
    fn follow(&self, file: &Path) -> Result<Daemon> {
        let mut command = Command::new(&self.ipvsd);
        command
            .args(["events", "--json", "--last", "1", "--follow", "--run-dir"])
            .arg(self.work.join("run"));
        let file = fs::File::create(file).context("cannot make the file of events")?;
        Ok(Daemon(command.stdout(file).spawn().context("cannot ask for events")?))
    }
}

/// When servers were found down, in milliseconds since 1970, in order.
fn down(told: &Path) -> Result<Vec<u64>> {
    let text = fs::read_to_string(told).context("cannot read the events")?;
    let mut found = vec![];
    for line in text.lines() {
        if let Ok(Reply::Event(event)) = serde_json::from_str(line)
            && event.kind == EventKind::Server
            && event.to.as_deref() == Some("down")
        {
            found.push(event.time.millis());
        }
    }
    Ok(found)
}

/// Measures a daemon while its servers answer.
fn observe(servers: &Servers, daemon: &Child, lateness: fn(&[Duration]) -> Vec<Duration>) -> Result<Seen> {
    let mut client = Client::connect()?;
    wait(|| Ok(client.destinations(&service(SERVICES - 1))?.len() == DESTINATIONS))?;
    thread::sleep(SETTLE);
    let (used, count) = (processor_time(daemon.id())?, servers.counted());
    thread::sleep(COUNTED);
    let used = processor_time(daemon.id())?.saturating_sub(used);
    let count = u32::try_from(servers.counted() - count).context("too many probes")?;
    ensure!(count > 0, "nobody was probed");
    let started = Packets::watch(&Packets::HANDSHAKES)?;
    thread::sleep(TIMED);
    let probes = started.all()?;
    let memory = largest_resident(daemon.id())?;
    let mut of_server: BTreeMap<IpAddr, Vec<Duration>> = BTreeMap::new();
    for probe in &probes {
        of_server.entry(probe.destination()).or_default().push(probe.at);
    }
    let mut late: Vec<_> = of_server.values().flat_map(|times| lateness(times)).collect();
    late.sort_unstable();
    ensure!(!late.is_empty(), "no server was probed twice within {TIMED:?}");
    let in_time = late.partition_point(|late| *late <= IN_TIME);
    Ok(Seen {
        per_probe: used / count,
        in_time: in_time as f64 / late.len() as f64,
        late: late[late.len() * 99 / 100],
        burst: burst(&probes),
        memory,
    })
}

/// How late each probe of a server is where they come at fixed times: beside the earliest of them.
fn from_its_own_grid(times: &[Duration]) -> Vec<Duration> {
    let nanos = |at: &Duration| i128::try_from(at.as_nanos()).unwrap_or(i128::MAX);
    let interval = INTERVAL.as_nanos().cast_signed();
    let phases: Vec<_> = (0..)
        .zip(times)
        .map(|(number, at)| nanos(at) - number * interval)
        .collect();
    let earliest = phases.iter().copied().min().unwrap_or(0);
    let late = |phase: i128| Duration::from_nanos(u64::try_from(phase - earliest).unwrap_or(u64::MAX));
    phases.into_iter().map(late).collect()
}

/// How late each probe of a server is where each is due an interval after the one before.
fn from_one_to_the_next(times: &[Duration]) -> Vec<Duration> {
    let pairs = times.windows(2);
    pairs
        .map(|pair| pair[1].saturating_sub(pair[0]).saturating_sub(INTERVAL))
        .collect()
}

fn burst(probes: &[Packet]) -> f64 {
    let (mut first, mut most) = (0, 0);
    for (last, probe) in probes.iter().enumerate() {
        while probe.at.saturating_sub(probes[first].at) >= WINDOW {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    let mean = probes.len() as f64 * WINDOW.as_secs_f64() / TIMED.as_secs_f64();
    most as f64 / mean
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.chain([pid]).collect()
}

/// The processor time that a process has used so far, with all its threads and children.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for pid in family(pid) {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the daemon has ended")? {
            let file = thread.context("the daemon has ended")?.path().join("schedstat");
            // A thread may have ended meanwhile.
            let text = fs::read_to_string(file).unwrap_or_default();
            nanos += text
                .split_whitespace()
                .next()
                .and_then(|nanos| nanos.parse().ok())
                .unwrap_or(0);
        }
    }
    ensure!(
        nanos > 0,
        "this kernel does not count the time of threads (CONFIG_SCHED_INFO)"
    );
    Ok(Duration::from_nanos(nanos))
}

/// The resident memory in kilobytes of the largest of a daemon's processes, of keepalived the one that checks.
fn largest_resident(pid: u32) -> Result<u64> {
    let resident = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the daemon has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse::<u64>();
        number.context("no number")
    };
    let all = family(pid).into_iter().map(resident).collect::<Result<Vec<_>>>()?;
    all.into_iter().max().context("the daemon has ended")
}

/// How many destinations the table of this thread's namespace has.
fn destinations() -> Result<usize> {
    let table = fs::read_to_string("/proc/thread-self/net/ip_vs").context("no IPVS")?;
    // The heading has one such line.
    Ok(table
        .lines()
        .filter(|line| line.trim_start().starts_with("->"))
        .count()
        .saturating_sub(1))
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
