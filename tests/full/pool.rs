//! Real servers that die and return, the traffic they get meanwhile, requests and long connections, and whether a failed
//! request may have failed.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ipvsd_lab::{Attempt, Client, Connection, Nginx, Prober, Report, Responder};

use crate::site::{Daemon, Site};

/// What answers on one real server: a thread, or the real program.
enum Server<'lab> {
    Thread(Responder),
    Nginx(Nginx<'lab>),
}

/// The real servers of a site, each dead or alive, on port 80.
pub(crate) struct Servers<'lab> {
    site: &'lab Site,
    real: bool,
    running: Vec<Option<Server<'lab>>>,
}

impl<'lab> Servers<'lab> {
    /// All alive: threads.
    pub(crate) fn threads(site: &'lab Site, count: usize) -> Self {
        Self::start(site, count, false)
    }

    /// All alive: nginx.
    pub(crate) fn nginx(site: &'lab Site, count: usize) -> Self {
        Self::start(site, count, true)
    }

    fn start(site: &'lab Site, count: usize, real: bool) -> Self {
        let mut servers = Self {
            site,
            real,
            running: (0..count).map(|_| None).collect(),
        };
        for index in 0..count {
            servers.restart(index);
        }
        servers
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_alive(&self, index: usize) -> bool {
        self.running[index].is_some()
    }

    /// The dead, or the living.
    pub(crate) fn which(&self, alive: bool) -> Vec<usize> {
        (0..self.count())
            .filter(|index| self.is_alive(*index) == alive)
            .collect()
    }

    /// Kills it in this instant, with all connections.
    pub(crate) fn kill(&mut self, index: usize) {
        match self.running[index].take() {
            Some(Server::Thread(responder)) => responder.stop(),
            Some(Server::Nginx(mut nginx)) => nginx.kill(),
            None => {}
        }
    }

    /// Starts it; returns when it accepts.
    pub(crate) fn restart(&mut self, index: usize) {
        let host = self.site.lab.real_server(index);
        let listen = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80);
        self.running[index] = Some(if self.real {
            Server::Nginx(Nginx::start(host, &[listen], host.name()).expect("nginx"))
        } else {
            Server::Thread(Responder::start(host, &[listen], host.name()).expect("a responder"))
        });
    }

    /// The address of a server as a destination.
    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::new(self.site.server_address(index), 80)
    }
}

/// Asks every 25 ms for as long as it lives, 10 minutes at most.
pub(crate) fn traffic(site: &Site, vip: SocketAddr) -> Prober {
    traffic_for(site, vip, Duration::from_millis(25), Duration::from_secs(600))
}

/// Asks every so often for as long as it lives, so long at most.
pub(crate) fn traffic_for(site: &Site, vip: SocketAddr, every: Duration, most: Duration) -> Prober {
    Prober::start(site.lab.client(0), vip, every, Duration::from_secs(5), most).expect("a prober")
}

/// Connections that are kept open, so many at any time, through all that happens.
pub(crate) struct LongOnes<'lab> {
    client: Client<'lab>,
    vip: SocketAddr,
    count: usize,
    open: Vec<Connection>,
}

impl<'lab> LongOnes<'lab> {
    pub(crate) fn open(site: &'lab Site, vip: SocketAddr, count: usize) -> Self {
        let mut long = Self {
            client: site.client(),
            vip,
            count,
            open: Vec::new(),
        };
        long.fill_up();
        long
    }

    /// Opens as many as are wanting; each has to succeed at once.
    pub(crate) fn fill_up(&mut self) {
        while self.open.len() < self.count {
            self.open.push(self.client.open(self.vip).expect("a connection"));
        }
    }

    /// Ends those to a server that is about to die: they would be lost rightly.
    pub(crate) fn leave(&mut self, identity: &str) {
        self.open.retain(|connection| connection.identity() != identity);
    }

    /// Fails where the other end, or anybody on the way, has ended one.
    pub(crate) fn assert_open(&mut self, when: impl fmt::Display) {
        for connection in &mut self.open {
            let sent = connection.send();
            assert!(
                sent.is_ok() && connection.is_open(),
                "{when}: a long connection to {} is lost",
                connection.identity()
            );
        }
    }

    /// Ends all; fails where what was sent over one has not arrived.
    pub(crate) fn finish(self) {
        for connection in self.open {
            let identity = connection.identity().to_owned();
            let finished = connection.finish(Duration::from_secs(10));
            assert!(
                finished.is_ok(),
                "a long connection to {identity} is lost: {finished:?}"
            );
        }
    }
}

/// The requests that failed though at no time while they were under way a server was dead and in the table.
pub(crate) fn unexplained<'r>(report: &'r Report, windows: &[(Instant, Instant)]) -> Vec<&'r Attempt> {
    let explained = |attempt: &Attempt| {
        let end = attempt.at + attempt.took;
        windows.iter().any(|(from, to)| attempt.at <= *to && end >= *from)
    };
    let failures = report.failures().into_iter();
    failures.filter(|attempt| !explained(attempt)).collect()
}

/// What a test did and when, told where a request failed that nothing explains.
#[derive(Debug, Default)]
pub(crate) struct Story(Vec<(Instant, String)>);

impl Story {
    pub(crate) fn tell(&mut self, what: impl fmt::Display) {
        self.0.push((Instant::now(), what.to_string()));
    }

    /// Fails where a request failed that nothing explains, with what happened a second before and after.
    pub(crate) fn assert_explained(&self, report: &Report, windows: &[(Instant, Instant)]) {
        const NEAR: Duration = Duration::from_secs(1);
        let unexplained = unexplained(report, windows);
        let Some(first) = report.attempts.first().map(|attempt| attempt.at) else {
            panic!("no request was made");
        };
        let milliseconds = |at: Instant| at.saturating_duration_since(first).as_millis();
        let mut lines = Vec::new();
        for attempt in &unexplained {
            let Attempt { at, took, outcome } = attempt;
            lines.push((
                *at,
                format!("a request fails after {} ms: {outcome:?}", took.as_millis()),
            ));
        }
        for (from, to) in windows {
            lines.push((*from, "somebody is dead from here".to_owned()));
            lines.push((*to, "to here".to_owned()));
        }
        lines.extend(self.0.iter().cloned());
        lines.sort();
        let is_near = |at: Instant| {
            let distance = |other: Instant| at.max(other) - at.min(other);
            unexplained.iter().any(|attempt| distance(attempt.at) < NEAR)
        };
        lines.retain(|(at, _)| is_near(*at));
        let told: Vec<_> = lines
            .iter()
            .take(200)
            .map(|(at, what)| format!("{:>7} ms  {what}", milliseconds(*at)))
            .collect();
        assert!(
            unexplained.is_empty(),
            "{} requests failed while nobody was dead:\n{}\nin all: {report}",
            unexplained.len(),
            told.join("\n")
        );
    }
}

/// What the daemon holds of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holdings {
    /// Resident memory in KiB.
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
}

/// What a process holds: the smallest of a few looks, for probes come and go.
pub(crate) fn holdings(daemon: &Daemon) -> Holdings {
    let id = daemon.process.id();
    let look = || {
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a running process");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("a running process");
        (resident.expect("a size"), descriptors.count())
    };
    let looks: Vec<(u64, usize)> = (0..20)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(25));
            look()
        })
        .collect();
    Holdings {
        memory: looks.iter().map(|look| look.0).min().expect("looks"),
        descriptors: looks.iter().map(|look| look.1).min().expect("looks"),
    }
}
