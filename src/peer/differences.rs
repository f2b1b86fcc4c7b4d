//! Where two directors differ, and when that is worth a word: while both are being reloaded, one is ahead of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Difference, Instant, Picture, PictureSettings, ServicePicture};

/// How long something has to differ to be said: longer than it takes to reload one director and then the other.
const LASTS: Duration = Duration::from_secs(10);

/// The most differences that are kept; two configurations that have nothing in common differ in everything.
const MOST: usize = 1000;

/// Everything in which two pictures differ, in order: services, their settings, their real servers.
pub fn compare(here: &Picture, there: &Picture) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    let by_key = |picture: &'_ Picture| -> BTreeMap<_, _> {
        let services = picture.services.iter();
        services.map(|service| (service.service, service.clone())).collect()
    };
    let (here, there) = (by_key(here), by_key(there));
    let keys: BTreeSet<_> = here.keys().chain(there.keys()).copied().collect();
    for key in keys {
        let whole = |here: Option<&ServicePicture>, there: Option<&ServicePicture>| Difference {
            service: key.to_string(),
            real_server: None,
            setting: None,
            here: here.map(|_| String::new()),
            there: there.map(|_| String::new()),
        };
        match (here.get(&key), there.get(&key)) {
            (Some(here), Some(there)) => compare_service(here, there, &mut found),
            (here, there) => drop(found.insert(whole(here, there))),
        }
        if found.len() >= MOST {
            break;
        }
    }
    while found.len() > MOST {
        found.pop_last();
    }
    found
}

fn compare_service(here: &ServicePicture, there: &ServicePicture, found: &mut BTreeSet<Difference>) {
    let service = here.service.to_string();
    compare_settings(&service, None, &here.settings, &there.settings, found);
    let names: BTreeSet<_> = here.real_servers.keys().chain(there.real_servers.keys()).collect();
    for name in names {
        match (here.real_servers.get(name), there.real_servers.get(name)) {
            (Some(here), Some(there)) => compare_settings(&service, Some(name), here, there, found),
            (here, there) => drop(found.insert(Difference {
                service: service.clone(),
                real_server: Some(name.clone()),
                setting: None,
                here: here.map(|_| String::new()),
                there: there.map(|_| String::new()),
            })),
        }
    }
}

fn compare_settings(
    service: &str,
    real_server: Option<&String>,
    here: &PictureSettings,
    there: &PictureSettings,
    found: &mut BTreeSet<Difference>,
) {
    for (setting, value) in here {
        // What the other one does not name it may not know.
        let Some(other) = there.get(setting).filter(|other| *other != value) else {
            continue;
        };
        found.insert(Difference {
            service: service.to_owned(),
            real_server: real_server.cloned(),
            setting: Some(setting.clone()),
            here: Some(value.clone()),
            there: Some(other.clone()),
        });
    }
}

/// What there is to say about differences.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoken {
    /// They differ in this now.
    pub began: Vec<Difference>,
    /// They no longer differ in this.
    pub ended: Vec<Difference>,
    /// Nothing is left of what they differed in.
    pub agree: bool,
}

impl Spoken {
    /// Whether there is nothing to say.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The differences over time.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// Since when each is there.
    found: BTreeMap<Difference, Instant>,
    /// Those that were said.
    told: BTreeSet<Difference>,
    /// They were compared since the other one can be asked.
    compared: bool,
    /// When there may be something to say.
    next: Option<Instant>,
}

impl Differences {
    /// The two were compared, and that came of it.
    pub fn compared(&mut self, found: BTreeSet<Difference>, now: Instant) {
        let before = std::mem::take(&mut self.found);
        let since = |difference: &Difference| before.get(difference).copied().unwrap_or(now);
        self.found = found
            .into_iter()
            .map(|found| (since(&found), found))
            .map(|(at, found)| (found, at))
            .collect();
        self.compared = true;
        self.find_next();
    }

    /// The other one cannot be asked any more; what was said stands until it can.
    pub fn lost(&mut self) {
        self.found.clear();
        (self.compared, self.next) = (false, None);
    }

    /// What there is to say now.
    pub fn speak(&mut self, now: Instant) -> Spoken {
        if !self.compared {
            return Spoken::default();
        }
        let lasting = |(_, since): &(&Difference, &Instant)| now.since(**since) >= LASTS;
        let lasting: BTreeSet<_> = self
            .found
            .iter()
            .filter(lasting)
            .map(|(found, _)| found.clone())
            .collect();
        let began: Vec<_> = lasting.difference(&self.told).cloned().collect();
        let gone = |told: &&Difference| !self.found.contains_key(*told);
        let ended: Vec<_> = self.told.iter().filter(gone).cloned().collect();
        for difference in &ended {
            self.told.remove(difference);
        }
        self.told.extend(began.iter().cloned());
        self.find_next();
        let agree = !ended.is_empty() && self.told.is_empty();
        Spoken { began, ended, agree }
    }

    /// When there may be something to say; `None` for not before the next comparison.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    fn find_next(&mut self) {
        let untold = self.found.iter().filter(|(found, _)| !self.told.contains(found));
        self.next = untold.map(|(_, since)| *since + LASTS).min();
    }

    /// Those that last, in order.
    pub fn shown(&self) -> impl Iterator<Item = &Difference> {
        self.told.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Protocol, ServiceKey};

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    fn settings(scheduler: &str) -> PictureSettings {
        BTreeMap::from([("scheduler".to_owned(), scheduler.to_owned())])
    }

    fn service(number: u8, scheduler: &str, servers: &[(&str, &str)]) -> ServicePicture {
        ServicePicture {
            service: ServiceKey::Address {
                protocol: Protocol::Tcp,
                address: [192, 0, 2, number].into(),
                port: 80,
            },
            settings: settings(scheduler),
            real_servers: servers
                .iter()
                .map(|(name, weight)| {
                    let settings = BTreeMap::from([("weight".to_owned(), (*weight).to_owned())]);
                    ((*name).to_owned(), settings)
                })
                .collect(),
        }
    }

    fn shown(here: &Picture, there: &Picture) -> Vec<String> {
        compare(here, there).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_difference_is_named_with_both_sides() {
        let here = Picture {
            services: vec![
                service(1, "wrr", &[("192.0.2.11:80", "3"), ("192.0.2.12:80", "1")]),
                service(2, "wlc", &[]),
            ],
        };
        let there = Picture {
            services: vec![
                service(1, "mh", &[("192.0.2.11:80", "5"), ("192.0.2.13:80", "1")]),
                service(3, "wlc", &[]),
            ],
        };
        assert_eq!(
            shown(&here, &there),
            [
                "tcp 192.0.2.1:80: scheduler is wrr here and mh on the peer",
                "tcp 192.0.2.1:80, real server 192.0.2.11:80: weight is 3 here and 5 on the peer",
                "tcp 192.0.2.1:80, real server 192.0.2.12:80 is only here",
                "tcp 192.0.2.1:80, real server 192.0.2.13:80 is only on the peer",
                "tcp 192.0.2.2:80 is only here",
                "tcp 192.0.2.3:80 is only on the peer",
            ]
        );
        assert_eq!(shown(&here, &here), Vec::<String>::new());
    }

    #[test]
    fn a_setting_that_one_version_does_not_know_is_no_difference() {
        let here = Picture {
            services: vec![service(1, "wrr", &[])],
        };
        let mut there = here.clone();
        there.services[0]
            .settings
            .insert("added_later".to_owned(), "yes".to_owned());
        assert_eq!(shown(&here, &there), Vec::<String>::new());
        assert_eq!(shown(&there, &here), Vec::<String>::new());
    }

    #[test]
    fn what_lasts_is_said_once_when_it_begins_and_once_when_it_ends() {
        let here = Picture {
            services: vec![service(1, "wrr", &[])],
        };
        let other = Picture {
            services: vec![service(1, "mh", &[])],
        };
        let mut differences = Differences::default();
        let mut said = Vec::new();
        let mut look = |differences: &mut Differences, there: Option<&Picture>, seconds: u64| {
            if let Some(there) = there {
                differences.compared(compare(&here, there), at(seconds));
            }
            let spoken = differences.speak(at(seconds));
            if !spoken.is_nothing() {
                said.push((seconds, spoken.began.len(), spoken.ended.len(), spoken.agree));
            }
        };
        // A reload of both, some seconds apart, is no word worth.
        look(&mut differences, Some(&other), 0);
        look(&mut differences, Some(&here), 9);
        look(&mut differences, None, 30);
        look(&mut differences, Some(&other), 40);
        assert_eq!(differences.next(), Some(at(50)));
        look(&mut differences, None, 49);
        look(&mut differences, None, 50);
        assert_eq!(differences.next(), None);
        look(&mut differences, Some(&other), 60);
        // Nobody knows while the link is down, and nobody says that it is over.
        differences.lost();
        look(&mut differences, None, 80);
        assert_eq!(differences.shown().count(), 1);
        look(&mut differences, Some(&other), 90);
        look(&mut differences, None, 120);
        look(&mut differences, Some(&here), 130);
        assert_eq!(said, [(50, 1, 0, false), (130, 0, 1, true)]);
        assert_eq!(differences.shown().count(), 0);
    }

    fn some_picture() -> impl Strategy<Value = Picture> {
        let servers = prop::collection::btree_map("[a-c]", "[1-3]", 0..3);
        let services = prop::collection::btree_map(1u8..5, ("(wrr|mh)", servers), 0..4);
        services.prop_map(|services| Picture {
            services: services
                .into_iter()
                .map(|(number, (scheduler, servers))| {
                    let servers: Vec<_> = servers.iter().map(|(name, weight)| (&**name, &**weight)).collect();
                    service(number, &scheduler, &servers)
                })
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn both_sides_see_the_same_from_theirs(here in some_picture(), there in some_picture()) {
            let turned = |difference: &Difference| Difference {
                here: difference.there.clone(),
                there: difference.here.clone(),
                ..difference.clone()
            };
            let (ours, theirs) = (compare(&here, &there), compare(&there, &here));
            prop_assert_eq!(ours.iter().map(turned).collect::<BTreeSet<_>>(), theirs);
            prop_assert_eq!(ours.is_empty(), here == there);
        }
    }
}
