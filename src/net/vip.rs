//! A director's virtual addresses: asked for, put on their devices, announced; and let go again.
//!
//! An IPv6 one is added as deprecated: the kernel must not take it for the source of what the director itself sends.
//! A real server drops tunnelled packets that come from its own address, and its answers to a check would not get out.

use futures_util::StreamExt;

use super::neighbour::{self, Burst, ProbeTiming};
use super::{AddOptions, Change, HostNetwork, NetError};
use crate::model::{HostAddress, Link, VirtualAddress};

/// How many addresses are asked for at the same time; each costs a socket.
const AT_ONCE: usize = 64;

/// Puts a virtual address on its device: a duplicate-address probe, then the address as /32 or /128 of global scope,
/// then an announcement to the neighbours.
///
/// An address that is on the device already is only announced again. On a device without neighbours (a loopback, a
/// tunnel) nobody is asked or told. Takes less than a second where nobody answers.
///
/// # Errors
/// [`NetError::AddressInUse`] where another host answers (nothing was changed; try again later), else as
/// [`HostNetwork::add_address`] and [`neighbour::probe`].
pub async fn hold(network: &HostNetwork, vip: &VirtualAddress) -> Result<Change, NetError> {
    let host = network.survey()?;
    hold_one(network, vip, &host.links, &host.addresses).await
}

/// Does as [`hold`] for many, 64 at a time and with one look at the host; the answers are in the order of the
/// addresses.
///
/// # Errors
/// Where the host cannot be read; what becomes of one address is its own answer.
pub async fn hold_all(
    network: &HostNetwork,
    vips: &[VirtualAddress],
) -> Result<Vec<Result<Change, NetError>>, NetError> {
    let host = network.survey()?;
    let (links, held) = (&host.links, &host.addresses);
    let tries = futures_util::stream::iter(vips.to_vec())
        .map(|vip| async move { hold_one(network, &vip, links, held).await })
        .buffered(AT_ONCE);
    Ok(tries.collect().await)
}

async fn hold_one(
    network: &HostNetwork,
    vip: &VirtualAddress,
    links: &[Link],
    held: &[HostAddress],
) -> Result<Change, NetError> {
    let VirtualAddress { device, address } = vip;
    let Some(link) = links.iter().find(|link| link.name == *device) else {
        return Err(NetError::NoSuchDevice { device: device.clone() });
    };
    let here = held
        .iter()
        .any(|held| held.address == *address && held.device == *device);
    if link.resolves
        && !here
        && let Some(holder) = neighbour::probe(device, *address, ProbeTiming::QUICK).await?
    {
        return Err(NetError::AddressInUse {
            address: *address,
            device: device.clone(),
            holder,
        });
    }
    let change = match here {
        true => Change::AlreadySo,
        false => network.add_address(vip, &AddOptions::director())?,
    };
    if link.resolves {
        neighbour::announce(device, *address, Burst::SHORT).await?;
    }
    Ok(change)
}

/// Takes a virtual address off its device; nothing to do where it is gone.
///
/// # Errors
/// As [`HostNetwork::remove_address`].
pub fn release(network: &HostNetwork, vip: &VirtualAddress) -> Result<Change, NetError> {
    network.remove_address(vip)
}
