//! The kernel's own settings: `[ipvs]` with its timeouts and sysctls, and `[host]`, `[control]`, `[reconcile]` and `[reload]`.

use std::time::Duration;

use super::tree::Value;

use super::hints;
use super::problem::Place;
use super::reader::{Item, Reader, kind, shorten};
use super::scope::Scope;
use super::sync::{self, SyncSeen};
use crate::model::{Config, Sysctl};

/// The longest timeout in seconds: the kernel counts ticks in 31 bits, a thousand a second at most
/// (`ip_vs_set_timeout` in `net/netfilter/ipvs/ip_vs_ctl.c`).
const LONGEST_TIMEOUT: u32 = 2_147_483;

/// How often the kernel's table may be compared.
const SHORTEST_RECONCILE: Duration = Duration::from_millis(500);
const LONGEST_RECONCILE: Duration = Duration::from_secs(3600);

/// What a sysctl takes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// 0 or 1, `false` or `true`.
    Switch,
    /// A whole number between the two.
    Number(i64, i64),
    /// `sync_threshold`: two numbers, the first below the second.
    Threshold,
    /// A list of processors, `0-3,8`.
    Processors,
}

const INT: Kind = Kind::Number(0, i32::MAX as i64);

/// The settings of `net.ipv4.vs` (`Documentation/networking/ipvs-sysctl.rst`, `vs_vars` in `ip_vs_ctl.c`).
const SYSCTLS: &[(&str, Kind)] = &[
    ("am_droprate", INT),
    ("amemthresh", INT),
    ("backup_only", Kind::Switch),
    ("cache_bypass", Kind::Switch),
    ("conn_lfactor", Kind::Number(-8, 8)),
    ("conn_reuse_mode", Kind::Number(0, 3)),
    ("conntrack", Kind::Switch),
    ("drop_entry", Kind::Number(0, 3)),
    ("drop_packet", Kind::Number(0, 3)),
    ("est_cpulist", Kind::Processors),
    ("est_nice", Kind::Number(-20, 19)),
    ("expire_nodest_conn", Kind::Switch),
    ("expire_quiescent_template", Kind::Switch),
    ("ignore_tunneled", Kind::Switch),
    ("lblc_expiration", INT),
    ("lblcr_expiration", INT),
    ("nat_icmp_send", Kind::Switch),
    ("pmtu_disc", Kind::Switch),
    ("run_estimation", Kind::Switch),
    ("schedule_icmp", Kind::Switch),
    ("secure_tcp", Kind::Number(0, 3)),
    ("sloppy_sctp", Kind::Switch),
    ("sloppy_tcp", Kind::Switch),
    ("snat_reroute", Kind::Switch),
    ("svc_lfactor", Kind::Number(-8, 8)),
    ("sync_persist_mode", Kind::Switch),
    ("sync_ports", Kind::Number(1, 64)),
    ("sync_qlen_max", INT),
    ("sync_refresh_period", INT),
    ("sync_retries", Kind::Number(0, 3)),
    ("sync_sock_size", INT),
    ("sync_threshold", Kind::Threshold),
    ("sync_version", Kind::Switch),
];

/// Which settings have been made, and where; a second one is a problem.
#[derive(Default)]
pub(super) struct SettingsSeen(Vec<(String, Place)>);

impl SettingsSeen {
    /// Whether it is made for the first time.
    pub(super) fn first(&mut self, reader: &mut Reader, at: usize, name: &str) -> bool {
        let place = reader.place(at);
        match self.0.iter().find(|(seen, _)| seen == name) {
            Some((_, first)) => {
                reader.second(at, *first, format!("`{name}` is set twice"), "");
                false
            }
            None => {
                self.0.push((name.to_owned(), place));
                true
            }
        }
    }
}

/// Reads `[ipvs]` of one file.
pub(super) fn read_ipvs(
    reader: &mut Reader,
    seen: &mut SettingsSeen,
    sync_seen: &mut SyncSeen,
    item: &Item<'_>,
    config: &mut Config,
) {
    let Some(table) = reader.table(item, "ipvs") else {
        return;
    };
    let [flush_on_stop, sync_daemon, sysctl, timeouts] = reader.fields(table, Scope::Ipvs);
    if let Some(item) = sync_daemon {
        sync::read(reader, seen, sync_seen, item, config);
    }
    if let Some(item) = flush_on_stop
        && let Some(value) = reader.boolean(item, "flush_on_stop")
        && seen.first(reader, item.span().start, "flush_on_stop")
    {
        config.ipvs.flush_on_stop = value;
    }
    if let Some(table) = timeouts.and_then(|item| reader.table(item, "timeouts")) {
        let found: [_; 3] = reader.fields(table, Scope::Timeouts);
        for (name, item) in Scope::Timeouts.keys().iter().copied().zip(found) {
            let Some(item) = item else { continue };
            let seconds = reader.seconds(item, name, 1..=LONGEST_TIMEOUT);
            if !seen.first(reader, item.span().start, name) {
                continue;
            }
            let timeouts = &mut config.ipvs.timeouts;
            match name {
                "tcp" => timeouts.tcp = seconds,
                "tcpfin" => timeouts.tcp_fin = seconds,
                _ => timeouts.udp = seconds,
            }
        }
    }
    if let Some(table) = sysctl.and_then(|item| reader.table(item, "sysctl")) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, item) in entries {
            let name: &str = key.get_ref();
            let at = key.span().start;
            let Some(value) = sysctl_value(reader, at, name, item) else {
                continue;
            };
            let name = format!("net.ipv4.vs.{name}");
            if seen.first(reader, at, &name) {
                config.ipvs.sysctls.push(Sysctl { name, value });
            }
        }
    }
}

/// Reads `[host]` of one file.
pub(super) fn read_host(reader: &mut Reader, seen: &mut SettingsSeen, item: &Item<'_>, config: &mut Config) {
    let Some(table) = reader.table(item, "host") else {
        return;
    };
    let [prepare] = reader.fields(table, Scope::Host);
    if let Some(item) = prepare
        && let Some(value) = reader.boolean(item, "prepare")
        && seen.first(reader, item.span().start, "prepare")
    {
        config.host.prepare = value;
    }
}

/// Reads `[control]` of one file.
pub(super) fn read_control(reader: &mut Reader, seen: &mut SettingsSeen, item: &Item<'_>, config: &mut Config) {
    let Some(table) = reader.table(item, "control") else {
        return;
    };
    let [group, read_group] = reader.fields(table, Scope::Control);
    for (key, item) in [("group", group), ("read_group", read_group)] {
        let Some((item, name)) = item.and_then(|item| Some((item, reader.string(item, key)?))) else {
            continue;
        };
        // What groupadd(8) takes, and a little more.
        let letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '$');
        if name.is_empty() || name.len() > 32 || !name.chars().all(letter) {
            let text = format!("`{}` cannot be the name of a group", shorten(name));
            reader.error(item.span().start, text, "name one that `getent group` lists");
        } else if seen.first(reader, item.span().start, key) {
            match key {
                "group" => config.control.group = Some(name.to_owned()),
                _ => config.control.read_group = Some(name.to_owned()),
            }
        }
    }
}

/// Reads `[reconcile]` of one file.
pub(super) fn read_reconcile(reader: &mut Reader, seen: &mut SettingsSeen, item: &Item<'_>, config: &mut Config) {
    let Some(table) = reader.table(item, "reconcile") else {
        return;
    };
    let [interval] = reader.fields(table, Scope::Reconcile);
    if let Some(item) = interval
        && let Some(value) = reader.duration(item, "interval", SHORTEST_RECONCILE..=LONGEST_RECONCILE)
        && seen.first(reader, item.span().start, "interval")
    {
        config.reconcile.interval = value;
    }
}

/// Reads `[reload]` of one file.
pub(super) fn read_reload(reader: &mut Reader, seen: &mut SettingsSeen, item: &Item<'_>, config: &mut Config) {
    let Some(table) = reader.table(item, "reload") else {
        return;
    };
    let [remove_limit, on_change] = reader.fields(table, Scope::Reload);
    if let Some(item) = remove_limit
        && let Some(value) = reader.number(item, "remove_limit", 0..=100)
        && seen.first(reader, item.span().start, "remove_limit")
    {
        config.reload.remove_limit = value;
    }
    if let Some(item) = on_change
        && let Some(value) = reader.boolean(item, "on_change")
        && seen.first(reader, item.span().start, "on_change")
    {
        config.reload.on_change = value;
    }
}

fn sysctl_value(reader: &mut Reader, name_at: usize, name: &str, item: &Item<'_>) -> Option<String> {
    let at = item.span().start;
    let known = SYSCTLS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let Some(kind) = known else {
        let plain = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !plain {
            let hint = match name.strip_prefix("net.ipv4.vs.") {
                Some(rest) => format!("the prefix is added: {}", shorten(rest)),
                None => "small letters, digits and _ as below /proc/sys/net/ipv4/vs".to_owned(),
            };
            reader.error(name_at, format!("`{}` is no net.ipv4.vs setting", shorten(name)), hint);
            return None;
        }
        let hint = match hints::nearest(name, SYSCTLS.iter().map(|(known, _)| *known)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "it is written as it stands if the kernel has it".to_owned(),
        };
        reader.warning(name_at, format!("`net.ipv4.vs.{name}` is not known here"), hint);
        return any_value(reader, item, name);
    };
    let text = any_value(reader, item, name)?;
    let wanted = match kind {
        Kind::Switch => (!matches!(text.as_str(), "0" | "1")).then(|| "0 or 1".to_owned()),
        Kind::Number(least, most) => {
            let fits = text.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number));
            (!fits).then(|| format!("a number from {least} to {most}"))
        }
        Kind::Threshold => {
            let numbers: Vec<Option<i32>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
            let fits = match numbers[..] {
                [Some(threshold), Some(period)] => threshold >= 0 && (period == 0 || threshold < period),
                _ => false,
            };
            (!fits).then(|| "two numbers, the first below the second: \"3 50\"".to_owned())
        }
        Kind::Processors => {
            let fits = text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-'));
            (!fits).then(|| "processors as \"0-3,8\"".to_owned())
        }
    };
    match wanted {
        Some(wanted) => {
            reader.error(at, format!("`{name}` cannot be {}", shorten(&text)), wanted);
            None
        }
        None => Some(text),
    }
}

/// The text of a value that a sysctl could take.
fn any_value(reader: &mut Reader, item: &Item<'_>, name: &str) -> Option<String> {
    match item.get_ref() {
        Value::Boolean(value) => Some(u8::from(*value).to_string()),
        Value::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.to_string()),
            Err(_) => {
                let number = shorten(&number.to_string());
                reader.error(item.span().start, format!("`{name}` cannot be {number}"), "");
                None
            }
        },
        Value::String(text) if text.len() <= 256 && !text.contains(char::is_control) => Some(text.trim().to_owned()),
        Value::String(_) => {
            reader.error(
                item.span().start,
                format!("the value of `{name}` is not one short line"),
                "",
            );
            None
        }
        other => {
            reader.error(
                item.span().start,
                format!(
                    "`{name}` must be a number, true or false, or a string, not {}",
                    kind(other)
                ),
                "",
            );
            None
        }
    }
}
