//! Namespaces for the subjects, with what a case wants there before.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use ipvsd_lab::Namespace;

use crate::case::words;
use crate::subject::{Program, subjects};
use crate::table::Held;

/// A fresh namespace in which the original has run these command lines.
pub(crate) fn world(name: &str, needs_device: bool, given: &[String]) -> Namespace {
    let namespace = Namespace::create(&format!("{name}-{}", unique())).expect("a namespace");
    namespace.bring_loopback_up().expect("a loopback");
    if needs_device {
        namespace.enter(make_device).expect("a namespace");
    }
    if !given.is_empty() {
        namespace.enter(|| prepare(given)).expect("a namespace");
    }
    namespace
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A pair of devices that lead to each other, for sync daemons, which want one that is up.
fn make_device() {
    let lines = "link set lo up\n\
                 link add eth0 type veth peer name eth1\n\
                 addr add 192.0.2.1/24 dev eth0\n\
                 addr add 2001:db8:2::1/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 link set eth1 up\n";
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip");
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(lines.as_bytes())
        .expect("ip reads");
    assert!(child.wait().expect("ip ends").success(), "ip makes no device");
}

/// Writes what was there before: by the original where these lines come for the first time, then by copies of what it
/// left, for starting a process is what costs most.
pub(crate) fn prepare(given: &[String]) {
    static LEFT: Mutex<BTreeMap<Vec<String>, Held>> = Mutex::new(BTreeMap::new());
    let mut left = LEFT.lock().unwrap();
    if let Some(held) = left.get(given) {
        held.restore();
    } else {
        write_by_original(given);
        left.insert(given.to_vec(), Held::read());
    }
}

/// Services and destinations by one process, the rest one by one.
fn write_by_original(given: &[String]) {
    let (rules, others): (Vec<&String>, Vec<&String>) = given.iter().partition(|line| !line.starts_with("--"));
    if !rules.is_empty() {
        let text: String = rules.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let outcome = subjects().original.run(Program::Ipvsadm, &["-R"], &text);
        assert!(
            outcome.code == 0 && outcome.stderr.is_empty(),
            "cannot set up {given:?}: {outcome:?}"
        );
    }
    for line in others {
        let arguments = words(line).expect("closed quotes");
        let outcome = subjects().original.run(Program::Ipvsadm, &arguments, "");
        assert_eq!(outcome.code, 0, "cannot set up {line}: {outcome:?}");
    }
}
