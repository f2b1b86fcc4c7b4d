//! What virtual routers track on a real host: each failure moves the address, and its end brings it back.

use std::fs;
use std::net::SocketAddr;

use ipvsd_lab::{Segment, wait_until};

use crate::routers::{ADVERTS, Own, Routers, own};
use crate::site::{configure, ipvsd};

#[test]
fn what_is_tracked_moves_the_address_and_brings_it_back() {
    let routers = Routers::with_servers("vrrp-track", 2);
    let vip = routers.vip(0);
    let mut server = routers.serve();
    let director = routers.director(0);
    director
        .ip(&["link add tracked0 type dummy", "link set tracked0 up"])
        .expect("an interface");
    let bad = director.directory().join("bad").display().to_string();
    let more = format!(
        "{ADVERTS}\ntrack_interface = [{{ interface = \"tracked0\", weight = -60 }}]\n\
         track_script = [{{ argv = [\"/bin/sh\", \"-c\", \"test ! -e {bad}\"], user = \"root\", interval = \"1s\", \
         timeout = \"5s\", weight = -60 }}]\ntrack_quorum = [\"web\"]\n\
         track_tier = [{{ virtual_server = \"spare\", weight = -60 }}]"
    );
    let own_more = Own {
        priority: 150,
        more: &more,
    };
    // Nobody probes these: who serves is what operators say.
    let spare = |index: usize| SocketAddr::new(routers.lab.real_server(index).address4(Segment::Server).into(), 81);
    let text = format!(
        "{}\n[[virtual_server]]\nname = \"spare\"\naddress = \"{}\"\nvrrp_instance = \"VI_1\"\nforward = \"dr\"\n\
         real_server = [{{ address = \"{}\" }}, {{ address = \"{}\", tier = 1 }}]\n",
        routers.instance(0, own_more).replace("fall = 10", "fall = 2"),
        SocketAddr::new(vip, 81),
        spare(0),
        spare(1),
    );
    let _first = routers.start(0, &text, &[]);
    let _second = routers.start(1, &routers.instance(1, own(100)), &[]);
    routers.wait_for_master("all is well", 0, vip);

    director.exec_ok(&["touch", &bad]).expect("touch");
    routers.wait_for_master("the script fails", 1, vip);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains("tracks what does not work: /bin/sh"), "{status}");
    director.exec_ok(&["rm", &bad]).expect("rm");
    routers.wait_for_master("the script passes", 0, vip);

    director.ip(&["link set tracked0 down"]).expect("ip");
    routers.wait_for_master("the interface is down", 1, vip);
    director.ip(&["link set tracked0 up"]).expect("ip");
    routers.wait_for_master("the interface works", 0, vip);

    server.stop().expect("nginx ends");
    routers.wait_for_master("the quorum is lost", 1, vip);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(
        status.contains("the quorum of web") && status.contains("fault"),
        "{status}"
    );
    server.restart().expect("nginx");
    routers.wait_for_master("the quorum is there again", 0, vip);

    let order = |verb: &str, server: usize| {
        let ordered = ipvsd(director, &[verb, &format!("spare/{}", spare(server))]);
        assert_eq!(ordered.code(), 0, "{}", ordered.stderr);
    };
    let failing = "tracks what does not work: the first tier of spare";
    order("maint", 0);
    routers.wait_for_master("a backup tier serves", 1, vip);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains(failing), "{status}");
    order("maint", 1);
    order("ready", 0);
    routers.wait_for_master("the first tier serves, whoever else does not", 0, vip);
    order("maint", 0);
    routers.wait_for_master("nobody serves", 1, vip);
    // A new configuration is told of as it is.
    for (tracked, master) in [("web", 0), ("spare", 1)] {
        let other = text.replace(
            "track_tier = [{ virtual_server = \"spare\"",
            &format!("track_tier = [{{ virtual_server = \"{tracked}\""),
        );
        configure(director, &other);
        let reloaded = ipvsd(director, &["reload"]);
        assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
        routers.wait_for_master(&format!("the tier of {tracked} counts"), master, vip);
    }
    order("ready", 0);
    routers.wait_for_master("the first tier serves again", 0, vip);
}

#[test]
fn a_process_a_file_and_a_kernel_that_refuses_move_the_address_and_bring_it_back() {
    let routers = Routers::build("vrrp-tracks");
    let vip = routers.vip(0);
    let _server = routers.serve();
    let director = routers.director(0);
    let path = |name: &str| director.directory().join(name).display().to_string();
    // A name of its own that is longer than what the kernel keeps of it.
    let (program, file) = (path("the-local-proxy-of-this-test"), path("weight"));
    director.exec_ok(&["cp", "/bin/sleep", &program]).expect("cp");
    let start = |index: usize| routers.director(index).spawn(&[&program, "1000"]).expect("a program");
    let _elsewhere = start(1);
    let proxy = start(0);
    let more = format!(
        "{ADVERTS}\ntrack_process = [{{ name = \"the-local-proxy-of-this-test\", weight = -60 }}]\n\
         track_file = [\"{file}\"]\ntrack_program = true"
    );
    let text = routers.instance(
        0,
        Own {
            priority: 150,
            more: &more,
        },
    );
    let daemon = routers.start(0, &text, &[]);
    let _second = routers.start(1, &routers.instance(1, own(100)), &[]);
    routers.wait_for_master("all is well, and no file counts as 0", 0, vip);

    drop(proxy);
    routers.wait_for_master("the process is gone, and one of another host is none", 1, vip);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains("process the-local-proxy"), "{status}");
    let _proxy = start(0);
    routers.wait_for_master("the process is back", 0, vip);

    fs::write(&file, "-60\n").expect("a file");
    routers.wait_for_master("the number is added", 1, vip);
    fs::write(&file, "many\n").expect("a file");
    wait_until("nonsense is said", crate::routers::SOON, || {
        daemon.process.log().contains("says nothing, and counts as before")
    })
    .expect("in time");
    routers.wait_for_master("nonsense counts as before", 1, vip);
    fs::remove_file(&file).expect("a file");
    routers.wait_for_master("the file is gone", 0, vip);
    fs::write(&file, "-254\n").expect("a file");
    routers.wait_for_master("so much is a fault", 1, vip);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(status.contains("fault") && status.contains("file /"), "{status}");
    fs::write(&file, "0").expect("a file");
    routers.wait_for_master("nothing is added", 0, vip);

    // A scheduler that this kernel has not.
    let refused = text.replace("forward = \"dr\"", "forward = \"dr\"\nscheduler = \"twos\"");
    assert_ne!(refused, text);
    configure(director, &refused);
    let reloaded = ipvsd(director, &["reload"]);
    assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
    routers.wait_for_master("the kernel refuses", 1, vip);
    let status = ipvsd(director, &["status"]).stdout;
    assert!(
        status.contains("fault") && status.contains("programming the kernel"),
        "{status}"
    );
    configure(director, &text);
    let reloaded = ipvsd(director, &["reload"]);
    assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
    routers.wait_for_master("the kernel takes it", 0, vip);
}
