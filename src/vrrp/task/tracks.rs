//! What the instances track, summed up for each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{News, Task, Voice};
use crate::model::{VrrpEvent, VrrpFinding, VrrpSpec, VrrpTrack, VrrpTracked};
use crate::vrrp::tracking;

impl Task {
    /// Keeps what was found of what is still tracked, also where it is looked at in another way from now on.
    pub(super) fn keep_findings<'a>(&mut self, tracked: impl Iterator<Item = &'a VrrpTracked>) {
        let finding = |what: &VrrpTracked| {
            let same = || self.tracked.iter().find(|(known, _)| known.is_about_what(what));
            let found = self.tracked.get(what).or_else(|| same().map(|(_, finding)| finding));
            Some((what.clone(), *found?))
        };
        self.tracked = tracked.filter_map(finding).collect::<BTreeMap<_, _>>();
    }

    /// What an instance has to know before it begins, for it would have to give up at once: one that was master a moment
    /// ago waits for nothing.
    pub(super) fn waits_for<'a>(&self, spec: &'a VrrpSpec) -> Option<&'a VrrpTracked> {
        let decides = |what: &&VrrpTracked| matches!(what, VrrpTracked::Script(_) | VrrpTracked::Process(_));
        let mut tracked = spec.tracks.iter().map(|track| &track.what).filter(decides);
        tracked.find(|what| !self.tracked.contains_key(*what) && !self.spoken.contains_key(&spec.name))
    }

    pub(super) fn open_those_that_waited(&mut self) {
        let waited = |voice: &Voice| voice.looked && !voice.started;
        let waiting = self.voices.iter().filter(|(_, voice)| waited(voice));
        let names: Vec<_> = waiting.map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            self.open(&name);
        }
    }

    /// Sums up anew for those that track this.
    pub(super) fn track_those_with(&mut self, what: &VrrpTracked) {
        let tracks = |name: &Arc<str>| {
            let instance = self.routers.get(name);
            instance.is_some_and(|instance| instance.spec().tracks.iter().any(|track| track.what == *what))
        };
        let names: Vec<_> = self.voices.keys().filter(|name| tracks(name)).cloned().collect();
        for name in names {
            self.track(&name);
        }
    }

    pub(super) fn track_all(&mut self) {
        let names: Vec<_> = self.voices.keys().cloned().collect();
        for name in names {
            self.track(&name);
        }
    }

    /// Sums up what an instance tracks, and tells it where that has changed.
    pub(super) fn track(&mut self, name: &Arc<str>) {
        let Some(spec) = self.routers.get(name).map(|instance| Arc::clone(instance.spec())) else {
            return;
        };
        let Some(voice) = self.voices.get_mut(name) else { return };
        let finding = |what: &VrrpTracked| match what {
            VrrpTracked::Interface(interface) => VrrpFinding::Works(!voice.facts.lost.contains(interface)),
            VrrpTracked::File(_) => self.tracked.get(what).copied().unwrap_or(VrrpFinding::Value(0)),
            VrrpTracked::Quorum(_)
            | VrrpTracked::Tier(_)
            | VrrpTracked::Script(_)
            | VrrpTracked::Process(_)
            | VrrpTracked::Program => self.tracked.get(what).copied().unwrap_or(VrrpFinding::Works(true)),
        };
        let fails = |track: &&VrrpTrack| tracking::is_failing(finding(&track.what), track.weight);
        let failing: Vec<_> = spec
            .tracks
            .iter()
            .filter(fails)
            .map(|track| track.what.to_string())
            .collect();
        let sum = tracking::sum(
            spec.tracks
                .iter()
                .map(|track| tracking::part(finding(&track.what), track.weight)),
        );
        if failing != voice.failing {
            let news = match failing.is_empty() {
                true => News::Recovered(format!("virtual router {name}: all that it tracks works")),
                false => News::Warning(format!(
                    "virtual router {name} tracks what does not work: {}",
                    failing.join(", ")
                )),
            };
            self.untold.push(news);
            voice.failing = failing;
        }
        if sum != voice.tracking {
            voice.tracking = sum;
            self.happen(name, VrrpEvent::Tracked(sum));
            self.show();
        }
    }
}
