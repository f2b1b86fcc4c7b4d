//! What is written reads as it was meant, and every bad packet is refused by its name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use crate::model::{Family, VrrpAdvert, VrrpAuthentication, VrrpChecksum, VrrpPassword, VrrpVersion};
use crate::vrrp::packet::{Envelope, PacketError, decode, encode, open_ipv4};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const GROUP: IpAddr = IpAddr::V4(super::super::packet::GROUP_V4);

fn envelope() -> Envelope {
    Envelope {
        source: SOURCE,
        destination: GROUP,
        ttl: 255,
    }
}

fn advert(version: VrrpVersion) -> VrrpAdvert {
    VrrpAdvert {
        version,
        virtual_router_id: 51,
        priority: 100,
        interval: Duration::from_secs(1),
        authentication: VrrpAuthentication::None,
        addresses: vec!["192.0.2.100".parse().unwrap()],
    }
}

fn authentication() -> impl Strategy<Value = VrrpAuthentication> {
    prop_oneof![
        Just(VrrpAuthentication::None),
        any::<[u8; 8]>().prop_map(|password| VrrpAuthentication::Password(VrrpPassword(password))),
        (2..=255_u8).prop_map(VrrpAuthentication::Other),
    ]
}

fn adverts() -> impl Strategy<Value = (VrrpAdvert, Envelope)> {
    let version = prop_oneof![
        Just((VrrpVersion::V2, Family::Inet)),
        Just((VrrpVersion::V3, Family::Inet)),
        Just((VrrpVersion::V3, Family::Inet6)),
    ];
    let addresses = proptest::collection::vec(any::<Ipv6Addr>(), 0..=255);
    (
        version,
        1..=255_u8,
        any::<u8>(),
        1..=4095_u64,
        authentication(),
        addresses,
        any::<[Ipv6Addr; 2]>(),
    )
        .prop_map(
            |((version, family), virtual_router_id, priority, interval, authentication, addresses, ends)| {
                let of_family = |address: Ipv6Addr| match family {
                    Family::Inet => IpAddr::V4(Ipv4Addr::from(*address.octets().first_chunk::<4>().unwrap())),
                    Family::Inet6 => IpAddr::V6(address),
                };
                let (interval, authentication) = match version {
                    VrrpVersion::V2 => (Duration::from_secs(interval % 255 + 1), authentication),
                    VrrpVersion::V3 => (Duration::from_millis(interval * 10), VrrpAuthentication::None),
                };
                let advert = VrrpAdvert {
                    version,
                    virtual_router_id,
                    priority,
                    interval,
                    authentication,
                    addresses: addresses.into_iter().map(of_family).collect(),
                };
                let [source, destination] = ends.map(of_family);
                (
                    advert,
                    Envelope {
                        source,
                        destination,
                        ttl: 255,
                    },
                )
            },
        )
}

proptest! {
    #[test]
    fn an_advert_reads_as_it_was_written((advert, envelope) in adverts(), old in any::<bool>(), tail in any::<Vec<u8>>()) {
        let form = if old { VrrpChecksum::Rfc5798 } else { VrrpChecksum::Rfc9568 };
        let mut bytes = encode(&advert, envelope.source, envelope.destination, form);
        bytes.extend(tail);
        prop_assert_eq!(decode(&bytes, &envelope), Ok(advert));
    }

    #[test]
    fn one_bit_that_has_changed_is_noticed((advert, envelope) in adverts(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        // Ends between which no bit makes one form of the checksum the other.
        let envelope = if advert.version == VrrpVersion::V3 && envelope.source.is_ipv4() { self::envelope() } else { envelope };
        let mut bytes = encode(&advert, envelope.source, envelope.destination, VrrpChecksum::Rfc5798);
        let at = at.index(bytes.len());
        // What says how much is covered may by chance fit another sum.
        prop_assume!(at != 0 && at != 3);
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(decode(&bytes, &envelope).is_err());
    }

    #[test]
    fn nothing_that_comes_in_is_a_panic(bytes in any::<Vec<u8>>(), ends in any::<[IpAddr; 2]>(), ttl in any::<bool>()) {
        let [source, destination] = ends;
        let _ = decode(&bytes, &Envelope { source, destination, ttl: if ttl { 255 } else { 64 } });
        let _ = open_ipv4(&bytes);
    }
}

/// Worked out by hand from RFC 3768 and RFC 5798, and seen on the wire between two keepalived.
#[test]
fn the_bytes_are_those_of_the_rfcs() {
    let mut old = advert(VrrpVersion::V2);
    old.authentication = VrrpAuthentication::Password(VrrpPassword(*b"secret\0\0"));
    let bytes = encode(&old, SOURCE, GROUP, VrrpChecksum::Rfc5798);
    assert_eq!(bytes[..6], [0x21, 51, 100, 1, 1, 1]);
    assert_eq!(bytes[8..12], [192, 0, 2, 100]);
    assert_eq!(&bytes[12..], b"secret\0\0");
    assert_eq!(bytes.len(), 20);

    let new = advert(VrrpVersion::V3);
    let bytes = encode(&new, SOURCE, GROUP, VrrpChecksum::Rfc9568);
    // 0x3133 + 0x6401 + 0x0064 + 0xc000 + 0x0264 = 0x157fc, folded 0x57fd, of which the complement.
    assert_eq!(bytes, [0x31, 51, 100, 1, 0, 100, 0xa8, 0x02, 192, 0, 2, 100]);
    let bytes = encode(&new, SOURCE, GROUP, VrrpChecksum::Rfc5798);
    // And 0xc000 + 0x0202 + 0xe000 + 0x0012 + 112 + 12 more: 0x2fa8c, folded 0xfa8e.
    assert_eq!(bytes[6..8], [0x05, 0x71]);
}

#[test]
fn every_bad_packet_has_its_name() {
    let good = encode(&advert(VrrpVersion::V3), SOURCE, GROUP, VrrpChecksum::Rfc5798);
    let old = encode(&advert(VrrpVersion::V2), SOURCE, GROUP, VrrpChecksum::Rfc5798);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut still = advert(VrrpVersion::V3);
    still.interval = Duration::ZERO;
    let still = encode(&still, SOURCE, GROUP, VrrpChecksum::Rfc5798);
    let cases = [
        (good[..7].to_vec(), PacketError::Short(7)),
        (Vec::new(), PacketError::Short(0)),
        (changed(0, 0x41), PacketError::Version(4)),
        (changed(0, 0x32), PacketError::Kind(2)),
        (changed(1, 0), PacketError::RouterId),
        (
            changed(3, 2),
            PacketError::Addresses {
                addresses: 2,
                length: 12,
            },
        ),
        (
            good[..11].to_vec(),
            PacketError::Addresses {
                addresses: 1,
                length: 11,
            },
        ),
        (
            old[..19].to_vec(),
            PacketError::Addresses {
                addresses: 1,
                length: 19,
            },
        ),
        (changed(2, 99), PacketError::Checksum),
        (still, PacketError::Interval),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(&bytes, &envelope()), Err(error), "{bytes:02x?}");
    }
    let far = Envelope { ttl: 254, ..envelope() };
    assert_eq!(decode(&good, &far), Err(PacketError::Ttl(254)));
    let torn = Envelope {
        source: IpAddr::V6(Ipv6Addr::LOCALHOST),
        ..envelope()
    };
    assert_eq!(decode(&good, &torn), Err(PacketError::Families));
    let six = Envelope {
        destination: IpAddr::V6(super::super::packet::GROUP_V6),
        ..torn
    };
    assert_eq!(decode(&old, &six), Err(PacketError::Version2OverIpv6));
}

#[test]
fn a_packet_with_options_is_opened_after_them() {
    let mut packet = vec![0; 24];
    packet[0] = 0x46;
    packet[8] = 255;
    packet[12..16].copy_from_slice(&[192, 0, 2, 2]);
    packet[16..20].copy_from_slice(&[224, 0, 0, 18]);
    packet.push(7);
    assert_eq!(open_ipv4(&packet), Ok((envelope(), &[7_u8][..])));
    assert_eq!(open_ipv4(&packet[..23]), Err(PacketError::Short(23)));
    packet[0] = 0x44;
    assert_eq!(open_ipv4(&packet), Err(PacketError::Short(25)));
}
