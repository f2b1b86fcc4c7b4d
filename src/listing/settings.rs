//! The one-liners: connection timeouts and sync daemons.

use std::io::Write;

use crate::model::{SyncDaemon, Timeouts};

/// Appends the line of `--timeout`; seconds.
pub fn render_timeouts(out: &mut Vec<u8>, timeouts: Timeouts) {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    // Writing to a vector cannot fail.
    let _ = writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}");
}

/// Appends one line a running sync daemon, master before backup as the kernel tells them; nothing where none runs.
pub fn render_daemons(out: &mut Vec<u8>, daemons: &[SyncDaemon]) {
    for daemon in daemons {
        let SyncDaemon {
            role,
            interface,
            sync_id,
            max_length,
            group,
            port,
            ttl,
        } = daemon;
        let _ = write!(
            out,
            "{role} sync daemon (mcast={interface}, syncid={sync_id}, maxlen={max_length}"
        );
        if let Some(group) = group {
            let _ = write!(out, ", group={group}");
        }
        let _ = writeln!(out, ", port={port}, ttl={ttl})");
    }
}
