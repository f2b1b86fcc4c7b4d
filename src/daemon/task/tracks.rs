//! What virtual routers track and what is not their interfaces': scripts, processes and files that are looked at again
//! and again, quorums and tiers, and the director's own work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::Shell;
use crate::model::{Instant, VrrpFile, VrrpFinding, VrrpProcess, VrrpScript, VrrpSpec, VrrpTracked};
use crate::process;
use crate::vrrp::task::Handle;
use crate::vrrp::tracking::{Lasting, Verdict};

/// How much of a file is read; a number is shorter.
const NUMBER: u64 = 64;
/// The kernel has to take what is written for so long before it counts as able to again: what it refuses is tried again
/// every now and then.
const PROVEN: Duration = Duration::from_secs(5);

/// What is looked at again and again.
#[derive(Default)]
pub(super) struct Watched(BTreeMap<VrrpTracked, AbortHandle>);

impl Watched {
    /// Looks at what these instances track, and at nothing else any more.
    pub(super) fn watch(&mut self, specs: &[Arc<VrrpSpec>], thread: &Handle) {
        let tracks = specs.iter().flat_map(|spec| &spec.tracks);
        let wanted: BTreeSet<_> = tracks.map(|track| &track.what).collect();
        self.0.retain(|what, looking| {
            let stays = wanted.contains(what);
            if !stays {
                looking.abort();
            }
            stays
        });
        for what in wanted {
            if self.0.contains_key(what) {
                continue;
            }
            let (thread, told) = (thread.clone(), what.clone());
            let tell_of = move |finding| match finding {
                Some(finding) => thread.tracked(told.clone(), finding),
                None => thread.not_known(told.clone()),
            };
            let tell = {
                let tell_of = tell_of.clone();
                move |finding| tell_of(Some(finding))
            };
            let looking = match what {
                VrrpTracked::Script(script) => tokio::spawn(run(Arc::clone(script), tell_of)),
                VrrpTracked::Process(process) => tokio::spawn(look_for(Arc::clone(process), tell)),
                VrrpTracked::File(file) => tokio::spawn(look_into(Arc::clone(file), tell)),
                // These tell by themselves.
                VrrpTracked::Interface(_) | VrrpTracked::Quorum(_) | VrrpTracked::Tier(_) | VrrpTracked::Program => {
                    continue;
                }
            };
            self.0.insert(what.clone(), looking.abort_handle());
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Runs a script again and again, and tells whether it passes as often as that changes; nothing, where that is not known.
async fn run(script: Arc<VrrpScript>, tell: impl Fn(Option<VrrpFinding>)) {
    let mut verdict = Verdict::default();
    let mut said = None;
    let mut ticks = ticks(script.interval);
    loop {
        ticks.tick().await;
        let none: [(&str, &str); 0] = [];
        let passed = match timeout(script.timeout, process::run(&script.argv, &script.user, none)).await {
            Ok(Ok(ended)) => ended.status.success(),
            Err(_elapsed) => false,
            // That is this host's trouble and no verdict.
            Ok(Err(problem)) => {
                let problem = problem.to_string();
                if said.as_ref() != Some(&problem) {
                    warn!("a virtual router's script cannot be run, and counts as before: {problem}");
                    said = Some(problem);
                }
                tell(None);
                continue;
            }
        };
        said = None;
        if let Some(works) = verdict.take(passed, script.rise, script.fall) {
            tell(Some(VrrpFinding::Works(works)));
        }
    }
}

/// Counts the processes of a name in this network namespace again and again, and tells whether there are enough.
async fn look_for(wanted: Arc<VrrpProcess>, tell: impl Fn(VrrpFinding)) {
    let mut lasting = Lasting::default();
    let mut ticks = ticks(wanted.interval);
    let began = tokio::time::Instant::now();
    loop {
        ticks.tick().await;
        let name = wanted.name.clone();
        let Ok(found) = spawn_blocking(move || process::running(&[&name])).await else {
            continue;
        };
        let count = found.iter().filter(|process| process.here).count();
        let enough = u32::try_from(count).is_ok_and(|count| count >= wanted.count);
        let now = Instant::after_start(began.elapsed());
        if let Some(works) = lasting.take(enough, wanted.delay, now) {
            tell(VrrpFinding::Works(works));
        }
    }
}

/// Reads the number in a file again and again, and tells it as often as it changes.
async fn look_into(file: Arc<VrrpFile>, tell: impl Fn(VrrpFinding)) {
    let (mut told, mut said) = (None, None);
    let mut ticks = ticks(file.interval);
    loop {
        ticks.tick().await;
        let path = file.path.clone();
        let value = match spawn_blocking(move || number(&path)).await {
            Ok(Ok(value)) => value,
            // What cannot be read says nothing.
            Ok(Err(problem)) => {
                let problem = problem.to_string();
                if said.as_ref() != Some(&problem) {
                    let path = file.path.display();
                    warn!("{path}, which a virtual router tracks, says nothing, and counts as before: {problem}");
                    said = Some(problem);
                }
                continue;
            }
            Err(_ended) => continue,
        };
        said = None;
        if told != Some(value) {
            told = Some(value);
            tell(VrrpFinding::Value(value));
        }
    }
}

/// The number in a file; 0 where there is none, as keepalived has it.
fn number(path: &Path) -> io::Result<i64> {
    let opened = OpenOptions::new()
        .read(true)
        // It could be a pipe that nobody writes to.
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let mut text = String::new();
    match opened {
        Ok(file) => file.take(NUMBER).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let number = text.trim().parse();
    number.map_err(|_| io::Error::other("there is no whole number in it"))
}

impl Shell {
    /// Tells the virtual routers of the quorums and tiers that they track, of some virtual servers and each of them once:
    /// where hundreds change at the same time, their adverts are due all the same.
    pub(super) fn tell_of_pools(&self, concerns: impl Fn(&str) -> bool) {
        let Some(thread) = &self.routers.thread else { return };
        let config = &self.reloads.config;
        let machine = |name: &str| {
            let pools = self.director.pools();
            Some(pools.machine(pools.find_pool(name)?))
        };
        let tracks = config.vrrp_instances.iter().flat_map(|spec| &spec.tracks);
        let tracked: BTreeSet<_> = tracks.map(|track| &track.what).collect();
        for what in tracked {
            let works = match what {
                VrrpTracked::Quorum(name) | VrrpTracked::Tier(name) if !concerns(name) => None,
                VrrpTracked::Quorum(name) => machine(name).and_then(|machine| machine.has_quorum()),
                // By the files: where an operator has removed all of its first tier, a backup tier serves.
                VrrpTracked::Tier(name) => machine(name).and_then(|machine| {
                    let mut servers = config.virtual_servers.iter();
                    let first = servers.find(|server| server.name == *name)?.first_tier();
                    machine.serves_from(first)
                }),
                VrrpTracked::Interface(_)
                | VrrpTracked::Script(_)
                | VrrpTracked::Process(_)
                | VrrpTracked::File(_)
                | VrrpTracked::Program => None,
            };
            if let Some(works) = works {
                thread.tracked(what.clone(), VrrpFinding::Works(works));
            }
        }
    }

    /// Tells the virtual routers whether this director can do its own work, where that has changed.
    pub(super) fn tell_of_program(&mut self) {
        let Some(thread) = &self.routers.thread else { return };
        let now = self.now();
        let can = self.director.can_program() && !self.stuck;
        let (told, since) = self.routers.programs;
        self.routers.programs = match (told, can) {
            (true, true) => return,
            (true, false) => {
                thread.tracked(VrrpTracked::Program, VrrpFinding::Works(false));
                (false, None)
            }
            (false, false) => (false, None),
            (false, true) if since.is_some_and(|since| now.since(since) >= PROVEN) => {
                thread.tracked(VrrpTracked::Program, VrrpFinding::Works(true));
                (true, None)
            }
            (false, true) => (false, since.or(Some(now))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_number_or_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("weight");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            number(&path).map_err(drop)
        };
        for (text, wanted) in [
            ("-20\n", Ok(-20)),
            (" 7 ", Ok(7)),
            ("+1", Ok(1)),
            ("", Err(())),
            ("many", Err(())),
            ("1 2", Err(())),
            ("99999999999999999999", Err(())),
        ] {
            assert_eq!(read(text), wanted, "{text:?}");
        }
        assert_eq!(number(&directory.path().join("missing")).map_err(drop), Ok(0));
        assert!(number(directory.path()).is_err());
    }
}
