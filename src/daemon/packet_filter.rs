//! Virtual addresses that take nothing but what IPVS forwards (`accept = false`): the packet filter is told of them, beside
//! the loop, and told again where somebody else has changed that.
//!
//! What is refused is so whether this director is master or not: without the address there is nothing to refuse, and a
//! new master has nothing to wait for.

mod quarrel;
mod table;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use self::quarrel::Quarrel;
use self::table::Table;
use super::record::Record;
use crate::model::control::Level;
use crate::net::filter::{self, Noticed};

/// The file that says that there may be a table of ours, beside the record.
const FILE: &str = "packet_filter.json";
/// What could not be done is tried again this often.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the end may take.
const LIMIT: Duration = Duration::from_secs(4);

/// The addresses; `None` before there is a configuration.
type Wanted = Option<BTreeSet<IpAddr>>;

/// Whoever sees to it.
pub(super) struct Keeper {
    wanted: watch::Sender<Wanted>,
    /// Why that is not so, as far as is known.
    problem: watch::Sender<Option<String>>,
    task: Option<JoinHandle<()>>,
    file: PathBuf,
}

impl Keeper {
    /// One that does nothing yet, and puts down beside the record that there is a table.
    pub(super) fn beside(record: &Record) -> Self {
        Self {
            wanted: watch::Sender::new(None),
            problem: watch::Sender::new(None),
            task: None,
            file: record.beside(FILE),
        }
    }

    /// Begins to see to what is wanted. `note` is told once where it cannot be done, and once when it is done again.
    pub(super) fn start(&mut self, note: impl Fn(Level, String) + Send + 'static) {
        let table = Table::noted_in(self.file.clone());
        let told = Told::to(self.problem.clone(), note);
        self.task = Some(tokio::spawn(keep(self.wanted.subscribe(), table, told)));
    }

    /// These addresses take nothing from now on, and no others.
    pub(super) fn want(&self, addresses: &BTreeSet<IpAddr>) {
        self.wanted.send_if_modified(|current| {
            let differs = current.as_ref() != Some(addresses);
            *current = Some(addresses.clone());
            differs
        });
    }

    /// Those that take nothing.
    pub(super) fn wanted(&self) -> BTreeSet<IpAddr> {
        self.wanted.borrow().clone().unwrap_or_default()
    }

    /// Why they may take more than they should; `None` where they do not.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    /// Ends, and takes the table away: the addresses have gone.
    pub(super) async fn end(&mut self) {
        // With the sender the task ends, once it has done what it is at.
        drop(std::mem::take(&mut self.wanted));
        let ended = async {
            if let Some(task) = self.task.take() {
                let _ = task.await;
            }
            Table::noted_in(self.file.clone()).put_right(&BTreeSet::new()).await
        };
        match timeout(LIMIT, ended).await {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => warn!("{problem}; it is taken away by the next start"),
            Err(_elapsed) => warn!(
                "the packet filter has not answered in {} s: its table inet ipvsd may stay, and is taken away by the next \
                 start (or by hand: `nft delete table inet ipvsd`)",
                LIMIT.as_secs()
            ),
        }
    }
}

/// What is to be refused: what the configuration wants, and what it no longer names and was refused `before`, as long as
/// it is still on this host (`held`).
pub(super) fn to_refuse(
    refused: &BTreeSet<IpAddr>,
    configured: &BTreeSet<IpAddr>,
    before: &BTreeSet<IpAddr>,
    held: &BTreeSet<IpAddr>,
) -> BTreeSet<IpAddr> {
    let leaving = &(before & held) - configured;
    refused | &leaving
}

/// Sees to what is wanted until nobody wants anything any more.
async fn keep(mut wanted: watch::Receiver<Wanted>, mut table: Table, mut told: Told<impl Fn(Level, String)>) {
    let disturbance = Arc::new(Disturbance::default());
    let mut watching: Option<JoinHandle<()>> = None;
    let mut quarrel = Quarrel::default();
    'write: loop {
        let now = wanted.borrow_and_update().clone();
        // What is heard later of changes until here is one quarrel with those that are undone now.
        disturbance.by_others.store(false, Ordering::Relaxed);
        let done = match &now {
            None => Ok(false),
            Some(addresses) => table.put_right(addresses).await,
        };
        told.tell(now.unwrap_or_default(), &done);
        if let (None, Some(port)) = (&watching, table.port()) {
            watching = Some(tokio::spawn(watch_others(port, Arc::clone(&disturbance))));
        }
        let again = Instant::now() + AGAIN;
        let mut due = done.is_err().then_some(again);
        let mut disturbed = false;
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => continue 'write,
                    Err(_) => break 'write,
                },
                () = sleep_until(due.unwrap_or(again)), if due.is_some() => continue 'write,
                () = disturbance.notify.notified(), if !disturbed => {
                    disturbed = true;
                    let pause = match disturbance.by_others.swap(false, Ordering::Relaxed) {
                        true => quarrel.goes_on(Instant::now()),
                        // It may have been changed when nobody looked.
                        false => Duration::ZERO,
                    };
                    told.waits(pause);
                    let then = Instant::now() + pause;
                    due = Some(due.map_or(then, |due| due.min(then)));
                }
            }
        }
    }
    if let Some(watching) = watching {
        watching.abort();
    }
}

/// What was told last, and to whom.
struct Told<N> {
    /// The addresses that are refused, once that was done.
    done: Option<BTreeSet<IpAddr>>,
    /// The line that was logged.
    problem: Option<String>,
    /// What holds now.
    current: watch::Sender<Option<String>>,
    note: N,
}

impl<N: Fn(Level, String)> Told<N> {
    fn to(current: watch::Sender<Option<String>>, note: N) -> Self {
        Self {
            done: None,
            problem: None,
            current,
            note,
        }
    }

    /// Somebody else has changed the table, and it is written anew only after so long.
    fn waits(&self, pause: Duration) {
        if !pause.is_zero() {
            let text = format!(
                "somebody else keeps changing the table inet ipvsd, which is written anew in {} s",
                pause.as_secs()
            );
            self.current.send_replace(Some(text));
        }
    }

    fn tell(&mut self, addresses: BTreeSet<IpAddr>, done: &Result<bool, String>) {
        self.current.send_replace(done.as_ref().err().cloned());
        let state = match addresses.len() {
            0 => "virtual addresses take what is sent to this host itself again".to_owned(),
            1 => "1 virtual address takes nothing but what IPVS forwards (accept = false)".to_owned(),
            count => format!("{count} virtual addresses take nothing but what IPVS forwards (accept = false)"),
        };
        match done {
            Ok(was_done) => {
                let is_news = *was_done && self.done.as_ref() != Some(&addresses);
                let recovered = self.problem.take().is_some();
                if is_news || recovered {
                    info!("{state}");
                    self.done = Some(addresses);
                }
                if recovered {
                    (self.note)(Level::Info, state);
                }
            }
            Err(problem) => {
                self.done = None;
                let text = match addresses.is_empty() {
                    true => "virtual addresses still take nothing but what IPVS forwards",
                    false => "virtual addresses take more than they should (accept = false)",
                };
                let text = format!("{text}: {problem}; it is tried again");
                if self.problem.as_ref() != Some(&text) {
                    error!("{text}");
                    // Of a trouble that changes its words one event is enough.
                    if self.problem.is_none() {
                        (self.note)(Level::Error, text.clone());
                    }
                    self.problem = Some(text);
                }
            }
        }
    }
}

/// Whether the table may not be what was written.
#[derive(Default)]
struct Disturbance {
    notify: Notify,
    /// Somebody else has changed it.
    by_others: AtomicBool,
}

/// Tells whenever the table may not be what was written.
async fn watch_others(own: u32, disturbance: Arc<Disturbance>) {
    let mut said = None;
    loop {
        let tell = |noticed| {
            if noticed == Noticed::Change {
                disturbance.by_others.store(true, Ordering::Relaxed);
            }
            disturbance.notify.notify_one();
        };
        if let Err(problem) = filter::watch(own, tell).await {
            let problem = problem.to_string();
            if said.as_ref() != Some(&problem) {
                warn!(
                    "{problem}; changes of the table inet ipvsd go unnoticed until that succeeds, which is tried again"
                );
            }
            said = Some(problem);
        }
        sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn addresses(numbers: &[u8]) -> BTreeSet<IpAddr> {
        numbers
            .iter()
            .map(|number| IpAddr::from([192, 0, 2, *number]))
            .collect()
    }

    #[test]
    fn an_address_that_leaves_is_refused_until_it_has_gone() {
        let [wanted, before] = [addresses(&[1]), addresses(&[1, 2, 3, 4])];
        // 2 is here and in no instance any more, 3 has gone, 4 may take everything now, 5 always did.
        let held = addresses(&[1, 2, 4, 5]);
        let refused = to_refuse(&wanted, &addresses(&[1, 4]), &before, &held);
        assert_eq!(refused, addresses(&[1, 2]));
        let after = to_refuse(&wanted, &addresses(&[1, 4]), &refused, &addresses(&[1, 4, 5]));
        assert_eq!(after, wanted);
    }

    #[test]
    fn one_event_tells_of_trouble_and_one_of_its_end() {
        let noted = Mutex::new(Vec::new());
        let note = |level, text: String| noted.lock().expect("a lock").push((level, text));
        let current = watch::Sender::new(None);
        let mut told = Told::to(current.clone(), note);
        let bad = |text: &str| Err(text.to_owned());
        let outcomes = [Ok(true), bad("one"), bad("one"), bad("two"), Ok(true), Ok(true)];
        for done in &outcomes {
            told.tell(addresses(&[1]), done);
            assert_eq!(current.borrow().as_ref(), done.as_ref().err(), "now it is so");
        }
        told.tell(BTreeSet::new(), &bad("three"));
        drop(told);
        let noted = noted.into_inner().expect("a lock");
        let levels: Vec<_> = noted.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Error, Level::Info, Level::Error], "{noted:?}");
        for (text, part) in noted
            .iter()
            .zip(["more than they should", "1 virtual address takes", "still take nothing"])
        {
            assert!(text.1.contains(part), "{text:?}");
        }
    }
}
