//! The client over a transport that fails: whatever goes wrong between it and the kernel, it comes back from it, never
//! takes a step for done that was not, and never takes half a table for a whole one.
//!
//! The transport is the seam that production has anyway; the kernel behind it is played and keeps a table.

mod played;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use self::played::{DESTINATIONS, Faulty, Receiving, SERVICES, Sending, Table, destination, service, spec};
use super::*;
use crate::model::{DestinationSpec, Forwarding, Scheduler};

fn client(sending: &[Sending], receiving: &[Receiving]) -> Client<Faulty> {
    let mut client = Client::over(Faulty::new()).unwrap();
    client.transport.sending.extend(sending);
    client.transport.receiving.extend(receiving);
    client
}

fn add(number: u16) -> Step {
    Step::AddService {
        service: service(number),
        spec: spec(Scheduler::Rr),
    }
}

/// Writes steps and holds what is said of them against what was done.
fn write(client: &mut Client<Faulty>, steps: &[Step]) -> Vec<Option<RefusalKind>> {
    let first = client.sequence.wrapping_add(1);
    let outcomes = client.apply(steps);
    assert_eq!(outcomes.len(), steps.len());
    for (number, outcome) in (0..).zip(&outcomes) {
        let is_done = client.transport.carried_out.contains(&(first + number));
        assert!(outcome.result.is_err() || is_done, "{outcome:?} was not done");
    }
    let kind = |outcome: StepOutcome| outcome.result.err().map(|refusal| refusal.kind);
    outcomes.into_iter().map(kind).collect()
}

/// The whole table by dumps, which has to be the kernel's where it is told at all.
fn read(client: &mut Client<Faulty>) -> Result<Table, IpvsError> {
    let mut table = Table::new();
    for found in client.services()? {
        let destinations = client.destinations(&found.key)?;
        let destinations = destinations.into_iter().map(|found| (found.key, found.spec));
        table.insert(found.key, (found.spec, destinations.collect()));
    }
    assert_eq!(table, client.transport.table, "half a table, or another one");
    Ok(table)
}

/// What makes one table of another, in an order that works.
fn steps(found: &Table, wanted: &Table) -> Vec<Step> {
    let gone = found.keys().filter(|key| !wanted.contains_key(*key));
    let mut steps: Vec<_> = gone.map(|service| Step::RemoveService { service: *service }).collect();
    let nothing = BTreeMap::new();
    for (service, (spec, destinations)) in wanted {
        let service = *service;
        let before = found.get(&service);
        match before {
            None => steps.push(Step::AddService {
                service,
                spec: spec.clone(),
            }),
            Some((before, _)) if before != spec => steps.push(Step::SetService {
                service,
                spec: spec.clone(),
            }),
            Some(_) => {}
        }
        let before = before.map_or(&nothing, |(_, before)| before);
        for (destination, spec) in destinations {
            let (destination, spec) = (*destination, *spec);
            match before.get(&destination) {
                None => steps.push(Step::AddDestination {
                    service,
                    destination,
                    spec,
                }),
                Some(before) if *before != spec => steps.push(Step::SetDestination {
                    service,
                    destination,
                    spec,
                }),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|key| !destinations.contains_key(*key));
        steps.extend(gone.map(|destination| Step::RemoveDestination {
            service,
            destination: *destination,
        }));
    }
    steps
}

#[test]
fn each_fault_of_a_batch_is_told_as_what_it_is() {
    use Receiving as R;
    use RefusalKind::{Permanent, Transient};
    use Sending as S;
    const UNKNOWN: [Option<RefusalKind>; 3] = [Some(Transient); 3];
    const DONE: [Option<RefusalKind>; 3] = [None; 3];
    // What goes wrong, what is said of three steps, and how many of them were done.
    type Case<'a> = (S, &'a [R], [Option<RefusalKind>; 3], usize);
    let cases: &[Case<'_>] = &[
        (S::Well, &[], DONE, 3),
        (S::Fails(Errno::ENOBUFS), &[], UNKNOWN, 0),
        (S::Fails(Errno::EBUSY), &[], UNKNOWN, 0),
        (S::Fails(Errno::EAGAIN), &[], UNKNOWN, 0),
        (S::Fails(Errno::EPERM), &[], [Some(Permanent); 3], 0),
        (S::Refuses(1, Errno::EBUSY), &[], [None, Some(Transient), None], 2),
        (S::Refuses(2, Errno::ENOMEM), &[], [None, None, Some(Transient)], 2),
        (S::Refuses(0, Errno::EINVAL), &[], [Some(Permanent), None, None], 2),
        (S::Overflows(0), &[], UNKNOWN, 3),
        (S::Late, &[], UNKNOWN, 3),
        (S::Well, &[R::Nothing], UNKNOWN, 3),
        (S::Well, &[R::Fails(Errno::ENOBUFS)], UNKNOWN, 3),
        (S::Well, &[R::Fails(Errno::EBUSY)], UNKNOWN, 3),
        (S::Well, &[R::Fails(Errno::EBADF)], UNKNOWN, 3),
        (S::Well, &[R::TooLong], UNKNOWN, 3),
        (S::Well, &[R::Short(0)], UNKNOWN, 3),
        (S::Well, &[R::Short(30)], UNKNOWN, 3),
        (S::Well, &[R::Garbage(0xff)], UNKNOWN, 3),
        (S::Well, &[R::Twice], DONE, 3),
        // The refusal was told before its acknowledgement was lost.
        (
            S::Refuses(1, Errno::EINVAL),
            &[R::Well, R::TooLong],
            [Some(Transient), Some(Permanent), Some(Transient)],
            2,
        ),
    ];
    for (sending, receiving, said, done) in cases {
        let mut client = client(&[*sending], receiving);
        let found = write(&mut client, &[add(0), add(1), add(2)]);
        assert_eq!(found, said, "{sending:?} {receiving:?}");
        assert_eq!(client.transport.table.len(), *done, "{sending:?} {receiving:?}");
        // The next one is not the worse for it.
        assert_eq!(write(&mut client, &[add(3)]), [None], "{sending:?} {receiving:?}");
        assert_eq!(read(&mut client).unwrap().len(), done + 1);
    }
}

#[test]
fn each_fault_of_a_dump_is_an_error_or_does_no_harm_and_the_next_one_is_whole() {
    use Receiving as R;
    use Sending as S;
    // What goes wrong, and what is said of it; nothing where the dump is read all the same.
    let cases: &[(S, &[R], Option<&str>)] = &[
        (S::Fails(Errno::ENOBUFS), &[], Some("cannot send to the kernel")),
        (
            S::Refuses(0, Errno::EBUSY),
            &[],
            Some("cannot read the services: device or resource busy"),
        ),
        (S::Overflows(1), &[], Some("answers of the kernel were lost")),
        (S::Late, &[], Some("has not answered within")),
        (S::Interrupted, &[], None),
        (S::Well, &[R::Nothing], Some("has not answered within")),
        (S::Well, &[R::Well, R::Nothing], Some("has not answered within")),
        (
            S::Well,
            &[R::Well, R::Fails(Errno::ENOBUFS)],
            Some("answers of the kernel were lost"),
        ),
        (
            S::Well,
            &[R::Fails(Errno::EBUSY)],
            Some("cannot receive from the kernel"),
        ),
        (S::Well, &[R::TooLong], Some("cannot receive from the kernel")),
        (S::Well, &[R::Short(9)], Some("cut off")),
        (S::Well, &[R::Well, R::Short(9)], Some("cut off")),
        (S::Well, &[R::Garbage(1)], Some("cut off")),
        (S::Well, &[R::Twice], None),
    ];
    for (sending, receiving, said) in cases {
        let mut client = client(&[], &[]);
        write(&mut client, &[add(0), add(1), add(2), add(3)]);
        client.transport.sending.push_back(*sending);
        client.transport.receiving.extend(*receiving);
        match (client.services(), said) {
            (Ok(found), None) => assert_eq!(found.len(), 4, "{sending:?} {receiving:?}"),
            (Err(error), Some(said)) => assert!(error.to_string().contains(said), "{sending:?} {receiving:?}: {error}"),
            (found, _) => panic!("{sending:?} {receiving:?}: {found:?}"),
        }
        assert_eq!(read(&mut client).unwrap().len(), 4, "{sending:?} {receiving:?}");
    }
}

#[test]
fn a_client_that_cannot_connect_says_why() {
    struct Fails(Errno);
    impl Transport for Fails {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Err(self.0.into())
        }
        fn receive(&mut self, _: &mut [u8], _: Instant) -> io::Result<Option<usize>> {
            Ok(None)
        }
    }
    for errno in [Errno::ENOBUFS, Errno::EBUSY, Errno::EAGAIN] {
        let error = Client::over(Fails(errno)).unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    assert!(!Client::over(Fails(Errno::EPERM)).unwrap_err().is_transient());
}

fn an_errno() -> impl Strategy<Value = Errno> {
    proptest::sample::select(vec![
        Errno::ENOBUFS,
        Errno::EBUSY,
        Errno::ENOMEM,
        Errno::EAGAIN,
        Errno::EINVAL,
        Errno::EIO,
    ])
}

fn a_fault_of_sending() -> impl Strategy<Value = Sending> {
    prop_oneof![
        3 => Just(Sending::Well),
        1 => an_errno().prop_map(Sending::Fails),
        1 => (0..20usize, an_errno()).prop_map(|(which, errno)| Sending::Refuses(which, errno)),
        1 => (0..6usize).prop_map(Sending::Overflows),
        1 => Just(Sending::Late),
        1 => Just(Sending::Interrupted),
    ]
}

fn a_fault_of_receiving() -> impl Strategy<Value = Receiving> {
    prop_oneof![
        6 => Just(Receiving::Well),
        1 => Just(Receiving::Nothing),
        1 => an_errno().prop_map(Receiving::Fails),
        1 => Just(Receiving::TooLong),
        1 => any::<usize>().prop_map(Receiving::Short),
        1 => any::<u8>().prop_map(Receiving::Garbage),
        1 => Just(Receiving::Twice),
    ]
}

fn a_table() -> impl Strategy<Value = Table> {
    let destination = (0..DESTINATIONS, 0..3u32)
        .prop_map(|(number, weight)| (destination(number), DestinationSpec::new(Forwarding::Dr, weight)));
    let scheduler = proptest::sample::select(vec![Scheduler::Rr, Scheduler::Wlc]);
    let of_service = (scheduler, vec(destination, 0..8))
        .prop_map(|(scheduler, destinations)| (spec(scheduler), destinations.into_iter().collect()));
    proptest::collection::btree_map((0..SERVICES).prop_map(service), of_service, 0..5)
}

proptest! {
    #[test]
    fn through_any_faults_the_table_becomes_the_wanted_one_and_nothing_is_said_that_is_not_so(
        wanted in vec(a_table(), 1..4),
        sending in vec(a_fault_of_sending(), 0..40),
        receiving in vec(a_fault_of_receiving(), 0..60),
    ) {
        let mut client = client(&sending, &receiving);
        for wanted in wanted {
            // Each look and each batch takes at least one of the faults away; each that finds none is one that works.
            let mut looks = 0;
            loop {
                looks += 1;
                prop_assert!(looks <= sending.len() + receiving.len() + 3, "it never ends: {:?}", client.transport.table);
                let Ok(found) = read(&mut client) else { continue };
                if found == wanted {
                    break;
                }
                write(&mut client, &steps(&found, &wanted));
            }
            prop_assert_eq!(&client.transport.table, &wanted);
        }
    }
}
