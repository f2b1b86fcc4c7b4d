//! Directors that are started in the same moment, and directors that do not hear each other for a while.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Segment, wait_until};

use crate::routers::{ADVERTS, Routers, SOON};
use crate::site::{Daemon, configure};

/// VRRP's number in the IP header.
const PROTOCOL: u8 = 112;

#[test]
fn one_is_master_after_a_start_of_both_and_after_a_partition() {
    let routers = Routers::build("vrrp-partition");
    let addresses = [routers.vip(0), routers.vip6(0)];
    let daemons = [0, 1].map(|index| {
        let one = |name: &str, address: String| {
            format!(
                "[[vrrp_instance]]\nname = \"{name}\"\ninterface = \"{}\"\nvirtual_router_id = 51\npriority = {}\n\
                 {ADVERTS}\nvirtual_address = [\"{address}\"]\n",
                routers.device(index),
                [150, 100][index]
            )
        };
        let text = format!(
            "virtual_server = []\n{}{}",
            one("VI_4", format!("{}/24", addresses[0])),
            one("VI_6", format!("{}/64", addresses[1]))
        );
        let director = routers.director(index);
        Daemon::spawn(director, &configure(director, &text), &[])
    });
    let settled = |what: &str| {
        for address in addresses {
            routers.wait_for_master(what, 0, address);
            routers.wait_until_learnt(what, address, 0);
        }
        // For longer than either is patient.
        sleep(Duration::from_secs(3));
        for address in addresses {
            assert_eq!(routers.holders(address), BTreeSet::from([0]), "{what}: {address}");
            assert_eq!(routers.learnt(address), Some(routers.mac(0)), "{what}: {address}");
        }
    };
    for address in addresses {
        routers.wait_for_master("both are started", 0, address);
        wait_until("it answers", SOON, || routers.pings(address)).expect("in time");
    }
    settled("both are started");
    // Whichever was quicker may have been master for a moment before.
    let counted = |text: &str| [0, 1].map(|index| daemons[index].process.log().matches(text).count());
    let (became, ceased) = (counted("is master, was"), counted("is backup, was master"));
    assert_eq!((became[0], ceased[0]), (2, 0), "{}", daemons[0].process.log());
    assert_eq!(became[1], ceased[1], "{}", daemons[1].process.log());

    let second = routers.director(1);
    second.drop_protocol(Segment::Client, PROTOCOL).expect("a partition");
    for address in addresses {
        wait_until("each takes itself for the only one", SOON, || {
            routers.holders(address) == BTreeSet::from([0, 1])
        })
        .expect("in time");
        // Whoever has told the client last has it.
        routers.wait_until_learnt("the client was told", address, 1);
    }
    second.drop_nothing(Segment::Client).expect("a partition that heals");
    settled("it has healed");
    let [first, second] = [0, 1].map(|index| daemons[index].process.log());
    assert_eq!(counted("is master, was"), [2, became[1] + 2], "{first}{second}");
    assert_eq!(counted("is backup, was master"), [0, ceased[1] + 2], "{first}{second}");
}
