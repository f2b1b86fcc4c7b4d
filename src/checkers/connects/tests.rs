use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};

use super::*;
use crate::model::{Bytes, TalkStep};

const SECOND: Duration = Duration::from_secs(1);

fn listener(backlog: i32) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("loopback");
    socket.listen(backlog).expect("a listener");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    (socket, address.expect("an address"))
}

/// Starts a probe and waits for its end.
async fn probe(connects: &mut Connects, number: u64, target: SocketAddr, timeout: Duration) -> ProbeResult {
    connects.start(ProbeId(number), target, timeout);
    loop {
        if let Some((probe, result)) = connects.finished().pop() {
            assert_eq!(probe, ProbeId(number));
            return result;
        }
        let wake = connects.next_wake().expect("a deadline");
        tokio::select! {
            () = connects.ready() => (),
            () = tokio::time::sleep_until(wake.into()) => (),
        }
    }
}

/// Takes the connection of a probe as a server does that closes when its client has.
fn serve(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().expect("a connection");
    assert_eq!(stream.read(&mut [0; 1]).expect("its end, and no reset"), 0);
}

#[tokio::test]
async fn a_socket_is_used_again_once_the_server_has_closed_too() {
    let (socket, target) = listener(8);
    let server = TcpListener::from(socket);
    let mut connects = Connects::new().expect("descriptors");
    let mut used = Vec::new();
    for number in 0..4 {
        let result = probe(&mut connects, number, target, SECOND).await;
        assert_eq!(result.outcome, ProbeOutcome::Success);
        let kept = connects.sockets[0].closing().last().expect("it is kept");
        used.push(kept.socket.as_raw_fd());
        match number {
            // The first server is slow, ...
            0 => (),
            1 => (0..2).for_each(|_| serve(&server)),
            _ => serve(&server),
        }
        // Once a tick.
        connects.looked = [(None, 0); 2];
    }
    // ... so the second probe has a socket of its own, and from then on they take turns.
    assert_ne!(used[0], used[1]);
    assert!(used[2..].iter().all(|socket| used[..2].contains(socket)), "{used:?}");
}

#[tokio::test]
async fn each_end_is_told_apart_on_a_socket_that_was_used_before() {
    let (socket, target) = listener(8);
    let server = TcpListener::from(socket);
    let (closed, refusing) = listener(1);
    drop(closed);
    // One that takes no more connections: its queue has room for one.
    let (_full, hanging) = listener(0);
    let mut filling = Vec::new();
    let mut connects = Connects::new().expect("descriptors");
    for number in 0..3 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
        let _ = socket.connect(&hanging.into());
        filling.push((number, socket));
    }
    let ends = [
        (refusing, ProbeOutcome::Failure(FailureCause::Refused)),
        (hanging, ProbeOutcome::Failure(FailureCause::TimedOut)),
        (target, ProbeOutcome::Success),
    ];
    for (number, (to, outcome)) in (0..).step_by(2).zip(ends) {
        assert_eq!(
            probe(&mut connects, number, target, SECOND).await.outcome,
            ProbeOutcome::Success
        );
        serve(&server);
        connects.looked = [(None, 0); 2];
        let timeout = SECOND / 20;
        let result = probe(&mut connects, number + 1, to, timeout).await;
        assert_eq!(result.outcome, outcome, "{to}");
        assert!(outcome == ProbeOutcome::Success || connects.sockets[0].closing().count() == 0);
        assert!(result.latency < SECOND, "{result:?}");
        if outcome == ProbeOutcome::Failure(FailureCause::TimedOut) {
            assert!(result.latency >= timeout, "{result:?}");
        }
    }
    assert_eq!(connects.deadlines.next(), None);
    assert_eq!(connects.running.len(), 1);
}

#[tokio::test]
async fn what_goes_wrong_at_once_is_told_like_everything_else() {
    let mut connects = Connects::new().expect("descriptors");
    // Nothing can be sent there (RFC 6890).
    let target = SocketAddr::from((Ipv4Addr::new(255, 255, 255, 255), 9));
    let result = probe(&mut connects, 1, target, SECOND).await;
    assert!(
        matches!(result.outcome, ProbeOutcome::Failure(_) | ProbeOutcome::Local(_)),
        "{result:?}"
    );
    assert_eq!(connects.next_wake(), None);
}

#[test]
fn only_a_connection_without_a_word_and_without_an_origin_is_taken() {
    assert!(Connects::takes(&ProbeSpec::new(ProbeKind::Tcp(Vec::new()))));
    let words = TalkStep::Send(Bytes(b"QUIT\r\n".to_vec()));
    assert!(!Connects::takes(&ProbeSpec::new(ProbeKind::Tcp(vec![words]))));
    assert!(!Connects::takes(&ProbeSpec::new(ProbeKind::Ping)));
    let origin = Origin {
        fwmark: Some(7),
        ..Origin::default()
    };
    let marked = ProbeSpec {
        origin,
        ..ProbeSpec::new(ProbeKind::Tcp(Vec::new()))
    };
    assert!(!Connects::takes(&marked));
}
