//! Any packet is read or refused, over either family; one that is read and written again reads the same.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvsd::model::VrrpChecksum;
use ipvsd::vrrp::packet::{self, Envelope, decode, encode, open_ipv4};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let four = Envelope {
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        destination: IpAddr::V4(packet::GROUP_V4),
        ttl: packet::TTL,
    };
    let six = Envelope {
        source: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
        destination: IpAddr::V6(packet::GROUP_V6),
        ttl: packet::TTL,
    };
    let again = |envelope: &Envelope, bytes: &[u8]| {
        if let Ok(advert) = decode(bytes, envelope) {
            for form in [VrrpChecksum::Rfc5798, VrrpChecksum::Rfc9568] {
                let written = encode(&advert, envelope.source, envelope.destination, form);
                assert_eq!(decode(&written, envelope).as_ref(), Ok(&advert));
            }
        }
    };
    again(&four, bytes);
    again(&six, bytes);
    if let Ok((envelope, inside)) = open_ipv4(bytes) {
        again(&envelope, inside);
    }
});
