//! What callers of the control socket ask, carried to the director and back.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::files::Seen;
use super::journal::Journal;
use crate::control::{Answer, Caller, Listener};
use crate::ipvs;
use crate::model::control::{Reply, SCHEMA, ServerReport, Why};
use crate::model::{ControlSettings, DestinationKey, ServiceKey, UnixTime};
use crate::net::names::{self, Patience};

/// How many replies of one answer wait for their caller.
const WAITING_REPLIES: usize = 64;

/// How many of the last events about a server go with `why`.
const EVENTS_OF_A_SERVER: usize = 8;
/// How long a group is looked for, which holds everything up.
const LOOKED_UP: Duration = Duration::from_secs(2);

/// Now, by the calendar.
pub(super) fn unix_time() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Who a caller is, in words: names are looked up nowhere, for that may take its time.
pub(super) fn name_of(caller: Caller) -> String {
    match caller.uid {
        0 => "root".to_owned(),
        uid => format!("uid {uid}"),
    }
}

/// Makes the socket, or goes on with the one that the program before has left open. A daemon that nobody can talk to
/// forwards as well as any, so trouble is only said.
pub(super) fn listen(path: &Path, settings: &ControlSettings, left: Option<OwnedFd>) -> Option<Listener> {
    let inherited = left.and_then(|left| Listener::inherited(path, left));
    match inherited.map_or_else(|| Listener::bind(path), Ok) {
        Ok(listener) => {
            if *settings != ControlSettings::default() {
                allow(&listener, settings);
            }
            Some(listener)
        }
        Err(problem) => {
            error!(
                "cannot listen on {}, so nobody can talk to this daemon: {problem} (is the run directory there and \
                 writable, and its path short?)",
                path.display()
            );
            None
        }
    }
}

/// Lets the groups of a new configuration in.
pub(super) fn allow(listener: &Listener, settings: &ControlSettings) {
    let group = settings.group.as_deref();
    let read_group = gid_of("read_group", settings.read_group.as_deref());
    if let Err(problem) = listener.allow(gid_of("group", group), read_group) {
        error!(
            "cannot give the control socket to group {}, so only root may use it: {problem} (add the group to the \
             daemon's own: SupplementaryGroups= in the unit)",
            group.unwrap_or("0")
        );
    }
}

fn gid_of(key: &str, group: Option<&str>) -> Option<u32> {
    let name = group?;
    match names::group_of(name, Patience::for_one(LOOKED_UP)) {
        Ok(Some(found)) => Some(found),
        Ok(None) => {
            error!("[control] {key} = \"{name}\": this host has no such group, so nobody is let in for it");
            None
        }
        Err(problem) => {
            error!("[control] {key} = \"{name}\": it cannot be looked up, so nobody is let in for it: {problem}");
            None
        }
    }
}

/// The answer that is told as it happens.
pub(super) fn events(journal: &Journal, count: Option<u32>, follow: bool) -> Answer {
    let (sender, replies) = mpsc::channel(WAITING_REPLIES);
    tokio::spawn(journal.clone().tell(count, follow, sender));
    Answer::Many(replies)
}

/// Adds to a status whether the files of the configuration are still those that are in use.
pub(super) async fn with_files(mut reply: Reply, seen: Arc<Seen>) -> Reply {
    if let Reply::Status(status) = &mut reply {
        status.configuration.changed = spawn_blocking(move || !seen.is_unchanged()).await.unwrap_or(false);
    }
    reply
}

/// Adds what the director does not know: connections in the kernel, and what happened of late.
pub(super) async fn why(mut servers: Vec<ServerReport>, journal: Journal) -> Reply {
    for server in &mut servers {
        server.events = journal.about(&server.virtual_server, &server.server, EVENTS_OF_A_SERVER);
    }
    let connections = spawn_blocking(connections).await.unwrap_or_default();
    for server in &mut servers {
        let Ok(address) = server.server.parse::<DestinationKey>() else {
            continue;
        };
        for entry in &mut server.kernel {
            // In a service by mark, and in one of every port, the kernel has port 0.
            let of_port = |port: u16| connections.get(&(entry.service, DestinationKey { port, ..address }));
            if let Some((active, inactive)) =
                of_port(address.port).or_else(|| of_port(entry.service.port().unwrap_or(0)))
            {
                entry.active_connections = Some(*active);
                entry.inactive_connections = Some(*inactive);
            }
        }
    }
    Reply::Why(Why {
        schema: SCHEMA,
        time: unix_time(),
        servers,
    })
}

type Connections = BTreeMap<(ServiceKey, DestinationKey), (u32, u32)>;

/// The connections of all destinations; none where the kernel cannot be read.
fn connections() -> Connections {
    let services = match ipvs::read_plain_listing() {
        Ok((_, services)) => services,
        Err(problem) => {
            info!("cannot read the kernel's connections: {problem}");
            return Connections::new();
        }
    };
    let mut found = Connections::new();
    for service in services {
        for destination in service.destinations {
            let figures = (destination.active_connections, destination.inactive_connections);
            found.insert((service.key, destination.key), figures);
        }
    }
    found
}
