#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use proptest::prelude::*;

use super::*;

const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x0a]);
const OTHER: Mac = Mac([0x02, 0, 0, 0, 0, 0x0b]);

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn arp() -> impl Strategy<Value = Arp> {
    let operation = prop_oneof![Just(ArpOperation::Request), Just(ArpOperation::Reply)];
    (operation, mac(), any::<Ipv4Addr>(), mac(), any::<Ipv4Addr>()).prop_map(
        |(operation, sender_mac, sender, target_mac, target)| Arp {
            operation,
            sender_mac,
            sender,
            target_mac,
            target,
        },
    )
}

fn message() -> impl Strategy<Value = Neighbour> {
    let target = any::<Ipv6Addr>().prop_filter("no multicast target", |target| !target.is_multicast());
    (target, any::<[bool; 4]>(), proptest::option::of(mac())).prop_map(
        |(target, [solicitation, router, solicited, replaces], link)| match solicitation {
            true => Neighbour::Solicitation {
                target,
                source_link: link,
            },
            false => Neighbour::Advertisement {
                target,
                router,
                solicited,
                replaces,
                target_link: link,
            },
        },
    )
}

fn neighbour_frame() -> impl Strategy<Value = NeighbourFrame> {
    (mac(), mac(), any::<Ipv6Addr>(), any::<Ipv6Addr>(), message()).prop_map(
        |(destination_mac, source_mac, source, destination, message)| NeighbourFrame {
            destination_mac,
            source_mac,
            source,
            destination,
            message,
        },
    )
}

proptest! {
    #[test]
    fn an_arp_packet_reads_as_it_was_written(arp in arp()) {
        prop_assert_eq!(Arp::parse(&arp.broadcast_frame()), Some(arp));
    }

    #[test]
    fn a_neighbour_message_reads_as_it_was_written(frame in neighbour_frame()) {
        prop_assert_eq!(NeighbourFrame::parse(&frame.frame()), Some(frame));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Arp::parse(&bytes);
        let _ = NeighbourFrame::parse(&bytes);
    }

    #[test]
    fn a_spoilt_or_cut_neighbour_frame_never_panics(
        frame in neighbour_frame(), at in 0..94usize, to: u8, length in 0..94usize,
    ) {
        let mut bytes = frame.frame();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        bytes.truncate(length);
        let _ = NeighbourFrame::parse(&bytes);
    }
}

#[test]
fn a_gratuitous_arp_request_has_the_bytes_of_the_rfc() {
    let frame = Arp::gratuitous(ArpOperation::Request, MAC, Ipv4Addr::new(192, 0, 2, 200)).broadcast_frame();
    #[rustfmt::skip]
    let wanted = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x0a, 0x08, 0x06,
        0, 1, 8, 0, 6, 4, 0, 1,
        0x02, 0, 0, 0, 0, 0x0a, 192, 0, 2, 200,
        0, 0, 0, 0, 0, 0, 192, 0, 2, 200,
    ];
    assert_eq!(frame, wanted);
}

#[test]
fn an_unsolicited_advertisement_has_the_bytes_of_the_rfc() {
    let address: Ipv6Addr = "2001:db8::200".parse().unwrap();
    let frame = NeighbourFrame::unsolicited(MAC, address, true).frame();
    assert_eq!(
        frame[..14],
        [0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 0x0a, 0x86, 0xdd]
    );
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
    assert_eq!(frame[54..56], [136, 0]);
    assert_eq!(frame[58], 0xa0, "router and override");
    assert_eq!(frame[78..], [2, 1, 0x02, 0, 0, 0, 0, 0x0a]);
}

#[test]
fn a_wrong_checksum_or_a_routed_message_is_refused() {
    let address: Ipv6Addr = "2001:db8::200".parse().unwrap();
    let good = NeighbourFrame::unsolicited(MAC, address, false).frame();
    for at in [21, 56, 62, 85] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert_eq!(NeighbourFrame::parse(&bytes), None, "byte {at}");
    }
}

#[test]
fn only_another_host_contests_an_address() {
    let address = Ipv4Addr::new(192, 0, 2, 200);
    let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
    let reply = |mac, sender| Arp {
        sender,
        ..Arp::gratuitous(ArpOperation::Reply, mac, address)
    };
    assert!(reply(OTHER, address).contests(address, MAC));
    assert!(!reply(MAC, address).contests(address, MAC), "our own packet");
    assert!(
        Arp::probe(OTHER, address).contests(address, MAC),
        "a probe at the same time"
    );
    assert!(!reply(OTHER, elsewhere).contests(address, MAC), "somebody asks for it");
    assert!(!Arp::probe(OTHER, elsewhere).contests(address, MAC));

    let address: Ipv6Addr = "2001:db8::200".parse().unwrap();
    let elsewhere: Ipv6Addr = "2001:db8::201".parse().unwrap();
    let claim = |mac, address| NeighbourFrame::unsolicited(mac, address, false);
    assert_eq!(claim(OTHER, address).contests(address, MAC), Some(OTHER));
    assert_eq!(claim(MAC, address).contests(address, MAC), None);
    assert_eq!(claim(OTHER, elsewhere).contests(address, MAC), None);
    assert_eq!(
        NeighbourFrame::probe(OTHER, address).contests(address, MAC),
        Some(OTHER)
    );
    let ordinary = NeighbourFrame {
        source: elsewhere,
        ..NeighbourFrame::probe(OTHER, address)
    };
    assert_eq!(ordinary.contests(address, MAC), None, "somebody asks for it");
}

#[test]
fn who_asks_in_a_name_of_his_own_says_where_to_answer_and_contests_nothing() {
    let address: Ipv6Addr = "2001:db8::200".parse().unwrap();
    let own: Ipv6Addr = "fe80::1".parse().unwrap();
    let question = NeighbourFrame::question(OTHER, own, address);
    let read = NeighbourFrame::parse(&question.frame());
    assert_eq!(read, Some(question));
    assert_eq!((question.source, question.destination), (own, solicited_node(address)));
    let message = Neighbour::Solicitation {
        target: address,
        source_link: Some(OTHER),
    };
    assert_eq!(question.message, message);
    assert_eq!(question.contests(address, MAC), None);
}

#[test]
fn groups_are_those_of_the_rfcs() {
    let address: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
    assert_eq!(
        solicited_node(address),
        "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap()
    );
    assert_eq!(
        multicast_mac(solicited_node(address)),
        Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])
    );
}
