//! ipvsd in ipvsadm's place: its names, restoring in one go, beside a running daemon. That its output and the tables it
//! makes are the original's is shown elsewhere, on both programs.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use ipvsd_lab::{Finished, Forwarding, Host, Topology, require_kernel};
use nix::sys::signal::Signal;

use crate::site::{Family, IPVSD, Site};

fn saved(host: &Host) -> String {
    host.exec_ok(&["ipvsadm", "-S", "-n"]).expect("ipvsadm")
}

/// ipvsd under one of ipvsadm's names.
fn called(host: &Host, name: &str) -> PathBuf {
    let path = host.directory().join(name);
    if !path.exists() {
        symlink(IPVSD, &path).expect("a symbolic link");
    }
    path
}

fn run(host: &Host, name: &str, arguments: &[&str], input: &str) -> Finished {
    let path = called(host, name).display().to_string();
    let command: Vec<_> = [path.as_str()].iter().chain(arguments).copied().collect();
    host.exec_with_input(&command, input).expect("ipvsd runs")
}

fn with_a_director(name: &str, test: impl FnOnce(&Host)) {
    require_kernel();
    let lab = Topology::one_segment().real_servers(1).build(name).expect("a topology");
    test(lab.director(0));
}

#[test]
fn under_the_names_of_ipvsadm_it_is_ipvsadm() {
    with_a_director("adm-names", |host| {
        let version = run(host, "ipvsadm", &["-v"], "");
        assert!(version.stdout.starts_with("ipvsadm v1.31 "), "{}", version.stdout);
        let usage = run(host, "ipvsadm", &["-z"], "");
        let path = called(host, "ipvsadm").display().to_string();
        assert_eq!(
            (usage.code(), usage.stderr),
            (
                255,
                format!("Try `{path} -h' or '{path} --help' for more information.\n")
            )
        );
        let table = "-A -t 192.0.2.200:80 -s rr\n-a -t 192.0.2.200:80 -r 192.0.2.11:80 -g -w 1\n";
        host.exec_ok(&["ipvsadm", "-A", "-f", "7"]).expect("ipvsadm");
        let commented = format!("# a comment\n{table}");
        let restored = run(host, "ipvsadm-restore", &[], &commented);
        assert_eq!((restored.code(), restored.stderr.as_str()), (0, ""));
        assert_eq!(saved(host), table, "what was there before is gone");
        assert_eq!(run(host, "ipvsadm-save", &["-n"], "").stdout, table);
        let help = run(host, "ipvsadm-save", &["-x"], "");
        assert_eq!((help.code(), help.stdout.as_str()), (1, ""));
        // A comment in the way of what is restored by the program itself ends it.
        assert_eq!(run(host, "ipvsadm", &["-R"], &commented).code(), 255);
        // The lines of a file are counted with its comments, and checked before the table is cleared.
        let bad = run(host, "ipvsadm-restore", &["--atomic"], "# one\n-A -t 192.0.2.200\n");
        assert_eq!(bad.code(), 2);
        assert!(
            bad.stderr.contains("ipvsadm: line 2, `-A -t 192.0.2.200`"),
            "{}",
            bad.stderr
        );
        assert_eq!(saved(host), table);
    });
}

/// More services than fit one batch.
fn services(count: usize) -> String {
    let mut lines = String::new();
    for index in 0..count {
        writeln!(lines, "-A -t 198.18.{}.{}:80 -s rr", index / 250, index % 250).expect("memory");
    }
    lines
}

#[test]
fn what_stands_before_a_bad_line_is_in_the_kernel_and_nothing_behind_it() {
    with_a_director("adm-bad", |host| {
        let input = services(300) + "-A -t 198.18.0.7:80\n-a -t 198.18.0.1:80 -r 192.0.2.11 -w x\n-A -f 1\n";
        let original = host.exec_with_input(&["ipvsadm", "-R"], &input).expect("ipvsadm");
        let expected = saved(host);
        host.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
        let ours = run(host, "ipvsadm", &["-R"], &input);
        assert_eq!(saved(host), expected);
        assert_eq!(expected.lines().count(), 300);
        assert_eq!(ours.code(), original.code());
        let (added, same): (Vec<_>, Vec<_>) = ours.stderr.lines().partition(|line| line.starts_with("ipvsadm: "));
        assert_eq!(same, original.stderr.lines().collect::<Vec<_>>());
        assert!(
            added[0].starts_with("ipvsadm: line 301, `-A -t 198.18.0.7:80`: "),
            "{added:?}"
        );
        assert!(
            added[1].starts_with("ipvsadm: line 302, `-a -t 198.18.0.1:80 -r 192.0.2.11 -w x`: "),
            "{added:?}"
        );
    });
}

#[test]
fn an_atomic_restore_writes_all_or_nothing_and_tells_of_every_bad_line() {
    with_a_director("adm-atomic", |host| {
        host.exec_ok(&["ipvsadm", "-A", "-t", "192.0.2.200:80", "-s", "rr"])
            .expect("ipvsadm");
        let before = saved(host);
        let bad =
            "-A -f 1\n-A -t 192.0.2.200:80\n-a -f 2 -r 192.0.2.11\n-a -f 1 -r 192.0.2.11 -w x\n-d -f 3 -r 192.0.2.11\n";
        let refused = run(host, "ipvsadm", &["-R", "--atomic"], bad);
        assert_eq!(refused.code(), 255);
        assert_eq!(
            refused.stderr,
            "Service already exists\nipvsadm: line 2, `-A -t 192.0.2.200:80`\n\
             Service not defined\nipvsadm: line 3, `-a -f 2 -r 192.0.2.11`\n\
             illegal weight specified\nipvsadm: line 4, `-a -f 1 -r 192.0.2.11 -w x`: `x` is no number from 0 to 2147483647\n\
             ipvsadm: nothing was written\n"
        );
        assert_eq!(saved(host), before);
        let good = services(300) + "-a -t 192.0.2.200:80 -r 192.0.2.11\n";
        let written = run(host, "ipvsadm", &["-R", "--atomic"], &good);
        assert_eq!((written.code(), written.stderr.as_str()), (0, ""));
        assert_eq!(saved(host).lines().count(), 302);
    });
}

#[test]
fn lines_take_effect_in_their_order_whatever_they_are() {
    with_a_director("adm-order", |host| {
        let input = "-A -f 1\n-a -f 1 -r 192.0.2.11\n-S -n\n-C\n-A -f 2\n--set 100 0 0\n-L --timeout\n-D -f 2\n-L -n -f 2\n-A -f 3\n";
        let original = host.exec_with_input(&["ipvsadm", "-R"], input).expect("ipvsadm");
        host.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
        let ours = run(host, "ipvsadm", &["-R"], input);
        assert_eq!((ours.code(), &ours.stdout), (original.code(), &original.stdout));
        assert_eq!(ours.code(), 1, "the listing of a service that is not there ends it");
        assert_eq!(saved(host), "");
    });
}

#[test]
fn a_table_of_many_batches_is_restored_as_by_the_original() {
    with_a_director("adm-many", |host| {
        let mut input = services(100);
        for index in 0..2000 {
            let service = index % 100;
            writeln!(
                input,
                "-a -t 198.18.0.{service}:80 -r 198.19.{}.{}:80 -m",
                service,
                1 + index / 100
            )
            .expect("memory");
        }
        host.exec_ok_with_input(&["ipvsadm", "-R"], &input).expect("ipvsadm");
        let expected = saved(host);
        host.exec_ok(&["ipvsadm", "-C"]).expect("ipvsadm");
        assert_eq!(run(host, "ipvsadm", &["-R"], &input).code(), 0);
        assert_eq!(saved(host), expected);
    });
}

#[test]
fn a_change_to_a_service_of_the_running_daemon_is_made_and_said_not_to_last() {
    let site = Site::build("adm-owned", Forwarding::Nat, Family::V4, 2, 1);
    let director = site.director();
    let daemon = site.run(
        "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.200:80\"\nscheduler = \"rr\"\nforward = \"nat\"\n\
         [[virtual_server.real_server]]\naddress = \"192.0.2.11\"\n[[virtual_server.real_server]]\naddress = \"192.0.2.12\"\n",
    );
    // It must not put anything back while its table is looked at.
    daemon.process.signal(Signal::SIGSTOP).expect("a signal");
    let adm = |arguments: &str| {
        let words: Vec<_> = arguments.split(' ').collect();
        let finished = run(director, "ipvsadm", &words, "");
        assert_eq!(finished.code(), 0, "{arguments}: {}", finished.stderr);
        finished.stderr
    };
    let warning = |lasting: &str| {
        format!(
            "ipvsadm: warning: tcp 192.0.2.200:80 belongs to the running ipvsd, which puts it back (what lasts: {lasting})\n"
        )
    };
    assert_eq!(
        adm("-e -t 192.0.2.200:80 -r 192.0.2.11:80 -m -w 7"),
        warning("`ipvsd weight` or `ipvsd drain`, or the configuration file")
    );
    assert!(saved(director).contains("-r 192.0.2.11:80 -m -w 7"));
    assert_eq!(
        adm("-d -t 192.0.2.200:80 -r 192.0.2.12:80"),
        warning("`ipvsd maint` or `ipvsd drain`, or the configuration file")
    );
    assert!(!saved(director).contains("192.0.2.12"));
    assert_eq!(adm("-E -t 192.0.2.200:80 -s wlc"), warning("the configuration file"));
    assert_eq!(adm("-A -t 192.0.2.99:25"), "", "a service of its own");
    assert_eq!(adm("-L -n"), "");
    assert_eq!(adm("-C"), warning("the configuration file"));
    assert_eq!(saved(director), "");
    daemon.process.signal(Signal::SIGKILL).expect("a signal");
    director
        .exec_ok(&["ipvsadm", "-A", "-t", "192.0.2.200:80"])
        .expect("ipvsadm");
    ipvsd_lab::wait_until("the daemon is gone", Duration::from_secs(10), || {
        run(director, "ipvsadm", &["-E", "-t", "192.0.2.200:80", "-s", "wlc"], "")
            .stderr
            .is_empty()
    })
    .expect("no warning without a daemon");
}

#[test]
fn without_the_privilege_it_says_so_as_the_original_does() {
    with_a_director("adm-eperm", |host| {
        let path = called(host, "ipvsadm").display().to_string();
        for arguments in [["-L", "-n"], ["-Z", "--sort"], ["-S", "-n"]] {
            let drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", &path];
            let command: Vec<_> = drop.iter().copied().chain(arguments).collect();
            let finished = host.exec(&command).expect("setpriv runs");
            assert_eq!(finished.code(), 2, "{}", finished.stderr);
            assert!(
                finished.stderr.starts_with(
                    "Can't initialize ipvs: Permission denied (you must be root)\n\
                     Are you sure that IP Virtual Server is built in the kernel or as module?\n"
                ),
                "{}",
                finished.stderr
            );
        }
    });
}
