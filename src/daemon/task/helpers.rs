//! What runs beside the loop for as long as it does, and tells it.

use tokio::sync::watch::Receiver;
use tracing::warn;

use super::{AddressOrder, Message, Shell};
use crate::daemon::{addresses, presence, sync_daemons, watch};
use crate::model::Event;
use crate::net;

impl Shell {
    /// Starts them; `orders` say which addresses are to be on devices. The loop has ended where nobody listens to them
    /// any more.
    pub(super) fn start_helpers(&mut self, orders: Receiver<AddressOrder>) {
        let released = self.sender.clone();
        tokio::spawn(addresses::keep(orders, move |addresses| {
            let _ = released.send(Message::Event(Event::AddressesReleased(addresses)));
        }));
        if !self.options.observe {
            let noted = self.sender.clone();
            self.packet_filter.start(move |level, text| {
                let _ = noted.send(Message::Noted(level, text));
            });
        }
        let keeper = tokio::spawn(sync_daemons::keep(self.sync.subscribe()));
        self.sync_keeper = Some(keeper.abort_handle());
        let found = self.sender.clone();
        tokio::spawn(presence::watch(self.presence.subscribe(), move |addresses| {
            let _ = found.send(Message::Event(Event::AddressesFound(addresses)));
        }));
        let links = self.sender.clone();
        tokio::spawn(async move {
            let tell = |device, works| {
                let _ = links.send(Message::Event(Event::LinkChanged { device, works }));
            };
            if let Err(problem) = net::links::watch(tell).await {
                warn!("{problem}; servers behind one that comes back are probed again at their next interval");
            }
        });
        let stirred = self.sender.clone();
        tokio::spawn(watch::watch(self.watched.subscribe(), move || {
            let _ = stirred.send(Message::FilesStirred);
        }));
    }
}
