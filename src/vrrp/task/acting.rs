//! What comes of what has happened: adverts, orders to the keeper of addresses, and news.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::{News, Shown, Task, now};
use crate::model::{Mac, VrrpAction, VrrpReason, VrrpServing, VrrpState};
use crate::vrrp::Instance;
use crate::vrrp::addresses::{Belongings, Order};
use crate::vrrp::routers::Wanted;

/// How many addresses a line names.
const NAMED: usize = 3;

impl Task {
    /// Shows what the instances are, and tells what has happened: in this order, for who is told looks.
    pub(super) fn publish(&mut self) {
        if std::mem::take(&mut self.unshown) {
            self.put_down();
        }
        for news in self.untold.drain(..) {
            (self.tell)(news);
        }
    }

    /// Tells where an instance serves, where that is another answer than before. Before it has begun nobody knows. What
    /// is being taken off is here until it is gone, also of one that has ended.
    pub(super) fn tell_serving(&mut self, name: &str) {
        let serving = self.routers.get(name).map_or(VrrpServing::Elsewhere, Instance::serving);
        let serving = match serving {
            VrrpServing::Elsewhere if self.releasing.contains_key(name) => VrrpServing::Leaving,
            VrrpServing::Here | VrrpServing::Leaving | VrrpServing::Elsewhere => serving,
        };
        let told = self.serving.get(name).copied();
        let is_known = self.voices.get(name).map_or(told.is_some(), |voice| voice.started);
        if !is_known || told == Some(serving) {
            return;
        }
        self.serving.insert(name.into(), serving);
        if !self.voices.contains_key(name) && serving == VrrpServing::Elsewhere {
            self.serving.remove(name);
        }
        let name = name.to_owned();
        self.untold.push(News::Serving { name, serving });
    }

    pub(super) fn act(&mut self, wanted: Vec<Wanted>) {
        for (name, action) in &wanted {
            if *action == VrrpAction::RemoveAddresses {
                self.releases += 1;
                self.releasing.insert(Arc::clone(name), self.releases);
            }
        }
        let mut ended = false;
        let mut stirred = false;
        let mut touched: Option<Arc<str>> = None;
        for (name, action) in wanted {
            // What is only said, or made ready, changes nothing here.
            let changes_nothing = matches!(
                action,
                VrrpAction::SendAdvert { .. } | VrrpAction::Announce { .. } | VrrpAction::Prepare
            );
            if !changes_nothing && touched.as_ref() != Some(&name) {
                self.tell_serving(&name);
                touched = Some(Arc::clone(&name));
            }
            match action {
                VrrpAction::SendAdvert { priority } => self.send(&name, priority),
                VrrpAction::Prepare => self.orders.push(Order::Prepare(name)),
                VrrpAction::AddAddresses => {
                    self.takes_over = true;
                    let has = self.routers.get(&name).map(|instance| Belongings::of(instance.spec()));
                    self.orders.push(Order::Hold(name, has.unwrap_or_default(), 0));
                }
                VrrpAction::RemoveAddresses => {
                    let order = self.releasing.get(&name).copied().unwrap_or_default();
                    self.orders.push(Order::Hold(name, Belongings::default(), order));
                }
                VrrpAction::Announce { repeat } => {
                    self.orders.push(Order::Announce(name, repeat));
                }
                VrrpAction::Changed(change) => {
                    stirred = true;
                    let priority = self.routers.get(&name).map_or(0, Instance::priority);
                    if (change.to, change.reason) == (VrrpState::Master, VrrpReason::MasterSilent) {
                        // The addresses were ordered on and announced before.
                        self.orders.push(Order::LookForOthers(Arc::clone(&name)));
                    }
                    self.untold.push(News::Changed {
                        name: name.to_string(),
                        change,
                        priority,
                    });
                }
                VrrpAction::Refused { source, why } => {
                    if let Some(count) = self.complaints.take(&name, source, &why.to_string(), now()) {
                        let text = format!("virtual router {name}: an advert from {source} has {why}");
                        self.complain(&text, count);
                    }
                }
                VrrpAction::End => {
                    ended = true;
                    // Another one of that name may begin now.
                    self.sendings.retain(|(of, _)| *of != name);
                    if self.routers.get(&name).is_none() {
                        self.voices.remove(&name);
                    }
                }
            }
        }
        self.give_orders();
        if stirred {
            self.tell_groups();
        }
        if ended {
            // Somebody may have waited for it.
            self.reconfigure();
        } else if stirred {
            self.show();
        }
    }

    /// Together, for what is ordered together is done together, and an address is announced as soon as it is there.
    pub(super) fn give_orders(&mut self) {
        if !self.orders.is_empty() {
            // Nobody is there who takes them, and that will be seen.
            let _ = self.addresses.send(std::mem::take(&mut self.orders));
        }
    }

    pub(super) fn tell_groups(&mut self) {
        for (group, from, to) in self.routers.group_changes() {
            self.untold.push(News::GroupChanged { group, from, to });
        }
    }

    /// Something that is shown may have changed.
    pub(super) fn show(&mut self) {
        self.unshown = true;
    }

    /// Puts down what the instances are, for whoever asks.
    pub(super) fn put_down(&self) {
        let shown = self.routers.instances().map(|(name, instance)| Shown {
            spec: Arc::clone(instance.spec()),
            state: instance.state(),
            priority: instance.priority(),
            master: instance.master(),
            holds: instance.holds_addresses(),
            trouble: self
                .voices
                .get(name)
                .and_then(|voice| voice.trouble.clone().or_else(|| voice.unsent.clone())),
            failing: self
                .voices
                .get(name)
                .map(|voice| voice.failing.clone())
                .unwrap_or_default(),
        });
        let shown: Vec<_> = shown.collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// That another host answers for addresses of an instance.
pub(super) fn two_answer(name: &str, addresses: &[IpAddr], device: &str, mac: Mac) -> String {
    let named = addresses.iter().take(NAMED).map(ToString::to_string);
    let mut named = named.collect::<Vec<_>>().join(", ");
    let more = addresses.len().saturating_sub(NAMED);
    if more > 0 {
        named.push_str(&format!(" and {more} more"));
    }
    let it = if addresses.len() == 1 { "it" } else { "them" };
    format!(
        "virtual router {name} has taken {named} over on {device}, and another host there still answers for {it}, {mac}: \
         neighbours that ask may be sent to either (start ipvsd on that host again, which lets go of {it}, or take {it} \
         off there)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_two_hosts_names_the_addresses_the_interface_and_the_other_one() {
        let addresses: Vec<_> = (1..=5).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let one = two_answer("VI_1", &addresses[..1], "eth0", mac);
        assert!(
            one.starts_with("virtual router VI_1 has taken 192.0.2.1 over on eth0, and another host there still answers for it, 02:00:00:00:00:09: "),
            "{one}"
        );
        let five = two_answer("VI_1", &addresses, "eth0", mac);
        assert!(
            five.contains("192.0.2.1, 192.0.2.2, 192.0.2.3 and 2 more over on eth0"),
            "{five}"
        );
        assert!(
            five.contains("answers for them, 02:") && five.contains("lets go of them"),
            "{five}"
        );
    }
}
