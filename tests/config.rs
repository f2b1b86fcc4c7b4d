//! Configurations as data: every `tests/config/NAME.toml` has a `NAME.expected` beside it with its problems, and with
//! what it means where it can be used. `UPDATE_EXPECT=1` writes them anew.
//!
//! What a case includes lies in `NAME.d/`. The example configurations of `conf/` must be free of errors.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipvsd::config::{Outcome, Problems, Source, Sources, has_wildcard, name_matches, parse};
use ipvsd::model::{
    CheckSpec, Config, ForeignDestinations, IntervalFrom, Jitter, Notify, Origin, PoolPolicy, ProbeKind, ReturnMode,
    ServiceFlags, Via, VrrpAddress, VrrpNotify, VrrpSpec, VrrpTracked,
};
use proptest::prelude::*;

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

/// Parses a file with what it includes; names are relative to the file's directory.
fn parse_file(path: &Path) -> Outcome {
    let directory = path.parent().unwrap();
    let read = |name: &str| Source::new(name, std::fs::read(directory.join(name)).unwrap());
    let mut sources = Sources::new(read(path.file_name().unwrap().to_str().unwrap()));
    for _ in 0..20 {
        let Outcome::Needs(patterns) = parse(&sources) else {
            return parse(&sources);
        };
        for pattern in patterns {
            if !has_wildcard(&pattern) {
                let file = read(&pattern);
                sources.answer(pattern, vec![file]);
                continue;
            }
            let (folder, last) = pattern.rsplit_once('/').unwrap_or((".", &pattern));
            let mut names: Vec<_> = std::fs::read_dir(directory.join(folder))
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name_matches(last, name))
                .collect();
            names.sort();
            let files = names.iter().map(|name| read(&format!("{folder}/{name}"))).collect();
            sources.answer(pattern, files);
        }
    }
    panic!("{} keeps needing files", path.display());
}

fn show_problems(out: &mut String, problems: &Problems) {
    if !problems.is_empty() {
        writeln!(out, "{problems}").unwrap();
    }
}

fn show_checks(out: &mut String, checks: &[Arc<CheckSpec>]) {
    for check in checks {
        let CheckSpec {
            name,
            probe,
            connect_ip,
            connect_port,
            interval,
            retry_interval,
            down_interval,
            interval_from,
            jitter,
            warmup,
            timeout,
            rise,
            fall,
            first_fall,
            initial,
            flap,
            hold,
            via,
        } = &**check;
        writeln!(
            out,
            "    check {name}: {} port {connect_port:?} interval {interval:?} retry_interval {retry_interval:?} \
             timeout {timeout:?} rise {rise} fall {fall} initial {initial:?}",
            probe.kind
        )
        .unwrap();
        if (down_interval, interval_from, jitter) != (interval, &IntervalFrom::Start, &Jitter::None)
            || (warmup, *first_fall) != (&None, 1)
        {
            writeln!(
                out,
                "      down_interval {down_interval:?} interval_from {interval_from:?} jitter {jitter:?} \
                 warmup {warmup:?} first_fall {first_fall}"
            )
            .unwrap();
        }
        if *via == Via::Path {
            writeln!(out, "      via path").unwrap();
        }
        if *hold {
            writeln!(out, "      hold").unwrap();
        }
        if let Some(flap) = flap {
            writeln!(out, "      {flap:?}").unwrap();
        }
        if probe.kind != ProbeKind::Tcp(Vec::new()) {
            writeln!(out, "      {:?}", probe.kind).unwrap();
        }
        if let Some(address) = connect_ip {
            writeln!(out, "      connect_ip {address}").unwrap();
        }
        if probe.origin != Origin::default() {
            writeln!(out, "      {:?}", probe.origin).unwrap();
        }
    }
}

fn show_notify(out: &mut String, name: &str, notify: &Notify) {
    for (word, command) in [("up", &notify.up), ("down", &notify.down)] {
        if let Some(command) = command {
            writeln!(
                out,
                "{name}_{word} {:?} as {} for at most {:?}",
                command.argv, command.user, command.timeout
            )
            .unwrap();
        }
    }
}

fn show_policy(out: &mut String, policy: &PoolPolicy) {
    let PoolPolicy {
        quorum,
        hysteresis,
        quorum_notify,
        return_mode,
        panic_threshold,
        slow_start,
        drain_timeout,
        ha_suspend,
        notify_on_stop,
        foreign_destinations,
    } = policy;
    let mut line = |is_default: bool, text: String| {
        if !is_default {
            writeln!(out, "  {text}").unwrap();
        }
    };
    line(*quorum == 1, format!("quorum {quorum} hysteresis {hysteresis}"));
    line(*return_mode == ReturnMode::Auto, format!("return {return_mode:?}"));
    line(*panic_threshold == 0, format!("panic_threshold {panic_threshold} %"));
    line(slow_start.is_none(), format!("slow_start {slow_start:?}"));
    line(drain_timeout.is_none(), format!("drain_timeout {drain_timeout:?}"));
    line(!ha_suspend, "ha_suspend".to_owned());
    line(!notify_on_stop, "notify_on_stop".to_owned());
    let removes = *foreign_destinations == ForeignDestinations::Remove;
    line(removes, "foreign destinations stay".to_owned());
    show_notify(out, "  quorum", quorum_notify);
}

fn show_vrrp_notify(out: &mut String, name: &str, notify: &VrrpNotify) {
    for (what, command) in [
        ("master", &notify.master),
        ("backup", &notify.backup),
        ("fault", &notify.fault),
        ("stop", &notify.stop),
        ("any", &notify.any),
    ] {
        if let Some(command) = command {
            writeln!(out, "{name}: notify {what} {command:?}").unwrap();
        }
    }
}

fn show_vrrp(out: &mut String, instance: &VrrpSpec) {
    writeln!(
        out,
        "vrrp_instance {} on {} {} virtual_router_id {} version {} priority {} every {:?}",
        instance.name,
        instance.interface,
        instance.family,
        instance.virtual_router_id,
        instance.version,
        instance.priority,
        instance.advert_interval
    )
    .unwrap();
    writeln!(
        out,
        "  starts as master {} preempt {} after {:?} password {:?} source {:?} peers {:?} checksum {:?}",
        instance.starts_as_master,
        instance.preempt,
        instance.preempt_delay,
        instance.password.map(|password| password.0),
        instance.source,
        instance.peers,
        instance.checksum
    )
    .unwrap();
    writeln!(out, "  {:?}", instance.garp).unwrap();
    if !instance.preempt_after_sync.is_zero() {
        let share = instance.preempt_share.map(|share| format!(" or {share} %"));
        let share = share.unwrap_or_default();
        writeln!(out, "  preempt after sync {:?}{share}", instance.preempt_after_sync).unwrap();
    }
    if let Some(vmac) = &instance.vmac {
        writeln!(out, "  {vmac:?}").unwrap();
    }
    for track in &instance.tracks {
        match &track.what {
            VrrpTracked::Script(script) => writeln!(out, "  tracks {script:?} weight {}", track.weight).unwrap(),
            VrrpTracked::Process(process) => writeln!(out, "  tracks {process:?} weight {}", track.weight).unwrap(),
            VrrpTracked::File(file) => writeln!(out, "  tracks {file:?} weight {}", track.weight).unwrap(),
            what => writeln!(out, "  tracks {what} weight {}", track.weight).unwrap(),
        }
    }
    for address in &instance.addresses {
        let VrrpAddress { scope, label, .. } = address;
        let excluded = if address.unadvertised { " excluded" } else { "" };
        writeln!(out, "  {address} scope {scope} label {label:?}{excluded}").unwrap();
    }
    for route in &instance.routes {
        writeln!(out, "  route {} {:?}: {route}", route.to.family(), route.scope).unwrap();
    }
    for rule in &instance.rules {
        writeln!(out, "  rule {}: {rule}", rule.family).unwrap();
    }
}

fn show_config(out: &mut String, config: &Config) {
    if *config == Config::default() {
        writeln!(out, "(nothing)").unwrap();
    }
    for server in &config.virtual_servers {
        writeln!(out, "virtual_server {}", server.name).unwrap();
        match &server.services[..] {
            [first, .., last] if server.services.len() > 8 => {
                writeln!(out, "  {first} to {last}, {} in all", server.services.len()).unwrap();
            }
            services => {
                for service in services {
                    writeln!(out, "  {service}").unwrap();
                }
            }
        }
        writeln!(out, "  {}", server.spec).unwrap();
        if server.spec.flags != ServiceFlags::NONE {
            writeln!(out, "  flag bits {:#x}", server.spec.flags.bits()).unwrap();
        }
        if server.inhibit_on_failure {
            writeln!(out, "  inhibit_on_failure").unwrap();
        }
        show_policy(out, &server.policy);
        if let Some(device) = &server.device {
            writeln!(out, "  device {device}").unwrap();
        }
        if let Some(router) = &server.program_with {
            writeln!(out, "  programmed where {router} is master").unwrap();
        }
        if let Some(sorry) = &server.sorry_server {
            let inhibit = if sorry.inhibit { " inhibit" } else { "" };
            writeln!(
                out,
                "  sorry_server {} port {:?} {}{inhibit}",
                sorry.address, sorry.port, sorry.spec
            )
            .unwrap();
        }
        for real in &server.real_servers {
            let disabled = if real.disabled { " disabled" } else { "" };
            let tier = if real.tier == 0 {
                String::new()
            } else {
                format!(" tier {}", real.tier)
            };
            writeln!(
                out,
                "  real_server {} port {:?} {}{tier}{disabled}",
                real.address, real.port, real.spec
            )
            .unwrap();
            show_notify(out, "    notify", &real.notify);
            show_checks(out, &real.checks);
        }
    }
    if let Some(sync) = &config.ipvs.sync {
        writeln!(out, "{sync:?}").unwrap();
    }
    for instance in &config.vrrp_instances {
        show_vrrp(out, instance);
    }
    if !config.refused_addresses.is_empty() {
        writeln!(out, "nothing itself takes {:?}", config.refused_addresses).unwrap();
    }
    for group in &config.vrrp_sync_groups {
        writeln!(out, "vrrp_sync_group {} of {}", group.name, group.instances.join(", ")).unwrap();
        show_vrrp_notify(out, &group.name, &group.notify);
    }
    for (name, notify) in &config.vrrp_notify {
        show_vrrp_notify(out, name, notify);
    }
    if config.notify != ipvsd::model::NotifySettings::default() {
        writeln!(out, "notify {:#?}", config.notify).unwrap();
    }
    if config.ipvs.flush_on_stop {
        writeln!(out, "flush_on_stop").unwrap();
    }
    let timeouts = config.ipvs.timeouts;
    for (name, value) in [
        ("tcp", timeouts.tcp),
        ("tcpfin", timeouts.tcp_fin),
        ("udp", timeouts.udp),
    ] {
        if let Some(seconds) = value {
            writeln!(out, "timeout {name} {seconds}s").unwrap();
        }
    }
    for sysctl in &config.ipvs.sysctls {
        writeln!(out, "sysctl {} = {}", sysctl.name, sysctl.value).unwrap();
    }
    if config.reconcile != Default::default() {
        writeln!(out, "reconcile {:?}", config.reconcile.interval).unwrap();
    }
    if config.reload != Default::default() {
        writeln!(out, "{:?}", config.reload).unwrap();
    }
    if let Some(group) = &config.control.group {
        writeln!(out, "control group {group}").unwrap();
    }
    if let Some(group) = &config.control.read_group {
        writeln!(out, "control read_group {group}").unwrap();
    }
    if config.host.prepare {
        writeln!(out, "host prepare").unwrap();
    }
    if let Some(peer) = &config.peer {
        writeln!(out, "{peer:?}").unwrap();
    }
}

fn show(outcome: &Outcome) -> String {
    let mut out = String::new();
    match outcome {
        Outcome::Parsed { config, warnings } => {
            show_problems(&mut out, warnings);
            show_config(&mut out, config);
        }
        Outcome::Refused(problems) => {
            assert!(problems.has_errors());
            show_problems(&mut out, problems);
        }
        Outcome::Needs(patterns) => panic!("files are missing: {patterns:?}"),
    }
    out
}

#[test]
fn every_case_has_the_problems_and_the_meaning_it_expects() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let cases = toml_files("tests/config");
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    let mut wrong = String::new();
    for case in cases {
        let found = show(&parse_file(&case));
        let expected = case.with_extension("expected");
        if update {
            std::fs::write(&expected, &found).unwrap();
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            writeln!(wrong, "{}\n--- expected\n{wanted}--- found\n{found}", case.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_example_configurations_have_no_errors() {
    let mut examples = toml_files("conf");
    assert!(examples.len() >= 6, "only {} examples", examples.len());
    // Of pairs each director's own file; what both have in common is included by them.
    for folder in [
        "mysql-pair",
        "mysql-replicas",
        "mysql-writer",
        "tidb-pool",
        "web-proxies",
    ] {
        let mut files = toml_files(&format!("conf/{folder}"));
        files.retain(|file| !file.ends_with("pool.toml"));
        assert_eq!(files.len(), 2, "{folder}: {files:?}");
        examples.extend(files);
    }
    for example in examples {
        match parse_file(&example) {
            Outcome::Parsed { config, warnings } => {
                assert!(warnings.is_empty(), "{warnings}");
                let says_something = !config.virtual_servers.is_empty() || !config.vrrp_instances.is_empty();
                assert!(says_something, "{}", example.display());
            }
            other => panic!("{}: {other:?}", example.display()),
        }
    }
}

#[test]
fn what_an_example_has_in_comments_beside_its_own_words_has_no_errors_either() {
    let pool = std::fs::read_to_string("conf/web-proxies/pool.toml").unwrap();
    let director = std::fs::read_to_string("conf/web-proxies/director-1.toml").unwrap();
    // Each of them alone is warned of, both together are not.
    let sysctl = |text: &str| {
        let own = text.lines().find(|line| line.starts_with("sysctl = ")).unwrap();
        text.replace(own, "").replace("# sysctl = ", "sysctl = ")
    };
    let scheduler = |text: &str| {
        let words = text
            .replace("scheduler = \"wlc\"", "")
            .replace("# scheduler = ", "scheduler = ");
        words.replace("# flags = ", "flags = ")
    };
    for (pool, warnings) in [
        (sysctl(&pool), 1),
        (scheduler(&pool), 1),
        (scheduler(&sysctl(&pool)), 0),
    ] {
        let text = format!("{pool}\n{}", director.replace("include = \"pool.toml\"", ""));
        match parse(&Sources::new(Source::new("x.toml", text))) {
            Outcome::Parsed { warnings: found, .. } => assert_eq!(found.iter().count(), warnings, "{found}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Whatever is parsed, the answer is a configuration or problems, and every problem fits on a line.
fn assert_sound(text: impl Into<Vec<u8>>) {
    match parse(&Sources::new(Source::new("x.toml", text))) {
        Outcome::Parsed { warnings, .. } => assert!(!warnings.has_errors()),
        Outcome::Needs(patterns) => assert!(!patterns.is_empty()),
        Outcome::Refused(problems) => {
            assert!(problems.has_errors());
            for problem in &problems {
                assert_eq!(problem.to_string().lines().count(), 1, "{problem}");
            }
        }
    }
}

/// A case or an example, and a way to damage it.
fn damaged_case() -> impl Strategy<Value = Vec<u8>> {
    let mut files = toml_files("tests/config");
    files.extend(toml_files("conf"));
    let texts: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(vec![
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            "\"",
            "'''",
            "\n",
            "=",
            ".",
            "#",
            "-1",
            "0",
            "true",
            "[]",
            "\"\"",
            ",",
            "[[virtual_server]]\n",
            "[virtual_server]\n",
            "virtual_server.real_server = 1\n",
            "\u{feff}",
            "\0",
            "é",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    let damage = (any::<prop::sample::Index>(), 0..20_usize, piece);
    (prop::sample::select(texts), prop::collection::vec(damage, 1..6)).prop_map(|(mut text, damages)| {
        for (at, cut, piece) in damages {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, piece);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        assert_sound(text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_sound(bytes);
    }

    #[test]
    fn a_damaged_configuration_never_panics(text in damaged_case()) {
        assert_sound(text);
    }
}

#[test]
fn text_that_is_not_utf8_is_named_by_its_place() {
    let text = b"[host]\nprepare = true # \xc3\xa9\xff\n".to_vec();
    let Outcome::Refused(problems) = parse(&Sources::new(Source::new("x.toml", text))) else {
        panic!("it was taken")
    };
    assert_eq!(
        problems.to_string(),
        "x.toml:2:19: error: byte 0xff is not UTF-8 (save the file as UTF-8; is it a configuration at all?)"
    );
}

#[test]
fn ten_megabytes_of_noise_are_refused_on_two_pages_and_soon() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let letters = b"abcxyz019=[]{}\"'#.,-_ \n\n";
    let noise: Vec<u8> = (0..10 << 20).map(|_| letters[random() % letters.len()]).collect();
    let lines: Vec<u8> = b"key = value\n".iter().copied().cycle().take(2 << 20).collect();
    let keys = (0..(1 << 17))
        .flat_map(|number| format!("key{number} = 1\n").into_bytes())
        .collect();
    let brackets = vec![b'['; 2 << 20];
    let headers: Vec<u8> = b"[[a]\n".iter().copied().cycle().take(2 << 20).collect();
    for text in [noise, lines, keys, brackets, headers] {
        let started = std::time::Instant::now();
        let outcome = parse(&Sources::new(Source::new("x.toml", text)));
        let Outcome::Refused(problems) = outcome else {
            panic!("noise was taken")
        };
        assert!(problems.shown.len() <= 200);
        assert!(problems.to_string().len() < 100_000);
        // Seconds in truth; the limit is for what grows with the square, also on a busy machine.
        assert!(started.elapsed().as_secs() < 600, "{:?}", started.elapsed());
    }
}
