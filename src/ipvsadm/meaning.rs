//! What options mean: commands, and what is said with them.

/// What an option says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is the command.
    Verb(Verb),
    /// It is a thing to be said once.
    Setting(Setting),
    /// A service of this protocol number, 6, 17 or 132.
    ServiceOf(u16),
    /// A service by firewall mark.
    Fwmark,
    /// The firewall mark's service is the IPv6 one.
    Ipv6,
    /// A forwarding method: `g`, `i` or `m`.
    Forwarding(char),
    /// Taken and ignored.
    Nothing,
}

/// What comes first on a command line and says what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `-A`
    AddService,
    /// `-E`
    EditService,
    /// `-D`
    DeleteService,
    /// `-C`
    Clear,
    /// `-R`
    Restore,
    /// `-S`
    Save,
    /// `-a`
    AddServer,
    /// `-e`
    EditServer,
    /// `-d`
    DeleteServer,
    /// `-L`, `-l`
    List,
    /// `-Z`
    Zero,
    /// `--set`
    Set,
    /// `--start-daemon`
    StartDaemon,
    /// `--stop-daemon`
    StopDaemon,
    /// `-h`
    Help,
    /// `-v`
    Version,
}

impl Verb {
    /// The name in messages, which is not always the option's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Clear => "flush",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::AddServer => "add-server",
            Self::EditServer => "edit-server",
            Self::DeleteServer => "delete-server",
            Self::List => "list",
            Self::Zero => "zero",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Help => "help",
            Self::Version => "version",
        }
    }
}

/// What may be said once on a command line, and only with some commands. In the order of the checks: of several
/// things that are wrong the first one is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting {
    /// `-n`
    Numeric,
    /// `-c`
    Connection,
    /// `-t`, `-u`, `--sctp-service`, `-f`
    Service,
    /// `-s`
    Scheduler,
    /// `-p`
    Persistent,
    /// `-M`
    Netmask,
    /// `-r`
    Server,
    /// `-g`, `-i`, `-m`
    Forwarding,
    /// `-w`
    Weight,
    /// `-x`
    UpperThreshold,
    /// `-y`
    LowerThreshold,
    /// `--mcast-interface`
    McastInterface,
    /// `--timeout`
    Timeout,
    /// `--daemon`
    Daemon,
    /// `--stats`
    Statistics,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    PersistentConn,
    /// `--nosort`
    NoSort,
    /// `--syncid`
    SyncId,
    /// `--exact`
    Exact,
    /// `-o`
    OnePacket,
    /// `--pe`
    PersistenceEngine,
    /// `-b`
    SchedulerFlags,
    /// `--mcast-group`
    McastGroup,
    /// `--mcast-port`
    McastPort,
    /// `--mcast-ttl`
    McastTtl,
    /// `--sync-maxlen`
    SyncMaxlen,
    /// `--tun-info`
    TunInfo,
    /// `--tun-type`
    TunType,
    /// `--tun-port`
    TunPort,
    /// `--tun-nocsum`
    TunNocsum,
    /// `--tun-csum`
    TunCsum,
    /// `--tun-remcsum`
    TunRemcsum,
    /// `--json`; the original does not have it.
    Json,
    /// `--atomic`; the original does not have it.
    Atomic,
}

/// Some of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settings(u64);

impl Settings {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(settings: &[Setting]) -> Self {
        let mut all = Self::NONE;
        let mut index = 0;
        while index < settings.len() {
            all = all.with(settings[index]);
            index += 1;
        }
        all
    }

    pub(super) const fn with(self, setting: Setting) -> Self {
        Self(self.0 | 1 << setting as u32)
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn contains(self, setting: Setting) -> bool {
        self.0 & 1 << setting as u32 != 0
    }

    pub(super) const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn len(self) -> u32 {
        self.0.count_ones()
    }
}

impl Setting {
    /// All of them, in the order of the checks.
    pub(super) const ALL: [Self; 36] = [
        Self::Numeric,
        Self::Connection,
        Self::Service,
        Self::Scheduler,
        Self::Persistent,
        Self::Netmask,
        Self::Server,
        Self::Forwarding,
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::McastInterface,
        Self::Timeout,
        Self::Daemon,
        Self::Statistics,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::NoSort,
        Self::SyncId,
        Self::Exact,
        Self::OnePacket,
        Self::PersistenceEngine,
        Self::SchedulerFlags,
        Self::McastGroup,
        Self::McastPort,
        Self::McastTtl,
        Self::SyncMaxlen,
        Self::TunInfo,
        Self::TunType,
        Self::TunPort,
        Self::TunNocsum,
        Self::TunCsum,
        Self::TunRemcsum,
        Self::Json,
        Self::Atomic,
    ];

    /// The name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Connection => "connection",
            Self::Service => "service-address",
            Self::Scheduler => "scheduler",
            Self::Persistent => "persistent",
            Self::Netmask => "netmask",
            Self::Server => "real-server",
            Self::Forwarding => "forwarding-method",
            Self::Weight => "weight",
            Self::UpperThreshold => "u-threshold",
            Self::LowerThreshold => "l-threshold",
            Self::McastInterface => "mcast-interface",
            Self::Timeout => "timeout",
            Self::Daemon => "daemon",
            Self::Statistics => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::NoSort => "nosort",
            Self::SyncId => "syncid",
            Self::Exact => "exact",
            Self::OnePacket => "ops",
            Self::PersistenceEngine => "pe",
            Self::SchedulerFlags => "sched-flags",
            Self::McastGroup => "mcast-group",
            Self::McastPort => "mcast-port",
            Self::McastTtl => "mcast-ttl",
            Self::SyncMaxlen => "sync-maxlen",
            Self::TunInfo => "tun-info",
            Self::TunType => "tun-type",
            Self::TunPort => "tun-port",
            Self::TunNocsum => "tun-nocsum",
            Self::TunCsum => "tun-csum",
            Self::TunRemcsum => "tun-remcsum",
            Self::Json => "json",
            Self::Atomic => "atomic",
        }
    }
}
