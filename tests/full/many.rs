//! As many virtual routers as an interface can have in one family.

use std::time::{Duration, Instant};

use ipvsd_lab::wait_until;
use nix::sys::signal::Signal;

use crate::chance::measured;
use crate::routers::Routers;

/// How long all of them may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(90);

const ALL: usize = 255;

#[test]
fn all_numbers_of_an_interface_are_master_and_leave_nothing() {
    let log = are_master_and_leave_nothing("many", "");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn all_numbers_of_an_interface_have_a_virtual_mac_and_leave_nothing() {
    let log = are_master_and_leave_nothing("many-macs", "use_vmac = true\ngarp_master_delay = \"0s\"\n");
    // So many announcements at once may be too many for a queue; none is forgotten.
    let late = log.matches("announced at last").count();
    assert_eq!(log.matches("WARN").count(), late, "{log}");
}

/// Starts and ends a director with all of them, each told so much more. The log.
fn are_master_and_leave_nothing(name: &str, more: &str) -> String {
    let routers = Routers::build(name);
    let mut text = "virtual_server = []\n".to_owned();
    for number in 1..=ALL {
        text.push_str(&format!(
            "[[vrrp_instance]]\nname = \"VI_{number}\"\ninterface = \"eth0\"\nvirtual_router_id = {number}\n\
             virtual_address = [\"198.18.0.{number}\"]\n{more}"
        ));
    }
    let begin = Instant::now();
    let mut daemon = routers.start(0, &text, &[]);
    let there = || {
        let director = routers.director(0);
        let shown = director.exec_ok(&["ip", "-o", "-4", "address", "show"]).expect("ip");
        (1..=ALL)
            .filter(|number| shown.contains(&format!(" 198.18.0.{number}/32 ")))
            .count()
    };
    wait_until("all addresses are there", LIMIT, || there() == ALL)
        .unwrap_or_else(|problem| panic!("{problem}: {} of {ALL}\n{}", there(), daemon.process.log()));
    let took = begin.elapsed();
    // For as long as a backup would be patient: all of them keep speaking, and so none gives up.
    std::thread::sleep(Duration::from_secs(5));
    let log = daemon.process.log();
    assert_eq!(log.matches(" is master, was backup").count(), ALL, "{log}");
    assert!(!log.contains(", was master"), "{log}");
    assert_eq!(there(), ALL);
    let end = Instant::now();
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(LIMIT).expect("it ends");
    measured(
        name,
        format_args!(
            "{ALL} virtual routers on one interface: all addresses there {took:?} after the start, gone {:?} after the stop",
            end.elapsed()
        ),
    );
    assert_eq!(there(), 0);
    let made = ["ip", "-o", "link", "show", "type", "macvlan"];
    assert_eq!(routers.director(0).exec_ok(&made).expect("ip"), "");
    log
}
