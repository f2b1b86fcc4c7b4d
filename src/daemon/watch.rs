//! Watching the directories of the configuration's files: says that something has stirred there, once it is quiet again.
//!
//! Which files count, and whether they are others than before, is not known here.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

/// How long it has to be quiet: an editor writes in several steps.
const QUIET: Duration = Duration::from_secs(1);
/// It is said after so long also where it is never quiet.
const LONGEST: Duration = Duration::from_secs(10);

struct Watched(Inotify);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Hands the watch to the runtime.
#[allow(unsafe_code, reason = "tokio's safe constructor is deprecated in favour of this one")]
fn register(watched: Watched) -> io::Result<AsyncFd<Watched>> {
    // SAFETY: it owns its descriptor, gives the same one for as long as it lives, and is only ever lent out by
    // reference, so that it is closed after the runtime has let go of it.
    Ok(unsafe { AsyncFd::register(watched) }?)
}

/// Watches these directories, and others when others are wanted, until nobody wants any; calls `tell` after something has
/// stirred there, and whenever it begins to watch, for something may have before.
pub(super) async fn watch(mut wanted: watch::Receiver<BTreeSet<PathBuf>>, tell: impl Fn()) {
    loop {
        let directories = wanted.borrow_and_update().clone();
        let watched = match open(&directories) {
            Ok(watched) => watched,
            Err(problem) => {
                warn!("cannot watch the configuration's files, so they are not read when they change: {problem}");
                None
            }
        };
        let Some(watched) = watched else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        tell();
        loop {
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if *wanted.borrow_and_update() != directories {
                        break;
                    }
                }
                stirred = stirred(&watched) => {
                    if stirred.is_err() {
                        break;
                    }
                    let end = Instant::now() + LONGEST;
                    while let Ok(Ok(())) = timeout_at(end.min(Instant::now() + QUIET), self::stirred(&watched)).await {}
                    tell();
                }
            }
        }
    }
}

/// Watches directories; `None` where there are none.
fn open(directories: &BTreeSet<PathBuf>) -> io::Result<Option<AsyncFd<Watched>>> {
    if directories.is_empty() {
        return Ok(None);
    }
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let what = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_ATTRIB;
    for directory in directories {
        if let Err(problem) = inotify.add_watch(directory, what) {
            warn!(
                "cannot watch {}, so files there are not read when they change: {problem}",
                directory.display()
            );
        }
    }
    Ok(Some(register(Watched(inotify))?))
}

/// Waits until something has stirred.
async fn stirred(watched: &AsyncFd<Watched>) -> io::Result<()> {
    loop {
        let mut ready = watched.readable().await?;
        match watched.get_ref().0.read_events() {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(problem) => return Err(problem.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_stirs_is_told_once_it_is_quiet_and_only_in_the_directories_that_are_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = tempfile::tempdir().expect("a folder");
        let one = |folder: &tempfile::TempDir| BTreeSet::from([folder.path().to_owned()]);
        let (orders, wanted) = watch::channel(one(&folder));
        let (sender, mut told) = unbounded_channel();
        tokio::spawn(watch(wanted, move || {
            let _ = sender.send(());
        }));
        told.recv().await.expect("it begins to watch");
        for text in ["a", "ab", "abc"] {
            fs::write(folder.path().join("ipvsd.toml"), text).expect("writable");
        }
        told.recv().await.expect("it has stirred");
        assert!(timeout(Duration::from_millis(100), told.recv()).await.is_err(), "once");
        orders.send_replace(one(&other));
        told.recv().await.expect("it begins to watch the other one");
        fs::write(folder.path().join("ipvsd.toml"), "x").expect("writable");
        assert!(
            timeout(QUIET * 3 / 2, told.recv()).await.is_err(),
            "nobody wants that one"
        );
        drop(orders);
        assert_eq!(told.recv().await, None);
    }
}
