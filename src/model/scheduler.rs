//! Schedulers by their kernel names, and the service flags some of them understand.

use std::fmt;

/// How the kernel chooses a destination: the name of an `ip_vs_NAME` module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// Locality-based least connections with replication.
    Lblcr,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Maglev hashing.
    Mh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Weighted fail-over.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// The power of two random choices (newer kernels).
    Twos,
    /// No scheduler at all (`none`): the service refuses new connections.
    None,
    /// A scheduler this program has no name for, at most 15 bytes without a NUL.
    Other(Box<str>),
}

impl Scheduler {
    /// Every scheduler that has a name here, [`Scheduler::None`] left out.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Dh,
        Self::Sh,
        Self::Mh,
        Self::Sed,
        Self::Nq,
        Self::Fo,
        Self::Ovf,
        Self::Twos,
    ];

    /// The scheduler the kernel calls by this name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "none" => Self::None,
            _ => Self::ALL
                .into_iter()
                .find(|scheduler| scheduler.name() == name)
                .unwrap_or_else(|| Self::Other(name.into())),
        }
    }

    /// The name the kernel knows, which is also the end of the module's name `ip_vs_NAME`.
    pub fn name(&self) -> &str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Mh => "mh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
            Self::None => "none",
            Self::Other(name) => name,
        }
    }

    /// Whether a client address (and port) is hashed onto a lookup table of destinations: `sh` and `mh`.
    ///
    /// Such a table keeps the slots of a destination of weight 0, and without the fallback flag the clients that
    /// fall on them are refused.
    pub fn hashes_the_client(&self) -> bool {
        matches!(self, Self::Sh | Self::Mh)
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The flags of a virtual service (`IP_VS_SVC_F_*` in `linux/ip_vs.h`), without the kernel's own HASHED bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServiceFlags(u32);

impl ServiceFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Clients stick to their destination.
    pub const PERSISTENT: Self = Self(0x1);
    /// Each packet is scheduled on its own (UDP).
    pub const ONE_PACKET: Self = Self(0x4);
    /// The scheduler's first flag: `sh-fallback`, `mh-fallback`.
    pub const SCHEDULER_1: Self = Self(0x8);
    /// The scheduler's second flag: `sh-port`, `mh-port`.
    pub const SCHEDULER_2: Self = Self(0x10);
    /// The scheduler's third flag.
    pub const SCHEDULER_3: Self = Self(0x20);
    /// Set by the kernel in every dump and ignored on the way in; never part of a value of this type.
    const HASHED: u32 = 0x2;

    /// The flags with these bits; the kernel's HASHED bit is dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & !Self::HASHED)
    }

    /// The bits as the kernel takes them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other`'s flags are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and `other`'s.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The scheduler flags by the names ipvsadm(8) prints for this scheduler: `sh-port`, `mh-fallback`, `flag-3`.
    pub fn scheduler_flag_names(self, scheduler: &Scheduler) -> Vec<&'static str> {
        let names = match scheduler {
            Scheduler::Sh => ["sh-fallback", "sh-port", "flag-3"],
            Scheduler::Mh => ["mh-fallback", "mh-port", "flag-3"],
            _ => ["flag-1", "flag-2", "flag-3"],
        };
        [Self::SCHEDULER_1, Self::SCHEDULER_2, Self::SCHEDULER_3]
            .into_iter()
            .zip(names)
            .filter_map(|(flag, name)| self.contains(flag).then_some(name))
            .collect()
    }
}
