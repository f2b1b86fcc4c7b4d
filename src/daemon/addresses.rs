//! Keeps the virtual addresses on their devices, as the director orders, beside the main loop.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;
use tracing::{error, info};

use super::task::AddressOrder;
use crate::model::VirtualAddress;
use crate::net::{self, Change, HostNetwork};

/// Carries out the latest order, again and again, until there is nobody to give one.
///
/// An address in use elsewhere is tried again with every order. The same trouble is told once.
pub(super) async fn keep(mut orders: watch::Receiver<AddressOrder>, released: impl Fn(BTreeSet<VirtualAddress>)) {
    let mut troubles = BTreeMap::new();
    let mut held = BTreeSet::new();
    while orders.changed().await.is_ok() {
        let (hold, release) = orders.borrow_and_update().clone();
        held.retain(|address| hold.contains(address));
        let network = match HostNetwork::connect() {
            Ok(network) => network,
            Err(problem) => {
                error!("cannot hold virtual addresses: {problem}");
                continue;
            }
        };
        let mut gone = BTreeSet::new();
        for vip in release {
            match net::vip::release(&network, &vip) {
                Ok(change) => {
                    if change == Change::Made {
                        info!(address = %vip.address, device = vip.device, "virtual address taken off");
                    }
                    gone.insert(vip);
                }
                Err(problem) => tell_once(&mut troubles, &vip, &problem.to_string()),
            }
        }
        if !gone.is_empty() {
            released(gone);
        }
        let present: BTreeSet<_> = match network.addresses() {
            Ok(found) => found
                .into_iter()
                .map(|on| VirtualAddress {
                    device: on.device,
                    address: on.address,
                })
                .collect(),
            Err(_) => BTreeSet::new(),
        };
        let wanted: Vec<_> = hold.difference(&(&held & &present)).cloned().collect();
        let answers = match net::vip::hold_all(&network, &wanted).await {
            Ok(answers) => answers,
            Err(problem) => {
                error!("cannot hold virtual addresses: {problem}");
                continue;
            }
        };
        for (vip, answer) in wanted.into_iter().zip(answers) {
            match answer {
                Ok(change) => {
                    let word = if change == Change::Made { "put on" } else { "found on" };
                    info!(address = %vip.address, device = vip.device, "virtual address {word} its device");
                    troubles.remove(&vip);
                    held.insert(vip);
                }
                Err(problem) => tell_once(&mut troubles, &vip, &problem.to_string()),
            }
        }
    }
}

fn tell_once(troubles: &mut BTreeMap<VirtualAddress, String>, vip: &VirtualAddress, problem: &str) {
    if troubles.insert(vip.clone(), problem.to_owned()).as_deref() != Some(problem) {
        error!(address = %vip.address, device = vip.device, "{problem}");
    }
}
