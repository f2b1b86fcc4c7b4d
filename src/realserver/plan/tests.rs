#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use proptest::prelude::*;

use super::super::rules::{status, works};
use super::super::words::{Severity, WantedVip};
use super::*;
use crate::model::{
    AddressScope, DestinationSpec, HostAddress, Mac, Netmask, RealServer, Scheduler, ServiceFlags, ServiceSpec,
    SorryServer, Tunnel, TunnelChecksum,
};

fn link(index: u32, name: &str, up: bool) -> Link {
    let ethernet = name.starts_with("eth");
    Link {
        index,
        name: name.to_owned(),
        up,
        loopback: name == "lo",
        resolves: ethernet,
        mac: ethernet.then_some(Mac([2, 0, 0, 0, 0, index as u8])),
        mtu: 1500,
    }
}

/// A host as it is installed: nothing set, the tunnels there and down.
fn host() -> Host {
    let links = vec![
        link(1, "lo", true),
        link(2, "eth0", true),
        link(3, "tunl0", false),
        link(4, "ip6tnl0", false),
    ];
    let sysctls = sysctls_to_read(&links, &Record::default());
    Host {
        links,
        addresses: vec![address("127.0.0.1", 8, "lo"), address("192.0.2.11", 24, "eth0")],
        sysctls: sysctls.into_iter().map(|name| (name, "0".to_owned())).collect(),
    }
}

fn address(text: &str, prefix: u8, device: &str) -> HostAddress {
    HostAddress {
        device: device.to_owned(),
        address: text.parse().unwrap(),
        prefix,
        scope: AddressScope::Global,
        label: None,
        owner: 0,
        duplicate: false,
    }
}

fn wanted(mode: Mode, vips: &[&str]) -> Wanted {
    Wanted::all_on("lo", vips.iter().map(|vip| (vip.parse().unwrap(), mode)))
}

fn all(key: &str) -> String {
    interface_sysctl("ipv4", "all", key)
}

/// What a host is after these steps; stops before the step with this number.
fn after(host: &Host, steps: &[Step], stop: usize) -> Host {
    let mut host = host.clone();
    for step in &steps[..stop.min(steps.len())] {
        match step {
            Step::SetSysctl { name, value, was } => {
                assert_eq!(host.sysctls.insert(name.clone(), value.clone()).as_ref(), Some(was));
            }
            Step::SetLink { device, up } => {
                let link = host.links.iter_mut().find(|link| link.name == *device).unwrap();
                assert_ne!(link.up, *up, "an idle step");
                link.up = *up;
            }
            Step::AddAddress { vip, label } => host.addresses.push(HostAddress {
                label: label.clone(),
                ..address(
                    &vip.address.to_string(),
                    Family::of(vip.address).host_prefix(),
                    &vip.device,
                )
            }),
            Step::RemoveAddress { vip } => {
                let before = host.addresses.len();
                host.addresses
                    .retain(|held| held.address != vip.address || held.device != vip.device);
                assert_eq!(host.addresses.len() + 1, before);
            }
        }
    }
    host
}

fn shown(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn direct_routing_sets_arp_before_the_address() {
    let (steps, _) = up(&wanted(Mode::Dr, &["192.0.2.200"]), &host(), &Record::default()).unwrap();
    assert_eq!(
        shown(&steps),
        [
            "set net.ipv4.conf.all.arp_ignore = 1 (was 0)",
            "set net.ipv4.conf.all.arp_announce = 2 (was 0)",
            "add 192.0.2.200 to lo",
        ]
    );
    assert!(matches!(&steps[2], Step::AddAddress { label: Some(label), .. } if label == "lo:vip"));
}

#[test]
fn ipv6_needs_no_setting() {
    let (steps, _) = up(&wanted(Mode::Dr, &["2001:db8::200"]), &host(), &Record::default()).unwrap();
    assert_eq!(shown(&steps), ["add 2001:db8::200 to lo"]);
    assert!(matches!(&steps[0], Step::AddAddress { label: None, .. }));
}

#[test]
fn a_tunnel_is_unfiltered_and_up_before_the_address_and_other_interfaces_stay_filtered() {
    let mut host = host();
    host.sysctls.insert(all(RP_FILTER), "1".to_owned());
    host.sysctls
        .insert(interface_sysctl("ipv4", "tunl0", RP_FILTER), "2".to_owned());
    let wanted = wanted(Mode::Tun, &["192.0.2.200", "2001:db8::200"]);
    let (steps, _) = up(&wanted, &host, &Record::default()).unwrap();
    assert_eq!(
        shown(&steps),
        [
            "set net.ipv4.conf.all.arp_ignore = 1 (was 0)",
            "set net.ipv4.conf.all.arp_announce = 2 (was 0)",
            "set ip6tnl0 up",
            "set net.ipv4.conf.lo.rp_filter = 1 (was 0)",
            "set net.ipv4.conf.eth0.rp_filter = 1 (was 0)",
            "set net.ipv4.conf.ip6tnl0.rp_filter = 1 (was 0)",
            "set net.ipv4.conf.all.rp_filter = 0 (was 1)",
            "set net.ipv4.conf.tunl0.rp_filter = 0 (was 2)",
            "set tunl0 up",
            "add 192.0.2.200 to lo",
            "add 2001:db8::200 to lo",
        ]
    );
}

#[test]
fn a_second_up_changes_nothing_and_keeps_the_first_originals() {
    let wanted = wanted(Mode::Tun, &["192.0.2.200", "2001:db8::200"]);
    let (steps, record) = up(&wanted, &host(), &Record::default()).unwrap();
    let ready = after(&host(), &steps, usize::MAX);
    let (again, kept) = up(&wanted, &ready, &record).unwrap();
    assert_eq!(shown(&again), [""; 0]);
    assert_eq!(kept, record);
}

#[test]
fn up_with_another_address_extends_the_first() {
    let (steps, record) = up(&wanted(Mode::Dr, &["192.0.2.200"]), &host(), &Record::default()).unwrap();
    let ready = after(&host(), &steps, usize::MAX);
    let (more, record) = up(&wanted(Mode::Tun, &["192.0.2.201"]), &ready, &record).unwrap();
    let ready = after(&ready, &more, usize::MAX);
    assert!(works(&status(&record.wanted(), &ready)));
    let undo = down(&record, &ready);
    assert_eq!(undo.notes, [""; 0]);
    assert_eq!(after(&ready, &undo.steps, usize::MAX), host());
}

#[test]
fn an_address_that_was_there_before_stays() {
    let mut host = host();
    host.addresses.push(address("192.0.2.200", 32, "lo"));
    let (steps, record) = up(&wanted(Mode::Dr, &["192.0.2.200"]), &host, &Record::default()).unwrap();
    assert_eq!(steps.len(), 2);
    let ready = after(&host, &steps, usize::MAX);
    assert_eq!(after(&ready, &down(&record, &ready).steps, usize::MAX), host);
}

#[test]
fn a_setting_that_somebody_changed_since_is_left_and_named() {
    let (steps, record) = up(&wanted(Mode::Dr, &["192.0.2.200"]), &host(), &Record::default()).unwrap();
    let mut ready = after(&host(), &steps, usize::MAX);
    ready.sysctls.insert(all(ARP_IGNORE), "2".to_owned());
    let undo = down(&record, &ready);
    assert_eq!(
        shown(&undo.steps),
        [
            "remove 192.0.2.200 from lo",
            "set net.ipv4.conf.all.arp_announce = 0 (was 2)"
        ]
    );
    assert_eq!(undo.notes.len(), 1);
    assert!(undo.notes[0].contains("arp_ignore is left at 2"), "{}", undo.notes[0]);
}

#[test]
fn stricter_settings_than_needed_are_kept() {
    for value in ["2", "8"] {
        let mut host = host();
        host.sysctls.insert(all(ARP_IGNORE), value.to_owned());
        let (steps, _) = up(&wanted(Mode::Dr, &["192.0.2.200"]), &host, &Record::default()).unwrap();
        assert!(shown(&steps).iter().all(|step| !step.contains(ARP_IGNORE)), "{value}");
    }
}

#[test]
fn obstacles_are_all_named_and_nothing_is_planned() {
    let mut broken = host();
    broken.links.retain(|link| link.name != "tunl0");
    broken.addresses.push(address("192.0.2.201", 24, "lo"));
    broken
        .sysctls
        .insert(interface_sysctl("ipv6", "lo", DISABLE_IPV6), "1".to_owned());
    let mut wanted = wanted(Mode::Dr, &["192.0.2.201", "2001:db8::200", "224.0.0.1", "127.0.0.1"]);
    let on = |device: &str, mode| WantedVip {
        device: device.to_owned(),
        mode,
    };
    wanted.vips.insert("192.0.2.202".parse().unwrap(), on("lo", Mode::Tun));
    wanted.vips.insert("192.0.2.203".parse().unwrap(), on("eth0", Mode::Dr));
    wanted.vips.insert("192.0.2.204".parse().unwrap(), on("eth9", Mode::Dr));
    let findings = up(&wanted, &broken, &Record::default()).unwrap_err();
    let text = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in [
        "192.0.2.201/24 on lo",
        "IPv6 is off on lo",
        "224.0.0.1: cannot be",
        "127.0.0.1: cannot be",
        "modprobe ipip",
        "eth0: its neighbours",
        "eth9: there is no such interface",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(findings.len(), 7, "{text}");
}

#[test]
fn a_host_that_was_not_prepared_is_found_wanting_in_each_point() {
    let mut host = host();
    host.sysctls.insert(all(RP_FILTER), "2".to_owned());
    let findings = status(&wanted(Mode::Tun, &["192.0.2.200"]), &host);
    let problems: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Problem)
        .map(|finding| finding.subject.as_str())
        .collect();
    assert_eq!(problems, ["192.0.2.200", "eth0", "eth0", "tunl0", "tunl0"]);
    assert!(!works(&findings));
}

#[test]
fn loose_filtering_is_enough_where_the_tunnel_has_an_address() {
    let (steps, _) = up(&wanted(Mode::Tun, &["192.0.2.200"]), &host(), &Record::default()).unwrap();
    let mut ready = after(&host(), &steps, usize::MAX);
    ready.sysctls.insert(all(RP_FILTER), "2".to_owned());
    assert!(!works(&status(&wanted(Mode::Tun, &["192.0.2.200"]), &ready)));
    ready.addresses.push(address("192.0.2.200", 32, "tunl0"));
    assert!(works(&status(&wanted(Mode::Tun, &["192.0.2.200"]), &ready)));
}

#[test]
fn a_director_that_is_a_real_server_too_is_warned_and_works() {
    let (steps, _) = up(&wanted(Mode::Dr, &["192.0.2.200"]), &host(), &Record::default()).unwrap();
    let mut ready = after(&host(), &steps, usize::MAX);
    ready.addresses.push(address("192.0.2.200", 32, "eth0"));
    let findings = status(&wanted(Mode::Dr, &["192.0.2.200"]), &ready);
    assert!(works(&findings));
    assert!(findings.iter().any(|finding| finding.severity == Severity::Warning));
}

fn real(address: &str, forwarding: Forwarding) -> RealServer {
    RealServer {
        address: address.parse().unwrap(),
        port: None,
        spec: DestinationSpec::new(forwarding, 1),
        tier: 0,
        disabled: false,
        notify: Default::default(),
        checks: Vec::new(),
    }
}

fn virtual_server(name: &str, services: &[&str], real_servers: Vec<RealServer>) -> VirtualServer {
    VirtualServer {
        name: name.to_owned(),
        services: services.iter().map(|service| service.parse().unwrap()).collect(),
        spec: ServiceSpec {
            scheduler: Scheduler::Wlc,
            flags: ServiceFlags::NONE,
            persistence_timeout: 0,
            netmask: Netmask::host(Family::Inet),
            persistence_engine: None,
        },
        real_servers,
        sorry_server: None,
        inhibit_on_failure: false,
        policy: Default::default(),
        device: None,
        program_with: None,
        defaults: Default::default(),
    }
}

#[test]
fn a_configuration_tells_a_host_its_addresses_and_modes() {
    let tunnel = Forwarding::Tun(Tunnel::IPIP);
    let gue = Forwarding::Tun(Tunnel {
        kind: TunnelKind::Gue { port: 6080 },
        checksum: TunnelChecksum::None,
    });
    let own = "192.0.2.11";
    let mut sorry = virtual_server("sorry", &["tcp 192.0.2.205:80"], Vec::new());
    sorry.sorry_server = Some(SorryServer {
        address: own.parse().unwrap(),
        port: None,
        spec: DestinationSpec::new(Forwarding::Dr, 1),
        inhibit: false,
    });
    let config = Config {
        virtual_servers: vec![
            virtual_server(
                "web",
                &["tcp 192.0.2.200:80", "tcp 192.0.2.200:443", "tcp 192.0.2.201:80"],
                vec![real("192.0.2.12", Forwarding::Dr), real(own, Forwarding::Dr)],
            ),
            virtual_server("far", &["udp 192.0.2.201:53"], vec![real(own, tunnel)]),
            virtual_server(
                "others",
                &["tcp 192.0.2.202:80"],
                vec![real("192.0.2.12", Forwarding::Dr)],
            ),
            virtual_server("nat", &["tcp 192.0.2.203:80"], vec![real(own, Forwarding::Nat)]),
            virtual_server("gue", &["tcp 192.0.2.204:80"], vec![real(own, gue)]),
            virtual_server("mark", &["fwmark 1"], vec![real(own, Forwarding::Dr)]),
            virtual_server("mixed", &["tcp [2001:db8::200]:80"], vec![real(own, tunnel)]),
            sorry,
        ],
        ..Config::default()
    };
    let derived = wanted_from(&config, &[own.parse().unwrap(), "127.0.0.1".parse().unwrap()]);
    let vips: Vec<_> = derived.vips.iter().map(|(vip, mode)| format!("{vip} {mode}")).collect();
    assert_eq!(vips, ["192.0.2.200 dr", "192.0.2.201 tun", "192.0.2.205 dr"]);
    let noted: Vec<_> = derived
        .notes
        .iter()
        .filter_map(|note| note.split([' ', ':']).nth(2))
        .collect();
    assert_eq!(noted, ["gue", "mark", "mixed", "nat"]);
}

fn any_host() -> impl Strategy<Value = Host> {
    (
        proptest::collection::vec(0..4u8, 64),
        any::<[bool; 3]>(),
        any::<[bool; 3]>(),
    )
        .prop_map(|(values, ups, present)| {
            let mut host = host();
            for (value, (name, text)) in values.iter().zip(host.sysctls.iter_mut()) {
                if !name.contains(DISABLE_IPV6) {
                    *text = value.to_string();
                }
            }
            for (up, device) in ups.into_iter().zip(["lo", "tunl0", "ip6tnl0"]) {
                for link in host.links.iter_mut().filter(|link| link.name == device) {
                    link.up = up;
                }
            }
            for (there, vip) in present.into_iter().zip(["192.0.2.200", "2001:db8::200", "192.0.2.201"]) {
                if there {
                    let prefix = Family::of(vip.parse().unwrap()).host_prefix();
                    host.addresses.push(address(vip, prefix, "lo"));
                }
            }
            host
        })
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let mode = prop_oneof![Just(Mode::Dr), Just(Mode::Tun)];
    let vip = prop_oneof![Just("192.0.2.200"), Just("2001:db8::200"), Just("192.0.2.201")];
    proptest::collection::btree_map(vip.prop_map(|vip| vip.parse().unwrap()), mode, 1..4)
        .prop_map(|vips| Wanted::all_on("lo", vips))
}

proptest! {
    #[test]
    fn up_works_once_is_enough_and_down_restores_exactly(host in any_host(), wanted in any_wanted()) {
        let (steps, record) = up(&wanted, &host, &Record::default()).unwrap();
        let ready = after(&host, &steps, usize::MAX);
        prop_assert!(works(&status(&wanted, &ready)), "{:?}", status(&wanted, &ready));
        prop_assert!(up(&wanted, &ready, &record).unwrap().0.is_empty());
        let undo = down(&record, &ready);
        prop_assert!(undo.notes.is_empty());
        prop_assert_eq!(after(&ready, &undo.steps, usize::MAX), host);
    }

    #[test]
    fn an_up_that_was_cut_short_is_undone_all_the_same(
        host in any_host(), wanted in any_wanted(), stop in 0..12usize,
    ) {
        let (steps, record) = up(&wanted, &host, &Record::default()).unwrap();
        let half = after(&host, &steps, stop);
        prop_assert_eq!(after(&half, &down(&record, &half).steps, usize::MAX), host);
    }

    #[test]
    fn an_address_never_goes_on_before_the_settings(host in any_host(), wanted in any_wanted(), stop in 0..12usize) {
        let (steps, _) = up(&wanted, &host, &Record::default()).unwrap();
        let half = after(&host, &steps, stop);
        let added = half.addresses.len() > host.addresses.len();
        let answered = |finding: &Finding| finding.severity == Severity::Problem && finding.subject == "eth0";
        prop_assert!(!added || !status(&wanted, &half).iter().any(answered));
    }
}
