//! ipvsd beside its peers, in one boot: `benches/run` starts this inside a guest of the lab, and gathers the rows.
//!
//! Each round has a new network namespace, because a destination that is added again within two minutes of its removal
//! searches the kernel's trash list. Contestants take turns round by round; medians are compared. Nothing is asserted:
//! the table says what was wanted and what was reached.

#![allow(clippy::print_stdout, reason = "printing is what a measurement is for")]

mod lost;
mod moving;
mod packets;
mod probes;
mod running;

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipvsd::ipvs::encode::{self, Request};
use ipvsd::ipvs::{Client, decode};
use ipvsd::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, Protocol, Scheduler, ServiceKey, ServiceSpec, Step,
};
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DESTINATIONS: usize = 10;
/// Every virtual server has a check, as in a file that somebody uses.
const CHECKED: &str = "check = [\"up\"]";
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    // `cargo test --benches` runs every bench once to see that it starts.
    let Some(ipvsd) = arguments.next().filter(|argument| !argument.starts_with("--")) else {
        println!("run benches/run");
        return Ok(());
    };
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let wanted: Vec<_> = arguments.collect();
    let bench = Bench {
        ipvsd,
        rounds,
        work: std::env::temp_dir(),
    };
    if let Some(unknown) = wanted.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        let parts = PARTS.map(|(part, _)| part).join(", ");
        bail!("there is no part {unknown} (there are {parts})");
    }
    for (part, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|name| name == part) {
            for row in measure(&bench)? {
                println!("{row}");
            }
        }
    }
    Ok(())
}

/// One part of the measurements, which may be run without the others.
type Part = (&'static str, fn(&Bench) -> Result<Vec<Row>>);

const PARTS: [Part; 12] = [
    ("programming", Bench::programming),
    ("drop-in", Bench::drop_in),
    ("one-weight", Bench::one_weight),
    ("growth", Bench::growth),
    ("watching", Bench::watching),
    ("reload", Bench::reload),
    ("probes", Bench::probes),
    ("failures", Bench::failures),
    ("lost", Bench::lost),
    ("moving", Bench::moving),
    ("many", Bench::many),
    ("adverts", Bench::adverts),
];

struct Bench {
    ipvsd: String,
    rounds: usize,
    work: PathBuf,
}

/// One line of the results.
struct Row {
    what: String,
    ours: String,
    peer: String,
    ratio: String,
    target: String,
}

impl Row {
    /// Two whole processes beside each other, by the medians of their times.
    fn faster(what: &str, ours: Vec<Duration>, (peer, theirs): (&str, Vec<Duration>), target: &str) -> Self {
        let (ours, theirs) = (median(ours), median(theirs));
        Self {
            what: format!("{what}, whole process"),
            ours: milliseconds(ours),
            peer: format!("{} ({peer})", milliseconds(theirs)),
            ratio: format!("{:.1} × faster", ratio(theirs, ours)),
            target: target.to_owned(),
        }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "| {} | {} | {} | {} | {} |",
            self.what, self.ours, self.peer, self.ratio, self.target
        )
    }
}

fn service(n: usize) -> ServiceKey {
    let (host, port) = (n % 200 + 1, n / 200 + 1000);
    let address = Ipv4Addr::new(203, 0, 113, u8::try_from(host).unwrap_or(0));
    ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: address.into(),
        port: u16::try_from(port).unwrap_or(0),
    }
}

fn server(service: usize, n: usize) -> IpAddr {
    let offset = u32::try_from(service * DESTINATIONS + n).unwrap_or(0);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + offset).into()
}

fn spec() -> ServiceSpec {
    ServiceSpec::new(Scheduler::Rr, Family::Inet)
}

fn steps(services: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for index in 0..services {
        steps.push(Step::AddService {
            service: service(index),
            spec: spec(),
        });
        steps.extend((0..DESTINATIONS).map(|n| Step::AddDestination {
            service: service(index),
            destination: DestinationKey::new(server(index, n), 80),
            spec: DestinationSpec::new(Forwarding::Nat, 1),
        }));
    }
    steps
}

fn rules(services: usize) -> String {
    let mut text = String::new();
    for index in 0..services {
        let vip = service(index).to_string().replace("tcp ", "");
        let _ = writeln!(text, "-A -t {vip} -s rr");
        for n in 0..DESTINATIONS {
            let _ = writeln!(text, "-a -t {vip} -r {}:80 -m -w 1", server(index, n));
        }
    }
    text
}

fn toml(services: usize, check: &str, first_weight: u32) -> String {
    let mut text = String::from("[check.up]\ntype = \"tcp\"\n\n");
    if check != CHECKED {
        text.clear();
    }
    for index in 0..services {
        let vip = service(index).to_string().replace("tcp ", "");
        let _ = write!(
            text,
            "[[virtual_server]]\nname = \"s{index}\"\naddress = \"{vip}\"\nscheduler = \"rr\"\nforward = \"nat\"\n{check}\n"
        );
        for n in 0..DESTINATIONS {
            let weight = if index == 0 && n == 0 { first_weight } else { 1 };
            let address = server(index, n);
            let _ = write!(
                text,
                "[[virtual_server.real_server]]\naddress = \"{address}:80\"\nweight = {weight}\n"
            );
        }
    }
    text
}

fn keepalived_conf(services: usize, check: &str, first_weight: u32) -> String {
    let mut text = String::new();
    for index in 0..services {
        let vip = service(index).to_string().replace("tcp ", "").replace(':', " ");
        let _ = writeln!(
            text,
            "virtual_server {vip} {{\n delay_loop 10\n lvs_sched rr\n lvs_method NAT\n protocol TCP"
        );
        for n in 0..DESTINATIONS {
            let weight = if index == 0 && n == 0 { first_weight } else { 1 };
            let _ = writeln!(
                text,
                " real_server {} 80 {{\n  weight {weight}\n{check} }}",
                server(index, n)
            );
        }
        text.push_str("}\n");
    }
    text
}

/// How long the kernel may take to forget a namespace whose table is empty.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// Runs work on a thread of its own in a new network namespace with `lo` up, and leaves nothing of it: while the kernel
/// takes a full table apart, whoever comes next would pay, and `/proc/net/ip_vs` passes over services of one namespace
/// for each that another has.
fn in_new_namespace<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let enter = || {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let result = work();
        Client::connect()?.flush().context("cannot empty the table")?;
        result
    };
    let result = thread::scope(|scope| scope.spawn(enter).join()).map_err(|_| anyhow::anyhow!("a round panicked"))?;
    thread::sleep(FORGOTTEN);
    result
}

fn run(command: &mut Command) -> Result<()> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// How long a program takes from start to exit, its output thrown away.
fn whole_process(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    let took = started.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1000.0)
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

impl Bench {
    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.work.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn apply(&self, config: &Path) -> Command {
        let mut command = Command::new(&self.ipvsd);
        command
            .args(["apply", "--run-dir"])
            .arg(self.work.join("run"))
            .arg("-c")
            .arg(config);
        command
    }

    /// 1000 × 10 from an empty table: ipvsadm, the netlink part, its floor, the whole of `apply`.
    fn programming(&self) -> Result<Vec<Row>> {
        let rules = self.file("rules", &rules(1000))?;
        let config = self.file("full.toml", &toml(1000, CHECKED, 1))?;
        let steps = steps(1000);
        let (mut restore, mut netlink, mut floor, mut apply) = (vec![], vec![], vec![], vec![]);
        for _ in 0..self.rounds {
            restore.push(in_new_namespace(|| {
                let input = fs::File::open(&rules).context("cannot read the rules")?;
                whole_process(Command::new("ipvsadm").arg("-R").stdin(input))
            })?);
            netlink.push(in_new_namespace(|| program(&steps))?);
            floor.push(in_new_namespace(|| raw(&steps))?);
            apply.push(in_new_namespace(|| whole_process(&mut self.apply(&config)))?);
        }
        let (restore, netlink, floor, apply) = (median(restore), median(netlink), median(floor), median(apply));
        let against = format!("{} (`ipvsadm -R`)", milliseconds(restore));
        Ok(vec![
            Row {
                what: "programming an empty table, the netlink part".to_owned(),
                ours: milliseconds(netlink),
                peer: against.clone(),
                ratio: format!("{:.1} × faster", ratio(restore, netlink)),
                target: "20 ×".to_owned(),
            },
            Row {
                what: "the same beside its floor: messages encoded beforehand".to_owned(),
                ours: milliseconds(netlink),
                peer: format!("{} (floor)", milliseconds(floor)),
                ratio: format!("{:.2} × the floor", ratio(netlink, floor)),
                target: "at most 1.5 ×".to_owned(),
            },
            Row {
                what: "`ipvsd apply` to an empty table, whole process".to_owned(),
                ours: milliseconds(apply),
                peer: against,
                ratio: format!("{:.1} × faster", ratio(restore, apply)),
                target: "9 ×, aim 15 ×".to_owned(),
            },
        ])
    }

    /// The ipvsadm verb beside ipvsadm: restoring into an empty table, saving and listing it.
    fn drop_in(&self) -> Result<Vec<Row>> {
        let rules = self.file("rules", &rules(1000))?;
        let restore = |command: &mut Command| {
            in_new_namespace(|| {
                let input = fs::File::open(&rules).context("cannot read the rules")?;
                whole_process(command.arg("-R").stdin(input))
            })
        };
        let (mut original, mut ours) = (vec![], vec![]);
        for _ in 0..self.rounds {
            original.push(restore(&mut Command::new("ipvsadm"))?);
            ours.push(restore(Command::new(&self.ipvsd).arg("ipvsadm"))?);
        }
        let mut rows = vec![Row::faster(
            "`ipvsd ipvsadm -R`",
            ours,
            ("`ipvsadm -R`", original),
            "20 ×",
        )];
        let steps = steps(1000);
        rows.extend(in_new_namespace(|| {
            program(&steps)?;
            let views: [(&[&str], &str, &str, &str); 3] = [
                (&["list", "-n"], "`ipvsd list -n`", "-Ln", "4 ×, aim 6 ×"),
                (&["ipvsadm", "-Ln"], "`ipvsd ipvsadm -Ln`", "-Ln", "4 ×, aim 6 ×"),
                (&["ipvsadm", "-Sn"], "`ipvsd ipvsadm -Sn`", "-Sn", "4 ×, aim 6 ×"),
            ];
            let mut rows = vec![];
            for (arguments, what, option, target) in views {
                let (mut original, mut ours) = (vec![], vec![]);
                for _ in 0..self.rounds {
                    original.push(whole_process(Command::new("ipvsadm").arg(option))?);
                    ours.push(whole_process(Command::new(&self.ipvsd).args(arguments))?);
                }
                rows.push(Row::faster(
                    what,
                    ours,
                    (&format!("`ipvsadm {option}`"), original),
                    target,
                ));
            }
            Ok(rows)
        })?);
        Ok(rows)
    }

    /// One weight differs: `apply` as a whole process beside keepalived from signal to changed table.
    fn one_weight(&self) -> Result<Vec<Row>> {
        let configs = [
            self.file("one.toml", &toml(1000, CHECKED, 1))?,
            self.file("two.toml", &toml(1000, CHECKED, 7))?,
        ];
        let ours = in_new_namespace(|| {
            whole_process(&mut self.apply(&configs[0]))?;
            (1..=self.rounds)
                .map(|round| whole_process(&mut self.apply(&configs[round % 2])))
                .collect::<Result<Vec<_>>>()
        })?;
        let keepalived = in_new_namespace(|| {
            let file = self.file("keepalived.conf", &keepalived_conf(1000, "", 1))?;
            let daemon = Keepalived::start(&file, &self.work)?;
            let mut client = Client::connect()?;
            wait(|| Ok(client.destinations(&service(999))?.len() == DESTINATIONS))?;
            let mut times = vec![];
            for round in 1..=self.rounds {
                // The reload of the round before has to be over altogether.
                thread::sleep(Duration::from_secs(5));
                let weight = if round % 2 == 1 { 7 } else { 1 };
                fs::write(&file, keepalived_conf(1000, "", weight)).context("cannot write keepalived's file")?;
                let started = Instant::now();
                daemon.signal(Signal::SIGHUP)?;
                let wanted = DestinationKey::new(server(0, 0), 80);
                wait(|| {
                    let found = client.destinations(&service(0))?;
                    Ok(found
                        .iter()
                        .any(|found| found.key == wanted && found.spec.weight == weight))
                })?;
                times.push(started.elapsed());
            }
            Ok(times)
        })?;
        let (ours, keepalived) = (median(ours), median(keepalived));
        Ok(vec![Row {
            what: "one weight changed: `ipvsd apply`, whole process".to_owned(),
            ours: milliseconds(ours),
            peer: format!("{} (keepalived, reload to changed table)", milliseconds(keepalived)),
            ratio: format!("{:.1} × faster", ratio(keepalived, ours)),
            target: "3 ×".to_owned(),
        }])
    }

    /// Ten times the entries, up to 100,000 destinations.
    fn growth(&self) -> Result<Vec<Row>> {
        let sizes = [100, 1000, 10_000];
        let mut medians = vec![];
        for services in sizes {
            let config = self.file("growth.toml", &toml(services, CHECKED, 1))?;
            let times = (0..self.rounds.min(3))
                .map(|_| in_new_namespace(|| whole_process(&mut self.apply(&config))))
                .collect::<Result<Vec<_>>>()?;
            medians.push(median(times));
        }
        Ok((1..sizes.len())
            .map(|index| Row {
                what: format!(
                    "`ipvsd apply` of {} destinations beside {}",
                    sizes[index] * DESTINATIONS,
                    sizes[index - 1] * DESTINATIONS
                ),
                ours: milliseconds(medians[index]),
                peer: milliseconds(medians[index - 1]),
                ratio: format!("{:.1} × the time", ratio(medians[index], medians[index - 1])),
                target: "at most 11 ×".to_owned(),
            })
            .collect())
    }
}

/// The netlink part alone: steps to outcomes.
fn program(steps: &[Step]) -> Result<Duration> {
    let mut client = Client::connect()?;
    let started = Instant::now();
    let outcomes = client.apply(steps);
    let took = started.elapsed();
    if let Some(Err(refusal)) = outcomes.into_iter().map(|outcome| outcome.result).find(Result::is_err) {
        bail!("{refusal}");
    }
    Ok(took)
}

/// The floor: the same messages, encoded beforehand, in the same batches, over a bare socket.
fn raw(steps: &[Step]) -> Result<Duration> {
    const WINDOW: usize = 128;
    let socket = NlSocket::connect(NlFamily::Generic, None, Groups::empty()).context("cannot open a socket")?;
    let mut buffer = vec![0; 64 << 10];
    let mut out = Vec::new();
    encode::family_request(&mut out, 1, "IPVS");
    socket.send(&out, Msg::empty()).context("cannot send")?;
    let (length, _) = socket.recv(&mut buffer, Msg::empty()).context("cannot receive")?;
    let family = decode::messages(&buffer[..length])
        .find_map(|message| match message.ok()?.body {
            decode::Body::Data(attributes) => decode::family_id(attributes).ok(),
            _ => None,
        })
        .context("no IPVS")?;
    socket.recv(&mut buffer, Msg::empty()).context("cannot receive")?;
    let datagrams: Vec<Vec<u8>> = steps
        .chunks(WINDOW)
        .map(|window| {
            let mut out = Vec::new();
            for (index, step) in window.iter().enumerate() {
                Request::from(step).encode(&mut out, family, 2, index + 1 == window.len());
            }
            out
        })
        .collect();
    let started = Instant::now();
    for datagram in &datagrams {
        socket.send(datagram, Msg::empty()).context("cannot send")?;
        socket.recv(&mut buffer, Msg::empty()).context("cannot receive")?;
    }
    Ok(started.elapsed())
}

fn wait(mut until: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !until()? {
        ensure!(Instant::now() < end, "waited {PATIENCE:?} in vain");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A program that is killed when the value goes.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Keepalived(Child);

impl Keepalived {
    /// Its checkers.
    fn start(file: &Path, work: &Path) -> Result<Self> {
        Self::start_with(&["-C"], file, work)
    }

    /// Its checkers and its virtual routers.
    fn start_all(file: &Path, work: &Path) -> Result<Self> {
        Self::start_with(&[], file, work)
    }

    fn start_with(options: &[&str], file: &Path, work: &Path) -> Result<Self> {
        let mut command = Command::new("keepalived");
        command.args(options).args(["-n", "-S", "0", "-f"]).arg(file);
        for (option, name) in [("-p", "keepalived.pid"), ("-c", "checkers.pid"), ("-r", "vrrp.pid")] {
            command.arg(option).arg(work.join(name));
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("cannot start keepalived")?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).context("keepalived has ended")
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // A stopping keepalived takes its table down; the namespace goes anyway.
        let _ = self.signal(Signal::SIGTERM);
        let _ = self.0.wait();
    }
}
