//! S3, the pool's part: two MySQL masters; all writing clients on the first one, the second one steps in as the sorry
//! server and stays until somebody orders the return; reading clients on both.

use std::net::SocketAddr;
use std::time::Duration;

use ipvsd_lab::{Forwarding, Nginx, wait_until};

use crate::site::{Family, Found, Site, table};

const SOON: Duration = Duration::from_secs(15);

/// The weights of both servers in a service; `None` where one is not there.
fn weights(site: &Site, vip: u8) -> [Option<u32>; 2] {
    let found = table(
        site.director(),
        &["-t", &SocketAddr::new(site.vip(vip), 80).to_string()],
    )
    .unwrap_or_default();
    [0, 1].map(|index| {
        let key = SocketAddr::new(site.server_address(index), 80);
        found.get(&key).map(|found: &Found| found.weight)
    })
}

fn wait_for(site: &Site, what: &str, write: [Option<u32>; 2], read: [Option<u32>; 2]) {
    let reached = wait_until(what, SOON, || (weights(site, 0), weights(site, 1)) == (write, read));
    if reached.is_err() {
        panic!("{what}: {:?} {:?}", weights(site, 0), weights(site, 1));
    }
}

#[test]
fn the_writer_is_replaced_at_once_and_comes_back_only_when_the_backup_fails_or_is_told_to() {
    let site = Site::build("s3-pool", Forwarding::Direct, Family::V4, 2, 2);
    // What answers on the port does not matter to the pool: nginx stands for MySQL.
    let mut servers: Vec<Nginx<'_>> = site.nginx_on(2);
    let check = "check = [{ type = \"tcp\", interval = \"600ms\", retry_interval = \"300ms\", timeout = \"300ms\", \
                 rise = 2, fall = 3 }]\nscheduler = \"rr\"\ndevice = \"eth0\"";
    let address = |vip: u8| format!("address = \"{}\"", SocketAddr::new(site.vip(vip), 80));
    let backup = SocketAddr::new(site.server_address(1), 80);
    let write =
        format!("{check}\npersistence_timeout = \"20s\"\nreturn_mode = \"manual\"\nsorry_server = \"{backup}\"");
    let text = site.virtual_server("write", &address(0), &write, &[(0, 1)])
        + &site.virtual_server("read", &address(1), check, &[(0, 3), (1, 3)])
        + "\n[ipvs]\nsysctl = { expire_nodest_conn = 1, expire_quiescent_template = 1 }\n";
    let _daemon = site.run(&text);
    let both = [Some(3), Some(3)];
    wait_for(&site, "the master writes, both read", [Some(1), None], both);
    let vip = SocketAddr::new(site.vip(0), 80);
    assert_eq!(site.client().get(vip).as_deref(), Ok("real-server-1"));
    servers[0].kill();
    wait_for(&site, "the backup steps in", [None, Some(1)], [None, Some(3)]);
    // The client had been with the master a moment ago: persistence does not hold it there.
    site.client()
        .wait_for_answer(vip, "real-server-2", Duration::from_secs(5))
        .expect("the backup answers");
    servers[0].restart().expect("nginx");
    wait_for(
        &site,
        "both read again, and the backup goes on writing",
        [None, Some(1)],
        both,
    );
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(weights(&site, 0), [None, Some(1)], "nobody has ordered the return");
    assert_eq!(site.client().get(vip).as_deref(), Ok("real-server-2"));
}
