//! The script probe with scripts of every kind.

use std::path::Path;
use std::time::{Duration, Instant};

use ipvsd::model::{ProbeType, WeightAdvice};

use super::{Form, Stand};

/// A check that runs a line of shell.
fn shell(line: &str, more: &str) -> String {
    format!("argv = [\"/bin/sh\", \"-c\", '''{line}''']\n{more}")
}

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Script);
    stand.passes(Form::Healthy, "argv = \"/bin/true\"", 80);
    let environment = shell(
        "test \"$(id -u):$(id -G):$(env | grep -vc '^PWD=\\|^SHLVL=\\|^_=\\|^OLDPWD=')\" = 65534:65534:3 && \
         test \"$IPVSD_SERVER_ADDRESS:$IPVSD_SERVER_PORT\" = 192.0.2.11:80 && test \"$PWD\" = /",
        "",
    );
    stand.passes(Form::Healthy, &environment, 80);
    let weighed = stand.passes(Form::Healthy, &shell("exit 12", "dynamic_weight = true"), 80);
    assert_eq!(weighed.advice.expect("advice").weight, Some(WeightAdvice::Absolute(10)));
    let late = Duration::from_millis(500);
    assert!(stand.passes(Form::Slow, "argv = [\"/bin/sleep\", \"0.5\"]", 80).latency >= late);
    stand.here(
        Form::Refusing,
        "argv = \"/no/such/script\"",
        80,
        "cannot start /no/such/script",
    );
    stand.here(Form::Refusing, "argv = \"/etc/passwd\"", 80, "cannot start /etc/passwd");
    stand.here(
        Form::Refusing,
        "argv = \"/bin/true\"\nuser = \"nobody-here\"",
        80,
        "there is no user `nobody-here`",
    );
    stand.fails(
        Form::WrongAnswer,
        &shell("echo disk full; echo more; exit 3", ""),
        80,
        "exit status 3, saying \"disk full\"",
    );
    stand.fails(
        Form::WrongAnswer,
        &shell("exit 1", "dynamic_weight = true"),
        80,
        "exit status 1",
    );
    stand.fails(Form::HalfBroken, &shell("kill -SEGV $$", ""), 80, "killed by signal 11");
    stand.fails(
        Form::Hanging,
        "timeout = \"500ms\"\nargv = [\"/bin/sleep\", \"60\"]",
        80,
        "no answer in time: the end of the script is missing",
    );
    stand.finish();
}

#[test]
fn nothing_is_left_of_a_script_however_it_behaves() {
    let stand = Stand::build(ProbeType::Script);
    let file = stand.director().directory().join("pids").display().to_string();
    let gone = |pids: &str| {
        let pids: Vec<_> = pids.split_whitespace().collect();
        assert_eq!(pids.len(), 2, "{pids:?}");
        // A killed child of a script is reaped by the lab's first process a moment later.
        let alive = |pid: &&str| {
            std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
                .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
        };
        ipvsd_lab::wait_until("both are gone", Duration::from_secs(5), || !pids.iter().any(alive)).expect("gone");
    };
    // It forks, and neither it nor its child heeds SIGTERM.
    let stubborn = format!("trap '' TERM HUP INT; (trap '' TERM HUP INT; sleep 60) & echo $$ $! >{file}; sleep 60");
    let started = Instant::now();
    stand.fails(
        Form::Hanging,
        &shell(&stubborn, "user = \"root\"\ntimeout = \"1500ms\""),
        80,
        "no answer in time",
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    gone(&std::fs::read_to_string(&file).expect("pids"));
    // It ends well and leaves a child behind that holds its output open.
    let started = Instant::now();
    let leaves = format!("sleep 60 & echo $$ $! >{file}; exit 0");
    stand.passes(Form::Healthy, &shell(&leaves, "user = \"root\""), 80);
    assert!(started.elapsed() < Duration::from_secs(5));
    gone(&std::fs::read_to_string(&file).expect("pids"));
    // It writes without end.
    stand.fails(
        Form::Hanging,
        "timeout = \"1s\"\nargv = [\"/usr/bin/yes\"]",
        80,
        "no answer in time",
    );
}
