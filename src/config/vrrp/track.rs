//! What a virtual router tracks: `track_interface`, `track_quorum`, `track_script`.

use std::sync::Arc;
use std::time::Duration;

use super::super::checks::optional;
use super::super::command::{DEFAULT_USER, read_argv, read_user};
use super::super::hints::Scope;
use super::super::problem::Place;
use super::super::reader::{Item, Reader, shorten};
use super::super::tree::Value;
use crate::model::{VrrpScript, VrrpSpec, VrrpTrack, VrrpTracked};

/// The largest weight to either side: from the lowest priority to the highest, and back.
const LARGEST: i32 = 253;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
/// keepalived's.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// Reads `track_interface`: names, or tables with a weight.
pub(super) fn read_interfaces(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) {
    for element in reader.one_or_list(item) {
        let at = element.span().start;
        let (interface, weight) = match element.get_ref() {
            Value::Table(table) => {
                let [interface, weight] = reader.fields(table, Scope::TrackInterface);
                let Some(interface) = interface else {
                    let hint = "write { interface = \"eth1\", weight = -30 }";
                    reader.missing(at, "`track_interface` has no `interface`", hint);
                    continue;
                };
                (interface, weight)
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Array(_) => (element, None),
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

/// Reads `track_quorum`: names of virtual servers, or tables with a weight. Answers with the names and their places.
pub(super) fn read_quorums(reader: &mut Reader, item: &Item<'_>, spec: &mut VrrpSpec) -> Vec<(Place, String)> {
    let mut names = Vec::new();
    for element in reader.one_or_list(item) {
        let at = element.span().start;
        let (name, weight) = match element.get_ref() {
            Value::Table(table) => {
                let [name, weight] = reader.fields(table, Scope::TrackQuorum);
                let Some(name) = name else {
                    let hint = "write { virtual_server = \"web\", weight = -30 }";
                    reader.missing(at, "`track_quorum` has no `virtual_server`", hint);
                    continue;
                };
                (name, weight)
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Array(_) => (element, None),
        };
        let name = reader.string(name, "virtual_server").map(str::to_owned);
        let (Some(name), Some(weight)) = (name, read_weight(reader, weight, spec)) else {
            continue;
        };
        names.push((reader.place(at), name.clone()));
        spec.tracks.push(VrrpTrack {
            what: VrrpTracked::Quorum(name),
            weight,
        });
    }
    names
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

/// A weight, 0 where there is none; `None` where it cannot be used.
fn read_weight(reader: &mut Reader, item: Option<&Item<'_>>, spec: &VrrpSpec) -> Option<i32> {
    let Some(item) = item else { return Some(0) };
    let at = item.span().start;
    let Value::Integer(number) = item.get_ref() else {
        reader.error(at, "`weight` must be a whole number", "write weight = -30");
        return None;
    };
    let weight = i32::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|weight| (-LARGEST..=LARGEST).contains(weight));
    let Some(weight) = weight else {
        let text = format!("`weight` cannot be {}", shorten(&number.to_string()));
        let hint = format!("a number from -{LARGEST} to {LARGEST}; 0: its failure forbids to be master");
        reader.error(at, text, hint);
        return None;
    };
    if spec.is_owner() && weight != 0 {
        let text = "nothing changes the priority of the owner (255)";
        reader.warning(at, text, "take `weight` out: its failure forbids to be master then");
    }
    Some(weight)
}
