//! What clients lose while a director's daemon is stopped, killed or given another file: ipvsd and keepalived, each under
//! the same new connections and the same long ones, in a topology of its own.
//!
//! Everything but the daemon is made by hand, the virtual address too, so that nothing else differs. A long connection is
//! lost where the other end, or the director, has ended it; lost ones are opened again for the next blow.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipvsd::ipvs::Client as Table;
use ipvsd::model::{Protocol, ServiceKey};
use ipvsd_lab::{Client, Connection, Lab, Prober, Responder, Segment, Topology, prepare_director_by_hand};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Bench, Row, wait};

const SERVERS: u8 = 3;
const LONG_ONES: usize = 200;
const EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(5);
/// After the table is right, until the next blow: what is still under way shows.
const SETTLE: Duration = Duration::from_secs(2);

/// What happens to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    /// SIGTERM, and started again.
    Restart,
    /// SIGKILL to all its processes, and started again.
    Kill,
    /// Another weight for each server, and SIGHUP.
    Reload,
}

const BLOWS: [(Blow, &str); 3] = [
    (Blow::Restart, "stopped and started again"),
    (Blow::Kill, "killed (SIGKILL) and started again"),
    (Blow::Reload, "reloaded with other weights"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contestant {
    Ipvsd,
    Keepalived,
}

/// What was lost in all blows of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    blows: usize,
    attempts: usize,
    failed: usize,
    long: usize,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} new, {} of {} long ones",
            self.failed,
            self.attempts,
            self.long,
            self.blows * LONG_ONES
        )
    }
}

impl Bench {
    /// Connections lost by restarts, kills and reloads.
    pub(super) fn lost(&self) -> Result<Vec<Row>> {
        let ours = self.lost_by(Contestant::Ipvsd)?;
        let theirs = self.lost_by(Contestant::Keepalived)?;
        let row = |(blow, what): (Blow, &str)| {
            let (ours, theirs) = (ours[&blow], theirs[&blow]);
            Row {
                what: format!("connections lost, the daemon {what}, {} ×", ours.blows),
                ours: ours.to_string(),
                peer: format!("{theirs} (keepalived)"),
                ratio: String::new(),
                target: "0".to_owned(),
            }
        };
        Ok(BLOWS.into_iter().map(row).collect())
    }

    fn lost_by(&self, contestant: Contestant) -> Result<BTreeMap<Blow, Lost>> {
        let name = match contestant {
            Contestant::Ipvsd => "lost-ipvsd",
            Contestant::Keepalived => "lost-keepalived",
        };
        let lab = Topology::two_segments().real_servers(SERVERS).build(name)?;
        let vip = IpAddr::from(lab.vip4(0));
        prepare_director_by_hand(lab.director(0), "eth0", &[vip])?;
        let listen = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80);
        let servers = lab.real_servers().into_iter();
        let _servers = servers
            .map(|server| Responder::start(server, &[listen], server.name()))
            .collect::<Result<Vec<_>>>()?;
        let mut stage = Stage {
            ipvsd: &self.ipvsd,
            contestant,
            lab: &lab,
            vip: SocketAddr::new(vip, 80),
            table: lab.director(0).in_namespace(Table::connect)??,
            generation: 0,
            daemon: None,
            long: Vec::new(),
        };
        stage.write_file()?;
        stage.start()?;
        stage.settle()?;
        let mut lost: BTreeMap<Blow, Lost> = BTreeMap::new();
        for _ in 0..self.rounds {
            for (blow, _) in BLOWS {
                let seen = stage.strike(blow)?;
                let sum = lost.entry(blow).or_default();
                sum.blows += 1;
                sum.attempts += seen.attempts;
                sum.failed += seen.failed;
                sum.long += seen.long;
            }
        }
        Ok(lost)
    }
}

/// One contestant with its clients and servers.
struct Stage<'s> {
    ipvsd: &'s str,
    contestant: Contestant,
    lab: &'s Lab,
    vip: SocketAddr,
    table: Table,
    generation: u32,
    daemon: Option<Running>,
    long: Vec<Connection>,
}

impl Stage<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.lab.director(0).directory().join(name)
    }

    /// The servers with their weights, all of which are others in each generation.
    fn servers(&self) -> BTreeMap<IpAddr, u32> {
        let weight = |index: usize| 1 + (u32::try_from(index).unwrap_or(0) + self.generation) % 5;
        let servers = self.lab.real_servers().into_iter().enumerate();
        servers
            .map(|(index, server)| (server.address4(Segment::Server).into(), weight(index)))
            .collect()
    }

    fn write_file(&self) -> Result<()> {
        let (vip, port) = (self.vip.ip(), self.vip.port());
        let mut text;
        match self.contestant {
            Contestant::Ipvsd => {
                text = format!(
                    "[[virtual_server]]\nname = \"web\"\naddress = \"{vip}:{port}\"\nscheduler = \"wrr\"\n\
                     forward = \"nat\"\ncheck = [{{ type = \"tcp\", interval = \"1s\" }}]\n"
                );
                for (address, weight) in self.servers() {
                    text += &format!("[[virtual_server.real_server]]\naddress = \"{address}:80\"\nweight = {weight}\n");
                }
            }
            Contestant::Keepalived => {
                text = format!(
                    "global_defs {{\n router_id lab\n}}\nvirtual_server {vip} {port} {{\n delay_loop 1\n lb_algo wrr\n \
                     lb_kind NAT\n protocol TCP\n"
                );
                for (address, weight) in self.servers() {
                    text += &format!(
                        " real_server {address} 80 {{\n  weight {weight}\n  TCP_CHECK {{\n   connect_timeout 1\n  }}\n }}\n"
                    );
                }
                text += "}\n";
            }
        }
        fs::write(self.path("daemon.conf"), text).context("cannot write the file")
    }

    fn start(&mut self) -> Result<()> {
        let (file, run) = (self.path("daemon.conf"), self.path("run"));
        let mut command;
        match self.contestant {
            Contestant::Ipvsd => {
                command = Command::new(self.ipvsd);
                command.args(["run", "--run-dir"]).arg(run).arg("-c").arg(file);
            }
            Contestant::Keepalived => {
                let pids = |name: &str| self.path(name);
                command = Command::new("keepalived");
                command.args(["-C", "-n", "-S", "0", "-f"]).arg(file);
                command
                    .arg("-p")
                    .arg(pids("keepalived.pid"))
                    .arg("-c")
                    .arg(pids("checkers.pid"));
            }
        }
        let running = self.lab.director(0).in_namespace(move || Running::start(command))??;
        self.daemon = Some(running);
        Ok(())
    }

    /// Waits until the table is the file's.
    fn settle(&mut self) -> Result<()> {
        let wanted = self.servers();
        let service = ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: self.vip.ip(),
            port: self.vip.port(),
        };
        let table = &mut self.table;
        wait(|| {
            let found = table.destinations(&service)?;
            let found: BTreeMap<_, _> = found
                .iter()
                .map(|found| (found.key.address, found.spec.weight))
                .collect();
            Ok(found == wanted)
        })
    }

    fn strike(&mut self, blow: Blow) -> Result<Lost> {
        let client = Client::new(self.lab.client(0));
        while self.long.len() < LONG_ONES {
            self.long.push(client.open(self.vip).context("a long connection")?);
        }
        let most = Duration::from_secs(300);
        let prober = Prober::start(self.lab.client(0), self.vip, EVERY, PATIENCE, most)?;
        thread::sleep(SETTLE);
        match blow {
            Blow::Reload => {
                self.generation += 1;
                self.write_file()?;
                self.daemon.as_ref().context("no daemon")?.signal(Signal::SIGHUP)?;
            }
            Blow::Restart | Blow::Kill => {
                let daemon = self.daemon.take().context("no daemon")?;
                daemon.end(match blow {
                    Blow::Kill => Signal::SIGKILL,
                    Blow::Restart | Blow::Reload => Signal::SIGTERM,
                })?;
                self.start()?;
            }
        }
        // The table as it was is right too; a new process may not have touched it yet.
        thread::sleep(SETTLE);
        self.settle()?;
        thread::sleep(SETTLE);
        let report = prober.stop()?;
        let is_open = |connection: &mut Connection| connection.send().is_ok() && connection.is_open();
        let before = self.long.len();
        // What is sent has to have gone there, and a refusal back.
        self.long.retain_mut(|connection| connection.send().is_ok());
        thread::sleep(Duration::from_millis(500));
        self.long.retain_mut(is_open);
        Ok(Lost {
            blows: 1,
            attempts: report.attempts.len(),
            failed: report.failures().len(),
            long: before - self.long.len(),
        })
    }
}

/// A daemon with all processes that it starts: a group of its own.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.process_group(0).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {command:?}"))?))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).context("the daemon has ended")
    }

    /// Ends it, and returns when it is gone.
    pub(super) fn end(mut self, signal: Signal) -> Result<()> {
        match signal {
            // A service manager kills the whole of it.
            Signal::SIGKILL => nix::sys::signal::killpg(self.pid(), signal).context("the daemon has ended")?,
            other => self.signal(other)?,
        }
        let end = Instant::now() + super::PATIENCE;
        while self.0.try_wait().context("cannot wait")?.is_none() {
            anyhow::ensure!(Instant::now() < end, "the daemon does not end");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and its children with it.
        let _ = nix::sys::signal::killpg(self.pid(), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}
