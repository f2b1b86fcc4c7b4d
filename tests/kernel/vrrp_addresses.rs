//! Addresses that change hands within one director: between a virtual server and a virtual router, and from one daemon
//! to the next.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipvsd_lab::{Client, Prober, Process, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{ADVERTS, Own, Routers, SOON, measured, own, thread};
use crate::site::{Daemon, configure, ipvsd};

/// The same virtual server, whose address is there for good.
fn with_device(routers: &Routers) -> String {
    let text = routers.first_with("");
    let server = text.find("[[virtual_server]]").expect("a virtual server");
    let device = format!("device = \"{}\"", routers.device(0));
    text[server..].replace("vrrp_instance = \"VI_1\"", &device)
}

/// How many entries of an address there are on the director, and their prefixes.
fn entries(routers: &Routers) -> Vec<String> {
    let shown = routers
        .director(0)
        .exec_ok(&["ip", "-o", "address", "show"])
        .expect("ip");
    let vip = format!("{}/", routers.vip(0));
    let words = shown.split_whitespace().filter(|word| word.starts_with(&vip));
    words.map(|word| word[vip.len()..].to_owned()).collect()
}

fn reload(routers: &Routers, text: &str) {
    let director = routers.director(0);
    configure(director, text);
    let reloaded = ipvsd(director, &["reload"]);
    assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
}

#[test]
fn an_address_that_a_virtual_router_takes_over_by_a_reload_is_there_all_the_time() {
    let routers = Routers::build("vrrp-adopt");
    let _server = routers.serve();
    let vip = routers.vip(0);
    let address = SocketAddr::new(vip, 80);
    for (more, prefix) in [
        (String::new(), "32"),
        (format!("virtual_address = [\"{vip}/24\"]"), "24"),
    ] {
        let mut daemon = routers.start(0, &with_device(&routers), &[]);
        wait_until("the address is there", SOON, || entries(&routers) == ["32"]).expect("in time");
        let client = Client::new(routers.lab.client(0));
        client.wait_for_answer(address, "behind", SOON).expect("an answer");
        let (every, timeout) = (Duration::from_millis(20), Duration::from_millis(500));
        let prober =
            Prober::start(routers.lab.client(0), address, every, timeout, Duration::from_secs(60)).expect("a prober");
        sleep(Duration::from_millis(500));
        reload(&routers, &routers.first_with(&more));
        daemon.wait_for("virtual router VI_1 is master");
        wait_until("the address has its prefix", SOON, || entries(&routers) == [prefix])
            .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", entries(&routers), daemon.process.log()));
        sleep(Duration::from_secs(1));
        let report = prober.stop().expect("a report");
        let (gap, failures) = (report.longest_gap(), report.failures().len());
        measured(format_args!(
            "an address that a virtual router takes over as /{prefix}: longest gap {gap:?}, {failures} of {} failed",
            report.attempts.len()
        ));
        // The election takes 1.7 s, which is how long it was away before.
        assert!(
            gap < Duration::from_millis(700),
            "{gap:?}: {report}\n{}",
            daemon.process.log()
        );
        daemon.process.signal(Signal::SIGTERM).expect("a signal");
        daemon.process.wait(SOON).expect("it ends");
        assert_eq!(entries(&routers), [""; 0], "a clean end leaves nothing");
    }
}

/// Entries of an address that were taken off since this was started.
fn taken_off(monitor: &Process, address: impl std::fmt::Display, prefix: &str) -> usize {
    let entry = format!(" {address}/{prefix} ");
    let log = monitor.log();
    let gone = log.lines().filter(|line| line.starts_with("Deleted"));
    gone.filter(|line| line.contains(&entry)).count()
}

/// Notes every change of the director's addresses.
fn monitor(routers: &Routers) -> Process {
    let director = routers.director(0);
    let mut monitor = director.spawn(&["ip", "-o", "-4", "monitor", "address"]).expect("ip");
    let probe = || {
        director
            .ip(&["address add 203.0.113.1/32 dev lo", "address del 203.0.113.1/32 dev lo"])
            .expect("ip");
        taken_off(&monitor, "203.0.113.1", "32") > 0
    };
    wait_until("changes are noted", SOON, probe).expect("in time");
    assert!(monitor.is_running());
    monitor
}

#[test]
fn an_address_that_a_virtual_server_takes_over_by_a_reload_stays() {
    let routers = Routers::build("vrrp-cede");
    let _server = routers.serve();
    let (vip, director) = (routers.vip(0), routers.director(0));
    let address = SocketAddr::new(vip, 80);
    let elsewhere = format!("virtual_address = [\"{}/24\"]", routers.vip(1));
    let instance = format!(
        "[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{}\"\nvirtual_router_id = 51\npriority = 150\n{ADVERTS}\n\
         {elsewhere}\n",
        routers.device(0)
    );
    // Without its instance, which takes its time to leave, and beside it.
    for (more, prefix, stays) in [
        (String::new(), "32", String::new()),
        (format!("virtual_address = [\"{vip}/24\"]"), "24", String::new()),
        (elsewhere.clone(), "32", instance),
    ] {
        let mut daemon = routers.start(0, &routers.first_with(&more), &[]);
        daemon.wait_for("virtual router VI_1 is master");
        let client = Client::new(routers.lab.client(0));
        client.wait_for_answer(address, "behind", SOON).expect("an answer");
        assert_eq!(entries(&routers), [prefix]);
        let monitor = monitor(&routers);
        let (every, timeout) = (Duration::from_millis(20), Duration::from_millis(500));
        let prober =
            Prober::start(routers.lab.client(0), address, every, timeout, Duration::from_secs(60)).expect("a prober");
        sleep(Duration::from_millis(500));
        reload(&routers, &format!("{stays}{}", with_device(&routers)));
        daemon.wait_for("virtual address left to a virtual server");
        sleep(Duration::from_secs(2));
        let report = prober.stop().expect("a report");
        let (gap, failures) = (report.longest_gap(), report.failures().len());
        measured(format_args!(
            "an address /{prefix} that a virtual server takes over: longest gap {gap:?}, {failures} of {} failed",
            report.attempts.len()
        ));
        let log = daemon.process.log();
        assert!(gap < Duration::from_millis(700), "{gap:?}: {report}\n{log}");
        assert_eq!(taken_off(&monitor, vip, "32"), 0, "{}\n{log}", monitor.log());
        assert_eq!(entries(&routers), ["32"], "{log}");

        // It is the virtual server's: without that it goes.
        configure(director, "virtual_server = []");
        let reloaded = ipvsd(director, &["reload", "--force"]);
        assert_eq!(reloaded.code(), 0, "{}", reloaded.stderr);
        wait_until("it has gone", SOON, || entries(&routers).is_empty())
            .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", entries(&routers), daemon.process.log()));
        daemon.process.signal(Signal::SIGTERM).expect("a signal");
        daemon.process.wait(SOON).expect("it ends");
    }
}

#[test]
fn an_address_that_passes_from_one_instance_to_another_by_a_reload_stays() {
    let routers = Routers::build("vrrp-pass");
    let vip = routers.vip(0);
    let text = |owner: &str| {
        let first = routers.first_with(&format!("virtual_address = [\"{}/24\"]", routers.vip(1)));
        let first = first.replace("vrrp_instance = \"VI_1\"", &format!("vrrp_instance = \"{owner}\""));
        format!(
            "[[vrrp_instance]]\nname = \"VI_2\"\ninterface = \"{}\"\nvirtual_router_id = 52\n{ADVERTS}\n\
             virtual_address = [\"{}/24\"]\n{first}",
            routers.device(0),
            routers.vip(2)
        )
    };
    let mut daemon = routers.start(0, &text("VI_1"), &[]);
    daemon.wait_for("virtual router VI_1 is master");
    daemon.wait_for("virtual router VI_2 is master");
    wait_until("the address is there", SOON, || routers.has(0, vip)).expect("in time");
    let monitor = monitor(&routers);
    // Who gives it up is told first, and then who gets it.
    for owner in ["VI_2", "VI_1", "VI_2"] {
        reload(&routers, &text(owner));
        sleep(Duration::from_secs(2));
        assert_eq!(entries(&routers), ["32"], "{owner} has it");
        assert_eq!(
            taken_off(&monitor, vip, "32"),
            0,
            "{owner}: {}\n{}",
            monitor.log(),
            daemon.process.log()
        );
    }
    // It is on record still.
    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    drop(daemon);
    let _daemon = routers.start(0, "virtual_server = []", &[]);
    wait_until("it goes with the last of them", SOON, || !routers.has(0, vip)).expect("in time");
}

#[test]
fn what_a_backup_is_about_to_put_on_is_on_record_before_the_master_is_given_up() {
    let routers = Routers::build("vrrp-ahead");
    let vip = routers.vip(0);
    let run = routers.director(0).directory().join("run").display().to_string();
    let slow = Own {
        priority: 100,
        more: "advert_int = \"2s\"",
    };
    let is_on_record = || {
        let record = format!("{run}/*/vrrp-addresses.json");
        let shown = routers.director(0).exec(&["sh", "-c", &format!("cat {record}")]);
        shown.is_ok_and(|shown| shown.stdout.contains(&vip.to_string()))
    };
    let mut daemon = routers.start(0, &routers.instance(0, slow), &["--run-dir", &run]);
    assert!(!is_on_record(), "another router may be master");
    wait_until("it is on record", SOON, is_on_record).expect("in time");
    assert!(!routers.has(0, vip), "there are more than 2 s to come");
    daemon.wait_for("virtual router VI_1 is master");
    wait_until("it is there", SOON, || routers.has(0, vip)).expect("in time");
}

#[test]
fn a_quick_restart_keeps_the_role_also_where_commands_take_their_time_at_the_end() {
    let routers = Routers::build("vrrp-slow-end");
    let _server = routers.serve();
    let vip = routers.vip(0);
    let slow = |priority| Own {
        priority,
        more: "advert_int = \"1s\"",
    };
    let command = "forward = \"dr\"\nnotify_on_stop = true\nnotify_down = { argv = [\"/bin/sleep\", \"3.5\"] }";
    let text = routers.instance(0, slow(150)).replace("forward = \"dr\"", command);
    let mut first = routers.start(0, &text, &["--keep"]);
    routers.wait_for_master("the only one has it", 0, vip);
    let second = routers.start(1, &routers.instance(1, slow(100)), &[]);
    Client::new(routers.lab.client(0))
        .wait_for_answer(SocketAddr::new(vip, 80), "behind", SOON)
        .expect("an answer");
    let asked = Instant::now();
    first.process.signal(Signal::SIGTERM).expect("a signal");
    first.process.wait(SOON).expect("it ends");
    let took = asked.elapsed();
    let mut again = routers.start(0, &text, &["--keep"]);
    assert!(
        took > Duration::from_secs(3),
        "the command has run: {took:?}\n{}",
        first.process.log()
    );
    again.wait_for("the process before this one was master until just now");
    sleep(Duration::from_secs(5));
    routers.wait_for_master("it has it still", 0, vip);
    let log = second.process.log();
    assert!(!log.contains("is master, was"), "{log}");
}

#[test]
fn what_an_instance_has_left_goes_with_it_also_where_the_daemon_was_dead_meanwhile() {
    let routers = Routers::build("vrrp-orphan");
    let (vip, director) = (routers.vip(0), routers.director(0));
    let killed = |text: &str| {
        let daemon = routers.start(0, text, &[]);
        wait_until("it is master", SOON, || routers.has(0, vip)).expect("in time");
        daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
        drop(daemon);
        assert!(routers.has(0, vip), "a killed daemon takes nothing with it");
    };
    killed(&routers.first_with(""));
    let mut daemon = routers.start(0, "virtual_server = []", &[]);
    daemon.wait_for("address of a former virtual router taken off");
    assert!(!routers.has(0, vip));
    drop(daemon);

    // Another instance that stays, and one that goes.
    let second = format!(
        "[[vrrp_instance]]\nname = \"VI_2\"\ninterface = \"{}\"\nvirtual_router_id = 52\n{ADVERTS}\n\
         virtual_address = [\"{}/24\"]\n",
        routers.device(0),
        routers.vip(1)
    );
    let daemon = routers.start(0, &format!("{second}{}", routers.first_with("")), &[]);
    wait_until("both are master", SOON, || {
        routers.has(0, vip) && routers.has(0, routers.vip(1))
    })
    .expect("in time");
    daemon.process.signal_alone(Signal::SIGKILL).expect("a signal");
    drop(daemon);
    let mut daemon: Daemon = routers.start(0, &second, &[]);
    daemon.wait_for("address of a former virtual router taken off");
    wait_until("the other one is master again", SOON, || routers.has(0, routers.vip(1))).expect("in time");
    assert!(!routers.has(0, vip));
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");

    // What a virtual server keeps there now is not taken off.
    killed(&routers.first_with(""));
    let daemon = routers.start(0, &with_device(&routers), &[]);
    sleep(Duration::from_secs(2));
    assert_eq!(entries(&routers), ["32"]);
    assert!(!daemon.process.log().contains("taken off"), "{}", daemon.process.log());

    // Nor what nobody has on record.
    drop(daemon);
    director
        .ip(&[&format!("address add {}/32 dev {}", routers.vip(1), routers.device(0))])
        .expect("ip");
    let _daemon = routers.start(0, "virtual_server = []", &[]);
    sleep(Duration::from_secs(2));
    assert!(routers.has(0, routers.vip(1)));
}

/// Lets a thread send nothing, by ptrace(2), until a file is there: sendto(2) fails with EPERM.
const MUTE: &str = r#"
import ctypes, os, sys, time
libc, thread = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
libc.ptrace.argtypes = [ctypes.c_long] * 4
GETREGS, SETREGS, DETACH, SYSCALL, SEIZE, INTERRUPT = 12, 13, 17, 24, 0x4206, 0x4207
TRACESYSGOOD, WALL, RAX, ORIG_RAX, SENDTO, ENOSYS, EPERM = 1, 0x40000000, 10, 15, 44, 38, 1
registers = (ctypes.c_long * 27)()
def call(request, data=0):
    if libc.ptrace(request, thread, 0, data): sys.exit(os.strerror(ctypes.get_errno()))
call(SEIZE, TRACESYSGOOD)
call(INTERRUPT)
os.waitpid(thread, WALL)
call(SYSCALL)
print('mute', flush=True)
refused = False
while True:
    over = os.path.exists(sys.argv[2])
    found, status = os.waitpid(thread, WALL | os.WNOHANG)
    if not found:
        if over: call(INTERRUPT)
        time.sleep(0.001)
        continue
    signal = os.WSTOPSIG(status)
    if signal & 0x80:
        call(GETREGS, ctypes.addressof(registers))
        entered = registers[RAX] == -ENOSYS
        if entered and registers[ORIG_RAX] == SENDTO and not over:
            registers[ORIG_RAX], refused = -1, True
            call(SETREGS, ctypes.addressof(registers))
        elif refused:
            registers[RAX], refused = -EPERM, False
            call(SETREGS, ctypes.addressof(registers))
    if over and not refused: break
    call(SYSCALL)
call(DETACH)
"#;

#[test]
fn an_address_that_cannot_be_taken_off_goes_as_soon_as_it_can() {
    let routers = Routers::build("vrrp-stays");
    let (director, vip) = (routers.director(0), routers.vip(0));
    let mut first = routers.start(0, &routers.first_with(""), &[]);
    wait_until("it is master", SOON, || routers.has(0, vip)).expect("in time");
    let release = director.directory().join("release");
    let keeper = thread(first.process.id(), "vrrp-addresses");
    let mut mute = director
        .spawn(&["python3", "-c", MUTE, &keeper, &release.display().to_string()])
        .expect("python");
    mute.wait_for_log("mute", SOON).expect("the thread is held");
    let second = routers.instance(1, own(200));
    let _second = routers.start(1, &second, &[]);
    first.wait_for("what it had stays here, and it is tried again every second");
    assert!(routers.has(0, vip), "{}", first.process.log());
    std::fs::write(&release, "").expect("a file");
    routers.wait_for_master("the address has gone from the first", 1, vip);
}

#[test]
fn a_director_without_descriptors_still_takes_its_address_off() {
    let routers = Routers::build("vrrp-files");
    let (director, vip) = (routers.director(0), routers.vip(0));
    let first = routers.start(0, &routers.first_with(""), &[]);
    wait_until("it is master", SOON, || routers.has(0, vip)).expect("in time");
    let pid = first.process.id().to_string();
    director
        .exec_ok(&["prlimit", "--pid", &pid, "--nofile=3:3"])
        .expect("prlimit");
    let second = routers.instance(1, own(200));
    let _second = routers.start(1, &second, &[]);
    routers.wait_for_master("the address has gone from the first", 1, vip);
    assert!(!routers.has(0, vip), "{}", first.process.log());
}

#[test]
fn each_address_is_on_its_device_with_its_scope_and_its_label() {
    let routers = Routers::build("vrrp-places");
    let director = routers.director(0);
    let [plain, linked, other] = [0, 1, 2].map(|index| routers.vip(index));
    director
        .ip(&["link add other0 type veth peer name other1", "link set other0 up"])
        .expect("ip");
    let text = format!(
        "virtual_server = []\n[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"eth0\"\nvirtual_router_id = 51\n\
         {ADVERTS}\nvirtual_address = [\"{plain}/24\", {{ address = \"{linked}/32\", scope = \"link\", label = \
         \"eth0:vip\" }}, {{ address = \"{other}/32\", device = \"other0\", scope = \"host\" }}]\n"
    );
    // Its device, the address with its prefix, scope and label.
    let place = |address: IpAddr| {
        let shown = director.exec_ok(&["ip", "-o", "-4", "address", "show"]).expect("ip");
        let of_address = format!(" {address}/");
        let line = shown.lines().find(|line| line.contains(&of_address))?;
        let words = line.split([' ', '\\']);
        let words: Vec<_> = words.filter(|word| !matches!(*word, "" | "secondary")).collect();
        let held = words.iter().skip_while(|word| **word != "inet").nth(1)?;
        let mut scope = words.iter().skip_while(|word| **word != "scope").skip(1);
        Some(format!("{} {held} {} {}", words.get(1)?, scope.next()?, scope.next()?))
    };
    let wanted = [
        (plain, format!("eth0 {plain}/24 global eth0")),
        (linked, format!("eth0 {linked}/32 link eth0:vip")),
        (other, format!("other0 {other}/32 host other0")),
    ];
    let mut daemon = routers.start(0, &text, &[]);
    let found = || wanted.iter().map(|(address, _)| place(*address)).collect::<Vec<_>>();
    let there = || {
        wanted
            .iter()
            .all(|(address, wanted)| place(*address).as_ref() == Some(wanted))
    };
    wait_until("each is in its place", SOON, there)
        .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", found(), daemon.process.log()));
    // Also where somebody has taken it off.
    director
        .ip(&[&format!("address del {linked}/32 dev eth0")])
        .expect("ip");
    wait_until("it is back as it was", SOON, there)
        .unwrap_or_else(|problem| panic!("{problem}: {:?}\n{}", found(), daemon.process.log()));
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    assert_eq!(found(), [None, None, None]);

    // The device has an address of that network already, with the scope global.
    let mut daemon = routers.start(0, &text.replace(&format!("{linked}/32"), &format!("{linked}/24")), &[]);
    daemon.wait_for(&format!(
        "cannot put {linked}/24 on eth0: an address of the same network there has another scope (`ip address show dev \
         eth0`; give this one the same `scope`, or another prefix)"
    ));
    wait_until("the others are there", SOON, || {
        place(plain).is_some() && place(other).is_some()
    })
    .expect("in time");
}
