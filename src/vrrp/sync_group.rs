//! Instances that are master all together or not at all.
//!
//! A fault of one is a fault of all; all become master when each of them could be; all cease when one has. One that has
//! only just begun joins masters once it could be one as well.

use crate::model::{VrrpGroupOrder, VrrpState};

/// What a group sees of one of its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// What it is.
    pub(super) state: VrrpState,
    /// It waits for nothing but the group to become master.
    pub(super) claims: bool,
    /// It has ceased to be master, or there is one that it heeds.
    pub(super) yields: bool,
    /// Something of its own keeps it from being master.
    pub(super) faulty: bool,
    /// The group keeps it from being master.
    pub(super) held: bool,
}

/// What the group tells its instances now, by their place; nothing where they agree.
pub(super) fn orders(members: &[Member]) -> Vec<(usize, VrrpGroupOrder)> {
    let to_all = |wanted: &dyn Fn(&Member) -> bool, order: VrrpGroupOrder| {
        let chosen = members.iter().enumerate().filter(|(_, member)| wanted(member));
        chosen.map(|(place, _)| (place, order)).collect::<Vec<_>>()
    };
    // Whoever has not begun or has ended has no say, but nobody becomes master without it.
    let begun = |member: &Member| member.state != VrrpState::Initialize;
    if members.iter().any(|member| begun(member) && member.faulty) {
        return to_all(&|member| !member.held && !member.faulty, VrrpGroupOrder::Fault);
    }
    let held = to_all(&|member| member.held, VrrpGroupOrder::FaultCleared);
    if !held.is_empty() {
        return held;
    }
    let is = |state: VrrpState| move |member: &Member| member.state == state;
    if members.iter().any(|member| member.yields) {
        return to_all(&is(VrrpState::Master), VrrpGroupOrder::BecomeBackup);
    }
    let could_be = |member: &Member| member.claims || member.state == VrrpState::Master;
    if members.iter().all(could_be) {
        return to_all(&|member| member.claims, VrrpGroupOrder::BecomeMaster);
    }
    Vec::new()
}

/// What a group is as a whole, for whoever is told of it: each state as soon as its instances allow no better one.
pub(super) fn state(members: impl IntoIterator<Item = VrrpState>) -> VrrpState {
    let members: Vec<_> = members.into_iter().collect();
    let all = |state: VrrpState| members.iter().all(|member| *member == state);
    if members.is_empty() || all(VrrpState::Initialize) {
        VrrpState::Initialize
    } else if members.contains(&VrrpState::Fault) {
        VrrpState::Fault
    } else if all(VrrpState::Master) {
        VrrpState::Master
    } else {
        VrrpState::Backup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: Member = Member {
        state: VrrpState::Backup,
        claims: false,
        yields: false,
        faulty: false,
        held: false,
    };
    const YIELDS: Member = Member { yields: true, ..BACKUP };
    const CLAIMS: Member = Member { claims: true, ..BACKUP };
    const MASTER: Member = Member {
        state: VrrpState::Master,
        ..BACKUP
    };
    const FAULTY: Member = Member {
        state: VrrpState::Fault,
        faulty: true,
        ..BACKUP
    };
    const HELD: Member = Member {
        state: VrrpState::Fault,
        held: true,
        ..BACKUP
    };
    const IDLE: Member = Member {
        state: VrrpState::Initialize,
        ..BACKUP
    };

    #[test]
    fn a_group_is_what_its_instances_allow() {
        use VrrpState::{Backup, Fault, Initialize, Master};
        let cases: &[(&[VrrpState], VrrpState)] = &[
            (&[], Initialize),
            (&[Initialize, Initialize], Initialize),
            (&[Initialize, Backup], Backup),
            (&[Backup, Backup], Backup),
            (&[Master, Backup], Backup),
            (&[Master, Initialize], Backup),
            (&[Master, Master], Master),
            (&[Master, Fault], Fault),
            (&[Fault, Initialize], Fault),
        ];
        for (members, expected) in cases {
            assert_eq!(state(members.iter().copied()), *expected, "{members:?}");
        }
    }

    #[test]
    fn all_move_together() {
        use VrrpGroupOrder::{BecomeBackup, BecomeMaster, Fault, FaultCleared};
        type Case<'a> = (&'a str, &'a [Member], &'a [(usize, VrrpGroupOrder)]);
        let cases: &[Case<'_>] = &[
            ("nothing to say", &[BACKUP, BACKUP], &[]),
            ("one could be master", &[CLAIMS, BACKUP], &[]),
            (
                "both could be",
                &[CLAIMS, CLAIMS],
                &[(0, BecomeMaster), (1, BecomeMaster)],
            ),
            ("both are", &[MASTER, MASTER], &[]),
            (
                "one has ceased",
                &[MASTER, YIELDS, MASTER],
                &[(0, BecomeBackup), (2, BecomeBackup)],
            ),
            ("one has only just begun", &[MASTER, BACKUP], &[]),
            ("and could be master as well", &[MASTER, CLAIMS], &[(1, BecomeMaster)]),
            (
                "and another one has ceased",
                &[MASTER, CLAIMS, YIELDS],
                &[(0, BecomeBackup)],
            ),
            ("one has failed", &[MASTER, FAULTY, BACKUP], &[(0, Fault), (2, Fault)]),
            ("all know of it", &[HELD, FAULTY], &[]),
            ("it is over", &[HELD, BACKUP], &[(0, FaultCleared)]),
            ("one has not begun", &[CLAIMS, IDLE], &[]),
            ("one has ended", &[MASTER, IDLE], &[]),
            ("nobody is there", &[], &[]),
        ];
        for (name, members, expected) in cases {
            assert_eq!(orders(members), *expected, "{name}");
        }
    }
}
