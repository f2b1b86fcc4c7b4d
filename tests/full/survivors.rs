//! A master that dies under open connections and a stream of new ones, in each way of forwarding: a pair of ipvsd and a
//! pair of Debian's keepalived, one after the other in the same kernel, with the kernel's sync daemons.

use std::net::{IpAddr, SocketAddr};
use std::thread::{self, sleep};
use std::time::Duration;

use ipvsd_lab::{
    Client, Connection, Forwarding, Host, Lab, Prober, Process, Responder, Segment, Topology, prepare_director_by_hand,
    prepare_real_server_by_hand, require_kernel, wait_until,
};
use nix::sys::signal::Signal;

use crate::beside_keepalived::keepalived_conf;
use crate::routers::{SOON, measured};
use crate::site::{Daemon, configure};

const OPEN: usize = 200;
const SERVERS: u8 = 2;
const PRIORITIES: [u8; 2] = [150, 100];
/// The kernel's own: a connection is sent with its third packet, and again with every fiftieth after that.
const THRESHOLD: &str = "3 50";
/// Of a new connection: an attempt that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_millis(20);
/// How long a connection may be silent while the addresses move and TCP tries again.
const SILENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contestant {
    Ipvsd,
    Keepalived,
}

/// What became of the connections.
#[derive(Debug)]
struct Outcome {
    /// Those that the other director knew of when the master died.
    known: usize,
    survived: usize,
    /// How long no new connection that was started has succeeded.
    longest: Duration,
    failed: usize,
    started: usize,
}

/// Two directors of one kind, real servers and a client.
struct Pair {
    lab: Lab,
    contestant: Contestant,
    forwarding: Forwarding,
}

impl Pair {
    fn build(contestant: Contestant, forwarding: Forwarding) -> Self {
        let topology = match forwarding {
            Forwarding::Direct => Topology::one_segment(),
            Forwarding::Nat => Topology::two_segments(),
            Forwarding::Tunnel => Topology::routed(),
        };
        let name = format!("survivors-{}", word(forwarding));
        let lab = topology.directors(2).real_servers(SERVERS).build(&name);
        let pair = Self {
            lab: lab.expect("a topology"),
            contestant,
            forwarding,
        };
        for index in [0, 1] {
            let director = pair.lab.director(index);
            prepare_director_by_hand(director, "eth0", &[]).expect("a director");
        }
        for server in pair.lab.real_servers() {
            prepare_real_server_by_hand(server, forwarding, &[pair.vip()]).expect("a real server");
            if let Some(gateway) = pair.gateway() {
                let route = format!("route replace default via {gateway}");
                server.ip(&[&route]).expect("ip");
            }
        }
        pair
    }

    fn vip(&self) -> IpAddr {
        self.lab.vip4(0).into()
    }

    /// The way back of translated packets, which moves with the virtual address.
    fn gateway(&self) -> Option<IpAddr> {
        (self.forwarding == Forwarding::Nat).then(|| IpAddr::from([192, 0, 2, 250]))
    }

    fn servers(&self) -> impl Iterator<Item = SocketAddr> {
        let servers = self.lab.real_servers().into_iter();
        servers.map(|server| SocketAddr::new(server.address4(Segment::Server).into(), 80))
    }

    fn start(&self, index: usize) -> Process {
        let director = self.lab.director(index);
        match self.contestant {
            Contestant::Ipvsd => Daemon::start(director, &configure(director, &self.ipvsd(index)), &[]).process,
            Contestant::Keepalived => start_keepalived(director, &self.keepalived(index)),
        }
    }

    fn ipvsd(&self, index: usize) -> String {
        let device = self.lab.director(index).device(Segment::Client);
        let gateway = self.gateway().map_or_else(String::new, |gateway| {
            let device = self.lab.director(index).device(Segment::Server);
            format!(", {{ address = \"{gateway}/24\", device = \"{device}\", excluded = true }}")
        });
        let servers: Vec<_> = self
            .servers()
            .map(|server| format!("{{ address = \"{server}\" }}"))
            .collect();
        format!(
            "[ipvs]\nsysctl = {{ sync_threshold = \"{THRESHOLD}\" }}\n\
             sync_daemon = {{ interface = \"{device}\", vrrp_instance = \"VI_1\" }}\n\
             [[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{device}\"\nvirtual_router_id = 51\npriority = {}\n\
             virtual_address = [\"{}/24\"{gateway}]\n\
             [[virtual_server]]\nname = \"web\"\naddress = \"{}\"\nscheduler = \"rr\"\nforward = \"{}\"\n\
             vrrp_instance = \"VI_1\"\n\
             check = [{{ type = \"tcp\", initial = \"up\", interval = \"5s\", timeout = \"2s\", fall = 10 }}]\n\
             real_server = [{}]\n",
            PRIORITIES[index],
            self.vip(),
            SocketAddr::new(self.vip(), 80),
            word(self.forwarding),
            servers.join(", "),
        )
    }

    fn keepalived(&self, index: usize) -> String {
        let device = self.lab.director(index).device(Segment::Client);
        let gateway = self.gateway().map_or_else(String::new, |gateway| {
            let device = self.lab.director(index).device(Segment::Server);
            format!("virtual_ipaddress_excluded {{\n{gateway}/24 dev {device}\n}}\n")
        });
        let kind = match self.forwarding {
            Forwarding::Nat => "NAT",
            Forwarding::Direct => "DR",
            Forwarding::Tunnel => "TUN",
        };
        let servers: String = self
            .servers()
            .map(|server| format!("real_server {} {} {{\nweight 1\n}}\n", server.ip(), server.port()))
            .collect();
        format!(
            "global_defs {{\nrouter_id lab\nlvs_sync_daemon {device} VI_1 id 51\n}}\n\
             vrrp_instance VI_1 {{\nstate BACKUP\ninterface {device}\nvirtual_router_id 51\nversion 3\n\
             priority {}\nadvert_int 1\nvirtual_ipaddress {{\n{}/24\n}}\n{gateway}}}\n\
             virtual_server {} 80 {{\nlb_algo rr\nlb_kind {kind}\nprotocol TCP\n{servers}}}\n",
            PRIORITIES[index],
            self.vip(),
            self.vip(),
        )
    }

    fn has(&self, index: usize) -> bool {
        let found = self.lab.director(index).exec_ok(&["ip", "-o", "address", "show"]);
        found.expect("ip").contains(&format!(" {}/", self.vip()))
    }

    /// How many established connections a director knows.
    fn knows(&self, index: usize) -> usize {
        let command = ["ipvsadm", "-L", "-n", "-c"];
        let shown = self.lab.director(index).exec_ok(&command).expect("ipvsadm");
        shown.matches(" ESTABLISHED ").count()
    }

    /// The first director dies under its connections.
    fn run(&self) -> Outcome {
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), 80);
        let answering = |server: &&Host| Responder::start(server, &[everywhere], server.name()).expect("a server");
        let _servers: Vec<_> = self.lab.real_servers().iter().map(answering).collect();
        let daemons = [0, 1].map(|index| self.start(index));
        for index in [0, 1] {
            // What is there from the start for either.
            let director = self.lab.director(index);
            director
                .set_sysctl("net/ipv4/vs/sync_threshold", THRESHOLD)
                .expect("a setting");
        }
        wait_until("the first one is master", SOON, || self.has(0) && !self.has(1))
            .unwrap_or_else(|problem| panic!("{problem}: {}", daemons[0].log()));
        let client = Client::new(self.lab.client(0)).timeout(Duration::from_secs(10));
        let address = SocketAddr::new(self.vip(), 80);
        wait_until("both servers answer", SOON, || {
            client
                .spread(address, 4)
                .is_ok_and(|spread| spread.len() == usize::from(SERVERS))
        })
        .unwrap_or_else(|problem| panic!("{problem}: {}", daemons[0].log()));
        // What a new master announces once more has gone by then.
        sleep(Duration::from_secs(6));

        let mut open: Vec<_> = (0..OPEN).map(|_| client.open(address).expect("a connection")).collect();
        for _ in 0..4 {
            for connection in &mut open {
                connection.send().expect("a byte");
            }
            sleep(Duration::from_millis(200));
        }
        // Each has had its packets and was sent; none of them is worth waiting for that never comes.
        let _ = wait_until("the other one knows them", Duration::from_secs(10), || {
            self.knows(1) >= OPEN
        });
        let known = self.knows(1);
        let (timeout, most) = (PATIENCE, Duration::from_secs(120));
        let prober = Prober::start(self.lab.client(0), address, EVERY, timeout, most).expect("a prober");
        sleep(Duration::from_secs(2));

        let first = self.lab.director(0);
        first.link_down(Segment::Client).expect("the cable");
        if self.forwarding == Forwarding::Nat {
            first.link_down(Segment::Server).expect("the cable");
        }
        daemons[0].signal(Signal::SIGKILL).expect("a signal");
        // Everybody goes on talking, whoever listens.
        for _ in 0..4 {
            sleep(Duration::from_secs(1));
            for connection in &mut open {
                // One that is cut says so at its end.
                let _ = connection.send();
            }
        }
        wait_until("the other one takes over", SOON, || self.has(1))
            .unwrap_or_else(|problem| panic!("{problem}: {}", daemons[1].log()));
        sleep(Duration::from_secs(2));
        let survived = survivors(open);
        let report = prober.stop().expect("a report");
        Outcome {
            known,
            survived,
            longest: report.longest_gap(),
            failed: report.failures().len(),
            started: report.attempts.len(),
        }
    }
}

/// How many come to a good end: the real server has all that was sent, and answers the good-bye.
fn survivors(open: Vec<Connection>) -> usize {
    thread::scope(|scope| {
        let ends = open.into_iter().map(|connection| {
            // Many wait for nothing at the same time.
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(scope, move || connection.finish(SILENCE).is_ok())
                .expect("a thread")
        });
        let ends: Vec<_> = ends.collect();
        ends.into_iter()
            .map(|end| end.join().expect("an end"))
            .filter(|good| *good)
            .count()
    })
}

fn word(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Nat => "nat",
        Forwarding::Direct => "dr",
        Forwarding::Tunnel => "tun",
    }
}

/// Starts keepalived with its virtual routers and its virtual servers.
fn start_keepalived(director: &Host, text: &str) -> Process {
    let path = |name: &str| director.directory().join(name).display().to_string();
    let file = keepalived_conf(director, text);
    let own = ["pid", "vrrp.pid", "checkers.pid"].map(path);
    let command = [
        "keepalived",
        "--dont-fork",
        "--log-console",
        "-f",
        &file,
        "-p",
        &own[0],
        "-r",
        &own[1],
        "-c",
        &own[2],
    ];
    director.spawn(&command).expect("keepalived starts")
}

#[test]
fn as_many_connections_outlive_a_dead_master_as_with_keepalived_in_every_way_of_forwarding() {
    require_kernel();
    for forwarding in [Forwarding::Direct, Forwarding::Nat, Forwarding::Tunnel] {
        let [ours, theirs] = [Contestant::Ipvsd, Contestant::Keepalived].map(|contestant| {
            let outcome = Pair::build(contestant, forwarding).run();
            measured(format_args!(
                "the master of {contestant:?} dies, {}: {} of {OPEN} open connections survive ({} were known), none that \
                 was started within {:?} succeeds, {} of {} new ones fail",
                word(forwarding),
                outcome.survived,
                outcome.known,
                outcome.longest,
                outcome.failed,
                outcome.started,
            ));
            outcome
        });
        let name = word(forwarding);
        assert!(ours.survived >= theirs.survived, "{name}: {ours:?} beside {theirs:?}");
        // All of them are past the threshold.
        assert!(ours.survived * 100 >= OPEN * 95, "{name}: {ours:?}");
        // It was a death: somebody has noticed, and it has ended.
        assert!(
            ours.longest < SOON && ours.failed < ours.started / 2,
            "{name}: {ours:?}"
        );
    }
}
