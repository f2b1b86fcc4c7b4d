//! S4: MySQL read replicas behind direct routing and two directors of which none takes the address from the other; in
//! turn and with persistence, checked by a login. By `conf/mysql-replicas` as it is but for the password's file and the
//! paces.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipvsd_lab::{Host, Segment, wait_until};

use crate::mariadb;
use crate::pair::Pair;
use crate::routers::{Routers, SOON, measured};
use crate::site::ipvsd;

const PORT: u16 = 3306;
const PASSWORD_FILE: &str = "/etc/ipvsd/mysql.password";
/// The example's paces, and those of the test: persistence above the kernel's timeouts in both.
const PACES: [(&str, &str); 4] = [
    (
        "tcp = \"13s\", tcpfin = \"5s\", udp = \"13s\"",
        "tcp = \"5s\", tcpfin = \"2s\", udp = \"5s\"",
    ),
    ("persistence_timeout = \"15s\"", "persistence_timeout = \"6s\""),
    ("interval = \"2s\"", "interval = \"1s\""),
    ("advert_int = \"5s\"", "advert_int = \"500ms\""),
];
const TIMEOUTS: &str = "Timeout (tcp tcpfin udp): 5 2 5\n";
const STICKS: Duration = Duration::from_secs(6);

const STATEMENTS: &str = "CREATE USER IF NOT EXISTS ipvsd@'192.0.2.%' IDENTIFIED BY 'only to log in';\n\
                          CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\n";

#[test]
fn replicas_take_turns_or_keep_their_clients_and_a_director_that_returns_waits() {
    let routers = Routers::with_servers("s4", 2);
    let client = routers.lab.client(0);
    let [first, second] = [0, 1].map(|index| routers.lab.real_server(index));
    let data = mariadb::make(first, STATEMENTS);
    let data = [data.clone(), mariadb::copy(&data, second)];
    let _replicas = [
        mariadb::serve(first, &data[0], PORT, &["--skip-name-resolve"]),
        mariadb::serve(second, &data[1], PORT, &["--skip-name-resolve"]),
    ];
    let addresses = [first, second].map(|host| IpAddr::from(host.address4(Segment::Server)));
    let vips = [0, 1].map(|index| routers.vip(index));
    let [turns, sticky] = vips.map(|vip| SocketAddr::new(vip, PORT));

    let password = routers.lab.directory().join("password");
    std::fs::write(&password, "only to log in\n").expect("a file");
    let password = password.display().to_string();
    let words: Vec<_> = PACES.into_iter().chain([(PASSWORD_FILE, password.as_str())]).collect();
    let mut pair = Pair::new(&routers, "mysql-replicas", &words);
    pair.start(0);
    pair.wait_for_master("the only one", 0, &vips);
    pair.start(1);
    let settle = |pair: &Pair<'_>, what: &str, wanted: [Option<u32>; 2]| {
        let found = || {
            let services = [(0, turns), (0, sticky), (1, turns), (1, sticky)];
            services.map(|(index, service)| pair.weights(index, service, &addresses))
        };
        wait_until(what, SOON, || found().iter().all(|found| *found == wanted))
            .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", found(), pair.shown()));
    };
    let ask = |vip: SocketAddr, statement: &str| mariadb::ask(client, vip, "app", "app", statement);
    let answer = |vip: SocketAddr, statement: &str| {
        let asked = ask(vip, statement);
        assert_eq!(asked.code(), 0, "{statement}: {}", asked.stderr);
        asked.stdout.trim_end().to_owned()
    };
    let who = |vip| answer(vip, "SELECT @@hostname");
    let take_turns = |what: &str| {
        let order: Vec<_> = (0..4).map(|_| who(turns)).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 2, "{what}: {order:?}");
        assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{what}: {order:?}");
    };
    let both = [Some(1); 2];
    settle(&pair, "both replicas let the check log in", both);

    take_turns("at first");
    // MySQL sees who asks, and the check's user can log in and nothing else.
    let asker = client.address4(Segment::Client).to_string();
    assert_eq!(answer(turns, "SELECT SUBSTRING_INDEX(USER(), '@', -1)"), asker);
    let replica = SocketAddr::new(addresses[0], PORT);
    let check = |statement: &str| mariadb::ask(pair.director(0), replica, "ipvsd", "only to log in", statement);
    let grants = check("SHOW GRANTS").stdout;
    assert!(
        grants.lines().count() == 1 && grants.starts_with("GRANT USAGE ON *.* TO "),
        "{grants}"
    );
    assert_ne!(check("SELECT COUNT(*) FROM mysql.global_priv").code(), 0);

    // With persistence the client stays where it is, until it has stayed away for longer than that.
    let stays = who(sticky);
    let since = Instant::now();
    for _ in 0..3 {
        assert_eq!(who(sticky), stays);
    }
    wait_until("the kernel forgets the client", 4 * STICKS, || {
        let known = pair
            .director(0)
            .exec_ok(&["ipvsadm", "-L", "-c", "-n"])
            .expect("ipvsadm");
        !known.contains(&sticky.to_string())
    })
    .expect("forgotten");
    assert!(since.elapsed() >= STICKS, "{:?}", since.elapsed());
    assert_ne!(who(sticky), stays, "the other one's turn");

    // It accepts connections, and the check's login fails.
    mariadb::order(second, &data[1], "ALTER USER ipvsd@'192.0.2.%' ACCOUNT LOCK");
    settle(&pair, "a replica without logins is out", [Some(1), None]);
    let accepts = || TcpStream::connect((addresses[1], PORT));
    assert!(pair.director(0).in_namespace(accepts).expect("a namespace").is_ok());
    for vip in [turns, turns, sticky] {
        assert_eq!(who(vip), first.name());
    }
    let why = ipvsd(pair.director(0), &["why", &addresses[1].to_string()]).stdout;
    assert!(why.contains("refused: ") && why.contains("locked"), "{why}");
    mariadb::order(second, &data[1], "ALTER USER ipvsd@'192.0.2.%' ACCOUNT UNLOCK");
    settle(&pair, "it lets the check in again", both);

    // The master dies, and waits when it returns. Its kernel has the timeouts of the file again.
    let timeouts = |host: &Host| host.exec_ok(&["ipvsadm", "-L", "--timeout"]).expect("ipvsadm");
    assert_eq!([0, 1].map(|index| timeouts(pair.director(index))), [TIMEOUTS; 2]);
    pair.power_off(0);
    let dead = Instant::now();
    assert_ne!(timeouts(pair.director(0)), TIMEOUTS, "a reboot loses them");
    wait_until("the other one answers", SOON, || ask(turns, "SELECT 1").code() == 0)
        .unwrap_or_else(|problem| panic!("{problem}\n{}", pair.shown()));
    measured(format_args!(
        "S4: an answer {:?} after the director's death",
        dead.elapsed()
    ));
    pair.power_on(0);
    pair.start(0);
    settle(&pair, "the one that returned has both pools", both);
    // Longer than it would take one that preempts.
    sleep(Duration::from_secs(3));
    assert_eq!(
        vips.map(|vip| pair.holders(vip)),
        [BTreeSet::from([1]), BTreeSet::from([1])]
    );
    assert_eq!(timeouts(pair.director(0)), TIMEOUTS);
    take_turns("the second one is master");

    // Until the other one leaves.
    pair.stop(1);
    pair.wait_for_master("nobody else is left", 0, &vips);
    take_turns("the first one is master again");
}
