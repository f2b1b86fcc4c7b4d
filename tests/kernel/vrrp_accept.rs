//! Virtual addresses that take nothing but what IPVS forwards, on whatever kernel this is; what is refused is shown in
//! tests/qemu.

use std::net::SocketAddr;

use ipvsd_lab::{Client, wait_until};

use crate::routers::{ADVERTS, Own, Routers, SOON};
use crate::site::ipvsd;

#[test]
fn a_kernel_without_nftables_forwards_and_the_log_says_what_is_missing() {
    let routers = Routers::build("vrrp-accept");
    let _server = routers.serve();
    let more = format!("{ADVERTS}\naccept = false");
    let text = routers.instance(
        0,
        Own {
            priority: 150,
            more: &more,
        },
    );
    let daemon = routers.start(0, &text, &[]);
    let vip = SocketAddr::new(routers.vip(0), 80);
    Client::new(routers.lab.client(0))
        .wait_for_answer(vip, "behind", SOON)
        .expect("an answer");
    // A distribution's kernel has what it takes (KERNEL=host).
    wait_until("what has become of it is said", SOON, || {
        let log = daemon.process.log();
        let missing = log.contains("more than they should (accept = false)") && log.contains("`modprobe nf_tables`");
        missing || log.contains("take nothing but what IPVS forwards")
    })
    .unwrap_or_else(|problem| panic!("{problem}: {}", daemon.process.log()));
    let status = ipvsd(routers.director(0), &["status"]).stdout;
    let missing =
        status.contains("VI_1 may take more than it should (accept = false): ") && status.contains("nf_tables");
    let refuses = status.contains("VI_1 takes nothing but what IPVS forwards (accept = false)");
    assert!(missing || refuses, "{status}");
}
