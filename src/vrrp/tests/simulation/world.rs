//! The segment, its hosts, and what can befall them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Instant, VrrpAction, VrrpAdvert, VrrpEvent, VrrpSpec, VrrpState, VrrpSyncGroup, VrrpTracking, VrrpVersion,
};
use crate::vrrp::Routers;
use crate::vrrp::tests::{Mutation, spec_with};

/// Which world is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settings {
    /// Whatever can be configured, on a bad network.
    Any,
    /// Priorities that differ, on a network without faults.
    Calm,
}

/// What befalls whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The daemon is killed; the kernel keeps the addresses.
    Kill(usize),
    /// The host is dead.
    PowerOff(usize),
    /// The daemon is started, on a host that is switched on if it is not.
    Start(usize),
    /// The daemon ends cleanly.
    Stop(usize),
    /// The daemon is replaced by another one that knows when it spoke.
    Reexec(usize),
    StepDown(usize),
    /// The process stands still; what is sent to it meanwhile is lost or not.
    Pause(usize, Duration, bool),
    /// Nothing gets from one host to the other.
    Cut(usize, usize),
    /// Nothing gets from one half to the other.
    Partition(u32),
    LinkDown(usize),
    LinkUp(usize),
    Weight(usize, i32),
    Fault(usize, bool),
    /// Somebody takes the addresses off.
    TakeAway(usize),
    /// This many of a hundred packets are lost from now on.
    Loss(u32),
    Nothing,
}

pub(super) struct Host {
    pub(super) routers: Routers,
    pub(super) specs: Vec<Arc<VrrpSpec>>,
    pub(super) running: bool,
    pub(super) powered: bool,
    pub(super) link: bool,
    pub(super) paused_until: Option<Instant>,
    pub(super) keeps_inbox: bool,
    inbox: Vec<Packet>,
    /// When its routers want to be woken; `None` where that has to be asked again.
    next_wake: Option<Option<Instant>>,
    /// What its kernel has, by segment.
    pub(super) holds: Vec<bool>,
    pub(super) weight: i32,
    pub(super) stepped_down: bool,
    /// A process of it has ended since all was well, or its last word was lost: what it has told the neighbours is
    /// forgotten.
    pub(super) forgot: bool,
    /// When it spoke last as the master that it still is, by segment.
    pub(super) spoke: Vec<Option<Instant>>,
}

impl Host {
    pub(super) fn works(&self) -> bool {
        self.running && self.powered && self.paused_until.is_none()
    }

    pub(super) fn state(&self, segment: usize) -> VrrpState {
        let instance = self.routers.get(NAMES[segment]);
        instance.map_or(VrrpState::Initialize, |instance| instance.state())
    }

    pub(super) fn is_master(&self, segment: usize) -> bool {
        self.works() && self.state(segment) == VrrpState::Master
    }

    pub(super) fn priority(&self) -> u8 {
        self.routers.get(NAMES[0]).map_or(0, |instance| instance.priority())
    }
}

#[derive(Debug, Clone)]
struct Packet {
    from: usize,
    to: usize,
    segment: usize,
    advert: VrrpAdvert,
}

pub(super) const NAMES: [&str; 2] = ["VI_0", "VI_1"];

pub(super) struct World {
    random: fastrand::Rng,
    now: Instant,
    pub(super) hosts: Vec<Host>,
    pub(super) segments: usize,
    in_flight: BTreeMap<(Instant, u64), Packet>,
    packets: u64,
    cut: Vec<Vec<bool>>,
    loss: u32,
    pub(super) delay: Duration,
    pub(super) calm: bool,
    /// Somebody may be something else than when it was looked at last.
    pub(super) stirred: bool,
    taken_away: bool,
    mutation: Option<Mutation>,
    /// Since when nothing gets lost.
    pub(super) healthy_since: Option<Instant>,
    pub(super) rivals_since: Vec<Option<Instant>>,
    pub(super) holders_since: Vec<Option<Instant>>,
    /// To whom a neighbour beside each host sends what is for the addresses, by segment.
    pub(super) caches: Vec<Vec<Option<usize>>>,
    /// How often somebody has become master of the first segment, and when the last one did.
    pub(super) takeovers: u32,
    pub(super) last_takeover: Instant,
    /// How long nobody had the addresses of the first segment.
    pub(super) uncovered: Duration,
    pub(super) disturbed: Instant,
    history: u64,
    pub(super) wrong: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings, mutation: Option<Mutation>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let calm = settings == Settings::Calm;
        let count = if calm { 3 } else { random.usize(2..=4) };
        let segments = random.usize(1..=2);
        let version = if random.u8(..4) == 0 {
            VrrpVersion::V2
        } else {
            VrrpVersion::V3
        };
        let interval = match version {
            VrrpVersion::V2 => Duration::from_secs(random.u64(1..=2)),
            VrrpVersion::V3 => Duration::from_millis(10 * [1, 10, 100, random.u64(1..=200)][random.usize(..4)]),
        };
        let (preempt, equals) = (random.u8(..3) > 0, !calm && random.bool());
        let differ = !calm && version == VrrpVersion::V3 && random.u8(..4) == 0;
        let mut priorities = [60, 120, 180, 240];
        random.shuffle(&mut priorities);
        let specs = |number: usize, random: &mut fastrand::Rng| {
            let interval = if differ { interval * random.u32(1..=8) } else { interval };
            (0..segments)
                .map(|segment| {
                    spec_with(|spec| {
                        spec.name = NAMES[segment].to_owned();
                        spec.interface = format!("eth{segment}");
                        (spec.version, spec.advert_interval, spec.preempt) = (version, interval, preempt);
                        spec.priority = if equals { 100 } else { priorities[number] };
                    })
                })
                .collect::<Vec<_>>()
        };
        let hosts: Vec<_> = (0..count)
            .map(|number| Host {
                routers: Routers::default(),
                specs: specs(number, &mut random),
                running: false,
                powered: true,
                link: true,
                paused_until: None,
                keeps_inbox: false,
                inbox: Vec::new(),
                next_wake: None,
                holds: vec![false; segments],
                weight: 0,
                stepped_down: false,
                forgot: false,
                spoke: vec![None; segments],
            })
            .collect();
        let shortest = hosts.iter().map(|host| host.specs[0].advert_interval).min();
        let shortest = shortest.unwrap_or(interval);
        Self {
            random,
            now: Instant::after_start(Duration::from_secs(100)),
            segments,
            in_flight: BTreeMap::new(),
            packets: 0,
            cut: vec![vec![false; count]; count],
            loss: 0,
            delay: if calm { shortest / 200 } else { shortest / 10 },
            calm,
            stirred: true,
            taken_away: false,
            mutation,
            healthy_since: Some(Instant::START),
            rivals_since: vec![None; segments],
            holders_since: vec![None; segments],
            caches: vec![vec![None; count]; segments],
            takeovers: 0,
            last_takeover: Instant::START,
            uncovered: Duration::ZERO,
            disturbed: Instant::START,
            history: 0,
            wrong: None,
            hosts,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn history(&self) -> u64 {
        self.history
    }

    pub(super) fn longest_interval(&self) -> Duration {
        let intervals = self.hosts.iter().map(|host| host.specs[0].advert_interval);
        intervals.max().unwrap_or_default()
    }

    /// Long enough for everything that can follow one disturbance.
    pub(super) fn settling_time(&self) -> Duration {
        let skew = match self.hosts[0].specs[0].version {
            VrrpVersion::V2 => Duration::from_secs(1),
            VrrpVersion::V3 => Duration::ZERO,
        };
        // Addresses that are taken away again and again are put back once a second.
        let repair = if self.taken_away {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        };
        self.longest_interval() * 14 + skew * 3 + repair
    }

    /// Up to so many intervals.
    pub(super) fn some_time(&mut self, intervals: u32) -> Duration {
        self.longest_interval() * intervals * self.random.u32(0..1_000) / 1_000
    }

    pub(super) fn start_all(&mut self) {
        for number in 0..self.hosts.len() {
            self.start(number, false);
        }
    }

    fn start(&mut self, number: usize, knows: bool) {
        let segments = self.segments;
        let host = &mut self.hosts[number];
        if host.running && !knows {
            return;
        }
        let spoke: Vec<_> = (0..segments)
            .map(|segment| host.routers.get(NAMES[segment]).and_then(|instance| instance.spoke()))
            .collect();
        (host.running, host.powered, host.paused_until, host.stepped_down) = (true, true, None, false);
        host.inbox.clear();
        host.spoke = vec![None; segments];
        (host.routers, host.next_wake) = (Routers::default(), None);
        let group = VrrpSyncGroup {
            name: "VG".to_owned(),
            instances: NAMES.map(str::to_owned).to_vec(),
            notify: Default::default(),
        };
        let groups = if segments == 2 { vec![group] } else { Vec::new() };
        let new = host.routers.reconfigure(&host.specs, &groups, self.now).new;
        host.routers.set_mutation(self.mutation);
        let (weight, link, holds) = (host.weight, host.link, host.holds.clone());
        for (segment, name) in new.iter().enumerate() {
            let tracking = VrrpTracking { fault: false, weight };
            self.tell(number, name, VrrpEvent::Tracked(tracking));
            if link {
                self.tell(
                    number,
                    name,
                    VrrpEvent::InterfaceReady(super::super::host(number as u8 + 1)),
                );
            }
            let event = VrrpEvent::Started {
                addresses_found: holds[segment],
                spoke: if knows { spoke[segment] } else { None },
            };
            self.tell(number, name, event);
        }
    }

    fn tell(&mut self, number: usize, name: &str, event: VrrpEvent) {
        let host = &mut self.hosts[number];
        host.next_wake = None;
        let wanted = host.routers.handle(name, event, self.now);
        for (name, action) in wanted {
            self.act(number, &name, action);
        }
    }

    fn tell_all(&mut self, number: usize, event: &VrrpEvent) {
        if self.hosts[number].works() {
            for name in NAMES.iter().take(self.segments) {
                self.tell(number, name, event.clone());
            }
        }
    }

    fn act(&mut self, number: usize, name: &Arc<str>, action: VrrpAction) {
        self.stirred |= !matches!(
            action,
            VrrpAction::SendAdvert { .. } | VrrpAction::Announce { .. } | VrrpAction::Prepare
        );
        let segment = NAMES.iter().position(|known| **known == **name).unwrap();
        self.history = self
            .history
            .wrapping_mul(31)
            .wrapping_add(self.now.to_millis() ^ (number as u64) << 48);
        match action {
            VrrpAction::SendAdvert { priority } => self.send(number, segment, priority),
            VrrpAction::AddAddresses => self.hosts[number].holds[segment] = true,
            VrrpAction::RemoveAddresses => self.hosts[number].holds[segment] = false,
            VrrpAction::Announce { .. } => {
                let reached: Vec<_> = (0..self.hosts.len())
                    .filter(|to| self.hosts[number].link && !self.cut[number][*to])
                    .collect();
                for to in reached {
                    self.caches[segment][to] = Some(number);
                }
            }
            VrrpAction::Changed(change) => {
                self.hosts[number].spoke[segment] = match change.to {
                    VrrpState::Master => Some(self.now),
                    VrrpState::Initialize | VrrpState::Backup | VrrpState::Fault => None,
                };
                if change.to == VrrpState::Master {
                    self.hosts[number].stepped_down = false;
                    if segment == 0 {
                        self.takeovers += 1;
                        self.last_takeover = self.now;
                    }
                }
            }
            VrrpAction::Refused { why, .. } => {
                self.wrong
                    .get_or_insert_with(|| format!("an advert was refused: {why}"));
            }
            VrrpAction::Prepare => {
                if self.hosts[number].holds[segment] {
                    self.wrong
                        .get_or_insert_with(|| "it prepares for what it has".to_owned());
                }
            }
            VrrpAction::End => {}
        }
        let host = &mut self.hosts[number];
        if host.running && host.routers.instances().next().is_none() {
            (host.running, host.forgot) = (false, true);
        }
    }

    fn send(&mut self, from: usize, segment: usize, priority: u8) {
        let spec = Arc::clone(&self.hosts[from].specs[segment]);
        if priority > 1 {
            self.check_silence(from, segment);
        }
        for to in 0..self.hosts.len() {
            let lost = self.random.u32(..100) < self.loss;
            let lost = lost || !self.hosts[from].link || self.cut[from][to];
            if to == from || lost {
                // It is said once, and nobody makes up for it.
                self.hosts[from].forgot |= priority == 1 && to != from;
                continue;
            }
            let copies = if !self.calm && self.random.u8(..20) == 0 { 2 } else { 1 };
            for _ in 0..copies {
                // Only a bad network puts one before the other.
                let part = if self.calm { 1_000 } else { self.random.u32(1..=1_000) };
                let delay = self.delay * part / 1_000;
                self.packets += 1;
                let packet = Packet {
                    from,
                    to,
                    segment,
                    advert: spec.advert(priority),
                };
                self.in_flight.insert((self.now + delay, self.packets), packet);
            }
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, segment, .. } = packet;
        let host = &mut self.hosts[to];
        if !host.running || !host.powered || !host.link || self.cut[from][to] {
            return;
        }
        if host.paused_until.is_some() {
            if host.keeps_inbox {
                host.inbox.push(packet);
            }
            return;
        }
        let event = VrrpEvent::AdvertReceived {
            source: super::super::host(from as u8 + 1),
            advert: packet.advert,
        };
        self.tell(to, NAMES[segment], event);
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, duration: Duration) -> Result<(), String> {
        let end = self.now + duration;
        loop {
            let flight = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let wake = self.hosts.iter_mut().enumerate().filter_map(|(number, host)| {
                let wake = match host.paused_until {
                    Some(until) => Some(until),
                    None => *host.next_wake.get_or_insert_with(|| host.routers.next_wake()),
                };
                wake.filter(|_| host.running && host.powered).map(|wake| (wake, number))
            });
            let wake = wake.min();
            let next = flight.into_iter().chain(wake.map(|(wake, _)| wake)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.advance(next.max(self.now));
            if flight.is_some_and(|at| at <= self.now) {
                if let Some((_, packet)) = self.in_flight.pop_first() {
                    self.deliver(packet);
                }
            } else if let Some((_, number)) = wake {
                self.wake(number);
            }
            self.check_always()?;
        }
        self.advance(end);
        self.check_always()
    }

    fn wake(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        if host.paused_until.take().is_some() {
            self.stirred = true;
            let host = &self.hosts[number];
            let event = match host.link {
                true => VrrpEvent::InterfaceReady(super::super::host(number as u8 + 1)),
                false => VrrpEvent::InterfaceLost,
            };
            self.tell_all(number, &event);
        }
        let host = &mut self.hosts[number];
        // What is in the socket is read before the clock is looked at.
        let inbox = std::mem::take(&mut host.inbox);
        for packet in inbox {
            self.deliver(packet);
        }
        let host = &mut self.hosts[number];
        host.next_wake = None;
        let wanted = host.routers.pass_time(self.now);
        for (name, action) in wanted {
            self.act(number, &name, action);
        }
    }

    fn advance(&mut self, to: Instant) {
        let covered = self.hosts.iter().any(|host| host.powered && host.link && host.holds[0]);
        if !covered {
            self.uncovered += to.since(self.now);
        }
        self.now = to;
    }

    pub(super) fn carry_out(&mut self, plan: Plan) {
        self.stirred = true;
        match plan {
            Plan::Kill(number) => {
                let host = &mut self.hosts[number];
                (host.running, host.paused_until, host.forgot) = (false, None, true);
            }
            Plan::PowerOff(number) => {
                let host = &mut self.hosts[number];
                (host.running, host.powered, host.paused_until, host.forgot) = (false, false, None, true);
                host.holds.fill(false);
            }
            Plan::Start(number) => self.start(number, false),
            Plan::Reexec(number) => {
                if self.hosts[number].works() {
                    self.hosts[number].forgot = true;
                    self.start(number, true);
                }
            }
            Plan::Stop(number) => {
                if self.hosts[number].works() {
                    let host = &mut self.hosts[number];
                    host.next_wake = None;
                    let wanted = host.routers.stop(self.now);
                    for (name, action) in wanted {
                        self.act(number, &name, action);
                    }
                }
            }
            Plan::StepDown(number) => {
                if self.hosts[number].is_master(0) {
                    self.hosts[number].stepped_down = true;
                    self.tell_all(number, &VrrpEvent::StepDown);
                }
            }
            Plan::Pause(number, length, keeps_inbox) => {
                let until = self.now + length;
                let host = &mut self.hosts[number];
                if host.works() {
                    (host.paused_until, host.keeps_inbox) = (Some(until), keeps_inbox);
                }
            }
            Plan::Cut(from, to) => self.cut[from][to] = from != to,
            Plan::Partition(sides) => {
                for from in 0..self.hosts.len() {
                    for to in 0..self.hosts.len() {
                        self.cut[from][to] = (sides >> from ^ sides >> to) & 1 == 1;
                    }
                }
            }
            Plan::LinkDown(number) => {
                self.hosts[number].link = false;
                self.tell_all(number, &VrrpEvent::InterfaceLost);
            }
            Plan::LinkUp(number) => {
                self.hosts[number].link = true;
                self.tell_all(number, &VrrpEvent::InterfaceReady(super::super::host(number as u8 + 1)));
            }
            Plan::Weight(number, weight) => {
                if self.hosts[number].works() {
                    self.hosts[number].weight = weight;
                    self.tell_all(number, &VrrpEvent::Tracked(VrrpTracking { fault: false, weight }));
                }
            }
            Plan::Fault(number, fault) => {
                let weight = self.hosts[number].weight;
                self.tell_all(number, &VrrpEvent::Tracked(VrrpTracking { fault, weight }));
            }
            Plan::TakeAway(number) => {
                if self.hosts[number].works() {
                    self.taken_away = true;
                    self.hosts[number].holds.fill(false);
                    self.tell_all(number, &VrrpEvent::AddressMissing);
                }
            }
            Plan::Loss(per_cent) => self.loss = per_cent,
            Plan::Nothing => {}
        }
        let cut = self.cut.iter().flatten().any(|cut| *cut);
        self.healthy_since = match self.loss > 0 || cut {
            true => None,
            false => self.healthy_since.or(Some(self.now)),
        };
    }

    /// All that is broken works again, whoever was killed runs again, and whoever is dead stays so.
    pub(super) fn heal(&mut self) {
        self.carry_out(Plan::Loss(0));
        self.carry_out(Plan::Partition(0));
        for number in 0..self.hosts.len() {
            if self.hosts[number].paused_until.is_some() {
                self.wake(number);
            }
            self.carry_out(Plan::LinkUp(number));
            self.carry_out(Plan::Fault(number, false));
            if self.hosts[number].powered {
                self.carry_out(Plan::Start(number));
            }
        }
    }

    /// One of everything that can happen.
    pub(super) fn any_plan(&mut self) -> Plan {
        let count = self.hosts.len();
        let (number, other) = (self.random.usize(..count), self.random.usize(..count));
        match self.random.u8(..22) {
            0 => Plan::Kill(number),
            1 => Plan::PowerOff(number),
            2..=4 => Plan::Start(number),
            5 => Plan::Stop(number),
            6 => Plan::StepDown(number),
            7 | 8 => {
                let length = self.some_time(10);
                Plan::Pause(number, length, self.random.bool())
            }
            9 => Plan::Cut(number, other),
            10 => Plan::Partition(self.random.u32(..16)),
            11..=13 => Plan::Partition(0),
            14 => Plan::LinkDown(number),
            15 => Plan::LinkUp(number),
            16 => Plan::Weight(number, self.random.i32(-150..150)),
            17 => Plan::Fault(number, self.random.bool()),
            18 => Plan::TakeAway(number),
            19 => Plan::Loss(self.random.u32(..60)),
            20 => Plan::Loss(0),
            _ => Plan::Reexec(number),
        }
    }

    /// One thing that the others can deal with at once.
    pub(super) fn calm_plan(&mut self) -> Plan {
        let master = (0..self.hosts.len()).find(|number| self.hosts[*number].is_master(0));
        let Some(master) = master else { return Plan::Nothing };
        let others = |wanted: &dyn Fn(&Host) -> bool| {
            let numbers = (0..self.hosts.len()).filter(|number| wanted(&self.hosts[*number]));
            numbers.collect::<Vec<_>>()
        };
        let away = others(&|host| !host.running);
        let faulty = others(&|host| host.works() && host.state(0) == VrrpState::Fault);
        // Somebody is left to take over.
        let alone = away.len() + faulty.len() + 1 >= self.hosts.len();
        let kind = self.random.u8(..12);
        if alone || kind < 4 {
            if !away.is_empty() {
                return Plan::Start(away[self.random.usize(..away.len())]);
            }
            if !faulty.is_empty() {
                return Plan::Fault(faulty[0], false);
            }
        }
        match kind {
            0 => Plan::Reexec(master),
            1 => Plan::TakeAway(master),
            2 | 3 => Plan::Kill(master),
            4 | 5 => Plan::PowerOff(master),
            6 | 7 => Plan::Stop(master),
            8 | 9 => Plan::StepDown(master),
            _ => Plan::Fault(master, true),
        }
    }
}
