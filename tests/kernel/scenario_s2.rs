//! S2: a pair of SQL middlewares whose health an HTTP agent on another port tells, by `conf/mycat-pair.toml` as it is.
//!
//! Mycat is no package of Debian: a relay stands for it, in front of MariaDB. The second director and its VRRP are not
//! part of this test.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, Host, Process, Segment, wait_until};

use crate::mariadb;
use crate::probes::servers::start;
use crate::site::{Family, Site, table};

const EXAMPLE: &str = include_str!("../../conf/mycat-pair.toml");
/// The middleware's port, and the one of the database behind.
const SQL: u16 = 8066;
const DATABASE: u16 = 3306;
const AGENT: u16 = 48700;
/// What a slow machine may take on top of what the configuration promises.
const SLACK: Duration = Duration::from_secs(40);

const STATEMENTS: &str = "CREATE DATABASE IF NOT EXISTS shop;\n\
                          CREATE TABLE IF NOT EXISTS shop.orders (id INT PRIMARY KEY, what TEXT);\n\
                          CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app';\nGRANT ALL ON shop.* TO app@'%';\n";

/// Hands connections on to `argv[2]:argv[3]`, and keeps its process id in `argv[4]`.
const MIDDLEWARE: &str = "import asyncio, os, sys\n\
    open(sys.argv[4], 'w').write(str(os.getpid()))\n\
    async def pump(read, write):\n \
     try:\n  \
      while data := await read.read(65536):\n   \
       write.write(data)\n   \
       await write.drain()\n \
     except OSError: pass\n \
     finally: write.close()\n\
    async def serve(read, write):\n \
     onward_read, onward_write = await asyncio.open_connection(sys.argv[2], int(sys.argv[3]))\n \
     await asyncio.gather(pump(read, onward_write), pump(onward_read, write))\n\
    async def main():\n \
     server = await asyncio.start_server(serve, '0.0.0.0', int(sys.argv[1]))\n \
     await server.serve_forever()\n\
    asyncio.run(main())\n";

/// Answers `OPTIONS *` as the status command `argv[2]` ends, and writes each request's line and Host to `argv[3]`.
const STATUS_AGENT: &str = "import subprocess, sys\n\
    from http.server import BaseHTTPRequestHandler, HTTPServer\n\
    class Agent(BaseHTTPRequestHandler):\n \
     def do_OPTIONS(self):\n  \
      print(self.requestline, self.headers['Host'], file=log, flush=True)\n  \
      running = subprocess.call(['sh', '-c', sys.argv[2]]) == 0\n  \
      self.send_response(200 if running else 503)\n  \
      self.send_header('Content-Length', '0')\n  \
      self.end_headers()\n\
    log = open(sys.argv[3], 'w')\n\
    HTTPServer(('0.0.0.0', int(sys.argv[1])), Agent).serve_forever()\n";

fn middleware(host: &Host, database: &Host) -> Process {
    let pid = host.directory().join("mycat.pid").display().to_string();
    let (own, behind) = (SQL.to_string(), DATABASE.to_string());
    let address = database.address4(Segment::Server).to_string();
    start(
        host,
        &["/usr/bin/python3", "-c", MIDDLEWARE, &own, &address, &behind, &pid],
        SQL,
    )
}

/// The status command: whether the middleware's process is there and nobody has stopped it.
fn agent(host: &Host) -> Process {
    let directory = host.directory().display();
    let status = format!("test ! -e {directory}/stopped && kill -0 \"$(cat {directory}/mycat.pid)\" 2>/dev/null");
    let (port, log) = (AGENT.to_string(), format!("{directory}/requests"));
    start(
        host,
        &["/usr/bin/python3", "-c", STATUS_AGENT, &port, &status, &log],
        AGENT,
    )
}

#[test]
fn a_middleware_is_in_the_pool_as_its_agent_says_whatever_its_own_port_does() {
    let site = Site::build("s2", Forwarding::Nat, Family::V4, 3, 1);
    let [first, second, database] = [0, 1, 2].map(|index| site.lab.real_server(index));
    let data = mariadb::make(database, STATEMENTS);
    let _database = mariadb::serve(database, &data, DATABASE, &["--skip-name-resolve"]);
    let mut mycat = middleware(first, database);
    let _other = middleware(second, database);
    let _agents = [agent(first), agent(second)];
    let vip = SocketAddr::new(site.vip(0), 3307);
    assert!(EXAMPLE.contains(&format!("address = \"{vip}\"")), "{EXAMPLE}");
    let daemon = site.run(EXAMPLE);

    let weights = || {
        let found = table(site.director(), &["-t", &vip.to_string()]).unwrap_or_default();
        [0, 1].map(|index| {
            let key = SocketAddr::new(site.server_address(index), SQL);
            found.get(&key).map(|found| found.weight)
        })
    };
    // How long it took.
    let settles = |what: &str, wanted: [Option<u32>; 2], limit: Duration| {
        let started = Instant::now();
        let settled = wait_until(what, limit, || weights() == wanted);
        settled.unwrap_or_else(|error| panic!("{error}: {:?}\n{}", weights(), daemon.process.log()));
        started.elapsed()
    };
    let ask = |statements: &str| {
        let finished = mariadb::ask(site.lab.client(0), vip, "app", "app", statements);
        assert_eq!(finished.code(), 0, "{statements}: {}", finished.stderr);
        finished.stdout
    };
    let both = [Some(10), Some(10)];
    settles("both are in, with their weights", both, Duration::from_secs(4) + SLACK);

    // The check asks as it is told to.
    let requests = std::fs::read_to_string(first.directory().join("requests")).expect("requests");
    assert_eq!(requests.lines().next(), Some("OPTIONS * HTTP/1.1 mycat.example.com"));

    // A session through the virtual address reads and writes; connections go to both in turn.
    ask("INSERT INTO shop.orders VALUES (1, 'a book')");
    let session = ask("BEGIN; UPDATE shop.orders SET what = 'two books'; SELECT what FROM shop.orders; COMMIT");
    assert_eq!(session, "two books\n");
    assert_eq!(ask("SELECT what FROM shop.orders"), "two books\n");
    // The database sees from which middleware a statement comes.
    let through = || {
        ask("SELECT SUBSTRING_INDEX(USER(), '@', -1)")
            .trim_end()
            .parse()
            .expect("an address")
    };
    let order: Vec<IpAddr> = (0..6).map(|_| through()).collect();
    assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
    assert!(
        order.contains(&site.server_address(0)) && order.contains(&site.server_address(1)),
        "{order:?}"
    );

    // The status command says no, and the middleware's port accepts as before.
    let stopped = first.directory().join("stopped");
    std::fs::write(&stopped, "").expect("a file");
    // Three failures two seconds apart, from up to two seconds after this.
    let took = settles(
        "the stopped one leaves",
        [None, Some(10)],
        Duration::from_secs(6) + SLACK,
    );
    assert!(took >= Duration::from_secs(4), "three failures, not fewer: {took:?}");
    assert_eq!(ask("SELECT 1"), "1\n");
    let accepts = site
        .director()
        .in_namespace(|| TcpStream::connect((site.server_address(0), SQL)));
    assert!(accepts.expect("a namespace").is_ok(), "its port accepts all the while");
    std::fs::remove_file(&stopped).expect("a file");
    let took = settles("it returns", both, Duration::from_secs(4) + SLACK);
    assert!(took >= Duration::from_secs(2), "two successes, not fewer: {took:?}");

    // It is killed, and with it its port.
    mycat.kill();
    settles(
        "the killed one leaves",
        [None, Some(10)],
        Duration::from_secs(6) + SLACK,
    );
    for _ in 0..4 {
        assert_eq!(
            ask("SELECT what FROM shop.orders"),
            "two books\n",
            "nobody is sent to the dead one"
        );
    }
    mycat = middleware(first, database);
    settles("it rejoins", both, Duration::from_secs(4) + SLACK);
    assert_eq!(
        ask("UPDATE shop.orders SET what = 'three'; SELECT what FROM shop.orders"),
        "three\n"
    );
    assert!(mycat.is_running());
}
