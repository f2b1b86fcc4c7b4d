//! `make demo`: a director with a real nginx pool on a real IPVS kernel, in a minute.
//!
//! Shows what the README promises, with the program as a user runs it: traffic spreading, a real server dying and
//! being taken out, coming back, all dying and the sorry server taking over. Ends with 1 where anything is not as told.

#![allow(clippy::print_stdout, reason = "printing is what a demonstration is for")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipvsd_lab::{
    Client, Forwarding, Host, Lab, Nginx, Process, Topology, prepare_real_server_by_hand, require_kernel, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    require_kernel();
    let started = Instant::now();
    say("A director, three real servers with nginx and a client, each in a network namespace of its own.");
    let lab = Topology::one_segment().real_servers(3).build("demo")?;
    let vip = SocketAddr::new(lab.vip4(0).into(), 80);
    for server in lab.real_servers() {
        prepare_real_server_by_hand(server, Forwarding::Direct, &[vip.ip()])?;
    }
    let mut nginx = Vec::new();
    for (index, name) in ["web-1", "web-2", "sorry"].iter().enumerate() {
        nginx.push(Nginx::start(
            lab.real_server(index),
            &[(Ipv4Addr::UNSPECIFIED, 80).into()],
            name,
        )?);
    }
    let client = Client::new(lab.client(0)).timeout(Duration::from_secs(2));
    let director = Director::start(&lab, vip)?;
    director.show_configuration();

    say("Twenty requests to the virtual address. Weights are 3 and 1, the scheduler is wrr.");
    wait_for_pool(&client, vip, &["web-1", "web-2"])?;
    let spread = requests(&client, vip, 20)?;
    ensure!(
        spread.get("web-1") == Some(&15) && spread.get("web-2") == Some(&5),
        "the spread is {spread:?}"
    );
    director.list()?;

    say("nginx on web-1 is killed.");
    let killed = Instant::now();
    nginx[0].kill();
    wait_until("web-1 is out", PATIENCE, || {
        director.weight(lab.real_server(0)) == Some(0)
    })?;
    told(&format!(
        "out after {} ms, kept in the table with weight 0; every request goes to web-2 now",
        killed.elapsed().as_millis()
    ));
    let spread = requests(&client, vip, 10)?;
    ensure!(
        spread.len() == 1 && spread.contains_key("web-2"),
        "the spread is {spread:?}"
    );
    director.list()?;

    say("nginx on web-1 comes back.");
    nginx[0].restart()?;
    wait_until("web-1 is back", PATIENCE, || {
        director.weight(lab.real_server(0)) == Some(3)
    })?;
    let spread = requests(&client, vip, 20)?;
    ensure!(spread.len() == 2, "the spread is {spread:?}");

    say("Both are killed: the sorry server takes over.");
    nginx[0].kill();
    nginx[1].kill();
    wait_until("the sorry server serves", PATIENCE, || {
        director.weight(lab.real_server(2)) == Some(1)
    })?;
    let spread = requests(&client, vip, 5)?;
    ensure!(
        spread.len() == 1 && spread.contains_key("sorry"),
        "the spread is {spread:?}"
    );
    director.list()?;

    say("Both come back: the sorry server goes home. No instant without a server in between.");
    nginx[0].restart()?;
    nginx[1].restart()?;
    wait_for_pool(&client, vip, &["web-1", "web-2"])?;
    requests(&client, vip, 20)?;

    say("The daemon is killed. The kernel goes on forwarding.");
    let mut director = director;
    director.daemon.kill();
    requests(&client, vip, 20)?;

    say("What the daemon had to say:");
    for line in director
        .daemon
        .log()
        .lines()
        .filter(|line| line.contains("real server is") || line.contains("now served"))
    {
        println!("    {line}");
    }
    println!(
        "\nThe demonstration took {:.0} s. `make test` proves the rest; the README says how to go on.",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

struct Director<'lab> {
    host: &'lab Host,
    daemon: Process,
    configuration: String,
    ipvsd: String,
}

impl<'lab> Director<'lab> {
    fn start(lab: &'lab Lab, vip: SocketAddr) -> Result<Self> {
        let host = lab.director(0);
        let server = |index: usize| lab.real_server(index).address4(ipvsd_lab::Segment::Server);
        let configuration = format!(
            "[check.web-up]\ntype = \"tcp\"\ninterval = \"1s\"\nretry_interval = \"300ms\"\ntimeout = \"300ms\"\nrise = 2\nfall = 3\n\n\
             [[virtual_server]]\nname = \"web\"\naddress = \"{vip}\"\nscheduler = \"wrr\"\nforward = \"dr\"\n\
             sorry_server = \"{}\"\ninhibit_on_failure = true\ncheck = [\"web-up\"]\ndevice = \"eth0\"\n\n\
             [[virtual_server.real_server]]\naddress = \"{}\"\nweight = 3\n\n\
             [[virtual_server.real_server]]\naddress = \"{}\"\nweight = 1\n",
            server(2),
            server(0),
            server(1)
        );
        let file = host.directory().join("ipvsd.toml");
        std::fs::write(&file, &configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let ipvsd = program()?.display().to_string();
        let mut daemon = host.spawn(&[&ipvsd, "run", "-c", &file.display().to_string()])?;
        daemon.wait_for_log("ready:", PATIENCE)?;
        Ok(Self {
            host,
            daemon,
            configuration,
            ipvsd,
        })
    }

    fn show_configuration(&self) {
        say("The director runs `ipvsd run -c ipvsd.toml` with:");
        for line in self.configuration.lines() {
            println!("    {line}");
        }
    }

    /// Prints the table as the director's operator sees it.
    fn list(&self) -> Result<()> {
        println!("\n    director# ipvsd list -n");
        for line in self.host.exec_ok(&[&self.ipvsd, "list", "-n"])?.lines() {
            println!("    {line}");
        }
        Ok(())
    }

    /// The weight that the kernel has for a real server, asked of the original ipvsadm.
    fn weight(&self, server: &Host) -> Option<u32> {
        let listing = self.host.exec_ok(&["ipvsadm", "-L", "-n"]).ok()?;
        let key = format!("-> {}:80 ", server.address4(ipvsd_lab::Segment::Server));
        let line = listing.lines().find(|line| line.contains(&key))?;
        line.split_whitespace().nth(3)?.parse().ok()
    }
}

/// The program that was built along with this one.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let build = own.ancestors().nth(2).context("not in a build folder")?;
    Ok(build.join("ipvsd"))
}

fn say(line: &str) {
    println!("\n==> {line}");
}

fn told(line: &str) {
    println!("    {line}");
}

fn wait_for_pool(client: &Client<'_>, vip: SocketAddr, names: &[&str]) -> Result<()> {
    wait_until("the whole pool serves", PATIENCE, || {
        let answers: Vec<_> = (0..8).filter_map(|_| client.get(vip).ok()).collect();
        names.iter().all(|name| answers.iter().any(|answer| answer == name))
            && answers.iter().all(|answer| names.contains(&answer.as_str()))
    })?;
    // The next cycle of a weighted round robin starts at its beginning.
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}

fn requests(client: &Client<'_>, vip: SocketAddr, count: usize) -> Result<BTreeMap<String, usize>> {
    let spread = client.spread(vip, count)?;
    let shown: Vec<_> = spread.iter().map(|(name, count)| format!("{name} {count}")).collect();
    told(&format!("{count} requests, answered by: {}", shown.join(", ")));
    Ok(spread)
}
