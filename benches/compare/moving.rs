//! What a client notices of a virtual address that moves, and what virtual routers cost: a pair of ipvsd, then a pair of
//! keepalived.
//!
//! The directors answer by themselves, so that nothing but the address moves. A client starts a connection every 10 ms,
//! whatever became of the ones before, and the longest stretch is counted in which none that was started has succeeded:
//! 10 ms are none at all.

use std::fmt::Write as _;
use std::fs;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipvsd_lab::{Client, Host, Lab, Prober, Responder, Segment, Topology, Wish};
use nix::net::if_::if_nametoindex;
use nix::sys::signal::Signal;
use nix::unistd::gettid;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::lost::{Contestant, Running};
use super::packets::{Packet, Packets};
use super::probes::processor_time;
use super::{Bench, Row, median, milliseconds, ratio, run, wait};

const EVERY: Duration = Duration::from_millis(10);
/// An attempt that is not answered in it has failed.
const PATIENCE: Duration = Duration::from_millis(900);
/// A client that starts nothing for so long stood still itself.
const STANDSTILL: Duration = Duration::from_millis(100);
/// How often a round is run until the client did not stand still.
const TRIES: u32 = 3;
/// What is counted begins so long before the blow.
const BEFORE: Duration = Duration::from_millis(100);
const PRIORITIES: [u8; 2] = [150, 100];
const MANY: u8 = 255;
/// Adverts of many are counted for so long.
const COUNTED: Duration = Duration::from_secs(20);

/// What happens to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// SIGKILL to its processes.
    Killed,
    /// Its cable is pulled, and the same in that instant.
    Dead,
    /// SIGTERM.
    Stopped,
}

const BLOWS: [(Blow, &str, &str); 3] = [
    (Blow::Killed, "the daemon killed", "none"),
    (
        Blow::Dead,
        "the host dead",
        "at most 2 to 3 adverts, the skew and 20 ms",
    ),
    (Blow::Stopped, "a clean stop", "at most 20 ms"),
];

/// What was seen of one contestant in all rounds.
#[derive(Default)]
struct Seen {
    /// The longest stretch of each, for each blow.
    stretches: [Vec<Duration>; 3],
    /// From the last advert of a host that then died to the first announcement of the other one.
    silences: Vec<Duration>,
}

/// What was seen of one blow.
struct Struck {
    stretch: Duration,
    silence: Option<Duration>,
}

impl Bench {
    /// How long nobody answers when the address moves.
    pub(super) fn moving(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for advert in [1000, 100, 20].map(Duration::from_millis) {
            let ours = self.blows(Contestant::Ipvsd, advert)?;
            let theirs = self.blows(Contestant::Keepalived, advert)?;
            let stretches = ours.stretches.iter().zip(&theirs.stretches);
            for ((_, blow, target), (ours, theirs)) in BLOWS.into_iter().zip(stretches) {
                let shown = |rounds| middle_and_most(rounds, milliseconds);
                rows.push(Row {
                    what: format!(
                        "a virtual address, adverts every {} ms, {blow}: nobody answers for",
                        advert.as_millis()
                    ),
                    ours: shown(ours),
                    peer: format!("{} (keepalived)", shown(theirs)),
                    ratio: format!("{:.2} × as long", ratio(median(ours.clone()), median(theirs.clone()))),
                    target: target.to_owned(),
                });
            }
            let tenths = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
            let shown = |silences| middle_and_most(silences, tenths);
            rows.push(Row {
                what: format!(
                    "a virtual address, adverts every {} ms, the host dead: from its last advert to the other's announcement",
                    advert.as_millis()
                ),
                ours: shown(&ours.silences),
                peer: format!("{} (keepalived)", shown(&theirs.silences)),
                ratio: format!("{:.3} × as long", ratio(median(ours.silences), median(theirs.silences))),
                target: "at most 1 ×".to_owned(),
            });
        }
        Ok(rows)
    }

    fn blows(&self, contestant: Contestant, advert: Duration) -> Result<Seen> {
        let lab = Topology::one_segment().directors(2).real_servers(0).build("moving")?;
        let listen = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80);
        let _servers = [0, 1]
            .into_iter()
            .map(|index| Responder::start(lab.director(index), &[listen], lab.director(index).name()))
            .collect::<Result<Vec<_>>>()?;
        let mut pair = Pair {
            ipvsd: &self.ipvsd,
            contestant,
            advert,
            lab: &lab,
            daemons: [None, None],
        };
        pair.start(1)?;
        pair.start(0)?;
        let mut all = Seen::default();
        for round in 0..self.rounds {
            // At what time between two adverts it happens counts for as much as an interval: for both alike.
            let after = advert * u32::try_from(2 * round + 1)? / u32::try_from(2 * self.rounds)?;
            for ((blow, ..), stretches) in BLOWS.into_iter().zip(&mut all.stretches) {
                // A client that stood still itself says nothing of the others.
                let round = (0..TRIES).find_map(|_| pair.settle().and_then(|()| pair.strike(blow, after)).transpose());
                let struck = round.context("the client stands still again and again")??;
                stretches.push(struck.stretch);
                all.silences.extend(struck.silence);
            }
        }
        Ok(all)
    }

    /// What 255 masters on one interface cost.
    pub(super) fn many(&self) -> Result<Vec<Row>> {
        let cost = |contestant| -> Result<Duration> {
            let lab = Topology::one_segment().real_servers(0).build("many")?;
            let director = lab.director(0);
            let text: String = (1..=MANY)
                .map(|number| {
                    let address = Ipv4Addr::new(198, 18, 0, number).into();
                    instance(contestant, director, number, 150, Duration::from_secs(1), address)
                })
                .collect();
            let daemon = start(contestant, &self.ipvsd, director, &text)?;
            let last = Ipv4Addr::new(198, 18, 0, MANY).into();
            wait(|| Ok(has(director, last)))?;
            // The second burst of announcements has gone by then.
            thread::sleep(Duration::from_secs(10));
            let before = processor_time(daemon.id())?;
            thread::sleep(COUNTED);
            Ok(processor_time(daemon.id())?.saturating_sub(before))
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds.min(3) {
            ours.push(cost(Contestant::Ipvsd)?);
            theirs.push(cost(Contestant::Keepalived)?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        Ok(vec![Row {
            what: format!("{MANY} virtual routers that are master, adverts every second: CPU in 20 s"),
            ours: milliseconds(ours),
            peer: format!("{} (keepalived)", milliseconds(theirs)),
            ratio: format!("{:.2} × as much", ratio(ours, theirs)),
            target: "at most 1 ×".to_owned(),
        }])
    }
}

/// Two directors and who asks for their address.
struct Pair<'p> {
    ipvsd: &'p str,
    contestant: Contestant,
    advert: Duration,
    lab: &'p Lab,
    daemons: [Option<Running>; 2],
}

impl Pair<'_> {
    fn vip(&self) -> IpAddr {
        self.lab.vip4(0).into()
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let director = self.lab.director(index);
        let text = instance(
            self.contestant,
            director,
            51,
            PRIORITIES[index],
            self.advert,
            self.vip(),
        );
        self.daemons[index] = Some(start(self.contestant, self.ipvsd, director, &text)?);
        Ok(())
    }

    /// Waits until the first director alone has the address, and the client knows.
    fn settle(&self) -> Result<()> {
        let holds = |index| has(self.lab.director(index), self.vip());
        wait(|| Ok(holds(0) && !holds(1)))?;
        let (client, first) = (Client::new(self.lab.client(0)), self.lab.director(0));
        client.wait_for_answer(SocketAddr::new(self.vip(), 80), first.name(), super::PATIENCE)?;
        // Late announcements have gone by then.
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Strikes so long after an advert. Answers with nothing where the client stood still; afterwards the first director is
    /// there again.
    fn strike(&mut self, blow: Blow, after: Duration) -> Result<Option<Struck>> {
        let most = Duration::from_secs(60);
        let address = SocketAddr::new(self.vip(), 80);
        let client = self.lab.client(0);
        let prober = before_others(|| Prober::wishing(Wish::Connection, client, address, EVERY, PATIENCE, most))?;
        thread::sleep(Duration::from_millis(500));
        let daemon = self.daemons[0].take().context("no daemon")?;
        let first = self.lab.director(0);
        let watch = || {
            anyhow::Ok((
                Packets::watch(&Packets::ADVERTS)?,
                Packets::watch(&Packets::ANNOUNCEMENTS)?,
            ))
        };
        let (adverts, announcements) = client.in_namespace(watch)??;
        wait_for_advert(client)?;
        thread::sleep(after);
        let struck = Instant::now();
        let ends = match blow {
            Blow::Killed => daemon.end(Signal::SIGKILL),
            Blow::Dead => {
                // In this order: its kernel goes on for as long as it takes to pull the cable.
                first.link_down(Segment::Client)?;
                daemon.end(Signal::SIGKILL)
            }
            Blow::Stopped => daemon.end(Signal::SIGTERM),
        };
        ends?;
        thread::sleep(self.advert * 4 + Duration::from_secs(1));
        // What this program itself started before is not counted.
        let report = prober.stop()?.since(struck - BEFORE);
        ensure!(has(self.lab.director(1), self.vip()), "nobody has taken over");
        let mut silence = None;
        if blow == Blow::Dead {
            silence = Some(self.silence(adverts.all()?, announcements.all()?)?);
            // It comes back as a host that was started anew.
            // Its daemon may have seen that the cable is gone.
            if has(first, self.vip()) {
                let vip = format!("address delete {}/24 dev {}", self.vip(), first.device(Segment::Client));
                first.ip(&[&vip])?;
            }
            first.link_up(Segment::Client)?;
        }
        self.start(0)?;
        let stretch = report.longest_gap();
        Ok((report.longest_pause() <= STANDSTILL).then_some(Struck { stretch, silence }))
    }

    /// From the last advert of the first director to the first announcement of the second.
    fn silence(&self, adverts: Vec<Packet>, announcements: Vec<Packet>) -> Result<Duration> {
        let first = self.lab.director(0).address4(Segment::Client);
        let last = adverts
            .iter()
            .filter(|advert| advert.source() == first)
            .map(|advert| advert.at)
            .max();
        let last = last.context("no advert of the first director has come in")?;
        // One of its own would not be later than its next advert.
        let mut after = announcements.iter().filter(|packet| packet.at > last + self.advert);
        let announced = after.find(|packet| packet.announced() == self.vip());
        Ok(announced.context("the second director has announced nothing")?.at - last)
    }
}

fn middle_and_most(times: &[Duration], shown: impl Fn(Duration) -> String) -> String {
    let most = times.iter().max().copied().unwrap_or_default();
    format!("{}, at most {}", shown(median(times.to_vec())), shown(most))
}

/// The threads that are started in it run before all others: on one processor a client that is late itself would look like
/// an address that nobody answers for.
fn before_others<T>(start: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = gettid().to_string();
    let schedule = |policy, priority| run(Command::new("chrt").args([policy, "--pid", priority, own.as_str()]));
    schedule("--fifo", "1")?;
    let started = start();
    schedule("--other", "0")?;
    started
}

/// Returns when the master's next advert comes in.
fn wait_for_advert(client: &Host) -> Result<()> {
    let (vrrp, group) = (Protocol::from(112), Ipv4Addr::new(224, 0, 0, 18));
    client.in_namespace(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(vrrp)).context("cannot listen for adverts")?;
        let index = if_nametoindex(client.device(Segment::Client)).context("the client has no interface")?;
        let joined = socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index));
        joined.context("cannot listen for adverts")?;
        socket
            .set_read_timeout(Some(super::PATIENCE))
            .context("cannot listen for adverts")?;
        let heard = socket.recv(&mut [MaybeUninit::uninit(); 128]);
        heard.context("no advert comes in").map(drop)
    })?
}

/// An instance in the words of a contestant.
fn instance(
    contestant: Contestant,
    director: &Host,
    number: u8,
    priority: u8,
    advert: Duration,
    address: IpAddr,
) -> String {
    let device = director.device(Segment::Client);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match contestant {
        Contestant::Ipvsd => writeln!(
            text,
            "[[vrrp_instance]]\nname = \"VI_{number}\"\ninterface = \"{device}\"\nvirtual_router_id = {number}\n\
             priority = {priority}\nadvert_int = \"{}ms\"\nvirtual_address = [\"{address}/24\"]",
            advert.as_millis()
        ),
        Contestant::Keepalived => writeln!(
            text,
            "vrrp_instance VI_{number} {{\nstate BACKUP\ninterface {device}\nvirtual_router_id {number}\nversion 3\n\
             priority {priority}\nadvert_int {}\nvirtual_ipaddress {{\n{address}/24\n}}\n}}",
            advert.as_secs_f64()
        ),
    };
    text
}

fn start(contestant: Contestant, ipvsd: &str, director: &Host, instances: &str) -> Result<Running> {
    let path = |name: &str| director.directory().join(name);
    let (file, run) = (path("daemon.conf"), path("run"));
    let (text, mut command) = match contestant {
        Contestant::Ipvsd => {
            let mut command = Command::new(ipvsd);
            command.args(["run", "--run-dir"]).arg(run).arg("-c").arg(&file);
            (format!("virtual_server = []\n{instances}"), command)
        }
        Contestant::Keepalived => {
            let mut command = Command::new("keepalived");
            command.args(["-P", "-n", "-S", "0", "-f"]).arg(&file);
            command
                .arg("-p")
                .arg(path("keepalived.pid"))
                .arg("-r")
                .arg(path("vrrp.pid"));
            (format!("global_defs {{\nrouter_id lab\n}}\n{instances}"), command)
        }
    };
    fs::write(&file, text).context("cannot write the file")?;
    command.current_dir("/");
    director.in_namespace(move || Running::start(command))?
}

/// Whether an address is on the director.
fn has(director: &Host, address: IpAddr) -> bool {
    let found = director.exec_ok(&["ip", "-o", "address", "show"]);
    found.is_ok_and(|found| found.contains(&format!(" {address}/")))
}
