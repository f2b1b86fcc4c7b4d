//! All virtual routers of this host: who is told what, and what their groups make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Instance;
use super::sync_group::{self, Member};
use crate::model::{Family, Instant, VrrpAction, VrrpEvent, VrrpGroupOrder, VrrpSpec, VrrpState, VrrpSyncGroup};

/// What an instance wants done.
pub type Wanted = (Arc<str>, VrrpAction);

/// What tells one virtual router from another on the wire: its interface, its family and its number.
pub type Key = (String, Family, u8);

/// The instances of this host and their groups.
#[derive(Debug, Default)]
pub struct Routers {
    instances: BTreeMap<Arc<str>, Kept>,
    /// When each wants to be told of the time, the first one first.
    wakes: BTreeSet<(Instant, Arc<str>)>,
    groups: Vec<VrrpSyncGroup>,
    /// Those that have left the configuration and of whose end nobody was told yet.
    former_groups: Vec<VrrpSyncGroup>,
    /// What each group was told to be last.
    group_states: BTreeMap<String, VrrpState>,
    /// Those that are over as soon as they have ended.
    ending: BTreeSet<Arc<str>>,
    by_key: BTreeMap<Key, Arc<str>>,
}

/// An instance.
#[derive(Debug)]
struct Kept {
    name: Arc<str>,
    instance: Instance,
    /// The place that it has among the wakes.
    wake: Option<Instant>,
}

impl Kept {
    /// To be called after whatever may have changed what it waits for.
    fn note_wake(&mut self, wakes: &mut BTreeSet<(Instant, Arc<str>)>) {
        let wake = self.instance.next_wake();
        if self.wake == wake {
            return;
        }
        if let Some(before) = std::mem::replace(&mut self.wake, wake) {
            wakes.remove(&(before, Arc::clone(&self.name)));
        }
        if let Some(wake) = wake {
            wakes.insert((wake, Arc::clone(&self.name)));
        }
    }
}

/// What a new configuration makes of the instances.
#[derive(Debug, Default)]
pub struct Reconfigured {
    /// Those that are new and have to be started once their interface was looked at.
    pub new: Vec<Arc<str>>,
    /// What the others want done.
    pub wanted: Vec<Wanted>,
}

impl Routers {
    /// Takes over a configuration: what is as it was is not disturbed, what is gone leaves cleanly.
    ///
    /// An instance whose interface, family, number or version is another one ends and begins anew: until it has ended,
    /// the new one waits (it is in neither list; [`Routers::reconfigure`] is to be called again after
    /// [`VrrpAction::End`]).
    pub fn reconfigure(&mut self, specs: &[Arc<VrrpSpec>], groups: &[VrrpSyncGroup], now: Instant) -> Reconfigured {
        let mut outcome = Reconfigured::default();
        let mut told = Vec::new();
        let before = std::mem::replace(&mut self.groups, groups.to_vec());
        self.former_groups.extend(before);
        // One that is back is what it was.
        self.former_groups
            .retain(|former| groups.iter().all(|group| group.name != former.name));
        let slowest = |name: &str| {
            let group = groups
                .iter()
                .find(|group| group.instances.iter().any(|of| of == name))?;
            let members = specs.iter().filter(|spec| group.instances.contains(&spec.name));
            Some(members.map(|spec| spec.advert_interval).max().unwrap_or_default())
        };
        for (name, Kept { instance, .. }) in &mut self.instances {
            let wanted = specs.iter().find(|spec| spec.name == **name);
            let stays =
                wanted.filter(|spec| key(spec) == key(instance.spec()) && spec.version == instance.spec().version);
            match stays {
                Some(spec) if !self.ending.contains(name) => {
                    if instance.set_grouped(slowest(name)) {
                        told.push((Arc::clone(name), VrrpEvent::Group(VrrpGroupOrder::FaultCleared)));
                    }
                    if spec != instance.spec() {
                        told.push((Arc::clone(name), VrrpEvent::SpecChanged(Arc::clone(spec))));
                    }
                }
                Some(_) | None => {
                    if self.ending.insert(Arc::clone(name)) {
                        told.push((Arc::clone(name), VrrpEvent::Stopped));
                    }
                }
            }
        }
        for spec in specs {
            let (name, key) = (Arc::<str>::from(&*spec.name), key(spec));
            if self.instances.contains_key(&name) || self.by_key.contains_key(&key) {
                continue;
            }
            let instance = Instance::new(Arc::clone(spec), slowest(&spec.name));
            let kept = Kept {
                name: Arc::clone(&name),
                instance,
                wake: None,
            };
            self.instances.insert(Arc::clone(&name), kept);
            self.by_key.insert(key, Arc::clone(&name));
            outcome.new.push(name);
        }
        for (name, event) in told {
            outcome.wanted.extend(self.handle(&name, event, now));
        }
        // Who has left a group may be whom the others waited for.
        let firsts: Vec<_> = groups.iter().filter_map(|group| group.instances.first()).collect();
        for name in firsts {
            self.consult_group_of(name, now, &mut outcome.wanted);
        }
        self.bury(&outcome.wanted);
        outcome
    }

    /// Tells one instance what has happened, and its group what came of it.
    pub fn handle(&mut self, name: &str, event: VrrpEvent, now: Instant) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        self.tell(name, event, now, &mut wanted);
        if !self.groups.is_empty() {
            self.consult_group_of(name, now, &mut wanted);
        }
        self.bury(&wanted);
        wanted
    }

    /// Tells everybody whose time has come.
    pub fn pass_time(&mut self, now: Instant) -> Vec<Wanted> {
        let due = self.wakes.iter().take_while(|(wake, _)| *wake <= now);
        let due: Vec<_> = due.map(|(_, name)| Arc::clone(name)).collect();
        let mut wanted = Vec::new();
        for name in due {
            wanted.extend(self.handle(&name, VrrpEvent::TimeReached, now));
        }
        wanted
    }

    /// Ends all of them; each is over with its [`VrrpAction::End`].
    pub fn stop(&mut self, now: Instant) -> Vec<Wanted> {
        let names: Vec<_> = self.instances.keys().cloned().collect();
        let mut wanted = Vec::new();
        for name in &names {
            self.tell(name, VrrpEvent::Stopped, now, &mut wanted);
        }
        self.ending.extend(names);
        self.bury(&wanted);
        wanted
    }

    /// The groups that are something else than when this was asked last, what they were and what they are. One that has
    /// left the configuration is nothing any more once those of its instances have ended that have left with it.
    pub fn group_changes(&mut self) -> Vec<(VrrpSyncGroup, VrrpState, VrrpState)> {
        let mut changes = Vec::new();
        let mut states = BTreeMap::new();
        let still_ends = |group: &VrrpSyncGroup| group.instances.iter().any(|name| self.ending.contains(&**name));
        let former = std::mem::take(&mut self.former_groups);
        let (leaving, gone): (Vec<_>, Vec<_>) = former.into_iter().partition(still_ends);
        for group in gone {
            match self.group_states.get(&group.name) {
                None | Some(VrrpState::Initialize) => {}
                Some(before) => changes.push((group, *before, VrrpState::Initialize)),
            }
        }
        for group in &leaving {
            let known = self.group_states.get(&group.name);
            states.extend(known.map(|before| (group.name.clone(), *before)));
        }
        self.former_groups = leaving;
        for group in &self.groups {
            let members = group.instances.iter().map(|name| self.member(name).state);
            let state = sync_group::state(members);
            let before = self.group_states.get(&group.name).copied();
            let before = before.unwrap_or(VrrpState::Initialize);
            if before != state {
                changes.push((group.clone(), before, state));
            }
            states.insert(group.name.clone(), state);
        }
        self.group_states = states;
        changes
    }

    /// When somebody wants to be told that time has passed.
    pub fn next_wake(&self) -> Option<Instant> {
        let first = self.wakes.first().map(|(wake, _)| *wake);
        debug_assert_eq!(
            first,
            self.instances().filter_map(|(_, instance)| instance.next_wake()).min()
        );
        first
    }

    /// The instances by their names.
    pub fn instances(&self) -> impl Iterator<Item = (&Arc<str>, &Instance)> {
        self.instances.iter().map(|(name, kept)| (name, &kept.instance))
    }

    /// The instance of this name.
    pub fn get(&self, name: &str) -> Option<&Instance> {
        self.instances.get(name).map(|kept| &kept.instance)
    }

    /// The instance that speaks for a virtual router on an interface.
    pub fn find(&self, interface: &str, family: Family, virtual_router_id: u8) -> Option<&Arc<str>> {
        self.by_key.get(&(interface.to_owned(), family, virtual_router_id))
    }

    /// The instances that step down where this one does: its group, else itself.
    pub fn together_with(&self, name: &str) -> Vec<Arc<str>> {
        let group = self
            .groups
            .iter()
            .find(|group| group.instances.iter().any(|of| of == name));
        let names = group.map_or_else(|| vec![name.to_owned()], |group| group.instances.clone());
        names
            .iter()
            .filter_map(|name| self.instances.get_key_value(name.as_str()))
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// Lets all instances make a mistake, for the simulation that has to catch it.
    #[cfg(test)]
    pub(super) fn set_mutation(&mut self, mutation: Option<super::tests::Mutation>) {
        for kept in self.instances.values_mut() {
            kept.instance.mutation = mutation;
            kept.note_wake(&mut self.wakes);
        }
    }

    fn tell(&mut self, name: &str, event: VrrpEvent, now: Instant, wanted: &mut Vec<Wanted>) {
        let Some(kept) = self.instances.get_mut(name) else {
            return;
        };
        let actions = kept.instance.handle(event, now);
        kept.note_wake(&mut self.wakes);
        wanted.extend(actions.into_iter().map(|action| (Arc::clone(&kept.name), action)));
    }

    fn consult_group_of(&mut self, name: &str, now: Instant, wanted: &mut Vec<Wanted>) {
        let Some(group) = self
            .groups
            .iter()
            .find(|group| group.instances.iter().any(|of| of == name))
        else {
            return;
        };
        let names = group.instances.clone();
        // Each round settles something: a fault, a mastership, an end of one.
        for _ in 0..=names.len() {
            let members: Vec<_> = names.iter().map(|name| self.member(name)).collect();
            let orders = sync_group::orders(&members);
            if orders.is_empty() {
                return;
            }
            for (place, order) in orders {
                if let Some(name) = names.get(place) {
                    self.tell(name, VrrpEvent::Group(order), now, wanted);
                }
            }
        }
    }

    fn member(&self, name: &str) -> Member {
        let absent = Member {
            state: VrrpState::Initialize,
            claims: false,
            yields: false,
            faulty: false,
            held: false,
        };
        self.get(name).map_or(absent, |instance| Member {
            state: instance.state(),
            claims: instance.claims(),
            yields: instance.yields(),
            faulty: instance.is_faulty(),
            held: instance.is_held_by_group(),
        })
    }

    /// Forgets those that have ended.
    fn bury(&mut self, wanted: &[Wanted]) {
        let ended = wanted.iter().filter(|(_, action)| *action == VrrpAction::End);
        for (name, _) in ended {
            if self.ending.remove(name)
                && let Some(kept) = self.instances.remove(name)
            {
                self.by_key.remove(&key(kept.instance.spec()));
                if let Some(wake) = kept.wake {
                    self.wakes.remove(&(wake, kept.name));
                }
            }
        }
    }
}

fn key(spec: &VrrpSpec) -> Key {
    (spec.interface.clone(), spec.family, spec.virtual_router_id)
}
