//! S4, the pool's part: MySQL read replicas behind direct routing, in turn and with persistence, checked by a login; by
//! `conf/mysql-replicas.toml` as it is but for the password's file. Who of two directors has the address is VRRP's, and
//! not part of this test.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::mariadb;
use crate::site::{Daemon, Family, Site, configure, ipvsd, table};

const EXAMPLE: &str = include_str!("../../conf/mysql-replicas.toml");
const PASSWORD_FILE: &str = "/etc/ipvsd/mysql.password";
const PORT: u16 = 3306;
/// What the configuration promises is at most 5 seconds; a slow machine may take this.
const SOON: Duration = Duration::from_secs(20);

const STATEMENTS: &str = "CREATE USER IF NOT EXISTS ipvsd@'192.0.2.%' IDENTIFIED BY 'only to log in';\n\
                          CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\n";

#[test]
fn replicas_take_turns_or_keep_their_clients_and_are_out_when_nobody_can_log_in() {
    let site = Site::build("s4", Forwarding::Direct, Family::V4, 2, 2);
    let [first, second] = [0, 1].map(|index| site.lab.real_server(index));
    let data = mariadb::make(first, STATEMENTS);
    let data = [data.clone(), mariadb::copy(&data, second)];
    let _first = mariadb::serve(first, &data[0], PORT, &["--skip-name-resolve"]);
    let replica = mariadb::serve(second, &data[1], PORT, &["--skip-name-resolve"]);
    let [turns, sticky] = [0, 1].map(|index| SocketAddr::new(site.vip(index), PORT));
    for address in [turns, sticky] {
        assert!(EXAMPLE.contains(&format!("address = \"{address}\"")), "{EXAMPLE}");
    }
    let director = site.director();
    let password = director.directory().join("password");
    std::fs::write(&password, "only to log in\n").expect("a file");
    assert!(EXAMPLE.contains(PASSWORD_FILE));
    let text = EXAMPLE.replace(PASSWORD_FILE, &password.display().to_string());
    let file = configure(director, &text);
    let daemon = Daemon::start(director, &file, &[]);

    let weights = || {
        [turns, sticky].map(|vip| {
            let found = table(director, &["-t", &vip.to_string()]).unwrap_or_default();
            [0, 1].map(|index| {
                let key = SocketAddr::new(site.server_address(index), PORT);
                found.get(&key).map(|found| found.weight)
            })
        })
    };
    let settles = |what: &str, wanted: [Option<u32>; 2]| {
        wait_until(what, SOON, || weights() == [wanted; 2]).unwrap_or_else(|error| {
            let why = [0, 1].map(|index| {
                let name = site.server_address(index).to_string();
                ipvsd(director, &["why", &name]).stdout
            });
            panic!("{error}: {:?}\n{}", weights(), why.join("\n"))
        });
    };
    let ask = |vip: SocketAddr, statement: &str| {
        let finished = mariadb::ask(site.lab.client(0), vip, "app", "app", statement);
        assert_eq!(finished.code(), 0, "{statement}: {}", finished.stderr);
        finished.stdout.trim_end().to_owned()
    };
    let who = |vip| ask(vip, "SELECT @@hostname");
    let both = [Some(1); 2];
    settles("both replicas let the check log in", both);

    // The kernel's timeouts are those of the file, also where somebody or a reboot has set others meanwhile.
    let timeouts = || director.exec_ok(&["ipvsadm", "-L", "--timeout"]).expect("ipvsadm");
    let wanted = "Timeout (tcp tcpfin udp): 13 5 13\n";
    assert_eq!(timeouts(), wanted);
    drop(daemon);
    director
        .exec_ok(&["ipvsadm", "--set", "900", "120", "300"])
        .expect("ipvsadm");
    let _daemon = Daemon::start(director, &file, &[]);
    assert_eq!(timeouts(), wanted);
    settles("both are in after a new start", both);

    // In turn.
    let order: Vec<_> = (0..6).map(|_| who(turns)).collect();
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 2, "{order:?}");
    assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");

    // MySQL sees who asks, and the check's user can log in and nothing else.
    let client = site.lab.client(0).address4(Segment::Server).to_string();
    assert_eq!(ask(turns, "SELECT SUBSTRING_INDEX(USER(), '@', -1)"), client);
    let check = |statement: &str| {
        mariadb::ask(
            director,
            SocketAddr::new(site.server_address(0), PORT),
            "ipvsd",
            "only to log in",
            statement,
        )
    };
    assert_eq!(check("SHOW GRANTS").stdout.lines().count(), 1);
    assert!(
        check("SHOW GRANTS").stdout.starts_with("GRANT USAGE ON *.* TO "),
        "{}",
        check("SHOW GRANTS").stdout
    );
    assert_ne!(check("SELECT COUNT(*) FROM mysql.global_priv").code(), 0);

    // With persistence the client stays where it is, until it has stayed away for longer than the 15 seconds.
    let stays = who(sticky);
    let since = Instant::now();
    for _ in 0..5 {
        assert_eq!(who(sticky), stays);
    }
    let remembered = || {
        let listed = director.exec_ok(&["ipvsadm", "-L", "-c", "-n"]).expect("ipvsadm");
        listed.contains(&sticky.to_string())
    };
    assert!(remembered());
    wait_until("the kernel forgets the client", Duration::from_secs(60), || {
        !remembered()
    })
    .expect("forgotten");
    assert!(since.elapsed() >= Duration::from_secs(15), "{:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(40), "{:?}", since.elapsed());
    assert_ne!(who(sticky), stays, "the other one's turn");

    // It accepts connections, and the check's login fails.
    mariadb::order(second, &data[1], "ALTER USER ipvsd@'192.0.2.%' ACCOUNT LOCK");
    settles("a replica without logins is out", [Some(1), None]);
    let accepts = || TcpStream::connect((site.server_address(1), PORT));
    assert!(director.in_namespace(accepts).expect("a namespace").is_ok());
    for vip in [turns, sticky] {
        for _ in 0..3 {
            assert_eq!(who(vip), first.name());
        }
    }
    let why = ipvsd(director, &["why", &site.server_address(1).to_string()]).stdout;
    assert!(why.contains("refused: ") && why.contains("locked"), "{why}");
    mariadb::order(second, &data[1], "ALTER USER ipvsd@'192.0.2.%' ACCOUNT UNLOCK");
    settles("it lets the check in again", both);

    // It accepts connections, and says nothing.
    replica.signal(Signal::SIGSTOP).expect("a signal");
    settles("a replica that hangs is out", [Some(1), None]);
    assert!(director.in_namespace(accepts).expect("a namespace").is_ok());
    assert_eq!(who(turns), first.name());
    replica.signal(Signal::SIGCONT).expect("a signal");
    settles("it goes on", both);
    let answers: BTreeSet<_> = (0..4).map(|_| who(turns)).collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
}
