//! A thread of the virtual routers that hangs: the service manager's watchdog is left hungry while it does, and no longer.

use std::fs;
use std::time::{Duration, Instant};

use ipvsd_lab::wait_until;

use crate::routers::{Routers, SOON, own, thread};
use crate::service_manager::ServiceManager;
use crate::site::{Daemon, IPVSD, configure};

/// Holds one thread, by ptrace(2), until a file is there.
const HOLD: &str = r#"
import ctypes, os, sys, time
libc, thread = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
libc.ptrace.argtypes = [ctypes.c_long] * 4
SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
for request in SEIZE, INTERRUPT:
    if libc.ptrace(request, thread, 0, 0): sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print('held', flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.05)
libc.ptrace(DETACH, thread, 0, 0)
"#;

/// The nice value of a thread (proc_pid_stat(5)).
fn nice(daemon: u32, thread: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{daemon}/task/{thread}/stat")).expect("a thread");
    // The name may have spaces in it; the value is the nineteenth, the name the second.
    let (_, after) = stat.rsplit_once(") ").expect("a name");
    after.split(' ').nth(16).expect("a value").parse().expect("a number")
}

#[test]
fn the_threads_of_virtual_routers_run_before_the_others() {
    let routers = Routers::build("vrrp-nice");
    let daemon = routers.start(0, &routers.instance(0, own(150)), &[]);
    wait_until("it is master", SOON, || routers.has(0, routers.vip(0))).expect("in time");
    let pid = daemon.process.id();
    let nice_of_loop = nice(pid, &pid.to_string());
    for name in ["vrrp", "vrrp-addresses"] {
        let nice = nice(pid, &thread(pid, name));
        assert!(
            nice == -10 && nice < nice_of_loop,
            "{name}: {nice}, the loop: {nice_of_loop}"
        );
    }
}

#[test]
fn the_watchdog_is_not_fed_while_the_thread_that_speaks_hangs() {
    let routers = Routers::build("vrrp-hangs");
    let director = routers.director(0);
    let manager = ServiceManager::listen();
    let file = configure(director, &routers.instance(0, own(150)))
        .display()
        .to_string();
    let command = [IPVSD, "run", "-c", &file];
    let daemon = Daemon {
        process: director
            .spawn_with(&command, &manager.environment("3000000"))
            .expect("ipvsd starts"),
    };
    wait_until("it is master", SOON, || routers.has(0, routers.vip(0))).expect("in time");
    assert!(manager.fed(Duration::from_secs(4)) > 0, "{}", daemon.process.log());

    let speaks = thread(daemon.process.id(), "vrrp");
    let release = director.directory().join("release");
    let mut holder = director
        .spawn(&["python3", "-c", HOLD, &speaks, &release.display().to_string()])
        .expect("python");
    holder.wait_for_log("held", SOON).expect("the thread is held");
    let said = "the thread of the virtual routers has not moved for 10 s, so the watchdog is no longer fed";
    let began = Instant::now();
    while !daemon.process.log().contains(said) {
        assert!(began.elapsed() < SOON, "{}", daemon.process.log());
        manager.fed(Duration::from_millis(100));
    }
    assert_eq!(manager.fed(Duration::from_secs(4)), 0, "{}", daemon.process.log());
    fs::write(&release, "").expect("a file");
    wait_until("the watchdog is fed again", SOON, || {
        manager.fed(Duration::from_secs(1)) > 0
    })
    .unwrap_or_else(|problem| panic!("{problem}: {}", daemon.process.log()));
    assert_eq!(daemon.process.log().matches("no longer fed").count(), 1);
}
