//! The options, a table: their letters and names, whether they take a value, and what the help says of them.

use super::meaning::{Meaning, Setting, Verb};

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
