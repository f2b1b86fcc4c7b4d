//! A director's virtual address: asked for, put on its device, announced; and let go again.

use super::neighbour::{self, Burst, ProbeTiming};
use super::{AddOptions, Change, HostNetwork, NetError};
use crate::model::VirtualAddress;

/// Puts a virtual address on its device: a duplicate-address probe, then the address as /32 or /128 of global scope,
/// then an announcement to the neighbours.
///
/// An address that is on the device already is only announced again. On a device without neighbours (a loopback, a
/// tunnel) nobody is asked or told. Takes half a second where nobody answers.
///
/// # Errors
/// [`NetError::AddressInUse`] where another host answers (nothing was changed; try again later), else as
/// [`HostNetwork::add_address`] and [`neighbour::probe`].
pub async fn hold(network: &HostNetwork, vip: &VirtualAddress) -> Result<Change, NetError> {
    let link = network.link(&vip.device).await?;
    let held = network.addresses().await?;
    let here = held
        .iter()
        .any(|held| held.address == vip.address && held.device == vip.device);
    if link.resolves
        && !here
        && let Some(holder) = neighbour::probe(&vip.device, vip.address, ProbeTiming::QUICK).await?
    {
        return Err(NetError::AddressInUse {
            address: vip.address,
            device: vip.device.clone(),
            holder,
        });
    }
    let change = if here {
        Change::AlreadySo
    } else {
        network.add_address(vip, &AddOptions::director()).await?
    };
    if link.resolves {
        neighbour::announce(&vip.device, vip.address, Burst::SHORT).await?;
    }
    Ok(change)
}

/// Takes a virtual address off its device; nothing to do where it is gone.
///
/// # Errors
/// As [`HostNetwork::remove_address`].
pub async fn release(network: &HostNetwork, vip: &VirtualAddress) -> Result<Change, NetError> {
    network.remove_address(vip).await
}
