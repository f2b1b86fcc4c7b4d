//! What the instances track, summed up for each of them.

use std::sync::Arc;

use super::{News, Task};
use crate::model::{VrrpEvent, VrrpFinding, VrrpTrack, VrrpTracked};
use crate::vrrp::tracking;

impl Task {
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
            VrrpTracked::Quorum(_) | VrrpTracked::Script(_) | VrrpTracked::Process(_) | VrrpTracked::Program => {
                self.tracked.get(what).copied().unwrap_or(VrrpFinding::Works(true))
            }
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
            let text = match failing.is_empty() {
                true => format!("virtual router {name}: all that it tracks works"),
                false => format!(
                    "virtual router {name} tracks what does not work: {}",
                    failing.join(", ")
                ),
            };
            (self.tell)(News::Warning(text));
            voice.failing = failing;
        }
        if sum != voice.tracking {
            voice.tracking = sum;
            self.happen(name, VrrpEvent::Tracked(sum));
            self.show();
        }
    }
}
