//! Configurations as data: every `tests/config/NAME.toml` has a `NAME.expected` beside it with its problems, and with
//! what it means where it can be used. `UPDATE_EXPECT=1` writes them anew.
//!
//! What a case includes lies in `NAME.d/`. The example configurations of `conf/` must be free of errors.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ipvsd::config::{Outcome, Problems, Source, Sources, has_wildcard, name_matches, parse};
use ipvsd::model::{CheckSpec, Config, ServiceFlags};

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

fn show_checks(out: &mut String, checks: &[CheckSpec]) {
    for check in checks {
        let CheckSpec {
            name,
            probe,
            port,
            interval,
            retry_interval,
            timeout,
            rise,
            fall,
            initial,
        } = check;
        writeln!(
            out,
            "    check {name}: {probe} port {port:?} interval {interval:?} retry_interval {retry_interval:?} \
             timeout {timeout:?} rise {rise} fall {fall} initial {initial:?}"
        )
        .unwrap();
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
        if let Some(device) = &server.device {
            writeln!(out, "  device {device}").unwrap();
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
            show_checks(out, &real.checks);
        }
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
    if config.host.prepare {
        writeln!(out, "host prepare").unwrap();
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
    assert!(!cases.is_empty(), "only {} cases", cases.len());
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
    let examples = toml_files("conf");
    assert!(examples.len() >= 6, "only {} examples", examples.len());
    for example in examples {
        match parse_file(&example) {
            Outcome::Parsed { config, warnings } => {
                assert!(warnings.is_empty(), "{warnings}");
                assert!(!config.virtual_servers.is_empty(), "{}", example.display());
            }
            other => panic!("{}: {other:?}", example.display()),
        }
    }
}
