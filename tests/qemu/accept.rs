//! Virtual addresses that take nothing but what IPVS forwards (`accept = false`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipvsd_lab::{Client, Failure, Host, Responder, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{Routers, SOON};
use crate::site::{configure, ipvsd};

/// Where this director itself listens, over IPv4 and over IPv6.
const OWN: u16 = 81;
const OWN6: u16 = 82;
/// Where real servers answer that speak first.
const TALK: u16 = 8081;
/// Where the director's own clients are served.
const INSIDE: u16 = 8080;

/// Says what to do where this kernel lacks what the tests are about.
fn require_nftables(host: &Host) {
    let tried = host.exec(&["nft", "add table inet probe; add chain inet probe input { type filter hook input priority 0; }; delete table inet probe"]);
    let tried = tried.expect("nft runs");
    assert_eq!(
        tried.code(),
        0,
        "this kernel has no nftables for IP: run `tests/lab/suite --target qemu` ({})",
        tried.stderr
    );
}

/// Two directors with processes of their own that listen everywhere.
fn build(name: &str) -> (Routers, [Responder; 2]) {
    let routers = Routers::build(name);
    require_nftables(routers.director(0));
    let everywhere = [
        SocketAddr::new([0, 0, 0, 0].into(), OWN),
        SocketAddr::new("::".parse().expect("an address"), OWN6),
    ];
    let own =
        [0, 1].map(|index| Responder::start(routers.director(index), &everywhere, "the director").expect("a server"));
    (routers, own)
}

/// One instance with an address of each family and services by direct routing; one by NAT at an address of its own.
fn text(routers: &Routers, index: usize, accept: &str) -> String {
    let (vip, vip6, inside) = (routers.vip(0), routers.vip6(0), routers.vip(2));
    let server: IpAddr = routers.lab.real_server(0).address4(Segment::Server).into();
    let service = |name: &str, address: IpAddr, port: u16, forward: &str, to: u16| {
        format!(
            "[[virtual_server]]\nname = \"{name}\"\naddress = \"{}\"\nvrrp_instance = \"VI_1\"\nforward = \"{forward}\"\n\
             check = [{{ type = \"tcp\", initial = \"up\", interval = \"1s\", timeout = \"1s\", fall = 10 }}]\n\
             real_server = [{{ address = \"{}\" }}]\n",
            SocketAddr::new(address, port),
            SocketAddr::new(server, to),
        )
    };
    format!(
        "[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 51\npriority = {}\n\
         advert_int = \"1s\"\nvirtual_address = [{{ address = \"{vip6}/64\", excluded = true }}, \"{vip}\"]\n{accept}\n{}{}{}",
        routers.device(index),
        [150, 100][index],
        service("web", vip, 80, "dr", 80),
        service("talk", vip, TALK, "dr", TALK),
        service("inside", inside, INSIDE, "nat", 80),
    )
}

fn client(routers: &Routers) -> Client<'_> {
    Client::new(routers.lab.client(0)).timeout(Duration::from_secs(2))
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn answers_ping(from: &Host, address: IpAddr) -> bool {
    let ping = from.exec(&["ping", "-c", "2", "-i", "0.3", "-W", "1", &address.to_string()]);
    ping.expect("ping").code() == 0
}

/// Why a connection to a director itself does not come about; `None` where it does.
fn refusal(routers: &Routers, address: IpAddr) -> Option<Failure> {
    let port = if address.is_ipv4() { OWN } else { OWN6 };
    client(routers).open(at(address, port)).err()
}

fn table(host: &Host) -> Option<String> {
    let listed = host.exec(&["nft", "list", "table", "inet", "ipvsd"]).expect("nft");
    (listed.code() == 0).then_some(listed.stdout)
}

fn wait_for_refusal(routers: &Routers, what: &str) {
    let vip = routers.vip(0);
    wait_until(what, SOON, || refusal(routers, vip) == Some(Failure::TimedOut)).expect("in time");
}

fn wait_for_acceptance(routers: &Routers, what: &str) {
    for address in [routers.vip(0), routers.vip6(0)] {
        wait_until(what, SOON, || refusal(routers, address).is_none()).expect("in time");
        assert!(answers_ping(routers.lab.client(0), address), "{what}: {address}");
    }
    assert_eq!(table(routers.director(0)), None, "{what}");
}

#[test]
fn a_master_that_accepts_nothing_forwards_is_found_and_hands_over() {
    let (routers, _own) = build("accept");
    let _server = routers.serve();
    let talks = [at([0, 0, 0, 0].into(), TALK)];
    let _talk = Responder::start(routers.lab.real_server(0), &talks, "talks").expect("a server");
    let [vip, vip6] = [routers.vip(0), routers.vip6(0)];
    let host = routers.lab.client(0);
    let mut first = routers.start(0, &text(&routers, 0, "accept = false"), &[]);
    let second = routers.start(1, &text(&routers, 1, "accept = false"), &[]);
    routers.wait_for_master("the first is master", 0, vip);

    // What IPVS forwards, and what is for the director by its own address, is as ever.
    client(&routers)
        .wait_for_answer(at(vip, 80), "behind", SOON)
        .expect("forwarded");
    assert_eq!(refusal(&routers, routers.address(0)), None);
    assert!(answers_ping(host, routers.address(0)));
    for address in [vip, vip6] {
        assert_eq!(refusal(&routers, address), Some(Failure::TimedOut), "{address}");
        assert!(!answers_ping(host, address), "{address}");
    }
    // Neighbours are answered, asked by multicast and, of an entry that is to be confirmed, by unicast.
    host.exec_ok(&["ip", "neighbour", "flush", "all"]).expect("ip");
    let device = host.device(Segment::Client);
    for address in [vip, vip6] {
        assert!(!answers_ping(host, address), "{address}");
        assert_eq!(routers.learnt(address), Some(routers.mac(0)), "{address}");
        let text = address.to_string();
        host.exec_ok(&["ip", "neighbour", "change", &text, "dev", device, "nud", "probe"])
            .expect("ip");
        wait_until("the neighbour is confirmed", SOON, || {
            let shown = host.exec_ok(&["ip", "neighbour", "show", "to", &text]).expect("ip");
            assert!(!shown.contains("FAILED"), "{shown}");
            shown.contains("REACHABLE")
        })
        .expect("in time");
    }
    // This host reaches its own addresses, and services at them by NAT, whose answers are for such an address.
    assert!(answers_ping(routers.director(0), vip));
    let inside = Client::new(routers.director(0));
    inside
        .wait_for_answer(at(routers.vip(2), INSIDE), "behind", SOON)
        .expect("the director is served as well");
    // So are the answers to what it opens from such an address itself.
    let outside = at(host.address4(Segment::Client).into(), OWN);
    let _outside = Responder::start(host, &[outside], "outside").expect("a server");
    let opened = Client::new(routers.director(0)).from(vip).open(outside);
    assert_eq!(opened.map(|held| held.identity().to_owned()), Ok("outside".to_owned()));
    // Adverts went on meanwhile.
    assert_eq!(routers.holders(vip).into_iter().collect::<Vec<_>>(), [0]);
    assert!(!second.process.log().contains("master"), "{}", second.process.log());

    // The other director knows nothing of this connection, and says so.
    let mut held = client(&routers).open(at(vip, TALK)).expect("a connection");
    first.process.signal(Signal::SIGTERM).expect("a signal");
    first.process.wait(SOON).expect("it ends");
    routers.wait_for_master("the second is master", 1, vip);
    assert_eq!(table(routers.director(0)), None, "a clean stop leaves nothing");
    client(&routers)
        .wait_for_answer(at(vip, 80), "behind", SOON)
        .expect("forwarded by the second");
    wait_for_refusal(&routers, "the second refuses");
    assert!(table(routers.director(1)).is_some_and(|table| table.contains(&vip6.to_string())));
    wait_until("the connection is reset", SOON, || {
        held.send().is_err() || !held.is_open()
    })
    .expect("in time");
}

#[test]
fn what_is_refused_outlives_the_daemon_and_comes_back_and_goes_with_the_word() {
    let (routers, _own) = build("accept-word");
    let director = routers.director(0);
    let refuse = text(&routers, 0, "accept = false");
    let mut daemon = routers.start(0, &refuse, &[]);
    wait_until("it is master", SOON, || routers.has(0, routers.vip(0))).expect("in time");
    wait_for_refusal(&routers, "refused from the start");
    // A firewall that is loaded anew takes everything out that others have made.
    for clearing in [
        "delete table inet ipvsd",
        "flush ruleset",
        "flush chain inet ipvsd accept_false",
    ] {
        director.exec_ok(&["nft", clearing]).expect("nft");
        wait_until(clearing, SOON, || {
            table(director).is_some_and(|table| table.contains("drop"))
        })
        .expect("in time");
        wait_for_refusal(&routers, clearing);
    }
    daemon.wait_for("somebody else has changed");
    director
        .exec_ok(&["nft", "add", "table", "inet", "others"])
        .expect("nft");

    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    assert!(routers.has(0, routers.vip(0)), "the address is still here");
    wait_for_refusal(&routers, "the daemon is dead, and the address still here");
    daemon = routers.start(0, &text(&routers, 0, ""), &[]);
    wait_for_acceptance(&routers, "started without the word");
    configure(director, &refuse);
    let reload = || {
        let reloaded = ipvsd(director, &["reload"]);
        assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
    };
    reload();
    wait_for_refusal(&routers, "a reload with the word");
    configure(director, &text(&routers, 0, "accept = true"));
    reload();
    wait_for_acceptance(&routers, "a reload that takes it back");
    assert!(routers.has(0, routers.vip(0)), "the address has stayed");
    assert!(!daemon.process.log().contains("ERROR"), "{}", daemon.process.log());
    drop(daemon);

    daemon = routers.start(0, &refuse, &["--keep"]);
    wait_for_refusal(&routers, "started anew");
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    assert!(routers.has(0, routers.vip(0)), "the addresses are kept");
    wait_for_refusal(&routers, "stopped, with the addresses kept");
    assert!(
        director
            .exec_ok(&["nft", "list", "tables"])
            .expect("nft")
            .contains("inet others")
    );
}
