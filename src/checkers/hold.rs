//! A held connection: opened, kept idle, and watched for its end. It says how it ended and decides nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt;

use super::attempt::Attempt;
use crate::model::{HoldEnd, ProbeSpec};

/// A silent server is asked whether it is still there after this, ...
const IDLE: Duration = Duration::from_secs(10);
/// ... and again after each of these, ...
const AGAIN: Duration = Duration::from_secs(3);
/// ... so often before the connection counts as broken.
const TIMES: u32 = 3;

/// A server that says more than this without being asked cannot be held.
const MOST_SAID: usize = 64 * 1024;

/// Opens a connection and returns when it has ended; what a server says on it (a greeting) is read and forgotten.
pub async fn hold(spec: &ProbeSpec, target: SocketAddr, timeout: Duration) -> HoldEnd {
    let attempt = Attempt::new(target, &spec.origin, Instant::now() + timeout);
    let connected = tokio::time::timeout_at(attempt.deadline().into(), attempt.connect()).await;
    let Ok(Ok(mut stream)) = connected else {
        return HoldEnd::NotOpened;
    };
    let keepalive = TcpKeepalive::new()
        .with_time(IDLE)
        .with_interval(AGAIN)
        .with_retries(TIMES);
    // Without it a host that is switched off is found by probes alone.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let (mut piece, mut said) = ([0; 256], 0);
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return HoldEnd::Closed,
            Ok(length) => said += length,
            Err(_) => return HoldEnd::Broken,
        }
        if said > MOST_SAID {
            return HoldEnd::NotOpened;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::ProbeKind;

    const SECOND: Duration = Duration::from_secs(1);

    async fn held(serve: impl AsyncFnOnce(tokio::net::TcpStream)) -> HoldEnd {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        let spec = ProbeSpec::new(ProbeKind::Tcp(Vec::new()));
        let serve = async { serve(listener.accept().await.expect("a connection").0).await };
        tokio::join!(hold(&spec, address, SECOND), serve).0
    }

    #[tokio::test]
    async fn the_ends_of_a_connection_are_told_apart() {
        let polite = held(async |mut stream| stream.write_all(b"220 hello\r\n").await.expect("room")).await;
        assert_eq!(polite, HoldEnd::Closed);
        let reset = async |stream: tokio::net::TcpStream| {
            // Not before the other side has seen that it is connected.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket");
        };
        assert_eq!(held(reset).await, HoldEnd::Broken);
        let talkative = async |mut stream: tokio::net::TcpStream| {
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        };
        assert_eq!(held(talkative).await, HoldEnd::NotOpened);
    }
}
