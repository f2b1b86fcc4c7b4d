//! The options: their letters and names, whether they take a value, and what the help says of them.

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

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None.
    Nothing,
    /// Always; the next word, whatever it looks like.
    Value,
    /// The next word unless it starts with a dash.
    PerhapsValue,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionEntry {
    /// The name after two dashes.
    pub long: &'static str,
    /// The letter after one dash.
    pub short: Option<char>,
    /// Whether it takes a value.
    pub takes: Takes,
    /// What it says.
    pub(super) meaning: Meaning,
    /// The value's name in the help; empty where there is none.
    pub(super) value: &'static str,
    /// What the help says of it.
    pub(super) about: &'static str,
}

const fn verb(short: Option<char>, long: &'static str, verb: Verb, about: &'static str) -> OptionEntry {
    OptionEntry {
        long,
        short,
        takes: Takes::Nothing,
        meaning: Meaning::Verb(verb),
        value: "",
        about,
    }
}

const fn flag(short: Option<char>, long: &'static str, setting: Setting, about: &'static str) -> OptionEntry {
    OptionEntry {
        long,
        short,
        takes: Takes::Nothing,
        meaning: Meaning::Setting(setting),
        value: "",
        about,
    }
}

const fn setting(
    short: Option<char>,
    long: &'static str,
    setting: Setting,
    value: &'static str,
    about: &'static str,
) -> OptionEntry {
    OptionEntry {
        long,
        short,
        takes: Takes::Value,
        meaning: Meaning::Setting(setting),
        value,
        about,
    }
}

const fn other(
    short: Option<char>,
    long: &'static str,
    meaning: Meaning,
    value: &'static str,
    about: &'static str,
) -> OptionEntry {
    OptionEntry {
        long,
        short,
        takes: if value.is_empty() { Takes::Nothing } else { Takes::Value },
        meaning,
        value,
        about,
    }
}

/// Every option, in the order of the help.
pub const OPTIONS: &[OptionEntry] = &[
    verb(Some('A'), "add-service", Verb::AddService, "add a virtual service"),
    verb(
        Some('E'),
        "edit-service",
        Verb::EditService,
        "replace the settings of a virtual service",
    ),
    verb(
        Some('D'),
        "delete-service",
        Verb::DeleteService,
        "remove a virtual service and its real servers",
    ),
    verb(Some('C'), "clear", Verb::Clear, "remove all virtual services"),
    verb(
        Some('R'),
        "restore",
        Verb::Restore,
        "carry out the lines read from standard input",
    ),
    verb(Some('S'), "save", Verb::Save, "print the table as lines for -R"),
    verb(
        Some('a'),
        "add-server",
        Verb::AddServer,
        "add a real server to a virtual service",
    ),
    verb(
        Some('e'),
        "edit-server",
        Verb::EditServer,
        "replace the settings of a real server",
    ),
    verb(
        Some('d'),
        "delete-server",
        Verb::DeleteServer,
        "remove a real server from a virtual service",
    ),
    verb(Some('L'), "list", Verb::List, "show the table, or one of its services"),
    // The letter is a second one for -L; the original's table has the long name twice, too.
    verb(Some('l'), "list", Verb::List, "the same"),
    verb(
        Some('Z'),
        "zero",
        Verb::Zero,
        "set the counters of one service, or of all, to zero",
    ),
    verb(
        None,
        "set",
        Verb::Set,
        "set the connection timeouts: TCP, TCP after a FIN, UDP; 0 keeps one",
    ),
    other(
        None,
        "start-daemon",
        Meaning::Verb(Verb::StartDaemon),
        "role",
        "start a connection sync daemon, master or backup",
    ),
    other(
        None,
        "stop-daemon",
        Meaning::Verb(Verb::StopDaemon),
        "role",
        "stop a connection sync daemon",
    ),
    verb(Some('h'), "help", Verb::Help, "print this"),
    verb(Some('v'), "version", Verb::Version, "print the version"),
    other(
        Some('t'),
        "tcp-service",
        Meaning::ServiceOf(6),
        "host[:port]",
        "a TCP service",
    ),
    other(
        Some('u'),
        "udp-service",
        Meaning::ServiceOf(17),
        "host[:port]",
        "a UDP service",
    ),
    other(
        None,
        "sctp-service",
        Meaning::ServiceOf(132),
        "host[:port]",
        "an SCTP service",
    ),
    other(
        Some('f'),
        "fwmark-service",
        Meaning::Fwmark,
        "mark",
        "the service of a firewall mark, 1 or more",
    ),
    other(
        Some('6'),
        "ipv6",
        Meaning::Ipv6,
        "",
        "after -f: the mark's IPv6 service",
    ),
    setting(
        Some('s'),
        "scheduler",
        Setting::Scheduler,
        "name",
        "rr, wrr, lc, wlc (unless said), lblc, lblcr, dh, sh, mh, sed, nq, fo, ovf, none",
    ),
    setting(
        None,
        "pe",
        Setting::PersistenceEngine,
        "engine",
        "the persistence engine: sip",
    ),
    OptionEntry {
        takes: Takes::PerhapsValue,
        ..setting(
            Some('p'),
            "persistent",
            Setting::Persistent,
            "[seconds]",
            "keep each client on its server, 360 seconds unless said",
        )
    },
    setting(
        Some('M'),
        "netmask",
        Setting::Netmask,
        "mask",
        "with -p: clients that count as one; a prefix length for IPv6",
    ),
    setting(
        Some('b'),
        "sched-flags",
        Setting::SchedulerFlags,
        "flags",
        "flags of the scheduler, with commas: flag-1 to flag-3, sh-fallback, sh-port, mh-fallback, mh-port",
    ),
    flag(
        Some('o'),
        "ops",
        Setting::OnePacket,
        "schedule every packet for itself (UDP)",
    ),
    setting(
        Some('r'),
        "real-server",
        Setting::Server,
        "host[:port]",
        "the real server; without port that of the service",
    ),
    other(
        Some('g'),
        "gatewaying",
        Meaning::Forwarding('g'),
        "",
        "direct routing (unless said)",
    ),
    other(Some('i'), "ipip", Meaning::Forwarding('i'), "", "through a tunnel"),
    other(
        Some('m'),
        "masquerading",
        Meaning::Forwarding('m'),
        "",
        "network address translation",
    ),
    setting(
        None,
        "tun-type",
        Setting::TunType,
        "type",
        "the tunnel: ipip (unless said), gue, gre",
    ),
    setting(
        None,
        "tun-port",
        Setting::TunPort,
        "port",
        "gue: the real server's UDP port",
    ),
    flag(None, "tun-nocsum", Setting::TunNocsum, "gue, gre: no checksum"),
    flag(None, "tun-csum", Setting::TunCsum, "gue, gre: with a checksum"),
    flag(
        None,
        "tun-remcsum",
        Setting::TunRemcsum,
        "gue: with remote checksum offload",
    ),
    setting(
        Some('w'),
        "weight",
        Setting::Weight,
        "weight",
        "the share of new connections, 1 unless said; 0 takes none",
    ),
    setting(
        Some('x'),
        "u-threshold",
        Setting::UpperThreshold,
        "number",
        "no new connections at this many",
    ),
    setting(
        Some('y'),
        "l-threshold",
        Setting::LowerThreshold,
        "number",
        "new connections again below this many",
    ),
    flag(
        Some('c'),
        "connection",
        Setting::Connection,
        "show the connection table",
    ),
    flag(None, "timeout", Setting::Timeout, "show the connection timeouts"),
    flag(None, "daemon", Setting::Daemon, "show the sync daemons"),
    flag(
        None,
        "stats",
        Setting::Statistics,
        "show connections, packets and bytes",
    ),
    flag(
        None,
        "rate",
        Setting::Rate,
        "show connections, packets and bytes a second",
    ),
    flag(
        Some('X'),
        "exact",
        Setting::Exact,
        "print figures with all their digits",
    ),
    flag(None, "thresholds", Setting::Thresholds, "show connection thresholds"),
    flag(
        None,
        "persistent-conn",
        Setting::PersistentConn,
        "show persistent connections",
    ),
    flag(None, "tun-info", Setting::TunInfo, "show tunnels"),
    flag(None, "nosort", Setting::NoSort, "keep the kernel's order"),
    other(None, "sort", Meaning::Nothing, "", "does nothing"),
    flag(Some('n'), "numeric", Setting::Numeric, "addresses and ports as numbers"),
    setting(
        None,
        "syncid",
        Setting::SyncId,
        "id",
        "only daemons of one id hear each other: 0 to 255, 0 unless said",
    ),
    setting(
        None,
        "sync-maxlen",
        Setting::SyncMaxlen,
        "bytes",
        "the longest sync message",
    ),
    setting(
        None,
        "mcast-interface",
        Setting::McastInterface,
        "interface",
        "the interface of the sync messages, eth0 unless said",
    ),
    setting(
        None,
        "mcast-group",
        Setting::McastGroup,
        "address",
        "their multicast group, 224.0.0.81 unless said",
    ),
    setting(
        None,
        "mcast-port",
        Setting::McastPort,
        "port",
        "their UDP port, 8848 unless said",
    ),
    setting(None, "mcast-ttl", Setting::McastTtl, "ttl", "their TTL, 1 unless said"),
    flag(None, "json", Setting::Json, "with -L: print JSON (ipvsd only)"),
    flag(
        None,
        "atomic",
        Setting::Atomic,
        "with -R: write nothing if a line is bad (ipvsd only)",
    ),
];
