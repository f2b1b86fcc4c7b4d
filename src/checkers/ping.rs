//! The ping probe: an ICMP echo of the real server's family.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use socket2::{Protocol, Type};
use tokio::net::UdpSocket;

use super::attempt::Attempt;
use super::packet::icmp;
use super::{Findings, Verdict, fault, udp};
use crate::model::{LocalTrouble, ProbeOutcome, Stage};

/// What tells the echoes of this process apart.
static COUNT: AtomicU64 = AtomicU64::new(0);

pub(super) async fn probe(attempt: &Attempt<'_>) -> Verdict {
    let v6 = attempt.target().is_ipv6();
    let protocol = if v6 { Protocol::ICMPV6 } else { Protocol::ICMPV4 };
    // A datagram socket needs a group of net.ipv4.ping_group_range, a raw one CAP_NET_RAW: whichever there is.
    let socket = match attempt.socket(Type::DGRAM, Some(protocol)) {
        Err(ProbeOutcome::Local(LocalTrouble::Forbidden)) => attempt.socket(Type::RAW, Some(protocol))?,
        other => other?,
    };
    let target = std::net::SocketAddr::new(attempt.target().ip(), 0);
    socket
        .connect(&target.into())
        .map_err(|error| fault::of_connect(&error))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(|error| fault::of(&error))?;
    attempt.await_stage(Stage::Echo);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let payload = [u64::from(std::process::id()).to_be_bytes(), count.to_be_bytes()].concat();
    let sequence = u16::try_from(count & 0xffff).unwrap_or(0);
    let sent = socket.send(&icmp::request(v6, sequence, &payload)).await;
    sent.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENETUNREACH) => fault::of_connect(&error),
        _ => fault::of(&error),
    })?;
    udp::receive(&socket, |bytes| {
        icmp::is_reply(v6, sequence, &payload, bytes).then_some(())
    })
    .await?;
    Ok(Findings::default())
}
