//! What an unknown word most likely means: keepalived's words, words in the wrong place, and slips of the pen.

use super::scope::Scope;

/// The most keys that a hint lists.
const MOST_LISTED: usize = 40;

const NOT_YET: &str = "this version does not have it";
/// What there is in place of a second burst against a master of lower priority.
const LOWER_PRIO_DELAY: &str = "ipvsd needs none: it announces the addresses at once, and again every `advert_int` for as long as that master speaks";
/// What there is in place of a pause between announcements.
const NO_PAUSE: &str = "announcements follow each other without a pause: garp_master_repeat = 1 makes them fewer, and who misses some hears those after `garp_master_delay`";

/// Words of keepalived and ipvsadm, and what they are called here.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    ("lvs_sched", "here it is `scheduler`"),
    ("lb_algo", "here it is `scheduler`"),
    ("lvs_method", "here it is `forward`"),
    ("lb_kind", "here it is `forward`"),
    ("delay_loop", "here it is `interval`, in a check, with a unit: \"6s\""),
    (
        "connect_timeout",
        "here it is `timeout`, in a check, with a unit: \"1s\"",
    ),
    (
        "retry",
        "here it is `fall`, in a check, and one more: retry 1 is fall = 2",
    ),
    (
        "nb_get_retry",
        "here it is `fall`, in a check, and one more: retry 1 is fall = 2",
    ),
    (
        "delay_before_retry",
        "here it is `retry_interval`, in a check, with a unit: \"1s\"",
    ),
    ("inter", "here it is `interval`, in a check, with a unit: \"2s\""),
    (
        "fastinter",
        "here it is `retry_interval`, in a check, with a unit: \"1s\"",
    ),
    (
        "downinter",
        "here it is `down_interval`, in a check, with a unit: \"5s\"",
    ),
    ("spread-checks", "here it is `jitter`, in a check: jitter = \"10%\""),
    ("alpha", "here it is `initial = \"down\"`, in a check"),
    ("omega", "here it is `notify_on_stop = true`, in a virtual_server"),
    ("virtualhost", "here it is `host`, in a check of type \"http\""),
    ("status_code", "here it is `status`, in a check of type \"http\""),
    ("digest", "here it is `expect_sha256`, in a check of type \"http\""),
    (
        "http_protocol",
        "here it is `http_version`, in a check of type \"http\"",
    ),
    ("regex", "here it is `expect_regex`, in a check"),
    (
        "regex_no_match",
        "here it is `reject_regex`, in a check of type \"http\"",
    ),
    ("enable_sni", "here it is `server_name`, in a check over TLS"),
    ("sni_name", "here it is `server_name`, in a check over TLS"),
    (
        "misc_path",
        "here it is `argv`, in a check of type \"script\": argv = [\"/path\", \"argument\"]",
    ),
    ("payload", "here it is `send` or `send_hex`, in a check of type \"udp\""),
    (
        "require_reply",
        "here: reply = true, or `expect`, in a check of type \"udp\"",
    ),
    ("helo_name", "here it is `helo`, in a check of type \"smtp\""),
    ("misc_timeout", "here it is `timeout`, in a check, with a unit: \"3s\""),
    (
        "misc_dynamic",
        "here it is `dynamic_weight = true`, in a check of type \"script\"",
    ),
    (
        "vrrp_track_file",
        "here: track_file = [{ path = \"/run/lb/weight\", weight = 1 }], in a vrrp_instance",
    ),
    ("bindto", "here it is `source_address`, in a check"),
    ("bind_if", "here it is `device`, in a check"),
    ("persistence_granularity", "here it is `persistence_netmask`"),
    ("ops", "here it is `one_packet`"),
    ("ip_family", "here it is `family`"),
    (
        "sorry_server_inhibit",
        "here: sorry_server = { address = \"192.0.2.20:80\", inhibit = true }",
    ),
    (
        "sorry_server_lvs_method",
        "here: sorry_server = { address = \"192.0.2.20:80\", forward = \"nat\" }",
    ),
    ("TCP_CHECK", "here: check = [{ type = \"tcp\" }]"),
    ("virtual_server_group", "here `address` takes a list and ranges"),
    ("lvs_timeouts", "here it is `timeouts` in [ipvs]"),
    ("ip", "here it is `address`, with the port: \"192.0.2.11:80\""),
    ("ip_port", "here it is `address`, with the port: \"192.0.2.11:80\""),
    ("ip_address", "here it is `address`, with the port: \"192.0.2.11:80\""),
    (
        "return_delay",
        "here it is `return_after`, with return_mode = \"delayed\"",
    ),
    ("slowstart", "here it is `slow_start`, with a unit: \"60s\""),
    ("lvs_flush_on_stop", "here it is `flush_on_stop = true`, in [ipvs]"),
    ("lvs_flush_onstop", "here it is `flush_on_stop = true`, in [ipvs]"),
    ("lvs_flush", "ipvsd leaves services alone that it does not own"),
    ("u_threshold", "here it is `uthreshold`"),
    ("l_threshold", "here it is `lthreshold`"),
    ("upper_threshold", "here it is `uthreshold`"),
    ("lower_threshold", "here it is `lthreshold`"),
    ("netmask", "here it is `persistence_netmask`"),
    ("pe", "here it is `persistence_engine`"),
    ("persistent", "here it is `persistence_timeout`, with a unit: \"300s\""),
    ("sched_flags", "here it is `flags`"),
    ("timeout_tcp", "here it is `tcp`"),
    ("tcp_fin", "here it is `tcpfin`"),
    ("nopreempt", "here it is `preempt = false`"),
    (
        "virtual_ipaddress",
        "here it is `virtual_address`: virtual_address = [\"192.0.2.100/24\"]",
    ),
    (
        "virtual_ipaddress_excluded",
        "here: virtual_address = [{ address = \"192.0.2.101/24\", excluded = true }]",
    ),
    ("vrrp_version", "here it is `version`, in a vrrp_instance"),
    ("authentication", "here it is `password`, with version = 2"),
    ("auth_type", "here `password` alone says it, with version = 2"),
    ("auth_pass", "here it is `password`, with version = 2"),
    ("mcast_src_ip", "here it is `source_address`"),
    ("unicast_src_ip", "here it is `source_address`"),
    ("unicast_peer", "here it is `peers`: peers = [\"192.0.2.3\"]"),
    ("old_unicast_checksum", "here it is `checksum`"),
    ("v3_checksum_as_v2", "here it is `checksum = \"rfc9568\"`"),
    ("vrid", "here it is `virtual_router_id`"),
    ("advert_interval", "here it is `advert_int`, with a unit: \"1s\""),
    (
        "vrrp_garp_master_repeat",
        "here it is `garp_master_repeat`, in a vrrp_instance",
    ),
    (
        "vrrp_garp_master_delay",
        "here it is `garp_master_delay`, in a vrrp_instance",
    ),
    (
        "vrrp_garp_master_refresh",
        "here it is `garp_master_refresh`, in a vrrp_instance",
    ),
    (
        "vrrp_garp_master_refresh_repeat",
        "here it is `garp_master_refresh_repeat`, in a vrrp_instance",
    ),
    (
        "vrrp_garp_lower_prio_repeat",
        "here it is `garp_lower_prio_repeat`, in a vrrp_instance",
    ),
    ("garp_lower_prio_delay", LOWER_PRIO_DELAY),
    ("vrrp_garp_lower_prio_delay", LOWER_PRIO_DELAY),
    ("garp_interval", NO_PAUSE),
    ("vrrp_garp_interval", NO_PAUSE),
    ("gna_interval", NO_PAUSE),
    ("vrrp_gna_interval", NO_PAUSE),
    ("garp_group", NO_PAUSE),
    ("no_accept", "here it is `accept = false`"),
    (
        "use_vmac_addr",
        "here addresses with a `device` of their own have that one's MAC; use_vmac = true is for the rest",
    ),
    ("use_ipvlan", NOT_YET),
    ("vmac_prefix", "here the name is the value: use_vmac = \"vrrp.51\""),
    (
        "dynamic_interfaces",
        "ipvsd always waits for interfaces that are not there",
    ),
    (
        "virtual_routes",
        "here it is `routes`: routes = [{ to = \"198.51.100.0/24\", via = \"192.0.2.1\" }]",
    ),
    (
        "virtual_rules",
        "here it is `rules`: rules = [{ from = \"192.0.2.200/32\", table = 100, priority = 1000 }]",
    ),
    ("blackhole", "here it is `type`: type = \"blackhole\""),
    ("unreachable", "here it is `type`: type = \"unreachable\""),
    ("prohibit", "here it is `type`: type = \"prohibit\""),
    ("src", "here it is `source`"),
    ("dev", "here it is `device`"),
    ("gateway", "here it is `via`"),
    ("preference", "here it is `priority`"),
    ("pref", "here it is `priority`"),
    ("lookup", "here it is `table`"),
    (
        "vrrp_script",
        "here: track_script = [{ argv = [\"/path\", \"argument\"], weight = -20 }], in a vrrp_instance",
    ),
    (
        "vrrp_track_process",
        "here: track_process = [{ name = \"nginx\", weight = -20 }], in a vrrp_instance",
    ),
    ("terminate_delay", "here it is `delay`"),
    ("fork_delay", "here it is `delay`"),
    ("notify_fifo", "here it is `fifo`, in [notify]"),
    ("vrrp_notify_fifo", "here it is `fifo`, in [notify]"),
    ("lvs_notify_fifo", "here it is `fifo`, in [notify]"),
    ("notification_email", "here it is `to`, in mail of [notify]"),
    ("notification_email_from", "here it is `from`, in mail of [notify]"),
    ("smtp_server", "here it is `server`, in mail of [notify]"),
    ("smtp_helo_name", "here it is `helo`, in mail of [notify]"),
    ("smtp_connect_timeout", "here it is `timeout`, in mail of [notify]"),
    ("smtp_alert", "here: mail = { ... } in [notify], with `events`"),
    (
        "lvs_sync_daemon",
        "here: sync_daemon = { interface = \"eth0\", vrrp_instance = \"VI_1\" }, in [ipvs]",
    ),
    (
        "lvs_sync_daemon_interface",
        "here: sync_daemon = { interface = \"eth0\", vrrp_instance = \"VI_1\" }, in [ipvs]",
    ),
    ("syncid", "here it is `sync_id`"),
    ("tun_type", "here: tun = { type = \"gue\", port = 6080 }"),
    ("tun_port", "here: tun = { type = \"gue\", port = 6080 }"),
];

impl Scope {
    /// Whether a key that this table does not have is one of another table.
    pub(super) fn is_home_elsewhere(self, key: &str) -> bool {
        Self::ALL
            .into_iter()
            .any(|other| other != self && other.keys().contains(&key))
    }

    /// Whether it is a part of a virtual router: what it tracks, its routes and rules.
    const fn is_of_routers(self) -> bool {
        matches!(
            self,
            Self::VrrpRoute
                | Self::VrrpRule
                | Self::TrackInterface
                | Self::TrackQuorum
                | Self::TrackTier
                | Self::TrackScript
                | Self::TrackProcess
                | Self::TrackFile
                | Self::TrackProgram
        )
    }

    /// Whether it is about where news goes, which has many words in common with checks.
    const fn is_of_news(self) -> bool {
        matches!(self, Self::Webhook | Self::Mail)
    }
}

/// What to say to a key that a table does not have; empty where nothing comes near.
pub(super) fn unknown_key(scopes: &[Scope], key: &str) -> String {
    let scope = scopes.last().copied().unwrap_or(Scope::Top);
    let keys = || scopes.iter().flat_map(|scope| scope.keys().iter().copied());
    if let Some((_, hint)) = FOREIGN_KEYS
        .iter()
        .find(|(foreign, _)| *foreign == key || foreign.eq_ignore_ascii_case(key))
    {
        return (*hint).to_owned();
    }
    if key == "port" && matches!(scope, Scope::PoolKeys | Scope::RealServer | Scope::SorryServer) {
        return "here it is part of `address`: \"192.0.2.11:80\"".to_owned();
    }
    if key == "port" && matches!(scope, Scope::Check | Scope::Probe(_)) {
        return "here it is `connect_port`".to_owned();
    }
    let close = nearest(key, keys());
    if let Some(word) = close {
        return format!("did you mean `{word}`?");
    }
    let homes: Vec<_> = Scope::ALL
        .into_iter()
        .filter(|home| !scopes.contains(home) && home.keys().contains(&key))
        // What is tracked, and routes, are far from everything else that has such words.
        .filter(|home| !home.is_of_routers() || scope == Scope::VrrpInstance)
        .filter(|home| !home.is_of_news() || scope == Scope::Notify)
        .filter(|home| *home != Scope::Peer || scope == Scope::Top)
        .map(Scope::name)
        .collect();
    match homes.is_empty() {
        true => {
            // All keys of all types would fill a page.
            let few = keys().count() <= MOST_LISTED;
            let own = scopes.iter().filter(|one| few || **one == scope);
            let keys = own.flat_map(|scope| scope.keys().iter().copied());
            format!("{} has {}", scope.name(), list(keys))
        }
        false => format!("it belongs in {}", homes.join(" or ")),
    }
}

/// The words that mean something else in keepalived and ipvsadm, for values.
pub(super) fn unknown_word(word: &str, known: &[&str]) -> String {
    let lower = word.to_ascii_lowercase();
    let meant = match lower.as_str() {
        "masq" | "masquerade" | "masquerading" | "-m" => "nat",
        "route" | "gate" | "gatewaying" | "direct" | "droute" | "-g" => "dr",
        "tunnel" | "ipip" | "-i" if known.contains(&"tun") => "tun",
        "ipv4" | "v4" | "4" => "inet",
        "ipv6" | "v6" | "6" => "inet6",
        _ => "",
    };
    if known.contains(&meant) {
        return format!("here it is \"{meant}\"");
    }
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known: {}", list(known.iter().copied())),
    }
}

/// Words in a row, with commas.
pub(super) fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// The known word that differs from `word` in case only or by few letters.
pub(super) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase().replace('-', "_");
    known
        .map(|candidate| (distance(&lower, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, taken out, changed or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let mut least = (last[column] + usize::from(from != to))
                .min(last[column + 1] + 1)
                .min(this[column] + 1);
            if row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to {
                least = least.min(before[column - 1] + 1);
            }
            this.push(least);
        }
        before = std::mem::replace(&mut last, this);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_with_swaps_as_one() {
        assert_eq!(distance("weight", "weight"), 0);
        assert_eq!(distance("wieght", "weight"), 1);
        assert_eq!(distance("weigh", "weight"), 1);
        assert_eq!(distance("", "tier"), 4);
    }

    #[test]
    fn no_foreign_word_hides_a_word_of_our_own() {
        for scope in Scope::ALL {
            for key in scope.keys() {
                assert!(FOREIGN_KEYS.iter().all(|(foreign, _)| foreign != key), "{key}");
            }
        }
    }
}
