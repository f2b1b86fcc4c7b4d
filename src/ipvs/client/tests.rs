//! The client's bookkeeping against a kernel that is played: refusals, lost and late answers, dumps in pieces.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::*;
use crate::model::{DestinationKey, DestinationSpec, Family, Forwarding, Scheduler, ServiceSpec};

const FAMILY: u16 = 28;

/// What the played kernel has queued.
enum Event {
    Answer(Vec<u8>),
    Error(Errno),
    /// Nothing comes in time, though more is queued.
    Silence,
}

/// One request as the played kernel reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    command: u8,
    sequence: u32,
    wants_acknowledgement: bool,
}

type Answers = Box<dyn FnMut(&[Asked]) -> Vec<Event>>;

/// A kernel that answers each datagram as a closure says.
struct Played {
    answers: Answers,
    queue: VecDeque<Event>,
    sent: Rc<RefCell<Vec<Vec<Asked>>>>,
    longest: usize,
}

fn read_requests(datagram: &[u8]) -> Vec<Asked> {
    let mut rest = datagram;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
        let flags = u16::from_ne_bytes(rest[6..8].try_into().unwrap());
        found.push(Asked {
            command: rest[encode::HEADER],
            sequence: u32::from_ne_bytes(rest[8..12].try_into().unwrap()),
            wants_acknowledgement: flags & 4 != 0,
        });
        rest = &rest[length..];
    }
    found
}

impl Transport for Played {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if datagram.len() > self.longest {
            return Err(Errno::EMSGSIZE.into());
        }
        if u16::from_ne_bytes(datagram[4..6].try_into().unwrap()) == 16 {
            let sequence = read_requests(datagram)[0].sequence;
            let mut attributes = vec![6, 0, 1, 0];
            attributes.extend_from_slice(&FAMILY.to_ne_bytes());
            attributes.extend_from_slice(&[0; 2]);
            self.queue.push_back(Event::Answer(data(sequence, &attributes)));
            self.queue.push_back(Event::Answer(acknowledged(sequence, 0)));
            return Ok(());
        }
        let asked = read_requests(datagram);
        self.sent.borrow_mut().push(asked.clone());
        self.queue.extend((self.answers)(&asked));
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _: Instant) -> io::Result<Option<usize>> {
        match self.queue.pop_front() {
            None | Some(Event::Silence) => Ok(None),
            Some(Event::Error(errno)) => Err(errno.into()),
            Some(Event::Answer(answer)) => {
                buffer[..answer.len()].copy_from_slice(&answer);
                Ok(Some(answer.len()))
            }
        }
    }
}

struct Stage {
    client: Client<Played>,
    sent: Rc<RefCell<Vec<Vec<Asked>>>>,
}

fn stage(answers: impl FnMut(&[Asked]) -> Vec<Event> + 'static) -> Stage {
    stage_with(usize::MAX, answers)
}

fn stage_with(longest: usize, answers: impl FnMut(&[Asked]) -> Vec<Event> + 'static) -> Stage {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let client = Client::over(Played {
        answers: Box::new(answers),
        queue: VecDeque::new(),
        sent: Rc::clone(&sent),
        longest,
    });
    Stage {
        client: client.unwrap(),
        sent,
    }
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(encode::HEADER as u32 + payload.len() as u32).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    out.extend_from_slice(payload);
    out
}

/// An acknowledgement, or a refusal; the request's header stands for the request.
pub(super) fn acknowledged(sequence: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend_from_slice(&message(FAMILY, 1, sequence, &[]));
    message(2, 0, sequence, &payload)
}

pub(super) fn data(sequence: u32, attributes: &[u8]) -> Vec<u8> {
    message(FAMILY, 2, sequence, &[&[1, 1, 0, 0], attributes].concat())
}

pub(super) fn done(sequence: u32, errno: i32) -> Vec<u8> {
    message(3, 2, sequence, &(-errno).to_ne_bytes())
}

/// The same answer with the mark of an interrupted dump.
pub(super) fn interrupted(mut answer: Vec<u8>) -> Vec<u8> {
    answer[6] |= 0x10;
    answer
}

fn service_key() -> ServiceKey {
    "tcp 192.0.2.200:80".parse().unwrap()
}

fn destination_key(number: usize) -> DestinationKey {
    DestinationKey::new(IpAddr::from(Ipv4Addr::from_bits(0xc612_0000 + number as u32)), 80)
}

/// What the kernel answers of destination `number` in a dump.
fn told(sequence: u32, number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let spec = DestinationSpec::new(Forwarding::Dr, number as u32);
    Request::NewDest(service_key(), destination_key(number), &spec).encode(&mut out, FAMILY, sequence, false);
    out
}

fn steps(count: usize) -> Vec<Step> {
    (0..count)
        .map(|number| Step::AddDestination {
            service: service_key(),
            destination: destination_key(number),
            spec: DestinationSpec::new(Forwarding::Dr, 1),
        })
        .collect()
}

/// What the kernel does where all is well: an answer where one is wanted.
fn all_well(asked: &[Asked]) -> Vec<Event> {
    asked
        .iter()
        .filter(|asked| asked.wants_acknowledgement)
        .map(|asked| Event::Answer(acknowledged(asked.sequence, 0)))
        .collect()
}

fn messages_of(outcomes: &[StepOutcome]) -> Vec<(usize, String)> {
    outcomes
        .iter()
        .enumerate()
        .filter_map(|(index, outcome)| Some((index, outcome.result.clone().err()?.message)))
        .collect()
}

#[test]
fn a_batch_is_cut_into_windows_with_one_acknowledgement_each() {
    let mut stage = stage(all_well);
    let outcomes = stage.client.apply(&steps(300));
    assert_eq!(outcomes.len(), 300);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    let sent = stage.sent.borrow();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44]);
    for window in sent.iter() {
        let last = window.len() - 1;
        for (index, asked) in window.iter().enumerate() {
            assert_eq!(asked.wants_acknowledgement, index == last);
        }
    }
}

#[test]
fn refusals_go_to_their_own_requests_wherever_they_stand() {
    let refused = [0, 63, 127, 128, 299];
    let mut number = 0;
    let mut stage = stage(move |asked| {
        let mut events = Vec::new();
        for asked in asked {
            match refused.contains(&number) {
                true => events.push(Event::Answer(acknowledged(asked.sequence, Errno::EINVAL as i32))),
                false if asked.wants_acknowledgement => events.push(Event::Answer(acknowledged(asked.sequence, 0))),
                false => {}
            }
            number += 1;
        }
        events
    });
    let outcomes = stage.client.apply(&steps(300));
    let found = messages_of(&outcomes);
    assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), refused);
    for (index, text) in found {
        let named = format!(
            "cannot add real server {} to tcp 192.0.2.200:80",
            destination_key(index)
        );
        assert!(text.starts_with(&named), "{text}");
    }
    let kinds = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
    assert!(
        kinds
            .map(|refusal| refusal.kind)
            .all(|kind| kind == RefusalKind::Permanent)
    );
}

#[test]
fn several_answers_in_one_datagram_and_those_of_an_earlier_request_are_told_apart() {
    let mut stage = stage(|asked| {
        let (first, last) = (asked[0].sequence, asked[asked.len() - 1].sequence);
        let mut datagram = acknowledged(first.wrapping_sub(1), Errno::EPERM as i32);
        datagram.extend(acknowledged(first + 1, Errno::EEXIST as i32));
        datagram.extend(acknowledged(last + 1, Errno::EPERM as i32));
        datagram.extend(acknowledged(last, 0));
        vec![Event::Answer(datagram)]
    });
    let outcomes = stage.client.apply(&steps(5));
    let found = messages_of(&outcomes);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 1);
    assert!(found[0].1.contains("there already"), "{}", found[0].1);
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().kind, RefusalKind::TableChanged);
}

#[test]
fn a_window_goes_on_over_the_end_of_the_sequence_numbers() {
    let mut stage = stage(|asked| {
        let mut events = vec![Event::Answer(acknowledged(asked[7].sequence, Errno::ERANGE as i32))];
        events.extend(all_well(asked));
        events
    });
    stage.client.sequence = u32::MAX - 5;
    let found = messages_of(&stage.client.apply(&steps(10)));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 7);
    let sequences: Vec<_> = stage.sent.borrow()[0].iter().map(|asked| asked.sequence).collect();
    assert_eq!((sequences[0], sequences[9]), (u32::MAX - 4, 4));
}

#[test]
fn where_answers_were_lost_the_told_refusals_stay_and_the_rest_is_not_known() {
    let mut window = 0;
    let mut stage = stage(move |asked| {
        window += 1;
        if window == 2 {
            return all_well(asked);
        }
        let mut events = vec![
            Event::Answer(acknowledged(asked[3].sequence, Errno::EINVAL as i32)),
            Event::Error(Errno::ENOBUFS),
            Event::Answer(acknowledged(asked[5].sequence, Errno::EINVAL as i32)),
        ];
        events.extend(all_well(asked));
        events
    });
    let outcomes = stage.client.apply(&steps(130));
    let kind = |index: usize| outcomes[index].result.as_ref().err().map(|refusal| refusal.kind);
    for index in 0..128 {
        let wanted = match index {
            3 | 5 => RefusalKind::Permanent,
            _ => RefusalKind::Transient,
        };
        assert_eq!(kind(index), Some(wanted), "{index}");
    }
    assert_eq!((kind(128), kind(129)), (None, None));
    let text = &outcomes[4].result.as_ref().unwrap_err().message;
    assert!(
        text.starts_with("do not know whether I could add real server"),
        "{text}"
    );
    assert!(text.contains("net.core.rmem_max"), "{text}");
}

#[test]
fn after_lost_answers_the_queue_is_emptied_before_the_next_request() {
    // What an overflowed buffer still holds: the kernel queues nothing new before it is read.
    let mut window = 0;
    let mut stage = stage(move |asked| {
        window += 1;
        match window {
            1 => vec![
                Event::Error(Errno::ENOBUFS),
                Event::Silence,
                Event::Answer(acknowledged(asked[0].sequence, Errno::EINVAL as i32)),
                Event::Error(Errno::ENOBUFS),
                Event::Answer(vec![1, 2, 3]),
            ],
            _ => all_well(asked),
        }
    });
    assert_eq!(messages_of(&stage.client.apply(&steps(3))).len(), 3);
    assert!(stage.client.stale);
    assert!(messages_of(&stage.client.apply(&steps(3))).is_empty());
    assert!(!stage.client.stale);
    assert!(stage.client.transport.queue.is_empty());
}

#[test]
fn late_answers_to_a_request_that_timed_out_are_not_taken_for_those_of_the_next() {
    let mut before: Option<Asked> = None;
    let mut stage = stage(move |asked| match before.take() {
        None => {
            before = Some(asked[0]);
            Vec::new()
        }
        Some(late) => {
            let mut events = vec![Event::Answer(acknowledged(late.sequence, Errno::EPERM as i32))];
            events.extend(all_well(asked));
            events
        }
    });
    let error = stage.client.flush().unwrap_err();
    assert!(matches!(error, IpvsError::NoAnswer(_)), "{error}");
    assert!(error.is_transient());
    stage.client.flush().unwrap();
}

#[test]
fn a_window_without_an_answer_is_transient_and_the_next_one_is_sent() {
    let mut first = true;
    let mut stage = stage(move |asked| match std::mem::take(&mut first) {
        true => Vec::new(),
        false => all_well(asked),
    });
    let outcomes = stage.client.apply(&steps(129));
    assert!(outcomes[..128].iter().all(|outcome| {
        matches!(&outcome.result, Err(refusal) if refusal.kind == RefusalKind::Transient && refusal.message.contains("15s"))
    }));
    assert!(outcomes[128].result.is_ok());
}

#[test]
fn a_garbled_datagram_is_an_error_and_not_the_end() {
    for garbage in [
        vec![0],
        vec![0xff; 3],
        vec![0; 15],
        vec![0xff; 64],
        message(FAMILY, 0, 2, &[])[..12].to_vec(),
    ] {
        let mut first = true;
        let mut stage = stage(move |asked| {
            let mut events = Vec::new();
            if std::mem::take(&mut first) {
                events.push(Event::Answer(garbage.clone()));
            }
            events.extend(all_well(asked));
            events
        });
        let found = messages_of(&stage.client.apply(&steps(2)));
        assert_eq!(found.len(), 2);
        assert!(found[0].1.contains("cut off"), "{}", found[0].1);
        stage.client.flush().unwrap();
    }
}

#[test]
fn an_empty_datagram_is_passed_over() {
    let mut stage = stage(|asked| {
        let mut events = vec![Event::Answer(Vec::new())];
        events.extend(all_well(asked));
        events
    });
    stage.client.flush().unwrap();
}

#[test]
fn an_answer_longer_than_the_buffer_leaves_the_outcome_open() {
    let mut stage = stage(|_| vec![Event::Error(Errno::EMSGSIZE)]);
    let outcomes = stage.client.apply(&steps(2));
    for outcome in outcomes {
        let refusal = outcome.result.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Transient);
        assert!(refusal.message.starts_with("do not know"), "{}", refusal.message);
    }
}

#[test]
fn a_send_buffer_that_takes_no_whole_window_gets_it_in_parts() {
    let mut stage = stage_with(1000, |asked| {
        let mut events = Vec::new();
        for asked in asked.iter().filter(|asked| asked.sequence % 50 == 0) {
            events.push(Event::Answer(acknowledged(asked.sequence, Errno::EINVAL as i32)));
        }
        events.extend(all_well(asked));
        events
    });
    let outcomes = stage.client.apply(&steps(128));
    assert_eq!(outcomes.len(), 128);
    let sent = stage.sent.borrow();
    let all: Vec<_> = sent.iter().flatten().collect();
    assert_eq!(all.len(), 128);
    assert!(sent.len() > 8);
    let refused: Vec<_> = (0..128).filter(|index| all[*index].sequence % 50 == 0).collect();
    let found: Vec<_> = messages_of(&outcomes).iter().map(|(index, _)| *index).collect();
    assert_eq!(found, refused);
    assert!(found.len() >= 2);
}

#[test]
fn what_could_not_be_sent_is_refused_and_not_unknown() {
    let mut stage = stage_with(40, |_| Vec::new());
    let outcomes = stage.client.apply(&steps(3));
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let refusal = outcome.result.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Permanent);
        let named = format!("cannot add real server {} to", destination_key(index));
        assert!(refusal.message.starts_with(&named), "{}", refusal.message);
    }
    assert!(stage.sent.borrow().is_empty());
}

#[test]
fn a_dump_is_gathered_over_datagrams() {
    let mut stage = stage(|asked| {
        let sequence = asked[0].sequence;
        vec![
            Event::Answer([told(sequence, 1), told(sequence, 2)].concat()),
            Event::Answer(told(sequence, 3)),
            Event::Answer([told(sequence.wrapping_sub(1), 50), told(sequence, 4)].concat()),
            Event::Answer(done(sequence, 0)),
        ]
    });
    let found = stage.client.destinations(&service_key()).unwrap();
    let weights: Vec<_> = found.iter().map(|found| found.spec.weight).collect();
    assert_eq!(weights, [1, 2, 3, 4]);
    let sent = stage.sent.borrow();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0][0].command, sent[0][0].wants_acknowledgement), (8, false));
}

#[test]
fn a_dump_that_tells_something_twice_has_left_others_out_and_is_read_again() {
    let mut tries = 0;
    let mut stage = stage(move |asked| {
        tries += 1;
        let sequence = asked[0].sequence;
        let numbers: &[usize] = match tries {
            1 => &[1, 2, 3, 2],
            _ => &[1, 2, 3, 4],
        };
        let mut out: Vec<u8> = numbers.iter().flat_map(|number| told(sequence, *number)).collect();
        out.extend(done(sequence, 0));
        vec![Event::Answer(out)]
    });
    assert_eq!(stage.client.destinations(&service_key()).unwrap().len(), 4);
    assert_eq!(stage.sent.borrow().len(), 2);
}

#[test]
fn where_somebody_never_stops_writing_each_entry_is_told_once() {
    let mut stage = stage(|asked| {
        let mut out = Vec::new();
        for address in ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.1:80"] {
            let key = format!("tcp {address}").parse().unwrap();
            let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
            Request::NewService(key, &spec).encode(&mut out, FAMILY, asked[0].sequence, false);
        }
        vec![Event::Answer(out), Event::Answer(done(asked[0].sequence, 0))]
    });
    assert_eq!(stage.client.services().unwrap().len(), 2);
    assert_eq!(stage.sent.borrow().len(), DUMP_TRIES as usize);
}

#[test]
fn a_dump_that_was_interrupted_is_read_again() {
    let mut tries = 0;
    let mut stage = stage(move |asked| {
        tries += 1;
        let sequence = asked[0].sequence;
        match tries {
            1 => vec![
                Event::Answer(told(sequence, 1)),
                Event::Answer(interrupted(done(sequence, 0))),
            ],
            2 => vec![
                Event::Answer(interrupted(told(sequence, 1))),
                Event::Answer(done(sequence, 0)),
            ],
            _ => vec![
                Event::Answer(told(sequence, 7)),
                Event::Answer(told(sequence, 8)),
                Event::Answer(done(sequence, 0)),
            ],
        }
    });
    let found = stage.client.destinations(&service_key()).unwrap();
    let weights: Vec<_> = found.iter().map(|found| found.spec.weight).collect();
    assert_eq!(weights, [7, 8]);
    assert_eq!(stage.sent.borrow().len(), 3);
}

#[test]
fn a_dump_that_is_always_interrupted_ends_with_an_error() {
    let mut stage = stage(|asked| vec![Event::Answer(interrupted(done(asked[0].sequence, 0)))]);
    let error = stage.client.destinations(&service_key()).unwrap_err();
    assert!(matches!(error, IpvsError::Changing), "{error}");
    assert_eq!(stage.sent.borrow().len(), DUMP_TRIES as usize);
}

#[test]
fn a_dump_that_ends_with_an_error_is_that_error() {
    let mut stage = stage(|asked| {
        vec![
            Event::Answer(told(asked[0].sequence, 1)),
            Event::Answer(done(asked[0].sequence, Errno::ENOMEM as i32)),
        ]
    });
    let error = stage.client.destinations(&service_key()).unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(
        error
            .to_string()
            .contains("read the real servers of tcp 192.0.2.200:80"),
        "{error}"
    );
}

#[test]
fn a_dump_with_an_entry_that_cannot_be_understood_is_read_to_its_end() {
    // The kernel refuses a second dump on a socket while the first is not read to its end.
    let mut stage = stage(|asked| {
        let sequence = asked[0].sequence;
        vec![
            Event::Answer(told(sequence, 1)),
            Event::Answer(data(sequence, &[4, 0, 2, 0])),
            Event::Answer(told(sequence, 2)),
            Event::Answer(done(sequence, 0)),
        ]
    });
    let error = stage.client.destinations(&service_key()).unwrap_err();
    assert!(error.to_string().contains("lacks destination address"), "{error}");
    assert!(stage.client.transport.queue.is_empty());
}

#[test]
fn a_dump_that_falls_silent_is_passed_over_before_the_next_one() {
    let mut tries = 0;
    let mut stage = stage(move |asked| {
        tries += 1;
        let sequence = asked[0].sequence;
        let mut events = vec![Event::Answer(told(sequence, tries)), Event::Answer(done(sequence, 0))];
        if tries == 1 {
            events.insert(1, Event::Silence);
        }
        events
    });
    let error = stage.client.destinations(&service_key()).unwrap_err();
    assert!(matches!(error, IpvsError::NoAnswer(_)), "{error}");
    let found = stage.client.destinations(&service_key()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].spec.weight, 2);
}

fn daemons(running: &'static [SyncRole]) -> impl FnMut(&[Asked]) -> Vec<Event> {
    move |asked| {
        let sequence = asked[0].sequence;
        match asked[0].command {
            // The lost acknowledgement of a stop.
            10 => Vec::new(),
            11 => {
                let mut out = Vec::new();
                for role in running {
                    let daemon = SyncDaemon {
                        role: *role,
                        interface: "eth0".to_owned(),
                        sync_id: 7,
                        max_length: 1472,
                        group: None,
                        port: 8848,
                        ttl: 1,
                    };
                    Request::NewDaemon(&daemon).encode(&mut out, FAMILY, sequence, false);
                }
                out.extend(done(sequence, 0));
                vec![Event::Answer(out)]
            }
            _ => all_well(asked),
        }
    }
}

#[test]
fn a_stop_whose_acknowledgement_is_lost_is_judged_by_what_runs() {
    let mut stopped = stage(daemons(&[SyncRole::Backup]));
    stopped.client.stop_sync_daemon(SyncRole::Master).unwrap();
    let mut stays = stage(daemons(&[SyncRole::Master]));
    let error = stays.client.stop_sync_daemon(SyncRole::Master).unwrap_err();
    assert!(
        matches!(error, IpvsError::NoAnswer(time) if time == Duration::from_secs(1)),
        "{error}"
    );
    // The short deadline is the stop's alone.
    assert_eq!(stays.client.deadline, DEADLINE);
}

#[test]
fn an_answer_without_the_data_that_was_asked_for_is_an_error() {
    let mut stage = stage(all_well);
    assert!(matches!(stage.client.info(), Err(IpvsError::Decode(_))));
    assert!(matches!(stage.client.timeouts(), Err(IpvsError::Decode(_))));
    assert!(matches!(
        stage.client.service(&service_key()),
        Err(IpvsError::Decode(_))
    ));
}

#[test]
fn a_kernel_without_ipvs_is_told_from_other_trouble() {
    struct Refuses(Errno, bool);
    impl Transport for Refuses {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            self.1 = true;
            Ok(())
        }
        fn receive(&mut self, buffer: &mut [u8], _: Instant) -> io::Result<Option<usize>> {
            let answer = acknowledged(1, self.0 as i32);
            buffer[..answer.len()].copy_from_slice(&answer);
            Ok(std::mem::take(&mut self.1).then_some(answer.len()))
        }
    }
    let error = Client::over(Refuses(Errno::ENOENT, false)).unwrap_err();
    assert!(matches!(error, IpvsError::NoIpvs), "{error}");
    assert!(error.to_string().contains("modprobe ip_vs"));
    let error = Client::over(Refuses(Errno::ENOMEM, false)).unwrap_err();
    assert!(
        matches!(error, IpvsError::Refused { .. }) && error.is_transient(),
        "{error}"
    );
}
