//! The table, as far as it is known here, and the file that says that it is ours.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use crate::daemon::kept;
use crate::net::NetError;
use crate::net::filter::PacketFilter;
use crate::net::filter::ruleset::Before;

pub(super) struct Table {
    /// The socket, once one was needed.
    filter: Option<PacketFilter>,
    /// The file that says that it may be there.
    file: PathBuf,
}

impl Table {
    pub(super) fn noted_in(file: PathBuf) -> Self {
        Self { filter: None, file }
    }

    /// By which changes made here are known, once there was one.
    pub(super) fn port(&self) -> Option<u32> {
        self.filter.as_ref().map(PacketFilter::port)
    }

    /// Has exactly these addresses refused. Answers with whether there was anything to do: without any address only where a
    /// process has put down that there is a table. Where nobody has, one that is there is somebody else's.
    ///
    /// # Errors
    /// Why it cannot be done, in words.
    pub(super) async fn put_right(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<bool, String> {
        let before = match self.file.exists() {
            true => Before::MayBeOurs,
            false if addresses.is_empty() => return Ok(false),
            false => Before::NotOurs,
        };
        if before == Before::NotOurs {
            kept::write(&self.file, b"{}").map_err(|problem| format!("{problem:#}"))?;
        }
        let (filter, wanted) = (self.filter.take(), addresses.clone());
        let done = spawn_blocking(move || {
            let mut filter = match filter {
                Some(filter) => filter,
                None => PacketFilter::open()?,
            };
            let result = filter.refuse(&wanted, before);
            Ok::<_, NetError>((filter, result))
        });
        let result = match done.await.map_err(|ended| ended.to_string())? {
            Ok((filter, result)) => {
                self.filter = Some(filter);
                result
            }
            Err(problem) => Err(problem),
        };
        let has_none = match &result {
            Ok(()) => addresses.is_empty(),
            // Where there is no packet filter there is no table either.
            Err(NetError::NoFilter { .. }) => addresses.is_empty() || before == Before::NotOurs,
            Err(NetError::FilterTableInUse | NetError::NotPermitted { .. }) => before == Before::NotOurs,
            Err(_) => false,
        };
        if has_none {
            // Left behind, it only has the table taken away once more.
            let _ = std::fs::remove_file(&self.file);
        }
        match result {
            Err(NetError::NoFilter { .. }) if addresses.is_empty() => Ok(true),
            result => result.map(|()| true).map_err(|problem| problem.to_string()),
        }
    }
}
