//! What can go wrong with this host's network, each with the thing, the place and the remedy.

use std::io;
use std::net::IpAddr;

use crate::model::Mac;

/// Why something about this host's network could not be done; the whole sentence, the kernel's own words included.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No such interface here.
    #[error("there is no interface {device} on this host (`ip link` lists those there are)")]
    NoSuchDevice {
        /// The name that was given.
        device: String,
    },
    /// The interface is there and down.
    #[error("interface {device} is down (`ip link set {device} up`)")]
    DeviceDown {
        /// Which.
        device: String,
    },
    /// Hosts behind this interface cannot be asked for a hardware address.
    #[error("interface {device} is no Ethernet interface: nobody can be asked or told there")]
    NotEthernet {
        /// Which.
        device: String,
    },
    /// Not allowed.
    #[error("cannot {action}: not permitted (run as root, or with {capability})")]
    NotPermitted {
        /// What was tried.
        action: String,
        /// The capability that it takes.
        capability: &'static str,
    },
    /// IPv6 is switched off on the interface.
    #[error(
        "cannot {action}: IPv6 is off on {device} (`sysctl -w net.ipv6.conf.{device}.disable_ipv6=0`; is the kernel's ipv6 module there?)"
    )]
    Ipv6Off {
        /// What was tried.
        action: String,
        /// The interface.
        device: String,
    },
    /// The kernel takes the addresses of one network on one device with one scope only.
    #[error(
        "cannot put {address} on {device}: an address of the same network there has another scope \
         (`ip address show dev {device}`; give this one the same `scope`, or another prefix)"
    )]
    OtherScope {
        /// The address with its prefix.
        address: String,
        /// The interface.
        device: String,
    },
    /// Another host answers for the address.
    #[error(
        "cannot put {address} on {device}: another host already answers for it, hardware address {holder} \
         (take the address off that host, or suppress its ARP answers if it is a real server)"
    )]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// Where it was to go.
        device: String,
        /// Who has it.
        holder: Mac,
    },
    /// Somebody else's route is where ours would go.
    #[error(
        "cannot add route {route}: somebody else's is in its place, {other} \
         (take that one out, or give ours another `metric`)"
    )]
    RouteInUse {
        /// Ours.
        route: String,
        /// The other one, with the number of who made it.
        other: String,
    },
    /// No address of this host has the route's next hop in its network.
    #[error(
        "cannot add route {route}: its next hop is in no network of this host there (`onlink = true` with `device`, if it is \
         on that link all the same)"
    )]
    NextHopNotThere {
        /// Ours.
        route: String,
    },
    /// This kernel has no macvlans.
    #[error("cannot make {device}: this kernel has no macvlan (`modprobe macvlan`; else do without `use_vmac`)")]
    NoMacvlan {
        /// What was to be made.
        device: String,
    },
    /// Somebody else's interface has the name.
    #[error(
        "cannot make {device}: there is an interface of that name that ipvsd has not made \
         (take it away with `ip link del {device}` if nobody needs it, or give the instance another name in `use_vmac`)"
    )]
    DeviceInUse {
        /// The name.
        device: String,
    },
    /// Somebody else's interface has the hardware address.
    #[error(
        "cannot make {device}: {other} on the same interface has the virtual MAC {mac} already \
         (is it of another VRRP daemon, which has to be stopped first?)"
    )]
    MacInUse {
        /// What was to be made.
        device: String,
        /// The address.
        mac: Mac,
        /// Who has it.
        other: String,
    },
    /// This kernel's packet filter cannot do it.
    #[error(
        "cannot {action}: {cause}; this kernel has no nftables for IPv4 and IPv6, which `accept = false` needs \
         (`modprobe nf_tables`; else do without it)"
    )]
    NoFilter {
        /// What was tried.
        action: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// Somebody else's table has our table's name.
    #[error(
        "cannot write the packet filter's table inet ipvsd: there is one that is not on record as ipvsd's own \
         (take it away with `nft delete table inet ipvsd` if nobody needs it)"
    )]
    FilterTableInUse,
    /// There is no such kernel setting.
    #[error("kernel setting {name} does not exist here (is its module loaded, the interface there, the name right?)")]
    NoSuchSysctl {
        /// Its dotted name.
        name: String,
    },
    /// The kernel does not take this value.
    #[error("kernel setting {name} does not take `{value}`: {cause}")]
    BadSysctlValue {
        /// Its dotted name.
        name: String,
        /// What was to be written.
        value: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The kernel said no for another reason.
    #[error("cannot {action}: {cause}")]
    Kernel {
        /// What was tried.
        action: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The kernel did not answer within the deadline.
    #[error("cannot {action}: the kernel gave no answer within {seconds} s")]
    NoAnswer {
        /// What was tried.
        action: String,
        /// The deadline.
        seconds: u64,
    },
}

impl NetError {
    /// An error of the kernel's, put into words: what was tried, on which interface, with which capability.
    pub(crate) fn from_io(cause: io::Error, action: String, device: &str, capability: &'static str) -> Self {
        use nix::libc;
        match cause.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted { action, capability },
            Some(libc::ENODEV | libc::ENXIO) => Self::NoSuchDevice {
                device: device.to_owned(),
            },
            Some(libc::ENETDOWN) => Self::DeviceDown {
                device: device.to_owned(),
            },
            _ => Self::Kernel { action, cause },
        }
    }
}
