//! Checks: named ones in `[check.NAME]`, inline ones, and lists of both.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tree::{Table, Value};

use super::duration;
use super::hints::{self, Scope};
use super::problem::Place;
use super::reader::{Item, Reader, kind, shorten};
use crate::model::{CheckSpec, Initial, ProbeKind};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// The default retry interval is this, or the interval where that is shorter.
const LONGEST_DEFAULT_RETRY: Duration = Duration::from_secs(1);
const DEFAULT_RISE: u32 = 2;
const DEFAULT_FALL: u32 = 3;

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3_600);
const MOST_IN_A_ROW: u32 = 1000;

const PROBES: [(&str, Probe); 1] = [("tcp", Probe::Tcp)];

#[derive(Clone, Copy)]
enum Probe {
    Tcp,
}

const INITIAL: [(&str, Initial); 3] = [
    ("first_result", Initial::FirstResult),
    ("up", Initial::Up),
    ("down", Initial::Down),
];

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
            None if name == "tcp" => "an inline check is a table: check = [{ type = \"tcp\" }]".to_owned(),
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
    let [probe, interval, timeout, retry_interval, rise, fall, initial, port] = reader.fields(table, Scope::Check);
    let probe = match probe {
        Some(item) => reader.word(item, "type", &PROBES),
        None => {
            reader.missing(at, "the check has no `type`", "write type = \"tcp\"");
            None
        }
    };
    let timeout_at = timeout.map_or(at, |item| item.span().start);
    let retry_is_written = retry_interval.is_some();
    let interval = match interval {
        Some(item) => reader.duration(item, "interval", SHORTEST..=LONGEST_INTERVAL),
        None => Some(DEFAULT_INTERVAL),
    };
    let timeout = match timeout {
        Some(item) => reader.duration(item, "timeout", SHORTEST..=LONGEST_TIMEOUT),
        None => Some(DEFAULT_TIMEOUT),
    };
    let retry_interval = match retry_interval {
        Some(item) => reader.duration(item, "retry_interval", SHORTEST..=LONGEST_INTERVAL),
        None => interval.map(|interval| interval.min(LONGEST_DEFAULT_RETRY)),
    };
    let rise = match rise {
        Some(item) => reader.number(item, "rise", 1..=MOST_IN_A_ROW),
        None => Some(DEFAULT_RISE),
    };
    let fall = match fall {
        Some(item) => reader.number(item, "fall", 1..=MOST_IN_A_ROW),
        None => Some(DEFAULT_FALL),
    };
    let initial = match initial {
        Some(item) => reader.word(item, "initial", &INITIAL),
        None => Some(Initial::FirstResult),
    };
    let port = match port {
        Some(item) => Some(reader.port(item, "port")?),
        None => None,
    };
    let (interval, timeout, retry_interval) = (interval?, timeout?, retry_interval?);
    if timeout > retry_interval {
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
    let probe = match probe? {
        Probe::Tcp => ProbeKind::Tcp,
    };
    Some(CheckSpec {
        name: name.map_or_else(|| probe.to_string(), str::to_owned),
        probe,
        port,
        interval,
        retry_interval,
        timeout,
        rise: rise?,
        fall: fall?,
        initial: initial?,
    })
}
