//! How the link to the other director is, in sentences.

use super::{Columns, ago, clock, count};
use crate::model::PEER_CLOCKS_APART;
use crate::model::control::PeerStatus;

/// Appends how the link is, and each difference on a line.
pub fn peer(out: &mut String, peer: &PeerStatus) {
    let now = peer.time;
    match peer.since {
        Some(since) => out.push_str(&format!(
            "connected to {} for {} (since {})\n",
            peer.address,
            ago(since, now),
            clock(since)
        )),
        None => out.push_str(&format!("not connected to {}\n", peer.address)),
    }
    let mut columns = Columns::default();
    let mut row = |name: &str, value: String| columns.push(vec![name.to_owned(), value]);
    if let (Some(trouble), Some(since)) = (&peer.trouble, peer.trouble_since) {
        row("trouble", format!("{} ago: {trouble}", ago(since, now)));
    }
    if let Some(version) = &peer.version {
        let who = match peer.opened_here {
            Some(true) => "connected from here",
            Some(false) | None => "connected from there",
        };
        row("peer", format!("ipvsd {version}, {who}"));
    }
    row("listens on", peer.listen.to_string());
    row(
        "own key",
        peer.key.clone().unwrap_or_else(|| "none (see the trouble)".to_owned()),
    );
    row("peer's key", peer.peer_key.clone());
    row(
        "checks",
        match peer.checks_by_peer {
            0 => format!("{}, all by own verdicts or none", peer.checks),
            some => format!("{}, {some} of them by the peer's verdicts", peer.checks),
        },
    );
    if let Some(ahead) = peer
        .clock_ahead_ms
        .filter(|ahead| ahead.unsigned_abs() >= PEER_CLOCKS_APART.unsigned_abs())
    {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let seconds = ahead.unsigned_abs() / 1000;
        row(
            "clock",
            format!("the peer's is {seconds} s {side} this one's (set both)"),
        );
    }
    if !peer.not_told.is_empty() {
        row(
            "not told",
            format!("{} (too long; the log says more)", peer.not_told.join(", ")),
        );
    }
    if peer.passed_over > 0 {
        let parts = count(usize::try_from(peer.passed_over).unwrap_or(usize::MAX), "statement");
        row(
            "not known",
            format!("{parts} of the peer's (install the newer ipvsd on both)"),
        );
    }
    if let (Some(own), Some(theirs)) = (peer.connections, peer.peer_connections) {
        let text = format!("{own} here, {theirs} on the peer, when they were counted last");
        row("connections", text);
    }
    columns.render(out, "  ");
    if let Some(why) = &peer.not_compared {
        out.push_str(&format!("  {why}\n"));
        if peer.differences.is_empty() {
            return;
        }
    }
    match (peer.differences.len(), peer.compared) {
        (0, true) => out.push_str("  services, real servers and their settings are the same on both\n"),
        (0, false) => out.push_str("  not compared yet\n"),
        (some, compared) => {
            let when = if compared { "" } else { ", when they were compared last" };
            out.push_str(&format!("  {}{when}:\n", count(some, "difference")));
            for difference in &peer.differences {
                out.push_str(&format!("    {difference}\n"));
            }
        }
    }
}
