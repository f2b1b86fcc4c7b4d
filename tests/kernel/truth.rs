//! The table is what the configuration says: others who change it, pauses, and reloads that would take too much away.

use std::fs;
use std::time::Duration;

use ipvsd_lab::{Forwarding, Host, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{Daemon, Family, Site, configure, ipvsd};

const SOON: Duration = Duration::from_secs(10);

/// A director with room for virtual addresses; nothing answers anywhere, for tables only.
fn bare(name: &str) -> Site {
    Site::build(name, Forwarding::Nat, Family::V4, 2, 1)
}

/// One service without checks.
fn service(port: u16, servers: &[u8], more: &str) -> String {
    let mut text = format!(
        "[[virtual_server]]\nname = \"s{port}\"\naddress = \"192.0.2.200:{port}\"\nscheduler = \"rr\"\n\
         forward = \"dr\"\n{more}\n"
    );
    for server in servers {
        text += &format!("[[virtual_server.real_server]]\naddress = \"192.0.2.{server}\"\n");
    }
    text
}

/// The real servers of a service in the kernel with their weights, `11=1 12=1`; `None` where there is no such service.
fn found(host: &Host, port: u16) -> Option<String> {
    let saved = host.exec_ok(&["ipvsadm", "-S", "-n"]).expect("ipvsadm");
    let service = format!(" -t 192.0.2.200:{port} ");
    let lines: Vec<_> = saved.lines().filter(|line| line.contains(&service)).collect();
    lines.iter().find(|line| line.starts_with("-A "))?;
    let mut servers: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("-a "))
        .map(|line| {
            let word = |after: &str| {
                line.split(after)
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next())
                    .unwrap_or("")
            };
            let server = word(" -r 192.0.2.").split(':').next().unwrap_or("");
            format!("{server}={}", word(" -w "))
        })
        .collect();
    servers.sort();
    Some(servers.join(" "))
}

fn wait_for(host: &Host, daemon: &Daemon, port: u16, wanted: Option<&str>) {
    wait_until("the table is as wanted", SOON, || {
        found(host, port).as_deref() == wanted
    })
    .unwrap_or_else(|error| {
        panic!(
            "{error}: {:?}, wanted {wanted:?}\n{}",
            found(host, port),
            daemon.process.log()
        )
    });
}

fn adm(host: &Host, line: &str) {
    let command: Vec<_> = ["ipvsadm"].into_iter().chain(line.split(' ')).collect();
    host.exec_ok(&command).expect("ipvsadm");
}

fn status(host: &Host) -> Value {
    let finished = ipvsd(host, &["status", "--json"]);
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr))
}

#[test]
fn a_program_that_keeps_changing_a_service_is_named_and_not_fought_for_ever() {
    let site = bare("truth-quarrel");
    let director = site.director();
    let text =
        String::from("[reconcile]\ninterval = \"500ms\"\n") + &service(80, &[11, 12], "") + &service(81, &[11], "");
    let daemon = Daemon::start(director, &configure(director, &text), &[]);
    // A rival by name, which is all that can be known of it.
    let folder = director.directory().join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    let rival = folder.join("ldirectord");
    fs::copy("/bin/sleep", &rival).expect("a copy of sleep");
    let _rival = director
        .spawn(&[rival.to_str().expect("a path"), "60"])
        .expect("a process");
    let mut blows = 0;
    wait_until("it is called a quarrel", SOON * 2, || {
        if found(director, 80).as_deref() == Some("11=1 12=1") {
            adm(director, "-e -t 192.0.2.200:80 -r 192.0.2.11:80 -g -w 7");
            blows += 1;
        }
        daemon.process.log().contains("keeps changing")
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", daemon.process.log()));
    let log = daemon.process.log();
    assert!(blows >= 6, "{blows}\n{log}");
    assert!(log.contains("is it ldirectord (pid "), "{log}");
    assert_eq!(status(director)["contested"][0]["service"], "tcp 192.0.2.200:80");
    // The other service is repaired at once all the same, and a new configuration is in force at once.
    adm(director, "-D -t 192.0.2.200:81");
    wait_for(director, &daemon, 81, Some("11=1"));
    assert_eq!(found(director, 80).as_deref(), Some("11=7 12=1"), "its repair waits");
    let operator = ipvsd(director, &["maint", "s80/192.0.2.12:80"]);
    assert_eq!(operator.code(), 0, "{}", operator.stderr);
    wait_for(director, &daemon, 80, Some("11=7"));
    // Somebody has touched it for the last time: ten seconds after the last time it is right.
    wait_for(director, &daemon, 80, Some("11=1"));
}

#[test]
fn others_destinations_stay_where_they_may_for_plan_apply_and_the_daemon() {
    let site = bare("truth-foreign");
    let director = site.director();
    let keeps = "foreign_destinations = \"keep\"";
    let text = |servers: &[u8]| {
        String::from("[reconcile]\ninterval = \"500ms\"\n") + &service(80, servers, keeps) + &service(81, servers, "")
    };
    let file = configure(director, &text(&[11, 12]));
    let path = file.to_str().expect("a path");
    assert_eq!(ipvsd(director, &["apply", "-c", path]).code(), 0);
    for port in [80, 81] {
        adm(
            director,
            &format!("-a -t 192.0.2.200:{port} -r 192.0.2.66:{port} -g -w 9"),
        );
    }
    configure(director, &text(&[11]));
    let plan = ipvsd(director, &["plan", "-c", path]);
    let wanted = "remove real server 192.0.2.12:80 from tcp 192.0.2.200:80\n\
                  remove real server 192.0.2.12:81 from tcp 192.0.2.200:81\n\
                  remove real server 192.0.2.66:81 from tcp 192.0.2.200:81\n";
    assert_eq!((plan.code(), plan.stdout.as_str()), (3, wanted), "{}", plan.stderr);
    assert_eq!(ipvsd(director, &["apply", "-c", path]).code(), 0);
    assert_eq!(found(director, 80).as_deref(), Some("11=1 66=9"));
    let daemon = Daemon::start(director, &file, &[]);
    adm(director, "-a -t 192.0.2.200:81 -r 192.0.2.66:81 -g -w 9");
    adm(director, "-e -t 192.0.2.200:80 -r 192.0.2.66:80 -g -w 3");
    wait_for(director, &daemon, 81, Some("11=1"));
    assert_eq!(
        found(director, 80).as_deref(),
        Some("11=1 66=3"),
        "{}",
        daemon.process.log()
    );
}

#[test]
fn nothing_is_written_during_a_pause() {
    let site = bare("truth-pause");
    let director = site.director();
    let text = String::from("[reconcile]\ninterval = \"500ms\"\n") + &service(80, &[11, 12], "");
    let daemon = Daemon::start(director, &configure(director, &text), &[]);
    let paused = ipvsd(director, &["pause", "1h"]);
    assert!(
        paused.stdout.starts_with("paused until "),
        "{}{}",
        paused.stdout,
        paused.stderr
    );
    adm(director, "-d -t 192.0.2.200:80 -r 192.0.2.11:80");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(found(director, 80).as_deref(), Some("12=1"));
    let shown = ipvsd(director, &["status"]).stdout;
    assert!(shown.contains("PAUSED: nothing is written"), "{shown}");
    assert!(daemon.process.log().contains("PAUSED"), "{}", daemon.process.log());
    let resumed = ipvsd(director, &["resume"]);
    assert_eq!(resumed.stdout, "the kernel's table is written\n", "{}", resumed.stderr);
    wait_for(director, &daemon, 80, Some("11=1 12=1"));
    assert!(
        !daemon.process.log().contains("somebody else"),
        "{}",
        daemon.process.log()
    );
    assert_eq!(status(director)["paused_until"], Value::Null);
    assert_eq!(ipvsd(director, &["pause", "2d"]).code(), 2);
}

#[test]
fn a_pause_ends_with_the_process_that_was_asked_for_it() {
    let site = bare("truth-pause-end");
    let director = site.director();
    let text = String::from("[reconcile]\ninterval = \"500ms\"\n") + &service(80, &[11, 12], "");
    let file = configure(director, &text);
    let mut daemon = Daemon::start(director, &file, &[]);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let paused = ipvsd(director, &["pause", "1h"]);
        assert_eq!(paused.code(), 0, "{}", paused.stderr);
        adm(director, "-d -t 192.0.2.200:80 -r 192.0.2.11:80");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(found(director, 80).as_deref(), Some("12=1"));
        daemon.process.signal_alone(signal).expect("a signal");
        daemon.process.wait(SOON).expect("an end");
        assert_eq!(
            found(director, 80).as_deref(),
            Some("12=1"),
            "nothing was written at the end"
        );
        daemon = Daemon::start(director, &file, &[]);
        wait_for(director, &daemon, 80, Some("11=1 12=1"));
        assert_eq!(status(director)["paused_until"], Value::Null);
    }
}

#[test]
fn a_reload_that_takes_too_much_away_is_refused_unless_it_is_forced() {
    let site = bare("truth-limit");
    let director = site.director();
    let eight = [11, 12, 13, 14, 15, 16, 17, 18];
    let file = configure(director, &service(80, &eight, ""));
    let daemon = Daemon::start(director, &file, &[]);
    let before = found(director, 80);
    configure(director, &service(80, &eight[..3], ""));
    assert!(status(director)["configuration"]["changed"].as_bool().expect("a word"));
    let refused = ipvsd(director, &["reload"]);
    assert_eq!(refused.code(), 1, "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.stderr.contains("5 of 8 real servers") && refused.stderr.contains("reload --force"),
        "{}",
        refused.stderr
    );
    assert!(
        refused
            .stderr
            .contains("real server 192.0.2.18:80 of tcp 192.0.2.200:80 (s80)"),
        "{}",
        refused.stderr
    );
    let told = |daemon: &Daemon| daemon.process.log().matches("reload --force").count();
    let once = told(&daemon);
    daemon.process.signal_alone(Signal::SIGHUP).expect("a signal");
    wait_until("SIGHUP is refused as well", SOON, || told(&daemon) > once).expect("a line in the log");
    assert_eq!(found(director, 80), before);
    let shown = ipvsd(director, &["status"]).stdout;
    assert!(
        shown.contains("was refused") && shown.contains("is not in use"),
        "{shown}"
    );
    // What is in use can be seen, whatever the file says.
    let running = ipvsd(director, &["config"]).stdout;
    assert!(running.contains("192.0.2.18"), "{running}");
    let forced = ipvsd(director, &["reload", "--force"]);
    assert_eq!(forced.code(), 0, "{}", forced.stderr);
    wait_for(director, &daemon, 80, Some("11=1 12=1 13=1"));
    assert!(!ipvsd(director, &["config"]).stdout.contains("192.0.2.18"));
    assert_eq!(status(director)["configuration"]["refused"], Value::Null);
}

#[test]
fn a_file_that_changes_is_read_again_and_a_half_written_one_changes_nothing() {
    let site = bare("truth-watch");
    let director = site.director();
    let file = configure(director, "include = \"conf.d/*.toml\"\n[reload]\non_change = true\n");
    let folder = file.parent().expect("a folder").join("conf.d");
    fs::create_dir_all(&folder).expect("a folder");
    let part = folder.join("80.toml");
    fs::write(&part, service(80, &[11], "")).expect("a file");
    let daemon = Daemon::start(director, &file, &[]);
    wait_for(director, &daemon, 80, Some("11=1"));
    fs::write(&part, service(80, &[11, 12], "")).expect("a file");
    wait_for(director, &daemon, 80, Some("11=1 12=1"));
    // One that is broken, or only half there, is refused; when it is whole it counts.
    let whole = service(80, &[11, 12, 13], "");
    fs::write(&part, &whole[..whole.len() - 7]).expect("a file");
    wait_until("it is refused", SOON, || {
        daemon.process.log().contains("configuration refused")
    })
    .expect("a line in the log");
    assert_eq!(found(director, 80).as_deref(), Some("11=1 12=1"));
    fs::write(&part, whole).expect("a file");
    wait_for(director, &daemon, 80, Some("11=1 12=1 13=1"));
    // A file more, and one that has nothing to do with it.
    fs::write(folder.join("81.toml"), service(81, &[11], "")).expect("a file");
    wait_for(director, &daemon, 81, Some("11=1"));
    let reloads = daemon.process.log().matches("configuration reloaded").count();
    fs::write(folder.join("81.toml~"), "nonsense").expect("a file");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(daemon.process.log().matches("configuration reloaded").count(), reloads);
}

#[test]
fn a_service_that_leaves_the_file_is_drained_first() {
    let site = bare("truth-leave");
    let director = site.director();
    let drains = "on_down = \"drain\"\ndrain_timeout = \"60s\"";
    let pair = |text: &str| String::from("[reconcile]\ninterval = \"500ms\"\n") + &service(81, &[11], "") + text;
    let file = configure(director, &pair(&service(80, &[11, 12], drains)));
    let daemon = Daemon::start(director, &file, &[]);
    wait_for(director, &daemon, 80, Some("11=1 12=1"));
    configure(director, &pair(""));
    assert_eq!(ipvsd(director, &["reload"]).code(), 0);
    // Nobody has a connection, so it is gone as soon as that has been seen.
    wait_for(director, &daemon, 80, None);
    let log = ipvsd(director, &["events"]).stdout;
    assert!(!log.contains("somebody else"), "{log}");
    assert_eq!(found(director, 81).as_deref(), Some("11=1"));
}
