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
    // A question, and a list, whose answers nobody has read.
    let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let unread = exchange.with(|talk| {
        talk.ask(named("ipvsd-none"), 0)
            .and_then(|()| talk.ask(all, NLM_F_DUMP))
    });
    unread.expect("they are asked");
    loopback(&exchange);
}

#[test]
fn a_socket_that_breaks_in_the_middle_is_no_empty_list_and_no_change() {
    let exchange = Exchange::open(false).expect("a netlink socket");
    exchange
        .with(|talk| {
            // A peer that is not there: the kernel never sees the question.
            SockRef::from(&talk.socket).set_read_timeout(Some(Duration::from_millis(10)))?;
            talk.socket.connect(&rtnetlink::sys::SocketAddr::new(u32::MAX, 0))
        })
        .expect("it is connected");
    let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
    assert!(exchange.list("list them", &all).is_err());
    assert!(exchange.change("change it", "lo", named("lo"), 0).is_err());
    assert!(exchange.one("find it", "lo", named("lo")).is_err());
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

/// A letter for each part.
fn shape(datagram: &[u8]) -> Option<String> {
    let parts = parts(datagram, 7).expect("it can be read")?;
    let letter = |part: &Part| match part {
        Part::Inner(_) => 'm',
        Part::Unknown => '?',
        Part::End(false) => '.',
        Part::End(true) => '!',
    };
    Some(parts.iter().map(letter).collect())
}

#[test]
fn a_datagram_is_taken_apart() {
    let done = || NetlinkPayload::Done(DoneMessage::default());
    let acknowledged = || NetlinkPayload::Error(ErrorMessage::default());
    let of = |parts: &[Vec<u8>]| shape(&parts.concat());
    let two = [bytes(7, 0, link()), bytes(7, 0, link()), bytes(7, 0, done())];
    assert_eq!(of(&two).as_deref(), Some("mm."));
    let interrupted = [bytes(7, 0, link()), bytes(7, NLM_F_DUMP_INTR, done())];
    assert_eq!(of(&interrupted).as_deref(), Some("m!"));
    assert_eq!(of(&[bytes(7, 0, acknowledged())]).as_deref(), Some("."));
    assert_eq!(of(&[bytes(6, 0, link())]), None, "of another question");
    // A link whose attributes are cut off.
    let mut cut = bytes(7, 0, link());
    cut.extend([9, 0, 3, 0]);
    let length = u32::try_from(cut.len()).expect("it is short");
    cut[..4].copy_from_slice(&length.to_ne_bytes());
    assert_eq!(of(&[cut, bytes(7, 0, done())]).as_deref(), Some("?."));
    let mut refused = ErrorMessage::default();
    refused.code = std::num::NonZeroI32::new(-libc::EPERM);
    let refused = parts(&bytes(7, 0, NetlinkPayload::Error(refused)), 7);
    assert_eq!(refused.err().and_then(|error| error.raw_os_error()), Some(libc::EPERM));
    assert!(parts(&bytes(7, 0, link())[..15], 7).is_err(), "half a header");
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
