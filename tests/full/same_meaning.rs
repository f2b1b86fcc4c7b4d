//! One lab, the same real servers, two directors: ipvsd on one, Debian's keepalived on the other, with configurations
//! that mean the same. Each fault is one event that both see.
//!
//! Both tables are looked at every few milliseconds from the first fault to the last. What is held, service by service
//! and fault by fault: both come from the same table to the same table, which is worked out here from keepalived.conf(5);
//! a service that a fault does not concern keeps its table; on the way there is nothing but what [`Way`] explains.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipvsd_lab::{Host, Lab, Process, Segment, Topology, require_kernel, wait_until};

use crate::beside_keepalived::keepalived;
use crate::chance::{Times, measured};
use crate::site::{Daemon, configure};
use crate::wanted::weights_in;

/// Real servers; one more is the sorry server.
const SERVERS: usize = 3;
/// Their weights: none can be mistaken for another's, and 4 and 5 are sums of some of them only.
const WEIGHTS: [u32; SERVERS] = [1, 2, 3];
const QUORUM: u32 = 4;
const HYSTERESIS: u32 = 1;
/// `delay_loop`, `delay_before_retry`, `connect_timeout` and `retry` there; `interval`, `retry_interval`, `timeout` and
/// one less than `fall` here.
const INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(2);
const RETRY: u32 = 1;
/// What any step may take longer than both describe: others may want the machine.
const SLOW_MACHINE: Duration = Duration::from_secs(20);
/// How long what has settled must stay so.
const QUIET: Duration = Duration::from_millis(1500);

type Table = BTreeMap<SocketAddr, u32>;

/// What is configured alike in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    /// `TCP_CHECK`, servers removed, `sorry_server`.
    Tcp,
    /// The same with `alpha` and `inhibit_on_failure`, without a sorry server.
    Alpha,
    /// `HTTP_GET` with `inhibit_on_failure`.
    Http,
    /// `MISC_CHECK` with `misc_dynamic`.
    Misc,
    /// `TCP_CHECK` with `quorum`, `hysteresis` and `sorry_server`.
    Quorum,
}

impl Service {
    const ALL: [Self; 5] = [Self::Tcp, Self::Alpha, Self::Http, Self::Misc, Self::Quorum];

    fn port(self) -> u16 {
        81 + self as u16
    }

    fn inhibits(self) -> bool {
        matches!(self, Self::Alpha | Self::Http)
    }

    fn has_sorry_server(self) -> bool {
        matches!(self, Self::Tcp | Self::Quorum)
    }

    fn keepalived(self, stand: &Stand) -> String {
        let seconds = |time: Duration| time.as_secs_f64();
        let mut text = format!(
            "virtual_server {} {} {{\n delay_loop {}\n lb_algo wrr\n lb_kind NAT\n protocol TCP\n",
            stand.lab.vip4(0),
            self.port(),
            seconds(INTERVAL)
        );
        if self == Self::Alpha {
            text += " alpha\n";
        }
        if self == Self::Quorum {
            text += &format!(" quorum {QUORUM}\n hysteresis {HYSTERESIS}\n");
        }
        if self.has_sorry_server() {
            text += &format!(" sorry_server {} 80\n", stand.address(SERVERS).ip());
        }
        let times = format!(
            "  connect_timeout {}\n  retry {RETRY}\n  delay_before_retry {}\n  warmup 0\n",
            seconds(TIMEOUT),
            seconds(RETRY_INTERVAL)
        );
        for (index, weight) in WEIGHTS.into_iter().enumerate() {
            let check = match self {
                Self::Tcp | Self::Alpha | Self::Quorum => format!("TCP_CHECK {{\n{times} }}"),
                Self::Http => format!("HTTP_GET {{\n  url {{\n   path /page\n   status_code 200\n  }}\n{times} }}"),
                Self::Misc => format!(
                    "MISC_CHECK {{\n  misc_path \"/bin/sh {} {index}\"\n  misc_timeout 10\n  misc_dynamic\n  \
                     user root\n  warmup 0\n }}",
                    stand.script()
                ),
            };
            let inhibit = if self.inhibits() { " inhibit_on_failure\n" } else { "" };
            text += &format!(
                " real_server {} 80 {{\n weight {weight}\n{inhibit} {check}\n }}\n",
                stand.address(index).ip()
            );
        }
        text + "}\n"
    }

    fn ipvsd(self, stand: &Stand) -> String {
        let initial = if self == Self::Alpha { "down" } else { "up" };
        let times = |fall: u32, rise: u32, timeout: Duration, from: &str| {
            format!(
                "interval = \"{}ms\", retry_interval = \"{}ms\", timeout = \"{}ms\", fall = {fall}, rise = {rise}, \
                 first_fall = 1, interval_from = \"{from}\", initial = \"{initial}\"",
                INTERVAL.as_millis(),
                RETRY_INTERVAL.as_millis(),
                timeout.as_millis()
            )
        };
        let connects = times(RETRY + 1, 1, TIMEOUT, "end");
        let mut text = format!(
            "[[virtual_server]]\nname = \"{self:?}\"\naddress = \"{}:{}\"\nscheduler = \"wrr\"\nforward = \"nat\"\n\
             inhibit_on_failure = {}\n",
            stand.lab.vip4(0),
            self.port(),
            self.inhibits()
        );
        if self == Self::Quorum {
            text += &format!("quorum = {QUORUM}\nhysteresis = {HYSTERESIS}\n");
        }
        if self.has_sorry_server() {
            text += &format!("sorry_server = \"{}\"\n", stand.address(SERVERS));
        }
        for (index, weight) in WEIGHTS.into_iter().enumerate() {
            let check = match self {
                Self::Tcp | Self::Alpha | Self::Quorum => format!("type = \"tcp\", {connects}"),
                // keepalived asks once more for all pages of a check when the one that failed is back. It waits
                // delay_loop for that, ipvsd retry_interval, and is half a second sooner.
                Self::Http => format!(
                    "type = \"http\", path = \"/page\", status = 200, {}",
                    times(RETRY + 1, 2, TIMEOUT, "end")
                ),
                Self::Misc => format!(
                    "type = \"script\", argv = [\"/bin/sh\", \"{}\", \"{index}\"], user = \"root\", \
                     dynamic_weight = true, {}",
                    stand.script(),
                    times(1, 1, Duration::from_secs(10), "start")
                ),
            };
            text += &format!(
                "[[virtual_server.real_server]]\naddress = \"{}\"\nweight = {weight}\ncheck = [{{ {check} }}]\n",
                stand.address(index)
            );
        }
        text
    }
}

/// What happens, to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nginx of a server is killed.
    Kill(usize),
    /// It is started again.
    Start(usize),
    /// The segment loses what is for a server's port.
    Silence(usize),
    /// It does so no more.
    Hear(usize),
    /// The page is gone, and the server as well as before.
    NoPage(usize),
    /// The page is back.
    Page(usize),
    /// The script about a server ends with this status from now on.
    Exit(usize, u8),
}

/// In turn. Server by server until nobody is left, and back; each of what the checks can tell; the quorum lost at a
/// weight of 2 (below 4 − 1), not regained at 3 and 4, regained at 6 (from 4 + 1).
const FAULTS: [Fault; 19] = [
    Fault::Kill(2),
    Fault::Kill(0),
    Fault::Start(0),
    Fault::Start(2),
    Fault::Silence(1),
    Fault::Hear(1),
    Fault::NoPage(1),
    Fault::Page(1),
    Fault::Exit(0, 12),
    Fault::Exit(0, 1),
    Fault::Exit(0, 7),
    Fault::Exit(0, 0),
    Fault::Exit(1, 255),
    Fault::Kill(0),
    Fault::Kill(1),
    Fault::Kill(2),
    Fault::Start(1),
    Fault::Start(2),
    Fault::Start(0),
];

/// How everything is, and with it what both tables have to come to.
#[derive(Debug, Clone)]
struct World {
    runs: [bool; SERVERS],
    heard: [bool; SERVERS],
    page: [bool; SERVERS],
    exit: [u8; SERVERS],
    quorum: bool,
}

impl World {
    fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(index) => self.runs[index] = false,
            Fault::Start(index) => self.runs[index] = true,
            Fault::Silence(index) => self.heard[index] = false,
            Fault::Hear(index) => self.heard[index] = true,
            Fault::NoPage(index) => self.page[index] = false,
            Fault::Page(index) => self.page[index] = true,
            Fault::Exit(index, status) => self.exit[index] = status,
        }
        let sum: u32 = (0..SERVERS)
            .filter_map(|index| self.weight(Service::Quorum, index))
            .sum();
        self.quorum = if self.quorum {
            sum >= QUORUM - HYSTERESIS
        } else {
            sum >= QUORUM + HYSTERESIS
        };
    }

    /// The weight of a server that is up.
    fn weight(&self, service: Service, index: usize) -> Option<u32> {
        let answers = self.runs[index] && self.heard[index];
        match (service, self.exit[index]) {
            (Service::Tcp | Service::Alpha | Service::Quorum, _) => answers.then_some(WEIGHTS[index]),
            (Service::Http, _) => (answers && self.page[index]).then_some(WEIGHTS[index]),
            (Service::Misc, 0) => Some(WEIGHTS[index]),
            (Service::Misc, 1) => None,
            (Service::Misc, status) => Some(u32::from(status) - 2),
        }
    }

    fn table(&self, service: Service, stand: &Stand) -> Table {
        let weights: Vec<_> = (0..SERVERS).map(|index| self.weight(service, index)).collect();
        let serves = match service {
            Service::Quorum => self.quorum,
            _ => weights.iter().any(Option::is_some),
        };
        let mut table = Table::new();
        for (index, weight) in weights.into_iter().enumerate() {
            match weight {
                Some(weight) if serves => _ = table.insert(stand.address(index), weight),
                None if service.inhibits() => _ = table.insert(stand.address(index), 0),
                Some(_) | None => {}
            }
        }
        if service.has_sorry_server() && !serves {
            table.insert(stand.address(SERVERS), 1);
        }
        table
    }
}

/// What may be seen between two tables, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Nothing: one destination changes, by one message to the kernel.
    Straight,
    /// Several destinations change: the sorry server comes in or goes. ipvsd adds before it removes, so that somebody
    /// is there all the time; keepalived removes first, and for a moment there is nobody.
    BySorryServer,
}

fn way(before: &Table, after: &Table, sorry: SocketAddr) -> Way {
    if before.contains_key(&sorry) == after.contains_key(&sorry) {
        Way::Straight
    } else {
        Way::BySorryServer
    }
}

/// The lab with what runs on its real servers.
struct Stand {
    lab: Lab,
    nginx: Mutex<Vec<Option<Process>>>,
}

impl Stand {
    fn build() -> Self {
        require_kernel();
        let servers = u8::try_from(SERVERS + 1).expect("few servers");
        let topology = Topology::two_segments().directors(2).clients(0).real_servers(servers);
        let lab = topology.build("same-meaning").expect("a topology");
        let stand = Self {
            lab,
            nginx: Mutex::new((0..=SERVERS).map(|_| None).collect()),
        };
        // It ends as a file says that belongs to the server in its argument.
        let script = "read -r status <\"$(dirname \"$0\")/exit.$1\" && exit \"$status\"\n";
        fs::write(stand.script(), script).expect("a file");
        for index in 0..SERVERS {
            stand.exit(index, 0);
            stand.page(index, true);
        }
        (0..=SERVERS).for_each(|index| stand.start(index));
        stand
    }

    fn host(&self, index: usize) -> &Host {
        self.lab.real_server(index)
    }

    fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::new(self.host(index).address4(Segment::Server).into(), 80)
    }

    fn script(&self) -> String {
        self.lab.directory().join("check.sh").display().to_string()
    }

    /// In one instant: no script finds half of it.
    fn exit(&self, index: usize, status: u8) {
        let (file, new) = (format!("exit.{index}"), self.lab.directory().join("new"));
        fs::write(&new, format!("{status}\n")).expect("a file");
        fs::rename(new, self.lab.directory().join(file)).expect("a file");
    }

    fn page(&self, index: usize, there: bool) {
        let folder = self.host(index).directory().join("pages");
        fs::create_dir_all(&folder).expect("a folder");
        if there {
            fs::write(folder.join("page"), "well\n").expect("a file");
        } else {
            fs::remove_file(folder.join("page")).expect("a file");
        }
    }

    fn start(&self, index: usize) {
        let host = self.host(index);
        let directory = host.directory().display();
        let mut text = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/nginx.pid;\nevents {{ }}\nhttp {{\n\
             access_log off;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text += &format!("{kind}_temp_path {directory}/{kind};\n");
        }
        text += &format!("server {{ listen 80; root {directory}/pages; }}\n}}\n");
        let file = host.directory().join("nginx.conf");
        fs::write(&file, text).expect("a file");
        let process = host.spawn(&["nginx", "-e", "stderr", "-c", &file.display().to_string()]);
        self.nginx.lock().expect("nobody panicked")[index] = Some(process.expect("nginx"));
        let accepts = || std::net::TcpStream::connect(("127.0.0.1", 80)).is_ok();
        let waited = host.in_namespace(|| wait_until("nginx accepts", SLOW_MACHINE, accepts));
        waited.expect("a namespace").expect("nginx");
    }

    fn inject(&self, fault: Fault) {
        match fault {
            Fault::Kill(index) => drop(self.nginx.lock().expect("nobody panicked")[index].take()),
            Fault::Start(index) => self.start(index),
            Fault::Silence(index) => self.host(index).drop_tcp_port(Segment::Server, 80).expect("nft"),
            Fault::Hear(index) => self.host(index).drop_nothing(Segment::Server).expect("nft"),
            Fault::NoPage(index) => self.page(index, false),
            Fault::Page(index) => self.page(index, true),
            Fault::Exit(index, status) => self.exit(index, status),
        }
    }
}

/// The tables that a director has had, service by service, each with the moment in which it was first seen.
#[derive(Debug, Default)]
struct History(Mutex<BTreeMap<Service, Vec<(Instant, Table)>>>);

impl History {
    /// Looks until `done`.
    fn watch(&self, stand: &Stand, director: usize, done: &AtomicBool) {
        let vip = stand.lab.vip4(0);
        let look = || {
            while !done.load(Ordering::Relaxed) {
                let text = fs::read_to_string("/proc/thread-self/net/ip_vs").expect("the table");
                let now = Instant::now();
                {
                    let mut histories = self.0.lock().expect("nobody panicked");
                    for service in Service::ALL {
                        let history = histories.entry(service).or_default();
                        let table = weights_in(&text, (vip, service.port()).into()).unwrap_or_default();
                        if history.last().is_none_or(|(_, last)| *last != table) {
                            history.push((now, table));
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        stand.lab.director(director).in_namespace(look).expect("a namespace");
    }

    /// The table now, and since when.
    fn last(&self, service: Service) -> Option<(Instant, Table)> {
        self.0.lock().expect("nobody panicked").get(&service)?.last().cloned()
    }

    /// The table at a moment, and those that came after it.
    fn since(&self, service: Service, from: Instant) -> Vec<(Instant, Table)> {
        let histories = self.0.lock().expect("nobody panicked");
        let history = &histories[&service];
        let first = history.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        history[first..].to_vec()
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long either may take by both manuals.
fn bound(fault: Fault) -> Duration {
    match fault {
        Fault::Kill(_) | Fault::NoPage(_) => INTERVAL + RETRY_INTERVAL * RETRY,
        Fault::Silence(_) => INTERVAL + RETRY_INTERVAL * RETRY + TIMEOUT * (RETRY + 1),
        // A check of a silent server may be waiting for an answer that will not come any more; HTTP takes two turns.
        Fault::Start(_) | Fault::Hear(_) | Fault::Page(_) => 2 * INTERVAL + TIMEOUT,
        Fault::Exit(..) => INTERVAL,
    }
}

fn shown(tables: &[(Instant, Table)], from: Instant) -> impl fmt::Display {
    let one = |(at, table): &(Instant, Table)| {
        let servers: Vec<_> = table
            .iter()
            .map(|(address, weight)| format!("{}:{weight}", address.ip()))
            .collect();
        let after = at.saturating_duration_since(from).as_millis();
        format!("after {after} ms [{}]", servers.join(" "))
    };
    tables.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn configurations_that_mean_the_same_lead_to_the_same_tables_through_the_same_faults() {
    const NAME: &str = "same-meaning";
    const SIDES: [&str; 2] = ["ipvsd", "keepalived"];
    let stand = Stand::build();
    let ours: String = Service::ALL.iter().map(|service| service.ipvsd(&stand)).collect();
    let theirs: String = Service::ALL.iter().map(|service| service.keepalived(&stand)).collect();
    let theirs = format!("global_defs {{\n router_id lab\n script_user root\n}}\n{theirs}");
    for director in [0, 1] {
        let host = stand.lab.director(director);
        host.set_sysctl("net/ipv4/ip_forward", "1").expect("a setting");
    }
    let file = configure(stand.lab.director(0), &ours);
    let daemon = Daemon::spawn(stand.lab.director(0), &file, &[]);
    let peer = keepalived(stand.lab.director(1), &theirs, &[]);
    let histories = [History::default(), History::default()];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        for (director, history) in histories.iter().enumerate() {
            let (stand, done) = (&stand, &done);
            scope.spawn(move || history.watch(stand, director, done));
        }
        let mut world = World {
            runs: [true; SERVERS],
            heard: [true; SERVERS],
            page: [true; SERVERS],
            exit: [0; SERVERS],
            quorum: true,
        };
        // Waits for the world's tables on both sides, and that they stay.
        let settle = |what: &dyn fmt::Debug, world: &World, limit: Duration| {
            let differ = || {
                let mut differ = Vec::new();
                for service in Service::ALL {
                    let wanted = world.table(service, &stand);
                    for (side, history) in SIDES.iter().zip(&histories) {
                        match history.last(service) {
                            Some((_, table)) if table == wanted => {}
                            other => differ.push((*side, service, other.map(|(_, table)| table))),
                        }
                    }
                }
                differ
            };
            let settled = wait_until("both have settled", limit, || differ().is_empty());
            std::thread::sleep(QUIET);
            let differ = differ();
            assert!(
                settled.is_ok() && differ.is_empty(),
                "{what:?}, {world:?}: {differ:?}\n--- ipvsd\n{}\n--- keepalived\n{}",
                daemon.process.log(),
                peer.log()
            );
        };
        settle(&"start", &world, SLOW_MACHINE * 2);

        let mut noticed = [Times::default(), Times::default()];
        let mut apart: BTreeMap<Service, Times> = BTreeMap::new();
        let (mut empty, mut compared) = ([0, 0], 0);
        for fault in FAULTS {
            let before = world.clone();
            let struck = Instant::now();
            stand.inject(fault);
            world.befall(fault);
            settle(&fault, &world, bound(fault) + SLOW_MACHINE);
            for service in Service::ALL {
                let (from, to) = (before.table(service, &stand), world.table(service, &stand));
                let passed = histories.each_ref().map(|history| history.since(service, struck));
                let story = || {
                    let lines = SIDES.iter().zip(&passed);
                    let lines = lines.map(|(side, tables)| format!("{side}: {}", shown(tables, struck)));
                    format!("{fault:?}, {service:?}:\n{}", lines.collect::<Vec<_>>().join("\n"))
                };
                compared += 1;
                for (index, tables) in passed.iter().enumerate() {
                    let on_the_way = tables.get(1..tables.len() - 1).unwrap_or_default();
                    assert_eq!(tables[0].1, from, "{}", story());
                    assert_eq!(tables.last().map(|(_, table)| table), Some(&to), "{}", story());
                    match way(&from, &to, stand.address(SERVERS)) {
                        Way::Straight => assert!(on_the_way.is_empty(), "{}", story()),
                        Way::BySorryServer => {
                            let nobody = |(_, table): &&(Instant, Table)| table.values().all(|weight| *weight == 0);
                            empty[index] += on_the_way.iter().filter(nobody).count();
                        }
                    }
                    if from != to {
                        noticed[index].push(tables[tables.len() - 1].0.saturating_duration_since(struck));
                    }
                }
                if from != to {
                    let [ours, theirs] = passed.each_ref().map(|tables| tables[tables.len() - 1].0);
                    apart
                        .entry(service)
                        .or_default()
                        .push(ours.max(theirs) - ours.min(theirs));
                }
            }
        }
        for (service, apart) in &apart {
            measured(
                NAME,
                format_args!("{service:?}: from the first to have its new table to the second: {apart}"),
            );
        }
        for (side, noticed) in SIDES.iter().zip(&noticed) {
            measured(NAME, format_args!("{side} has its new table after a fault: {noticed}"));
        }
        measured(
            NAME,
            format_args!("{compared} ways from table to table, the same in both"),
        );
        measured(
            NAME,
            format_args!(
                "tables without anybody on the way: {} with ipvsd, {} with keepalived",
                empty[0], empty[1]
            ),
        );
        assert_eq!(empty[0], 0, "ipvsd never leaves a pool empty between two tables");
    });
}
