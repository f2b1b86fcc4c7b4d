//! What a third host sends to virtual routers that is no advert, not theirs, or not meant honestly.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::Segment;

use crate::forged::Forger;
use crate::routers::{Routers, measured, spacing};

/// A virtual router of version 3 with adverts of half a second, and one of version 2 with a password.
fn text(routers: &Routers, index: usize) -> String {
    let (device, priority) = (routers.device(index), [150, 100][index]);
    let one = |number: u8, more: &str| {
        format!(
            "[[vrrp_instance]]\nname = \"VI_{number}\"\ninterface = \"{device}\"\nvirtual_router_id = {number}\n\
             priority = {priority}\n{more}\n"
        )
    };
    let (three, two) = (routers.vip(0), routers.vip(1));
    format!(
        "virtual_server = []\n{}{}",
        one(
            51,
            &format!("advert_int = \"500ms\"\nvirtual_address = [\"{three}/24\"]")
        ),
        one(
            52,
            &format!("version = 2\npassword = \"secret\"\nvirtual_address = [\"{two}/24\"]")
        ),
    )
}

#[test]
fn what_strangers_send_is_named_once_and_keeps_nobody_from_speaking() {
    const FLOOD: Duration = Duration::from_secs(3);
    const A_SECOND: u32 = 5_000;
    let routers = Routers::build("vrrp-strangers");
    let (vip, second_vip) = (routers.vip(0), routers.vip(1));
    // Else the kernel drops what comes in from an address of its own.
    routers
        .director(0)
        .set_sysctl("net/ipv4/conf/eth0/accept_local", "1")
        .expect("a setting");
    let first = routers.start(0, &text(&routers, 0), &[]);
    let second = routers.start(1, &text(&routers, 1), &[]);
    routers.wait_for_master("the higher one has it", 0, vip);
    routers.wait_for_master("the higher one has the second", 0, second_vip);
    let adverts = routers.watch_adverts(0);

    let client = routers.lab.client(0);
    let (stranger, master) = (
        client.address4(Segment::Client),
        routers.director(0).address4(Segment::Client),
    );
    let forger = Forger::on(client);
    let good = forger.good(51, vip);
    let with_password = |password, seconds| forger.version_2(52, second_vip, password, seconds);
    let no_advert = |why: &str| format!("a packet from {stranger} on eth0 is no advert: {why}");
    let refused = |number: u8, source, why: &str| format!("VI_{number}: an advert from {source} has {why}");
    let kinds = [
        (good.clone().cut(5), no_advert("it is cut off after 5 bytes")),
        (good.clone().cut(10), no_advert("it names 1 addresses, for which 10")),
        (good.clone().damaged(), no_advert("its checksum is wrong")),
        (
            good.clone().with_ttl(64),
            no_advert("its time to live is 64 and not 255"),
        ),
        (
            with_password(b"Secret\0\0", 1),
            refused(52, stranger, "another password"),
        ),
        (
            with_password(b"secret\0\0", 2),
            refused(52, stranger, "another `advert_int`"),
        ),
        (
            forger.version_2(51, vip, b"secret\0\0", 1),
            refused(51, stranger, "another version"),
        ),
        (good.clone().from(master), refused(51, master, "our own source address")),
    ];
    for _ in 0..10 {
        for (packet, _) in &kinds {
            forger.send(packet);
        }
        forger.send(&forger.good(99, vip));
        sleep(Duration::from_millis(100));
    }
    // To the master alone: for the whole segment they would cost a slow guest more than it has.
    let flood = [good.clone().damaged(), good.with_ttl(64), forger.good(99, vip)].map(|packet| packet.to(master));
    let sent = forger.flood(&flood, A_SECOND, FLOOD);
    sleep(Duration::from_secs(2));

    let log = first.process.log();
    for (_, told) in &kinds {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(told)).collect();
        assert_eq!(lines.len(), 1, "`{told}` in {log}");
        assert!(lines[0].contains("WARN"), "{log}");
    }
    assert_eq!(log.matches("WARN").count(), kinds.len(), "nothing else is told\n{log}");
    assert!(!log.contains("was master"), "{log}");
    let other = second.process.log();
    assert!(!other.contains("is master"), "{other}");
    let both = (routers.holders(vip), routers.holders(second_vip));
    assert_eq!(both, (BTreeSet::from([0]), BTreeSet::from([0])));
    let seen = adverts.log();
    for (number, interval) in [(51, 500), (52, 1_000)] {
        let interval = Duration::from_millis(interval);
        let mut spacing = spacing(&seen, number);
        spacing.sort_unstable();
        let middle = spacing.get(spacing.len() / 2).copied().unwrap_or_default();
        let longest = spacing.last().copied().unwrap_or_default();
        measured(format_args!(
            "{sent} packets of a stranger in {FLOOD:?}: adverts of {interval:?} {longest:?} apart at most"
        ));
        assert!(
            middle.abs_diff(interval) < interval / 10 && longest < interval * 2,
            "{number}: {spacing:?}\n{seen}"
        );
    }
    assert!(sent >= 12_000, "{sent} in {FLOOD:?}");
}
