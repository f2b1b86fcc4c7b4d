//! The table that refuses what is for some addresses, as requests; `nft list table inet ipvsd` shows it.
//!
//! | of what is for one of the addresses and that IPVS has left to this host | |
//! |---|---|
//! | comes from one of them | taken: this host itself sent it, or IPVS has just put the service's address there |
//! | neighbour solicitations and advertisements | taken (RFC 9568, 6.4.3), for nobody could find the address otherwise |
//! | TCP but what opens a connection (SYN without ACK) | left to the kernel, which resets what it does not know: a client whose connection this director has not inherited learns it at once, and connections that this host itself opens from such an address come about |
//! | everything else | dropped |
//!
//! Numbers are those of `linux/netfilter/nf_tables.h`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::batch::Batch;
use super::expression::Expression::{self, Accept, Compare, Drop, GoTo, Load, Lookup, Mask, Meta};
use super::expression::{AT_LEAST, AT_MOST, EQUAL, Is, L4PROTO, NETWORK, NFPROTO, NOT_EQUAL, TRANSPORT};
use crate::model::Family;

/// The table, which is ours alone.
pub(super) const TABLE: &str = "ipvsd";

/// IPVS takes its packets at 98 and 99 (`ip_vs_ops4` and `ip_vs_ops6` in `net/netfilter/ipvs/ip_vs_core.c`): what comes by
/// behind that is for this host itself.
const BEHIND_IPVS: i32 = 110;

/// The chain that every packet for this host goes through, and the one for those to the addresses.
const INPUT: &str = "input";
const REFUSING: &str = "accept_false";

/// Where a family has the addresses of its packets, and what the kernel calls that.
struct Wire {
    number: u8,
    set: &'static str,
    /// `TYPE_IPADDR`, `TYPE_IP6ADDR` of nft(8), which shows elements by it.
    shown_as: u32,
    length: u32,
    source: u32,
    destination: u32,
}

const IPV4: Wire = Wire {
    number: 2,
    set: "addresses",
    shown_as: 7,
    length: 4,
    source: 12,
    destination: 16,
};
const IPV6: Wire = Wire {
    number: 10,
    set: "addresses6",
    shown_as: 8,
    length: 16,
    source: 8,
    destination: 24,
};

const NEW_TABLE: u8 = 0;
const DELETE_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const NEW_RULE: u8 = 6;
const NEW_SET: u8 = 9;
const NEW_ELEMENTS: u8 = 12;
const CREATE: u16 = 0x400;
/// Fails where it is there already (`NLM_F_EXCL`).
const NEW_ONLY: u16 = 0x200;
const APPEND: u16 = 0x800;
/// Attributes have 16 bits for their length.
const ELEMENTS_AT_ONCE: usize = 1000;

/// What a table of our name is that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// One of ours, if there is any.
    MayBeOurs,
    /// Somebody else's: nothing is done to it.
    NotOurs,
}

/// The requests that put the table for these addresses in the place of the one before; without any there is none
/// afterwards. They fail where there is one that is not ours. `first` is the number of the first.
pub fn ruleset(first: u32, addresses: &BTreeSet<IpAddr>, before: Before) -> Batch {
    let mut batch = Batch::new(first);
    let flags = match before {
        Before::NotOurs => CREATE | NEW_ONLY,
        Before::MayBeOurs => {
            // Made first, for there has to be one to delete.
            batch.request(NEW_TABLE, CREATE, |table| table.text(1, TABLE));
            batch.request(DELETE_TABLE, 0, |table| table.text(1, TABLE));
            CREATE
        }
    };
    if addresses.is_empty() {
        return batch;
    }
    batch.request(NEW_TABLE, flags, |table| table.text(1, TABLE));
    batch.request(NEW_CHAIN, CREATE, |chain| {
        chain.text(1, TABLE);
        chain.text(3, REFUSING);
    });
    rule(&mut batch, REFUSING, NEIGHBOURS);
    rule(&mut batch, REFUSING, OPENS_NOTHING);
    rule(&mut batch, REFUSING, &[Drop]);
    batch.request(NEW_CHAIN, CREATE, |chain| {
        const LOCAL_IN: u32 = 1;
        const NF_ACCEPT: u32 = 1;
        chain.text(1, TABLE);
        chain.text(3, INPUT);
        chain.nest(4, |hook| {
            hook.number(1, LOCAL_IN);
            hook.number(2, BEHIND_IPVS.cast_unsigned());
        });
        chain.number(5, NF_ACCEPT);
        chain.text(7, "filter");
    });
    for (number, (family, wire)) in (1..).zip([(Family::Inet, IPV4), (Family::Inet6, IPV6)]) {
        let own: Vec<_> = addresses
            .iter()
            .filter(|address| Family::of(**address) == family)
            .collect();
        if own.is_empty() {
            continue;
        }
        batch.request(NEW_SET, CREATE, |set| {
            set.text(1, TABLE);
            set.text(2, wire.set);
            set.number(3, 0);
            set.number(4, wire.shown_as);
            set.number(5, wire.length);
            set.number(10, number);
        });
        for some in own.chunks(ELEMENTS_AT_ONCE) {
            batch.request(NEW_ELEMENTS, CREATE, |list| {
                list.text(1, TABLE);
                list.text(2, wire.set);
                list.nest(3, |elements| {
                    for address in some {
                        elements.nest(1, |element| element.nest(1, |key| key.bytes(1, &octets(**address))));
                    }
                });
            });
        }
        rule(
            &mut batch,
            INPUT,
            &[
                Meta(NFPROTO),
                Compare(EQUAL, wire.number),
                Load(NETWORK, wire.destination, wire.length),
                Lookup(wire.set, Is::In),
                Load(NETWORK, wire.source, wire.length),
                Lookup(wire.set, Is::NotIn),
                GoTo(REFUSING),
            ],
        );
    }
    batch
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// ICMPv6 of the types 135 and 136.
const NEIGHBOURS: &[Expression] = &[
    Meta(NFPROTO),
    Compare(EQUAL, IPV6.number),
    Meta(L4PROTO),
    Compare(EQUAL, 58),
    Load(TRANSPORT, 0, 1),
    Compare(AT_LEAST, 135),
    Compare(AT_MOST, 136),
    Accept,
];

/// TCP whose byte of flags has not SYN without ACK: SYN is 0x02, ACK 0x10.
const OPENS_NOTHING: &[Expression] = &[
    Meta(L4PROTO),
    Compare(EQUAL, 6),
    Load(TRANSPORT, 13, 1),
    Mask(0x12),
    Compare(NOT_EQUAL, 0x02),
    Accept,
];

fn rule(batch: &mut Batch, chain: &str, expressions: &[Expression]) {
    batch.request(NEW_RULE, CREATE | APPEND, |rule| {
        rule.text(1, TABLE);
        rule.text(2, chain);
        rule.nest(4, |list| {
            for expression in expressions {
                list.nest(1, |element| expression.write(element));
            }
        });
    });
}
