//! A daemon's talk with the kernel as strace sees it: counted, held up, or spoilt.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipvsd_lab::{Host, Process, wait_until};
use nix::sys::signal::Signal;

use crate::site::{Daemon, IPVSD};

const SOON: Duration = Duration::from_secs(20);
/// `IPVS_CMD_GET_*` (linux/ip_vs.h): services, destinations, sync daemons, timeouts, version.
const ASKING: [u8; 5] = [4, 8, 11, 13, 15];

/// How many messages of each command the family IPVS was sent.
pub(crate) type Counts = BTreeMap<u8, usize>;

/// The messages that write.
pub(crate) fn writes(counts: &Counts) -> Counts {
    let mut counts = counts.clone();
    counts.retain(|command, _| !ASKING.contains(command));
    counts
}

/// Notes all that a daemon sends for as long as it lives.
pub(crate) struct Notes {
    strace: Process,
    folder: PathBuf,
}

fn arguments(folder: &std::path::Path) -> Vec<String> {
    let out = folder.join("sent").display().to_string();
    let words = [
        "strace",
        "-ff",
        "-qq",
        "-yy",
        "-e",
        "trace=sendto,sendmsg",
        "-e",
        "write=all",
        "-o",
        &out,
    ];
    words.map(str::to_owned).to_vec()
}

impl Notes {
    /// Of a daemon that runs.
    pub(crate) fn attach(director: &Host, daemon: &Daemon) -> Self {
        let folder = folder(director, "attached");
        let mut words = arguments(&folder);
        words.extend(["-p".to_owned(), daemon.process.id().to_string()]);
        let strace = spawn(director, &words);
        wait_until_traced(daemon.process.id());
        Self { strace, folder }
    }

    /// Of a daemon that it starts; returns once that one is ready.
    pub(crate) fn start(director: &Host, file: &std::path::Path) -> Self {
        let folder = folder(director, "started");
        let mut words = arguments(&folder);
        let file = file.display().to_string();
        words.extend([IPVSD, "run", "-c", &file].map(str::to_owned));
        let mut strace = spawn(director, &words);
        strace.wait_for_log("ready:", SOON).expect("a daemon");
        Self { strace, folder }
    }

    /// What was sent so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for file in fs::read_dir(&self.folder).expect("a folder").flatten() {
            let text = fs::read_to_string(file.path()).expect("a file of strace");
            for datagram in datagrams(&text) {
                count(&datagram, &mut counts);
            }
        }
        counts
    }

    /// Stops noting; the daemon that was started under it ends too.
    pub(crate) fn end(mut self) -> Counts {
        // To the daemon that it has started too: without that one's end it does not end.
        self.strace.signal(Signal::SIGTERM).expect("a signal");
        self.strace.wait(SOON).expect("an end");
        self.counts()
    }
}

/// The thread of a daemon that talks to the kernel.
pub(crate) fn netlink_thread(daemon: &Daemon) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.process.id())).expect("a running daemon");
    let is_it =
        |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "netlink\n");
    let found = tasks.flatten().find(is_it).expect("the netlink thread");
    found.file_name().to_string_lossy().parse().expect("a number")
}

/// Does something to the system calls of one thread, as strace's `inject=` says, for as long as the value lives.
pub(crate) fn spoil(director: &Host, thread: u32, calls: &str, how: &str) -> Process {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{how}"));
    let words = [
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &trace,
        "-e",
        &inject,
        "-p",
        &thread.to_string(),
    ];
    let strace = spawn(director, &words.map(str::to_owned));
    wait_until("the thread is traced", SOON, || {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).expect("a running thread");
        !status.contains("TracerPid:\t0\n")
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", strace.log()));
    strace
}

fn spawn(director: &Host, words: &[String]) -> Process {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    director.spawn(&words).expect("strace starts")
}

fn folder(director: &Host, name: &str) -> PathBuf {
    let folder = director.directory().join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Returns when all threads of a process are traced.
pub(crate) fn wait_until_traced(pid: u32) {
    let is_traced = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    };
    wait_until("all threads are traced", SOON, || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a running daemon");
        tasks.flatten().all(is_traced)
    })
    .expect("in time");
}

/// What was written to sockets of generic netlink, a datagram a call, from the dumps below the calls.
fn datagrams(text: &str) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut is_generic = false;
    for line in text.lines() {
        match line.strip_prefix(" | ") {
            Some(rest) if is_generic => {
                let columns = rest.get(7..56).unwrap_or_default();
                let bytes = columns.split_whitespace().map(|byte| u8::from_str_radix(byte, 16));
                let bytes = bytes.collect::<Result<Vec<_>, _>>().expect("hexadecimal");
                found.last_mut().expect("a datagram").extend(bytes);
            }
            Some(_) => {}
            None if line.starts_with(" * ") => {}
            None => {
                is_generic = line.contains("<NETLINK:[GENERIC");
                if is_generic {
                    found.push(Vec::new());
                }
            }
        }
    }
    found
}

/// Counts the messages of a datagram, but for those to the family of families.
fn count(datagram: &[u8], counts: &mut Counts) {
    const CONTROL: u16 = 16;
    let mut rest = datagram;
    while let (Some(length), Some(kind), Some(command)) = (rest.get(..4), rest.get(4..6), rest.get(16)) {
        if u16::from_ne_bytes(kind.try_into().expect("two bytes")) != CONTROL {
            *counts.entry(*command).or_default() += 1;
        }
        let length = u32::from_ne_bytes(length.try_into().expect("four bytes")) as usize;
        rest = rest.get(length.max(16)..).unwrap_or_default();
    }
}

#[test]
fn a_trace_is_read() {
    let text = "sendto(6<NETLINK:[GENERIC:81]>, [{nlmsg_len=20}, \"\\x04\"], 20, 0, NULL, 0) = 20\n \
                | 00000  14 00 00 00 1c 00 01 03  05 00 00 00 00 00 00 00  ................ |\n \
                | 00010  04 01 00 00                                       ....             |\n\
                sendto(6<NETLINK:[GENERIC:81]>, [{nlmsg_len=32}], 32, 0, NULL, 0) = 32\n \
                | 00000  20 00 00 00 10 00 05 00  05 00 00 00 00 00 00 00   ............... |\n \
                | 00010  03 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00  ................ |\n\
                sendto(4<UNIX-STREAM:[9]>, \"x\", 1, 0, NULL, 0) = 1\n | 00000  78     x |\n";
    let mut counts = Counts::new();
    for datagram in datagrams(text) {
        count(&datagram, &mut counts);
    }
    assert_eq!(counts, Counts::from([(4, 1)]));
    assert_eq!(writes(&Counts::from([(4, 9), (6, 1), (15, 2)])), Counts::from([(6, 1)]));
}
