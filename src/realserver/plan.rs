//! What makes a host a real server and what undoes it: from what was read, never reading.
//!
//! Settings come before addresses: an address that is there for an instant while ARP still answers for it is enough
//! to draw a segment's traffic here. The kernel takes the larger of the `all` value and the interface's own for
//! `arp_ignore`, `arp_announce` and `rp_filter` (Documentation/networking/ip-sysctl.rst), and ARP comes in on
//! interfaces that may not be there yet: so the first two are set on `all`. `rp_filter` has to be 0 on both for a
//! tunnel; other interfaces keep the strictness that `all` gave them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::rules::{
    ALL, ARP_ANNOUNCE, ARP_IGNORE, DISABLE_IPV6, RP_FILTER, address_problem, has_ipv4, no_tunnel, problem,
    suppresses_answers, tunnel_device,
};
use super::words::{Finding, FromConfig, Host, KeptSysctl, KeptVip, Mode, Record, Step, Undo, Wanted};
use crate::model::{
    Config, Family, Forwarding, Link, ServiceKey, TunnelKind, VirtualAddress, VirtualServer, interface_sysctl,
};

/// The longest label that the kernel takes, in bytes.
const LABEL_LIMIT: usize = 15;

/// The tunnel devices that must be there; the kernel makes them when their module is loaded.
pub fn tunnel_devices(wanted: &Wanted) -> BTreeSet<&'static str> {
    let tunnels = wanted.vips.iter().filter(|(_, vip)| vip.mode == Mode::Tun);
    tunnels.map(|(address, _)| tunnel_device(*address)).collect()
}

/// The kernel settings that [`up`], [`down`] and [`status`] look at.
pub fn sysctls_to_read(links: &[Link], record: &Record) -> BTreeSet<String> {
    let mut names: BTreeSet<_> = record.sysctls.keys().cloned().collect();
    for device in links.iter().map(|link| link.name.as_str()).chain([ALL]) {
        names.extend([ARP_IGNORE, ARP_ANNOUNCE, RP_FILTER].map(|key| interface_sysctl("ipv4", device, key)));
        names.insert(interface_sysctl("ipv6", device, DISABLE_IPV6));
    }
    names
}

/// The steps that make `host` a real server for what is wanted, and the record to keep before the first is taken.
///
/// What an earlier `up` recorded stays recorded: the values before the first one are those that count.
///
/// # Errors
/// The findings that stand in the way; nothing should be done then.
pub fn up(wanted: &Wanted, host: &Host, earlier: &Record) -> Result<(Vec<Step>, Record), Vec<Finding>> {
    let obstacles = obstacles(wanted, host, earlier);
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let mut plan = Planner {
        host,
        steps: Vec::new(),
        record: earlier.clone(),
    };
    if has_ipv4(wanted) {
        if !suppresses_answers(host.number(ALL, ARP_IGNORE)) {
            plan.set(ALL, ARP_IGNORE, "1");
        }
        plan.set(ALL, ARP_ANNOUNCE, "2");
    }
    for device in tunnel_devices(wanted) {
        if device == "tunl0" {
            plan.unfilter(device);
        }
        plan.switch_on(device);
    }
    for (address, vip) in &wanted.vips {
        plan.switch_on(&vip.device);
        let there = host.has(*address, &vip.device);
        let first = !plan.record.vips.contains_key(address);
        let kept = plan.record.vips.entry(*address).or_insert_with(|| KeptVip {
            device: vip.device.clone(),
            mode: vip.mode,
            added: !there,
        });
        kept.mode = vip.mode;
        // Gone since an earlier `up` that had found it: whoever put it there took it off, so now it is ours.
        if !there && !first {
            kept.added = true;
        }
        if !there {
            let label = format!("{}:vip", vip.device);
            plan.steps.push(Step::AddAddress {
                vip: VirtualAddress {
                    device: vip.device.clone(),
                    address: *address,
                },
                label: (address.is_ipv4() && label.len() <= LABEL_LIMIT).then_some(label),
            });
        }
    }
    Ok((plan.steps, plan.record))
}

/// The steps back to what was there before the first `up`.
///
/// A setting that somebody else has changed since is left as it is.
pub fn down(record: &Record, host: &Host) -> Undo {
    let mut undo = Undo::default();
    for (address, kept) in &record.vips {
        if kept.added && host.has(*address, &kept.device) {
            undo.steps.push(Step::RemoveAddress {
                vip: VirtualAddress {
                    device: kept.device.clone(),
                    address: *address,
                },
            });
        }
    }
    for device in &record.links {
        if host.link(device).is_some_and(|link| link.up) {
            undo.steps.push(Step::SetLink {
                device: device.clone(),
                up: false,
            });
        }
    }
    for (name, kept) in &record.sysctls {
        match host.sysctls.get(name) {
            Some(now) if *now == kept.before => {}
            Some(now) if *now == kept.set => undo.steps.push(Step::SetSysctl {
                name: name.clone(),
                value: kept.before.clone(),
                was: now.clone(),
            }),
            Some(now) => undo.notes.push(format!(
                "{name} is left at {now}: somebody has changed it since it was set to {} (it was {} before)",
                kept.set, kept.before
            )),
            None => {}
        }
    }
    undo
}

/// The virtual addresses of a director's configuration whose real servers have one of this host's addresses.
pub fn wanted_from(config: &Config, local: &[IpAddr]) -> FromConfig {
    let mut derived = FromConfig::default();
    for server in &config.virtual_servers {
        for (address, forwarding) in server.members().filter(|(address, _)| local.contains(address)) {
            let mode = match forwarding {
                Forwarding::Dr => Mode::Dr,
                Forwarding::Tun(tunnel) if tunnel.kind == TunnelKind::Ipip => Mode::Tun,
                Forwarding::Tun(tunnel) => {
                    derived.notes.insert(format!(
                        "virtual server {}: this host ({address}) gets its packets by {tunnel}, for which it must be \
                         prepared by other means",
                        server.name
                    ));
                    continue;
                }
                Forwarding::Nat => {
                    derived.notes.insert(format!(
                        "virtual server {}: this host ({address}) is a nat real server, which needs nothing but a \
                         route to its clients through the director",
                        server.name
                    ));
                    continue;
                }
                Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => continue,
            };
            for service in &server.services {
                derived.take(server, service, address, mode);
            }
        }
    }
    derived
}

impl FromConfig {
    fn take(&mut self, server: &VirtualServer, service: &ServiceKey, real: IpAddr, mode: Mode) {
        let Some(vip) = service.address() else {
            self.notes.insert(format!(
                "virtual server {}: {service} names no address; give those it stands for with --vip",
                server.name
            ));
            return;
        };
        if mode == Mode::Tun && Family::of(vip) != Family::of(real) {
            self.notes.insert(format!(
                "virtual server {}: {vip} reaches this host ({real}) through a tunnel of the other address family, \
                 for which it must be prepared by other means",
                server.name
            ));
            return;
        }
        // What a tunnel needs includes all that direct routing needs.
        let held = self.vips.entry(vip).or_insert(mode);
        *held = (*held).max(mode);
    }
}

/// Collects steps and the record that undoes them.
struct Planner<'a> {
    host: &'a Host,
    steps: Vec<Step>,
    record: Record,
}

impl Planner<'_> {
    fn set(&mut self, device: &str, key: &str, value: &str) {
        let name = interface_sysctl("ipv4", device, key);
        let Some(now) = self.host.sysctls.get(&name) else {
            return;
        };
        if now == value {
            return;
        }
        let kept = self.record.sysctls.entry(name.clone()).or_insert_with(|| KeptSysctl {
            before: now.clone(),
            set: value.to_owned(),
        });
        value.clone_into(&mut kept.set);
        self.steps.push(Step::SetSysctl {
            name,
            value: value.to_owned(),
            was: now.clone(),
        });
    }

    /// Lets in what comes out of a tunnel although its sender is reached by another way.
    fn unfilter(&mut self, tunnel: &str) {
        let all = self.host.number(ALL, RP_FILTER);
        if all != 0 {
            for link in self.host.links.iter().filter(|link| link.name != tunnel) {
                if self.host.number(&link.name, RP_FILTER) < all {
                    self.set(&link.name, RP_FILTER, &all.to_string());
                }
            }
            self.set(ALL, RP_FILTER, "0");
        }
        self.set(tunnel, RP_FILTER, "0");
    }

    fn switch_on(&mut self, device: &str) {
        let planned = |step: &Step| matches!(step, Step::SetLink { device: other, .. } if other == device);
        if self.host.link(device).is_some_and(|link| !link.up) && !self.steps.iter().any(planned) {
            self.record.links.insert(device.to_owned());
            self.steps.push(Step::SetLink {
                device: device.to_owned(),
                up: true,
            });
        }
    }
}

/// What makes `up` impossible or harmful.
fn obstacles(wanted: &Wanted, host: &Host, earlier: &Record) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (address, vip) in &wanted.vips {
        findings.extend(address_problem(*address, &vip.device, host));
        if let Some(kept) = earlier.vips.get(address).filter(|kept| kept.device != vip.device) {
            findings.push(problem(
                address.to_string(),
                format!("an earlier `up` put it on {}, not on {}", kept.device, vip.device),
                "run `ipvsd realserver down` first".to_owned(),
            ));
        }
        if vip.mode == Mode::Tun && host.link(tunnel_device(*address)).is_none() {
            findings.push(no_tunnel(*address));
        }
    }
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests;
