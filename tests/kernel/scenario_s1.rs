//! S1: three SQL servers with long sessions behind two directors with one floating address, by `conf/tidb-pool` as it is
//! but for the pace of its checks. TiDB is no package of Debian: MariaDB stands for it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipvsd_lab::{Client, Failure, Host, Process, Segment, wait_until};

use crate::mariadb::{self, Session};
use crate::pair::Pair;
use crate::routers::{Routers, SOON, measured};

const PORT: u16 = 4000;
const STATEMENTS: &str = "CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\n";
/// The example's paces, and those of the test. Adverts of version 2 come once a second at best.
const PACES: [(&str, &str); 2] = [
    (
        "interval = \"2s\", fall = 4",
        "interval = \"500ms\", timeout = \"5s\", fall = 4",
    ),
    ("interval = \"2s\"", "interval = \"500ms\""),
];
/// What "within seconds" may be: three adverts and a bit, and a slow machine.
const SECONDS: Duration = Duration::from_secs(12);

fn serve(host: &Host, data: &str) -> Process {
    mariadb::serve(host, data, PORT, &["--skip-name-resolve"])
}

#[test]
fn sessions_can_be_opened_whichever_servers_and_director_are_left() {
    let routers = Routers::with_servers("s1", 3);
    let hosts = [0, 1, 2].map(|index| routers.lab.real_server(index));
    let client = routers.lab.client(0);
    let first = mariadb::make(hosts[0], STATEMENTS);
    let data = [
        first.clone(),
        mariadb::copy(&first, hosts[1]),
        mariadb::copy(&first, hosts[2]),
    ];
    let mut sql = [0, 1, 2].map(|index| Some(serve(hosts[index], &data[index])));
    let addresses = hosts.map(|host| IpAddr::from(host.address4(Segment::Server)));
    let vip = SocketAddr::new(routers.vip(0), PORT);

    let mut pair = Pair::new(&routers, "tidb-pool", &PACES);
    for index in [0, 1] {
        pair.start(index);
    }
    let settle = |pair: &Pair<'_>, what: &str, wanted: [u32; 3]| {
        let found = || [0, 1].map(|index| pair.weights(index, vip, &addresses));
        wait_until(what, SOON, || found() == [(); 2].map(|()| wanted.map(Some).to_vec()))
            .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", found(), pair.shown()));
    };
    let ask = || mariadb::ask(client, vip, "app", "app", "SELECT @@hostname");
    let who = || {
        let asked = ask();
        assert_eq!(asked.code(), 0, "{}", asked.stderr);
        asked.stdout.trim_end().to_owned()
    };
    let open = || Session::open(client, vip, "app", "app");

    // Clients reach the address, and long sessions are where the fewest are.
    pair.wait_for_master("101 is more than 99", 0, &[vip.ip()]);
    settle(&pair, "all serve", [1, 1, 1]);
    let mut sessions = [(); 3].map(|()| open());
    let servers: BTreeSet<_> = sessions.iter().map(|session| session.server.clone()).collect();
    assert_eq!(servers.len(), 3, "{servers:?}");

    // One of three is rebooted: service goes on, and nobody else is cut.
    hosts[2].link_down(Segment::Server).expect("the cable");
    sql[2] = None;
    settle(&pair, "the rebooted one is out", [1, 1, 0]);
    assert_ne!(who(), hosts[2].name());
    for session in &mut sessions {
        let was_cut = session.server == hosts[2].name();
        assert!(was_cut || session.is_open(), "{}", session.server);
    }

    // Two of three are down: the remaining one serves. All three: the first connection after a quiet second is refused.
    sql[1] = None;
    settle(&pair, "two are down", [1, 0, 0]);
    assert_eq!(who(), hosts[0].name());
    sql[0] = None;
    settle(&pair, "all are down", [0, 0, 0]);
    sleep(Duration::from_secs(1));
    let began = Instant::now();
    let refused = Client::new(client).get(vip);
    assert_eq!(refused, Err(Failure::Refused), "after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());

    // They come back, and rejoin by themselves.
    hosts[2].link_up(Segment::Server).expect("the cable");
    for (index, host) in hosts.iter().enumerate() {
        sql[index] = Some(serve(host, &data[index]));
    }
    settle(&pair, "all are back", [1, 1, 1]);
    who();

    // The master is rebooted.
    pair.power_off(0);
    let dead = Instant::now();
    wait_until("sessions can be opened again", SECONDS, || ask().code() == 0)
        .unwrap_or_else(|problem| panic!("{problem}\n{}", pair.shown()));
    measured(format_args!(
        "S1: a session {:?} after the director's death",
        dead.elapsed()
    ));
    assert_eq!(pair.holders(vip.ip()), BTreeSet::from([1]));
    pair.power_on(0);
    pair.start(0);
    pair.wait_for_master("the address returns", 0, &[vip.ip()]);
    settle(&pair, "the returned director has the whole pool", [1, 1, 1]);
    who();

    // The balancer fails and cannot be brought back: somebody clears its table again and again.
    let clears = "while :; do ipvsadm -C; sleep 0.3; done";
    let foe = pair.director(0).spawn(&["sh", "-c", clears]).expect("a shell");
    pair.wait_for_master("the address is given up", 1, &[vip.ip()]);
    who();
    drop(foe);
    let log = pair.log(0);
    for said in ["tracks what does not work: /usr/bin/grep", "is fault, was master"] {
        assert!(log.contains(said), "{said} in {log}");
    }
    assert_eq!(
        pair.errors(1),
        ["quorum lost", "nobody is left to serve"],
        "{}",
        pair.log(1)
    );
}
