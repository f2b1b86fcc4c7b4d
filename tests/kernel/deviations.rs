//! What operators make of a running configuration: servers that come and go, shares of weights, plans of reloads, and who
//! may do what.

use std::time::Duration;

use ipvsd_lab::{Forwarding, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{Daemon, Family, Site, configure, ipvsd, table};

const SOON: Duration = Duration::from_secs(10);
const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", timeout = \"200ms\" }]";

fn site(name: &str) -> Site {
    Site::build(name, Forwarding::Nat, Family::V4, 3, 1)
}

fn pool(site: &Site, servers: &[(usize, u32)], more: &str) -> String {
    let address = format!("address = \"{}:80\"", site.vip(0));
    let more = format!("scheduler = \"rr\"\ndevice = \"eth0\"\n{CHECK}\n{more}");
    site.virtual_server("web", &address, &more, servers)
}

fn server(site: &Site, index: usize) -> String {
    format!("{}:80", site.server_address(index))
}

/// The weights in the kernel, of each of the site's servers.
fn weights(site: &Site) -> [Option<u32>; 3] {
    let found = table(site.director(), &["-t", &format!("{}:80", site.vip(0))]).unwrap_or_default();
    [0, 1, 2].map(|index| {
        let address = server(site, index).parse().expect("an address");
        found.get(&address).map(|found| found.weight)
    })
}

fn wait_for(site: &Site, daemon: &Daemon, wanted: [Option<u32>; 3]) {
    wait_until("the weights in the kernel", SOON, || weights(site) == wanted).unwrap_or_else(|error| {
        panic!(
            "{error}: {:?}, wanted {wanted:?}\n{}",
            weights(site),
            daemon.process.log()
        )
    });
}

/// Runs a verb that has to succeed.
fn says(site: &Site, arguments: &[&str]) -> String {
    let finished = ipvsd(site.director(), arguments);
    assert_eq!(
        finished.code(),
        0,
        "{arguments:?}: {}{}",
        finished.stdout,
        finished.stderr
    );
    finished.stdout
}

#[test]
fn servers_are_added_and_removed_and_stay_so_over_a_reload_and_a_kill() {
    let site = site("dev-add");
    let _nginx = site.nginx_on(3);
    let daemon = site.run(&pool(&site, &[(0, 3), (1, 3)], ""));
    wait_for(&site, &daemon, [Some(3), Some(3), None]);
    let third = format!("web/{}", server(&site, 2));
    // What does not fit is refused in the configuration's words.
    for (wanted, words) in [
        (format!("web/{}", server(&site, 0)), "is in this pool already"),
        ("web/[2001:db8::1]:80".to_owned(), "is IPv6, its service IPv4"),
        (format!("web/{}:80", site.vip(0)), "is the virtual address itself"),
        ("web/web1".to_owned(), "names are not looked up"),
        ("wbe/192.0.2.9:80".to_owned(), "no virtual_server"),
        ("192.0.2.9:80".to_owned(), "write web/"),
    ] {
        let refused = ipvsd(site.director(), &["add", &wanted]);
        assert_eq!(refused.code(), 1, "{wanted}: {}", refused.stdout);
        assert!(refused.stderr.contains(words), "{wanted}: {}", refused.stderr);
    }
    let added = says(&site, &["add", &third, "--weight", "5"]);
    assert!(added.contains(": added"), "{added}");
    wait_for(&site, &daemon, [Some(3), Some(3), Some(5)]);
    // It is probed as the others are.
    let why = says(&site, &["why", &server(&site, 2)]);
    assert!(why.contains("check tcp passes"), "{why}");
    says(&site, &["remove", &server(&site, 0)]);
    wait_for(&site, &daemon, [None, Some(3), Some(5)]);
    let status = says(&site, &["status"]);
    assert!(
        status.contains(&format!("{third}: added with weight 5 (by root"))
            && status.contains(&format!("web/{}: removed (by root", server(&site, 0))),
        "{status}"
    );
    says(&site, &["reload"]);
    assert_eq!(ipvsd(site.director(), &["plan"]).stdout, "");
    wait_for(&site, &daemon, [None, Some(3), Some(5)]);
    let file = site.configure(&pool(&site, &[(0, 3), (1, 4)], ""));
    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    drop(daemon);
    let daemon = Daemon::start(site.director(), &file, &[]);
    wait_for(&site, &daemon, [None, Some(4), Some(5)]);
    says(&site, &["remove", &third]);
    says(&site, &["add", &format!("web/{}", server(&site, 0))]);
    wait_for(&site, &daemon, [Some(3), Some(4), None]);
    let status = says(&site, &["status"]);
    assert!(!status.contains("not as in the files"), "{status}");
}

#[test]
fn a_share_of_the_weight_and_what_holds_until_the_next_reload() {
    let site = site("dev-share");
    let _nginx = site.nginx_on(2);
    let daemon = site.run(&pool(&site, &[(0, 10), (1, 4)], ""));
    wait_for(&site, &daemon, [Some(10), Some(4), None]);
    says(&site, &["weight", &server(&site, 0), "50%"]);
    says(&site, &["weight", &server(&site, 1), "9", "--until-reload"]);
    wait_for(&site, &daemon, [Some(5), Some(9), None]);
    says(&site, &["drain", &server(&site, 0), "--until-reload"]);
    wait_for(&site, &daemon, [Some(0), Some(9), None]);
    // A plan knows that it would be over.
    let plan = ipvsd(site.director(), &["plan"]);
    assert_eq!(
        (plan.code(), plan.stdout.lines().count()),
        (3, 2),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    site.configure(&pool(&site, &[(0, 20), (1, 4)], ""));
    says(&site, &["reload"]);
    wait_for(&site, &daemon, [Some(10), Some(4), None]);
    says(&site, &["weight", &server(&site, 0), "auto"]);
    wait_for(&site, &daemon, [Some(20), Some(4), None]);
}

#[test]
fn servers_that_are_added_or_removed_until_the_next_reload_are_as_in_the_files_after_it() {
    let site = site("dev-until");
    let _nginx = site.nginx_on(3);
    let file = site.configure(&pool(&site, &[(0, 3), (1, 3)], ""));
    let mut daemon = Daemon::start(site.director(), &file, &[]);
    wait_for(&site, &daemon, [Some(3), Some(3), None]);
    let third = format!("web/{}", server(&site, 2));
    says(&site, &["add", &third, "--weight", "5", "--until-reload"]);
    says(&site, &["remove", &server(&site, 0), "--until-reload"]);
    wait_for(&site, &daemon, [None, Some(3), Some(5)]);
    // A reload that is refused is none.
    site.configure("virtual_server = 7\n");
    assert_eq!(ipvsd(site.director(), &["reload"]).code(), 1);
    assert_eq!(weights(&site), [None, Some(3), Some(5)]);
    site.configure(&pool(&site, &[(0, 3), (1, 3)], ""));
    says(&site, &["reload"]);
    wait_for(&site, &daemon, [Some(3), Some(3), None]);
    let status = says(&site, &["status"]);
    assert!(!status.contains("not as in the files"), "{status}");
    // A restart is no reload.
    says(&site, &["add", &third, "--until-reload"]);
    wait_for(&site, &daemon, [Some(3), Some(3), Some(1)]);
    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    daemon.process.wait(SOON).expect("an end");
    let daemon = Daemon::start(site.director(), &file, &[]);
    wait_for(&site, &daemon, [Some(3), Some(3), Some(1)]);
    let status = says(&site, &["status"]);
    assert!(status.contains("added with weight 1 until the next reload"), "{status}");
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    wait_for(&site, &daemon, [Some(3), Some(3), None]);
}

#[test]
fn a_plan_says_what_a_reload_does_with_the_states_that_checks_have_found() {
    let site = site("dev-plan");
    let nginx = site.nginx_on(2);
    let daemon = site.run(&pool(&site, &[(0, 3), (1, 3)], ""));
    wait_for(&site, &daemon, [Some(3), Some(3), None]);
    assert_eq!(ipvsd(site.director(), &["plan"]).code(), 0);
    // The second one dies: without a daemon it would count as up.
    let mut nginx = nginx;
    drop(nginx.pop());
    wait_for(&site, &daemon, [Some(3), None, None]);
    let service = format!("tcp {}:80", site.vip(0));
    let file = site.configure(&pool(&site, &[(0, 7), (1, 5), (2, 1)], ""));
    let path = file.to_str().expect("a path");
    let plan = ipvsd(site.director(), &["plan", "-c", path]);
    let step = format!("set real server {} of {service} (nat weight 7)\n", server(&site, 0));
    assert_eq!((plan.code(), &plan.stdout), (3, &step), "{}", plan.stderr);
    let waits = format!("web/{} comes in once its checks have passed", server(&site, 2));
    assert!(plan.stderr.contains(&waits), "{}", plan.stderr);
    let document = |arguments: &[&str]| -> Value {
        let finished = ipvsd(site.director(), &[&["plan", "--json"], arguments].concat());
        serde_json::from_str(&finished.stdout).expect("JSON")
    };
    let (asked, offline) = (document(&[]), document(&["--offline", "-c", path]));
    let members = |document: &Value| {
        document
            .as_object()
            .map(|object| object.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(members(&asked), members(&offline));
    assert_eq!((&asked["daemon"], &offline["daemon"]), (&true.into(), &false.into()));
    assert_eq!(offline["steps"].as_array().map(Vec::len), Some(3), "{offline}");
    assert_eq!(weights(&site), [Some(3), None, None], "a plan changes nothing");
    says(&site, &["reload"]);
    wait_for(&site, &daemon, [Some(7), None, None]);
    assert_eq!(ipvsd(site.director(), &["plan"]).code(), 0);
    // A file that cannot be used, and another one than the daemon's.
    let other = file.with_file_name("other.toml");
    std::fs::write(&other, pool(&site, &[(0, 9)], "")).expect("a file");
    let plan = ipvsd(site.director(), &["plan", "-c", other.to_str().expect("a path")]);
    assert!(
        plan.stderr.contains("not this file") && plan.code() == 3,
        "{}",
        plan.stderr
    );
    configure(site.director(), "nonsense");
    let plan = ipvsd(site.director(), &["plan"]);
    assert_eq!(plan.code(), 1);
    assert!(plan.stderr.contains("ipvsd.toml:1:"), "{}", plan.stderr);
}

#[test]
fn a_group_may_look_and_another_may_do_everything() {
    let site = site("dev-groups");
    let text = "[control]\ngroup = \"daemon\"\nread_group = \"adm\"\n".to_owned() + &pool(&site, &[(0, 3)], "");
    let _daemon = site.run(&text);
    let groups = std::fs::read_to_string("/etc/group").expect("groups");
    let gid = |name: &str| {
        let line = groups.lines().find_map(|line| line.strip_prefix(&format!("{name}:x:")));
        line.expect("the group")
            .split(':')
            .next()
            .expect("its number")
            .to_owned()
    };
    let (writers, readers) = (gid("daemon"), gid("adm"));
    // As a supplementary group, beside another first one.
    let run = |group: &str, verb: &[&str]| {
        let user = [
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--groups",
            group,
            crate::site::IPVSD,
        ];
        site.director().exec(&[&user, verb].concat()).expect("setpriv runs")
    };
    let drain = ["drain", &server(&site, 0)].map(str::to_owned);
    let drain: Vec<&str> = drain.iter().map(String::as_str).collect();
    for (group, looks, changes) in [
        (&writers, true, true),
        (&readers, true, false),
        (&"65534".to_owned(), false, false),
    ] {
        let status = run(group, &["status"]);
        assert_eq!(status.code() == 0, looks, "{group}: {}{}", status.stdout, status.stderr);
        let drained = run(group, &drain);
        assert_eq!(
            drained.code() == 0,
            changes,
            "{group}: {}{}",
            drained.stdout,
            drained.stderr
        );
    }
    let refused = run(&readers, &drain);
    assert!(refused.stderr.contains("`drain` is for root"), "{}", refused.stderr);
    let refused = run("65534", &["status"]);
    assert!(refused.stderr.contains("permission denied"), "{}", refused.stderr);
}
