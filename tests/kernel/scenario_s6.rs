//! S6: two proxies of layer 7, nginx with back ends of their own, behind two directors, by `conf/web-proxies` as it is
//! but for its paces and its script; and a MySQL pair whose address is where one of them is well, by `conf/mysql-pair`.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ipvsd_lab::{Host, Prober, Process, Segment, wait_until};

use crate::mariadb;
use crate::pair::Pair;
use crate::probes::servers::nginx;
use crate::routers::{Routers, SOON, measured};
use crate::site::ipvsd;

/// The example's words, and those of the test: its paces, and a script that passes while a file is there.
const WORDS: [(&str, &str); 4] = [
    ("interval = \"2s\"", "interval = \"1s\""),
    ("advert_int = \"1s\"", "advert_int = \"500ms\""),
    ("preempt_delay = \"30s\"", "preempt_delay = \"1s\""),
    (
        "\"/usr/local/lib/ipvsd/check-proxy\"",
        "\"/bin/sh\", \"-c\", \"test -e {directory}/proxy\"",
    ),
];

/// A proxy that sends `/shop` one way and all the rest another way, both to the host behind it.
fn proxy(host: &Host, behind: &Host) -> Process {
    let address = behind.address4(Segment::Server);
    let http = format!(
        "upstream shop {{ server {address}:8081; }}\nupstream site {{ server {address}:8082; }}\n\
         server {{ listen 80; server_name www.example.com;\n\
         location /shop {{ proxy_pass http://shop; }}\nlocation / {{ proxy_pass http://site; }} }}"
    );
    nginx(host, &http, 80)
}

/// The back ends of a proxy, which say where and what they are.
fn back_ends(host: &Host) -> Process {
    let server = |port: u16, what: &str| {
        let said = format!("return 200 \"{what} of {}\\n\"", host.name());
        format!("server {{ listen {port}; location / {{ default_type text/plain; {said}; }} }}\n")
    };
    nginx(host, &(server(8081, "shop") + &server(8082, "site")), 8081)
}

/// The body of an answer.
fn get(client: &Host, address: SocketAddr, path: &str) -> std::io::Result<String> {
    let ask = || {
        let timeout = Some(Duration::from_secs(5));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(timeout)?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: www.example.com\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(body.trim_end().to_owned())
    };
    client.in_namespace(ask).expect("a namespace")
}

#[test]
fn requests_go_on_without_a_proxy_a_director_or_what_its_script_asks_for() {
    let routers = Routers::with_servers("s6", 4);
    let client = routers.lab.client(0);
    let hosts = [0, 1, 2, 3].map(|index| routers.lab.real_server(index));
    let mut behind = [2, 3].map(|index| Some(back_ends(hosts[index])));
    let mut proxies = [0, 1].map(|index| Some(proxy(hosts[index], hosts[index + 2])));
    let addresses = [0, 1].map(|index| IpAddr::from(hosts[index].address4(Segment::Server)));
    let vip = SocketAddr::new(routers.vip(0), 80);
    let local = [0, 1].map(|index| routers.director(index).directory().join("proxy"));
    for file in &local {
        fs::write(file, "").expect("a file");
    }
    let mut pair = Pair::new(&routers, "web-proxies", &WORDS);
    for index in [0, 1] {
        pair.start(index);
    }
    let settle = |pair: &Pair<'_>, what: &str, wanted: [Option<u32>; 2]| {
        let found = || [0, 1].map(|index| pair.weights(index, vip, &addresses));
        wait_until(what, SOON, || found().iter().all(|found| *found == wanted))
            .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", found(), pair.shown()));
    };
    // Who answers so many requests; each of them has to be answered.
    let answers = |path: &str, requests: usize| {
        let mut answers: Vec<_> = (0..requests)
            .map(|_| get(client, vip, path).unwrap_or_else(|problem| panic!("{path}: {problem}")))
            .collect();
        answers.sort();
        answers.dedup();
        answers
    };
    let both = [Some(1); 2];
    pair.wait_for_master("150 is more than 100", 0, &[vip.ip()]);
    settle(&pair, "both proxies are well", both);
    assert_eq!(
        answers("/shop/1", 4),
        ["shop of real-server-3", "shop of real-server-4"]
    );
    assert_eq!(answers("/", 4), ["site of real-server-3", "site of real-server-4"]);

    // A proxy is killed: requests go on through the other one.
    proxies[0] = None;
    settle(&pair, "the killed one is out", [None, Some(1)]);
    let every = Duration::from_millis(50);
    let prober = Prober::start(client, vip, every, Duration::from_secs(2), Duration::from_secs(1)).expect("a prober");
    let report = prober.finish().expect("a report");
    assert!(report.failures().is_empty(), "{report}");
    assert_eq!(answers("/shop/1", 3), ["shop of real-server-4"]);
    proxies[0] = Some(proxy(hosts[0], hosts[2]));
    settle(&pair, "it is back", both);

    // The back ends of a proxy are gone; its own port answers as before.
    behind[1] = None;
    settle(&pair, "a proxy without back ends is out", [Some(1), None]);
    let own = get(pair.director(0), SocketAddr::new(addresses[1], 80), "/health");
    assert!(own.expect("an answer").contains("502"));
    assert_eq!(answers("/", 3), ["site of real-server-3"]);
    behind[1] = Some(back_ends(hosts[3]));
    settle(&pair, "its back ends are back", both);

    // The script of the master fails: its priority is lower, and the address moves. It passes: the address returns.
    fs::remove_file(&local[0]).expect("a file");
    pair.wait_for_master("90 is less than 100", 1, &[vip.ip()]);
    let status = ipvsd(pair.director(0), &["status"]).stdout;
    assert!(
        status.contains("tracks what does not work: /bin/sh") && status.contains("90"),
        "{status}"
    );
    answers("/", 2);
    // The other one's fails as well: 90 is more than 40.
    fs::remove_file(&local[1]).expect("a file");
    pair.wait_for_master("90 is more than 40", 0, &[vip.ip()]);
    for file in &local {
        fs::write(file, "").expect("a file");
    }

    // The director is killed: the address moves. It boots: the address returns.
    pair.power_off(0);
    let dead = Instant::now();
    let served = || get(client, vip, "/").is_ok();
    wait_until("requests are answered", SOON, served).unwrap_or_else(|problem| panic!("{problem}\n{}", pair.shown()));
    measured(format_args!(
        "S6: an answer {:?} after the director's death",
        dead.elapsed()
    ));
    assert_eq!(answers("/shop/1", 4).len(), 2);
    pair.power_on(0);
    pair.start(0);
    pair.wait_for_master("it is back", 0, &[vip.ip()]);
    settle(&pair, "with the whole pool", both);
    answers("/shop/1", 4);
    drop((behind, proxies));
}

#[test]
fn the_address_of_a_mysql_pair_is_where_one_of_them_is_well() {
    const PORT: u16 = 3306;
    let routers = Routers::with_servers("s6-mysql", 0);
    let client = routers.lab.client(0);
    let hosts = [0, 1].map(|index| routers.director(index));
    let first = mariadb::make(hosts[0], "CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\n");
    let data = [first.clone(), mariadb::copy(&first, hosts[1])];
    let serve = |index: usize| {
        Some(mariadb::serve(
            hosts[index],
            &data[index],
            PORT,
            &["--skip-name-resolve"],
        ))
    };
    let mut sql = [serve(0), serve(1)];
    let [root, libraries] = ["LAB_ROOT", "LD_LIBRARY_PATH"].map(|name| std::env::var(name).expect("the lab"));
    // What Debian's mysqladmin does, which is no part of the lab.
    let ping = format!(
        "\"/usr/bin/env\", \"LD_LIBRARY_PATH={libraries}\", \"{root}/usr/bin/mariadb\", \"--no-defaults\", \
         \"--protocol=tcp\", \"--host=127.0.0.1\", \"--user=app\", \"--password=app\", \"--execute=DO 1\""
    );
    let words = [
        ("\"/usr/bin/mysqladmin\", \"ping\"", ping.as_str()),
        ("interval = \"30s\"", "interval = \"1s\""),
        ("advert_int = \"1s\"", "advert_int = \"500ms\""),
    ];
    let mut pair = Pair::new(&routers, "mysql-pair", &words);
    for index in [0, 1] {
        pair.start(index);
    }
    let vip = SocketAddr::new(routers.vip(10), PORT);
    let settle = |pair: &Pair<'_>, what: &str, master: usize| {
        pair.wait_for_master(what, master, &[vip.ip()]);
        let asked = mariadb::ask(client, vip, "app", "app", "SELECT @@hostname");
        assert_eq!(
            asked.stdout.trim_end(),
            hosts[master].name(),
            "{what}: {}",
            asked.stderr
        );
    };
    settle(&pair, "both are well", 0);
    sql[0] = None;
    settle(&pair, "the first one is not", 1);
    let status = ipvsd(hosts[0], &["status"]).stdout;
    assert!(status.contains("fault"), "{status}");
    sql[0] = serve(0);
    settle(&pair, "it is well again", 0);
    drop(sql);
}
