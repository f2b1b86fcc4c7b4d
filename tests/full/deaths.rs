//! `ipvsd run` killed with SIGKILL two hundred times at moments that nobody chose, under requests and long connections.
//! While nobody looks, something changes each time, and the successor puts it right.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, wait_until};
use nix::sys::signal::Signal;

use crate::blow::{
    FILLERS, FOREIGN, SETTLED, add_foreign_services, is_half_way, read_record, slow_down, table,
    until_something_changes, web_address,
};
use crate::chance::{Times, measured, pause, seeded};
use crate::pool::{LongOnes, Servers, Story, traffic_for};
use crate::site::{Daemon, Family, Site, configure};
use crate::wanted::{Wanted, saved, weights};

const ROUNDS: usize = 200;
const SERVERS: u8 = 4;
const LONG_ONES: usize = 200;
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 2, fall = 2 }]";
/// Of the reconcilement; what is wrong is right within it, counted from the start.
const INTERVAL: Duration = Duration::from_secs(5);
/// User-mode Linux is slow to start programs, and others may want the machine.
const READY: Duration = Duration::from_secs(45);
/// All share one processor: more often would be most of what it does.
const REQUEST_EVERY: Duration = Duration::from_millis(50);
/// Every so many rounds the change that is under way is one of ten thousand entries, and in the next round they go again.
const LARGE_EVERY: usize = 20;
/// Services and servers of each, which make ten thousand entries.
const LARGE: (u16, u8) = (1000, 9);

/// What is under way when the blow comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Nothing,
    Reload,
    /// One whose messages are held up.
    SlowReload,
    ManyReloads,
    /// Ten thousand entries are added, or taken away.
    LargeReload,
}

/// What happens while nobody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    ServerDies(usize),
    ServerReturns(usize),
    FileIsEdited,
    TableIsTamperedWith,
}

/// One site with all that happens to it.
struct Stage<'s> {
    site: &'s Site,
    vip: SocketAddr,
    chance: fastrand::Rng,
    run_dir: PathBuf,
    servers: Servers<'s>,
    dead: Option<usize>,
    file: Wanted,
    is_large: bool,
}

impl Stage<'_> {
    fn edit(&mut self) {
        let first = 1000 + 25 * self.chance.u16(0..6);
        let wanted = match self.is_large {
            true => table(self.site, &mut self.chance, (first, LARGE.0), |_| LARGE.1, CHECK),
            false => table(
                self.site,
                &mut self.chance,
                (first, FILLERS),
                |chance| chance.u8(1..=4),
                CHECK,
            ),
        };
        self.file = wanted;
        configure(self.site.director(), &self.file.configuration());
    }

    /// What the table has to be: the file without the server that is dead.
    fn in_force(&self) -> Wanted {
        let mut wanted = self.file.clone();
        if let Some(dead) = self.dead.map(|index| self.servers.address(index)) {
            let web = wanted.services.get_mut(&web_address(self.site));
            let web = web.expect("the service that has traffic");
            web.destinations.retain(|address, _| SocketAddr::V4(*address) != dead);
        }
        wanted
    }

    fn start(&self) -> Daemon {
        let file = self.site.director().directory().join("ipvsd.toml");
        Daemon::spawn(
            self.site.director(),
            &file,
            &["--run-dir", &self.run_dir.display().to_string()],
        )
    }

    /// Kills a daemon while something is under way.
    fn kill(&mut self, mut daemon: Daemon, under: Under) {
        let director = self.site.director();
        if under == Under::LargeReload {
            self.is_large = !self.is_large;
        }
        if under != Under::Nothing {
            self.edit();
        }
        let hang_up = || daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
        let mut slow = None;
        match under {
            Under::Nothing => pause(&mut self.chance, Duration::from_millis(600)),
            Under::Reload => {
                hang_up();
                pause(&mut self.chance, Duration::from_millis(120));
            }
            Under::SlowReload => {
                slow = Some(slow_down(director, &daemon));
                hang_up();
                until_something_changes(director, Duration::from_secs(5));
                pause(&mut self.chance, Duration::from_millis(60));
            }
            Under::ManyReloads => {
                for _ in 0..self.chance.u32(2..6) {
                    hang_up();
                    pause(&mut self.chance, Duration::from_millis(30));
                }
            }
            Under::LargeReload => {
                hang_up();
                until_something_changes(director, Duration::from_secs(30));
                pause(&mut self.chance, Duration::from_millis(150));
            }
        }
        self.end(&mut daemon);
        drop(slow);
        let log = daemon.process.log();
        assert!(!log.contains("cannot read") && !log.contains("panicked"), "{log}");
    }

    fn end(&self, daemon: &mut Daemon) {
        daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
        daemon.process.wait(SETTLED).expect("an end");
        read_record(&self.run_dir);
    }

    /// Each of the three in turn; a server that has died returns when it is its turn again.
    fn what_happens(&mut self, round: usize) -> Meanwhile {
        match (round % 3, self.dead) {
            (0, None) => Meanwhile::ServerDies(self.chance.usize(0..self.servers.count())),
            (0, Some(index)) => Meanwhile::ServerReturns(index),
            (1, _) => Meanwhile::FileIsEdited,
            _ => Meanwhile::TableIsTamperedWith,
        }
    }

    fn happen(&mut self, what: Meanwhile, long: &mut LongOnes<'_>) {
        match what {
            Meanwhile::ServerDies(index) => {
                long.leave(self.site.lab.real_server(index).name());
                self.servers.kill(index);
                self.dead = Some(index);
            }
            Meanwhile::ServerReturns(index) => {
                self.servers.restart(index);
                self.dead = None;
            }
            Meanwhile::FileIsEdited => self.edit(),
            Meanwhile::TableIsTamperedWith => self.tamper(),
        }
    }

    /// One server gets nobody new, a service is gone, another has a server and a scheduler that nobody asked for.
    fn tamper(&mut self) {
        let director = self.site.director();
        let found = saved(director);
        let web = format!("-a -t {} ", self.vip);
        let servers: Vec<_> = found.iter().filter(|line| line.starts_with(&web)).collect();
        let server = servers[self.chance.usize(..servers.len())];
        let (server, _) = server.split_once(" -w ").expect("a weight");
        let mut lines = vec![format!("{} -w 0", server.replacen("-a", "-e", 1))];
        let fillers = found.iter().filter_map(|line| line.strip_prefix("-A -t 192.0.2.210:"));
        let mut fillers: Vec<_> = fillers.filter_map(|rest| rest.split(' ').next()).collect();
        self.chance.shuffle(&mut fillers);
        if let [one, other, ..] = fillers[..] {
            lines.push(format!("-D -t 192.0.2.210:{one}"));
            lines.push(format!("-E -t 192.0.2.210:{other} -s sed"));
            lines.push(format!("-a -t 192.0.2.210:{other} -r 203.0.113.9:{other} -m -w 5"));
        }
        director
            .exec_ok_with_input(&["ipvsadm", "-R"], &(lines.join("\n") + "\n"))
            .expect("a table that was tampered with");
    }

    /// Returns when the table is the one that is wanted, at the latest an interval and what a slow machine takes later.
    fn settle(&self, daemon: &Daemon, what: &str) {
        let wanted = self.in_force();
        let expected: BTreeMap<_, _> = wanted.services[&web_address(self.site)]
            .destinations
            .iter()
            .map(|(address, destination)| (SocketAddr::V4(*address), destination.weight))
            .collect();
        let director = self.site.director();
        let mut differences = Vec::new();
        // The cheap look first; Debian's ipvsadm has the last word.
        wait_until(what, INTERVAL + SETTLED, || {
            if weights(director, self.vip).as_ref() != Some(&expected) {
                return false;
            }
            differences = wanted.differs(director, &FOREIGN);
            if !differences.is_empty() {
                std::thread::sleep(Duration::from_millis(100));
            }
            differences.is_empty()
        })
        .unwrap_or_else(|error| {
            let (found, log) = (weights(director, self.vip), daemon.process.log());
            panic!(
                "{error}\nwanted {expected:?}\nfound {found:?}\n{}\n{log}",
                differences.join("\n")
            )
        });
    }

    /// Nothing is left to be done, by the program's own account.
    fn assert_planned(&self) {
        let file = self.site.director().directory().join("ipvsd.toml");
        let (file, run_dir) = (file.display().to_string(), self.run_dir.display().to_string());
        let planned = self.site.ipvsd(&["plan", "-c", &file, "--run-dir", &run_dir]);
        assert_eq!((planned.code(), planned.stdout.as_str()), (0, ""), "{}", planned.stderr);
    }
}

/// Waits until a daemon says that it is ready; tells where its threads are if it does not.
fn wait_until_ready(daemon: &mut Daemon) {
    if daemon.process.wait_for_log("ready:", READY).is_ok() {
        return;
    }
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process.id()));
    let mut threads = String::new();
    for task in tasks.into_iter().flatten().flatten() {
        for file in ["comm", "stat", "wchan", "syscall", "stack"] {
            let text = fs::read_to_string(task.path().join(file)).unwrap_or_else(|error| error.to_string());
            threads += &format!("{file}: {}\n", text.trim());
        }
    }
    panic!(
        "not ready within {READY:?}; its threads:\n{threads}its log:\n{}",
        daemon.process.log()
    );
}

#[test]
fn two_hundred_deaths_leave_traffic_unharmed_and_what_changes_meanwhile_is_put_right() {
    const NAME: &str = "deaths";
    let mut chance = seeded(NAME, 11);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, SERVERS, 1);
    let director = site.director();
    let servers = Servers::threads(&site, usize::from(SERVERS));
    add_foreign_services(director);
    let vip = SocketAddr::V4(web_address(&site));
    let mut stage = Stage {
        site: &site,
        vip,
        chance: chance.fork(),
        run_dir: director.directory().join("run"),
        servers,
        dead: None,
        file: Wanted::default(),
        is_large: false,
    };
    stage.edit();
    let mut daemon = stage.start();
    wait_until_ready(&mut daemon);
    stage.settle(&daemon, "the first table is in force");
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let prober = traffic_for(&site, vip, REQUEST_EVERY, Duration::from_secs(3600));
    let mut long = LongOnes::open(&site, vip, LONG_ONES);
    let mut story = Story::default();
    let mut windows = Vec::new();
    let (mut torn, mut torn_large, mut unready, mut deaths) = (0, 0, 0, 0);
    let (mut ready, mut right) = (Times::default(), Times::default());
    let began = Instant::now();
    for round in 1..=ROUNDS {
        let before = saved(director);
        let under = match (round % LARGE_EVERY, chance.u32(0..100)) {
            (0, _) => Under::LargeReload,
            (1, _) if stage.is_large => Under::LargeReload,
            (_, 0..25) => Under::Nothing,
            (_, 25..60) => Under::Reload,
            (_, 60..70) => Under::SlowReload,
            _ => Under::ManyReloads,
        };
        stage.kill(daemon, under);
        let is_torn = is_half_way(director, &before, &stage.in_force());
        torn += usize::from(is_torn);
        torn_large += usize::from(is_torn && under == Under::LargeReload);
        let meanwhile = stage.what_happens(round);
        story.tell(format_args!("round {round}: killed under {under:?}, {meanwhile:?}"));
        long.assert_open(format_args!("round {round}, after the kill"));
        let since = Instant::now();
        stage.happen(meanwhile, &mut long);
        // A successor that does not live to be ready, now and then several.
        while chance.u32(0..6) == 0 {
            let mut daemon = stage.start();
            pause(&mut chance, Duration::from_millis(400));
            unready += usize::from(!daemon.process.log().contains("ready:"));
            stage.end(&mut daemon);
        }
        let started = Instant::now();
        daemon = stage.start();
        wait_until_ready(&mut daemon);
        ready.push(started.elapsed());
        story.tell(format_args!("round {round}: ready"));
        let begin = Instant::now();
        stage.settle(&daemon, &format!("round {round}: {meanwhile:?} is put right"));
        right.push(begin.elapsed());
        story.tell(format_args!("round {round}: settled"));
        if let Meanwhile::ServerDies(_) = meanwhile {
            windows.push((since, Instant::now()));
            deaths += 1;
        }
        assert_eq!(
            read_record(&stage.run_dir),
            stage.file.services.len(),
            "round {round}: the record has what is configured"
        );
        long.assert_open(format_args!("round {round}, after the start"));
        long.fill_up();
        if round % 25 == 0 {
            measured(
                NAME,
                format_args!("round {round} after {} s", began.elapsed().as_secs()),
            );
        }
        if round % 10 == 0 && stage.dead.is_none() {
            stage.assert_planned();
        }
    }
    if let Some(index) = stage.dead {
        stage.happen(Meanwhile::ServerReturns(index), &mut long);
        stage.settle(&daemon, "the last table is in force");
    }
    stage.assert_planned();
    long.finish();
    let report = prober.stop().expect("a report");
    let failed = report.failures().len();
    measured(
        NAME,
        format_args!(
            "{} daemons killed, {unready} of them before they were ready, {torn} times the table was half way, \
             {torn_large} of them in ten thousand entries; {deaths} servers died meanwhile; {} requests, {failed} \
             failed, each for a dead server; none of {LONG_ONES} long connections lost",
            ROUNDS + unready,
            report.attempts.len(),
        ),
    );
    measured(NAME, format_args!("from start to ready: {ready}"));
    measured(
        NAME,
        format_args!("from ready until all was right, looking included: {right}"),
    );
    story.assert_explained(&report, &windows);
    assert!(
        torn >= 10 && torn_large >= 5 && unready > 0,
        "too few blows came in the midst of something: {torn}, {torn_large}, {unready}"
    );
    let limit = INTERVAL + Duration::from_secs(1);
    assert!(right.percentile(95) <= limit, "later than an interval: {right}");
}
