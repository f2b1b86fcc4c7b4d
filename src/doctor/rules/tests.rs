use std::net::Ipv4Addr;

use super::*;
use crate::model::{
    CheckSpec, DestinationSpec, IpvsSettings, ProbeKind, ProbeSpec, Protocol, RealServer, Scheduler, ServiceKey,
    ServiceSpec,
};

fn config(forwarding: Forwarding) -> Config {
    let check = CheckSpec::new("tcp", ProbeSpec::new(ProbeKind::Tcp(Vec::new())));
    let server = RealServer {
        address: Ipv4Addr::new(192, 0, 2, 11).into(),
        port: None,
        spec: DestinationSpec::new(forwarding, 1),
        tier: 0,
        disabled: false,
        notify: Default::default(),
        checks: vec![check.into()],
    };
    let vip = Ipv4Addr::new(192, 0, 2, 200).into();
    let pool = VirtualServer {
        name: "web".to_owned(),
        services: vec![ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: vip,
            port: 80,
        }],
        spec: ServiceSpec::new(Scheduler::Wlc, Family::Inet),
        real_servers: vec![server],
        sorry_server: None,
        inhibit_on_failure: false,
        policy: Default::default(),
        device: None,
        program_with: None,
        defaults: Default::default(),
    };
    Config {
        virtual_servers: vec![pool],
        ..Config::default()
    }
}

fn facts(sysctls: &[(&str, &str)]) -> HostFacts {
    HostFacts {
        interfaces: vec!["eth0".to_owned(), "lo".to_owned()],
        addresses: BTreeSet::from([Ipv4Addr::new(192, 0, 2, 200).into()]),
        sysctls: sysctls
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn rules(config: &Config, facts: &HostFacts) -> Vec<&'static str> {
    director(config, facts).iter().map(|finding| finding.rule).collect()
}

#[test]
fn nat_needs_forwarding_and_no_redirects_and_dr_does_not() {
    let sysctls = [
        ("net.ipv4.ip_forward", "0"),
        ("net.ipv4.conf.all.send_redirects", "1"),
        ("net.ipv4.conf.eth0.send_redirects", "1"),
        ("net.ipv4.conf.lo.send_redirects", "0"),
    ];
    let findings = director(&config(Forwarding::Nat), &facts(&sysctls));
    let fixes: Vec<_> = findings
        .iter()
        .flat_map(|finding| &finding.fixes)
        .map(|fix| format!("{}={}", fix.name, fix.value))
        .collect();
    assert_eq!(
        fixes,
        [
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.conf.eth0.send_redirects=0"
        ]
    );
    assert_eq!(rules(&config(Forwarding::Dr), &facts(&sysctls)), [""; 0]);
}

#[test]
fn an_interface_with_a_dot_in_its_name_is_looked_at_by_the_name_that_sysctl_takes() {
    let sysctls = [("net.ipv4.conf.eth0/100.send_redirects", "1")];
    let mut facts = facts(&sysctls);
    facts.interfaces.push("eth0.100".to_owned());
    assert!(wanted_sysctls(&facts.interfaces).contains(&sysctls[0].0.to_owned()));
    assert_eq!(rules(&config(Forwarding::Nat), &facts), ["NATGW"]);
}

#[test]
fn a_missing_address_is_named_unless_ipvsd_keeps_it_itself() {
    let mut config = config(Forwarding::Dr);
    let mut facts = facts(&[]);
    facts.addresses.clear();
    let findings = director(&config, &facts);
    assert!(findings[0].to_string().contains("192.0.2.200"), "{}", findings[0]);
    assert!(
        findings[0].to_string().contains("ip address add 192.0.2.200/32"),
        "{}",
        findings[0]
    );
    config.virtual_servers[0].device = Some("eth0".to_owned());
    assert_eq!(rules(&config, &facts), [""; 0]);
    config.virtual_servers[0].device = Some("eth7".to_owned());
    assert_eq!(rules(&config, &facts), ["DEVICE"]);
}

#[test]
fn what_happens_to_connections_of_failed_servers_is_said() {
    let mut config = config(Forwarding::Dr);
    let sysctls = [
        ("net.ipv4.vs.expire_nodest_conn", "0"),
        ("net.ipv4.vs.expire_quiescent_template", "0"),
    ];
    assert_eq!(rules(&config, &facts(&sysctls)), ["NODEST"]);
    config.virtual_servers[0].inhibit_on_failure = true;
    assert_eq!(rules(&config, &facts(&sysctls)), [""; 0]);
    config.virtual_servers[0].spec.flags = ServiceFlags::PERSISTENT;
    assert_eq!(rules(&config, &facts(&sysctls)), ["QUIESCE"]);
    config.virtual_servers[0].program_with = Some("VI_1".to_owned());
    assert_eq!(rules(&config, &facts(&sysctls)), ["QUIESCE", "FORMER"]);
    assert_eq!(rules(&config, &facts(&sysctls[1..])), ["QUIESCE"]);
}

#[test]
fn one_line_tells_of_all_virtual_servers_that_something_is_wrong_with() {
    let mut config = config(Forwarding::Dr);
    let first = config.virtual_servers[0].clone();
    config.virtual_servers = (1..=5)
        .map(|n| VirtualServer {
            name: format!("web{n}"),
            services: vec![format!("tcp 203.0.113.{n}:80").parse().expect("a key")],
            ..first.clone()
        })
        .collect();
    let told: Vec<_> = director(&config, &facts(&[("net.ipv4.vs.expire_nodest_conn", "0")]))
        .into_iter()
        .map(|finding| finding.symptom)
        .collect();
    assert_eq!(
        told,
        [
            "virtual servers web1, web2, web3 and 2 more: clients cannot reach 203.0.113.1, 203.0.113.2, 203.0.113.3 and 2 more",
            "virtual servers web1, web2, web3 and 2 more: open connections to a failed server hang",
        ]
    );
}

#[test]
fn a_setting_of_the_configuration_counts_as_done() {
    let mut config = config(Forwarding::Dr);
    config.ipvs = IpvsSettings {
        sysctls: vec![set("net.ipv4.vs.expire_nodest_conn", "1")],
        ..IpvsSettings::default()
    };
    assert_eq!(
        rules(&config, &facts(&[("net.ipv4.vs.expire_nodest_conn", "0")])),
        [""; 0]
    );
}

#[test]
fn a_setting_this_kernel_does_not_have_is_no_finding() {
    assert_eq!(rules(&config(Forwarding::Nat), &facts(&[])), [""; 0]);
}

#[test]
fn connection_reuse_is_looked_at_where_conntrack_is_on() {
    let sysctls = [("net.ipv4.vs.conntrack", "1"), ("net.ipv4.vs.conn_reuse_mode", "0")];
    assert_eq!(rules(&config(Forwarding::Dr), &facts(&sysctls)), ["REUSE0"]);
}

#[test]
fn answers_in_the_path_need_accept_local_and_no_strict_source_validation() {
    let devices = BTreeSet::from(["eth0".to_owned()]);
    let found = |sysctls: &[(&str, &str)]| {
        let sysctls: Vec<_> = sysctls
            .iter()
            .map(|(name, value)| (format!("net.ipv4.conf.{name}"), *value))
            .collect();
        let sysctls: Vec<_> = sysctls.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let settings = path_settings(&devices, &facts(&sysctls));
        let shown = settings
            .iter()
            .map(|sysctl| format!("{}={}", sysctl.name, sysctl.value));
        shown.collect::<Vec<_>>().join(" ")
    };
    let both = "net.ipv4.conf.eth0.accept_local=1 net.ipv4.conf.eth0.rp_filter=2";
    assert_eq!(
        found(&[
            ("eth0.accept_local", "0"),
            ("all.rp_filter", "1"),
            ("eth0.rp_filter", "0")
        ]),
        both
    );
    assert_eq!(
        found(&[
            ("eth0.accept_local", "0"),
            ("all.rp_filter", "0"),
            ("eth0.rp_filter", "1")
        ]),
        both
    );
    assert_eq!(
        found(&[
            ("all.accept_local", "1"),
            ("all.rp_filter", "1"),
            ("eth0.rp_filter", "2")
        ]),
        ""
    );
    assert_eq!(
        found(&[
            ("eth0.accept_local", "1"),
            ("all.rp_filter", "0"),
            ("eth0.rp_filter", "0")
        ]),
        ""
    );
}
