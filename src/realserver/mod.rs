//! What a host needs to be a real server of a DR or TUN service: the virtual addresses on a device that nobody
//! asks for, no ARP answers for them, a tunnel's end, and the way back to what was there before.
//!
//! | file | kind | what |
//! |---|---|---|
//! | `words` | words | what is wanted, what the host has, steps, findings, the record of what was there before |
//! | `plan` | thinking | what to do and what to undo |
//! | `rules` | thinking | whether the host would work, and what is wrong |
//! | `state` | hands | the record's file |
//!
//! IPv4: the kernel answers ARP on any interface for any address of the host, so ARP must be told not to. IPv6: the
//! kernel answers a neighbour solicitation only for addresses of the interface that it came in on
//! (net/ipv6/ndisc.c, `ndisc_recv_ns`), so an address on `lo` is not answered for and no setting is needed.

pub mod plan;
pub mod rules;
pub mod state;
mod words;

pub use words::{
    Finding, FromConfig, Host, KeptSysctl, KeptVip, Mode, Record, Severity, Step, Undo, Wanted, WantedVip,
};
