//! How a pool behaves as a whole: quorum, tiers, panic, slow start, what becomes of a failed server's connections.

use std::time::Duration;

use super::checks::optional;
use super::command::read_command;
use super::problem::Place;
use super::reader::{Item, Reader};
use super::scope::Scope;
use super::tree::Table;
use crate::model::{ForeignDestinations, Notify, PoolPolicy, RealServer, ReturnMode, Scheduler};

const MOST: u32 = 2_147_483_647;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(86_400);
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Return {
    Auto,
    Manual,
    Delayed,
}

const RETURN_MODES: [(&str, Return); 3] = [
    ("auto", Return::Auto),
    ("manual", Return::Manual),
    ("delayed", Return::Delayed),
];

/// What becomes of the connections of a server that goes down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnDown {
    /// The destination stays at weight 0, and its connections with it.
    Keep,
    /// It stays at weight 0 until its connections are gone, or for some time.
    Drain,
    /// It is taken out at once.
    Kill,
}

const ON_DOWN: [(&str, OnDown); 3] = [("keep", OnDown::Keep), ("drain", OnDown::Drain), ("kill", OnDown::Kill)];

const FOREIGN: [(&str, ForeignDestinations); 2] = [
    ("remove", ForeignDestinations::Remove),
    ("keep", ForeignDestinations::Keep),
];

/// What the pool's keys say.
pub(super) struct Policy {
    pub(super) policy: PoolPolicy,
    /// The commands of servers that name none.
    pub(super) notify: Notify,
    pub(super) on_down: Option<OnDown>,
    /// Where `return_mode` and `quorum` stand.
    return_mode_at: Option<usize>,
    quorum_at: Option<usize>,
}

/// Reads the pool's keys of a virtual server. `inhibit`: its `inhibit_on_failure`, where it is there.
pub(super) fn read(
    reader: &mut Reader,
    table: &Table<'_>,
    scheduler: &Scheduler,
    by_mark: bool,
    inhibit: Option<bool>,
) -> Policy {
    let [
        quorum,
        hysteresis,
        quorum_up,
        quorum_down,
        notify_up,
        notify_down,
        return_mode,
        return_after,
        panic_threshold,
        slow_start,
        on_down,
        drain_timeout,
        ha_suspend,
        notify_on_stop,
        foreign_destinations,
    ] = reader.pick(table, Scope::PoolKeys);
    let mut command = |item: Option<&Item<'_>>, key| item.and_then(|item| read_command(reader, item, key));
    let quorum_notify = Notify {
        up: command(quorum_up, "quorum_up"),
        down: command(quorum_down, "quorum_down"),
    };
    let notify = Notify {
        up: command(notify_up, "notify_up"),
        down: command(notify_down, "notify_down"),
    };
    let quorum_at = quorum.map(|item| item.span().start);
    let (quorum, hysteresis) = read_quorum(reader, quorum, hysteresis);
    let panic_threshold = panic_threshold.and_then(|item| reader.number(item, "panic_threshold", 0..=100));
    let slow_start = slow_start.and_then(|item| read_slow_start(reader, item, scheduler));
    let (on_down, drain_timeout) = read_on_down(reader, on_down, drain_timeout, scheduler, inhibit);
    let policy = PoolPolicy {
        quorum,
        hysteresis,
        quorum_notify,
        return_mode: read_return(reader, return_mode, return_after),
        panic_threshold: panic_threshold.unwrap_or(0),
        slow_start,
        drain_timeout,
        ha_suspend: ha_suspend.is_some_and(|item| read_ha_suspend(reader, item, by_mark)),
        notify_on_stop: notify_on_stop.and_then(|item| reader.boolean(item, "notify_on_stop")) == Some(true),
        foreign_destinations: foreign_destinations
            .and_then(|item| reader.word(item, "foreign_destinations", &FOREIGN))
            .unwrap_or_default(),
    };
    Policy {
        policy,
        notify,
        on_down,
        return_mode_at: return_mode.map(|item| item.span().start),
        quorum_at,
    }
}

fn read_quorum(reader: &mut Reader, quorum: Option<&Item<'_>>, hysteresis: Option<&Item<'_>>) -> (u32, u32) {
    let quorum = optional(quorum, |item| reader.number(item, "quorum", 1..=MOST));
    let Some(item) = hysteresis else {
        return (quorum.flatten().unwrap_or(1), 0);
    };
    let found = reader.number(item, "hysteresis", 0..=MOST);
    let (Some(quorum), Some(hysteresis)) = (quorum, found) else {
        return (1, 0);
    };
    let quorum = quorum.unwrap_or(1);
    if hysteresis >= quorum {
        reader.error(
            item.span().start,
            format!("`hysteresis` {hysteresis} is not below `quorum`, which is {quorum}"),
            match quorum {
                1 => "set quorum too: with a quorum of 1 there is no room for a hysteresis".to_owned(),
                _ => format!("at most {}", quorum - 1),
            },
        );
    }
    (quorum, hysteresis)
}

fn read_return(reader: &mut Reader, mode: Option<&Item<'_>>, after: Option<&Item<'_>>) -> ReturnMode {
    let wanted = optional(mode, |item| reader.word(item, "return_mode", &RETURN_MODES));
    let time = optional(after, |item| reader.duration(item, "return_after", SHORTEST..=LONGEST));
    let (Some(wanted), Some(time)) = (wanted, time) else {
        return ReturnMode::Auto;
    };
    match (wanted, time) {
        (Some(Return::Delayed), Some(time)) => return ReturnMode::Delayed(time),
        (Some(Return::Delayed), None) => {
            let at = mode.map_or(0, |item| item.span().start);
            reader.missing(
                at,
                "return_mode = \"delayed\" needs a time",
                "add return_after = \"60s\"",
            );
        }
        (None | Some(Return::Auto | Return::Manual), Some(_)) => {
            let at = after.map_or(0, |item| item.span().start);
            reader.error(
                at,
                "`return_after` goes with return_mode = \"delayed\" only",
                "add return_mode = \"delayed\", or take it out",
            );
        }
        (None | Some(Return::Auto), None) => {}
        (Some(Return::Manual), None) => return ReturnMode::Manual,
    }
    ReturnMode::Auto
}

fn read_slow_start(reader: &mut Reader, item: &Item<'_>, scheduler: &Scheduler) -> Option<Duration> {
    let duration = reader.duration(item, "slow_start", SHORTEST..=LONGEST);
    let problem = match scheduler {
        Scheduler::Wrr | Scheduler::Wlc | Scheduler::Sed | Scheduler::Nq | Scheduler::Lblc | Scheduler::Lblcr => None,
        Scheduler::Twos => None,
        Scheduler::Sh | Scheduler::Mh | Scheduler::Dh => Some((
            "moves clients between servers with every weight",
            "take it out: a hash scheduler has nothing that could start slowly",
        )),
        Scheduler::Rr => Some(("ignores weights", "use scheduler = \"wrr\"")),
        Scheduler::Lc => Some(("ignores weights", "use scheduler = \"wlc\"")),
        Scheduler::Fo | Scheduler::Ovf | Scheduler::None | Scheduler::Other(_) => Some((
            "does not share out connections by weight",
            "use wrr, wlc, sed, nq, lblc, lblcr or twos",
        )),
    };
    match problem {
        Some((why, hint)) => {
            let at = item.span().start;
            reader.error(at, format!("`slow_start` cannot be: scheduler {scheduler} {why}"), hint);
            None
        }
        None => duration,
    }
}

fn read_on_down(
    reader: &mut Reader,
    item: Option<&Item<'_>>,
    timeout: Option<&Item<'_>>,
    scheduler: &Scheduler,
    inhibit: Option<bool>,
) -> (Option<OnDown>, Option<Duration>) {
    let drain_timeout = timeout.and_then(|item| reader.duration(item, "drain_timeout", SHORTEST..=LONGEST));
    let on_down = item.and_then(|item| reader.word(item, "on_down", &ON_DOWN));
    if let Some(item) = timeout
        && on_down != Some(OnDown::Drain)
    {
        let hint = "add on_down = \"drain\", or take it out";
        reader.error(
            item.span().start,
            "`drain_timeout` goes with on_down = \"drain\" only",
            hint,
        );
    }
    let (Some(item), Some(found)) = (item, on_down) else {
        return (None, None);
    };
    let at = item.span().start;
    let word = ON_DOWN
        .iter()
        .find(|(_, value)| *value == found)
        .map_or("", |(word, _)| word);
    if let Some(inhibit) = inhibit
        && inhibit != (found == OnDown::Keep)
    {
        reader.error(
            at,
            format!("on_down = \"{word}\" contradicts inhibit_on_failure = {inhibit}"),
            "take inhibit_on_failure out: it is a short word for on_down = \"keep\"",
        );
    }
    if found != OnDown::Keep && scheduler.hashes_the_client() {
        reader.error(
            at,
            format!("on_down = \"{word}\" cannot be: scheduler {scheduler} keeps its servers at weight 0"),
            "taking one out would move clients of the others; take on_down out",
        );
    }
    let drain_timeout = (found == OnDown::Drain).then(|| drain_timeout.unwrap_or(DEFAULT_DRAIN_TIMEOUT));
    (on_down, drain_timeout)
}

fn read_ha_suspend(reader: &mut Reader, item: &Item<'_>, by_mark: bool) -> bool {
    let suspend = reader.boolean(item, "ha_suspend") == Some(true);
    if suspend && by_mark {
        let text = "a fwmark service has no address whose presence `ha_suspend` could go by";
        reader.error(item.span().start, text, "take it out");
    }
    suspend
}

/// Warns of what has no effect with these servers.
pub(super) fn warn_of_no_effect(reader: &mut Reader, policy: &Policy, servers: &[(Place, RealServer)], sorry: bool) {
    let enabled = || {
        servers
            .iter()
            .map(|(_, server)| server)
            .filter(|server| !server.disabled)
    };
    let tiers = enabled()
        .map(|server| server.tier)
        .collect::<std::collections::BTreeSet<_>>();
    if let Some(at) = policy.return_mode_at
        && tiers.len() < 2
        && !sorry
        && !servers.is_empty()
    {
        let hint = "there is neither a sorry_server nor a real_server with another tier";
        reader.warning(at, "`return_mode` has no effect", hint);
    }
    let Some(first) = tiers.first() else { return };
    let of_first = enabled().filter(|server| server.tier == *first);
    let total: u64 = of_first.map(|server| u64::from(server.spec.weight)).sum();
    if let Some(at) = policy.quorum_at
        && u64::from(policy.policy.quorum) > total
        && total > 0
    {
        reader.warning(
            at,
            format!(
                "`quorum` {} is more than all weights together, {total}",
                policy.policy.quorum
            ),
            format!("it counts as {total}: every server has to be up"),
        );
    }
}
