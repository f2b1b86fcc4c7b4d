//! Listings with live connections and figures in them.
//!
//! Both subjects read one table, one after the other. Counters and rates are frozen meanwhile (`run_estimation`);
//! connections run towards their end all the same, so the original runs before and after ours, and where it says two
//! things, all are asked again. Where that does not help, for a listing takes longer than a second, the seconds of the
//! column `expire` are left out, and nothing else.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ipvsd_lab::{
    Client, Connection, Host, Lab, Responder, Segment, Topology, prepare_director_by_hand, require_kernel,
};

use crate::case::{Case, Command, read};
use crate::compare::difference;
use crate::subject::{Outcome, Program, Subject, subjects};
use crate::world::prepare;

/// How often a listing that changes by itself is asked for again.
const TRIES: usize = 10;
/// More than the 10^8 from where a figure is shortened.
const BULK: usize = 110_000_000;

/// A pool under traffic.
struct Site {
    lab: Lab,
    _servers: Vec<Responder>,
    _open: Vec<Connection>,
}

impl Site {
    fn build(name: &str, given: &[String]) -> Self {
        require_kernel();
        let lab = Topology::two_segments().build(name).expect("a topology");
        let director = lab.director(0);
        let vips: [IpAddr; 3] = [lab.vip4(0).into(), lab.vip4(1).into(), lab.vip6(0).into()];
        prepare_director_by_hand(director, director.device(Segment::Client), &vips).expect("a director");
        director
            .mark_incoming(Segment::Client, &format!("{}/32", lab.vip4(1)), 7)
            .expect("a mark");
        director.in_namespace(|| prepare(given)).expect("a namespace");
        let mut servers = Vec::new();
        for server in lab.real_servers() {
            let listens = ["0.0.0.0:80", "[::]:80"].map(|listen| listen.parse().expect("an address"));
            servers.push(Responder::start(server, &listens, server.name()).expect("a server"));
            let any = "0.0.0.0:53".parse().expect("an address");
            servers.push(Responder::start_udp(server, &[any], server.name()).expect("a server"));
        }
        let mut site = Self {
            lab,
            _servers: servers,
            _open: Vec::new(),
        };
        site._open = site.traffic();
        site
    }

    fn director(&self) -> &Host {
        self.lab.director(0)
    }

    /// A few connections of each kind, some of them left open.
    fn traffic(&self) -> Vec<Connection> {
        let client = Client::new(self.lab.client(0));
        let (vip4, marked, vip6) = (
            self.lab.vip4(0).into(),
            self.lab.vip4(1).into(),
            self.lab.vip6(0).into(),
        );
        let mut open = Vec::new();
        for (address, port) in [
            (vip4, 80),
            (vip4, 80),
            (vip4, 81),
            (vip4, 443),
            (marked, 80),
            (vip6, 80),
            (vip6, 81),
        ] {
            open.push(client.open(SocketAddr::new(address, port)).expect("a connection"));
            client.get(SocketAddr::new(address, port)).expect("an answer");
        }
        client.ask_udp(SocketAddr::new(vip4, 53)).expect("an answer");
        // The answer to one-packet scheduling is not translated back, so the client does not take it.
        let impatient = client.timeout(Duration::from_millis(100));
        impatient.ask_udp(SocketAddr::new(vip4, 54)).expect_err("no answer");
        self.call(vip4);
        self.send_bulk(vip4);
        open
    }

    /// A SIP request, which nobody answers.
    fn call(&self, vip: IpAddr) {
        let request = "OPTIONS sip:vip SIP/2.0\r\nVia: SIP/2.0/UDP client;branch=z9hG4bK1\r\nFrom: <sip:a@client>;tag=1\r\n\
                       To: <sip:b@vip>\r\nCall-ID: a-call@client\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        let send = || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.send_to(request.as_bytes(), (vip, 5060)).expect("a datagram");
        };
        self.lab.client(0).in_namespace(send).expect("a namespace");
    }

    /// So many bytes that their number is shortened.
    fn send_bulk(&self, vip: IpAddr) {
        let listener = self
            .lab
            .real_server(1)
            .in_namespace(|| TcpListener::bind("0.0.0.0:8080").expect("a listener"))
            .expect("a namespace");
        let sink = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut buffer = vec![0; 1 << 18];
            let mut total = 0;
            while total < BULK {
                total += stream.read(&mut buffer).expect("bytes");
            }
            stream.write_all(b"\n").expect("an answer");
        });
        let send = || {
            let mut stream = TcpStream::connect((vip, 8080)).expect("a connection");
            let block = vec![0; 1 << 18];
            let mut left = BULK;
            while left > 0 {
                let part = left.min(block.len());
                stream.write_all(&block[..part]).expect("room");
                left -= part;
            }
            stream.read_exact(&mut [0]).expect("an answer");
        };
        self.lab.client(0).in_namespace(send).expect("a namespace");
        sink.join().expect("a server");
    }

    /// Waits until the kernel's figures know of the traffic, and keeps them as they are.
    fn freeze(&self) {
        self.director()
            .set_sysctl("net/ipv4/vs/run_estimation", "1")
            .expect("a setting");
        // They are renewed every two seconds: what there is now is in them after two renewals.
        thread::sleep(Duration::from_millis(4100));
        self.director()
            .set_sysctl("net/ipv4/vs/run_estimation", "0")
            .expect("a setting");
    }

    fn run(&self, subject: &Subject, command: &Command) -> Outcome {
        self.director()
            .in_namespace(|| subject.run(command.program, &command.arguments, ""))
            .expect("a namespace")
    }

    fn check(&self, case: &Case) -> String {
        let both = subjects();
        let mut text = String::new();
        for command in &case.commands {
            let line = command.arguments.join(" ");
            let ask = |settle: fn(Outcome) -> Outcome| {
                let before = settle(self.run(&both.original, command));
                let ours = settle(self.run(&both.ours, command));
                match difference(&before, &settle(self.run(&both.original, command))) {
                    None => Ok((before, ours)),
                    Some(moved) => Err(moved),
                }
            };
            let settled = first_settled(|| ask(|outcome| outcome)).or_else(|_| first_settled(|| ask(without_expiry)));
            let (original, ours) = match settled {
                Ok(both) => both,
                Err(moved) => {
                    write!(
                        text,
                        "  ipvsadm {line}: the original never says the same twice: {moved}"
                    )
                    .unwrap();
                    continue;
                }
            };
            if original.code != command.code {
                writeln!(
                    text,
                    "  ipvsadm {line}: the original ends with {}: {}",
                    original.code, original.stderr
                )
                .unwrap();
            }
            if let Some(found) = difference(&original, &ours) {
                write!(text, "  ipvsadm {line}: {found}").unwrap();
            }
        }
        text
    }

    /// The figures of the original's listing, by line.
    fn figures(&self) -> Vec<(String, u64)> {
        let outcome = self
            .director()
            .in_namespace(|| {
                subjects()
                    .original
                    .run(Program::Ipvsadm, &["-Ln", "--stats", "--exact"], "")
            })
            .expect("a namespace");
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let sum = words
                .iter()
                .rev()
                .take(5)
                .map(|word| word.parse::<u64>().expect("a figure"))
                .sum();
            (words[1].to_owned(), sum)
        };
        outcome.stdout.lines().skip(3).map(row).collect()
    }
}

/// The first success of some tries, or the last failure.
fn first_settled<T, E>(mut try_once: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut outcome = try_once();
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        outcome = try_once();
    }
    outcome
}

/// A listing of connections without the digits of its second column, the time left.
fn without_expiry(outcome: Outcome) -> Outcome {
    let blank = |line: &str| {
        let protocol = line.find(' ').unwrap_or(line.len());
        let time = protocol + line[protocol..].len() - line[protocol..].trim_start().len();
        let end = line[time..].find(' ').map_or(line.len(), |length| time + length);
        match &line[time..end] {
            left if left.contains(':') => {
                let left = left.replace(|letter: char| letter.is_ascii_digit(), "");
                format!("{}{left}{}", &line[..time], &line[end..])
            }
            _ => line.to_owned(),
        }
    };
    Outcome {
        stdout: outcome.stdout.split_inclusive('\n').map(blank).collect(),
        ..outcome
    }
}

#[test]
fn only_the_time_left_is_left_out() {
    let outcome = |stdout: &str| Outcome {
        code: 0,
        stdout: stdout.to_owned(),
        stderr: String::new(),
    };
    let title = "pro expire state       source\n";
    for (line, blanked) in [
        (
            "TCP 14:56  ESTABLISHED 10.20.0.2:40002\n",
            "TCP :  ESTABLISHED 10.20.0.2:40002\n",
        ),
        ("IP  04:11  ASSURED     client:0\n", "IP  :  ASSURED     client:0\n"),
    ] {
        assert_eq!(
            without_expiry(outcome(&format!("{title}{line}"))),
            outcome(&format!("{title}{blanked}"))
        );
    }
}

fn cases() -> Vec<Case> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/traffic.case"))
}

#[test]
fn live_connections_and_traffic_are_listed_alike() {
    let cases = cases();
    let site = Site::build("traffic", &cases[0].given);
    site.freeze();
    // The listings have in them what they are compared for.
    let shown = |arguments: &[&str]| {
        let run = || subjects().original.run(Program::Ipvsadm, arguments, "").stdout;
        site.director().in_namespace(run).expect("a namespace")
    };
    let connections = shown(&["-Lnc", "--persistent-conn"]);
    for wanted in [
        " ESTABLISHED ",
        " UDP ",
        "[2001:db8:1::c8]:80",
        " sip ",
        "a-call@client",
        "0.0.0.7:0",
    ] {
        assert!(connections.contains(wanted), "no {wanted} in\n{connections}");
    }
    let statistics = shown(&["-Ln", "--stats"]);
    assert!(
        statistics.lines().any(|line| line.contains("K ")),
        "nothing is shortened in\n{statistics}"
    );
    let mut failed = String::new();
    for case in &cases {
        let found = site.check(case);
        if !found.is_empty() {
            write!(failed, "\n{}: {}\n{found}", case.place, case.title).unwrap();
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn figures_are_zeroed_alike() {
    let site = Site::build("zero", &cases()[0].given);
    let both = subjects();
    for subject in [&both.original, &both.ours] {
        drop(site.traffic());
        site.freeze();
        assert!(site.figures().iter().any(|(_, figure)| *figure > 0));
        let zero = |arguments: &[&str]| {
            let run = || subject.run(Program::Ipvsadm, arguments, "");
            assert_eq!(site.director().in_namespace(run).expect("a namespace").code, 0);
        };
        zero(&["-Z", "-t", "198.51.100.200:80"]);
        let figures = site.figures();
        let service = figures
            .iter()
            .position(|(name, _)| name == "198.51.100.200:80")
            .expect("the service");
        // With its two destinations.
        assert!(
            figures[service..=service + 2].iter().all(|(_, figure)| *figure == 0),
            "{figures:?}"
        );
        assert!(figures.iter().any(|(_, figure)| *figure > 0), "{figures:?}");
        // A service at no address is all of them.
        zero(&["-Z", "-t", "0.0.0.0:0"]);
        let figures = site.figures();
        assert!(figures.iter().all(|(_, figure)| *figure == 0), "{figures:?}");
    }
}
