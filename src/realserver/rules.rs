//! Whether a host would work as a real server: findings from what was read, never reading.

use std::net::IpAddr;

use super::words::{Finding, Host, Mode, Severity, Wanted};
use crate::model::{Family, HostAddress, Link, interface_sysctl};

pub(super) const ARP_IGNORE: &str = "arp_ignore";
pub(super) const ARP_ANNOUNCE: &str = "arp_announce";
pub(super) const RP_FILTER: &str = "rp_filter";
pub(super) const DISABLE_IPV6: &str = "disable_ipv6";
pub(super) const ALL: &str = "all";

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

impl Host {
    pub(super) fn link(&self, device: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == device)
    }

    /// Whether the address is on the device as it should be, alone.
    pub(super) fn has(&self, address: IpAddr, device: &str) -> bool {
        let wanted = |held: &&HostAddress| held.device == device && held.prefix == Family::of(address).host_prefix();
        self.holding(address).any(|held| wanted(&held))
    }

    pub(super) fn holding(&self, address: IpAddr) -> impl Iterator<Item = &HostAddress> {
        self.addresses.iter().filter(move |held| held.address == address)
    }

    /// A setting of one interface as a number; 0 where it is not there, as the kernel would have it.
    pub(super) fn number(&self, device: &str, key: &str) -> u32 {
        let value = self.sysctls.get(&interface_sysctl("ipv4", device, key));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// What counts for an interface: the larger of `all` and its own.
    pub(super) fn effective(&self, device: &str, key: &str) -> u32 {
        self.number(ALL, key).max(self.number(device, key))
    }

    pub(super) fn ipv6_is_off(&self, device: &str) -> bool {
        let value = self.sysctls.get(&interface_sysctl("ipv6", device, DISABLE_IPV6));
        value.is_some_and(|value| value.trim() != "0")
    }
}

pub(super) fn has_ipv4(wanted: &Wanted) -> bool {
    wanted.vips.keys().any(IpAddr::is_ipv4)
}

/// Whether this value of `arp_ignore` keeps an interface from answering for an address of host scope on another one
/// (net/ipv4/arp.c, `arp_ignore`: 4 to 7 mean nothing, as 0 does).
pub(super) fn suppresses_answers(value: u32) -> bool {
    matches!(value, 1..=3 | 8)
}

/// What is wrong with an address or the device that it goes on, whatever is on the device now.
pub(super) fn address_problem(address: IpAddr, device: &str, host: &Host) -> Option<Finding> {
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

pub(super) fn no_tunnel(address: IpAddr) -> Finding {
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

pub(super) fn problem(subject: String, text: String, remedy: String) -> Finding {
    Finding {
        severity: Severity::Problem,
        subject,
        text,
        remedy: Some(remedy),
    }
}
