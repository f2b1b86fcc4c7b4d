//! Which option goes with which command, and which tunnel option with which tunnel.

use super::meaning::{Setting, Settings, Verb};
use super::message::Refusal;

/// What a command, or a tunnel type, makes of the options.
#[derive(Debug, Default)]
struct Rules {
    required: Settings,
    optional: Settings,
    /// At most one of them.
    one_of: Settings,
}

impl Rules {
    fn allow(&self, given: Settings) -> bool {
        let known = self.required.union(self.optional).union(self.one_of);
        given.contains_all(self.required) && known.contains_all(given) && given.intersection(self.one_of).len() < 2
    }
}

const SERVICE: Settings = Settings::of(&[Setting::Service]);
const SERVER: Settings = Settings::of(&[Setting::Service, Setting::Server]);
const SERVICE_SETTINGS: Settings = Settings::of(&[
    Setting::Scheduler,
    Setting::Persistent,
    Setting::Netmask,
    Setting::OnePacket,
    Setting::PersistenceEngine,
    Setting::SchedulerFlags,
]);
const SERVER_SETTINGS: Settings = Settings::of(&[
    Setting::Forwarding,
    Setting::Weight,
    Setting::UpperThreshold,
    Setting::LowerThreshold,
    Setting::TunType,
    Setting::TunPort,
    Setting::TunNocsum,
    Setting::TunCsum,
    Setting::TunRemcsum,
]);
const LIST_SETTINGS: Settings = Settings::of(&[
    Setting::Numeric,
    Setting::Statistics,
    Setting::Rate,
    Setting::Thresholds,
    Setting::PersistentConn,
    Setting::NoSort,
    Setting::SyncId,
    Setting::Exact,
    Setting::TunInfo,
    Setting::Json,
]);
const DAEMON_SETTINGS: Settings = Settings::of(&[
    Setting::McastInterface,
    Setting::SyncId,
    Setting::McastGroup,
    Setting::McastPort,
    Setting::McastTtl,
    Setting::SyncMaxlen,
]);

fn of_verb(verb: Verb) -> Rules {
    const NONE: Settings = Settings::NONE;
    let (required, optional, one_of) = match verb {
        Verb::AddService | Verb::EditService => (SERVICE, SERVICE_SETTINGS, NONE),
        Verb::DeleteService => (SERVICE, NONE, NONE),
        Verb::AddServer | Verb::EditServer => (SERVER, SERVER_SETTINGS, NONE),
        Verb::DeleteServer => (SERVER, NONE, NONE),
        Verb::Restore => (NONE, Settings::of(&[Setting::Atomic]), NONE),
        Verb::Save => (NONE, Settings::of(&[Setting::Numeric]), NONE),
        Verb::List => (
            NONE,
            LIST_SETTINGS,
            Settings::of(&[Setting::Connection, Setting::Service, Setting::Timeout, Setting::Daemon]),
        ),
        Verb::Zero => (NONE, SERVICE, NONE),
        Verb::StartDaemon => (NONE, DAEMON_SETTINGS, NONE),
        Verb::StopDaemon => (NONE, Settings::of(&[Setting::SyncId]), NONE),
        Verb::Clear | Verb::Set | Verb::Help | Verb::Version => (NONE, NONE, NONE),
    };
    Rules {
        required,
        optional,
        one_of,
    }
}

/// Goes through `settings` in their order and stops at the first thing wrong with those `given`.
fn check(rules: &Rules, settings: &[Setting], given: Settings, whose: impl Fn() -> String) -> Result<(), Refusal> {
    if rules.allow(given.intersection(Settings::of(settings))) {
        return Ok(());
    }
    let whose = &whose();
    let mut chosen: Option<Setting> = None;
    for &setting in settings {
        let name = setting.name();
        if !given.contains(setting) {
            if rules.required.contains(setting) {
                return Err(missing(setting, whose));
            }
        } else if rules.one_of.contains(setting) {
            if let Some(first) = chosen {
                let first = first.name();
                return Err(Refusal::syntax(format!(
                    "The option '{name}' conflicts with the '{first}' option in the {whose}"
                )));
            }
            chosen = Some(setting);
        } else if !rules.required.contains(setting) && !rules.optional.contains(setting) {
            return Err(Refusal::syntax(format!("Illegal '{name}' option with the {whose}")));
        }
    }
    Ok(())
}

fn missing(setting: Setting, whose: &str) -> Refusal {
    Refusal::syntax(format!(
        "You need to supply the '{}' option for the {whose}",
        setting.name()
    ))
}

/// The refusal of a command that needs a service and has none.
pub(super) fn missing_service(verb: Verb) -> Refusal {
    missing(Setting::Service, &of_command(verb))
}

fn of_command(verb: Verb) -> String {
    format!("'{}' command", verb.name())
}

/// Whether a command takes these options.
///
/// # Errors
/// The first one that is wrong or missing.
pub(super) fn check_command(verb: Verb, given: Settings) -> Result<(), Refusal> {
    check(&of_verb(verb), &Setting::ALL, given, || of_command(verb))
}

/// The options of tunnels, in the order of the checks.
pub(super) const TUNNEL_SETTINGS: &[Setting] = &[
    Setting::TunType,
    Setting::TunPort,
    Setting::TunNocsum,
    Setting::TunCsum,
    Setting::TunRemcsum,
];

/// A type of tunnel, by the names of `--tun-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TunnelType {
    #[default]
    Ipip,
    Gue,
    Gre,
}

impl TunnelType {
    /// The type with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "ipip" => Some(Self::Ipip),
            "gue" => Some(Self::Gue),
            "gre" => Some(Self::Gre),
            _ => None,
        }
    }
}

/// Whether a tunnel of this type takes these options.
///
/// # Errors
/// The first one that is wrong or missing.
pub(super) fn check_tunnel(kind: TunnelType, given: Settings) -> Result<(), Refusal> {
    const TYPE: Settings = Settings::of(&[Setting::TunType]);
    let (name, rules) = match kind {
        TunnelType::Ipip => (
            "ipip",
            Rules {
                optional: TYPE,
                ..Rules::default()
            },
        ),
        TunnelType::Gue => (
            "gue",
            Rules {
                required: Settings::of(&[Setting::TunPort]),
                optional: TYPE,
                one_of: Settings::of(&[Setting::TunNocsum, Setting::TunCsum, Setting::TunRemcsum]),
            },
        ),
        TunnelType::Gre => (
            "gre",
            Rules {
                optional: TYPE,
                one_of: Settings::of(&[Setting::TunNocsum, Setting::TunCsum]),
                ..Rules::default()
            },
        ),
    };
    check(&rules, TUNNEL_SETTINGS, given, || format!("'{name}' tunnel type"))
}
