//! Plain TCP probes on sockets that are used again: each end is judged right, a server sees ordinary connections, and
//! nothing is left over.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipvsd::checkers::Connects;
use ipvsd::model::{FailureCause, ProbeId, ProbeOutcome, ProbeResult, ProbeType};
use ipvsd_lab::{Nginx, Segment, wait_until};
use nix::sys::signal::Signal;

use super::servers::Odd;
use super::{SOON, Stand};
use crate::site::{Daemon, configure};

/// A bit more than a tick, so that a socket is used again where that is possible.
const PAUSE: Duration = Duration::from_millis(15);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Plain TCP probes of one host, one after the other.
struct Prober {
    runtime: tokio::runtime::Runtime,
    connects: Connects,
    number: u64,
}

impl Prober {
    /// On the thread of a host.
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let connects = {
            let _inside = runtime.enter();
            Connects::new().expect("descriptors")
        };
        Self {
            runtime,
            connects,
            number: 0,
        }
    }

    fn probe(&mut self, target: SocketAddr, timeout: Duration) -> ProbeResult {
        let Self {
            runtime,
            connects,
            number,
        } = self;
        *number += 1;
        runtime.block_on(async {
            tokio::time::sleep(PAUSE).await;
            connects.start(ProbeId(*number), target, timeout);
            loop {
                if let Some((probe, result)) = connects.finished().pop() {
                    assert_eq!(probe, ProbeId(*number));
                    return result;
                }
                let wake = connects.next_wake().expect("a deadline");
                tokio::select! {
                    () = connects.ready() => (),
                    () = tokio::time::sleep_until(wake.into()) => (),
                }
            }
        })
    }

    fn passes(&mut self, target: SocketAddr) {
        let result = self.probe(target, TIMEOUT);
        assert_eq!(result.outcome, ProbeOutcome::Success, "{target}");
        assert!(result.latency < TIMEOUT, "{result:?}");
    }

    fn fails(&mut self, target: SocketAddr, timeout: Duration, cause: FailureCause) -> ProbeResult {
        let result = self.probe(target, timeout);
        assert_eq!(result.outcome, ProbeOutcome::Failure(cause), "{target}");
        result
    }
}

/// How many descriptors a process has.
fn descriptors(process: &str) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

#[test]
fn each_end_is_judged_right_on_a_socket_that_was_used_before() {
    let stand = Stand::build(ProbeType::Tcp);
    let (director, server) = (stand.director(), stand.server());
    let wildcards = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let _nginx = Nginx::start(server, &wildcards.map(|address| SocketAddr::new(address, 80)), "web").expect("nginx");
    // Packets to these networks come to the server, which says so by ICMP, or nothing.
    server.set_sysctl("net/ipv4/ip_forward", "1").expect("a router");
    // It says so each time.
    server.set_sysctl("net/ipv4/icmp_ratelimit", "0").expect("a setting");
    server
        .ip(&[
            "route add unreachable 203.0.113.0/25",
            "route add blackhole 203.0.113.128/25",
        ])
        .expect("ip");
    let gateway = server.address4(Segment::Server);
    director
        .ip(&[&format!("route add 203.0.113.0/24 via {gateway}")])
        .expect("ip");
    let targets = [
        stand.at(80),
        SocketAddr::new(server.address6(Segment::Server).into(), 80),
    ];
    let ends = || {
        let mut prober = Prober::new();
        let before = descriptors("self");
        for round in 0..3u8 {
            for target in targets {
                prober.passes(target);
                let refusing = SocketAddr::new(target.ip(), 81);
                prober.fails(refusing, TIMEOUT, FailureCause::Refused);
                prober.passes(target);
                let hanging = SocketAddr::from(([203, 0, 113, 200 + round], 80));
                let timeout = Duration::from_millis(300);
                let late = prober.fails(hanging, timeout, FailureCause::TimedOut);
                assert!(late.latency >= timeout, "{late:?}");
                prober.passes(target);
                let unreachable = SocketAddr::from(([203, 0, 113, 100 + round], 80));
                prober.fails(unreachable, TIMEOUT, FailureCause::HostUnreachable);
            }
        }
        for _ in 0..100 {
            prober.passes(targets[0]);
        }
        // One that is used again and again, and those whose server took longer for once.
        let kept = descriptors("self") - before;
        assert!(kept <= 20, "{kept} descriptors after 100 probes");
    };
    director.in_namespace(ends).expect("a namespace");
}

#[test]
fn a_server_sees_a_connection_that_is_closed_and_never_a_reset() {
    const PROBES: usize = 30;
    let stand = Stand::build(ProbeType::Tcp);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (port, greeting) in [(80, ""), (81, "220 ready\r\n")] {
        seen.lock().unwrap().clear();
        let noted = Arc::clone(&seen);
        let _server = Odd::start(stand.server(), port, move |mut stream| {
            let end = stream
                .write_all(greeting.as_bytes())
                .and_then(|()| stream.read(&mut [0; 64]));
            noted.lock().unwrap().push(end.map_err(|error| error.kind()));
        });
        let target = stand.at(port);
        let probes = || {
            let mut prober = Prober::new();
            for _ in 0..PROBES {
                prober.passes(target);
            }
        };
        stand.director().in_namespace(probes).expect("a namespace");
        wait_until("the server has seen all", SOON, || seen.lock().unwrap().len() == PROBES).expect("in time");
        assert!(seen.lock().unwrap().iter().all(|end| *end == Ok(0)), "{seen:?}");
    }
}

#[test]
fn a_server_that_never_closes_costs_its_socket_for_a_second() {
    let stand = Stand::build(ProbeType::Tcp);
    let open = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&open);
    let _server = Odd::start(stand.server(), 80, move |stream| taken.lock().unwrap().push(stream));
    let target = stand.at(80);
    let probes = || {
        let mut prober = Prober::new();
        let connections = || open.lock().unwrap().len();
        // The server's ends are descriptors of this process too.
        let before = descriptors("self");
        for _ in 0..20 {
            prober.passes(target);
        }
        wait_until("the server has taken all", SOON, || connections() == 20).expect("in time");
        wait_until("this side has let go of all", SOON, || {
            prober.connects.finished();
            descriptors("self") == before + connections()
        })
        .expect("in time");
        assert_eq!(prober.connects.next_wake(), None);
    };
    stand.director().in_namespace(probes).expect("a namespace");
}

#[test]
fn a_daemon_keeps_few_sockets_and_after_a_reload_none_of_those_it_no_longer_needs() {
    let stand = Stand::build(ProbeType::Tcp);
    let (director, server) = (stand.director(), stand.server());
    server.own_network("198.18.0.0/15").expect("ip");
    let gateway = server.address4(Segment::Server);
    director
        .ip(&[&format!("route add 198.18.0.0/15 via {gateway}")])
        .expect("ip");
    let _nginx = Nginx::start(server, &[SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))], "web").expect("nginx");
    let pool = |servers: u8| {
        let mut text = String::from(
            "[reload]\nremove_limit = 100\n[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.200:80\"\nforward = \"nat\"\n\
             check = [{ type = \"tcp\", interval = \"500ms\", timeout = \"5s\" }]\n",
        );
        for number in 1..=servers {
            text += &format!("[[virtual_server.real_server]]\naddress = \"198.18.0.{number}:80\"\n");
        }
        text
    };
    let file = configure(director, &pool(1));
    let mut daemon = Daemon::start(director, &file, &[]);
    let process = daemon.process.id().to_string();
    let destinations = || {
        let listed = director.exec_ok(&["ipvsadm", "-Ln"]).expect("ipvsadm");
        listed.matches("  -> 198.18.").count()
    };
    wait_until("the only one serves", SOON, || destinations() == 1).expect("in time");
    let few = descriptors(&process);
    configure(director, &pool(200));
    daemon.process.signal_alone(Signal::SIGHUP).expect("a reload");
    wait_until("all serve", SOON, || destinations() == 200).expect("in time");
    // Each has been probed some times by then.
    std::thread::sleep(Duration::from_secs(3));
    let many = descriptors(&process);
    assert!(many < few + 200, "{many} descriptors, {few} before");
    configure(director, &pool(1));
    daemon.process.signal_alone(Signal::SIGHUP).expect("a reload");
    daemon.wait_for("configuration reloaded");
    wait_until("the descriptors are as before", SOON, || {
        descriptors(&process) <= few + 2
    })
    .expect("in time");
    let of_others = || {
        let command = "ss -H -t -a -n exclude time-wait dst 198.18.0.0/15";
        let sockets = director.exec_ok(&command.split(' ').collect::<Vec<_>>()).expect("ss");
        sockets.lines().filter(|line| !line.contains("198.18.0.1:80")).count()
    };
    assert_eq!(of_others(), 0);
    assert_eq!(destinations(), 1);
}
