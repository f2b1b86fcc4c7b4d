//! What an administrator types to prepare a real server or a director: the measure for `ipvsd realserver`.

use std::net::IpAddr;

use anyhow::Result;

use crate::Host;

/// How a director hands packets to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forwarding {
    /// Network address translation.
    Nat,
    /// Direct routing.
    Direct,
    /// IP in IP.
    Tunnel,
}

/// Makes a host take packets for virtual addresses without answering for them on the segment.
///
/// For translation there is nothing to do: the topology's default routes lead to the director.
pub fn prepare_real_server_by_hand(host: &Host, forwarding: Forwarding, vips: &[IpAddr]) -> Result<()> {
    let tunnels: &[&str] = match forwarding {
        Forwarding::Nat => return Ok(()),
        Forwarding::Direct => &[],
        Forwarding::Tunnel => &["tunl0", "ip6tnl0"],
    };
    host.set_sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    host.set_sysctl("net/ipv4/conf/all/arp_announce", "2")?;
    let mut lines = Vec::new();
    if !tunnels.is_empty() {
        // Each module puts its device into every namespace.
        host.exec_ok(&["modprobe", "-a", "ipip", "ip6_tunnel"])?;
        host.set_sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        host.set_sysctl("net/ipv4/conf/tunl0/rp_filter", "0")?;
        lines.extend(tunnels.iter().map(|device| format!("link set {device} up")));
    }
    for vip in vips {
        lines.push(match vip {
            IpAddr::V4(vip) => format!("addr add {vip}/32 dev lo"),
            IpAddr::V6(vip) => format!("addr add {vip}/128 dev lo nodad"),
        });
    }
    host.ip(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Puts virtual addresses on a director's device and lets it forward; the table stays empty.
///
/// An IPv6 one gets no preferred lifetime, or the kernel takes it for the outer source of tunnelled packets, and the
/// real server, which has the same address, drops them.
pub fn prepare_director_by_hand(host: &Host, device: &str, vips: &[IpAddr]) -> Result<()> {
    host.set_sysctl("net/ipv4/ip_forward", "1")?;
    host.set_sysctl("net/ipv4/conf/all/send_redirects", "0")?;
    host.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    let lines: Vec<String> = vips
        .iter()
        .map(|vip| match vip {
            IpAddr::V4(vip) => format!("addr add {vip}/32 dev {device}"),
            IpAddr::V6(vip) => format!("addr add {vip}/128 dev {device} nodad preferred_lft 0"),
        })
        .collect();
    host.ip(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}
