//! The client over a transport that fails: whatever goes wrong between it and the kernel, it comes back from it, never
//! takes a step for done that was not, and never takes half a table for a whole one.
//!
//! The transport is the seam that production has anyway; the kernel behind it is played and keeps a table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{acknowledged, data, done, interrupted};
use super::*;
use crate::ipvs::encode::{GENERIC_HEADER, HEADER};
use crate::model::{DestinationKey, DestinationSpec, Family, Forwarding, Scheduler, ServiceSpec};

const FAMILY: u16 = 28;
const SERVICES: u16 = 4;
const DESTINATIONS: u8 = 5;
/// Messages of a dump in one datagram.
const TOLD_AT_ONCE: usize = 3;

type Table = BTreeMap<ServiceKey, (ServiceSpec, BTreeMap<DestinationKey, DestinationSpec>)>;

fn service(number: u16) -> ServiceKey {
    format!("tcp 192.0.2.200:{}", 80 + number).parse().unwrap()
}

fn destination(number: u8) -> DestinationKey {
    format!("198.18.0.{number}:80").parse().unwrap()
}

fn spec(scheduler: Scheduler) -> ServiceSpec {
    ServiceSpec::new(scheduler, Family::Inet)
}

/// What goes wrong with one datagram of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Well,
    /// The system call fails, and the kernel has seen nothing.
    Fails(Errno),
    /// The kernel refuses one of the requests, and carries the others out.
    Refuses(usize, Errno),
    /// The socket's buffer takes so many answers and no more.
    Overflows(usize),
    /// The answers come after the client has given up.
    Late,
    /// A dump is said to have been interrupted.
    Interrupted,
}

/// What goes wrong with one datagram of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Well,
    /// Nothing comes in time, though more is queued.
    Nothing,
    /// The system call fails, and the answer is still queued.
    Fails(Errno),
    /// The datagram does not fit, and is gone.
    TooLong,
    /// The datagram ends within a message, so many bytes before the end of one. A datagram that ends between two
    /// cannot be told from a whole one, and the kernel makes none: what does not fit is said to be too long.
    Short(usize),
    /// Something else comes before it.
    Garbage(u8),
    /// It comes twice.
    Twice,
}

/// A kernel with a table, and what goes wrong on the way to it and back.
struct Faulty {
    table: Table,
    queue: VecDeque<Vec<u8>>,
    held_back: Vec<Vec<u8>>,
    overflown: bool,
    sending: VecDeque<Sending>,
    receiving: VecDeque<Receiving>,
    /// The sequence numbers of the requests that were carried out.
    carried_out: BTreeSet<u32>,
}

impl Faulty {
    fn new() -> Self {
        Self {
            table: Table::new(),
            queue: VecDeque::new(),
            held_back: Vec::new(),
            overflown: false,
            sending: VecDeque::new(),
            receiving: VecDeque::new(),
            carried_out: BTreeSet::new(),
        }
    }

    /// Answers one request of the family IPVS.
    fn answer(&mut self, request: &[u8], refused: Option<Errno>, is_interrupted: bool) -> Vec<Vec<u8>> {
        let flags = u16::from_ne_bytes(request[6..8].try_into().unwrap());
        let sequence = u32::from_ne_bytes(request[8..12].try_into().unwrap());
        let (command, attributes) = (request[HEADER], &request[HEADER + GENERIC_HEADER..]);
        let told: Vec<Vec<u8>> = match command {
            4 => {
                let services = self.table.iter();
                services
                    .map(|(key, (spec, _))| told(&Request::NewService(*key, spec), sequence))
                    .collect()
            }
            8 => {
                let key = service_in(attributes);
                let destinations = self.table.get(&key).into_iter().flat_map(|(_, found)| found);
                destinations
                    .map(|(destination, spec)| told(&Request::NewDest(key, *destination, spec), sequence))
                    .collect()
            }
            _ => {
                let outcome = match refused {
                    Some(errno) => Err(errno),
                    None => self.carry_out(command, attributes),
                };
                if outcome.is_ok() {
                    self.carried_out.insert(sequence);
                }
                return match outcome {
                    Err(errno) => vec![acknowledged(sequence, errno as i32)],
                    Ok(()) if flags & 4 != 0 => vec![acknowledged(sequence, 0)],
                    Ok(()) => Vec::new(),
                };
            }
        };
        if let Some(errno) = refused {
            return vec![acknowledged(sequence, errno as i32)];
        }
        let end = match is_interrupted {
            true => interrupted(done(sequence, 0)),
            false => done(sequence, 0),
        };
        let mut datagrams: Vec<_> = told.chunks(TOLD_AT_ONCE).map(<[_]>::concat).collect();
        datagrams.push(end);
        datagrams
    }

    fn carry_out(&mut self, command: u8, attributes: &[u8]) -> Result<(), Errno> {
        let key = service_in(attributes);
        let full = |attributes| decode::service(attributes).unwrap().spec;
        match command {
            1 if self.table.contains_key(&key) => return Err(Errno::EEXIST),
            1 => {
                self.table.insert(key, (full(attributes), BTreeMap::new()));
                return Ok(());
            }
            _ => {}
        }
        let (spec, destinations) = self.table.get_mut(&key).ok_or(Errno::ESRCH)?;
        match command {
            2 => *spec = full(attributes),
            3 => drop(self.table.remove(&key)),
            7 => {
                let named = (0..=u8::MAX).map(destination).find(|key| names(attributes, key));
                destinations.remove(&named.unwrap()).ok_or(Errno::ENOENT)?;
            }
            5 | 6 => {
                let found = decode::destination(attributes, Family::Inet).unwrap();
                match (command, destinations.contains_key(&found.key)) {
                    (5, true) => return Err(Errno::EEXIST),
                    (6, false) => return Err(Errno::ENOENT),
                    _ => drop(destinations.insert(found.key, found.spec)),
                }
            }
            other => unreachable!("nobody sends {other}"),
        }
        Ok(())
    }
}

/// The service that the attributes of a request name.
fn service_in(attributes: &[u8]) -> ServiceKey {
    let is_named = |key: &ServiceKey| {
        let mut nest = Vec::new();
        encode::service(&mut nest, key, None);
        // Past the length, which is another one where the settings follow.
        attributes[2..].starts_with(&nest[2..])
    };
    (0..SERVICES).map(service).find(is_named).unwrap()
}

/// Whether the attributes of a request end with this destination's key.
fn names(attributes: &[u8], key: &DestinationKey) -> bool {
    let mut nest = Vec::new();
    encode::destination_nest(&mut nest, key, None);
    attributes.ends_with(&nest)
}

fn told(request: &Request<'_>, sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out, FAMILY, sequence, false);
    out
}

impl Transport for Faulty {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if u16::from_ne_bytes(datagram[4..6].try_into().unwrap()) == 16 {
            let sequence = u32::from_ne_bytes(datagram[8..12].try_into().unwrap());
            let mut attributes = vec![6, 0, 1, 0];
            attributes.extend_from_slice(&FAMILY.to_ne_bytes());
            attributes.extend_from_slice(&[0; 2]);
            self.queue.push_back(data(sequence, &attributes));
            self.queue.push_back(acknowledged(sequence, 0));
            return Ok(());
        }
        let fault = self.sending.pop_front().unwrap_or(Sending::Well);
        if let Sending::Fails(errno) = fault {
            return Err(errno.into());
        }
        let mut rest = datagram;
        let (mut answers, mut number) = (Vec::new(), 0);
        let count = datagram.len();
        while !rest.is_empty() {
            let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            let refused = match fault {
                Sending::Refuses(which, errno) if which % (count / length).max(1) == number => Some(errno),
                _ => None,
            };
            answers.extend(self.answer(&rest[..length], refused, fault == Sending::Interrupted));
            rest = &rest[length..];
            number += 1;
        }
        match fault {
            Sending::Overflows(room) => {
                self.overflown |= answers.len() > room;
                answers.truncate(room);
                self.queue.extend(answers);
            }
            Sending::Late => self.held_back.extend(answers),
            _ => self.queue.extend(answers),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _: Instant) -> io::Result<Option<usize>> {
        if std::mem::take(&mut self.overflown) {
            return Err(Errno::ENOBUFS.into());
        }
        let fault = self.receiving.pop_front().unwrap_or(Receiving::Well);
        match fault {
            Receiving::Nothing => return Ok(None),
            Receiving::Fails(errno) => return Err(errno.into()),
            Receiving::Garbage(byte) => {
                let garbage = [byte; 21];
                buffer[..garbage.len()].copy_from_slice(&garbage);
                return Ok(Some(garbage.len()));
            }
            _ => {}
        }
        let Some(answer) = self.queue.pop_front() else {
            // What was late comes when nobody waits for it any more.
            self.queue.extend(self.held_back.drain(..));
            return Ok(None);
        };
        let mut length = answer.len();
        match fault {
            Receiving::TooLong => return Err(Errno::EMSGSIZE.into()),
            Receiving::Short(missing) => {
                let first = u32::from_ne_bytes(answer[..4].try_into().unwrap()) as usize;
                length = first - (1 + missing % (first - 1));
            }
            Receiving::Twice => self.queue.push_front(answer.clone()),
            _ => {}
        }
        buffer[..length].copy_from_slice(&answer[..length]);
        Ok(Some(length))
    }
}

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
