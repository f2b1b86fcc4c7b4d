//! How long a crashed server stays in the table under a held connection: from the kill to weight 0 in the kernel.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use ipvsd_lab::{Forwarding, wait_until};

use crate::chance::{Times, measured};
use crate::site::{Family, Site};

const ROUNDS: usize = 30;
/// Of the check below.
const INTERVAL: Duration = Duration::from_secs(1);
/// Every look takes the guest's only processor, so it is one system call.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_crashed_server_under_a_held_connection_is_at_weight_0_at_once() {
    const NAME: &str = "hold-time";
    let site = Site::build(NAME, Forwarding::Direct, Family::V4, 1, 1);
    let mut nginx = site.nginx_on(1);
    let vip = SocketAddr::new(site.vip(0), 80);
    // Everything else is far away: only the held connection can tell in time.
    let check = "check = [{ type = \"tcp\", interval = \"1s\", retry_interval = \"1s\", timeout = \"1s\", rise = 1, \
                 fall = 3, hold = true }]";
    let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\ninhibit_on_failure = true\n{check}");
    let daemon = site.run(&site.virtual_server("web", &format!("address = \"{vip}\""), &more, &[(0, 1)]));
    // It shows the table of the namespace in which it was opened.
    let table = site.director().in_namespace(|| File::open("/proc/thread-self/net/ip_vs"));
    let table = table.expect("a namespace").expect("the kernel's table");
    let weight = || {
        let mut text = [0; 4096];
        let length = table.read_at(&mut text, 0).expect("the kernel's table");
        let text = String::from_utf8_lossy(&text[..length]);
        let destination = text.lines().filter_map(|line| line.trim().strip_prefix("-> ")).nth(1)?;
        destination.split_whitespace().nth(2)?.parse::<u32>().ok()
    };
    let held = || {
        let command = ["ss", "-tnH", "state", "established", "dport", "=", ":80"];
        site.director().exec_ok(&command).expect("ss").lines().count() == 1
    };
    let mut took = Times::default();
    for _ in 0..ROUNDS {
        wait_until("the server serves", SOON, || weight() == Some(1)).expect("in time");
        wait_until("it is held", SOON, held).expect("in time");
        // A connection that breaks before an interval has passed is not opened again at once.
        thread::sleep(INTERVAL + Duration::from_millis(200));
        // It is looked from beside: a group of processes takes its time to go.
        let (killed, seen) = thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let begin = Instant::now();
                while weight() != Some(0) {
                    assert!(begin.elapsed() < SOON, "{}", daemon.process.log());
                    thread::sleep(LOOK_EVERY);
                }
                Instant::now()
            });
            let killed = Instant::now();
            nginx[0].kill();
            (killed, looking.join().expect("a look"))
        });
        took.push(seen.duration_since(killed));
        nginx[0].restart().expect("nginx");
    }
    measured(NAME, format_args!("from the kill to weight 0: {took}"));
    // Three probes at their pace would take two seconds more than the next one.
    assert!(took.percentile(50) < Duration::from_secs(1), "{took}");
}
