//! Virtual addresses that take nothing but what IPVS forwards (`accept = false`): the packet filter is told of them, beside
//! the loop, and told again where somebody else has changed that.
//!
//! What is refused is so whether this director is master or not: without the address there is nothing to refuse, and a
//! new master has nothing to wait for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::kept;
use super::record::Record;
use crate::net::NetError;
use crate::net::filter::{self, PacketFilter};

/// The file that says that there may be a table of ours, beside the record.
const FILE: &str = "refused.json";
/// What could not be done is tried again this often.
const AGAIN: Duration = Duration::from_secs(5);
/// What others change is changed back no more often than this.
const QUARREL: Duration = Duration::from_secs(1);
/// How long the end may take.
const LIMIT: Duration = Duration::from_secs(4);

/// The addresses; `None` before there is a configuration.
type Wanted = Option<BTreeSet<IpAddr>>;

/// Whoever sees to it.
pub(super) struct Keeper {
    wanted: watch::Sender<Wanted>,
    task: Option<JoinHandle<()>>,
    file: PathBuf,
}

impl Keeper {
    /// One that does nothing yet, and puts down beside the record that there is a table.
    pub(super) fn beside(record: &Record) -> Self {
        Self {
            wanted: watch::Sender::new(None),
            task: None,
            file: record.beside(FILE),
        }
    }

    /// Begins to see to what is wanted.
    pub(super) fn start(&mut self) {
        let table = Table::noted_in(self.file.clone());
        self.task = Some(tokio::spawn(keep(self.wanted.subscribe(), table)));
    }

    /// These addresses take nothing from now on, and no others.
    pub(super) fn want(&self, addresses: &BTreeSet<IpAddr>) {
        self.wanted.send_if_modified(|current| {
            let differs = current.as_ref() != Some(addresses);
            *current = Some(addresses.clone());
            differs
        });
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
            Err(_elapsed) => warn!("the packet filter has not answered in {} s", LIMIT.as_secs()),
        }
    }
}

/// The table, as far as it is known here.
struct Table {
    /// The socket, once one was needed.
    filter: Option<PacketFilter>,
    /// The file that says that it may be there.
    file: PathBuf,
}

impl Table {
    fn noted_in(file: PathBuf) -> Self {
        Self { filter: None, file }
    }

    /// Has exactly these addresses refused. Answers with whether there was anything to do: without any address only where a
    /// process has put down that there is a table.
    ///
    /// # Errors
    /// Why it cannot be done, in words.
    async fn put_right(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<bool, String> {
        if addresses.is_empty() && !self.file.exists() {
            return Ok(false);
        }
        if !addresses.is_empty() {
            kept::write(&self.file, b"{}").map_err(|problem| format!("{problem:#}"))?;
        }
        let (filter, wanted) = (self.filter.take(), addresses.clone());
        let done = spawn_blocking(move || {
            let mut filter = match filter {
                Some(filter) => filter,
                None => PacketFilter::open()?,
            };
            let result = filter.refuse(&wanted);
            Ok::<_, NetError>((filter, result))
        });
        let (filter, result) = done
            .await
            .map_err(|ended| ended.to_string())?
            .map_err(|problem| problem.to_string())?;
        self.filter = Some(filter);
        match result {
            // Where there is no packet filter there is no table either.
            Err(NetError::NoFilter { .. }) if addresses.is_empty() => {}
            result => result.map_err(|problem| problem.to_string())?,
        }
        if addresses.is_empty() {
            // Left behind, it only has the table taken away once more.
            let _ = std::fs::remove_file(&self.file);
        }
        Ok(true)
    }
}

/// Sees to what is wanted until nobody wants anything any more.
async fn keep(mut wanted: watch::Receiver<Wanted>, mut table: Table) {
    let disturbed = Arc::new(Notify::new());
    let mut watching: Option<JoinHandle<()>> = None;
    let mut said = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let done = match &now {
            None => Ok(false),
            Some(addresses) => table.put_right(addresses).await,
        };
        match (&done, now.map_or(0, |addresses| addresses.len())) {
            (Ok(false), _) => {}
            (Ok(true), 0) => info!("virtual addresses take what is sent to this host itself again"),
            (Ok(true), count) => {
                info!("{count} virtual addresses take nothing but what IPVS forwards (accept = false)")
            }
            (Err(problem), _) if said.as_ref() != Some(problem) => {
                error!("virtual addresses take more than they should (accept = false): {problem}; it is tried again");
            }
            (Err(_), _) => {}
        }
        let failed = done.is_err();
        said = done.err();
        if let (None, Some(filter)) = (&watching, &table.filter) {
            watching = Some(tokio::spawn(watch_others(filter.port(), Arc::clone(&disturbed))));
        }
        let calm = Instant::now() + QUARREL;
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            () = sleep(AGAIN), if failed => {}
            () = disturbed.notified() => {
                sleep_until(calm).await;
                warn!("somebody else has changed the packet filter's table inet ipvsd; it is written anew");
            }
        }
    }
    if let Some(watching) = watching {
        watching.abort();
    }
}

/// Tells whenever the table may not be what was written.
async fn watch_others(own: u32, disturbed: Arc<Notify>) {
    loop {
        if let Err(problem) = filter::watch(own, || disturbed.notify_one()).await {
            warn!("{problem}; it is tried again");
        }
        sleep(AGAIN).await;
        disturbed.notify_one();
    }
}
