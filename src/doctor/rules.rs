//! The rules: from a configuration and the facts about a host to what is wrong there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{Config, Family, Forwarding, HostFacts, ServiceFlags, Sysctl, VirtualServer, interface_sysctl};

/// One thing that is wrong, or will be at the worst moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A short name that stays the same, for filters and documents.
    pub rule: &'static str,
    /// What an operator would see.
    pub symptom: String,
    /// Why.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// Settings that put it right, where settings can.
    pub fixes: Vec<Sysctl>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.symptom, self.cause, self.remedy)
    }
}

/// The settings that [`director`] wants to know, for the hand that gathers them.
pub fn wanted_sysctls(interfaces: &[String]) -> Vec<String> {
    let fixed = [
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv4.conf.all.send_redirects",
        "net.ipv4.vs.expire_nodest_conn",
        "net.ipv4.vs.expire_quiescent_template",
        "net.ipv4.vs.conntrack",
        "net.ipv4.vs.conn_reuse_mode",
    ];
    let redirects = interfaces
        .iter()
        .map(|name| interface_sysctl("ipv4", name, "send_redirects"));
    fixed.into_iter().map(str::to_owned).chain(redirects).collect()
}

/// The settings that [`path_settings`] wants to know.
pub fn wanted_path_sysctls(interfaces: &[String]) -> Vec<String> {
    let all = std::iter::once("all").chain(interfaces.iter().map(String::as_str));
    all.flat_map(|name| ["accept_local", "rp_filter"].map(|key| interface_sysctl("ipv4", name, key)))
        .collect()
}

/// What has to be set so that answers to checks with `via = "path"` are taken in on these devices: they come from a
/// virtual address, which is this host's own as well (`accept_local`), and which strict source validation
/// (`rp_filter` 1) would not expect there. Both count together with those of `all`: one that is on, the higher one.
pub fn path_settings(devices: &BTreeSet<String>, facts: &HostFacts) -> Vec<Sysctl> {
    let value = |device: &str, key: &str| {
        let found = facts.sysctls.get(&interface_sysctl("ipv4", device, key));
        found.and_then(|value| value.trim().parse::<u32>().ok()).unwrap_or(0)
    };
    let mut settings = Vec::new();
    for device in devices {
        if value("all", "accept_local") == 0 && value(device, "accept_local") == 0 {
            settings.push(set(&interface_sysctl("ipv4", device, "accept_local"), "1"));
        }
        if value("all", "rp_filter").max(value(device, "rp_filter")) == 1 {
            settings.push(set(&interface_sysctl("ipv4", device, "rp_filter"), "2"));
        }
    }
    settings
}

/// What this host lacks as a director for this configuration.
pub fn director(config: &Config, facts: &HostFacts) -> Vec<Finding> {
    let facts = Facts {
        facts,
        wanted: wanted_values(config),
    };
    let mut findings = Vec::new();
    forwarding(config, &facts, &mut findings);
    redirects(config, &facts, &mut findings);
    // Where those are, the virtual routers say.
    let routers = config.vrrp_instances.iter();
    let moving: BTreeSet<IpAddr> = routers
        .flat_map(|spec| &spec.addresses)
        .map(|held| held.address)
        .collect();
    devices(config, facts.facts, &mut findings);
    addresses(config, &moving, facts.facts, &mut findings);
    connections_of_failed_servers(config, &facts, &mut findings);
    connections_of_former_masters(config, &facts, &mut findings);
    conntrack(&facts, &mut findings);
    findings
}

/// The host's settings with those of the configuration already in force.
struct Facts<'a> {
    facts: &'a HostFacts,
    wanted: BTreeMap<&'a str, &'a str>,
}

impl Facts<'_> {
    /// Whether a setting is known and has this value.
    fn is(&self, name: &str, value: &str) -> bool {
        let found = self
            .wanted
            .get(name)
            .copied()
            .or_else(|| self.facts.sysctls.get(name).map(String::as_str));
        found.is_some_and(|found| found.trim() == value)
    }
}

fn wanted_values(config: &Config) -> BTreeMap<&str, &str> {
    config
        .ipvs
        .sysctls
        .iter()
        .map(|sysctl| (sysctl.name.as_str(), sysctl.value.as_str()))
        .collect()
}

fn set(name: &str, value: &str) -> Sysctl {
    Sysctl {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// The families of services with at least one server behind NAT.
fn nat_families(config: &Config) -> BTreeSet<Family> {
    let nat = |server: &&VirtualServer| {
        let mut members = server.members();
        members.any(|(_, forwarding)| forwarding == Forwarding::Nat)
    };
    config
        .virtual_servers
        .iter()
        .filter(nat)
        .flat_map(|server| &server.services)
        .map(|key| key.family())
        .collect()
}

fn forwarding(config: &Config, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for family in nat_families(config) {
        let name = match family {
            Family::Inet => "net.ipv4.ip_forward",
            Family::Inet6 => "net.ipv6.conf.all.forwarding",
        };
        if facts.is(name, "0") {
            findings.push(Finding {
                rule: "FWD",
                symptom: "clients of NAT services get no answer".to_owned(),
                cause: format!("{name} is 0, so the answers of real servers are not forwarded"),
                remedy: format!("sysctl -w {name}=1, or [host] prepare = true"),
                fixes: vec![set(name, "1")],
            });
        }
    }
}

/// `send_redirects` counts when it is on for `all` or for the interface.
fn redirects(config: &Config, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    if !nat_families(config).contains(&Family::Inet) {
        return;
    }
    let names: Vec<_> = std::iter::once("all")
        .chain(facts.facts.interfaces.iter().map(String::as_str))
        .map(|name| interface_sysctl("ipv4", name, "send_redirects"))
        .filter(|name| facts.is(name, "1"))
        .collect();
    if !names.is_empty() {
        findings.push(Finding {
            rule: "NATGW",
            symptom: "NAT connections from the real servers' own segment break".to_owned(),
            cause: "the director tells them by ICMP redirect to answer past it (send_redirects is on)".to_owned(),
            remedy: format!("sysctl -w {}=0, or [host] prepare = true", names.join("=0 ")),
            fixes: names.iter().map(|name| set(name, "0")).collect(),
        });
    }
}

/// How many of those that something is wrong with are named.
const MOST_NAMED: usize = 3;

/// The first of some names, and how many more there are.
fn first_of(names: &[impl std::fmt::Display]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// One or many virtual servers, as the subject of a sentence.
fn virtual_servers(names: &[&str]) -> String {
    let noun = if names.len() == 1 {
        "virtual server"
    } else {
        "virtual servers"
    };
    format!("{noun} {}", first_of(names))
}

fn devices(config: &Config, facts: &HostFacts, findings: &mut Vec<Finding>) {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for server in &config.virtual_servers {
        if let Some(device) = server
            .device
            .as_ref()
            .filter(|device| !facts.interfaces.contains(device))
        {
            missing.entry(device).or_default().push(&server.name);
        }
    }
    findings.extend(missing.into_iter().map(|(device, names)| Finding {
        rule: "DEVICE",
        symptom: format!("{}: nobody can reach it", virtual_servers(&names)),
        cause: format!("its device {device} is not on this host"),
        remedy: format!("create {device}, or name one of: {}", facts.interfaces.join(" ")),
        fixes: Vec::new(),
    }));
}

fn addresses(config: &Config, moving: &BTreeSet<IpAddr>, facts: &HostFacts, findings: &mut Vec<Finding>) {
    let (mut names, mut missing) = (Vec::new(), BTreeSet::new());
    for server in config.virtual_servers.iter().filter(|server| server.device.is_none()) {
        let services = server.services.iter().filter_map(|service| service.address());
        let is_missing = |address: &IpAddr| !facts.addresses.contains(address) && !moving.contains(address);
        let lacking: Vec<_> = services.filter(is_missing).collect();
        if !lacking.is_empty() {
            names.push(server.name.as_str());
            missing.extend(lacking);
        }
    }
    let missing: Vec<IpAddr> = missing.into_iter().collect();
    let [address, more @ ..] = &missing[..] else { return };
    let family = Family::of(*address).host_prefix();
    findings.push(Finding {
        rule: "ADDR",
        symptom: format!("{}: clients cannot reach {}", virtual_servers(&names), first_of(&missing)),
        cause: match more {
            [] => "the address is not on this host".to_owned(),
            _ => "these addresses are not on this host".to_owned(),
        },
        remedy: format!(
            "set device = \"eth0\" or a vrrp_instance on the virtual server, or `ip address add {address}/{family} dev eth0`"
        ),
        fixes: Vec::new(),
    });
}

fn connections_of_failed_servers(config: &Config, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let servers = config.virtual_servers.iter();
    let checked = servers.filter(|server| server.real_servers.iter().any(|real| !real.checks.is_empty()));
    let (inhibited, removed): (Vec<_>, Vec<_>) = checked.partition(|server| server.inhibit_on_failure);
    let is_persistent = |server: &&&VirtualServer| server.spec.flags.contains(ServiceFlags::PERSISTENT);
    let persistent: Vec<_> = inhibited
        .iter()
        .filter(is_persistent)
        .map(|server| server.name.as_str())
        .collect();
    if !persistent.is_empty() && facts.is("net.ipv4.vs.expire_quiescent_template", "0") {
        findings.push(Finding {
            rule: "QUIESCE",
            symptom: format!(
                "{}: persistent clients keep going to a failed server",
                virtual_servers(&persistent)
            ),
            cause: "it stays in the table with weight 0, and net.ipv4.vs.expire_quiescent_template is 0".to_owned(),
            remedy: "[ipvs] sysctl = { expire_quiescent_template = 1 }".to_owned(),
            fixes: Vec::new(),
        });
    }
    let removed: Vec<_> = removed.iter().map(|server| server.name.as_str()).collect();
    if !removed.is_empty() && facts.is("net.ipv4.vs.expire_nodest_conn", "0") {
        findings.push(Finding {
            rule: "NODEST",
            symptom: format!(
                "{}: open connections to a failed server hang",
                virtual_servers(&removed)
            ),
            cause: "a removed server's packets are dropped in silence while net.ipv4.vs.expire_nodest_conn is 0"
                .to_owned(),
            remedy: "[ipvs] sysctl = { expire_nodest_conn = 1 }, or inhibit_on_failure = true".to_owned(),
            fixes: Vec::new(),
        });
    }
}

/// The table of a former master still has the connections, whose services have left it: what the new master forwards to
/// this host as a real server is for them.
fn connections_of_former_masters(config: &Config, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let moving = config
        .virtual_servers
        .iter()
        .filter(|server| server.program_with.is_some());
    let moving: Vec<_> = moving.map(|server| server.name.as_str()).collect();
    if !moving.is_empty() && facts.is("net.ipv4.vs.expire_nodest_conn", "0") {
        findings.push(Finding {
            rule: "FORMER",
            symptom: format!(
                "{}: open connections to this host hang when another director becomes master",
                virtual_servers(&moving)
            ),
            cause: "packets of a service that has left the table are dropped in silence while \
                    net.ipv4.vs.expire_nodest_conn is 0, if this host is a real server of it"
                .to_owned(),
            remedy: "[ipvs] sysctl = { expire_nodest_conn = 1 }".to_owned(),
            fixes: Vec::new(),
        });
    }
}

fn conntrack(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    if facts.is("net.ipv4.vs.conntrack", "1") && facts.is("net.ipv4.vs.conn_reuse_mode", "0") {
        findings.push(Finding {
            rule: "REUSE0",
            symptom: "clients that reuse a port stick to servers that are out".to_owned(),
            cause: "net.ipv4.vs.conn_reuse_mode is 0".to_owned(),
            remedy: "[ipvs] sysctl = { conn_reuse_mode = 1 } (safe since Linux 5.9)".to_owned(),
            fixes: Vec::new(),
        });
    }
}

#[cfg(test)]
mod tests;
