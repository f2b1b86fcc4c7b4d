//! What a stranger says again and again is told once a minute, with its number.

use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::wait_until;

use crate::forged::Forger;
use crate::routers::{Routers, SOON, own};

#[test]
fn what_a_stranger_repeats_is_told_once_a_minute_with_its_number() {
    let routers = Routers::build("strangers");
    let vip = routers.vip(0);
    let daemon = routers.start(0, &routers.instance(0, own(150)), &[]);
    wait_until("it is master", SOON, || routers.has(0, vip)).expect("in time");
    let forger = Forger::on(routers.lab.client(0));
    let damaged = forger.good(51, vip).damaged();
    let send = |times: usize| {
        for _ in 0..times {
            forger.send(&damaged);
            sleep(Duration::from_millis(10));
        }
    };
    let told = || {
        let log = daemon.process.log();
        let lines = log.lines().filter(|line| line.contains("its checksum is wrong"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    send(30);
    sleep(Duration::from_secs(61));
    assert_eq!(told().len(), 1, "{:?}", told());
    send(1);
    wait_until("it is told again", SOON, || told().len() == 2).expect("in time");
    assert!(told()[1].ends_with("(30 times)"), "{:?}", told());
    send(5);
    sleep(Duration::from_secs(1));
    assert_eq!(told().len(), 2, "{:?}", told());
    assert!(routers.has(0, vip) && !daemon.process.log().contains("was master"));
}
