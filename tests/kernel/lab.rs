//! The lab itself: its hosts forward with the original ipvsadm, before anything of ours is judged on them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ipvsd_lab::{
    Attempt, Client, Failure, Forwarding, Lab, Nginx, Prober, Responder, Segment, Topology, prepare_director_by_hand,
    prepare_real_server_by_hand, require_kernel, wait_until,
};

/// Programs the director with ipvsadm and starts nginx on the real servers, then asks from the client.
fn forwards(lab: &Lab, forwarding: Forwarding, letter: &str, vip: IpAddr) {
    let director = lab.director(0);
    prepare_director_by_hand(director, "eth0", &[vip]).unwrap();
    let service = SocketAddr::new(vip, 80);
    let wildcard: SocketAddr = if vip.is_ipv4() { "0.0.0.0:80" } else { "[::]:80" }.parse().unwrap();
    let mut rules = format!("-A -t {service} -s rr\n");
    let mut servers = Vec::new();
    for real_server in lab.real_servers() {
        prepare_real_server_by_hand(real_server, forwarding, &[vip]).unwrap();
        let address: IpAddr = match vip {
            IpAddr::V4(_) => real_server.address4(Segment::Server).into(),
            IpAddr::V6(_) => real_server.address6(Segment::Server).into(),
        };
        rules.push_str(&format!(
            "-a -t {service} -r {} {letter}\n",
            SocketAddr::new(address, 80)
        ));
        servers.push(Nginx::start(real_server, &[wildcard], real_server.name()).unwrap());
    }
    director.exec_ok_with_input(&["ipvsadm", "-R"], &rules).unwrap();
    let counts = Client::new(lab.client(0)).spread(service, 10).unwrap();
    let expected = [("real-server-1".to_owned(), 5), ("real-server-2".to_owned(), 5)];
    assert_eq!(
        counts,
        expected.into(),
        "{}",
        director.exec_ok(&["ipvsadm", "-Ln", "--stats"]).unwrap()
    );
}

#[test]
fn translation_forwards_between_two_segments_over_ipv4() {
    require_kernel();
    let lab = Topology::two_segments().build("nat4").unwrap();
    forwards(&lab, Forwarding::Nat, "-m", lab.vip4(0).into());
}

#[test]
fn translation_forwards_between_two_segments_over_ipv6() {
    require_kernel();
    let lab = Topology::two_segments().build("nat6").unwrap();
    forwards(&lab, Forwarding::Nat, "-m", lab.vip6(0).into());
}

#[test]
fn direct_routing_forwards_on_one_segment_over_ipv4() {
    require_kernel();
    let lab = Topology::one_segment().build("dr4").unwrap();
    forwards(&lab, Forwarding::Direct, "-g", lab.vip4(0).into());
}

#[test]
fn direct_routing_forwards_on_one_segment_over_ipv6() {
    require_kernel();
    let lab = Topology::one_segment().build("dr6").unwrap();
    forwards(&lab, Forwarding::Direct, "-g", lab.vip6(0).into());
}

#[test]
fn tunnels_forward_through_a_router_over_ipv4() {
    require_kernel();
    let lab = Topology::routed().build("tun4").unwrap();
    forwards(&lab, Forwarding::Tunnel, "-i", lab.vip4(0).into());
}

#[test]
fn tunnels_forward_through_a_router_over_ipv6() {
    require_kernel();
    let lab = Topology::routed().build("tun6").unwrap();
    forwards(&lab, Forwarding::Tunnel, "-i", lab.vip6(0).into());
}

#[test]
fn marked_packets_reach_a_service_by_firewall_mark() {
    require_kernel();
    let lab = Topology::two_segments().build("fwmark").unwrap();
    let (director, client) = (lab.director(0), lab.client(0));
    prepare_director_by_hand(director, "eth0", &[]).unwrap();
    director.own_network("198.18.0.0/15").unwrap();
    director.mark_incoming(Segment::Client, "198.18.0.0/15", 7).unwrap();
    let mut rules = "-A -f 7 -s rr\n".to_owned();
    let mut servers = Vec::new();
    for real_server in lab.real_servers() {
        let address = SocketAddr::new(real_server.address4(Segment::Server).into(), 80);
        rules.push_str(&format!("-a -f 7 -r {} -m\n", address.ip()));
        servers.push(Responder::start(real_server, &[address], real_server.name()).unwrap());
    }
    director.exec_ok_with_input(&["ipvsadm", "-R"], &rules).unwrap();
    for last in 1..=6 {
        Client::new(client)
            .get(SocketAddr::new(IpAddr::from([198, 18, 3, last]), 80))
            .unwrap();
    }
    assert_eq!(servers.iter().map(Responder::answered).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn a_client_tells_refusal_silence_and_a_dead_cable_apart() {
    require_kernel();
    let lab = Topology::one_segment().real_servers(1).build("failures").unwrap();
    let server = lab.real_server(0);
    let client = Client::new(lab.client(0)).timeout(Duration::from_millis(500));
    let address = SocketAddr::new(server.address4(Segment::Server).into(), 80);
    assert_eq!(client.get(address), Err(Failure::Refused));
    let mut nginx = Nginx::start(server, &[address], "web").unwrap();
    assert_eq!(client.get(address).as_deref(), Ok("web"));
    nginx.kill();
    assert_eq!(client.get(address), Err(Failure::Refused));
    nginx.restart().unwrap();
    assert_eq!(client.get(address).as_deref(), Ok("web"));
    server.drop_tcp_port(Segment::Server, 80).unwrap();
    assert_eq!(client.get(address), Err(Failure::TimedOut));
    server.drop_nothing(Segment::Server).unwrap();
    assert_eq!(client.get(address).as_deref(), Ok("web"));
    server.link_down(Segment::Server).unwrap();
    assert_eq!(client.get(address), Err(Failure::TimedOut));
    server.link_up(Segment::Server).unwrap();
    client.wait_for_answer(address, "web", Duration::from_secs(5)).unwrap();
}

#[test]
fn responders_answer_on_networks_of_addresses_and_hold_connections() {
    require_kernel();
    let lab = Topology::one_segment().real_servers(1).build("responders").unwrap();
    let (server, client) = (lab.real_server(0), lab.client(0));
    server.own_network("198.18.0.0/15").unwrap();
    client
        .ip(&[&format!(
            "route add 198.18.0.0/15 via {}",
            server.address4(Segment::Server)
        )])
        .unwrap();
    let responder = Responder::start(server, &["0.0.0.0:80".parse().unwrap()], "many").unwrap();
    let asker = Client::new(client);
    for last in [1, 77, 200] {
        let address = SocketAddr::new(IpAddr::from([198, 19, 5, last]), 80);
        assert_eq!(asker.get(address).as_deref(), Ok("many"));
    }
    let held = asker.open("198.18.0.9:80".parse().unwrap()).unwrap();
    assert!(held.is_open());
    assert_eq!(responder.answered(), 4);
    responder.stop();
    wait_until("the held connection is closed", Duration::from_secs(5), || {
        !held.is_open()
    })
    .unwrap();
    let named: SocketAddr = "198.18.0.9:53".parse().unwrap();
    let _datagrams = Responder::start_udp(server, &[named], "names").unwrap();
    assert_eq!(asker.ask_udp(named).as_deref(), Ok("names"));
}

#[test]
fn a_prober_sees_when_a_server_was_away() {
    require_kernel();
    let lab = Topology::one_segment().real_servers(1).build("prober").unwrap();
    let server = lab.real_server(0);
    let address = SocketAddr::new(server.address4(Segment::Server).into(), 80);
    let mut nginx = Nginx::start(server, &[address], "web").unwrap();
    let second = Duration::from_secs(1);
    // A worker that has just started may take its time on a busy machine.
    Client::new(lab.client(0))
        .wait_for_answer(address, "web", 5 * second)
        .unwrap();
    let prober = Prober::start(lab.client(0), address, Duration::from_millis(20), second, 20 * second).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let killed = Instant::now();
    nginx.kill();
    std::thread::sleep(Duration::from_millis(300));
    nginx.restart().unwrap();
    Client::new(lab.client(0))
        .wait_for_answer(address, "web", 5 * second)
        .unwrap();
    let back = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let report = prober.stop().unwrap();
    assert!(report.failures().len() >= 5, "{report}");
    assert!(report.longest_gap() >= Duration::from_millis(250), "{report}");
    // How long a machine takes that others want too is not judged, only what happened when.
    let at_its_time = |attempt: &&Attempt| attempt.at + attempt.took >= killed && attempt.at <= back;
    assert!(report.failures().iter().all(at_its_time), "{report}");
    assert!(report.since(back).failures().is_empty(), "{report}");
    assert!(report.answered_by()["web"] >= 10, "{report}");
}

#[test]
fn nothing_is_left_of_a_lab_that_was_dropped() {
    require_kernel();
    let lab = Topology::one_segment().build("dropped").unwrap();
    let directory = lab.directory().to_owned();
    let mut names = vec![lab.director(0).namespace().to_owned()];
    names.extend(lab.real_servers().iter().map(|host| host.namespace().to_owned()));
    let sleeper = lab.director(0).spawn(&["sleep", "60"]).unwrap();
    let process = format!("/proc/{}", sleeper.id());
    assert!(std::path::Path::new(&process).exists());
    drop(sleeper);
    drop(lab);
    assert!(!std::path::Path::new(&process).exists());
    assert!(!directory.exists());
    for name in names {
        assert!(!std::path::Path::new("/run/netns").join(name).exists());
    }
}
