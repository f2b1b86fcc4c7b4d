//! One ipvsd and one Debian keepalived on the same virtual router: whoever should have the address has it, whatever
//! the two speak, whoever leaves and however, and whoever of the two has the higher priority.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::{Process, wait_until};
use nix::sys::signal::Signal;

use crate::beside_keepalived::keepalived_conf;
use crate::routers::{Routers, SOON};
use crate::site::Daemon;

/// How the two speak: what each is told, beside who it is.
struct Way {
    name: &'static str,
    ipvsd: String,
    keepalived: String,
    /// What `global_defs` has.
    global: &'static str,
    address: IpAddr,
    /// The hardware address that the client knows it by, where that never changes.
    mac: Option<&'static str>,
}

impl Way {
    fn all(routers: &Routers) -> Vec<Self> {
        let (vip, second, vip6) = (routers.vip(0), routers.vip(1), routers.vip6(0));
        let [ours, theirs] = [0, 1].map(|index| routers.address(index));
        let three = format!("advert_int = \"500ms\"\nvirtual_address = [\"{vip}/24\"]");
        let their_three = format!("version 3\nadvert_int 0.5\nvirtual_ipaddress {{\n{vip}/24\n}}");
        vec![
            Self {
                name: "version 3",
                ipvsd: three.clone(),
                keepalived: their_three.clone(),
                global: "",
                address: vip,
                mac: None,
            },
            Self {
                name: "version 2 with a password",
                ipvsd: format!(
                    "version = 2\npassword = \"secret\"\nvirtual_address = [\"{vip}/24\", {{ address = \"{second}/24\", \
                     excluded = true }}]"
                ),
                keepalived: format!(
                    "version 2\nadvert_int 1\nauthentication {{\nauth_type PASS\nauth_pass secret\n}}\n\
                     virtual_ipaddress {{\n{vip}/24\n}}\nvirtual_ipaddress_excluded {{\n{second}/24\n}}"
                ),
                global: "",
                address: vip,
                mac: None,
            },
            Self {
                name: "unicast",
                ipvsd: format!("{three}\nsource_address = \"{ours}\"\npeers = [\"{theirs}\"]"),
                keepalived: format!("{their_three}\nunicast_src_ip {theirs}\nunicast_peer {{\n{ours}\n}}"),
                global: "",
                address: vip,
                mac: None,
            },
            Self {
                name: "IPv6",
                ipvsd: format!("advert_int = \"500ms\"\nvirtual_address = [\"{vip6}/64\"]"),
                keepalived: format!("version 3\nadvert_int 0.5\nvirtual_ipaddress {{\n{vip6}/64\n}}"),
                global: "",
                address: vip6,
                mac: None,
            },
            Self {
                name: "virtual MAC",
                ipvsd: format!("{three}\nuse_vmac = true"),
                keepalived: format!("{their_three}\nuse_vmac"),
                global: "",
                address: vip,
                mac: Some("00:00:5e:00:01:33"),
            },
            Self {
                name: "virtual MAC, version 2, sent by the interface",
                ipvsd: format!("version = 2\nvirtual_address = [\"{vip}/24\"]\nuse_vmac = true\nvmac_xmit_base = true"),
                keepalived: format!(
                    "version 2\nadvert_int 1\nvirtual_ipaddress {{\n{vip}/24\n}}\nuse_vmac\nvmac_xmit_base"
                ),
                global: "",
                address: vip,
                mac: Some("00:00:5e:00:01:33"),
            },
            Self {
                name: "virtual MAC over IPv6",
                ipvsd: format!("advert_int = \"500ms\"\nuse_vmac = true\nvirtual_address = [\"{vip6}/64\"]"),
                keepalived: format!("version 3\nadvert_int 0.5\nuse_vmac\nvirtual_ipaddress {{\n{vip6}/64\n}}"),
                global: "",
                address: vip6,
                mac: Some("00:00:5e:00:02:33"),
            },
        ]
    }

    /// Whether the client reaches the address by the hardware address that it always has.
    fn reaches(&self, routers: &Routers, what: &str) {
        let Some(mac) = self.mac else { return };
        let client = routers.lab.client(0);
        let family = if self.address.is_ipv4() { "-4" } else { "-6" };
        let ping = ["ping", family, "-c", "1", "-W", "1", &self.address.to_string()];
        wait_until(&format!("{}: {what}: it answers", self.name), SOON, || {
            client.exec(&ping).is_ok_and(|pinged| pinged.code() == 0)
        })
        .expect("in time");
        assert_eq!(
            routers.learnt(self.address).as_deref(),
            Some(mac),
            "{}: {what}",
            self.name
        );
    }

    fn start_ours(&self, routers: &Routers, priority: u8, more: &str) -> Daemon {
        let text = format!(
            "virtual_server = []\n[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 51\n\
             priority = {priority}\n{}\n{more}\n",
            routers.device(0),
            self.ipvsd
        );
        routers.start(0, &text, &[])
    }

    fn start_theirs(&self, routers: &Routers, priority: u8, more: &str) -> Process {
        let text = format!(
            "global_defs {{\nrouter_id lab\n{}\n}}\nvrrp_instance VI_1 {{\nstate BACKUP\ninterface {}\n\
             virtual_router_id 51\npriority {priority}\n{}\n{more}\n}}\n",
            self.global,
            routers.device(1),
            self.keepalived
        );
        keepalived(routers, &text)
    }
}

/// Starts keepalived's VRRP on the second director.
fn keepalived(routers: &Routers, text: &str) -> Process {
    let director = routers.director(1);
    let path = |name: &str| director.directory().join(name).display().to_string();
    let (pid, vrrp) = (path("keepalived.pid"), path("vrrp.pid"));
    let file = keepalived_conf(director, text);
    let command = [
        "keepalived",
        "--vrrp",
        "--dont-fork",
        "--log-console",
        "--log-detail",
        "-f",
        &file,
        "-p",
        &pid,
        "-r",
        &vrrp,
    ];
    director.spawn(&command).expect("keepalived starts")
}

fn end(process: &mut Process) {
    process.signal(Signal::SIGTERM).expect("a signal");
    process.wait(SOON).expect("it ends");
}

#[test]
fn with_keepalived_as_the_backup_and_as_the_master_the_right_one_has_the_address() {
    let routers = Routers::build("vrrp-peers");
    let ways = Way::all(&routers).into_iter().filter(|way| way.mac.is_none());
    move_by(&routers, ways);
}

#[test]
fn with_keepalived_on_the_other_side_the_virtual_mac_is_the_same() {
    let routers = Routers::build("vrrp-peers-vmac");
    // Without it keepalived's host asks for its neighbours in the name of the address, with its own MAC.
    let keepalived = routers.director(1);
    keepalived
        .set_sysctl("net/ipv4/conf/all/arp_announce", "2")
        .expect("a setting");
    let ways = Way::all(&routers).into_iter().filter(|way| way.mac.is_some());
    move_by(&routers, ways);
}

/// Moves the address between the two in every way they may leave and return.
fn move_by(routers: &Routers, ways: impl Iterator<Item = Way>) {
    for way in ways {
        let (name, address) = (way.name, way.address);
        // Of the way before, the client may know another hardware address.
        routers.lab.client(0).ip(&["neighbour flush dev eth0"]).expect("ip");
        // Ours is the higher one.
        let mut theirs = way.start_theirs(routers, 100, "");
        routers.wait_for_master(&format!("{name}: keepalived alone"), 1, address);
        way.reaches(routers, "keepalived");
        let mut ours = way.start_ours(routers, 150, "");
        routers.wait_for_master(&format!("{name}: ipvsd takes over"), 0, address);
        // They understand each other: for longer than either is patient, nothing changes.
        sleep(Duration::from_secs(5));
        routers.wait_for_master(&format!("{name}: ipvsd stays"), 0, address);
        way.reaches(routers, "ipvsd");

        // Killed, ours leaves the address where it is, and the other one takes it over all the same.
        ours.process.signal_alone(Signal::SIGKILL).expect("a signal");
        ours.process.wait(SOON).expect("it is gone");
        wait_until(&format!("{name}: ipvsd was killed"), SOON, || routers.has(1, address)).expect("in time");
        assert!(routers.has(0, address), "{name}: a killed daemon takes nothing with it");
        let mut ours = way.start_ours(routers, 150, "");
        routers.wait_for_master(&format!("{name}: ipvsd returns"), 0, address);
        way.reaches(routers, "ipvsd once more");
        end(&mut ours.process);
        routers.wait_for_master(&format!("{name}: ipvsd has stopped"), 1, address);
        way.reaches(routers, "keepalived again");
        let log = ours.process.log();
        assert!(!log.contains("WARN"), "{name}: {log}");

        // Theirs is the higher one.
        let mut ours = way.start_ours(routers, 50, "");
        sleep(Duration::from_secs(5));
        routers.wait_for_master(&format!("{name}: keepalived stays"), 1, address);
        end(&mut theirs);
        routers.wait_for_master(&format!("{name}: keepalived has stopped"), 0, address);
        way.reaches(routers, "ipvsd again");
        let mut theirs = way.start_theirs(routers, 100, "");
        routers.wait_for_master(&format!("{name}: keepalived is back"), 1, address);
        let log = ours.process.log();
        assert!(log.contains("is master with priority 100"), "{name}: {log}");

        // Killed, its host is silent: ipvsd has it, and keepalived, started again, takes it back.
        theirs.signal(Signal::SIGKILL).expect("a signal");
        theirs.wait(SOON).expect("it is gone");
        wait_until(&format!("{name}: keepalived was killed"), SOON, || {
            routers.has(0, address)
        })
        .expect("in time");
        let mut theirs = way.start_theirs(routers, 100, "");
        routers.wait_for_master(&format!("{name}: keepalived returns"), 1, address);
        end(&mut theirs);
        routers.wait_for_master(&format!("{name}: ipvsd at last"), 0, address);
        end(&mut ours.process);
    }
}

#[test]
fn neither_takes_from_the_other_what_it_was_told_to_leave() {
    let routers = Routers::build("vrrp-peers-nopreempt");
    let way = Way::all(&routers).remove(0);
    let mut theirs = way.start_theirs(&routers, 100, "nopreempt");
    routers.wait_for_master("keepalived alone", 1, way.address);
    let mut ours = way.start_ours(&routers, 150, "preempt = false");
    sleep(Duration::from_secs(6));
    routers.wait_for_master("ipvsd is higher and waits", 1, way.address);
    end(&mut theirs);
    routers.wait_for_master("keepalived has stopped", 0, way.address);
    let _theirs = way.start_theirs(&routers, 200, "nopreempt");
    sleep(Duration::from_secs(6));
    routers.wait_for_master("keepalived is higher and waits", 0, way.address);
    end(&mut ours.process);
    routers.wait_for_master("ipvsd has stopped", 1, way.address);
}

#[test]
fn a_group_moves_as_one_between_the_two() {
    let routers = Routers::build("vrrp-peers-group");
    let (inside, outside) = (routers.vip(0), routers.vip(1));
    let ours = |priority: u8| {
        let one = |name: &str, number: u8, address: IpAddr| {
            format!(
                "[[vrrp_instance]]\nname = \"{name}\"\ninterface = \"{}\"\nvirtual_router_id = {number}\n\
                 priority = {priority}\nadvert_int = \"500ms\"\nvirtual_address = [\"{address}/24\"]\n",
                routers.device(0)
            )
        };
        format!(
            "virtual_server = []\n{}{}[[vrrp_sync_group]]\nname = \"VG\"\ninstances = [\"inside\", \"outside\"]\n",
            one("inside", 51, inside),
            one("outside", 52, outside)
        )
    };
    let their_instance = |name: &str, number: u8, address: IpAddr| {
        format!(
            "vrrp_instance {name} {{\nstate BACKUP\ninterface {}\nvirtual_router_id {number}\npriority 100\nversion 3\n\
             advert_int 0.5\nvirtual_ipaddress {{\n{address}/24\n}}\n}}\n",
            routers.device(1)
        )
    };
    let text = format!(
        "global_defs {{\nrouter_id lab\n}}\nvrrp_sync_group VG {{\ngroup {{\ninside\noutside\n}}\n}}\n{}{}",
        their_instance("inside", 51, inside),
        their_instance("outside", 52, outside)
    );
    let mut theirs = keepalived(&routers, &text);
    routers.wait_for_master("keepalived alone", 1, inside);
    routers.wait_for_master("keepalived alone, the second", 1, outside);
    let mut daemon = routers.start(0, &ours(150), &[]);
    routers.wait_for_master("ipvsd takes over", 0, inside);
    routers.wait_for_master("ipvsd takes over the second", 0, outside);
    let handed = crate::site::ipvsd(routers.director(0), &["vrrp", "step-down", "outside"]);
    assert_eq!(handed.code(), 0, "{}", handed.stderr);
    routers.wait_for_master("handed over", 1, inside);
    routers.wait_for_master("handed over, the second", 1, outside);
    end(&mut theirs);
    routers.wait_for_master("keepalived has stopped", 0, inside);
    routers.wait_for_master("keepalived has stopped, the second", 0, outside);
    end(&mut daemon.process);
}
