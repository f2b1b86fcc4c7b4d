//! Which addresses are on this host, for pools that are probed only where an address of theirs is (`ha_suspend`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::net::HostNetwork;

/// How often the addresses are looked at. Whoever takes an address over is probed for after at most this long.
const INTERVAL: Duration = Duration::from_millis(500);

/// The addresses on this host's interfaces.
pub(super) fn addresses() -> anyhow::Result<BTreeSet<IpAddr>> {
    let network = HostNetwork::connect()?;
    Ok(network.addresses()?.into_iter().map(|on| on.address).collect())
}

/// Tells of this host's addresses whenever they have changed, while `wanted` says so, until there is nobody to say it.
pub(super) async fn watch(mut wanted: watch::Receiver<bool>, tell: impl Fn(BTreeSet<IpAddr>)) {
    let mut told = None;
    let mut troubled = false;
    loop {
        if !*wanted.borrow_and_update() {
            told = None;
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        match addresses() {
            Ok(found) => {
                troubled = false;
                if told.as_ref() != Some(&found) {
                    tell(found.clone());
                    told = Some(found);
                }
            }
            Err(problem) if !troubled => {
                troubled = true;
                warn!("cannot look at this host's addresses, checks stay as they are: {problem:#}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
        if wanted.has_changed().is_err() {
            return;
        }
    }
}
