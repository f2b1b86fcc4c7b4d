//! The codec: what is encoded is decoded to the same, requests are well-formed, and no bytes upset a decoder.

use std::net::{IpAddr, Ipv4Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::decode::{self, Body, DecodeError};
use super::encode::{GENERIC_HEADER, HEADER, Request, family_request};
use super::proc;
use crate::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, Netmask, Protocol, Scheduler, ServiceFlags, ServiceKey,
    ServiceSpec, Statistics, SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};

const FAMILY: u16 = 28;

fn a_service_key() -> impl Strategy<Value = ServiceKey> {
    let family = prop_oneof![Just(Family::Inet), Just(Family::Inet6)];
    prop_oneof![
        (any::<u16>(), any::<IpAddr>(), any::<u16>()).prop_map(|(protocol, address, port)| ServiceKey::Address {
            protocol: Protocol::from_number(protocol),
            address,
            port,
        }),
        (prop_oneof![Just(6), Just(17), Just(132)], any::<IpAddr>(), any::<u16>()).prop_map(
            |(protocol, address, port)| ServiceKey::Address {
                protocol: Protocol::from_number(protocol),
                address,
                port,
            }
        ),
        (1..=u32::MAX, family).prop_map(|(mark, family)| ServiceKey::Fwmark { mark, family }),
    ]
}

fn a_scheduler() -> impl Strategy<Value = Scheduler> {
    prop_oneof![
        3 => proptest::sample::select(Scheduler::ALL.to_vec()),
        1 => Just(Scheduler::None),
        2 => "[!-~]{1,15}".prop_map(|name| Scheduler::from_name(&name)),
    ]
}

fn a_netmask(family: Family) -> BoxedStrategy<Netmask> {
    match family {
        // Any bits: the kernel keeps an IPv4 mask with holes.
        Family::Inet => any::<Ipv4Addr>().prop_map(Netmask::V4).boxed(),
        Family::Inet6 => (1..=128u8).prop_map(Netmask::V6).boxed(),
    }
}

pub(super) fn a_service() -> impl Strategy<Value = (ServiceKey, ServiceSpec)> {
    a_service_key().prop_flat_map(|key| {
        let spec = (
            a_scheduler(),
            any::<u32>().prop_map(ServiceFlags::from_bits),
            any::<u32>(),
            a_netmask(key.family()),
            option::of("[!-~]{1,16}"),
        );
        spec.prop_map(
            move |(scheduler, flags, persistence_timeout, netmask, persistence_engine)| {
                let spec = ServiceSpec {
                    scheduler,
                    flags,
                    persistence_timeout,
                    netmask,
                    persistence_engine,
                };
                (key, spec)
            },
        )
    })
}

fn a_tunnel() -> impl Strategy<Value = Tunnel> {
    let kind = prop_oneof![
        Just(TunnelKind::Ipip),
        any::<u16>().prop_map(|port| TunnelKind::Gue { port }),
        Just(TunnelKind::Gre),
        (3..=u8::MAX).prop_map(TunnelKind::Other),
    ];
    let checksum = prop_oneof![0..3u16, any::<u16>()].prop_map(TunnelChecksum::from_bits);
    (kind, checksum).prop_map(|(kind, checksum)| Tunnel { kind, checksum })
}

fn a_forwarding() -> impl Strategy<Value = Forwarding> {
    prop_oneof![
        Just(Forwarding::Nat),
        Just(Forwarding::Local),
        a_tunnel().prop_map(Forwarding::Tun),
        Just(Forwarding::Dr),
        Just(Forwarding::Bypass),
        (5..=7u8).prop_map(Forwarding::Other),
    ]
}

pub(super) fn a_destination() -> impl Strategy<Value = (DestinationKey, DestinationSpec)> {
    let key = (any::<IpAddr>(), any::<u16>()).prop_map(|(address, port)| DestinationKey::new(address, port));
    let spec = (a_forwarding(), any::<u32>(), any::<u32>(), any::<u32>());
    (key, spec).prop_map(|(key, (forwarding, weight, upper_threshold, lower_threshold))| {
        let spec = DestinationSpec {
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
        };
        (key, spec)
    })
}

fn a_role() -> impl Strategy<Value = SyncRole> {
    prop_oneof![Just(SyncRole::Master), Just(SyncRole::Backup)]
}

fn a_daemon() -> impl Strategy<Value = SyncDaemon> {
    (
        a_role(),
        "[!-~]{1,15}",
        any::<u32>(),
        any::<u16>(),
        option::of(any::<IpAddr>()),
        any::<u16>(),
        any::<u8>(),
    )
        .prop_map(|(role, interface, sync_id, max_length, group, port, ttl)| SyncDaemon {
            role,
            interface,
            sync_id,
            max_length,
            group,
            port,
            ttl,
        })
}

fn some_timeouts() -> impl Strategy<Value = Timeouts> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp })
}

/// Anything that can be asked, with what its request borrows.
#[derive(Debug, Clone)]
struct Asked {
    number: usize,
    service: (ServiceKey, ServiceSpec),
    destination: (DestinationKey, DestinationSpec),
    daemon: SyncDaemon,
    timeouts: Timeouts,
}

impl Asked {
    const KINDS: usize = 18;

    fn request(&self) -> Request<'_> {
        let ((service, spec), (destination, settings)) = (&self.service, &self.destination);
        match self.number {
            0 => Request::NewService(*service, spec),
            1 => Request::SetService(*service, spec),
            2 => Request::DelService(*service),
            3 => Request::GetService(*service),
            4 => Request::GetServices,
            5 => Request::NewDest(*service, *destination, settings),
            6 => Request::SetDest(*service, *destination, settings),
            7 => Request::DelDest(*service, *destination),
            8 => Request::GetDests(*service),
            9 => Request::NewDaemon(&self.daemon),
            10 => Request::DelDaemon(self.daemon.role),
            11 => Request::GetDaemons,
            12 => Request::SetConfig(self.timeouts),
            13 => Request::GetConfig,
            14 => Request::GetInfo,
            15 => Request::Zero(Some(*service)),
            16 => Request::Zero(None),
            _ => Request::Flush,
        }
    }
}

fn anything_asked() -> impl Strategy<Value = Asked> {
    (
        0..Asked::KINDS,
        a_service(),
        a_destination(),
        a_daemon(),
        some_timeouts(),
    )
        .prop_map(|(number, service, destination, daemon, timeouts)| Asked {
            number,
            service,
            destination,
            daemon,
            timeouts,
        })
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out, FAMILY, 7, true);
    out
}

/// The attributes of a request, as if it were an answer: the kernel's answers have the same layout.
fn attributes_of(message: &[u8]) -> &[u8] {
    let messages: Vec<_> = decode::messages(message).collect();
    assert_eq!(messages.len(), 1);
    match &messages[0].as_ref().unwrap().body {
        Body::Data(attributes) => attributes,
        other => panic!("{other:?}"),
    }
}

fn number16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// Walks attributes as the kernel does: each with its header, inside what holds it, at a multiple of four.
fn assert_attributes(mut rest: &[u8]) {
    const NESTED: u16 = 0x8000;
    while !rest.is_empty() {
        assert!(rest.len() >= 4, "{} bytes after the last attribute", rest.len());
        let (length, kind) = (usize::from(number16(rest, 0)), number16(rest, 2));
        assert!(
            (4..=rest.len()).contains(&length),
            "an attribute of {length} in {} bytes",
            rest.len()
        );
        if kind & NESTED != 0 {
            assert_attributes(&rest[4..length]);
        }
        let padded = length.next_multiple_of(4);
        assert!(rest[length..padded].iter().all(|byte| *byte == 0));
        rest = &rest[padded..];
    }
}

proptest! {
    #[test]
    fn a_service_is_read_as_it_was_written((key, spec) in a_service()) {
        let message = encoded(&Request::NewService(key, &spec));
        let found = decode::service(attributes_of(&message)).unwrap();
        prop_assert_eq!((found.key, found.spec), (key, spec));
        prop_assert_eq!(found.statistics, Statistics::default());
    }

    #[test]
    fn a_destination_is_read_as_it_was_written((service, _) in a_service(), (key, spec) in a_destination()) {
        let message = encoded(&Request::SetDest(service, key, &spec));
        let found = decode::destination(attributes_of(&message), service.family()).unwrap();
        prop_assert_eq!((found.key, found.spec), (key, spec));
    }

    #[test]
    fn a_sync_daemon_is_read_as_it_was_written(daemon in a_daemon()) {
        let message = encoded(&Request::NewDaemon(&daemon));
        prop_assert_eq!(decode::daemon(attributes_of(&message)).unwrap(), daemon);
    }

    #[test]
    fn timeouts_are_read_as_they_were_written(timeouts in some_timeouts()) {
        let message = encoded(&Request::SetConfig(timeouts));
        prop_assert_eq!(decode::timeouts(attributes_of(&message)).unwrap(), timeouts);
    }

    #[test]
    fn a_batch_of_any_requests_is_well_formed_netlink(asked in vec(anything_asked(), 1..20), acknowledge: bool) {
        let mut out = Vec::new();
        let mut starts = Vec::new();
        for (sequence, asked) in (1..).zip(&asked) {
            starts.push(out.len());
            asked.request().encode(&mut out, FAMILY, sequence, acknowledge);
        }
        starts.push(out.len());
        for (index, asked) in asked.iter().enumerate() {
            let message = &out[starts[index]..starts[index + 1]];
            prop_assert_eq!(starts[index] % 4, 0);
            prop_assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize, message.len());
            prop_assert_eq!(number16(message, 4), FAMILY);
            let flags = number16(message, 6);
            prop_assert_eq!(flags & 1, 1);
            prop_assert_eq!(flags & 4 != 0, acknowledge);
            prop_assert_eq!(flags & 0x300 != 0, asked.request().is_dump());
            prop_assert_eq!(u32::from_ne_bytes(message[8..12].try_into().unwrap()) as usize, index + 1);
            prop_assert_eq!(message[HEADER], asked.request().command());
            assert_attributes(&message[HEADER + GENERIC_HEADER..]);
        }
        // Our own reader finds the same messages.
        let found: Vec<_> = decode::messages(&out).map(|message| message.unwrap().sequence).collect();
        prop_assert_eq!(found, (1..=asked.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_upset_a_decoder(bytes in vec(any::<u8>(), 0..400)) {
        decode_everything(&bytes);
    }

    #[test]
    fn no_damage_to_a_sound_message_upsets_a_decoder(
        asked in anything_asked(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()
    ) {
        let mut message = encoded(&asked.request());
        let at = at.index(message.len());
        message[at] = byte;
        decode_everything(&message);
        decode_everything(&message[..cut.index(message.len())]);
        message.extend_from_within(..);
        decode_everything(&message);
    }

    #[test]
    fn no_text_upsets_the_reader_of_the_table(
        mut text in vec(prop_oneof![any::<u8>(), proptest::sample::select(b" ->:[]\n0AF1TCPMasq".to_vec())], 0..200),
        place in 0..=TABLE.len(),
    ) {
        proc::destinations(&text);
        let mut broken = TABLE[..place].to_vec();
        broken.append(&mut text);
        broken.extend_from_slice(&TABLE[place..]);
        proc::destinations(&broken);
    }

    #[test]
    fn a_table_is_read_as_the_kernel_prints_it(
        services in vec((a_named_service(), vec(a_printed_destination(), 0..5)), 0..8)
    ) {
        let mut text = String::from_utf8(TABLE_HEAD.to_vec()).unwrap();
        let mut wanted = Vec::new();
        for (key, destinations) in services {
            text.push_str(&printed_service(&key));
            for found in &destinations {
                text.push_str(&printed_destination(found));
            }
            wanted.push((key, destinations));
        }
        let found: Vec<_> = proc::destinations(text.as_bytes())
            .into_iter()
            .map(|(key, found)| {
                let found: Vec<Printed> = found
                    .into_iter()
                    .map(|one| (one.key, one.spec, one.active_connections, one.inactive_connections))
                    .collect();
                (key, found)
            })
            .collect();
        prop_assert_eq!(found, wanted);
    }
}

/// Every decoder on these bytes, as a datagram and as attributes. Only a panic can go wrong.
fn decode_everything(bytes: &[u8]) {
    let mut inside: Vec<&[u8]> = vec![bytes];
    let mut seen = 0;
    for message in decode::messages(bytes) {
        seen += 1;
        if let Ok(Body::Data(attributes)) = message.map(|message| message.body) {
            inside.push(attributes);
        }
    }
    assert!(
        seen <= bytes.len() / HEADER + 1,
        "{seen} messages in {} bytes",
        bytes.len()
    );
    for attributes in inside {
        let _ = decode::service(attributes);
        let _ = decode::destination(attributes, Family::Inet);
        let _ = decode::destination(attributes, Family::Inet6);
        let _ = decode::daemon(attributes);
        let _ = decode::timeouts(attributes);
        let _ = decode::info(attributes);
        let _ = decode::family_id(attributes);
    }
}

const TABLE_HEAD: &[u8] = b"IP Virtual Server version 1.2.1 (size=4096)\n\
    Prot LocalAddress:Port Scheduler Flags\n\
    \x20 -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";

const TABLE: &[u8] = b"IP Virtual Server version 1.2.1 (size=4096)\n\
    Prot LocalAddress:Port Scheduler Flags\n\
    \x20 -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
    TCP  C00002C8:0050 wrr persistent 360 FFFFFF00\n\
    \x20 -> C000020B:0050      Masq    3      1          22        \n\
    \x20 -> C000020C:0050      Route   0      0          0         \n\
    TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr \n\
    \x20 -> [2001:0db8:0001:0000:0000:0000:0000:000b]:0050      Tunnel  1      0          0         \n\
    FWM  00000007 wlc \n\
    \x20 -> C000020B:0000      Route   1      0          0         \n";

/// A destination with what the file has of it.
type Printed = (DestinationKey, DestinationSpec, u32, u32);

fn a_named_service() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    (protocol, any::<IpAddr>(), any::<u16>()).prop_map(|(protocol, address, port)| ServiceKey::Address {
        protocol,
        address,
        port,
    })
}

fn a_printed_destination() -> impl Strategy<Value = Printed> {
    let forwarding = proptest::sample::select(vec![
        Forwarding::Nat,
        Forwarding::Dr,
        Forwarding::Local,
        Forwarding::Tun(Tunnel::IPIP),
    ]);
    (
        any::<IpAddr>(),
        any::<u16>(),
        forwarding,
        0..=i32::MAX as u32,
        any::<u16>(),
        any::<u16>(),
    )
        .prop_map(|(address, port, forwarding, weight, active, inactive)| {
            let spec = DestinationSpec::new(forwarding, weight);
            (DestinationKey::new(address, port), spec, active.into(), inactive.into())
        })
}

fn printed_address(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}:{port:04X}", address.to_bits()),
        IpAddr::V6(address) => {
            let groups: Vec<_> = address.segments().iter().map(|group| format!("{group:04x}")).collect();
            format!("[{}]:{port:04X}", groups.join(":"))
        }
    }
}

fn printed_service(key: &ServiceKey) -> String {
    let ServiceKey::Address {
        protocol,
        address,
        port,
    } = *key
    else {
        panic!("a service without an address");
    };
    let protocol = protocol.to_string().to_uppercase();
    format!("{protocol}  {} wlc \n", printed_address(address, port))
}

fn printed_destination((key, spec, active, inactive): &Printed) -> String {
    let forwarding = match spec.forwarding {
        Forwarding::Nat => "Masq",
        Forwarding::Dr => "Route",
        Forwarding::Local => "Local",
        Forwarding::Tun(_) => "Tunnel",
        Forwarding::Bypass | Forwarding::Other(_) => panic!("the file has no word for it"),
    };
    let address = printed_address(key.address, key.port);
    format!(
        "  -> {address}      {forwarding:<7} {:<6} {active:<10} {inactive:<10}\n",
        spec.weight
    )
}

#[test]
fn a_line_that_is_not_understood_leaves_its_service_to_the_caller() {
    let text = String::from_utf8(TABLE.to_vec()).unwrap();
    assert_eq!(proc::destinations(TABLE).len(), 2);
    let found = proc::destinations(text.replace("Route   0", "Rocket  0").as_bytes());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0.to_string(), "tcp [2001:db8::1]:80");
    // The destination of the firewall mark is nobody's.
    assert_eq!(found[0].1.len(), 1);
}

#[test]
fn the_family_is_asked_for_by_its_name() {
    let mut out = Vec::new();
    family_request(&mut out, 9, "IPVS");
    assert_eq!(out.len(), 32);
    assert_eq!(number16(&out, 4), 16);
    assert_eq!(out[HEADER], 3);
    assert_eq!(&out[HEADER + GENERIC_HEADER..], b"\x09\0\x02\0IPVS\0\0\0\0");
    assert_attributes(&out[HEADER + GENERIC_HEADER..]);
}

/// One attribute as the kernel writes it.
fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(payload.len() as u16 + 4).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

#[test]
fn the_wide_figures_are_preferred_and_the_narrow_ones_serve_old_kernels() {
    let key = ServiceKey::Fwmark {
        mark: 7,
        family: Family::Inet,
    };
    let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
    let message = encoded(&Request::NewService(key, &spec));
    let nest = &attributes_of(&message)[4..];
    let numbers = |wide: bool, base: u64| -> Vec<u8> {
        (1..=10u16)
            .flat_map(|kind| {
                let number = base + u64::from(kind);
                // The narrow nest has bytes in 64 bits as well, each behind an attribute that only pads.
                match wide || kind == 4 || kind == 5 {
                    true => [attribute(11, &[]), attribute(kind, &number.to_ne_bytes())].concat(),
                    false => attribute(kind, &(number as u32).to_ne_bytes()),
                }
            })
            .collect()
    };
    let narrow = attribute(10, &numbers(false, 100));
    let wide = attribute(12, &numbers(true, 1 << 40));
    let found = |more: &[u8]| {
        decode::service(&attribute(1, &[nest, more].concat()))
            .unwrap()
            .statistics
    };
    let old = found(&narrow);
    assert_eq!(
        (old.connections, old.bytes_in, old.bytes_out_per_second),
        (101, 104, 110)
    );
    let new = found(&[narrow, wide].concat());
    assert_eq!(
        (new.connections, new.packets_out, new.bytes_out_per_second),
        ((1 << 40) + 1, (1 << 40) + 3, (1 << 40) + 10)
    );
}

#[test]
fn what_lacks_in_an_answer_is_named() {
    let key = "tcp 192.0.2.200:80".parse().unwrap();
    let message = encoded(&Request::GetService(key));
    assert_eq!(
        decode::service(attributes_of(&message)),
        Err(DecodeError::Missing("netmask"))
    );
    assert_eq!(
        decode::destination(attributes_of(&message), Family::Inet),
        Err(DecodeError::Missing("destination"))
    );
}

#[test]
fn the_kernels_own_words_are_kept() {
    // `struct nlmsgerr`, the refused request (whole, 24 bytes), then the text as an attribute.
    let said = attribute(1, b"Attribute failed policy validation\0");
    let message = |kind: u16, flags: u16, payload: &[u8]| {
        let mut out = Vec::new();
        out.extend_from_slice(&(HEADER as u32 + payload.len() as u32).to_ne_bytes());
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&5u32.to_ne_bytes());
        out.extend_from_slice(&0u32.to_ne_bytes());
        out.extend_from_slice(payload);
        out
    };
    let body = |bytes: &[u8]| match decode::messages(bytes).next().unwrap().unwrap().body {
        Body::Ack { errno, text } | Body::Done { errno, text } => (errno, text),
        other => panic!("{other:?}"),
    };
    let refused = (-22i32).to_ne_bytes();
    let mut request = 24u32.to_ne_bytes().to_vec();
    request.resize(24, 0);
    let text = Some("Attribute failed policy validation".to_owned());
    let whole = [&refused[..], &request, &said].concat();
    assert_eq!(body(&message(2, 0x200, &whole)), (22, text.clone()));
    assert_eq!(body(&message(2, 0, &whole)), (22, None));
    let capped = [&refused[..], &request[..HEADER], &said].concat();
    assert_eq!(body(&message(2, 0x300, &capped)), (22, text.clone()));
    let ended = [&refused[..], &said].concat();
    assert_eq!(body(&message(3, 0x202, &ended)), (22, text));
    assert_eq!(body(&message(3, 2, &[])), (0, None));
    // An echoed request that says it is longer than the answer.
    let mut lying = whole;
    lying[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(body(&message(2, 0x200, &lying)), (22, None));
}
