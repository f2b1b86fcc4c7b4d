//! Checks: what to probe and when.

use std::net::IpAddr;
use std::ops::RangeInclusive;
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
    /// From one probe to the next one, while nothing changes.
    pub interval: Duration,
    /// From one probe to the next one, while a verdict is being reached.
    pub retry_interval: Duration,
    /// From one probe to the next one, while the server is down and nothing changes.
    pub down_interval: Duration,
    /// Whether the intervals count from a probe's start or from its end.
    pub interval_from: IntervalFrom,
    /// How far `interval` and `down_interval` are stretched or shortened by chance.
    pub jitter: Jitter,
    /// The first probe comes at a random moment of so long a time; `None` for soon, one check after the other.
    pub warmup: Option<Duration>,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that bring a server up.
    pub rise: u32,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// Failures in a row that take a server down that was never seen up.
    pub first_fall: u32,
    /// What holds before the first verdict.
    pub initial: Initial,
    /// When a server that keeps changing is held down; `None` for never.
    pub flap: Option<Flap>,
    /// One idle connection is held open, and probes run at once where it breaks.
    pub hold: bool,
    /// By which way its probes go.
    pub via: Via,
}

impl CheckSpec {
    /// A check with the values that the configuration has where it says nothing.
    pub fn new(name: impl Into<String>, probe: ProbeSpec) -> Self {
        Self {
            name: name.into(),
            probe: Arc::new(probe),
            connect_ip: None,
            connect_port: None,
            interval: Self::DEFAULT_INTERVAL,
            retry_interval: Self::DEFAULT_RETRY_INTERVAL,
            down_interval: Self::DEFAULT_INTERVAL,
            interval_from: IntervalFrom::Start,
            jitter: Jitter::None,
            warmup: None,
            timeout: Self::DEFAULT_TIMEOUT,
            rise: Self::DEFAULT_RISE,
            fall: Self::DEFAULT_FALL,
            first_fall: Self::DEFAULT_FIRST_FALL,
            initial: Initial::FirstResult,
            flap: None,
            hold: false,
            via: Via::Direct,
        }
    }

    /// `interval` where nothing else is said.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
    /// `retry_interval` where nothing else is said and the interval is not shorter.
    pub const DEFAULT_RETRY_INTERVAL: Duration = Duration::from_secs(1);
    /// `timeout` where nothing else is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    /// `rise` where nothing else is said.
    pub const DEFAULT_RISE: u32 = 2;
    /// `fall` where nothing else is said.
    pub const DEFAULT_FALL: u32 = 3;
    /// `first_fall` where nothing else is said, as keepalived has it.
    pub const DEFAULT_FIRST_FALL: u32 = 1;
}

/// Flap damping: what counts as too many changes, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flap {
    /// So many changes, up or down, ...
    pub changes: u32,
    /// ... in so long a time are too many.
    pub within: Duration,
    /// How long it is held down the first time; each time after that, twice as long as the last time.
    pub hold_down: Duration,
    /// The longest that it is held down. After twice `within` without a hold the next one is short again.
    pub longest: Duration,
}

/// The way of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    /// To the real server's own address, past the kernel's table.
    #[default]
    Direct,
    /// To the virtual address, and by the kernel's table to that very server, as the packets of clients go.
    Path,
}

/// The firewall marks of ipvsd's own services for checks with `via = "path"`: 16,383 of them, all with the same upper
/// half, so that masks over the lower 14 bits of a mark see them as small numbers.
pub const PATH_MARKS: RangeInclusive<u32> = 0x6970_0001..=0x6970_3fff;

/// Where the time to the next probe starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntervalFrom {
    /// At the time the last probe was due: however long probes take, they come at the same pace (keepalived's
    /// `MISC_CHECK`).
    #[default]
    Start,
    /// At the last probe's end (keepalived's other checkers).
    End,
}

/// How far an interval may be off by chance, to either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// By so many hundredths of the interval, at most 100.
    Percent(u8),
    /// By so long a time, or by the interval where that is shorter.
    Time(Duration),
}

impl Jitter {
    /// The farthest that an interval may be off.
    pub fn of(self, interval: Duration) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Percent(percent) => interval * u32::from(percent.min(100)) / 100,
            Self::Time(time) => time.min(interval),
        }
    }
}

/// What holds for a server before its check has reached a verdict.
///
/// In every mode `first_fall` failures are a verdict: one is enough where nothing else is said.
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
