//! One network namespace with a name under `/run/netns`, made and removed without starting a process.
//!
//! Entering it always happens on a thread of its own, so that no other thread's view of the network changes.

use std::fs::{self, File};
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

const NAMES: &str = "/run/netns";

#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    path: PathBuf,
    file: File,
}

impl Namespace {
    pub(crate) fn create(name: &str) -> Result<Self> {
        fs::create_dir_all(NAMES).with_context(|| format!("cannot make {NAMES}"))?;
        let path = Path::new(NAMES).join(name);
        File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let made = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)?;
                mount(
                    Some("/proc/thread-self/ns/net"),
                    &path,
                    None::<&str>,
                    MsFlags::MS_BIND,
                    None::<&str>,
                )
            });
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        });
        if let Err(error) = made {
            // The cause is worth more than whether the empty file went.
            let _ = fs::remove_file(&path);
            return Err(error).with_context(|| format!("cannot make the network namespace {name} (root only)"));
        }
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            name: name.to_owned(),
            path,
            file,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure on a thread that has entered the namespace; a panic in it goes on in the caller.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter the network namespace {}", self.name))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Starts a thread that lives in the namespace for as long as it runs.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<thread::JoinHandle<Result<T>>> {
        let file = self
            .file
            .try_clone()
            .context("cannot duplicate a namespace's descriptor")?;
        Ok(thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            Ok(work())
        }))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nobody could act on a failure here; names never repeat, so a rest does no harm.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}
