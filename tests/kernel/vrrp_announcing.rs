//! What neighbours are told of addresses: of those that were put on, once their devices take it, and of no others.

use std::thread::sleep;
use std::time::Duration;

use ipvsd_lab::wait_until;
use nix::sys::signal::Signal;

use crate::routers::{ADVERTS, Routers, SOON};
use crate::site::{Daemon, configure};

#[test]
fn an_address_without_its_device_is_told_of_once_and_the_others_are_not_announced_for_it() {
    let routers = Routers::build("vrrp-lost");
    let (director, client) = (routers.director(0), routers.lab.client(0));
    let [vip, lost] = [0, 1].map(|index| routers.vip(index));
    let device = || {
        let lines = [
            "link add other0 type veth peer name other1",
            "link set other0 up",
            "link set other1 up",
        ];
        director.ip(&lines).expect("ip");
    };
    device();
    let more =
        format!("garp_master_delay = \"0s\"\nvirtual_address = [{{ address = \"{lost}/32\", device = \"other0\" }}]");
    let mut daemon = routers.start(0, &routers.first_with(&more), &[]);
    wait_until("both are there", SOON, || routers.has(0, vip) && routers.has(0, lost)).expect("in time");
    sleep(Duration::from_secs(1));
    let filter = format!("arp and ether src {}", routers.mac(0));
    let seen = client.tcpdump(&["-l", "-n", "-i", "eth0", &filter]).expect("tcpdump");
    let announced = || seen.log().matches(&format!("Request who-has {vip} ")).count();
    director.ip(&["link del other0"]).expect("ip");
    sleep(Duration::from_secs(6));
    let log = daemon.process.log();
    assert_eq!(announced(), 0, "{}\n{log}", seen.log());
    let complaints = log
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"));
    let complaints = complaints.filter(|line| line.contains("other0")).count();
    assert_eq!(complaints, 1, "{log}");
    assert!(routers.has(0, vip));

    device();
    wait_until("it is back", SOON, || routers.has(0, lost)).expect("in time");
    sleep(Duration::from_secs(1));
    assert_eq!(announced(), 0, "nothing has happened to this one: {}", seen.log());
    director.ip(&[&format!("address del {vip}/32 dev eth0")]).expect("ip");
    wait_until("what is put back is announced", SOON, || announced() == 1)
        .unwrap_or_else(|problem| panic!("{problem}: {}\n{}", seen.log(), daemon.process.log()));
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
}

#[test]
fn what_a_device_does_not_take_is_announced_once_it_does_and_holds_nothing_else_up() {
    let routers = Routers::build("vrrp-stuck");
    let (director, client) = (routers.director(0), routers.lab.client(0));
    // What is sent waits in a queue, and whoever sends may have so much there.
    let queue = "tc qdisc add dev eth0 root tbf rate 8bit burst 1540 limit 100000000";
    let queue: Vec<_> = queue.split(' ').collect();
    director.exec_ok(&queue).expect("tc");
    let many: Vec<_> = (1..=200).map(|last| format!("\"203.0.113.{last}/32\"")).collect();
    let more = format!("garp_master_delay = \"0s\"\nvirtual_address = [{}]", many.join(", "));
    let mut daemon = routers.start(0, &routers.first_with(&more), &[]);
    let complaint = "eth0 has taken no packets for 2 s: virtual addresses that could not be announced: ";
    daemon.wait_for(complaint);
    let vip = routers.vip(0);
    for _ in 0..2 {
        director.ip(&[&format!("address del {vip}/32 dev eth0")]).expect("ip");
        wait_until("it is put back", Duration::from_secs(3), || routers.has(0, vip))
            .expect("nobody waits for the queue");
    }
    let filter = format!("arp and ether src {}", routers.mac(0));
    let seen = client.tcpdump(&["-l", "-n", "-i", "eth0", &filter]).expect("tcpdump");
    director
        .exec_ok(&["tc", "qdisc", "del", "dev", "eth0", "root"])
        .expect("tc");
    let announced = |address: &str| seen.log().contains(&format!("Request who-has {address} "));
    wait_until("the rest is announced", SOON, || {
        announced("203.0.113.200") && announced(&vip.to_string())
    })
    .unwrap_or_else(|problem| panic!("{problem}: {}\n{}", seen.log(), daemon.process.log()));
    daemon.wait_for("all virtual addresses of this device are announced at last");
    let log = daemon.process.log();
    // Once, and again when the address that was put back waited as well.
    assert_eq!(log.matches(complaint).count(), 2, "{log}");
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
}

#[test]
fn neighbours_are_told_again_where_the_interface_of_a_master_gets_another_mac() {
    let routers = Routers::build("vrrp-mac");
    let addresses = [routers.vip(0), routers.vip6(0)];
    let [plain, plain6] = addresses;
    let instance = |name: &str, address: String| {
        format!(
            "[[vrrp_instance]]\nname = \"{name}\"\ninterface = \"{}\"\nvirtual_router_id = 51\n{ADVERTS}\n\
             virtual_address = [\"{address}\"]\n",
            routers.device(0)
        )
    };
    let text = format!(
        "virtual_server = []\n{}{}",
        instance("VI_4", format!("{plain}/24")),
        instance("VI_6", format!("{plain6}/64"))
    );
    let director = routers.director(0);
    let daemon = Daemon::spawn(director, &configure(director, &text), &[]);
    for address in addresses {
        routers.wait_for_master("it is started", 0, address);
        wait_until("it answers", SOON, || routers.pings(address)).expect("in time");
        routers.wait_until_learnt("the client knows it", address, 0);
    }
    let before = routers.mac(0);
    director
        .ip(&[&format!("link set {} address 02:00:00:00:5e:01", routers.device(0))])
        .expect("another one");
    assert_ne!(routers.mac(0), before);
    for address in addresses {
        // The client asks nobody: its entry is a good one as far as it knows.
        routers.wait_until_learnt("the client was told of the other one", address, 0);
        assert!(routers.has(0, address), "{}", daemon.process.log());
    }
}
