//! What a virtual router tracks: `track_interface` and its like.

use std::sync::Arc;
use std::time::Duration;

use super::super::checks::optional;
use super::super::command::{DEFAULT_USER, read_argv, read_user};
use super::super::probes::read_path;
use super::super::problem::Place;
use super::super::reader::{Item, Reader, shorten};
use super::super::scope::Scope;
use super::super::tree::Value;
use crate::model::{VrrpFile, VrrpProcess, VrrpScript, VrrpSpec, VrrpTrack, VrrpTracked};

/// The largest weight to either side: from the lowest priority to the highest, and back.
const LARGEST: i32 = 253;
/// The most bytes of a process's name (`TASK_COMM_LEN` less its end).
const LONGEST_COMM: usize = 15;
const MOST_PROCESSES: u32 = 100_000;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
/// keepalived's.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// Reads `track_interface`: names, or tables with a weight.
pub(super) fn read_interfaces(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) {
    for element in reader.one_or_list(item) {
        let at = element.span().start;
        let hint = "write { interface = \"eth1\", weight = -30 }";
        let Some((interface, [_, weight])) = name_or_table(reader, element, Scope::TrackInterface, hint) else {
            continue;
        };
        let (name, weight) = (reader.device(interface), read_weight(reader, weight, spec));
        let (Some(name), Some(weight)) = (name, weight) else {
            continue;
        };
        if name == spec.interface {
            let text = format!("{name} is the instance's own interface");
            reader.warning(at, text, "it has to work anyway: take it out");
            continue;
        }
        spec.tracks.push(VrrpTrack {
            what: VrrpTracked::Interface(name),
            weight,
        });
    }
}

/// A virtual server of which something is tracked.
pub(super) struct TrackedServer {
    /// Where it says so.
    pub(super) place: Place,
    /// Its name.
    pub(super) name: String,
    /// What is tracked of it, in a word.
    pub(super) what: &'static str,
}

/// Reads `track_quorum`: names of virtual servers, or tables with a weight. Answers with who they are.
pub(super) fn read_quorums(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) -> Vec<TrackedServer> {
    read_servers(reader, item, spec, Scope::TrackQuorum, "quorum", VrrpTracked::Quorum)
}

/// Reads `track_tier`, as [`read_quorums`].
pub(super) fn read_tiers(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) -> Vec<TrackedServer> {
    read_servers(reader, item, spec, Scope::TrackTier, "tier", VrrpTracked::Tier)
}

fn read_servers(
    reader: &mut Reader,
    item: &Item<'_>,
    spec: &mut VrrpSpec,
    scope: Scope,
    what: &'static str,
    tracked: fn(String) -> VrrpTracked,
) -> Vec<TrackedServer> {
    let mut servers = Vec::new();
    for element in reader.one_or_list(item) {
        let at = element.span().start;
        let hint = "write { virtual_server = \"web\", weight = -30 }";
        let Some((name, [_, weight])) = name_or_table(reader, element, scope, hint) else {
            continue;
        };
        let name = reader.string(name, "virtual_server").map(str::to_owned);
        let (Some(name), Some(weight)) = (name, read_weight(reader, weight, spec)) else {
            continue;
        };
        servers.push(TrackedServer {
            place: reader.place(at),
            name: name.clone(),
            what,
        });
        spec.tracks.push(VrrpTrack {
            what: tracked(name),
            weight,
        });
    }
    servers
}

/// Reads `track_script`: tables with a command.
pub(super) fn read_scripts(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) {
    for element in reader.one_or_list(item) {
        let at = element.span().start;
        let Some(table) = reader.table(element, "track_script") else {
            continue;
        };
        let [argv, user, interval, timeout, rise, fall, weight] = reader.fields(table, Scope::TrackScript);
        let Some(argv) = argv else {
            let hint = "write { argv = [\"/usr/local/lib/check-it\"], interval = \"2s\", weight = -30 }";
            reader.missing(at, "`track_script` has no `argv`", hint);
            continue;
        };
        let argv = read_argv(reader, argv);
        let user = optional(user, |item| read_user(reader, item));
        let interval = optional(interval, |item| reader.duration(item, "interval", SHORTEST..=LONGEST));
        let timeout = optional(timeout, |item| reader.duration(item, "timeout", SHORTEST..=LONGEST));
        let rise = optional(rise, |item| reader.number(item, "rise", 1..=1000));
        let fall = optional(fall, |item| reader.number(item, "fall", 1..=1000));
        let weight = read_weight(reader, weight, spec);
        let (Some(argv), Some(user), Some(interval), Some(timeout), Some(rise), Some(fall), Some(weight)) =
            (argv, user, interval, timeout, rise, fall, weight)
        else {
            continue;
        };
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        let script = VrrpScript {
            argv,
            user: user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
            interval,
            timeout: timeout.unwrap_or(interval),
            rise: rise.unwrap_or(1),
            fall: fall.unwrap_or(1),
        };
        spec.tracks.push(VrrpTrack {
            what: VrrpTracked::Script(Arc::new(script)),
            weight,
        });
    }
}

/// Reads `track_process`: names, or tables with more.
pub(super) fn read_processes(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) {
    for element in reader.one_or_list(item) {
        let hint = "write { name = \"nginx\", weight = -30 }";
        let found = name_or_table(reader, element, Scope::TrackProcess, hint);
        let Some((name, [_, count, interval, delay, weight])) = found else {
            continue;
        };
        let name_at = name.span().start;
        let name = reader.string(name, "name");
        let count = optional(count, |item| reader.number(item, "count", 1..=MOST_PROCESSES));
        let interval = optional(interval, |item| reader.duration(item, "interval", SHORTEST..=LONGEST));
        let delay = optional(delay, |item| reader.duration(item, "delay", Duration::ZERO..=LONGEST));
        let weight = read_weight(reader, weight, spec);
        let (Some(name), Some(count), Some(interval), Some(delay), Some(weight)) =
            (name, count, interval, delay, weight)
        else {
            continue;
        };
        if name.is_empty() || name.contains(|letter: char| letter == '/' || letter.is_control()) {
            let text = format!("`name` cannot be \"{}\"", shorten(name));
            reader.error(
                name_at,
                text,
                "the program's name without its path, as `ps -e` shows it",
            );
            continue;
        }
        // The kernel keeps no more of it.
        let mut end = name.len().min(LONGEST_COMM);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let process = VrrpProcess {
            name: name[..end].to_owned(),
            count: count.unwrap_or(1),
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
            delay: delay.unwrap_or_default(),
        };
        spec.tracks.push(VrrpTrack {
            what: VrrpTracked::Process(Arc::new(process)),
            weight,
        });
    }
}

/// Reads `track_file`: paths, or tables with more.
pub(super) fn read_files(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) {
    for element in reader.one_or_list(item) {
        let hint = "write { path = \"/run/lb/weight\", weight = 1 }";
        let Some((path, [_, interval, weight])) = name_or_table(reader, element, Scope::TrackFile, hint) else {
            continue;
        };
        let path = read_path(reader, path, "path");
        let interval = optional(interval, |item| reader.duration(item, "interval", SHORTEST..=LONGEST));
        let weight = match weight {
            Some(item) => read_weight_up_to(reader, item, spec, LARGEST + 1),
            None => Some(1),
        };
        let (Some(path), Some(interval), Some(weight)) = (path, interval, weight) else {
            continue;
        };
        let file = VrrpFile {
            path,
            interval: interval.unwrap_or(DEFAULT_INTERVAL),
        };
        spec.tracks.push(VrrpTrack {
            what: VrrpTracked::File(Arc::new(file)),
            weight,
        });
    }
}

/// Reads `track_program`: `true`, or a table with a weight.
pub(super) fn read_program(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) {
    let weight = match item.get_ref() {
        Value::Table(table) => {
            let [weight] = reader.fields(table, Scope::TrackProgram);
            read_weight(reader, weight, spec)
        }
        _ => (reader.boolean(item, "track_program") == Some(true)).then_some(0),
    };
    spec.tracks.extend(weight.map(|weight| VrrpTrack {
        what: VrrpTracked::Program,
        weight,
    }));
}

/// What is tracked, which stands alone or under the first key of a table, and the values of that table.
fn name_or_table<'t, 'i, const N: usize>(
    reader: &mut Reader,
    element: &'t Item<'i>,
    scope: Scope,
    hint: &str,
) -> Option<(&'t Item<'i>, [Option<&'t Item<'i>>; N])> {
    let Value::Table(table) = element.get_ref() else {
        return Some((element, [None; N]));
    };
    let fields = reader.fields::<N>(table, scope);
    let [first, ..] = scope.keys() else { return None };
    match fields.first().copied().flatten() {
        Some(name) => Some((name, fields)),
        None => {
            let text = format!("`{}` has no `{first}`", scope.name());
            reader.missing(element.span().start, text, hint);
            None
        }
    }
}

/// A weight, 0 where there is none; `None` where it cannot be used.
fn read_weight(reader: &mut Reader, item: Option<&Item<'_>>, spec: &VrrpSpec) -> Option<i32> {
    match item {
        Some(item) => read_weight_up_to(reader, item, spec, LARGEST),
        None => Some(0),
    }
}

fn read_weight_up_to(reader: &mut Reader, item: &Item<'_>, spec: &VrrpSpec, largest: i32) -> Option<i32> {
    let at = item.span().start;
    let Value::Integer(number) = item.get_ref() else {
        reader.error(at, "`weight` must be a whole number", "write weight = -30");
        return None;
    };
    let weight = i32::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|weight| (-largest..=largest).contains(weight));
    let Some(weight) = weight else {
        let text = format!("`weight` cannot be {}", shorten(&number.to_string()));
        let hint = format!("a number from -{largest} to {largest}; 0: its failure forbids to be master");
        reader.error(at, text, hint);
        return None;
    };
    if spec.is_owner() && weight != 0 {
        let text = "nothing changes the priority of the owner (255)";
        reader.warning(at, text, "take `weight` out: its failure forbids to be master then");
    }
    Some(weight)
}
