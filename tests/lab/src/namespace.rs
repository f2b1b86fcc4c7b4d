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
use socket2::{Domain, Socket, Type};

const NAMES: &str = "/run/netns";
const AF_NETLINK: i32 = 16;

/// A network namespace under `/run/netns`, gone with its value; empty, its loopback down.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// Makes one. Costs a millisecond, and no process.
    pub fn create(name: &str) -> Result<Self> {
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

    /// Its name, as `ip netns` has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure on a thread that has entered the namespace; a panic in it goes on in the caller.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter the network namespace {}", self.name))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Brings the loopback up, without starting a process. Without any address a namespace has no local routing table,
    /// and IPVS takes every address for a broadcast one.
    pub fn bring_loopback_up(&self) -> Result<()> {
        const RTM_NEWLINK: u16 = 16;
        const NLM_F_REQUEST: u16 = 1;
        const LOOPBACK: i32 = 1;
        const IFF_UP: u32 = 1;
        let mut request = Vec::new();
        // struct nlmsghdr, then struct ifinfomsg (rtnetlink(7)).
        request.extend(32_u32.to_ne_bytes());
        request.extend(RTM_NEWLINK.to_ne_bytes());
        request.extend(NLM_F_REQUEST.to_ne_bytes());
        request.extend([0; 8]);
        request.extend([0; 4]);
        request.extend(LOOPBACK.to_ne_bytes());
        request.extend(IFF_UP.to_ne_bytes());
        request.extend(IFF_UP.to_ne_bytes());
        let sent = self.enter(|| Socket::new(Domain::from(AF_NETLINK), Type::RAW, None)?.send(&request))?;
        sent.map(drop)
            .with_context(|| format!("cannot bring the loopback of {} up", self.name))
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
