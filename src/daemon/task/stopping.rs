//! The end: the commands that are run then, and what is taken out of the kernel where that is asked for. Otherwise
//! everything stays as it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::{Message, Shell};
use crate::model::{Event, Owned};

/// How long the commands may take, and then what is taken out: the service manager waits for longer than for both and for
/// the virtual routers before them (`conf/systemd`).
const LIMIT: Duration = Duration::from_secs(4);

/// How often it is looked whether the commands have ended.
const AGAIN: Duration = Duration::from_millis(10);

impl Shell {
    /// Does what is to be done before the process ends.
    pub(super) async fn stop(&mut self, receiver: &mut UnboundedReceiver<Message>) {
        if self.wishlist.wishes().next().is_some() || !self.peer.words.is_empty() {
            // It is logged where it fails.
            let _ = self.save_wishes();
        }
        let _ = self.save_state();
        for action in self.director.farewell() {
            self.act(action);
        }
        // Traffic goes on through this host until another one has taken over.
        self.stop_routers(receiver).await;
        match self.options.flush_on_stop || self.flush_on_stop {
            true if !self.options.observe => self.flush(receiver).await,
            true | false => info!("stopping; the kernel's table and the virtual addresses stay as they are"),
        }
        let idle = async {
            while !self.commands.is_idle() {
                sleep(AGAIN).await;
            }
            self.notifier.settle().await;
        };
        if timeout(LIMIT, idle).await.is_err() {
            warn!(
                "commands and news that are still under way after {} s are ended",
                LIMIT.as_secs()
            );
            for untold in self.notifier.untold() {
                warn!("not told: {untold}");
            }
        }
        if self.options.keep {
            // Last of all: masters have spoken until now, and whoever finds it too old listens first.
            self.keep_spoken();
        }
    }

    /// Takes out what is ours and nothing else: addresses first, so that nobody who still sends is told that nobody is
    /// there.
    async fn flush(&mut self, receiver: &mut UnboundedReceiver<Message>) {
        info!("stopping; the services and virtual addresses of this ipvsd are taken out, as was asked for");
        let Owned { addresses, .. } = self.director.owned().clone();
        let mut left = addresses.clone();
        if !left.is_empty() {
            self.orders.send_replace((BTreeSet::new(), addresses));
            let released = async {
                while let Some(message) = receiver.recv().await {
                    if let Message::Event(Event::AddressesReleased(gone)) = message {
                        left.retain(|address| !gone.contains(address));
                    }
                    if left.is_empty() {
                        break;
                    }
                }
            };
            // What is left is told below.
            let _ = timeout(LIMIT, released).await;
        }
        for address in &left {
            error!(address = %address.address, device = address.device, "virtual address could not be taken off");
        }
        let services = match timeout(LIMIT, self.remove_services()).await {
            Ok(services) => services,
            Err(_elapsed) => {
                error!(
                    "the kernel has not answered in {} s; services may be left",
                    LIMIT.as_secs()
                );
                self.director.owned().services.clone()
            }
        };
        let owned = Owned {
            with_thresholds: services.clone(),
            destinations: self.director.owned().destinations.clone(),
            services,
            addresses: left,
        };
        if let Err(problem) = self.record.save(&owned) {
            error!("{problem:#}");
        }
    }

    /// Answers with the services that are left.
    async fn remove_services(&self) -> BTreeSet<crate::model::ServiceKey> {
        let table = match self.kernel.read_table(Arc::default(), None).await {
            Ok(table) => table.unwrap_or_default(),
            Err(problem) => {
                error!("cannot read the kernel's table, so that services are left: {problem}");
                return self.director.owned().services.clone();
            }
        };
        let outcomes = self.kernel.apply(self.director.removals(&table)).await;
        let mut left = BTreeSet::new();
        for outcome in outcomes {
            if let Err(refusal) = outcome.result {
                error!("{}", refusal.message);
                left.insert(outcome.step.service());
            }
        }
        left
    }
}
