//! The netlink client on a real kernel: every field written and read back, and shown by Debian's ipvsadm as that
//! program's own; refusals, dumps of size, other writers, sync daemons.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipvsd::ipvs::{Client, IpvsError, LastLook, read_plain_listing};
use ipvsd::model::{
    DestinationKey, DestinationSpec, Family, Forwarding, ListedService, Netmask, RefusalKind, Scheduler, Service,
    ServiceFlags, ServiceKey, ServiceSpec, Statistics, Step, SyncDaemon, SyncRole, Table, Timeouts, Tunnel,
    TunnelChecksum, TunnelKind,
};
use ipvsd::plan;
use ipvsd_lab::{Host, Lab, Segment, Topology, require_kernel, wait_until};

use crate::site::ipvsd;

fn directors(name: &str, count: u8) -> Lab {
    require_kernel();
    Topology::one_segment()
        .directors(count)
        .real_servers(0)
        .clients(0)
        .build(name)
        .expect("hosts")
}

/// Runs a closure with a client of the host's namespace, on a thread in that namespace.
fn with_client<T: Send>(host: &Host, work: impl FnOnce(&mut Client) -> T + Send) -> T {
    host.in_namespace(|| work(&mut Client::connect().expect("the kernel's IPVS")))
        .expect("a namespace")
}

fn key(text: &str) -> ServiceKey {
    text.parse().expect("a service")
}

fn destination(text: &str) -> DestinationKey {
    text.parse().expect("a destination")
}

fn tunnel(kind: TunnelKind, checksum: TunnelChecksum) -> Forwarding {
    Forwarding::Tun(Tunnel { kind, checksum })
}

/// A table, and the rules by which ipvsadm makes the same.
#[derive(Default)]
struct Rich {
    table: Table,
    rules: Vec<String>,
    last: Option<(ServiceKey, String)>,
}

impl Rich {
    fn service(&mut self, service: &str, options: &str, change: impl FnOnce(&mut ServiceSpec)) {
        let service = key(service);
        let name = match service {
            ServiceKey::Address { protocol, .. } => {
                let option = match protocol.to_string().as_str() {
                    "tcp" => "-t",
                    "udp" => "-u",
                    _ => "--sctp-service",
                };
                let (_, address) = service.to_string().split_once(' ').map(owned).expect("an address");
                format!("{option} {address}")
            }
            ServiceKey::Fwmark { mark, family } => match family {
                Family::Inet => format!("-f {mark}"),
                Family::Inet6 => format!("-f {mark} -6"),
            },
        };
        self.rules.push(format!("-A {name} {options}"));
        let mut spec = ServiceSpec::new(Scheduler::Rr, service.family());
        change(&mut spec);
        let made = Service {
            spec,
            destinations: BTreeMap::new(),
        };
        self.table.services.insert(service, made);
        self.last = Some((service, name));
    }

    /// A destination of the service before.
    fn destination(&mut self, address: &str, options: &str, spec: DestinationSpec) {
        let (service, name) = self.last.as_ref().expect("a service");
        self.rules.push(format!("-a {name} -r {address} {options}"));
        let made = self.table.services.get_mut(service).expect("a service");
        made.destinations.insert(destination(address), spec);
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (service, found) in &self.table.services {
            steps.push(Step::AddService {
                service: *service,
                spec: found.spec.clone(),
            });
            steps.extend(
                found
                    .destinations
                    .iter()
                    .map(|(destination, spec)| Step::AddDestination {
                        service: *service,
                        destination: *destination,
                        spec: *spec,
                    }),
            );
        }
        steps
    }
}

fn owned((first, second): (&str, &str)) -> (String, String) {
    (first.to_owned(), second.to_owned())
}

/// Every field of services and destinations with each kind of value.
fn rich() -> Rich {
    let mut rich = Rich::default();
    let present = Scheduler::ALL
        .into_iter()
        .filter(|scheduler| *scheduler != Scheduler::Twos);
    for (number, scheduler) in present.enumerate() {
        let (service, options) = (format!("tcp 192.0.2.200:{}", 1000 + number), format!("-s {scheduler}"));
        rich.service(&service, &options, |spec| spec.scheduler = scheduler);
        rich.destination("192.0.2.11:8080", "-m -w 1", DestinationSpec::new(Forwarding::Nat, 1));
        rich.destination("192.0.2.12:8081", "-m -w 2", DestinationSpec::new(Forwarding::Nat, 2));
    }
    let (first, second, third) = (
        ServiceFlags::SCHEDULER_1,
        ServiceFlags::SCHEDULER_2,
        ServiceFlags::SCHEDULER_3,
    );
    for (port, scheduler, names, flags) in [
        (2000, Scheduler::Sh, "sh-fallback,sh-port", first.with(second)),
        (2001, Scheduler::Sh, "sh-port", second),
        (2002, Scheduler::Mh, "mh-fallback", first),
        (2003, Scheduler::Mh, "mh-fallback,mh-port", first.with(second)),
        (
            2004,
            Scheduler::Rr,
            "flag-1,flag-2,flag-3",
            first.with(second).with(third),
        ),
        (2005, Scheduler::Wlc, "flag-3", third),
    ] {
        let options = format!("-s {scheduler} -b {names}");
        rich.service(&format!("tcp 192.0.2.200:{port}"), &options, |spec| {
            spec.scheduler = scheduler;
            spec.flags = flags;
        });
    }
    let persistent = |seconds: u32, mask: Option<Netmask>| {
        move |spec: &mut ServiceSpec| {
            spec.flags = ServiceFlags::PERSISTENT;
            spec.persistence_timeout = seconds;
            spec.netmask = mask.unwrap_or(spec.netmask);
        }
    };
    let v4 = |mask: [u8; 4]| Some(Netmask::V4(Ipv4Addr::from(mask)));
    rich.service("tcp 192.0.2.201:80", "-s rr -p 300", persistent(300, None));
    rich.service(
        "tcp 192.0.2.201:81",
        "-s rr -p 2678400 -M 255.255.255.0",
        persistent(2_678_400, v4([255, 255, 255, 0])),
    );
    rich.service(
        "tcp 192.0.2.201:82",
        "-s rr -p 1 -M 255.0.255.0",
        persistent(1, v4([255, 0, 255, 0])),
    );
    rich.service("tcp 192.0.2.201:0", "-s rr -p 100", persistent(100, None));
    rich.destination("192.0.2.11:0", "-g -w 1", DestinationSpec::new(Forwarding::Dr, 1));
    rich.service(
        "tcp [2001:db8::200]:80",
        "-s rr -p 360 -M 64",
        persistent(360, Some(Netmask::V6(64))),
    );
    rich.service(
        "tcp [2001:db8::200]:81",
        "-s rr -p 360 -M 1",
        persistent(360, Some(Netmask::V6(1))),
    );
    rich.service("udp 192.0.2.201:53", "-s rr -o", |spec| {
        spec.flags = ServiceFlags::ONE_PACKET
    });
    rich.service("udp 192.0.2.201:5060", "-s rr -p 60 --pe sip -o", |spec| {
        spec.flags = ServiceFlags::ONE_PACKET.with(ServiceFlags::PERSISTENT);
        spec.persistence_timeout = 60;
        spec.persistence_engine = Some("sip".to_owned());
    });
    for mark in ["fwmark 7", "fwmark 4294967295"] {
        rich.service(mark, "-s rr", |_| {});
        rich.destination("192.0.2.11:8080", "-m -w 5", DestinationSpec::new(Forwarding::Nat, 5));
        rich.destination("192.0.2.12:0", "-g -w 6", DestinationSpec::new(Forwarding::Dr, 6));
    }
    rich.service("fwmark 7 inet6", "-s wlc", |spec| spec.scheduler = Scheduler::Wlc);
    rich.destination("[2001:db8::11]:0", "-g -w 7", DestinationSpec::new(Forwarding::Dr, 7));
    rich.service("sctp 192.0.2.201:3868", "-s wrr", |spec| {
        spec.scheduler = Scheduler::Wrr
    });
    rich.destination("192.0.2.11:3868", "-m -w 1", DestinationSpec::new(Forwarding::Nat, 1));
    rich.service("sctp [2001:db8::201]:3868", "-s wrr", |spec| {
        spec.scheduler = Scheduler::Wrr
    });
    rich.destination(
        "[2001:db8::11]:3868",
        "-m -w 1",
        DestinationSpec::new(Forwarding::Nat, 1),
    );

    let limits = |upper_threshold, lower_threshold| DestinationSpec {
        upper_threshold,
        lower_threshold,
        ..DestinationSpec::new(Forwarding::Nat, 1)
    };
    rich.service("tcp 192.0.2.202:80", "-s rr", |_| {});
    rich.destination("192.0.2.11:80", "-m -w 1 -x 100 -y 80", limits(100, 80));
    rich.destination("192.0.2.12:80", "-m -w 1 -x 7", limits(7, 0));
    rich.destination(
        "192.0.2.13:80",
        "-m -w 1 -x 1000000 -y 1000000",
        limits(1_000_000, 1_000_000),
    );
    rich.destination("192.0.2.14:80", "-g -w 0", DestinationSpec::new(Forwarding::Dr, 0));
    rich.destination(
        "192.0.2.15:80",
        "-m -w 2147483647",
        DestinationSpec::new(Forwarding::Nat, 2_147_483_647),
    );
    let tunnels = [
        (TunnelKind::Ipip, TunnelChecksum::None, ""),
        (
            TunnelKind::Gue { port: 6080 },
            TunnelChecksum::None,
            "--tun-type gue --tun-port 6080",
        ),
        (
            TunnelKind::Gue { port: 65535 },
            TunnelChecksum::Csum,
            "--tun-type gue --tun-port 65535 --tun-csum",
        ),
        (
            TunnelKind::Gue { port: 1 },
            TunnelChecksum::Remcsum,
            "--tun-type gue --tun-port 1 --tun-remcsum",
        ),
        (TunnelKind::Gre, TunnelChecksum::None, "--tun-type gre"),
        (TunnelKind::Gre, TunnelChecksum::Csum, "--tun-type gre --tun-csum"),
    ];
    for service in ["tcp 192.0.2.203:80", "tcp [2001:db8::203]:80"] {
        rich.service(service, "-s wlc", |spec| spec.scheduler = Scheduler::Wlc);
        for (number, (kind, checksum, options)) in tunnels.into_iter().enumerate() {
            // Every other one of the other family.
            let address = match number % 2 {
                0 => format!("192.0.2.{}:80", 30 + number),
                _ => format!("[2001:db8::{number}]:80"),
            };
            let spec = DestinationSpec::new(tunnel(kind, checksum), 3);
            rich.destination(&address, &format!("-i -w 3 {options}"), spec);
        }
    }
    rich
}

fn apply_all(client: &mut Client, steps: &[Step]) {
    for outcome in client.apply(steps) {
        outcome
            .result
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", outcome.step));
    }
}

/// A listing as a table, each key once.
fn as_table(listing: Vec<ListedService>) -> Table {
    let mut table = Table::default();
    for service in listing {
        let count = service.destinations.len();
        let destinations: BTreeMap<_, _> = service
            .destinations
            .into_iter()
            .map(|one| (one.key, one.spec))
            .collect();
        assert_eq!(destinations.len(), count, "a destination told twice of {}", service.key);
        let found = Service {
            spec: service.spec,
            destinations,
        };
        assert!(
            table.services.insert(service.key, found).is_none(),
            "{} told twice",
            service.key
        );
    }
    table
}

#[test]
fn every_field_comes_back_and_the_original_shows_it_as_its_own() {
    let lab = directors("ipvs-fields", 2);
    let (ours, theirs) = (lab.director(0), lab.director(1));
    let rich = rich();
    with_client(ours, |client| {
        apply_all(client, &rich.steps());
        assert_eq!(as_table(client.listing().unwrap()), rich.table);
        // Once more as changes of what is there: a change replaces the settings as a whole.
        let again = rich.steps().into_iter().map(|step| match step {
            Step::AddService { service, spec } => Step::SetService { service, spec },
            Step::AddDestination {
                service,
                destination,
                spec,
            } => Step::SetDestination {
                service,
                destination,
                spec,
            },
            other => other,
        });
        apply_all(client, &again.collect::<Vec<_>>());
        assert_eq!(as_table(client.listing().unwrap()), rich.table);
        let read = client.table(|_| true).unwrap();
        assert_eq!(read.services, rich.table.services);
        let (read, mut last) = (Arc::new(read), LastLook::default());
        let again = client.table_unless(Some(&read), &mut last, |_| true, || false);
        assert_eq!(again.unwrap(), None);
        let anew = client.table_unless(None, &mut last, |_| true, || false);
        assert_eq!(anew.unwrap().as_ref(), Some(&*read));
        for service in rich.table.services.keys() {
            let found = client.service(service).unwrap();
            assert_eq!((found.key, &found.spec), (*service, &rich.table.services[service].spec));
        }
    });
    theirs
        .exec_ok_with_input(&["ipvsadm", "-R"], &(rich.rules.join("\n") + "\n"))
        .unwrap();
    with_client(theirs, |client| {
        assert_eq!(as_table(client.listing().unwrap()), rich.table)
    });
    for options in [
        &["-S", "-n"] as &[&str],
        &["-L", "-n"],
        &["-L", "-n", "--thresholds"],
        &["-L", "-n", "--tun-info"],
        &["-L", "-n", "--persistent-conn"],
    ] {
        let shown = |host: &Host| host.exec_ok(&[&["ipvsadm"], options].concat()).unwrap();
        let text = shown(ours);
        assert_eq!(text, shown(theirs), "{options:?}");
        assert!(text.lines().count() >= rich.table.services.len(), "{text}");
    }
}

/// Looks at a table again: what has changed, and how often it was asked whether a service has to be read in full.
fn look_again(client: &mut Client, last: &mut LastLook, known: &Arc<Table>) -> (Option<Table>, u32) {
    let asked = Cell::new(0);
    let in_full = |_: &_| {
        asked.set(asked.get() + 1);
        false
    };
    let found = client.table_unless(Some(known), last, in_full, || false);
    (found.unwrap(), asked.get())
}

#[test]
fn a_look_sees_what_has_changed_and_takes_nothing_apart_that_has_not() {
    let lab = directors("ipvs-again", 1);
    let host = lab.director(0);
    let admin = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        host.exec_ok(&[&["ipvsadm"], &*words].concat()).unwrap();
    };
    admin("-A -t 203.0.113.1:80 -s rr");
    admin("-a -t 203.0.113.1:80 -r 192.0.2.1:80 -m -w 1");
    admin("-a -t 203.0.113.1:80 -r 192.0.2.2:80 -m -w 0");
    with_client(host, |client| {
        let mut last = LastLook::default();
        let mut known = Arc::new(client.table(|_| false).unwrap());
        for change in [
            "-e -t 203.0.113.1:80 -r 192.0.2.1:80 -m -w 2",
            "-E -t 203.0.113.1:80 -s rr -p 60",
            "-E -t 203.0.113.1:80 -s mh -b mh-fallback",
            "-d -t 203.0.113.1:80 -r 192.0.2.2:80",
            "-a -t 203.0.113.1:80 -r 192.0.2.2:80 -g -w 1",
            "-A -t 203.0.113.1:81 -s rr",
        ] {
            let (first, again) = (
                look_again(client, &mut last, &known),
                look_again(client, &mut last, &known),
            );
            assert_eq!((&first.0, &again.0), (&None, &None), "before {change}");
            assert!(again.1 < first.1, "taken apart twice before {change}");
            // The same table, but it is not known yet that it is.
            let other = Arc::new(Table::clone(&known));
            assert_eq!(look_again(client, &mut last, &other), (None, first.1));
            admin(change);
            let (found, _) = look_again(client, &mut last, &known);
            let found = found.unwrap_or_else(|| panic!("{change} is not seen"));
            assert_eq!(found, client.table(|_| false).unwrap(), "{change}");
            known = Arc::new(found);
        }
    });
}

#[test]
fn the_cheap_listing_has_what_the_dumps_have() {
    let lab = directors("ipvs-cheap", 1);
    let rich = rich();
    with_client(lab.director(0), |client| {
        apply_all(client, &rich.steps());
        // A newer kernel may move its services to another table in between, and then tells them in another order.
        let sorted = |mut listed: Vec<ListedService>| {
            listed.sort_by_key(|service| service.key);
            listed
        };
        let full = sorted(client.listing().unwrap());
        assert_eq!(sorted(client.cheap_listing(|_| true).unwrap()), full);
        let limited = key("tcp 192.0.2.202:80");
        assert_eq!(
            sorted(client.cheap_listing(|service| *service == limited).unwrap()),
            full
        );
        let mut without = full.clone();
        for found in without.iter_mut().flat_map(|service| &mut service.destinations) {
            (found.spec.upper_threshold, found.spec.lower_threshold) = (0, 0);
        }
        assert_eq!(sorted(client.cheap_listing(|_| false).unwrap()), without);
        for found in without.iter_mut().flat_map(|service| &mut service.destinations) {
            if let Forwarding::Tun(tunnel) = &mut found.spec.forwarding {
                *tunnel = Tunnel::IPIP;
            }
        }
        let (info, plain) = read_plain_listing().unwrap();
        let mut plain = sorted(plain);
        // Those of firewall marks come from dumps, tunnel options and all; there are none in this table.
        for found in plain.iter_mut().flat_map(|service| &mut service.destinations) {
            found.statistics = Statistics::default();
        }
        assert_eq!(plain, without);
        assert_eq!(info, client.info().unwrap());
    });
}

#[test]
fn what_only_other_programs_write_comes_back_too() {
    let lab = directors("ipvs-odd", 1);
    with_client(lab.director(0), |client| {
        let service = key("tcp 192.0.2.200:80");
        let spec = ServiceSpec::new(Scheduler::None, Family::Inet);
        let mut steps = vec![Step::AddService { service, spec }];
        let ways = [Forwarding::Local, Forwarding::Bypass, Forwarding::Other(5)];
        for (number, forwarding) in ways.into_iter().enumerate() {
            steps.push(Step::AddDestination {
                service,
                destination: DestinationKey::new(IpAddr::from([192, 0, 2, 11 + number as u8]), 80),
                spec: DestinationSpec::new(forwarding, 1),
            });
        }
        steps.push(Step::AddService {
            service: key("proto-50 192.0.2.200:0"),
            spec: ServiceSpec::new(Scheduler::Rr, Family::Inet),
        });
        apply_all(client, &steps);
        let table = as_table(client.listing().unwrap());
        let found = &table.services[&service];
        assert_eq!(found.spec.scheduler, Scheduler::None);
        assert_eq!(
            found
                .destinations
                .values()
                .map(|spec| spec.forwarding)
                .collect::<Vec<_>>(),
            ways
        );
        assert!(table.services.contains_key(&key("proto-50 192.0.2.200:0")));
        // The cheap way knows fewer words.
        let cheap = as_table(client.cheap_listing(|_| false).unwrap());
        assert_eq!(
            cheap.services[&service]
                .destinations
                .values()
                .map(|spec| spec.forwarding)
                .collect::<Vec<_>>(),
            [Forwarding::Local, Forwarding::Nat, Forwarding::Nat]
        );
    });
}

/// A service with this many destinations of 198.18.0.0/15.
fn service_of(service: ServiceKey, count: u32) -> Vec<Step> {
    let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
    let destinations = (1..=count).map(|number| Step::AddDestination {
        service,
        destination: DestinationKey::new(Ipv4Addr::from_bits(0xc612_0000 + number).into(), 80),
        spec: DestinationSpec::new(Forwarding::Dr, number % 100),
    });
    std::iter::once(Step::AddService { service, spec })
        .chain(destinations)
        .collect()
}

#[test]
fn one_refused_among_a_thousand_is_named_and_the_rest_is_in() {
    let lab = directors("ipvs-refused", 1);
    with_client(lab.director(0), |client| {
        let service = key("tcp 192.0.2.200:80");
        let mut steps = service_of(service, 1000);
        let bad = destination("224.0.0.1:80");
        if let Step::AddDestination { destination, .. } = &mut steps[500] {
            *destination = bad;
        }
        let outcomes = client.apply(&steps);
        let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].step, steps[500]);
        let refusal = refused[0].result.as_ref().unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Permanent);
        let wanted = "cannot add real server 224.0.0.1:80 to tcp 192.0.2.200:80";
        assert!(refusal.message.contains(wanted), "{refusal}");
        assert!(refusal.message.contains("unicast"), "{refusal}");
        assert_eq!(client.destinations(&service).unwrap().len(), 999);
    });
}

#[test]
fn when_all_are_refused_each_is_told() {
    let lab = directors("ipvs-all-refused", 1);
    with_client(lab.director(0), |client| {
        // As many echoed requests as windows can bring: no buffer overflows.
        let steps: Vec<_> = service_of(key("tcp 192.0.2.200:80"), 1000).split_off(1);
        let outcomes = client.apply(&steps);
        assert_eq!(outcomes.len(), 1000);
        for outcome in outcomes {
            let refusal = outcome.result.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::TableChanged, "{refusal}");
            assert!(refusal.message.contains("there is no such service"), "{refusal}");
        }
    });
}

#[test]
fn dumps_of_any_size_are_complete() {
    let lab = directors("ipvs-dumps", 1);
    with_client(lab.director(0), |client| {
        let service = key("tcp 192.0.2.200:80");
        apply_all(client, &service_of(service, 5000));
        let found = client.destinations(&service).unwrap();
        let keys: BTreeSet<_> = found.iter().map(|found| found.key).collect();
        assert_eq!((found.len(), keys.len()), (5000, 5000));
        client.flush().unwrap();
        let services: Vec<_> = (1..=2000u16)
            .map(|port| Step::AddService {
                service: key(&format!("tcp 192.0.2.200:{port}")),
                spec: ServiceSpec::new(Scheduler::Rr, Family::Inet),
            })
            .collect();
        apply_all(client, &services);
        // At once: the kernel may be at moving its table to a larger one.
        let found: BTreeSet<_> = client.services().unwrap().iter().map(|found| found.key).collect();
        let wanted: BTreeSet<_> = services.iter().map(Step::service).collect();
        assert_eq!(wanted.difference(&found).collect::<Vec<_>>(), Vec::<&ServiceKey>::new());
        assert_eq!(found.len(), 2000);
        assert_eq!(client.cheap_listing(|_| false).unwrap().len(), 2000);
    });
}

#[test]
fn a_dump_while_another_writes_tells_nothing_twice() {
    let lab = directors("ipvs-changing", 1);
    let host = lab.director(0);
    let service = key("tcp 192.0.2.200:80");
    with_client(host, |client| apply_all(client, &service_of(service, 1000)));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            with_client(host, |client| {
                for round in 0u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let destination = DestinationKey::new(Ipv4Addr::from_bits(0xc613_0000 + round).into(), 80);
                    apply_all(
                        client,
                        &[Step::AddDestination {
                            service,
                            destination,
                            spec: DestinationSpec::new(Forwarding::Dr, 1),
                        }],
                    );
                }
            });
        });
        with_client(host, |client| {
            for _ in 0..4 {
                let found = client.destinations(&service).unwrap();
                let keys: BTreeSet<_> = found.iter().map(|found| found.key).collect();
                assert_eq!(keys.len(), found.len());
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn another_writer_between_read_and_write_is_told_from_a_bad_value() {
    let lab = directors("ipvs-race", 1);
    let host = lab.director(0);
    let (there, gone) = (key("tcp 192.0.2.200:80"), key("tcp 192.0.2.200:81"));
    let server = destination("192.0.2.11:80");
    host.exec_ok_with_input(
        &["ipvsadm", "-R"],
        "-A -t 192.0.2.200:80 -s rr\n-a -t 192.0.2.200:80 -r 192.0.2.11:80 -g\n",
    )
    .unwrap();
    let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
    let settings = DestinationSpec::new(Forwarding::Dr, 1);
    let other = destination("192.0.2.12:80");
    with_client(host, |client| {
        let steps = [
            Step::AddService {
                service: there,
                spec: spec.clone(),
            },
            Step::AddDestination {
                service: there,
                destination: server,
                spec: settings,
            },
            Step::SetDestination {
                service: there,
                destination: other,
                spec: settings,
            },
            Step::RemoveDestination {
                service: there,
                destination: other,
            },
            Step::SetService { service: gone, spec },
            Step::RemoveService { service: gone },
            Step::AddDestination {
                service: gone,
                destination: server,
                spec: settings,
            },
        ];
        for outcome in client.apply(&steps) {
            let refusal = outcome.result.expect_err("a refusal");
            assert_eq!(refusal.kind, RefusalKind::TableChanged, "{refusal}");
            let service = outcome.step.service().to_string();
            assert!(refusal.message.contains(&service), "{refusal}");
        }
        let missing = client.service(&gone).unwrap_err();
        assert!(missing.to_string().contains("there is no such service"), "{missing}");
        assert!(client.destinations(&gone).unwrap().is_empty());
    });
}

#[test]
fn a_missing_module_is_named_with_its_remedy() {
    let lab = directors("ipvs-module", 1);
    with_client(lab.director(0), |client| {
        let service = key("tcp 192.0.2.200:80");
        let refusal = |client: &mut Client, change: &dyn Fn(&mut ServiceSpec)| {
            let mut spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
            change(&mut spec);
            let outcome = client.apply(&[Step::AddService { service, spec }]).remove(0);
            let refusal = outcome.result.expect_err("a refusal");
            assert_eq!(refusal.kind, RefusalKind::Permanent);
            refusal.message
        };
        let scheduler = refusal(client, &|spec| spec.scheduler = Scheduler::from_name("nosuch"));
        assert!(
            scheduler.contains("cannot add service tcp 192.0.2.200:80"),
            "{scheduler}"
        );
        assert!(scheduler.contains("modprobe ip_vs_nosuch"), "{scheduler}");
        let engine = refusal(client, &|spec| {
            spec.persistence_engine = Some("nosuch".to_owned());
            spec.flags = ServiceFlags::PERSISTENT;
            spec.persistence_timeout = 60;
        });
        assert!(engine.contains("ip_vs_pe_nosuch"), "{engine}");
        assert!(client.services().unwrap().is_empty());
    });
}

#[test]
fn root_of_a_user_namespace_is_told_which_privilege_it_lacks() {
    let lab = directors("ipvs-userns", 1);
    let finished = lab
        .director(0)
        .exec(&["unshare", "--user", "--map-root-user", crate::site::IPVSD, "list", "-n"])
        .unwrap();
    assert_eq!(finished.code(), 1, "{}{}", finished.stdout, finished.stderr);
    assert!(finished.stderr.contains("CAP_NET_ADMIN"), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("initial user namespace"),
        "{}",
        finished.stderr
    );
    // The same with the privilege.
    assert_eq!(ipvsd(lab.director(0), &["list", "-n"]).code(), 0);
}

#[test]
fn timeouts_are_set_one_by_one_and_shown() {
    let lab = directors("ipvs-timeouts", 1);
    let host = lab.director(0);
    let shown = || host.exec_ok(&["ipvsadm", "-L", "--timeout"]).unwrap();
    let set = |tcp, tcp_fin, udp| {
        with_client(host, |client| {
            client.set_timeouts(&Timeouts { tcp, tcp_fin, udp }).unwrap();
            let found = client.timeouts().unwrap();
            (found.tcp, found.tcp_fin, found.udp)
        })
    };
    assert_eq!(set(1000, 60, 200), (1000, 60, 200));
    assert!(shown().contains("1000 60 200"), "{}", shown());
    assert_eq!(set(0, 61, 0), (1000, 61, 200));
    assert!(shown().contains("1000 61 200"), "{}", shown());
    let error = with_client(host, |client| {
        let timeouts = Timeouts {
            tcp: u32::MAX,
            ..Timeouts::default()
        };
        client.set_timeouts(&timeouts).unwrap_err()
    });
    assert!(error.to_string().contains("a timeout is too large"), "{error}");
}

#[test]
fn the_kernel_tells_its_version() {
    let lab = directors("ipvs-info", 1);
    let info = with_client(lab.director(0), |client| client.info().unwrap());
    assert_eq!(info.version_parts(), (1, 2, 1));
    let head = lab.director(0).exec_ok(&["ipvsadm", "-L", "-n"]).unwrap();
    let wanted = format!("version 1.2.1 (size={})", info.connection_table_size);
    assert!(head.contains(&wanted), "{head}");
}

#[test]
fn counters_are_zeroed_and_the_table_is_cleared() {
    let lab = directors("ipvs-zero", 1);
    let host = lab.director(0);
    let own = IpAddr::from(host.address4(Segment::Server));
    let vip = IpAddr::from(lab.vip4(0));
    let service = |port| ServiceKey::Address {
        protocol: ipvsd::model::Protocol::Udp,
        address: vip,
        port,
    };
    let mut steps = Vec::new();
    for port in [53, 54] {
        let service = service(port);
        let spec = ServiceSpec::new(Scheduler::Rr, Family::Inet);
        steps.push(Step::AddService { service, spec });
        steps.push(Step::AddDestination {
            service,
            destination: DestinationKey::new(own, 5353),
            spec: DestinationSpec::new(Forwarding::Nat, 1),
        });
    }
    let connections = |port| {
        with_client(host, |client| {
            let found = client.service(&service(port)).unwrap().statistics;
            let below = client.destinations(&service(port)).unwrap()[0].statistics;
            assert_eq!(found.connections, below.connections);
            assert!(found.connections == 0 || found.packets_in > 0 && found.bytes_in > 0);
            found.connections
        })
    };
    with_client(host, |client| apply_all(client, &steps));
    host.in_namespace(|| {
        let socket = UdpSocket::bind((own, 0)).unwrap();
        for port in [53, 54] {
            socket.send_to(b"a question", (vip, port)).unwrap();
        }
    })
    .unwrap();
    let counted = || connections(53) == 1 && connections(54) == 1;
    wait_until("the kernel counts", Duration::from_secs(10), counted).unwrap();
    with_client(host, |client| client.zero(Some(service(53))).unwrap());
    assert_eq!((connections(53), connections(54)), (0, 1));
    with_client(host, |client| client.zero(None).unwrap());
    assert_eq!((connections(53), connections(54)), (0, 0));
    with_client(host, |client| {
        let error = client.zero(Some(service(55))).unwrap_err();
        assert!(error.to_string().contains("no such service"), "{error}");
        client.flush().unwrap();
        assert!(client.services().unwrap().is_empty());
        client.flush().unwrap();
    });
    assert_eq!(host.exec_ok(&["ipvsadm", "-S", "-n"]).unwrap(), "");
}

fn daemon(role: SyncRole, group: Option<IpAddr>) -> SyncDaemon {
    SyncDaemon {
        role,
        interface: "eth0".to_owned(),
        sync_id: 7,
        max_length: 1400,
        group,
        port: 9000,
        ttl: 3,
    }
}

#[test]
fn sync_daemons_start_stop_and_come_back_with_every_field() {
    let lab = directors("ipvs-sync", 1);
    let host = lab.director(0);
    let shown = || host.exec_ok(&["ipvsadm", "-L", "--daemon"]).unwrap();
    let master = daemon(SyncRole::Master, Some(IpAddr::from([224, 0, 0, 99])));
    let backup = SyncDaemon {
        sync_id: 0,
        ..daemon(SyncRole::Backup, Some("ff02::81".parse().unwrap()))
    };
    with_client(host, |client| {
        assert!(client.sync_daemons().unwrap().is_empty());
        client.start_sync_daemon(&master).unwrap();
        client.start_sync_daemon(&backup).unwrap();
        assert_eq!(client.sync_daemons().unwrap(), [master.clone(), backup.clone()]);
        let error = client.start_sync_daemon(&master).unwrap_err();
        assert!(error.already_exists(), "{error}");
        assert!(error.to_string().contains("it runs already"), "{error}");
    });
    let text = shown();
    let wanted = "master sync daemon (mcast=eth0, syncid=7, maxlen=1400, group=224.0.0.99, port=9000, ttl=3)";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("backup sync daemon (mcast=eth0, syncid=0"), "{text}");
    assert!(text.contains("group=ff02::81, port=9000, ttl=3)"), "{text}");
    with_client(host, |client| {
        client.stop_sync_daemon(SyncRole::Master).unwrap();
        assert_eq!(client.sync_daemons().unwrap(), [backup]);
        client.stop_sync_daemon(SyncRole::Backup).unwrap();
        assert!(client.sync_daemons().unwrap().is_empty());
        let error = client.stop_sync_daemon(SyncRole::Backup).unwrap_err();
        assert!(error.to_string().contains("it does not run"), "{error}");
        let nowhere = SyncDaemon {
            interface: "nosuch0".to_owned(),
            ..master
        };
        let error = client.start_sync_daemon(&nowhere).unwrap_err();
        assert!(error.to_string().contains("no such interface"), "{error}");
    });
    assert_eq!(shown(), "");
}

#[test]
fn a_sync_daemon_with_the_kernels_own_choices_runs_on_port_8848() {
    let lab = directors("ipvs-sync-default", 1);
    with_client(lab.director(0), |client| {
        let plain = SyncDaemon {
            max_length: 0,
            port: 0,
            ttl: 0,
            ..daemon(SyncRole::Master, None)
        };
        client.start_sync_daemon(&plain).unwrap();
        let found = client.sync_daemons().unwrap().remove(0);
        assert_eq!((found.port, found.ttl), (8848, 1));
        assert_eq!(found.group, Some(IpAddr::from([224, 0, 0, 81])));
        assert!(found.max_length > 0);
        client.stop_sync_daemon(SyncRole::Master).unwrap();
    });
}

#[test]
fn a_sync_daemon_whose_length_the_kernel_does_not_keep_is_not_started_again() {
    let lab = directors("ipvs-sync-length", 1);
    let v6 = Some("ff02::81".parse().unwrap());
    with_client(lab.director(0), |client| {
        for (role, group, length, kept) in [
            (SyncRole::Backup, None, 512, 1024),
            (SyncRole::Master, None, 512, 512),
            (SyncRole::Backup, v6, 65_507, 65_487),
            (SyncRole::Master, v6, 65_507, 65_487),
            (SyncRole::Backup, None, 65_507, 65_507),
        ] {
            let wanted = SyncDaemon {
                max_length: length,
                ..daemon(role, group)
            };
            client.start_sync_daemon(&wanted).unwrap();
            let found = client.sync_daemons().unwrap();
            assert_eq!(found[0].max_length, kept, "{role:?} {group:?} {length}");
            assert_eq!(plan::sync_steps(&[wanted], &found), [], "{role:?} {group:?} {length}");
            client.stop_sync_daemon(role).unwrap();
        }
    });
}

#[test]
fn stopping_a_sync_daemon_at_once_ends_though_the_kernel_forgets_to_answer() {
    let lab = directors("ipvs-sync-lost", 1);
    with_client(lab.director(0), |client| {
        for role in [SyncRole::Master, SyncRole::Backup, SyncRole::Master] {
            client.start_sync_daemon(&daemon(role, None)).unwrap();
            let started = Instant::now();
            client.stop_sync_daemon(role).unwrap();
            assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
            assert!(client.sync_daemons().unwrap().is_empty());
            // The socket serves on.
            client.info().unwrap();
        }
    });
}

#[test]
fn a_tunnel_to_the_other_family_excludes_sync_daemons_and_the_reason_is_said() {
    let lab = directors("ipvs-sync-mixed", 1);
    with_client(lab.director(0), |client| {
        let service = key("tcp 192.0.2.200:80");
        let mixed = Step::AddDestination {
            service,
            destination: destination("[2001:db8::11]:80"),
            spec: DestinationSpec::new(Forwarding::Tun(Tunnel::IPIP), 1),
        };
        apply_all(client, &service_of(service, 0));
        apply_all(client, std::slice::from_ref(&mixed));
        let error = client.start_sync_daemon(&daemon(SyncRole::Master, None)).unwrap_err();
        assert!(matches!(error, IpvsError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("mixes IPv4 and IPv6"), "{error}");
        client.flush().unwrap();
        apply_all(client, &service_of(service, 0));
        client.start_sync_daemon(&daemon(SyncRole::Master, None)).unwrap();
        let refusal = client.apply(&[mixed]).remove(0).result.unwrap_err();
        assert!(refusal.message.contains("not while a sync daemon runs"), "{refusal}");
        client.stop_sync_daemon(SyncRole::Master).unwrap();
    });
}

#[test]
fn a_send_buffer_made_small_still_takes_a_batch() {
    let lab = directors("ipvs-sndbuf", 1);
    // New sockets get the system's default; 4608 bytes hold some thirty requests.
    let before = std::fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    std::fs::write("/proc/sys/net/core/wmem_default", "4608").unwrap();
    let outcome = std::panic::catch_unwind(|| {
        with_client(lab.director(0), |client| {
            let service = key("tcp 192.0.2.200:80");
            apply_all(client, &service_of(service, 500));
            assert_eq!(client.destinations(&service).unwrap().len(), 500);
        });
    });
    std::fs::write("/proc/sys/net/core/wmem_default", before.trim()).unwrap();
    outcome.unwrap();
}
