//! S3, the pool's part: two MySQL masters; all writing clients on the first one, the second one steps in as the sorry
//! server and stays until somebody orders the return; reading clients on both. By `conf/mysql-writer.toml` as it is but
//! for its paces. Who of two directors has the addresses is VRRP's, and not part of this test.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ipvsd_lab::{Forwarding, wait_until};

use crate::mariadb;
use crate::site::{Daemon, Family, Site, configure, ipvsd, table};

const EXAMPLE: &str = include_str!("../../conf/mysql-writer.toml");
const PORT: u16 = 3306;
const SOON: Duration = Duration::from_secs(30);
/// The example's paces, and those of the test.
const PACES: [[&str; 2]; 3] = [
    ["interval = \"6s\"", "interval = \"600ms\""],
    ["retry_interval = \"3s\"", "retry_interval = \"300ms\""],
    ["timeout = \"3s\"", "timeout = \"2s\""],
];
const STATEMENTS: &str = "CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\n";

#[test]
fn the_writer_is_replaced_at_once_and_comes_back_only_when_it_is_told_to() {
    let site = Site::build("s3-pool", Forwarding::Direct, Family::V4, 2, 2);
    let [first, second] = [0, 1].map(|index| site.lab.real_server(index));
    let data = mariadb::make(first, STATEMENTS);
    let data = [data.clone(), mariadb::copy(&data, second)];
    let serve = |index: usize| {
        let host = site.lab.real_server(index);
        mariadb::serve(host, &data[index], PORT, &["--skip-name-resolve"])
    };
    let mut master = serve(0);
    let _backup = serve(1);
    let [write, read] = [0, 1].map(|index| SocketAddr::new(site.vip(index), PORT));
    for address in [write, read] {
        assert!(EXAMPLE.contains(&format!("address = \"{address}\"")), "{EXAMPLE}");
    }
    let director = site.director();
    let mut text = EXAMPLE.to_owned();
    for [slow, quick] in PACES {
        assert!(text.contains(slow), "{slow}");
        text = text.replacen(slow, quick, 1);
    }
    let file = configure(director, &text);
    let _daemon = Daemon::start(director, &file, &[]);

    let weights = |vip: SocketAddr| {
        let found = table(director, &["-t", &vip.to_string()]).unwrap_or_default();
        [0, 1].map(|index| {
            let key = SocketAddr::new(site.server_address(index), PORT);
            found.get(&key).map(|found| found.weight)
        })
    };
    let settles = |what: &str, writes: [Option<u32>; 2], reads: [Option<u32>; 2]| {
        wait_until(what, SOON, || (weights(write), weights(read)) == (writes, reads)).unwrap_or_else(|error| {
            let status = ipvsd(director, &["status"]).stdout;
            panic!("{error}: {:?} {:?}\n{status}", weights(write), weights(read))
        });
    };
    let who = |vip: SocketAddr| {
        let finished = mariadb::ask(site.lab.client(0), vip, "app", "app", "SELECT @@hostname");
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        finished.stdout.trim_end().to_owned()
    };
    let both = [Some(3), Some(3)];
    settles("the master writes, both read", [Some(1), None], both);
    assert_eq!([who(write), who(write)], [first.name(), first.name()]);
    let readers: BTreeSet<_> = (0..4).map(|_| who(read)).collect();
    assert_eq!(readers.len(), 2, "{readers:?}");

    master.kill();
    settles("the backup steps in", [None, Some(1)], [None, Some(3)]);
    // The client had been with the master a moment ago: persistence does not hold it there.
    assert_eq!([who(write), who(read)], [second.name(), second.name()]);

    let _master = serve(0);
    settles("both read again, the backup writes", [None, Some(1)], both);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(weights(write), [None, Some(1)], "nobody has ordered the return");
    assert_eq!(who(write), second.name());
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains("sorry server"), "{status}");

    let returned = ipvsd(director, &["return", "write"]);
    assert_eq!(returned.code(), 0, "{}", returned.stderr);
    settles("the master writes again", [Some(1), None], both);
    wait_until("the client writes to the master", SOON, || who(write) == first.name()).expect("in time");
}
