//! Checks: what to probe and when.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ProbeSpec;

/// One check of a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// Its name in the configuration, or the probe's type where it has none.
    pub name: String,
    /// What is tried; shared by all servers that the check is for.
    pub probe: Arc<ProbeSpec>,
    /// The address it connects to; `None` for the real server's own.
    pub connect_ip: Option<IpAddr>,
    /// The port it connects to; `None` for the real server's own.
    pub connect_port: Option<u16>,
    /// From one probe's start to the next one's, while nothing changes.
    pub interval: Duration,
    /// From one probe's start to the next one's, while a verdict is being reached.
    pub retry_interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that bring a server up.
    pub rise: u32,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// What holds before the first verdict.
    pub initial: Initial,
}

/// What holds for a server before its check has reached a verdict.
///
/// In every mode a failed first probe is a verdict at once: one failure is enough for a server that was never seen up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initial {
    /// It serves from the start (keepalived without `alpha`).
    Up,
    /// It stays out until `rise` probes in a row have succeeded (keepalived's `alpha`).
    Down,
    /// The first result decides; until then the kernel's table is left as found.
    #[default]
    FirstResult,
}
