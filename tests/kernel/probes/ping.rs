//! The ping probe against a kernel.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipvsd::model::{LocalTrouble, ProbeOutcome, ProbeType};
use ipvsd_lab::{Host, Segment};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Form, Stand, check, run};

/// Answers echoes in the place of a host's kernel.
struct Echo {
    ended: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Each answer comes after `delay`, as `spoil` leaves it.
    fn start(host: &Host, delay: Duration, spoil: fn(&mut Vec<u8>)) -> Self {
        let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4));
        let socket = host.in_namespace(open).expect("a namespace").expect("root");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a socket");
        let (ended, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (end, count) = (Arc::clone(&ended), Arc::clone(&answers));
        let work = move || {
            while !end.load(Ordering::Relaxed) {
                let mut buffer = [0; 1500];
                let Ok(length) = (&socket).read(&mut buffer) else {
                    continue;
                };
                // An IP header of 20 bytes, with the asker at 12, and behind it the request.
                let (header, message) = buffer[..length].split_at(20);
                let asker: [u8; 4] = header[12..16].try_into().expect("four bytes");
                let mut message = message.to_vec();
                if message[0] != 8 {
                    continue;
                }
                thread::sleep(delay);
                message[0] = 0;
                spoil(&mut message);
                message[2..4].fill(0);
                let checksum = checksum(&message).to_be_bytes();
                message[2..4].copy_from_slice(&checksum);
                let asker = SocketAddr::from((asker, 0));
                socket.send_to(&message, &asker.into()).expect("an answer");
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let thread = Some(thread::spawn(work));
        Self { ended, answers, thread }
    }

    fn answered(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The next one must not find this one still answering.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The checksum of the internet (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded")
}

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Ping);
    let (director, server) = (stand.director(), stand.server());
    stand.passes(Form::Healthy, "", 80);
    let v6 = SocketAddr::new(server.address6(Segment::Server).into(), 80);
    assert_eq!(run(director, &check("ping", "", v6)).outcome, ProbeOutcome::Success);
    // Both kinds of socket are used.
    director
        .set_sysctl("net/ipv4/ping_group_range", "0 0")
        .expect("a setting");
    stand.passes(Form::Healthy, "", 80);
    director
        .set_sysctl("net/ipv4/ping_group_range", "1 0")
        .expect("a setting");
    stand.passes(Form::Healthy, "", 80);
    server
        .set_sysctl("net/ipv4/icmp_echo_ignore_all", "1")
        .expect("a setting");
    stand.fails(
        Form::Hanging,
        "timeout = \"500ms\"",
        80,
        "no answer in time: the echo is missing",
    );
    // From here on somebody else than the kernel answers.
    let late = Duration::from_millis(300);
    let slow = Echo::start(server, late, |_| ());
    assert!(stand.passes(Form::Slow, "", 80).latency >= late);
    drop(slow);
    let missing = "no answer in time: the echo is missing";
    let other = Echo::start(server, Duration::ZERO, |reply| {
        *reply.last_mut().expect("a payload") ^= 1;
    });
    stand.fails(Form::WrongAnswer, "timeout = \"500ms\"", 80, missing);
    assert!(other.answered() > 0);
    drop(other);
    let cut = Echo::start(server, Duration::ZERO, |reply| reply.truncate(12));
    stand.fails(Form::HalfBroken, "timeout = \"500ms\"", 80, missing);
    assert!(cut.answered() > 0);
    stand.fails(Form::Refusing, "connect_ip = \"192.0.2.99\"", 80, "");
    let nowhere = stand.probe("connect_ip = \"198.51.100.9\"", 80).outcome;
    assert_eq!(nowhere, ProbeOutcome::Local(LocalTrouble::NoRoute));
    stand.finish();
}
