//! A command line to a command: the first option says which, the rest in their order, then the checks.

use std::net::Ipv4Addr;

use super::command::Command;
use super::draft::{self, Draft};
use super::lexer::Lexer;
use super::meaning::{Meaning, Setting, Verb};
use super::message::Refusal;
use super::rule::{self, TUNNEL_SETTINGS, TunnelType};
use super::value::{self, FlagTrouble};
use crate::listing::{self, Order, What};
use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, Protocol, Scheduler, ServiceFlags, ServiceKey, ServiceSpec,
    Step, SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};

/// Who knows the names of hosts and ports.
pub trait NameService {
    /// The IPv4 address of a host.
    fn host(&self, name: &str) -> Option<Ipv4Addr>;

    /// The port of a name in services(5) for TCP or UDP.
    fn port(&self, protocol: Protocol, name: &str) -> Option<u16>;
}

/// What the words behind the program's name ask for.
///
/// `program` is the name in messages. No words at all are a listing with names.
///
/// # Errors
/// What the original refuses, in its words and with its exit status.
pub fn parse<W: AsRef<str>>(words: &[W], program: &str, names: &dyn NameService) -> Result<Command, Refusal> {
    if words.is_empty() {
        return Ok(Command::List(listing::Request::default()));
    }
    let mut lexer = Lexer::new(words);
    let mut role = SyncRole::Master;
    // The original has one answer to everything that is wrong with the first option.
    let Ok(Some((first, value))) = lexer.next() else {
        return Err(Refusal::usage(program));
    };
    let Meaning::Verb(verb) = first.meaning else {
        return Err(Refusal::usage(program));
    };
    // These two look at nothing else.
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon => role = sync_role(value, "illegal start-daemon parameter specified")?,
        // The message is that of the other one, nearly.
        Verb::StopDaemon => role = sync_role(value, "illegal start_daemon specified")?,
        Verb::AddService
        | Verb::EditService
        | Verb::DeleteService
        | Verb::Clear
        | Verb::Restore
        | Verb::Save
        | Verb::AddServer
        | Verb::EditServer
        | Verb::DeleteServer
        | Verb::List
        | Verb::Zero
        | Verb::Set => {}
    }
    let mut draft = Draft::new();
    loop {
        match lexer.next() {
            Ok(Some((entry, value))) => draft.take(entry, value, lexer.last_word(), names)?,
            Ok(None) => break,
            Err(trouble) => return Err(Refusal::option(lexer.last_word(), trouble.text())),
        }
    }
    let mut loose = lexer.into_loose().into_iter();
    let timeouts = if verb == Verb::Set {
        take_timeouts(&mut loose)?
    } else {
        Timeouts::default()
    };
    if let Some(word) = loose.next() {
        return Err(Refusal::syntax(format!("unexpected argument {word}")));
    }
    let flags = scheduler_flags(&draft)?;
    rule::check_command(verb, draft.given)?;
    finish(verb, &draft, flags, timeouts, role)
}

fn sync_role(text: Option<&str>, otherwise: &str) -> Result<SyncRole, Refusal> {
    let text = text.unwrap_or_default();
    match text {
        "master" => Ok(SyncRole::Master),
        "backup" => Ok(SyncRole::Backup),
        _ => Err(Refusal::syntax(otherwise.to_owned()).about(text)),
    }
}

fn take_timeouts<'a>(loose: &mut impl Iterator<Item = &'a str>) -> Result<Timeouts, Refusal> {
    let mut next = || {
        loose
            .next()
            .ok_or_else(|| Refusal::syntax("--set option requires 3 timeout values".to_owned()))
    };
    // All three have to be there before one is looked at.
    let [tcp, tcp_fin, udp] = [next()?, next()?, next()?];
    Ok(Timeouts {
        tcp: draft::timeout(tcp, 0)?,
        tcp_fin: draft::timeout(tcp_fin, 0)?,
        udp: draft::timeout(udp, 0)?,
    })
}

fn scheduler_flags(draft: &Draft<'_>) -> Result<ServiceFlags, Refusal> {
    let Some(text) = draft.scheduler_flags else {
        return Ok(ServiceFlags::NONE);
    };
    value::scheduler_flags(text, draft.scheduler).map_err(|trouble| {
        Refusal::syntax(match trouble {
            FlagTrouble::Invalid(name) => format!("invalid scheduler flag `{name}'"),
            FlagTrouble::Incompatible(name) => format!("incompatible scheduler flag `{name}'"),
        })
    })
}

/// The checks that come after those of single options, and the command.
fn finish(
    verb: Verb,
    draft: &Draft<'_>,
    flags: ServiceFlags,
    timeouts: Timeouts,
    role: SyncRole,
) -> Result<Command, Refusal> {
    let service = || draft.service().ok_or_else(|| rule::missing_service(verb));
    Ok(match verb {
        Verb::AddService => Command::Change(Step::AddService {
            service: service()?,
            spec: service_spec(draft, flags)?,
        }),
        Verb::EditService => Command::Change(Step::SetService {
            service: service()?,
            spec: service_spec(draft, flags)?,
        }),
        Verb::DeleteService => Command::Change(Step::RemoveService { service: service()? }),
        Verb::AddServer => {
            let (destination, spec) = destination(draft)?;
            Command::Change(Step::AddDestination {
                service: service()?,
                destination,
                spec,
            })
        }
        Verb::EditServer => {
            let (destination, spec) = destination(draft)?;
            Command::Change(Step::SetDestination {
                service: service()?,
                destination,
                spec,
            })
        }
        Verb::DeleteServer => Command::Change(Step::RemoveDestination {
            service: service()?,
            destination: draft.destination,
        }),
        Verb::Clear => Command::Clear,
        Verb::Restore => Command::Restore {
            atomic: draft.has(Setting::Atomic),
        },
        Verb::Save => Command::Save {
            numeric: draft.has(Setting::Numeric),
        },
        Verb::List => Command::List(request(draft)?),
        // A service at no address and no port is all of them.
        Verb::Zero => Command::Zero(draft.service().filter(|key| !is_nowhere(key))),
        Verb::Set => Command::SetTimeouts(timeouts),
        Verb::StartDaemon => Command::StartDaemon(sync_daemon(draft, role)),
        Verb::StopDaemon => Command::StopDaemon(role),
        Verb::Help => Command::Help,
        Verb::Version => Command::Version,
    })
}

fn service_spec(draft: &Draft<'_>, mut flags: ServiceFlags) -> Result<ServiceSpec, Refusal> {
    let is_mark = draft.fwmark.is_some();
    if !is_mark && draft.port == 0 && draft.persistence.is_none() {
        return Err(Refusal::syntax(
            "Zero port specified for non-persistent service".to_owned(),
        ));
    }
    if draft.has(Setting::OnePacket) {
        if !is_mark && !draft.is_udp() {
            return Err(Refusal::syntax(
                "One-Packet Scheduling is only for UDP virtual services".to_owned(),
            ));
        }
        flags = flags.with(ServiceFlags::ONE_PACKET);
    }
    if draft.persistence.is_some() {
        flags = flags.with(ServiceFlags::PERSISTENT);
    }
    let scheduler = match cut(draft.scheduler, 15) {
        "" => Scheduler::Wlc,
        name => Scheduler::from_name(name),
    };
    Ok(ServiceSpec {
        scheduler,
        flags,
        persistence_timeout: draft.persistence.unwrap_or(0),
        netmask: draft.netmask,
        persistence_engine: Some(cut(draft.engine, 16))
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
    })
}

/// The front of a name that is too long for the kernel.
fn cut(name: &str, longest: usize) -> &str {
    let fits = |end: &usize| *end <= longest;
    let end = name
        .char_indices()
        .map(|(start, letter)| start + letter.len_utf8())
        .take_while(fits)
        .last();
    &name[..end.unwrap_or(0)]
}

fn destination(draft: &Draft<'_>) -> Result<(DestinationKey, DestinationSpec), Refusal> {
    let mut key = draft.destination;
    if draft.family != Family::of(key.address) && draft.forwarding != 'i' {
        return Err(Refusal::syntax(
            "Different address family is allowed only for tunneling servers".to_owned(),
        ));
    }
    let forwarding = match draft.forwarding {
        'i' => {
            rule::check_tunnel(draft.tunnel, draft.given)?;
            Forwarding::Tun(tunnel(draft))
        }
        _ if TUNNEL_SETTINGS.iter().any(|setting| draft.has(*setting)) => {
            return Err(Refusal::syntax(
                "Tunnel options conflict with forward method".to_owned(),
            ));
        }
        'm' => Forwarding::Nat,
        _ => Forwarding::Dr,
    };
    // Packets arrive as they were sent, so the real server has to listen on the service's port.
    if draft.fwmark.is_none() && forwarding != Forwarding::Nat {
        key.port = draft.port;
    }
    let spec = DestinationSpec {
        forwarding,
        weight: draft.weight,
        upper_threshold: draft.upper_threshold,
        lower_threshold: draft.lower_threshold,
    };
    Ok((key, spec))
}

fn tunnel(draft: &Draft<'_>) -> Tunnel {
    let kind = match draft.tunnel {
        TunnelType::Ipip => TunnelKind::Ipip,
        TunnelType::Gue => TunnelKind::Gue {
            port: draft.tunnel_port,
        },
        TunnelType::Gre => TunnelKind::Gre,
    };
    let checksum = if draft.has(Setting::TunRemcsum) {
        TunnelChecksum::Remcsum
    } else if draft.has(Setting::TunCsum) {
        TunnelChecksum::Csum
    } else {
        TunnelChecksum::None
    };
    Tunnel { kind, checksum }
}

fn request(draft: &Draft<'_>) -> Result<listing::Request, Refusal> {
    let columns = draft.columns;
    let figures = columns.statistics || columns.rates || columns.thresholds;
    let about_daemons = draft.has(Setting::Timeout) || draft.has(Setting::Daemon);
    if (draft.has(Setting::Connection) || about_daemons) && figures || about_daemons && columns.persistent_connections {
        return Err(Refusal::syntax("options conflicts in the list command".to_owned()));
    }
    let what = match draft.service() {
        Some(key) => What::Service(key),
        None if draft.has(Setting::Connection) => What::Connections {
            persistence: columns.persistent_connections,
        },
        None if draft.has(Setting::Timeout) => What::Timeouts,
        None if draft.has(Setting::Daemon) => What::Daemons,
        None => What::Services,
    };
    Ok(listing::Request {
        what,
        view: columns.view(),
        order: if draft.has(Setting::NoSort) {
            Order::Kernel
        } else {
            Order::Sorted
        },
        numeric: draft.has(Setting::Numeric),
        json: draft.has(Setting::Json),
    })
}

fn sync_daemon(draft: &Draft<'_>, role: SyncRole) -> SyncDaemon {
    let interface = match cut(draft.interface, 15) {
        "" => "eth0",
        name => name,
    };
    SyncDaemon {
        role,
        interface: interface.to_owned(),
        sync_id: draft.sync_id,
        max_length: draft.max_length,
        group: draft.group,
        port: draft.group_port,
        ttl: draft.ttl,
    }
}

fn is_nowhere(key: &ServiceKey) -> bool {
    match key {
        ServiceKey::Address { address, port, .. } => address.is_unspecified() && *port == 0,
        ServiceKey::Fwmark { .. } => false,
    }
}
