//! Collects the facts about this host. A hand: it judges nothing.

use crate::model::HostFacts;
use crate::net::{self, HostNetwork, NetError};

/// Interfaces, addresses, and the settings that the rules ask about.
///
/// # Errors
/// Where the kernel does not tell interfaces or addresses.
pub fn facts(wanted: impl Fn(&[String]) -> Vec<String>) -> Result<HostFacts, NetError> {
    let network = HostNetwork::connect()?;
    let mut interfaces: Vec<_> = network.links()?.into_iter().map(|link| link.name).collect();
    interfaces.sort_unstable();
    let addresses = network.addresses()?.into_iter().map(|found| found.address).collect();
    let sysctls = wanted(&interfaces)
        .into_iter()
        .filter_map(|name| net::sysctl::read(&name).ok().map(|value| (name, value)))
        .collect();
    Ok(HostFacts {
        interfaces,
        addresses,
        sysctls,
    })
}
