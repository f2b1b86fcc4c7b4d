//! The sockets of the instances: opened when their interface works, heard and spoken through.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::{AGAIN, News, Task, now};
use crate::model::{Family, Instant, VrrpEvent, VrrpSpec, VrrpState};
use crate::net::NetError;
use crate::vrrp::addresses::Facts;
use crate::vrrp::packet::{self, Envelope};
use crate::vrrp::socket::{Listener, Received, Speaker, Speakers, group};

/// Packets of one socket that are read before the others' turn.
const AT_ONCE: usize = 64;
/// Turns that each socket has until time passes: what waits after a stall of this thread is read whole, and a flood does
/// not keep it from speaking.
const TURNS: usize = 32;

impl Task {
    pub(super) fn open_all(&mut self) {
        let silent: Vec<_> = self
            .voices
            .iter()
            .filter(|(_, voice)| voice.speaker.is_none() && voice.started)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in silent {
            self.open(&name);
        }
        let listens = |interface: &str, family| {
            self.routers.instances().any(|(name, instance)| {
                let speaks = self.voices.get(name).is_some_and(|voice| voice.speaker.is_some());
                speaks && instance.spec().interface == interface && instance.spec().family == family
            })
        };
        let gone: Vec<_> = self
            .listeners
            .keys()
            .filter(|(interface, family)| !listens(interface, *family))
            .cloned()
            .collect();
        for key in gone {
            self.listeners.remove(&key);
        }
    }

    /// Opens the sockets of an instance if its interface works, and tells it.
    pub(super) fn open(&mut self, name: &Arc<str>) {
        let Some(spec) = self.routers.get(name).map(|instance| Arc::clone(instance.spec())) else {
            return;
        };
        let waits_for = self
            .waits_for(&spec)
            .map(|what| format!("nothing is known of {what} yet"));
        let Some(voice) = self.voices.get_mut(name) else { return };
        voice.spec = Some(Arc::clone(&spec));
        // What a dead daemon has left may be another master's by now: then it has to listen at once.
        if let Some(unknown) = waits_for.filter(|_| !voice.started && !voice.facts.found) {
            voice.trouble = Some(unknown);
            return self.show();
        }
        // A source that is given may come from the configuration that was before.
        let source = voice
            .facts
            .source
            .filter(|(source, _)| spec.source.is_none_or(|wanted| wanted == *source));
        let opened = match (&voice.facts.obstacle, source) {
            (Some(obstacle), _) => Err(obstacle.clone()),
            (None, None) => Err(match spec.source {
                Some(source) => format!("interface {} does not work, or {source} is not here", spec.interface),
                None => format!("interface {} is not there, is down or has no address", spec.interface),
            }),
            (None, Some((source, index))) => {
                let opened = listen(&spec, index, &mut self.listeners);
                let opened = opened.and_then(|()| speaker(&spec, source, index, &voice.facts, &mut self.speakers));
                opened.map_err(|problem| {
                    self.retry = Some(now() + AGAIN);
                    problem.to_string()
                })
            }
        };
        let first = !voice.started;
        let found = voice.facts.found;
        let event = match opened {
            Ok(speaker) => {
                voice.speaker = Some(speaker);
                voice.trouble = None;
                source.map(|(source, _)| VrrpEvent::InterfaceReady(source))
            }
            Err(trouble) => {
                voice.speaker = None;
                if voice.trouble.as_ref() != Some(&trouble) {
                    self.untold
                        .push(News::Warning(format!("virtual router {name} waits: {trouble}")));
                    voice.trouble = Some(trouble);
                }
                Some(match voice.facts.obstacle.is_some() && source.is_some() {
                    true => VrrpEvent::DeviceLost,
                    false => VrrpEvent::InterfaceLost,
                })
            }
        };
        if let Some(event) = event {
            self.happen(name, event);
        }
        if first {
            // Nobody was told anything of one that had not begun: what is found here counts first.
            if let Some(voice) = self.voices.get_mut(name) {
                voice.started = true;
            }
            let spoke = self.spoken.remove(&**name);
            let event = VrrpEvent::Started {
                addresses_found: found,
                spoke: spoke.map(|millis| Instant::after_start(Duration::from_millis(millis))),
            };
            self.happen(name, event);
        }
        self.show();
    }

    /// Lets an instance speak by its device that has come up, or by its interface again.
    pub(super) fn change_voice(&mut self, name: &Arc<str>) {
        let Some(voice) = self.voices.get_mut(name) else { return };
        let (Some(spec), Some((source, index)), Some(_)) = (&voice.spec, voice.facts.source, &voice.speaker) else {
            return;
        };
        let Ok(speaker) = speaker(spec, source, index, &voice.facts, &mut self.speakers) else {
            // By a device that is down nothing goes out; otherwise it goes on as before.
            if voice.facts.voice.is_none() {
                voice.speaker = None;
                self.retry = Some(now() + AGAIN);
            }
            return;
        };
        voice.speaker = Some(speaker);
        // What a new master has said before its device was up has taught switches nothing.
        if voice.facts.voice.is_some()
            && let Some(instance) = self.routers.get(name)
            && instance.state() == VrrpState::Master
        {
            let priority = instance.priority();
            self.send(name, priority);
        }
    }

    /// Reads what has come in.
    pub(super) fn listen(&mut self, buffer: &mut [u8]) {
        let mut waiting: Vec<_> = self.listeners.keys().cloned().collect();
        for _ in 0..TURNS {
            waiting.retain(|key| self.listen_to(key, buffer));
            if waiting.is_empty() {
                break;
            }
        }
    }

    /// Answers with whether there may be more.
    fn listen_to(&mut self, key: &(String, Family), buffer: &mut [u8]) -> bool {
        for _ in 0..AT_ONCE {
            let Some((_, listener)) = self.listeners.get(key) else {
                return false;
            };
            match listener.receive(buffer) {
                Ok(Received::Nothing) => return false,
                Ok(Received::Broken(error)) => debug!("a packet on {}: {error}", key.0),
                Ok(Received::Packet(envelope, bytes)) => self.read(key, &envelope, bytes),
                Err(problem) => {
                    debug!("cannot listen on {}: {problem}", key.0);
                    return false;
                }
            }
        }
        true
    }

    fn read(&mut self, (interface, family): &(String, Family), envelope: &Envelope, bytes: &[u8]) {
        let advert = match packet::decode(bytes, envelope) {
            Ok(advert) => advert,
            Err(error) => {
                let Envelope { source, .. } = envelope;
                if let Some(count) = self.complaints.take(interface, *source, &error.to_string(), now()) {
                    let text = format!("a packet from {source} on {interface} is no advert: {error}");
                    self.complain(&text, count);
                }
                return;
            }
        };
        let Some(name) = self
            .routers
            .find(interface, *family, advert.virtual_router_id)
            .map(Arc::clone)
        else {
            return;
        };
        let event = VrrpEvent::AdvertReceived {
            source: envelope.source,
            advert,
        };
        self.happen(&name, event);
    }

    pub(super) fn complain(&mut self, text: &str, count: u64) {
        let again = match count {
            1 => String::new(),
            count => format!(" ({count} times)"),
        };
        self.untold.push(News::Warning(format!("{text}{again}")));
    }

    pub(super) fn send(&mut self, name: &Arc<str>, priority: u8) {
        let Some(voice) = self.voices.get(name) else { return };
        let Some((source, index)) = voice.facts.source else {
            return;
        };
        let Some(spec) = voice.spec.clone() else { return };
        let advert = spec.advert(priority);
        let everybody = [group(spec.family)];
        let destinations = if spec.peers.is_empty() {
            &everybody[..]
        } else {
            &spec.peers[..]
        };
        // Its device may be gone, or down with the addresses, and there is a last word to say.
        let speakers = &mut self.speakers;
        let mut by_interface = || {
            let without = Facts {
                voice: None,
                ..voice.facts.clone()
            };
            speaker(&spec, source, index, &without, speakers)
        };
        let own = match &voice.speaker {
            Some(_) => None,
            None if voice.facts.obstacle.is_some() => by_interface().ok(),
            None => None,
        };
        let Some(by) = voice.speaker.as_ref().or(own.as_ref()) else {
            return;
        };
        let mut problems = Vec::new();
        for destination in destinations {
            let bytes = packet::encode(&advert, source, *destination, spec.checksum);
            let mut sent = by.send(&bytes, *destination);
            if sent.is_err()
                && voice.facts.voice.is_some()
                && let Ok(by_interface) = by_interface()
            {
                sent = by_interface.send(&bytes, *destination);
            }
            if let Err(problem) = sent {
                problems.push((
                    *destination,
                    format!("cannot send an advert to {destination}: {problem}"),
                ));
            }
        }
        let (was_unsent, was_mute) = (voice.unsent.clone(), voice.is_mute);
        for (destination, what) in &problems {
            if let Some(count) = self.complaints.take(name, *destination, what, now()) {
                self.complain(&format!("virtual router {name} {what}"), count);
            }
        }
        // Whoever is heard by one of them is heard.
        let is_mute = problems.len() == destinations.len();
        let unsent = problems.pop().map(|(_, what)| what);
        let changes = unsent != was_unsent || is_mute != was_mute;
        if let Some(voice) = self.voices.get_mut(name).filter(|_| changes) {
            match (was_mute, is_mute) {
                (false, true) => self.sendings.push((Arc::clone(name), VrrpEvent::Unsent)),
                (true, false) => self.sendings.push((Arc::clone(name), VrrpEvent::SentAgain)),
                (false, false) | (true, true) => {}
            }
            (voice.unsent, voice.is_mute) = (unsent, is_mute);
            self.show();
        }
    }
}

/// Listens on the interface of an instance.
fn listen(
    spec: &VrrpSpec,
    index: u32,
    listeners: &mut BTreeMap<(String, Family), (u32, Listener)>,
) -> Result<(), NetError> {
    let key = (spec.interface.clone(), spec.family);
    if listeners.get(&key).is_none_or(|(number, _)| *number != index) {
        listeners.insert(key, (index, Listener::open(&spec.interface, index, spec.family)?));
    }
    Ok(())
}

/// By the device with the virtual MAC where that is up, else by the interface: the first advert of a master is not to wait
/// for it.
fn speaker(
    spec: &VrrpSpec,
    source: IpAddr,
    index: u32,
    facts: &Facts,
    speakers: &mut Speakers,
) -> Result<Arc<Speaker>, NetError> {
    let device = facts.voice.as_ref();
    let by_device = device.and_then(|(device, number)| speakers.open(device, *number, source, true).ok());
    match by_device {
        Some(speaker) => Ok(speaker),
        None => speakers.open(&spec.interface, index, source, false),
    }
}
