//! `sync_daemon` of `[ipvs]`, and what goes with handing connections over: `preempt_after_sync`, `sloppy_tcp`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::checks::optional;
use super::problem::Place;
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::settings::SettingsSeen;
use super::tree::Value;
use super::vrrp::Moving;
use crate::model::{Config, Family, Protocol, Scheduler, ServiceKey, SyncSettings, VirtualServer};

/// The longest datagram of UDP over IPv4.
const LONGEST: u32 = 65_507;
/// And over IPv6, as the kernel counts it for its sync daemons.
const LONGEST_V6: u32 = 65_487;

/// The longest wait for connections.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An instance that waits for connections before it takes over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// Where it says so.
    pub(super) place: Place,
    /// For how long.
    pub(super) at_most: Duration,
    /// It waits no longer once it has a share of them.
    pub(super) by_share: bool,
}

/// Reads `preempt_after_sync`: a time, or a share of the connections and a time. Answers with the time and the share.
pub(super) fn read_wait(reader: &mut Reader, item: &Item<'_>) -> Option<(Duration, Option<u32>)> {
    let Value::Table(table) = item.get_ref() else {
        let wait = reader.duration(item, "preempt_after_sync", Duration::ZERO..=LONGEST_WAIT);
        return Some((wait?, None));
    };
    let at = item.span().start;
    let [share, at_most] = reader.fields(table, Scope::PreemptAfterSync);
    if share.is_none() || at_most.is_none() {
        let text = "`preempt_after_sync` as a table has `share` and `at_most`";
        reader.missing(
            at,
            text,
            "write { share = \"90%\", at_most = \"2m\" }, or a time alone: \"30s\"",
        );
    }
    let share = share.and_then(|item| read_share(reader, item));
    let shortest = Duration::from_secs(1);
    let at_most = at_most.and_then(|item| reader.duration(item, "at_most", shortest..=LONGEST_WAIT));
    Some((at_most?, Some(share?)))
}

fn read_share(reader: &mut Reader, item: &Item<'_>) -> Option<u32> {
    let text = reader.string(item, "share")?;
    let share = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let share = share.filter(|share| (1..=100).contains(share));
    if share.is_none() {
        let hint = "of the connections that the other director has, 1% to 100%: \"90%\"";
        reader.error(
            item.span().start,
            format!("`share` cannot be \"{}\"", shorten(text)),
            hint,
        );
    }
    share
}

/// Where settings stand that are held against the rest once all is read.
#[derive(Default)]
pub(super) struct SyncSeen {
    daemon: Option<Place>,
    /// The instance that it follows, and where it says so.
    follows: Option<(Place, String)>,
    /// It has an id of its own.
    id: bool,
}

/// Reads `sync_daemon`.
pub(super) fn read(
    reader: &mut Reader,
    seen: &mut SettingsSeen,
    sync: &mut SyncSeen,
    item: &Item<'_>,
    config: &mut Config,
) {
    let at = item.span().start;
    let Some(table) = reader.table(item, "sync_daemon") else {
        return;
    };
    let [interface, instance, sync_id, maxlen, group, port, ttl] = reader.fields(table, Scope::SyncDaemon);
    if !seen.first(reader, at, "sync_daemon") {
        return;
    }
    let Some(interface) = interface else {
        let hint = "write sync_daemon = { interface = \"eth0\", vrrp_instance = \"VI_1\" }";
        reader.missing(at, "the sync_daemon has no `interface`", hint);
        return;
    };
    let interface = reader.device(interface);
    let instance_at = instance.map_or(at, |item| item.span().start);
    let instance = instance.and_then(|item| reader.string(item, "vrrp_instance").map(str::to_owned));
    let id = optional(sync_id, |item| reader.number(item, "sync_id", 0..=255));
    let maxlen_at = maxlen.map_or(at, |item| item.span().start);
    let maxlen = optional(maxlen, |item| reader.number(item, "maxlen", 1..=LONGEST));
    let group = optional(group, |item| read_group(reader, item));
    if let (Some(Some(length)), Some(Some(IpAddr::V6(_)))) = (maxlen, group)
        && length > LONGEST_V6
    {
        let text = format!("`maxlen` {length} is {LONGEST_V6} to the kernel, for the group is one of IPv6");
        reader.warning(maxlen_at, text, format!("write maxlen = {LONGEST_V6}"));
    }
    let port = optional(port, |item| reader.port(item, "port"));
    let ttl = optional(ttl, |item| reader.number(item, "ttl", 1..=255));
    sync.daemon = Some(reader.place(at));
    sync.follows = instance.clone().map(|name| (reader.place(instance_at), name));
    sync.id = sync_id.is_some();
    let (Some(interface), Some(id), Some(maxlen), Some(group), Some(port), Some(ttl)) =
        (interface, id, maxlen, group, port, ttl)
    else {
        return;
    };
    config.ipvs.sync = Some(SyncSettings {
        interface,
        instance,
        sync_id: id.unwrap_or(0),
        // Within their ranges.
        max_length: maxlen.and_then(|number| u16::try_from(number).ok()).unwrap_or(0),
        group,
        port: port.unwrap_or(0),
        ttl: ttl.and_then(|number| u8::try_from(number).ok()).unwrap_or(0),
    });
}

fn read_group(reader: &mut Reader, item: &Item<'_>) -> Option<IpAddr> {
    let group = reader.ip_address(item, "group")?;
    if !group.is_multicast() {
        let text = format!("`group` cannot be {}", shorten(&group.to_string()));
        reader.error(item.span().start, text, "a multicast address: \"224.0.0.81\"");
        return None;
    }
    Some(group)
}

impl SyncSeen {
    /// Holds the settings against the instances and virtual servers, which are all read by now; `waits`: instances with
    /// `preempt_after_sync`, and where they say so; `moving`: the virtual servers that move with an instance. An id that
    /// is not given is that of the virtual router.
    pub(super) fn finish(
        &self,
        reader: &mut Reader,
        waits: &[Wait],
        moving: &HashMap<usize, Moving>,
        servers: &[VirtualServer],
        config: &mut Config,
    ) {
        if let Some((place, name)) = &self.follows {
            let spec = config.vrrp_instances.iter().find(|spec| spec.name == *name);
            match (spec, &mut config.ipvs.sync) {
                (None, _) => {
                    let text = format!("there is no vrrp_instance \"{}\"", shorten(name));
                    reader.error_at(
                        *place,
                        text,
                        "name one that is there; without it both sync daemons run all the time",
                    );
                }
                (Some(spec), Some(sync)) if !self.id => sync.sync_id = spec.virtual_router_id.into(),
                (Some(_), _) => {}
            }
        }
        if let Some(place) = self.daemon {
            for server in servers {
                let family = server.services.first().map_or(Family::Inet, |key| key.family());
                let other = server
                    .real_servers
                    .iter()
                    .find(|real| Family::of(real.address) != family);
                if let Some(real) = other {
                    let (name, address) = (&server.name, real.address);
                    reader.error_at(
                        place,
                        format!("the kernel has no sync daemon beside virtual_server \"{name}\", whose real server {address} is of another family"),
                        "take the sync_daemon out, or that real server",
                    );
                    break;
                }
            }
        }
        self.check_waits(reader, waits, config);
        if self.daemon.is_none() {
            warn_of_stateless(reader, moving, servers, config);
        }
    }

    /// Waiting for a table that nobody fills is in vain.
    fn check_waits(&self, reader: &mut Reader, waits: &[Wait], config: &Config) {
        let Some(Wait {
            place, at_most: wait, ..
        }) = waits.first().copied()
        else {
            return;
        };
        if let Some(wait) = waits.iter().find(|wait| wait.by_share)
            && config.peer.is_none()
        {
            let text = "nobody says how many connections there are, so that `at_most` is waited for in any case";
            let hint = "add [peer] with the other director, or give a time alone: preempt_after_sync = \"30s\"";
            reader.warning_at(wait.place, text, hint);
        }
        if self.daemon.is_none() {
            let text = "`preempt_after_sync` waits for connections that nobody sends";
            reader.error_at(
                place,
                text,
                "add sync_daemon = { interface = \"eth0\", vrrp_instance = \"VI_1\" } to [ipvs]",
            );
            return;
        }
        let refresh = sysctl(config, "sync_refresh_period").and_then(|text| text.parse::<u64>().ok());
        match refresh {
            None | Some(0) => {
                let text = "idle connections are never sent again, so that waiting for them is in vain";
                let hint =
                    "add sysctl = { sync_refresh_period = 10 } to [ipvs], below `preempt_after_sync`, on all directors";
                reader.warning_at(place, text, hint);
            }
            Some(period) if period >= wait.as_secs() => {
                let text = format!(
                    "`preempt_after_sync` is over before all connections were sent: sync_refresh_period is {period} s"
                );
                reader.warning_at(place, text, "wait for longer than that");
            }
            Some(_) => {}
        }
    }
}

fn sysctl<'c>(config: &'c Config, name: &str) -> Option<&'c str> {
    let name = format!("net.ipv4.vs.{name}");
    let found = config.ipvs.sysctls.iter().find(|sysctl| sysctl.name == name);
    found.map(|sysctl| sysctl.value.as_str())
}

fn is_tcp(key: &ServiceKey) -> bool {
    matches!(
        key,
        ServiceKey::Address {
            protocol: Protocol::Tcp,
            ..
        }
    )
}

/// `mh` finds the same server on every director, and `sloppy_tcp` lets a connection in whose beginning was elsewhere:
/// together they hand connections over without any state. Each alone is a mistake where an address moves and no sync daemon
/// hands them over.
fn warn_of_stateless(reader: &mut Reader, moving: &HashMap<usize, Moving>, servers: &[VirtualServer], config: &Config) {
    let sloppy = config
        .ipvs
        .sysctls
        .iter()
        .position(|sysctl| sysctl.name == "net.ipv4.vs.sloppy_tcp");
    let is_on = sloppy
        .and_then(|place| config.ipvs.sysctls.get(place))
        .is_some_and(|sysctl| sysctl.value == "1");
    for (number, server) in servers.iter().enumerate() {
        let Some(Moving { place, .. }) = moving.get(&number) else {
            continue;
        };
        if !server.services.iter().any(is_tcp) {
            continue;
        }
        let name = shorten(&server.name);
        if server.spec.scheduler == Scheduler::Mh && !is_on {
            let text = format!("open connections to \"{name}\" break when its address moves");
            let hint = "with scheduler mh they need not: [ipvs] sysctl = { sloppy_tcp = 1 } on all directors, or a sync_daemon";
            reader.warning_at(*place, text, hint);
        } else if is_on && server.spec.scheduler != Scheduler::Mh {
            let text =
                format!("with sloppy_tcp = 1 open connections to \"{name}\" go to any server when its address moves");
            let hint = format!(
                "scheduler {} does not find the same one: use mh, or a sync_daemon",
                server.spec.scheduler
            );
            reader.warning_at(*place, text, hint);
        }
    }
}
