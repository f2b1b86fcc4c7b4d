//! Callers of every kind against the real socket, with little patience.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Caller;
use std::thread;

use super::*;
use crate::model::UnixTime;
use crate::model::control::{EventKind, EventRecord, Level, SCHEMA, Status};

const IMPATIENT: Patience = Patience {
    request: Duration::from_millis(200),
    unread: Duration::from_millis(200),
    answer: Duration::from_millis(600),
};

fn status(length: usize) -> Reply {
    Reply::Status(Status {
        schema: SCHEMA,
        time: UnixTime::default(),
        version: "x".repeat(length),
        started: UnixTime::default(),
        configured: UnixTime::default(),
        configuration: Default::default(),
        kernel_trouble: None,
        paused_until: None,
        deviations: Vec::new(),
        contested: Vec::new(),
        vrrp_instances: Vec::new(),
        virtual_servers: Vec::new(),
    })
}

/// Serves a socket: a status of some length, or three events. Runs `callers` beside it and ends with them.
fn serve(length: usize, callers: impl FnOnce(&Path) + Send + 'static) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = Listener::bind(&path).expect("a socket");
        let (sender, mut calls) = mpsc::channel(4);
        listener.serve(sender, IMPATIENT).expect("it is served");
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let answer = match call.request {
                    Request::Events { .. } => {
                        let (sender, replies) = mpsc::channel(8);
                        for number in 1..=3 {
                            let text = format!("event {number}");
                            let event = EventRecord::new(UnixTime::default(), EventKind::Server, Level::Info, text);
                            sender.send(Reply::Event(event)).await.expect("there is room");
                        }
                        Answer::Many(replies)
                    }
                    // Dropped without an answer.
                    Request::Reload { force: _ } => continue,
                    _ => Answer::One(Box::new(status(length))),
                };
                let _ = call.answer.send(answer);
            }
        });
        let called = path.clone();
        let done = spawn_blocking(move || callers(&called));
        timeout(Duration::from_secs(30), done)
            .await
            .expect("in time")
            .expect("no panic");
    });
}

fn call(path: &Path) -> Caller {
    let caller = Caller::connect(path).expect("a connection");
    caller
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time limit");
    caller
}

/// Sends bytes and reads everything until the daemon hangs up.
fn answers(path: &Path, bytes: &[u8]) -> Vec<String> {
    let mut caller = call(path);
    // It may be hung up on before everything is sent.
    let _ = caller.write_all(bytes);
    let _ = caller.shutdown(std::net::Shutdown::Write);
    BufReader::new(caller).lines().map_while(Result::ok).collect()
}

fn request(request: &Request) -> Vec<u8> {
    request.encode()
}

const STATUS: Request = Request::Status { virtual_server: None };

#[test]
fn one_connection_takes_several_requests_also_in_pieces() {
    serve(10, |path| {
        assert_eq!(answers(path, &request(&STATUS).repeat(5)).len(), 5);
        let mut caller = call(path);
        for byte in request(&STATUS) {
            caller.write_all(&[byte]).expect("it listens");
        }
        let mut line = String::new();
        BufReader::new(caller).read_line(&mut line).expect("an answer");
        assert!(line.contains("\"reply\":\"status\""), "{line}");
    });
}

#[test]
fn events_are_told_also_to_one_who_has_closed_his_half() {
    serve(10, |path| {
        let last = None;
        let told = answers(path, &request(&Request::Events { last, follow: true }));
        assert_eq!(told.len(), 3, "{told:?}");
    });
}

#[test]
fn a_call_that_is_dropped_is_answered() {
    serve(10, |path| {
        let told = answers(path, &request(&Request::Reload { force: false }));
        assert!(told[0].contains("is stopping"), "{told:?}");
    });
}

#[test]
fn who_sends_no_request_is_told_and_hung_up_on() {
    serve(10, |path| {
        let long = vec![b'x'; LONGEST_REQUEST + 1];
        let huge = vec![b'x'; 3 << 20];
        let many = b"\n".repeat(1000);
        for bytes in [b"nonsense\n".as_slice(), &long, &huge, &many, b"\0\xff\n{}\n"] {
            let told = answers(path, bytes);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains("\"refused\""), "{told:?}");
        }
        // The longest line that may be one is judged for what it is.
        let told = answers(path, &[vec![b' '; LONGEST_REQUEST], b"\n".to_vec()].concat());
        assert!(told[0].contains("cannot be read"), "{told:?}");
        let mut half = call(path);
        half.write_all(b"{\"version\":1,").expect("it listens");
        let mut told = String::new();
        half.read_to_string(&mut told).expect("an answer and the end");
        assert!(told.contains("has no end"), "{told}");
        // Nothing at all is no fault.
        let mut silent = call(path);
        assert_eq!(silent.read_to_string(&mut told).expect("the end"), 0);
    });
}

#[test]
fn who_reads_nothing_is_hung_up_on_and_others_are_answered() {
    serve(4 << 20, |path| {
        let deaf: Vec<_> = (0..LARGE_ANSWERS)
            .map(|_| {
                let mut caller = call(path);
                caller.write_all(&request(&STATUS)).expect("it listens");
                caller
            })
            .collect();
        let told = answers(path, &request(&STATUS));
        assert_eq!(
            told.iter().map(String::len).max(),
            Some(status(4 << 20).encode().len() - 1)
        );
        for mut caller in deaf {
            let mut got = Vec::new();
            // Cut off in the midst of the answer, whichever way the kernel tells it.
            let _ = caller.read_to_end(&mut got);
            assert!(got.len() < 4 << 20, "{}", got.len());
        }
    });
}

#[test]
fn who_comes_when_all_places_are_taken_is_told() {
    serve(10, |path| {
        let first: Vec<_> = (0..MOST_CALLERS).map(|_| call(path)).collect();
        // They are taken in the order they came.
        let told = answers(path, b"");
        assert!(told.first().is_some_and(|line| line.contains("\"busy\"")), "{told:?}");
        drop(first);
        let free = || {
            answers(path, &request(&STATUS))
                .iter()
                .any(|line| line.contains("\"status\""))
        };
        let tries = (0..100).any(|_| {
            free() || {
                thread::sleep(Duration::from_millis(20));
                false
            }
        });
        assert!(tries, "no place comes free");
    });
}

#[test]
fn the_socket_replaces_a_stale_file_is_for_root_alone_and_goes_with_the_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("below/control.sock");
    let stale = Listener::bind(&path).expect("a socket");
    std::mem::forget(stale);
    let listener = Listener::bind(&path).expect("a socket in its place");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Caller::connect(&path).expect("it listens");
    drop(listener);
    assert!(!path.exists());
    let long = folder.path().join("x".repeat(120));
    Listener::bind(&long).expect_err("no socket has such a path");
}
