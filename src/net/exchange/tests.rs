//! Questions to the kernel that runs the tests, and datagrams made by hand.

use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::libc;
use proptest::prelude::*;
use rtnetlink::packet_core::{DoneMessage, ErrorMessage};

use super::*;

fn named(name: &str) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    RouteNetlinkMessage::GetLink(message)
}

fn loopback(exchange: &Exchange) -> u32 {
    match exchange.one("find it", "lo", named("lo")) {
        Ok(RouteNetlinkMessage::NewLink(found)) => found.header.index,
        other => panic!("every namespace has one: {other:?}"),
    }
}

#[test]
fn each_question_has_its_own_answer() {
    let exchange = Exchange::open(false).expect("a netlink socket");
    let first = loopback(&exchange);
    let nothing = exchange.one("find it", "ipvsd-none", named("ipvsd-none"));
    assert!(matches!(nothing, Err(NetError::NoSuchDevice { .. })), "{nothing:?}");
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let listed = exchange.list("list them", &all).expect("a list");
    let are_addresses = |message: &RouteNetlinkMessage| matches!(message, RouteNetlinkMessage::NewAddress(_));
    assert!(listed.iter().all(are_addresses), "{listed:?}");
    assert_eq!(loopback(&exchange), first);
}

#[test]
fn what_was_answered_too_late_is_passed_over() {
    let exchange = Exchange::open(false).expect("a netlink socket");
    // A question whose answer nobody has read.
    exchange
        .with(|talk| talk.ask(named("ipvsd-none"), 0))
        .expect("it is asked");
    loopback(&exchange);
}

#[test]
fn what_breaks_off_is_no_empty_list_and_no_change_and_the_next_question_is_answered() {
    let exchange = Exchange::open(false).expect("a netlink socket");
    let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let no_answer =
        |result: Result<(), NetError>| assert!(matches!(result, Err(NetError::NoAnswer { .. })), "{result:?}");
    // All that comes in is for another question.
    let deafen = || {
        let mut talk = exchange.0.lock().expect("nobody has it");
        let filter = [socket2::SockFilter::new(0x06, 0, 0, 0)];
        let socket = SockRef::from(&talk.socket);
        socket.attach_filter(&filter).expect("a filter that lets nothing in");
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .expect("a short patience");
        talk.broken = false;
    };
    deafen();
    no_answer(exchange.list("list them", &all).map(drop));
    loopback(&exchange);
    deafen();
    no_answer(exchange.change("change it", "lo", named("lo"), 0));
    assert!(!exchange.list("list them", &all).expect("a list").is_empty());
    deafen();
    no_answer(exchange.one("find it", "lo", named("lo")).map(drop));
    loopback(&exchange);
}

/// The bytes of a message that answers a question.
fn bytes(number: u32, flags: u16, payload: NetlinkPayload<RouteNetlinkMessage>) -> Vec<u8> {
    let mut message = NetlinkMessage::new(Default::default(), payload);
    message.header.sequence_number = number;
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn link() -> NetlinkPayload<RouteNetlinkMessage> {
    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(LinkMessage::default()))
}

/// A letter for each part, and an exclamation mark where the list has changed.
fn shape(datagram: &[u8]) -> Option<String> {
    let Parts { parts, interrupted } = parts(datagram, 7).expect("it can be read")?;
    let letter = |part: &Part| match part {
        Part::Inner(_) => 'm',
        Part::Unknown => '?',
        Part::End => '.',
    };
    Some(parts.iter().map(letter).chain(interrupted.then_some('!')).collect())
}

fn done(code: i32) -> NetlinkPayload<RouteNetlinkMessage> {
    let mut done = DoneMessage::default();
    done.code = code;
    NetlinkPayload::Done(done)
}

#[test]
fn a_datagram_is_taken_apart() {
    let of = |parts: &[Vec<u8>]| shape(&parts.concat());
    let two = [bytes(7, 0, link()), bytes(7, 0, link()), bytes(7, 0, done(0))];
    assert_eq!(of(&two).as_deref(), Some("mm."));
    let acknowledged = NetlinkPayload::Error(ErrorMessage::default());
    assert_eq!(of(&[bytes(7, 0, acknowledged)]).as_deref(), Some("."));
    assert_eq!(of(&[bytes(6, 0, link())]), None, "of another question");
    // A link whose attributes are cut off.
    let mut cut = bytes(7, 0, link());
    cut.extend([9, 0, 3, 0]);
    let length = u32::try_from(cut.len()).expect("it is short");
    cut[..4].copy_from_slice(&length.to_ne_bytes());
    assert_eq!(of(&[cut, bytes(7, 0, done(0))]).as_deref(), Some("?."));
    assert!(parts(&bytes(7, 0, link())[..15], 7).is_err(), "half a header");
}

#[test]
fn a_list_that_has_changed_says_so_in_any_of_its_messages() {
    for place in 0..3 {
        let flags = |at| if at == place { NLM_F_DUMP_INTR } else { 0 };
        let list = [
            bytes(7, flags(0), link()),
            bytes(7, flags(1), link()),
            bytes(7, flags(2), done(0)),
        ];
        assert_eq!(shape(&list.concat()).as_deref(), Some("mm.!"), "{place}");
    }
}

#[test]
fn what_the_kernel_has_against_it_is_an_error_wherever_it_says_so() {
    let mut refused = ErrorMessage::default();
    refused.code = std::num::NonZeroI32::new(-libc::EPERM);
    for (payload, error) in [
        (NetlinkPayload::Error(refused), libc::EPERM),
        (done(-libc::EINVAL), libc::EINVAL),
    ] {
        let list = [bytes(7, 0, link()), bytes(7, 0, payload)].concat();
        let found = parts(&list, 7).err().and_then(|error| error.raw_os_error());
        assert_eq!(found, Some(error));
    }
}

proptest! {
    #[test]
    fn no_datagram_is_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..256), number: u32) {
        let _ = parts(&bytes, number);
    }

    #[test]
    fn no_message_with_a_good_header_is_too_much(
        body in proptest::collection::vec(any::<u8>(), 0..256),
        kind in prop_oneof![Just(16_u16), Just(20), Just(24), Just(32), any::<u16>()],
    ) {
        let mut message = Vec::new();
        let length = u32::try_from(body.len() + 16).expect("it is short");
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 2]);
        message.extend(7_u32.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        let _ = parts(&message, 7);
    }
}
