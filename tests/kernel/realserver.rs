//! A real server made by `ipvsd realserver` and a director's addresses held by `net::vip`, on the real kernel.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ipvsd::model::{Mac, VirtualAddress};
use ipvsd::net::neighbour::{Burst, ProbeTiming, announce, probe};
use ipvsd::net::{AddOptions, Change, HostNetwork, NetError, module, vip};
use ipvsd_lab::{
    Client, Finished, Host, Lab, Nginx, Segment, Topology, prepare_director_by_hand, require_kernel, wait_until,
};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

fn realserver(host: &Host, arguments: &[&str]) -> Finished {
    let run_dir = host.directory().join("run");
    let run_dir = run_dir.to_str().unwrap();
    let all = [&[IPVSD, "realserver"], arguments, &["--run-dir", run_dir]].concat();
    host.exec(&all).unwrap()
}

fn realserver_ok(host: &Host, arguments: &[&str]) -> String {
    let finished = realserver(host, arguments);
    assert_eq!(
        finished.code(),
        0,
        "{arguments:?}: {}{}",
        finished.stdout,
        finished.stderr
    );
    finished.stdout
}

/// Runs a future in a host's namespace.
fn on<T: Send>(host: &Host, work: impl AsyncFnOnce() -> T + Send) -> T {
    host.in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work())
    })
    .unwrap()
}

fn mac_of(host: &Host) -> Mac {
    on(host, async || {
        let network = HostNetwork::connect().unwrap();
        network.link("eth0").unwrap().mac.unwrap()
    })
}

fn asked_by(host: &Host, address: IpAddr) -> Option<Mac> {
    on(host, async || probe("eth0", address, ProbeTiming::QUICK).await.unwrap())
}

/// Has the tunnels' modules loaded, so that their devices are part of what was there before, and their settings too,
/// which the kernel makes when a device is first up.
fn load_tunnels(host: &Host) {
    host.in_namespace(|| {
        assert!(module::summon_ipv6());
        for device in ["tunl0", "ip6tnl0"] {
            assert!(
                module::summon_device(device),
                "no {device}: its module cannot be loaded"
            );
        }
    })
    .unwrap();
    for state in ["up", "down"] {
        host.ip(&[&format!("link set tunl0 {state}"), &format!("link set ip6tnl0 {state}")])
            .unwrap();
    }
}

/// Addresses as ip(8) shows them, interfaces and whether they are up, and every network setting that can be read.
fn snapshot(host: &Host) -> (String, Vec<String>, BTreeMap<String, String>) {
    let addresses = host.exec_ok(&["ip", "-o", "address"]).unwrap();
    let links = host.exec_ok(&["ip", "-o", "link"]).unwrap();
    let links = links.lines().map(|line| line.split(" mtu ").next().unwrap().to_owned());
    let mut settings = BTreeMap::new();
    host.in_namespace(|| walk(Path::new("/proc/sys/net"), &mut settings))
        .unwrap();
    assert!(settings.len() > 300, "only {} settings", settings.len());
    (addresses, links.collect(), settings)
}

fn walk(folder: &Path, settings: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            walk(&path, settings);
        } else if !name.ends_with("_count")
            && let Ok(value) = fs::read_to_string(&path)
        {
            settings.insert(name, value);
        }
    }
}

fn one_server(name: &str) -> Lab {
    Topology::one_segment().real_servers(1).build(name).unwrap()
}

#[test]
fn down_puts_a_direct_routing_host_back_as_it_was() {
    require_kernel();
    goes_and_comes_back("back-dr", "dr");
}

#[test]
fn down_puts_a_tunnel_host_back_as_it_was() {
    require_kernel();
    goes_and_comes_back("back-tun", "tun");
}

fn goes_and_comes_back(name: &str, mode: &str) {
    let lab = one_server(name);
    let (host, first, second) = (lab.real_server(0), lab.vip4(0).to_string(), lab.vip6(0).to_string());
    load_tunnels(host);
    host.set_sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    let third = lab.vip4(1).to_string();
    host.ip(&[&format!("address add {third}/32 dev lo")]).unwrap();
    let before = snapshot(host);

    let nothing = realserver_ok(host, &["down"]);
    assert!(nothing.contains("nothing to undo"), "{nothing}");
    assert_eq!(realserver(host, &["status", "--vip", &first, "--mode", mode]).code(), 1);
    assert_eq!(snapshot(host), before, "looking changes nothing");

    realserver_ok(host, &["up", "--vip", &first, "--mode", mode]);
    let ready = snapshot(host);
    assert!(
        ready.0.contains(&format!("inet {first}/32 scope host lo:vip")),
        "{}",
        ready.0
    );
    let again = realserver_ok(host, &["up", "--vip", &first, "--mode", mode]);
    assert_eq!(again, "ready as a real server for 1 virtual address\n");
    assert_eq!(snapshot(host), ready, "the second `up` changes nothing");
    // Extends the first, and finds one of its addresses there already.
    realserver_ok(host, &["up", "--vip", &second, &third, "--mode", mode]);
    let ready = snapshot(host);
    assert!(
        ready
            .0
            .contains(&format!("inet6 {second}/128 scope global deprecated nodad"))
            || ready
                .0
                .contains(&format!("inet6 {second}/128 scope global nodad deprecated")),
        "{}",
        ready.0
    );
    let said = realserver_ok(host, &["status"]);
    assert!(said.ends_with("this host works as a real server\n"), "{said}");

    realserver_ok(host, &["down"]);
    let after = snapshot(host);
    assert_eq!(after.0, before.0);
    assert_eq!(after.1, before.1);
    let changed: Vec<_> = before
        .2
        .iter()
        .filter(|(name, value)| after.2.get(*name) != Some(value))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
    let new: Vec<_> = after.2.keys().filter(|name| !before.2.contains_key(*name)).collect();
    assert_eq!(new, [""; 0]);
    assert!(realserver_ok(host, &["down"]).contains("nothing to undo"));
}

#[test]
fn nobody_is_answered_for_the_address_of_a_real_server_at_any_moment() {
    require_kernel();
    let lab = one_server("arp");
    let (host, neighbour) = (lab.real_server(0), lab.client(0));
    let server = mac_of(host);
    assert_eq!(asked_by(neighbour, host.address4(Segment::Server).into()), Some(server));
    assert_eq!(asked_by(neighbour, host.address6(Segment::Server).into()), Some(server));

    // What happens without the settings: the neighbour is answered. IPv6 has no such trouble.
    let (by_hand, by_hand6) = (lab.vip4(1), lab.vip6(1));
    host.ip(&[
        &format!("address add {by_hand}/32 dev lo"),
        &format!("address add {by_hand6}/128 dev lo nodad"),
    ])
    .unwrap();
    assert_eq!(asked_by(neighbour, by_hand.into()), Some(server));
    assert_eq!(asked_by(neighbour, by_hand6.into()), None);
    let refused = realserver(host, &["status", "--vip", &by_hand.to_string()]);
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stdout.contains("problem: eth0: answers ARP"),
        "{}",
        refused.stdout
    );

    // Somebody asks without a pause while `up` and `down` are at work.
    let timing = ProbeTiming {
        count: 1000,
        interval: Duration::from_millis(2),
        wait: Duration::from_millis(200),
    };
    for address in [IpAddr::from(lab.vip4(0)), IpAddr::from(lab.vip6(0))] {
        let answer = thread::scope(|scope| {
            let asking = scope.spawn(|| on(neighbour, async || probe("eth0", address, timing).await.unwrap()));
            realserver_ok(host, &["up", "--vip", &address.to_string()]);
            assert!(!asking.is_finished(), "it did not ask to the end, or was answered");
            realserver_ok(host, &["down"]);
            realserver_ok(host, &["up", "--vip", &address.to_string()]);
            asking.join().unwrap()
        });
        assert_eq!(answer, None);
        assert_eq!(asked_by(neighbour, address), None);
    }
    assert_eq!(asked_by(neighbour, host.address4(Segment::Server).into()), Some(server));
}

#[test]
fn a_real_server_asks_its_neighbours_in_its_own_name() {
    require_kernel();
    let lab = one_server("announce");
    let (host, neighbour, address) = (lab.real_server(0), lab.client(0), lab.vip4(0));
    realserver_ok(host, &["up", "--vip", &address.to_string()]);
    // An entry for the virtual address that any ARP packet in its name would change.
    let wrong = "02:00:00:00:00:99";
    neighbour
        .ip(&[&format!("neigh replace {address} lladdr {wrong} dev eth0 nud stale")])
        .unwrap();
    host.ip(&["neigh flush dev eth0"]).unwrap();
    let target: SocketAddr = (neighbour.address4(Segment::Server), 9).into();
    host.in_namespace(|| {
        let from = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        from.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        // The answer does not find back: asking for the neighbour is what counts.
        let _ = from.connect_timeout(&target.into(), Duration::from_millis(500));
    })
    .unwrap();
    let known = neighbour
        .exec_ok(&["ip", "neigh", "show", &address.to_string()])
        .unwrap();
    assert!(known.contains(wrong), "{known}");
    let learnt = neighbour
        .exec_ok(&["ip", "neigh", "show", &host.address4(Segment::Server).to_string()])
        .unwrap();
    assert!(learnt.contains(&mac_of(host).to_string()), "{learnt}");
}

/// A director with our address and a table by hand, real servers prepared by `ipvsd realserver`.
fn forwards(lab: &Lab, mode: &str, address: IpAddr) {
    let director = lab.director(0);
    prepare_director_by_hand(director, "eth0", &[]).unwrap();
    let held = VirtualAddress {
        device: "eth0".to_owned(),
        address,
    };
    on(director, async || {
        let network = HostNetwork::connect().unwrap();
        assert_eq!(vip::hold(&network, &held).await.unwrap(), Change::Made);
    });
    let service = SocketAddr::new(address, 80);
    let letter = if mode == "dr" { "-g" } else { "-i" };
    let wildcard: SocketAddr = if address.is_ipv4() { "0.0.0.0:80" } else { "[::]:80" }
        .parse()
        .unwrap();
    let mut rules = format!("-A -t {service} -s rr\n");
    let mut servers = Vec::new();
    for host in lab.real_servers() {
        host.set_sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
        realserver_ok(host, &["up", "--vip", &address.to_string(), "--mode", mode]);
        realserver_ok(host, &["status"]);
        let real: IpAddr = match address {
            IpAddr::V4(_) => host.address4(Segment::Server).into(),
            IpAddr::V6(_) => host.address6(Segment::Server).into(),
        };
        rules.push_str(&format!("-a -t {service} -r {} {letter}\n", SocketAddr::new(real, 80)));
        servers.push(Nginx::start(host, &[wildcard], host.name()).unwrap());
    }
    director.exec_ok_with_input(&["ipvsadm", "-R"], &rules).unwrap();
    let client = Client::new(lab.client(0));
    let counts = client.spread(service, 10).unwrap();
    let expected = [("real-server-1".to_owned(), 5), ("real-server-2".to_owned(), 5)];
    assert_eq!(counts, expected.into());
    // Without its address a real server drops what the director sends: the next two requests show it.
    realserver_ok(lab.real_server(0), &["down"]);
    let impatient = client.timeout(Duration::from_millis(700));
    let answers = [impatient.get(service).is_ok(), impatient.get(service).is_ok()];
    assert_eq!(answers.iter().filter(|answered| **answered).count(), 1, "{answers:?}");
}

#[test]
fn real_servers_take_routed_packets_over_ipv4() {
    require_kernel();
    let lab = Topology::one_segment().build("rs-dr4").unwrap();
    forwards(&lab, "dr", lab.vip4(0).into());
}

#[test]
fn real_servers_take_routed_packets_over_ipv6() {
    require_kernel();
    let lab = Topology::one_segment().build("rs-dr6").unwrap();
    forwards(&lab, "dr", lab.vip6(0).into());
}

#[test]
fn real_servers_take_tunnelled_packets_over_ipv4() {
    require_kernel();
    let lab = Topology::routed().build("rs-tun4").unwrap();
    forwards(&lab, "tun", lab.vip4(0).into());
}

#[test]
fn real_servers_take_tunnelled_packets_over_ipv6() {
    require_kernel();
    let lab = Topology::routed().build("rs-tun6").unwrap();
    forwards(&lab, "tun", lab.vip6(0).into());
}

#[test]
fn status_as_json_is_for_programs() {
    require_kernel();
    let lab = one_server("json");
    let (host, vip) = (lab.real_server(0), lab.vip4(0).to_string());
    let show = |arguments: &[&str]| {
        let finished = realserver(host, &[&["status", "--json"], arguments].concat());
        let shown: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!(shown["works"].as_bool(), Some(finished.code() == 0));
        shown
    };
    let shown = show(&["--vip", &vip]);
    assert_eq!(shown["works"], false);
    assert_eq!(shown["findings"][0]["severity"], "problem");
    assert_eq!(shown["findings"][0]["subject"], vip.as_str());
    realserver_ok(host, &["up", "--vip", &vip]);
    let shown = show(&[]);
    assert_eq!(shown["works"], true);
    assert_eq!(shown["virtual_addresses"][&vip]["device"], "lo");
    assert_eq!(shown["virtual_addresses"][&vip]["mode"], "dr");
}

#[test]
fn the_director_s_configuration_tells_each_host_what_it_is() {
    require_kernel();
    let lab = Topology::one_segment().build("config").unwrap();
    let (direct, tunnelled, translated) = (lab.vip4(0), lab.vip4(1), lab.vip4(2));
    let [first, second] = [0, 1].map(|number| lab.real_server(number).address4(Segment::Server));
    let server = |name: &str, vip, forward: &str, reals: &[std::net::Ipv4Addr]| {
        let pool: String = reals
            .iter()
            .map(|real| format!("[[virtual_server.real_server]]\naddress = \"{real}:80\"\n"))
            .collect();
        format!("[[virtual_server]]\nname = \"{name}\"\naddress = \"{vip}:80\"\nforward = \"{forward}\"\n{pool}")
    };
    let text = [
        server("direct", direct, "dr", &[first, second]),
        server("tunnelled", tunnelled, "tun", &[first]),
        server("translated", translated, "nat", &[second]),
    ]
    .concat();
    let file = lab.directory().join("ipvsd.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();

    let said = realserver_ok(lab.real_server(0), &["up", "--config", file]);
    assert!(said.contains("set tunl0 up\n"), "{said}");
    assert!(
        said.ends_with("ready as a real server for 2 virtual addresses\n"),
        "{said}"
    );
    let said = realserver_ok(lab.real_server(1), &["up", "--config", file]);
    assert!(
        said.contains("translated") && said.contains("nat real server"),
        "{said}"
    );
    assert!(
        said.ends_with("ready as a real server for 1 virtual address\n"),
        "{said}"
    );
    realserver_ok(lab.real_server(1), &["status", "--config", file]);
    let stranger = realserver(lab.client(0), &["up", "--config", file]);
    assert_eq!(stranger.code(), 1);
    assert!(stranger.stderr.contains("no real server in"), "{}", stranger.stderr);
    fs::write(lab.directory().join("bad.toml"), "nonsense = 1\n").unwrap();
    let bad = lab.directory().join("bad.toml");
    let bad = realserver(lab.real_server(0), &["up", "--config", bad.to_str().unwrap()]);
    assert_eq!(bad.code(), 1);
    assert!(bad.stderr.contains("bad.toml:1:1"), "{}", bad.stderr);
}

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_nothing_changes() {
    require_kernel();
    let lab = one_server("refused");
    let (host, vip) = (lab.real_server(0), lab.vip4(0).to_string());
    let before = snapshot(host);
    for (arguments, wanted) in [
        (vec!["--vip", &vip, "--dev", "eth9"], "eth9: there is no such interface"),
        (vec!["--vip", &vip, "--dev", "eth0"], "--dev lo"),
        (vec!["--vip", "224.0.0.5"], "cannot be a virtual address"),
        (vec![], "--vip"),
    ] {
        let finished = realserver(host, &[&["up"], &arguments[..]].concat());
        assert_eq!(finished.code(), 1, "{arguments:?}");
        assert!(finished.stderr.contains(wanted), "{}", finished.stderr);
    }
    assert_eq!(realserver(host, &["up", "--vip", &vip, "--mode", "nat"]).code(), 2);
    let run_dir = host.directory().join("open");
    fs::create_dir(&run_dir).unwrap();
    fs::set_permissions(&run_dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let finished = host
        .exec(&[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            IPVSD,
            "realserver",
            "up",
            "--vip",
            &vip,
            "--run-dir",
            run_dir.to_str().unwrap(),
        ])
        .unwrap();
    assert_eq!(finished.code(), 1);
    assert!(
        finished
            .stderr
            .contains("not permitted (run as root, or with CAP_NET_ADMIN"),
        "{}",
        finished.stderr
    );
    assert_eq!(snapshot(host), before);
}

#[test]
fn a_director_takes_an_address_tells_its_neighbours_and_lets_it_go() {
    require_kernel();
    let lab = Topology::one_segment().real_servers(0).build("hold").unwrap();
    let (director, neighbour) = (lab.director(0), lab.client(0));
    let own = mac_of(director);
    for address in [IpAddr::from(lab.vip4(0)), IpAddr::from(lab.vip6(0))] {
        let held = VirtualAddress {
            device: "eth0".to_owned(),
            address,
        };
        let stale = "02:00:00:00:00:99";
        neighbour
            .ip(&[&format!("neigh replace {address} lladdr {stale} dev eth0 nud stale")])
            .unwrap();
        let known = || {
            neighbour
                .exec_ok(&["ip", "neigh", "show", &address.to_string()])
                .unwrap()
        };
        on(director, async || {
            let network = HostNetwork::connect().unwrap();
            assert_eq!(vip::hold(&network, &held).await.unwrap(), Change::Made);
        });
        wait_until("the neighbour to learn it", Duration::from_secs(2), || {
            known().contains(&own.to_string())
        })
        .unwrap();
        let shown = director
            .exec_ok(&["ip", "-o", "address", "show", "dev", "eth0"])
            .unwrap();
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        assert!(shown.contains(&format!("{address}/{prefix} scope global")), "{shown}");
        assert_eq!(asked_by(neighbour, address), Some(own));
        on(director, async || {
            let network = HostNetwork::connect().unwrap();
            assert_eq!(vip::hold(&network, &held).await.unwrap(), Change::AlreadySo);
            assert_eq!(network.holder_of(address).unwrap().unwrap().device, "eth0");
            assert_eq!(vip::release(&network, &held).unwrap(), Change::Made);
            assert_eq!(vip::release(&network, &held).unwrap(), Change::AlreadySo);
            assert_eq!(network.holder_of(address).unwrap(), None);
        });
        assert_eq!(asked_by(neighbour, address), None);
    }
}

#[test]
fn a_director_refuses_an_address_that_another_host_answers_for() {
    require_kernel();
    let lab = Topology::one_segment()
        .directors(2)
        .real_servers(0)
        .build("duplicate")
        .unwrap();
    let (first, second) = (lab.director(0), lab.director(1));
    for address in [IpAddr::from(lab.vip4(0)), IpAddr::from(lab.vip6(0))] {
        let held = VirtualAddress {
            device: "eth0".to_owned(),
            address,
        };
        let hold = |host: &Host| {
            on(host, async || {
                let network = HostNetwork::connect().unwrap();
                vip::hold(&network, &held).await
            })
        };
        assert_eq!(hold(second).unwrap(), Change::Made);
        let before = snapshot(first);
        match hold(first).unwrap_err() {
            NetError::AddressInUse { holder, .. } => assert_eq!(holder, mac_of(second)),
            other => panic!("{other}"),
        }
        assert_eq!(snapshot(first), before);
    }
}

#[test]
fn many_addresses_are_taken_at_once_and_a_taken_one_spoils_no_other() {
    require_kernel();
    let lab = Topology::one_segment()
        .directors(2)
        .real_servers(0)
        .build("many")
        .unwrap();
    let (first, second) = (lab.director(0), lab.director(1));
    let vips: Vec<_> = (1..=40)
        .map(|last| VirtualAddress {
            device: "eth0".to_owned(),
            address: [203, 0, 113, last].into(),
        })
        .collect();
    on(second, async || {
        let network = HostNetwork::connect().unwrap();
        vip::hold(&network, &vips[7]).await.unwrap();
    });
    let before = Instant::now();
    let answers = on(first, async || {
        let network = HostNetwork::connect().unwrap();
        vip::hold_all(&network, &vips).await.unwrap()
    });
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "one after the other? {:?}",
        before.elapsed()
    );
    for (number, answer) in answers.iter().enumerate() {
        match (number, answer) {
            (7, Err(NetError::AddressInUse { holder, .. })) => assert_eq!(*holder, mac_of(second)),
            (_, Ok(Change::Made)) => assert_ne!(number, 7),
            (_, other) => panic!("{}: {other:?}", vips[number].address),
        }
    }
    let shown = first
        .exec_ok(&["ip", "-o", "-4", "address", "show", "to", "203.0.113.0/24"])
        .unwrap();
    assert_eq!(shown.lines().count(), 39, "{shown}");
}

#[test]
fn probing_and_announcing_say_what_is_wrong_with_the_interface() {
    require_kernel();
    let lab = one_server("interfaces");
    let host = lab.real_server(0);
    let address = IpAddr::from(lab.vip4(0));
    host.ip(&["link add dead0 type dummy"]).unwrap();
    let tried = |device: &'static str| {
        on(host, async || {
            let asked = probe(device, address, ProbeTiming::QUICK).await.unwrap_err();
            let told = announce(device, address, Burst::SHORT).await.unwrap_err();
            assert_eq!(std::mem::discriminant(&asked), std::mem::discriminant(&told));
            asked
        })
    };
    assert!(matches!(tried("eth9"), NetError::NoSuchDevice { .. }));
    assert!(matches!(tried("lo"), NetError::NotEthernet { .. }));
    assert!(matches!(tried("dead0"), NetError::DeviceDown { .. }));
    let missing = VirtualAddress {
        device: "eth9".to_owned(),
        address,
    };
    on(host, async || {
        let network = HostNetwork::connect().unwrap();
        let error = vip::hold(&network, &missing).await.unwrap_err();
        assert!(error.to_string().contains("eth9"), "{error}");
        // A device that had this number and has gone since.
        for address in [address, lab.vip6(0).into()] {
            let missing = VirtualAddress {
                address,
                ..missing.clone()
            };
            let error = network.add_address_to(9_999, &missing, &AddOptions::director());
            assert!(
                matches!(error, Err(NetError::NoSuchDevice { .. })),
                "{address}: {error:?}"
            );
        }
        assert_eq!(vip::release(&network, &missing).unwrap(), Change::AlreadySo);
    });
}
