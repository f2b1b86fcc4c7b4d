//! Checks: named ones in `[check.NAME]`, inline ones, and lists of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::tree::{Table, Value};

use super::hints;
use super::problem::Place;
use super::reader::{Item, Reader, kind, shorten};
use super::scope::Scope;
use super::{duration, probes};
use crate::model::{
    CheckSpec, Family, Flap, Initial, IntervalFrom, Jitter, Origin, PATH_MARKS, ProbeKind, ProbeSpec, ProbeType, Via,
};

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3_600);
const MOST_IN_A_ROW: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);
const DEFAULT_FLAP: Flap = Flap {
    changes: 5,
    within: Duration::from_secs(600),
    hold_down: Duration::from_secs(60),
    longest: Duration::from_secs(1800),
};
/// In percent of the interval.
const MOST_JITTER: u8 = 100;

const INITIAL: [(&str, Initial); 3] = [
    ("first_result", Initial::FirstResult),
    ("up", Initial::Up),
    ("down", Initial::Down),
];

const VIA: [(&str, Via); 2] = [("direct", Via::Direct), ("path", Via::Path)];

const INTERVAL_FROM: [(&str, IntervalFrom); 2] = [("start", IntervalFrom::Start), ("end", IntervalFrom::End)];

/// The checks that have names.
#[derive(Default)]
pub(super) struct NamedChecks<'t> {
    checks: BTreeMap<&'t str, Named>,
}

struct Named {
    spec: Option<CheckSpec>,
    place: Place,
    used: bool,
}

impl<'t> NamedChecks<'t> {
    /// Takes in the `[check.NAME]` tables of one file.
    pub(super) fn read(&mut self, reader: &mut Reader, checks: &'t Item<'_>) {
        let Some(table) = reader.table(checks, "check") else {
            return;
        };
        for (key, item) in table {
            let name: &str = key.get_ref();
            let place = reader.place(key.span().start);
            let Value::Table(check) = item.get_ref() else {
                reader.error(
                    item.span().start,
                    format!(
                        "check `{}` must be a table, not {}",
                        shorten(name),
                        kind(item.get_ref())
                    ),
                    "write [check.NAME], then type = \"tcp\" below it",
                );
                continue;
            };
            let spec = read_check(reader, check, place.offset, Some(name));
            let named = Named {
                spec,
                place,
                used: false,
            };
            if let Some(first) = self.checks.get(name) {
                reader.second(
                    place.offset,
                    first.place,
                    format!("check `{}` is there twice", shorten(name)),
                    "give one of them another name",
                );
            } else {
                self.checks.insert(name, named);
            }
        }
    }

    /// Reads the value of a `check` key: a name, a table, or a list of both. A check with a problem is left out.
    pub(super) fn list(&mut self, reader: &mut Reader, item: &Item<'_>) -> Vec<CheckSpec> {
        let mut specs: Vec<CheckSpec> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for element in reader.one_or_list(item) {
            let at = element.span().start;
            match element.get_ref() {
                Value::String(name) => {
                    let name: &str = name;
                    if names.contains(&name) {
                        reader.error(at, format!("check `{}` is in the list twice", shorten(name)), "");
                        continue;
                    }
                    names.push(name);
                    specs.extend(self.named(reader, at, name));
                }
                Value::Table(table) => specs.extend(read_check(reader, table, at, None)),
                other => reader.error(
                    at,
                    format!("a check is a name or a table, not {}", kind(other)),
                    "check = [\"web-up\"] or check = [{ type = \"tcp\" }]",
                ),
            }
        }
        specs
    }

    fn named(&mut self, reader: &mut Reader, at: usize, name: &str) -> Option<CheckSpec> {
        if let Some(named) = self.checks.get_mut(name) {
            named.used = true;
            return named.spec.clone();
        }
        let hint = match hints::nearest(name, self.checks.keys().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if ProbeType::ALL.into_iter().any(|known| known.name() == name) => {
                format!("an inline check is a table: check = [{{ type = \"{name}\" }}]")
            }
            None => format!("write a [check.{}] table", shorten(name)),
        };
        reader.missing(at, format!("there is no check `{}`", shorten(name)), hint);
        None
    }

    /// Warns of every check that nothing uses.
    pub(super) fn warn_unused(&self, reader: &mut Reader) {
        for (name, named) in &self.checks {
            if !named.used {
                reader.warning_at(
                    named.place,
                    format!("check `{}` is not used", shorten(name)),
                    "name it in a virtual_server's or a real_server's `check` list",
                );
            }
        }
    }
}

fn read_check(reader: &mut Reader, table: &Table<'_>, at: usize, name: Option<&str>) -> Option<CheckSpec> {
    let [
        probe_type,
        interval,
        timeout,
        retry_interval,
        down_interval,
        interval_from,
        jitter,
        warmup,
        rise,
        fall,
        first_fall,
        initial,
        flap,
        hold,
        via,
        connect_ip,
        connect_port,
        source_address,
        device,
        fwmark,
    ] = reader.pick(table, Scope::Check);
    let kind = match probe_type {
        Some(item) => probes::read(reader, table, item),
        None => {
            reader.report_unknown(table, &probes::any_scope());
            reader.missing(at, "the check has no `type`", "write type = \"tcp\"");
            None
        }
    };
    let timeout_at = timeout.map_or(at, |item| item.span().start);
    let retry_is_written = retry_interval.is_some();
    let interval = match interval {
        Some(item) => reader.duration(item, "interval", SHORTEST..=LONGEST_INTERVAL),
        None => Some(CheckSpec::DEFAULT_INTERVAL),
    };
    let timeout = match timeout {
        Some(item) => reader.duration(item, "timeout", SHORTEST..=LONGEST_TIMEOUT),
        None => Some(CheckSpec::DEFAULT_TIMEOUT),
    };
    let retry_interval = match retry_interval {
        Some(item) => reader.duration(item, "retry_interval", SHORTEST..=LONGEST_INTERVAL),
        None => interval.map(|interval| interval.min(CheckSpec::DEFAULT_RETRY_INTERVAL)),
    };
    let down_interval = match down_interval {
        Some(item) => reader.duration(item, "down_interval", SHORTEST..=LONGEST_INTERVAL),
        None => interval,
    };
    let interval_from = match interval_from {
        Some(item) => reader.word(item, "interval_from", &INTERVAL_FROM),
        None => Some(IntervalFrom::Start),
    };
    let jitter = match jitter {
        Some(item) => read_jitter(reader, item, interval),
        None => Some(Jitter::None),
    };
    let warmup = optional(warmup, |item| {
        reader.duration(item, "warmup", Duration::ZERO..=LONGEST_INTERVAL)
    });
    let mut in_a_row = |item: Option<&Item<'_>>, key, default| match item {
        Some(item) => reader.number(item, key, 1..=MOST_IN_A_ROW),
        None => Some(default),
    };
    let rise = in_a_row(rise, "rise", CheckSpec::DEFAULT_RISE);
    let fall = in_a_row(fall, "fall", CheckSpec::DEFAULT_FALL);
    let first_fall = in_a_row(first_fall, "first_fall", CheckSpec::DEFAULT_FIRST_FALL);
    let initial = match initial {
        Some(item) => reader.word(item, "initial", &INITIAL),
        // An agent that is not there says nothing, for ever.
        None if kind.as_ref().is_some_and(|kind| kind.probe_type() == ProbeType::Agent) => Some(Initial::Up),
        None => Some(Initial::FirstResult),
    };
    let flap = optional(flap, |item| read_flap(reader, item));
    let hold = match hold {
        Some(item) => read_hold(reader, item, kind.as_ref()),
        None => Some(false),
    };
    let connect_ip_item = connect_ip;
    let connect_ip = optional(connect_ip, |item| reader.ip_address(item, "connect_ip"));
    let connect_port = optional(connect_port, |item| reader.port(item, "connect_port"));
    let via = match via {
        Some(item) => read_via(
            reader,
            item,
            kind.as_ref(),
            &[("connect_ip", connect_ip_item), ("device", device), ("fwmark", fwmark)],
        ),
        None => Some(Via::Direct),
    };
    let origin = read_origin(reader, source_address, device, fwmark);
    if let (
        Some(Some(target)),
        Some(Origin {
            address: Some(source), ..
        }),
        Some(item),
    ) = (connect_ip, &origin, source_address)
        && Family::of(target) != Family::of(*source)
    {
        reader.error(
            item.span().start,
            format!("`source_address` {source} cannot reach `connect_ip` {target}"),
            "one is IPv4, the other IPv6",
        );
        return None;
    }
    let (interval, timeout, retry_interval) = (interval?, timeout?, retry_interval?);
    if timeout > retry_interval && interval_from != Some(IntervalFrom::End) {
        let whose = if retry_is_written { "" } else { " that holds by default" };
        reader.warning(
            timeout_at,
            format!(
                "the timeout of {} is longer than the retry_interval of {}{whose}",
                duration::show(timeout),
                duration::show(retry_interval)
            ),
            "a server that does not answer is found out later than interval and fall say",
        );
    }
    let (kind, origin) = (kind?, origin?);
    Some(CheckSpec {
        name: name.map_or_else(|| kind.to_string(), str::to_owned),
        probe: Arc::new(ProbeSpec { kind, origin }),
        connect_ip: connect_ip?,
        connect_port: connect_port?,
        interval,
        retry_interval,
        down_interval: down_interval?,
        interval_from: interval_from?,
        jitter: jitter?,
        warmup: warmup?,
        timeout,
        rise: rise?,
        fall: fall?,
        first_fall: first_fall?,
        initial: initial?,
        flap: flap?,
        hold: hold?,
        via: via?,
    })
}

/// The way of the probes; `beside` is what decides about it as well.
fn read_via(
    reader: &mut Reader,
    item: &Item<'_>,
    kind: Option<&ProbeKind>,
    beside: &[(&str, Option<&Item<'_>>)],
) -> Option<Via> {
    let via = reader.word(item, "via", &VIA)?;
    if via == Via::Direct {
        return Some(via);
    }
    let at = item.span().start;
    let goes_nowhere = |probe_type| match probe_type {
        ProbeType::Ping | ProbeType::Script | ProbeType::File | ProbeType::Agent => true,
        ProbeType::Tcp
        | ProbeType::Tls
        | ProbeType::Http
        | ProbeType::Https
        | ProbeType::Mysql
        | ProbeType::Postgresql
        | ProbeType::Redis
        | ProbeType::Dns
        | ProbeType::Udp
        | ProbeType::Smtp
        | ProbeType::Ldap
        | ProbeType::Grpc => false,
    };
    if let Some(kind) = kind.filter(|kind| goes_nowhere(kind.probe_type())) {
        reader.error(
            at,
            format!("`via = \"path\"` does not fit a check of type \"{kind}\""),
            "it is for checks that connect as a client of the service does",
        );
        return None;
    }
    if let Some((key, _)) = beside.iter().find(|(_, item)| item.is_some()) {
        reader.error(
            at,
            format!("`via = \"path\"` stands beside `{key}`"),
            "the probe goes to the virtual address, by a mark of ipvsd's own",
        );
        return None;
    }
    Some(via)
}

/// Whether a connection is held open; not to servers that would hold it against us, or have none.
fn read_hold(reader: &mut Reader, item: &Item<'_>, kind: Option<&ProbeKind>) -> Option<bool> {
    let hold = reader.boolean(item, "hold")?;
    let why = match kind?.probe_type() {
        ProbeType::Tcp
        | ProbeType::Tls
        | ProbeType::Http
        | ProbeType::Https
        | ProbeType::Postgresql
        | ProbeType::Redis
        | ProbeType::Smtp
        | ProbeType::Ldap
        | ProbeType::Grpc => return Some(hold),
        ProbeType::Mysql => "MySQL counts connections that end before a login, and shuts the host out for them",
        ProbeType::Agent => "an agent closes every connection after one line",
        ProbeType::Dns | ProbeType::Udp | ProbeType::Ping | ProbeType::Script | ProbeType::File => {
            "it has no connection to hold"
        }
    };
    if hold {
        reader.error(
            item.span().start,
            format!("`hold` does not fit a check of type \"{}\"", kind?),
            why,
        );
        return None;
    }
    Some(false)
}

/// When a server that keeps changing is held down.
fn read_flap(reader: &mut Reader, item: &Item<'_>) -> Option<Flap> {
    let table = reader.table(item, "flap")?;
    let [changes, within, hold_down, longest] = reader.fields(table, Scope::Flap);
    let longest_at = longest.map(|item| item.span().start);
    let range = SECOND..=LONGEST_INTERVAL;
    let changes = match changes {
        Some(item) => reader.number(item, "changes", 2..=MOST_IN_A_ROW),
        None => Some(DEFAULT_FLAP.changes),
    };
    let mut time = |item: Option<&Item<'_>>, key, default| match item {
        Some(item) => reader.duration(item, key, range.clone()),
        None => Some(default),
    };
    let within = time(within, "within", DEFAULT_FLAP.within);
    let hold_down = time(hold_down, "hold_down", DEFAULT_FLAP.hold_down);
    let longest = time(longest, "longest", hold_down?.max(DEFAULT_FLAP.longest));
    let flap = Flap {
        changes: changes?,
        within: within?,
        hold_down: hold_down?,
        longest: longest?,
    };
    if let Some(at) = longest_at.filter(|_| flap.longest < flap.hold_down) {
        reader.error(
            at,
            format!(
                "`longest` of {} is shorter than the `hold_down` of {}",
                duration::show(flap.longest),
                duration::show(flap.hold_down)
            ),
            "holds start with `hold_down` and double up to `longest`",
        );
        return None;
    }
    Some(flap)
}

/// A share of the interval, or a time that is not longer than it.
fn read_jitter(reader: &mut Reader, item: &Item<'_>, interval: Option<Duration>) -> Option<Jitter> {
    if let Value::String(text) = item.get_ref()
        && let Some(number) = text.strip_suffix('%')
    {
        let percent = number.parse().ok().filter(|percent| *percent <= MOST_JITTER);
        if percent.is_none() {
            reader.error(
                item.span().start,
                format!("`jitter` cannot be \"{}\"", shorten(text)),
                format!("a whole number of percent of the interval, at most {MOST_JITTER}: \"10%\""),
            );
        }
        return percent.map(Jitter::Percent);
    }
    let longest = interval.unwrap_or(LONGEST_INTERVAL);
    let time = reader.duration(item, "jitter", Duration::ZERO..=longest)?;
    Some(Jitter::Time(time))
}

/// What a key that may be left out says; the outer `None` where it says something impossible.
pub(super) fn optional<'t, 'i, T>(
    item: Option<&'t Item<'i>>,
    read: impl FnOnce(&'t Item<'i>) -> Option<T>,
) -> Option<Option<T>> {
    match item {
        Some(item) => read(item).map(Some),
        None => Some(None),
    }
}

/// A firewall mark that is none of ipvsd's own.
pub(super) fn read_fwmark(reader: &mut Reader, item: &Item<'_>) -> Option<u32> {
    let mark = reader.number(item, "fwmark", 1..=u32::MAX)?;
    if PATH_MARKS.contains(&mark) {
        reader.error(
            item.span().start,
            format!("`fwmark` cannot be {mark:#x}"),
            format!(
                "{:#x} to {:#x} are ipvsd's own, for checks with via = \"path\"",
                PATH_MARKS.start(),
                PATH_MARKS.end()
            ),
        );
        return None;
    }
    Some(mark)
}

fn read_origin(
    reader: &mut Reader,
    source_address: Option<&Item<'_>>,
    device: Option<&Item<'_>>,
    fwmark: Option<&Item<'_>>,
) -> Option<Origin> {
    let address = optional(source_address, |item| reader.ip_address(item, "source_address"));
    let device = optional(device, |item| reader.device(item));
    let fwmark = optional(fwmark, |item| read_fwmark(reader, item));
    Some(Origin {
        address: address?,
        device: device?,
        fwmark: fwmark?,
        through: None,
    })
}
