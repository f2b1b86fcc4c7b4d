//! Kernel modules: which are there, and a way to have a tunnel's loaded.

use std::fs;

/// Whether a module is loaded or built into the kernel, as far as the kernel shows it.
///
/// A built-in module without parameters shows itself nowhere: `false` is no proof that its function is missing.
pub fn is_present(name: &str) -> bool {
    // The kernel writes `_` where file names may have `-`.
    let name = name.replace('-', "_");
    if name.contains(['/', '.']) {
        return false;
    }
    let listed = || {
        let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
        modules
            .lines()
            .any(|line| line.split(' ').next() == Some(name.as_str()))
    };
    fs::exists(format!("/sys/module/{name}")).unwrap_or(false) || listed()
}

/// Asks the kernel for an interface by name and says whether it is there now.
///
/// Where it is not and the caller may load modules, the kernel runs modprobe for `netdev-NAME` by itself
/// (net/core/dev_ioctl.c): this is how `tunl0` and `ip6tnl0` come to be without a program being started here.
pub fn summon_device(device: &str) -> bool {
    nix::net::if_::if_nametoindex(device).is_ok()
}

/// Says whether this kernel has IPv6; where it is a module, opening a socket has the kernel load it.
pub fn summon_ipv6() -> bool {
    socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_module_has_a_path_for_a_name() {
        assert!(!is_present("../kernel"));
        assert!(!is_present("no_such_module_anywhere"));
    }

    #[test]
    fn the_loopback_is_always_there() {
        assert!(summon_device("lo"));
    }
}
