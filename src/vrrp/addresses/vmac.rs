//! The devices with a virtual MAC: made as soon as an instance is to have one, up only while it holds its addresses,
//! put back where somebody has taken one away, and gone with their instance. One that is not on record is somebody
//! else's and is left alone.
//!
//! Down on a backup, for its interface would take frames for the virtual MAC that a switch sends everywhere. And the
//! interface below must not tell neighbours of the addresses, with its own MAC: see
//! [`settings::below`].

mod finding;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use self::finding::{Finding, is_ours, judge, of_same_mac};
use self::settings::{above, below, hindrances, write};
use super::ledger::Belongings;
use super::{AGAIN, Keeper, Report};
use crate::model::{Family, Link, VrrpDevice, VrrpSetting, VrrpSpec};
use crate::net::{Change, HostNetwork, Layer, NetError, sysctl};

/// What is known of devices.
#[derive(Default)]
pub(super) struct Devices {
    /// Why an instance cannot have its own, by the instance's name.
    obstacles: BTreeMap<String, String>,
    /// Those whose settings are right: their number, and whether they are for IPv6 too.
    settled: BTreeMap<String, (u32, bool)>,
    /// When each was put back last.
    repaired: BTreeMap<String, Instant>,
    /// Those that the kernel would not put up, until it does: whoever has such a one is not to be master meanwhile.
    unraised: BTreeSet<String>,
}

impl Devices {
    /// Their settings are looked at again, and those of the host that count above them.
    pub(super) fn look_anew(&mut self) {
        self.settled.clear();
    }
}

/// Whether a device was seen to.
#[derive(Debug, PartialEq, Eq)]
enum Looked {
    Done,
    /// It was so a moment ago, and its turn comes again.
    Later,
}

impl Keeper {
    /// Sees to the devices of all instances: those that are not there are made, those of masters are put up again; what
    /// somebody keeps taking away, once a second.
    pub(super) fn look_at_devices(&mut self) -> Result<(), NetError> {
        if self.specs.iter().all(|spec| spec.vmac.is_none()) {
            self.devices = Devices::default();
            return Ok(());
        }
        let network = self.network()?;
        let layers = network.layers()?;
        for spec in self.specs.clone() {
            let has = Belongings::of(&spec);
            let holds = self.held.get(&*spec.name).is_some_and(|held| !held.is_empty());
            match self.look_at_device(&network, &layers, &has, holds) {
                // What was wrong a moment ago still is.
                Ok(Looked::Later) => {}
                Ok(Looked::Done) => self.note_device(&spec.name, None),
                Err(problem) => self.note_device(&spec.name, Some(problem)),
            }
        }
        let specs = &self.specs;
        self.devices
            .obstacles
            .retain(|name, _| specs.iter().any(|spec| spec.name == *name && spec.vmac.is_some()));
        Ok(())
    }

    fn look_at_device(
        &mut self,
        network: &HostNetwork,
        layers: &[Layer],
        has: &Belongings,
        holds: bool,
    ) -> Result<Looked, NetError> {
        let Some(device) = &has.device else {
            return Ok(Looked::Done);
        };
        let found = judge(device, layers, &self.ledger.record.devices);
        let is_tried = self.devices.unraised.contains(&device.name);
        let lacks = matches!(found, Finding::Missing)
            || matches!(found, Finding::Ours(link) if (holds || is_tried) && !link.up);
        if lacks {
            let repaired = self.devices.repaired.get(&device.name);
            if repaired.is_some_and(|at| at.elapsed() < AGAIN) {
                self.troubled = true;
                return Ok(Looked::Later);
            }
            self.devices.repaired.insert(device.name.clone(), Instant::now());
        }
        let settled = self.devices.settled.get(&device.name).copied();
        let Some(link) = self.provide(network, layers, has, settled)?.filter(|link| !link.up) else {
            return Ok(Looked::Done);
        };
        if holds {
            self.put_up(network, &link)?;
            info!(device = link.name, "device of the virtual MAC is up again");
        } else if is_tried {
            self.put_up(network, &link)?;
            network.set_link(&link.name, false)?;
            info!(device = link.name, "device of the virtual MAC can be put up again");
        }
        Ok(Looked::Done)
    }

    fn put_up(&mut self, network: &HostNetwork, link: &Link) -> Result<(), NetError> {
        let put = network.set_link(&link.name, true);
        match put {
            Ok(_) => drop(self.devices.unraised.remove(&link.name)),
            Err(_) => {
                if self.devices.unraised.insert(link.name.clone()) {
                    // Its instance is told at once: it has begun to be master.
                    self.stirred.notify_one();
                }
            }
        }
        put.map(drop)
    }

    /// Puts the device of an instance up, for its addresses; answers with whether it can take them.
    pub(super) fn raise(
        &mut self,
        network: &HostNetwork,
        instance: &str,
        has: &Belongings,
        tell: &impl Fn(&str, Report),
    ) -> Result<bool, NetError> {
        let Some(device) = has.device.as_ref().filter(|_| !has.is_empty()) else {
            return Ok(true);
        };
        let layers = network.layers()?;
        let Some(link) = self.provide(network, &layers, has, None)? else {
            return Ok(false);
        };
        if link.up {
            return Ok(true);
        }
        // The one that the instance had under another name.
        let interface = layers.iter().find(|layer| layer.link.name == device.interface);
        for former in interface
            .into_iter()
            .flat_map(|interface| of_same_mac(device, interface, &layers))
        {
            network.set_link(&former.link.name, false)?;
        }
        self.put_up(network, &link)?;
        self.tell_voice(instance, link, tell);
        Ok(true)
    }

    /// Tells an instance of its device as soon as that is up: what it says until then goes by the interface, and the next
    /// look comes after the addresses, routes and rules.
    fn tell_voice(&mut self, instance: &str, mut link: Link, tell: &impl Fn(&str, Report)) {
        link.up = true;
        let spec = self.specs.iter().find(|spec| spec.name == instance);
        let voice = spec.and_then(|spec| voice(spec, &[link]));
        if let Some(known) = self.told.get_mut(instance)
            && voice.is_some()
            && known.voice != voice
        {
            (known.voice, known.missing) = (voice, false);
            tell(instance, Report::Facts(known.clone()));
        }
    }

    /// Puts the devices down that nobody holds addresses on any more; answers with whether all are.
    pub(super) fn lower(
        &mut self,
        network: &HostNetwork,
        gone: &[Arc<Belongings>],
        kept: &[Arc<Belongings>],
    ) -> Result<bool, NetError> {
        let gone: BTreeSet<_> = gone.iter().filter_map(|gone| gone.device.as_ref()).collect();
        let is_held = |device: &VrrpDevice| {
            let mut holders = kept.iter().filter(|kept| !kept.is_empty());
            holders.any(|kept| kept.device.as_ref().is_some_and(|held| held.name == device.name))
        };
        if gone.iter().all(|device| is_held(device)) {
            return Ok(true);
        }
        let layers = network.layers()?;
        let mut all_down = true;
        for device in gone.into_iter().filter(|device| !is_held(device)) {
            let found = layers.iter().find(|layer| layer.link.name == device.name);
            let ours = found.filter(|found| found.link.up && is_ours(found, &self.ledger.record.devices));
            let lowered = match ours {
                Some(_) => network.set_link(&device.name, false).map(drop),
                None => Ok(()),
            };
            all_down &= self.note_lowered(&device.name, lowered);
        }
        Ok(all_down)
    }

    /// Sees to it that the device of an instance is there and set right; nothing where its interface is not there.
    fn provide(
        &mut self,
        network: &HostNetwork,
        layers: &[Layer],
        has: &Belongings,
        settled: Option<(u32, bool)>,
    ) -> Result<Option<Link>, NetError> {
        let Some(device) = &has.device else { return Ok(None) };
        let link = match judge(device, layers, &self.ledger.record.devices) {
            Finding::NoInterface => return Ok(None),
            Finding::Foreign => {
                return Err(NetError::DeviceInUse {
                    device: device.name.clone(),
                });
            }
            Finding::Taken(other) => {
                return Err(NetError::MacInUse {
                    device: device.name.clone(),
                    mac: device.mac(),
                    other: other.name.clone(),
                });
            }
            Finding::Ours(link) => link.clone(),
            // It is still somebody's who has not ended yet.
            Finding::Stale(_) if self.has_another_owner(device) => return Ok(None),
            Finding::Stale(link) => {
                network.remove_link(link)?;
                info!(device = device.name, "device of another virtual MAC taken away");
                self.make(network, layers, device)?
            }
            Finding::Missing => self.make(network, layers, device)?,
        };
        let inet6 = device.family == Family::Inet6 || has.addresses.iter().any(|held| held.address.is_ipv6());
        if settled != Some((link.index, inet6)) {
            self.settle(device, inet6)?;
            self.devices.settled.insert(device.name.clone(), (link.index, inet6));
        }
        Ok(Some(link))
    }

    fn has_another_owner(&self, device: &VrrpDevice) -> bool {
        let devices = self.specs.iter().filter_map(|spec| VrrpDevice::of(spec));
        let mut others = devices.filter(|other| other.name == device.name && other != device);
        others.any(|other| self.ledger.record.devices.contains(&other))
    }

    fn make(&mut self, network: &HostNetwork, layers: &[Layer], device: &VrrpDevice) -> Result<Link, NetError> {
        let interface = layers.iter().find(|layer| layer.link.name == device.interface);
        let Some(Layer { link: interface, .. }) = interface else {
            return network.link(&device.interface);
        };
        self.ledger.change(|record| {
            record.devices.retain(|made| made.name != device.name);
            record.devices.insert(device.clone());
        });
        if let Err(problem) = network.add_macvlan(&device.name, interface, device.mac()) {
            self.ledger.change(|record| drop(record.devices.take(device)));
            return Err(problem);
        }
        info!(device = device.name, mac = %device.mac(), "device of a virtual MAC made on {}", device.interface);
        network.link(&device.name)
    }

    /// Sets what the kernel needs to be told for a device, and for the interface below it.
    fn settle(&mut self, device: &VrrpDevice, inet6: bool) -> Result<(), NetError> {
        for (name, value) in above(device, inet6, |name| sysctl::read(name).ok()) {
            write(&name, &value)?;
        }
        for (name, value) in below(device, |name| sysctl::read(name).ok()) {
            let before = sysctl::read(&name)?;
            let setting = VrrpSetting {
                interface: device.interface.clone(),
                name: name.clone(),
                before,
                set: value.clone(),
            };
            self.ledger.change(|record| {
                // What was there before the first change is what comes back.
                if record.settings.iter().all(|known| known.name != name) {
                    record.settings.insert(setting);
                }
            });
            write(&name, &value)?;
        }
        for name in hindrances(|name| sysctl::read(name).ok()) {
            warn!(
                "{name} keeps hosts from asking for the addresses on {} (set it to 0)",
                device.name
            );
        }
        Ok(())
    }

    /// Takes away devices that nobody wants any more, and puts back what was set below them.
    pub(super) fn take_away(
        &mut self,
        network: &HostNetwork,
        devices: BTreeSet<VrrpDevice>,
        settings: BTreeSet<VrrpSetting>,
    ) -> Result<(), NetError> {
        let layers = network.layers()?;
        for device in devices {
            let found = layers.iter().find(|layer| layer.link.name == device.name);
            if let Some(found) = found.filter(|found| is_ours(found, &BTreeSet::from([device.clone()])))
                && network.remove_link(&found.link)? == Change::Made
            {
                info!(device = device.name, "device of a virtual MAC taken away");
            }
            self.devices.settled.remove(&device.name);
            self.devices.unraised.remove(&device.name);
            self.ledger.change(|record| drop(record.devices.take(&device)));
        }
        for setting in settings {
            if sysctl::read(&setting.name).is_ok_and(|value| value == setting.set) {
                sysctl::write(&setting.name, &setting.before)?;
            }
            self.ledger.change(|record| drop(record.settings.take(&setting)));
        }
        Ok(())
    }

    /// Why an instance cannot have its device.
    pub(super) fn obstacle(&self, spec: &VrrpSpec) -> Option<String> {
        self.devices.obstacles.get(&spec.name).cloned()
    }

    fn note_device(&mut self, instance: &str, problem: Option<NetError>) {
        match problem {
            None => drop(self.devices.obstacles.remove(instance)),
            Some(problem) => {
                self.troubled = true;
                self.devices.obstacles.insert(instance.to_owned(), problem.to_string());
            }
        }
    }
}

/// The device that adverts go out by: one that is up, where they are to.
pub(super) fn voice(spec: &VrrpSpec, links: &[Link]) -> Option<(String, u32)> {
    let vmac = spec.vmac.as_ref().filter(|vmac| vmac.transmits)?;
    let link = links.iter().find(|link| link.name == vmac.device && link.up)?;
    Some((link.name.clone(), link.index))
}

/// Whether a process before this one has left the device of an instance up.
pub(super) fn is_up(spec: &VrrpSpec, links: &[Link], record: &BTreeSet<VrrpDevice>) -> bool {
    let up = |device: &VrrpDevice| links.iter().any(|link| link.name == device.name && link.up);
    VrrpDevice::of(spec).is_some_and(|device| record.contains(&device) && up(&device))
}
