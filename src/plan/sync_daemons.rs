//! From the sync daemons that are wanted and those that run to what is started and stopped.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::{SyncDaemon, SyncRole};

/// What the kernel takes where nothing is said (`ip_vs_sync.c`: `IP_VS_SYNC_GROUP`, `IP_VS_SYNC_PORT`, the TTL).
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const PORT: u16 = 8848;
const TTL: u8 = 1;

/// The shortest datagram that the kernel keeps room for on the side that takes (`ip_vs_sync.c`: `start_sync_thread`).
const SHORTEST_TAKEN: u16 = 1024;
/// The headers of a datagram, IP and UDP.
const HEADERS: u16 = 20 + 8;
const HEADERS_V6: u16 = 40 + 8;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncStep {
    /// Start it.
    Start(SyncDaemon),
    /// Stop the one of this role.
    Stop(SyncRole),
}

/// What is to be done, in this order: who is to run starts before who is not any more ends, so that nothing is missed in
/// between; one with other settings ends first, for there is one of each role.
pub fn sync_steps(wanted: &[SyncDaemon], found: &[SyncDaemon]) -> Vec<SyncStep> {
    let mut steps = Vec::new();
    for daemon in wanted {
        match found.iter().find(|running| running.role == daemon.role) {
            Some(running) if is_same(daemon, running) => {}
            Some(_) => steps.extend([SyncStep::Stop(daemon.role), SyncStep::Start(daemon.clone())]),
            None => steps.push(SyncStep::Start(daemon.clone())),
        }
    }
    let superfluous = found
        .iter()
        .filter(|running| wanted.iter().all(|daemon| daemon.role != running.role));
    steps.extend(superfluous.map(|running| SyncStep::Stop(running.role)));
    steps
}

/// Whether a running daemon is as wanted; what was left to the kernel, the kernel tells.
fn is_same(wanted: &SyncDaemon, running: &SyncDaemon) -> bool {
    let or = |value: u16, usual: u16| if value == 0 { usual } else { value };
    wanted.interface == running.interface
        && wanted.sync_id == running.sync_id
        && (wanted.max_length == 0 || kept_length(wanted) == running.max_length)
        && wanted.group.unwrap_or(GROUP) == running.group.unwrap_or(GROUP)
        && or(wanted.port, PORT) == or(running.port, PORT)
        && or(wanted.ttl.into(), TTL.into()) == or(running.ttl.into(), TTL.into())
}

/// What the kernel makes of the longest datagram that it was given, and tells from then on.
fn kept_length(wanted: &SyncDaemon) -> u16 {
    let shortest = match wanted.role {
        SyncRole::Master => 1,
        SyncRole::Backup => SHORTEST_TAKEN,
    };
    let headers = match wanted.group.unwrap_or(GROUP) {
        IpAddr::V4(_) => HEADERS,
        IpAddr::V6(_) => HEADERS_V6,
    };
    wanted.max_length.clamp(shortest, u16::MAX - headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(role: SyncRole, sync_id: u32) -> SyncDaemon {
        SyncDaemon {
            role,
            interface: "eth0".to_owned(),
            sync_id,
            max_length: 0,
            group: None,
            port: 0,
            ttl: 0,
        }
    }

    /// As the kernel tells of one that was given nothing else.
    fn running(role: SyncRole, sync_id: u32) -> SyncDaemon {
        SyncDaemon {
            max_length: 1472,
            group: Some(GROUP),
            port: PORT,
            ttl: TTL,
            ..daemon(role, sync_id)
        }
    }

    #[test]
    fn what_is_wanted_runs_and_nothing_else() {
        use SyncRole::{Backup, Master};
        let start = |role, id| SyncStep::Start(daemon(role, id));
        type Case<'a> = (&'a str, &'a [SyncDaemon], &'a [SyncDaemon], &'a [SyncStep]);
        let cases: &[Case<'_>] = &[
            ("nothing", &[], &[], &[]),
            ("the first start", &[daemon(Backup, 51)], &[], &[start(Backup, 51)]),
            ("all is well", &[daemon(Backup, 51)], &[running(Backup, 51)], &[]),
            (
                "the role has changed",
                &[daemon(Master, 51)],
                &[running(Backup, 51)],
                &[start(Master, 51), SyncStep::Stop(Backup)],
            ),
            (
                "another id",
                &[daemon(Backup, 52)],
                &[running(Backup, 51)],
                &[SyncStep::Stop(Backup), start(Backup, 52)],
            ),
            (
                "both",
                &[daemon(Master, 0), daemon(Backup, 0)],
                &[running(Backup, 0)],
                &[start(Master, 0)],
            ),
            (
                "no more",
                &[],
                &[running(Master, 0), running(Backup, 0)],
                &[SyncStep::Stop(Master), SyncStep::Stop(Backup)],
            ),
        ];
        for (name, wanted, found, steps) in cases {
            assert_eq!(sync_steps(wanted, found), *steps, "{name}");
        }
    }

    #[test]
    fn what_was_said_counts_and_what_was_left_to_the_kernel_does_not() {
        let wanted = |change: fn(&mut SyncDaemon)| {
            let mut wanted = daemon(SyncRole::Master, 1);
            change(&mut wanted);
            sync_steps(&[wanted], &[running(SyncRole::Master, 1)]).is_empty()
        };
        assert!(wanted(|_| ()));
        assert!(wanted(
            |daemon| (daemon.max_length, daemon.port, daemon.ttl) = (1472, PORT, TTL)
        ));
        assert!(!wanted(|daemon| daemon.max_length = 1000));
        assert!(!wanted(|daemon| daemon.port = 9000));
        assert!(!wanted(|daemon| daemon.ttl = 2));
        assert!(!wanted(|daemon| daemon.interface = "eth1".to_owned()));
        assert!(!wanted(|daemon| daemon.group = Some(Ipv4Addr::new(239, 0, 0, 1).into())));
    }

    #[test]
    fn a_length_that_the_kernel_does_not_keep_starts_nothing_again() {
        use SyncRole::{Backup, Master};
        let (v4, v6) = (None, Some(IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x81])));
        // Role, group, what is wanted, what the kernel makes of it.
        let cases = [
            (Backup, v4, 512, 1024),
            (Backup, v4, 1023, 1024),
            (Backup, v4, 1024, 1024),
            (Backup, v6, 1, 1024),
            (Backup, v4, 1400, 1400),
            (Master, v4, 512, 512),
            (Master, v6, 1, 1),
            (Backup, v4, 65_507, 65_507),
            (Master, v4, 65_507, 65_507),
            (Master, v6, 65_507, 65_487),
            (Backup, v6, 65_500, 65_487),
            (Backup, v6, 65_487, 65_487),
        ];
        for (role, group, length, kept) in cases {
            let with = |length, group| SyncDaemon {
                max_length: length,
                group,
                ..daemon(role, 1)
            };
            let wanted = with(length, group);
            let found = with(kept, Some(group.unwrap_or(GROUP)));
            assert_eq!(
                sync_steps(std::slice::from_ref(&wanted), &[found]),
                [],
                "{role:?} {length}"
            );
            for other in [kept - 1, kept + 1] {
                let found = with(other, Some(group.unwrap_or(GROUP)));
                let steps = sync_steps(std::slice::from_ref(&wanted), &[found]);
                assert_eq!(
                    steps,
                    [SyncStep::Stop(role), SyncStep::Start(wanted.clone())],
                    "{other}"
                );
            }
        }
    }
}
