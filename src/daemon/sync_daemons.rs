//! The kernel's sync daemons: they run as the configuration and the role want it, looked at again and again beside the
//! loop. A client of its own, for the kernel keeps some of its answers to itself.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info};

use crate::ipvs::{Client, IpvsError};
use crate::model::SyncDaemon;
use crate::plan::{SyncStep, sync_steps};

/// How often it is looked whether they run.
const AGAIN: Duration = Duration::from_secs(5);

/// The sync daemons that are to run; `None` where they are nobody's business, or the role is not known yet.
pub(super) type Wanted = Option<Vec<SyncDaemon>>;

/// Lets them run as wanted until nobody wants anything any more.
pub(super) async fn keep(mut wanted: watch::Receiver<Wanted>) {
    let mut said = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let problem = match now {
            None => None,
            Some(daemons) => put_right(daemons).await.err(),
        };
        if problem.is_some() && problem != said {
            error!("{}; it is tried again", problem.as_deref().unwrap_or_default());
        }
        said = problem;
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(AGAIN) => {}
        }
    }
}

/// Starts and stops what differs.
///
/// # Errors
/// The first thing that could not be done, in words; the others are done all the same.
pub(super) async fn put_right(wanted: Vec<SyncDaemon>) -> Result<(), String> {
    let done = spawn_blocking(move || {
        let mut client = Client::connect()?;
        let mut first: Result<(), IpvsError> = Ok(());
        let found = client.sync_daemons()?;
        for step in sync_steps(&wanted, &found) {
            let result = match &step {
                SyncStep::Start(daemon) => client.start_sync_daemon(daemon),
                SyncStep::Stop(role) => client.stop_sync_daemon(*role),
            };
            match (&result, &step) {
                (Ok(()), SyncStep::Start(daemon)) => {
                    let SyncDaemon {
                        role,
                        interface,
                        sync_id,
                        ..
                    } = daemon;
                    info!("{role} sync daemon started on {interface} with id {sync_id}");
                }
                (Ok(()), SyncStep::Stop(role)) => info!("{role} sync daemon stopped"),
                (Err(_), _) => {}
            }
            first = first.and(result);
        }
        first
    });
    match done.await {
        Ok(done) => done.map_err(|problem| problem.to_string()),
        Err(ended) => Err(ended.to_string()),
    }
}
