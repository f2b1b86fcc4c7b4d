//! One entry of the kernel's connection table, as `/proc/net/ip_vs_conn` shows it.

use std::net::SocketAddr;

use super::Protocol;

/// A connection that IPVS forwards, or a persistence template (client port 0, state `NONE` or `ASSURED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionEntry {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client.
    pub client: SocketAddr,
    /// The virtual address and port the client talks to; a template of a firewall mark has the mark as address.
    pub virtual_address: SocketAddr,
    /// The real server.
    pub destination: SocketAddr,
    /// The state's name, such as `ESTABLISHED`.
    pub state: String,
    /// Seconds until the entry goes, if no packet comes.
    pub expires: u32,
    /// The persistence engine and its data (a SIP Call-ID), where one is at work.
    pub persistence: Option<PersistenceData>,
}

/// What a persistence engine knows about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersistenceData {
    /// The engine's name, such as `sip`.
    pub engine: String,
    /// What it recognises the client by; no white space in it.
    pub data: String,
}
