//! What makes a host a real server, what undoes it, and whether it would work: from what was read, never reading.
//!
//! Settings come before addresses: an address that is there for an instant while ARP still answers for it is enough
//! to draw a segment's traffic here. The kernel takes the larger of the `all` value and the interface's own for
//! `arp_ignore`, `arp_announce` and `rp_filter` (Documentation/networking/ip-sysctl.rst), and ARP comes in on
//! interfaces that may not be there yet: so the first two are set on `all`. `rp_filter` has to be 0 on both for a
//! tunnel; other interfaces keep the strictness that `all` gave them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::words::{Finding, FromConfig, Host, KeptSysctl, KeptVip, Mode, Record, Severity, Step, Undo, Wanted};
use crate::model::{
    Config, Family, Forwarding, HostAddress, Link, ServiceKey, TunnelKind, VirtualAddress, VirtualServer,
    interface_sysctl,
};

const ARP_IGNORE: &str = "arp_ignore";
const ARP_ANNOUNCE: &str = "arp_announce";
const RP_FILTER: &str = "rp_filter";
const DISABLE_IPV6: &str = "disable_ipv6";
const ALL: &str = "all";

/// The longest label that the kernel takes, in bytes.
const LABEL_LIMIT: usize = 15;

/// The device on which the packets of a tunnelled virtual address come out.
pub fn tunnel_device(address: IpAddr) -> &'static str {
    match Family::of(address) {
        Family::Inet => "tunl0",
        Family::Inet6 => "ip6tnl0",
    }
}

/// The kernel module behind a tunnel device.
pub fn tunnel_module(address: IpAddr) -> &'static str {
    match Family::of(address) {
        Family::Inet => "ipip",
        Family::Inet6 => "ip6_tunnel",
    }
}

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

/// Everything that was looked at: would this host work as a real server for what is wanted?
pub fn status(wanted: &Wanted, host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (address, vip) in &wanted.vips {
        findings.push(presence(*address, &vip.device, host));
        findings.extend(address_problem(*address, &vip.device, host));
        findings.extend(exposed(*address, host));
    }
    if has_ipv4(wanted) {
        for link in host.links.iter().filter(|link| link.resolves) {
            findings.push(arp_answers(link, host));
            findings.push(arp_announces(link, host));
        }
    }
    for (address, vip) in &wanted.vips {
        if vip.mode == Mode::Tun
            && !findings
                .iter()
                .any(|finding| finding.subject == tunnel_device(*address))
        {
            findings.extend(tunnel(*address, host));
        }
    }
    findings
}

/// Whether a host with these findings takes packets, and only its own.
pub fn works(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Problem)
}

/// The virtual addresses of a director's configuration whose real servers have one of this host's addresses.
pub fn wanted_from(config: &Config, local: &[IpAddr]) -> FromConfig {
    let mut derived = FromConfig::default();
    for server in &config.virtual_servers {
        for (address, forwarding) in members(server).filter(|(address, _)| local.contains(address)) {
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

/// The addresses of the pool and the sorry server, and how packets reach them.
fn members(server: &VirtualServer) -> impl Iterator<Item = (IpAddr, Forwarding)> {
    let pool = server
        .real_servers
        .iter()
        .map(|real| (real.address, real.spec.forwarding));
    let sorry = server
        .sorry_server
        .iter()
        .map(|sorry| (sorry.address, sorry.spec.forwarding));
    pool.chain(sorry)
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

impl Host {
    fn link(&self, device: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == device)
    }

    /// Whether the address is on the device as it should be, alone.
    fn has(&self, address: IpAddr, device: &str) -> bool {
        let wanted = |held: &&HostAddress| held.device == device && held.prefix == Family::of(address).host_prefix();
        self.holding(address).any(|held| wanted(&held))
    }

    fn holding(&self, address: IpAddr) -> impl Iterator<Item = &HostAddress> {
        self.addresses.iter().filter(move |held| held.address == address)
    }

    /// A setting of one interface as a number; 0 where it is not there, as the kernel would have it.
    fn number(&self, device: &str, key: &str) -> u32 {
        let value = self.sysctls.get(&interface_sysctl("ipv4", device, key));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// What counts for an interface: the larger of `all` and its own.
    fn effective(&self, device: &str, key: &str) -> u32 {
        self.number(ALL, key).max(self.number(device, key))
    }

    fn ipv6_is_off(&self, device: &str) -> bool {
        let value = self.sysctls.get(&interface_sysctl("ipv6", device, DISABLE_IPV6));
        value.is_some_and(|value| value.trim() != "0")
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

fn has_ipv4(wanted: &Wanted) -> bool {
    wanted.vips.keys().any(IpAddr::is_ipv4)
}

/// Whether this value of `arp_ignore` keeps an interface from answering for an address of host scope on another one
/// (net/ipv4/arp.c, `arp_ignore`: 4 to 7 mean nothing, as 0 does).
fn suppresses_answers(value: u32) -> bool {
    matches!(value, 1..=3 | 8)
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

/// What is wrong with an address or the device that it goes on, whatever is on the device now.
fn address_problem(address: IpAddr, device: &str, host: &Host) -> Option<Finding> {
    let (unusable, link_local) = match address {
        IpAddr::V4(v4) => (v4.is_broadcast(), v4.is_link_local()),
        IpAddr::V6(v6) => (v6.to_ipv4_mapped().is_some(), v6.is_unicast_link_local()),
    };
    if unusable || link_local || address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Some(problem(
            address.to_string(),
            "cannot be a virtual address".to_owned(),
            "give a unicast address that clients can reach".to_owned(),
        ));
    }
    let Some(link) = host.link(device) else {
        return Some(problem(
            device.to_owned(),
            "there is no such interface on this host".to_owned(),
            "`ip link` lists those there are; --dev lo is always right".to_owned(),
        ));
    };
    if link.resolves {
        return Some(problem(
            device.to_owned(),
            format!("its neighbours can ask for {address} there and would be answered"),
            "put it on lo, a tunnel or a dummy interface (--dev lo)".to_owned(),
        ));
    }
    if address.is_ipv6() && (host.ipv6_is_off(device) || host.ipv6_is_off(ALL)) {
        return Some(problem(
            address.to_string(),
            format!("IPv6 is off on {device}"),
            format!("sysctl -w {}=0", interface_sysctl("ipv6", device, DISABLE_IPV6)),
        ));
    }
    let host_prefix = Family::of(address).host_prefix();
    let wide = host
        .holding(address)
        .find(|held| held.device == device && held.prefix != host_prefix)?;
    Some(problem(
        address.to_string(),
        format!("stands as {wide}, which makes its whole network local to this host"),
        format!(
            "ip address del {address}/{} dev {device}, then `ipvsd realserver up`",
            wide.prefix
        ),
    ))
}

fn presence(address: IpAddr, device: &str, host: &Host) -> Finding {
    let subject = address.to_string();
    let mut found = host
        .holding(address)
        .filter(|held| !held.duplicate)
        .map(|held| held.device.as_str());
    match (host.has(address, device), found.next()) {
        (true, _) => fine(subject, format!("is on {device}")),
        (false, Some(elsewhere)) => warning(
            subject,
            format!("is on {elsewhere}, not on {device}"),
            format!("`ipvsd realserver status --dev {elsewhere}` if that is meant"),
        ),
        (false, None) => problem(
            subject,
            "is not on this host, which drops what the director sends for it".to_owned(),
            "`ipvsd realserver up`".to_owned(),
        ),
    }
}

/// The address on an interface whose neighbours are answered for it.
fn exposed(address: IpAddr, host: &Host) -> Option<Finding> {
    let open = |held: &&HostAddress| host.link(&held.device).is_some_and(|link| link.resolves);
    let held = host.holding(address).find(open)?;
    Some(warning(
        address.to_string(),
        format!("is on {} too, so that its neighbours are answered for it", held.device),
        "right only while this host is the director that holds it".to_owned(),
    ))
}

fn arp_answers(link: &Link, host: &Host) -> Finding {
    let value = host.effective(&link.name, ARP_IGNORE);
    match suppresses_answers(value) {
        true => fine(
            link.name.clone(),
            format!("does not answer ARP for addresses of other interfaces (arp_ignore {value})"),
        ),
        false => problem(
            link.name.clone(),
            format!("answers ARP for the virtual addresses and draws their traffic here (arp_ignore {value})"),
            format!("sysctl -w {}=1", interface_sysctl("ipv4", ALL, ARP_IGNORE)),
        ),
    }
}

fn arp_announces(link: &Link, host: &Host) -> Finding {
    let value = host.effective(&link.name, ARP_ANNOUNCE);
    match value {
        2.. => fine(
            link.name.clone(),
            format!("does not ask in the name of other interfaces' addresses (arp_announce {value})"),
        ),
        0 | 1 => problem(
            link.name.clone(),
            format!(
                "asks its neighbours in the name of the virtual addresses, which learn them from that (arp_announce {value})"
            ),
            format!("sysctl -w {}=2", interface_sysctl("ipv4", ALL, ARP_ANNOUNCE)),
        ),
    }
}

fn tunnel(address: IpAddr, host: &Host) -> Vec<Finding> {
    let device = tunnel_device(address);
    let Some(link) = host.link(device) else {
        return vec![no_tunnel(address)];
    };
    let mut findings = vec![match link.up {
        true => fine(device.to_owned(), "is up".to_owned()),
        false => problem(
            device.to_owned(),
            "is down: what the director sends does not come out".to_owned(),
            format!("ip link set {device} up"),
        ),
    }];
    if address.is_ipv4() {
        // Loose filtering (2) still drops where the interface has no address of its own (net/ipv4/fib_frontend.c).
        let addressed = host
            .addresses
            .iter()
            .any(|held| held.device == device && held.address.is_ipv4());
        let value = host.effective(device, RP_FILTER);
        findings.push(match (value, addressed) {
            (0, _) | (2, true) => fine(
                device.to_owned(),
                format!("lets in clients' packets (rp_filter {value})"),
            ),
            _ => problem(
                device.to_owned(),
                format!("drops clients' packets, whose way back is another interface (rp_filter {value})"),
                format!(
                    "sysctl -w {}=0 {}=0",
                    interface_sysctl("ipv4", ALL, RP_FILTER),
                    interface_sysctl("ipv4", device, RP_FILTER)
                ),
            ),
        });
    }
    findings
}

fn no_tunnel(address: IpAddr) -> Finding {
    problem(
        tunnel_device(address).to_owned(),
        "there is no such interface, so nothing comes out of the director's tunnel".to_owned(),
        format!("modprobe {}", tunnel_module(address)),
    )
}

fn fine(subject: String, text: String) -> Finding {
    Finding {
        severity: Severity::Ok,
        subject,
        text,
        remedy: None,
    }
}

fn warning(subject: String, text: String, remedy: String) -> Finding {
    Finding {
        severity: Severity::Warning,
        subject,
        text,
        remedy: Some(remedy),
    }
}

fn problem(subject: String, text: String, remedy: String) -> Finding {
    Finding {
        severity: Severity::Problem,
        subject,
        text,
        remedy: Some(remedy),
    }
}

#[cfg(test)]
mod tests;
