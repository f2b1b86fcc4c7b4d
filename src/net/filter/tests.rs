use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::answer::{Told, told};
use super::ruleset::{Before, ruleset};

/// Kind, flags, number and attributes of each message; nothing may be left over.
fn messages(mut bytes: &[u8]) -> Vec<(u16, u16, u32, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let whole = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let length = whole(0) as usize;
        assert_eq!(length % 4, 0);
        found.push((half(4), half(6), whole(8), &bytes[20..length]));
        bytes = &bytes[length..];
    }
    found
}

/// Kinds and values of attributes; nothing may be left over.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let length = usize::from(half(0));
        found.push((half(2) & 0x3fff, &bytes[4..length]));
        bytes = &bytes[length.next_multiple_of(4)..];
    }
    found
}

fn nested(bytes: &[u8], path: &[u16]) -> Vec<Vec<u8>> {
    let Some((kind, rest)) = path.split_first() else {
        return vec![bytes.to_vec()];
    };
    let own = attributes(bytes).into_iter().filter(|(found, _)| found == kind);
    own.flat_map(|(_, value)| nested(value, rest)).collect()
}

const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const NEW_TABLE: u16 = 0xa00;
const DELETE_TABLE: u16 = 0xa02;
const NEW_CHAIN: u16 = 0xa03;
const NEW_RULE: u16 = 0xa06;
const NEW_SET: u16 = 0xa09;
const NEW_ELEMENTS: u16 = 0xa0c;

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

fn kinds(addresses: &BTreeSet<IpAddr>) -> Vec<u16> {
    let bytes = ruleset(1, addresses, Before::MayBeOurs).finish();
    messages(&bytes).into_iter().map(|(kind, ..)| kind).collect()
}

#[test]
fn the_table_is_replaced_whole_or_goes() {
    assert_eq!(kinds(&addresses(&[])), [BEGIN, NEW_TABLE, DELETE_TABLE, END]);
    let common = [
        BEGIN,
        NEW_TABLE,
        DELETE_TABLE,
        NEW_TABLE,
        NEW_CHAIN,
        NEW_RULE,
        NEW_RULE,
        NEW_RULE,
        NEW_CHAIN,
    ];
    let family = [NEW_SET, NEW_ELEMENTS, NEW_RULE];
    let of_one = [&common[..], &family, &[END]].concat();
    assert_eq!(kinds(&addresses(&["192.0.2.1", "192.0.2.2"])), of_one);
    assert_eq!(kinds(&addresses(&["2001:db8::1"])), of_one);
    let of_both = [&common[..], &family, &family, &[END]].concat();
    assert_eq!(kinds(&addresses(&["2001:db8::1", "192.0.2.1"])), of_both);
}

#[test]
fn a_table_that_is_not_ours_is_left_alone() {
    const EXCLUSIVE: u16 = 0x200;
    let made = |before| {
        let bytes = ruleset(1, &addresses(&["192.0.2.1"]), before).finish();
        let requests = messages(&bytes);
        let tables = requests
            .iter()
            .filter(|(kind, ..)| [NEW_TABLE, DELETE_TABLE].contains(kind));
        tables
            .map(|(kind, flags, ..)| (*kind, flags & EXCLUSIVE))
            .collect::<Vec<_>>()
    };
    assert_eq!(made(Before::NotOurs), [(NEW_TABLE, EXCLUSIVE)]);
    assert_eq!(
        made(Before::MayBeOurs),
        [(NEW_TABLE, 0), (DELETE_TABLE, 0), (NEW_TABLE, 0)]
    );
}

#[test]
fn the_chain_is_behind_ipvs() {
    let bytes = ruleset(1, &addresses(&["192.0.2.1"]), Before::MayBeOurs).finish();
    let chains: Vec<_> = messages(&bytes)
        .into_iter()
        .filter(|(kind, ..)| *kind == NEW_CHAIN)
        .collect();
    let hooks: Vec<_> = chains.iter().flat_map(|(.., chain)| nested(chain, &[4, 2])).collect();
    assert_eq!(hooks, [110_u32.to_be_bytes()]);
}

/// What a step of this name says, wherever the rule has it.
fn steps(rule: &[u8], name: &str, path: &[u16]) -> Vec<Vec<u8>> {
    let named = |step: &Vec<u8>| nested(step, &[1])[0].strip_suffix(&[0]) == Some(name.as_bytes());
    let found = nested(rule, &[4, 1]).into_iter().filter(named);
    found
        .flat_map(|step| nested(&nested(&step, &[2]).concat(), path))
        .collect()
}

/// Whether a byte of TCP flags gets through the rule about TCP, by the mask and the comparison that it holds.
fn passes(flags: u8) -> bool {
    let bytes = ruleset(1, &addresses(&["192.0.2.1"]), Before::MayBeOurs).finish();
    let mut rules = messages(&bytes);
    rules.retain(|(kind, _, _, rule)| *kind == NEW_RULE && !steps(rule, "bitwise", &[4, 1]).is_empty());
    let [(.., rule)] = rules.as_slice() else {
        panic!("one rule masks")
    };
    let mask = steps(rule, "bitwise", &[4, 1]).concat();
    let compared = steps(rule, "cmp", &[3, 1]).pop();
    let operation = steps(rule, "cmp", &[2]).pop();
    let found = Some(vec![flags & mask[0]]) == compared;
    match operation.as_deref() {
        Some([0, 0, 0, 0]) => found,
        Some([0, 0, 0, 1]) => !found,
        other => panic!("no comparison that is known here: {other:?}"),
    }
}

#[test]
fn only_what_opens_a_connection_is_refused_of_tcp() {
    let (syn, reset, push, ack) = (0x02, 0x04, 0x08, 0x10);
    for flags in [ack, ack | push, reset, reset | ack, 0, syn | ack, syn | ack | 0x40] {
        assert!(passes(flags), "{flags:#04x}");
    }
    for flags in [syn, syn | 0xc0, syn | push] {
        assert!(!passes(flags), "{flags:#04x}");
    }
}

#[test]
fn what_is_told_of_requests_is_told() {
    let error = |sequence: u32, errno: i32| {
        let mut bytes = vec![36, 0, 0, 0, 2, 0, 0, 0];
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&7_u32.to_ne_bytes());
        bytes.extend_from_slice(&(-errno).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes
    };
    let datagram = [error(3, 0), error(4, 2)].concat();
    let expected = [
        Told::Answer { sequence: 3, errno: 0 },
        Told::Answer { sequence: 4, errno: 2 },
    ];
    assert_eq!(told(&datagram).collect::<Vec<_>>(), expected);
}

#[test]
fn only_our_table_is_told_of() {
    let bytes = ruleset(1, &addresses(&["192.0.2.1"]), Before::MayBeOurs).finish();
    let ours = Told::Change { port: 0 };
    // Each request names it; a batch is framed by two messages that do not.
    assert_eq!(told(&bytes).collect::<Vec<_>>(), vec![ours; messages(&bytes).len() - 2]);
    let changed = |from: &[u8], to: &[u8]| {
        let mut bytes = bytes.clone();
        let at = bytes
            .windows(from.len())
            .position(|window| window == from)
            .expect("there");
        bytes[at..at + to.len()].copy_from_slice(to);
        told(&bytes).count()
    };
    let all = told(&bytes).count();
    assert_eq!(changed(b"ipvsd\0", b"other\0"), all - 1, "another name");
    assert_eq!(changed(&[1, 0, 0, 0, 10, 0, 1, 0], &[2]), all - 1, "another family");
    assert_eq!(changed(b"ipvsd\0", b"ipvsdx"), all - 1, "a longer name");
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(&bytes).count();
    }

    #[test]
    fn any_change_of_a_batch_is_read(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = ruleset(1, &addresses(&["192.0.2.1", "2001:db8::1"]), Before::MayBeOurs).finish();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = told(&bytes[..cut.index(bytes.len())]).count();
    }

    #[test]
    fn every_address_is_in_its_set(
        v4 in proptest::collection::btree_set(any::<[u8; 4]>(), 0..30),
        v6 in proptest::collection::btree_set(any::<[u8; 16]>(), 0..40),
        first in 1_u32..1_000_000,
    ) {
        let addresses: BTreeSet<IpAddr> =
            v4.iter().map(|octets| IpAddr::from(*octets)).chain(v6.iter().map(|octets| IpAddr::from(*octets))).collect();
        let batch = ruleset(first, &addresses, Before::MayBeOurs);
        let last = batch.last();
        let bytes = batch.finish();
        let messages = messages(&bytes);
        for (number, (_, flags, sequence, _)) in (first..).zip(&messages) {
            prop_assert_eq!(*sequence, number);
            prop_assert_eq!(flags & 4 != 0, number == last, "only the last request is acknowledged");
        }
        let mut found = Vec::new();
        for (_, _, _, list) in messages.iter().filter(|(kind, ..)| *kind == NEW_ELEMENTS) {
            for element in nested(list, &[3, 1, 1, 1]) {
                found.push(element);
            }
        }
        let expected: Vec<_> = v4.iter().map(|octets| octets.to_vec()).chain(v6.iter().map(|octets| octets.to_vec())).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn more_addresses_than_one_request_takes_are_all_in_the_set() {
    let many: BTreeSet<IpAddr> = (0..2500_u128)
        .map(|number| IpAddr::from(number.to_be_bytes()))
        .collect();
    let bytes = ruleset(1, &many, Before::MayBeOurs).finish();
    let lists: Vec<_> = messages(&bytes)
        .into_iter()
        .filter(|(kind, ..)| *kind == NEW_ELEMENTS)
        .collect();
    let counts: Vec<_> = lists.iter().map(|(.., list)| nested(list, &[3, 1]).len()).collect();
    assert_eq!(counts, [1000, 1000, 500]);
}
