//! A daemon that runs: what it costs to watch a table that does not change, and how soon a new file is in the kernel.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipvsd::ipvs::Client;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

use super::probes::processor_time;
use super::{
    Bench, DESTINATIONS, Daemon, Keepalived, Row, in_new_namespace, median, milliseconds, ratio, service, toml, wait,
    whole_process,
};

const SERVICES: usize = 1000;
/// Between two looks at the table; the default.
const INTERVAL: Duration = Duration::from_secs(5);
const LOOKS: u32 = 8;
/// Until what follows a start or a reload is over altogether.
const SETTLE: Duration = Duration::from_secs(6);

/// Who is in which pool before and after a reload.
#[derive(Clone, Copy)]
struct Layout {
    services: usize,
    destinations: usize,
    /// Of each pool so many of ten are others after the reload.
    replaced: usize,
}

impl Layout {
    fn servers(self, index: usize, generation: usize) -> impl Iterator<Item = IpAddr> {
        (0..self.destinations).map(move |n| {
            let replaced = n % 10 < self.replaced;
            // Each generation has a network of its own for those.
            let network = if replaced { 1 + generation } else { 0 };
            let number = index * self.destinations + n;
            let offset = u32::try_from((network << 16) + number).unwrap_or(0);
            Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + offset).into()
        })
    }

    fn toml(self, generation: usize) -> String {
        let mut text = String::new();
        for index in 0..self.services {
            let vip = service(index).to_string().replace("tcp ", "");
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "[[virtual_server]]\nname = \"s{index}\"\naddress = \"{vip}\"\nscheduler = \"rr\"\nforward = \"nat\"\n"
            );
            for address in self.servers(index, generation) {
                let _ = write!(text, "[[virtual_server.real_server]]\naddress = \"{address}:80\"\n");
            }
        }
        text
    }

    fn keepalived(self, generation: usize) -> String {
        let mut text = String::new();
        for index in 0..self.services {
            let vip = service(index).to_string().replace("tcp ", "").replace(':', " ");
            let _ = writeln!(
                text,
                "virtual_server {vip} {{\n delay_loop 10\n lvs_sched rr\n lvs_method NAT\n protocol TCP"
            );
            for address in self.servers(index, generation) {
                let _ = writeln!(text, " real_server {address} 80 {{\n  weight 1\n }}");
            }
            text.push_str("}\n");
        }
        text
    }

    /// Whether the first and the last pool are those of a generation, no more and no less. Both contestants work
    /// through the pools in their order.
    fn is_in_force(self, client: &mut Client, generation: usize) -> Result<bool> {
        for index in [self.services - 1, 0] {
            let found = client.destinations(&service(index))?;
            let found: BTreeSet<_> = found.iter().map(|found| found.key.address).collect();
            if found != self.servers(index, generation).collect() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Bench {
    /// A look at 1000 × 10 with nothing to do, beside listing it.
    pub(super) fn watching(&self) -> Result<Vec<Row>> {
        in_new_namespace(|| {
            let config = self.file("watching.toml", &toml(SERVICES, "", 1))?;
            let daemon = self.running(&config)?;
            let mut client = Client::connect()?;
            wait(|| Ok(client.destinations(&service(SERVICES - 1))?.len() == DESTINATIONS))?;
            thread::sleep(SETTLE);
            let used = processor_time(daemon.0.id())?;
            thread::sleep(INTERVAL * LOOKS);
            let ours = processor_time(daemon.0.id())?.saturating_sub(used) / LOOKS;
            let mut listing = vec![];
            for _ in 0..self.rounds {
                let before = of_children()?;
                whole_process(Command::new("ipvsadm").arg("-Ln"))?;
                listing.push(of_children()?.saturating_sub(before));
            }
            let theirs = median(listing);
            Ok(vec![Row {
                what: "watching a table that does not change: CPU of one look, every 5 s".to_owned(),
                ours: milliseconds(ours),
                peer: format!("{} (CPU of `ipvsadm -Ln`)", milliseconds(theirs)),
                ratio: format!("{:.3} × as much", ratio(ours, theirs)),
                target: "at most 0.1 ×".to_owned(),
            }])
        })
    }

    /// From the signal to the changed table.
    pub(super) fn reload(&self) -> Result<Vec<Row>> {
        let replaced = Layout {
            services: 100,
            destinations: 100,
            replaced: 1,
        };
        let one = self.reload_of(
            "1000 × 10 with one weight changed",
            |generation| {
                (
                    toml(SERVICES, "", weight(generation)),
                    super::keepalived_conf(SERVICES, "", weight(generation)),
                )
            },
            |client, generation| {
                let found = client.destinations(&service(0))?;
                let first = super::server(0, 0);
                let is_it = |address: IpAddr, of: u32| address == first && of == weight(generation);
                Ok(found.iter().any(|found| is_it(found.key.address, found.spec.weight)))
            },
        )?;
        let tenth = self.reload_of(
            "100 × 100 with a tenth of the servers replaced",
            |generation| (replaced.toml(generation), replaced.keepalived(generation)),
            |client, generation| replaced.is_in_force(client, generation),
        )?;
        Ok(vec![one, tenth])
    }

    /// `texts` has the files of each generation, ours and keepalived's; `in_force` sees whether one is in the kernel.
    fn reload_of(
        &self,
        what: &str,
        texts: impl Fn(usize) -> (String, String) + Sync,
        in_force: impl Fn(&mut Client, usize) -> Result<bool> + Sync,
    ) -> Result<Row> {
        let measure = |file: &Path, text: &dyn Fn(usize) -> String, reload: &dyn Fn() -> Result<()>| {
            let mut client = Client::connect()?;
            wait(|| in_force(&mut client, 0))?;
            let mut times = vec![];
            for generation in 1..=self.rounds {
                thread::sleep(SETTLE);
                fs::write(file, text(generation)).context("cannot write the file")?;
                let started = Instant::now();
                reload()?;
                wait(|| in_force(&mut client, generation))?;
                times.push(started.elapsed());
            }
            Ok::<_, anyhow::Error>(median(times))
        };
        let ours = in_new_namespace(|| {
            let file = self.file("reload.toml", &texts(0).0)?;
            let daemon = self.running(&file)?;
            let pid = Pid::from_raw(daemon.0.id().cast_signed());
            let hang_up = || kill(pid, Signal::SIGHUP).context("ipvsd has ended");
            measure(&file, &|generation| texts(generation).0, &hang_up)
        })?;
        let keepalived = in_new_namespace(|| {
            let file = self.file("keepalived.conf", &texts(0).1)?;
            let daemon = Keepalived::start(&file, &self.work)?;
            measure(&file, &|generation| texts(generation).1, &|| {
                daemon.signal(Signal::SIGHUP)
            })
        })?;
        Ok(Row {
            what: format!("reload of {what}, from SIGHUP to the changed table"),
            ours: milliseconds(ours),
            peer: format!("{} (keepalived)", milliseconds(keepalived)),
            ratio: format!("{:.1} × faster", ratio(keepalived, ours)),
            target: "3 ×".to_owned(),
        })
    }

    pub(super) fn running(&self, config: &Path) -> Result<Daemon> {
        let mut command = Command::new(&self.ipvsd);
        command
            .args(["run", "--run-dir"])
            .arg(self.work.join("run"))
            .arg("-c")
            .arg(config);
        let child = command.stderr(Stdio::null()).spawn().context("cannot start ipvsd")?;
        Ok(Daemon(child))
    }
}

fn weight(generation: usize) -> u32 {
    if generation % 2 == 1 { 7 } else { 1 }
}

/// The processor time of all children that have ended.
fn of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for the time of children")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}
