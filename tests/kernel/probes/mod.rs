//! Every probe against the real program, in its forms: healthy, slow, refusing, hanging, wrong answer, half broken.
//!
//! A probe is written as a configuration has it, read by `config` and run by `checkers` on a director of the lab, so
//! that a test sees what the director would be told. Each type has one test of its own name in the module of that
//! name; it goes through all [`Form`]s. Each probe that a [`Stand`] has held is a cell of the table of types and forms,
//! which `tests/lab/suite` prints with the names of the tests.

mod agent;
mod dns;
mod file;
mod grpc;
mod http;
mod https;
mod ldap;
mod mysql;
mod ping;
mod postgresql;
mod redis;
mod reuse;
mod script;
pub(crate) mod servers;
mod smtp;
mod tcp;
mod tls;
mod udp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipvsd::config::{Outcome, Source, Sources, parse};
use ipvsd::model::{CheckSpec, FailureCause, ProbeOutcome, ProbeResult, ProbeType};
use ipvsd_lab::{Host, Lab, Segment, Topology, require_kernel};

/// The states of a server that every probe has to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// It answers as it should.
    Healthy,
    /// It answers as it should, late but within the timeout.
    Slow,
    /// Nobody is there.
    Refusing,
    /// Somebody is there and says nothing.
    Hanging,
    /// The answer is of the protocol, and the wrong one.
    WrongAnswer,
    /// It breaks off, or what it says is not of the protocol.
    HalfBroken,
}

impl Form {
    const ALL: [Self; 6] = [
        Self::Healthy,
        Self::Slow,
        Self::Refusing,
        Self::Hanging,
        Self::WrongAnswer,
        Self::HalfBroken,
    ];
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Refusing => "refusing",
            Self::Hanging => "hanging",
            Self::WrongAnswer => "wrong answer",
            Self::HalfBroken => "half broken",
        })
    }
}

/// A line for the table that the suite prints, past the harness, which keeps what passing tests print: a cell, and the
/// test that has just held it, or none for a cell that has to be there.
fn tell_cell(probe_type: ProbeType, form: Form, test: &str) {
    // Where nobody listens, nothing is lost but the line.
    let _ = writeln!(std::io::stderr(), "probe cell: {probe_type}|{form}|{test}");
}

/// A director that probes and a server that is probed, with the row of the table that they fill.
pub(crate) struct Stand {
    lab: Lab,
    probe_type: ProbeType,
    row: RefCell<BTreeMap<Form, String>>,
}

impl Stand {
    pub(crate) fn build(probe_type: ProbeType) -> Self {
        require_kernel();
        let lab = Topology::one_segment()
            .real_servers(1)
            .clients(0)
            .build(probe_type.name())
            .expect("a topology");
        Self {
            lab,
            probe_type,
            row: RefCell::default(),
        }
    }

    pub(crate) fn director(&self) -> &Host {
        self.lab.director(0)
    }

    pub(crate) fn server(&self) -> &Host {
        self.lab.real_server(0)
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.server().address4(Segment::Server).into()
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(), port)
    }

    /// Runs a check of this stand's type, with further keys as a configuration has them, against a port of the server.
    pub(crate) fn probe(&self, keys: &str, port: u16) -> ProbeResult {
        run(self.director(), &check(self.probe_type.name(), keys, self.at(port)))
    }

    /// Holds a probe to be a success, and notes the cell of the table.
    pub(crate) fn passes(&self, form: Form, keys: &str, port: u16) -> ProbeResult {
        let result = self.probe(keys, port);
        assert_eq!(
            result.outcome,
            ProbeOutcome::Success,
            "{form:?} {}: {keys}",
            self.probe_type
        );
        self.held(form, format!("passes in {:?}", result.latency));
        result
    }

    /// Holds a probe to fail with a cause in these words, and notes the cell of the table.
    pub(crate) fn fails(&self, form: Form, keys: &str, port: u16, words: &str) {
        let result = self.probe(keys, port);
        let said = cause(&result).to_string();
        assert!(
            said.contains(words),
            "{form:?} {}: `{said}`, not `{words}`: {keys}",
            self.probe_type
        );
        self.held(form, said);
    }

    /// Holds a probe to be kept by this host's trouble in these words, and notes the cell of the table.
    pub(crate) fn here(&self, form: Form, keys: &str, port: u16, words: &str) {
        let result = self.probe(keys, port);
        let ProbeOutcome::Local(trouble) = &result.outcome else {
            panic!("{form:?} {}: {result:?}: {keys}", self.probe_type);
        };
        let said = trouble.to_string();
        assert!(
            said.contains(words),
            "{form:?} {}: `{said}`, not `{words}`: {keys}",
            self.probe_type
        );
        self.held(form, said);
    }

    /// Holds a probe to say nothing about the server, for this reason, and notes the cell of the table.
    pub(crate) fn silent(&self, form: Form, keys: &str, port: u16, words: &str) {
        let result = self.probe(keys, port);
        let ProbeOutcome::NoVerdict(cause) = &result.outcome else {
            panic!("{form:?} {}: {result:?}: {keys}", self.probe_type);
        };
        let said = cause.to_string();
        assert!(
            said.contains(words),
            "{form:?} {}: `{said}`, not `{words}`: {keys}",
            self.probe_type
        );
        self.held(form, said);
    }

    /// Notes what a probe was held to, and by which test: the harness calls a test's thread by its name.
    fn held(&self, form: Form, said: String) {
        let thread = std::thread::current();
        tell_cell(self.probe_type, form, thread.name().expect("a test"));
        self.row.borrow_mut().insert(form, said);
    }

    /// Prints the row of the table; an empty cell fails.
    #[expect(clippy::print_stdout, reason = "the harness shows it where asked")]
    pub(crate) fn finish(self) {
        let row = self.row.into_inner();
        for form in Form::ALL {
            let cell = row.get(&form);
            println!(
                "{} × {form:?}: {}",
                self.probe_type,
                cell.map_or("nothing", String::as_str)
            );
            assert!(cell.is_some(), "no test of {} × {form:?}", self.probe_type);
        }
    }
}

/// The cause of a probe that failed.
pub(crate) fn cause(result: &ProbeResult) -> &FailureCause {
    let ProbeOutcome::Failure(cause) = &result.outcome else {
        panic!("this should have failed: {result:?}");
    };
    cause
}

/// The check that a configuration with these keys has for a real server.
pub(crate) fn check(probe_type: &str, keys: &str, server: SocketAddr) -> CheckSpec {
    let vip = if server.is_ipv4() {
        "198.51.100.1"
    } else {
        "[2001:db8:ffff::1]"
    };
    let text = format!(
        "[check.tested]\ntype = \"{probe_type}\"\ninterval = \"1m\"\nretry_interval = \"1m\"\n{}{keys}\n\
         [[virtual_server]]\nname = \"tested\"\naddress = \"{vip}:{}\"\ncheck = \"tested\"\n\
         [[virtual_server.real_server]]\naddress = \"{server}\"\n",
        if keys.contains("timeout =") {
            ""
        } else {
            "timeout = \"10s\"\n"
        },
        server.port(),
    );
    let config = match parse(&Sources::new(Source::new("tested.toml", text.into_bytes()))) {
        Outcome::Parsed { config, .. } => config,
        Outcome::Refused(problems) => panic!("{problems}"),
        Outcome::Needs(_) => panic!("nothing is included"),
    };
    let mut check = CheckSpec::clone(&config.virtual_servers[0].real_servers[0].checks[0]);
    check.connect_ip.get_or_insert(server.ip());
    check
}

/// Runs a check once, as the daemon does.
pub(crate) fn run(host: &Host, check: &CheckSpec) -> ProbeResult {
    let address = check.connect_ip.expect("an address");
    let target = SocketAddr::new(address, check.connect_port.unwrap_or(0));
    let spec = Arc::clone(&check.probe);
    let timeout = check.timeout;
    host.in_namespace(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(ipvsd::checkers::probe(&spec, target, timeout))
    })
    .expect("a namespace")
}

/// Time enough for a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

#[test]
fn every_type_of_probe_has_a_test_of_its_forms() {
    let me = std::env::current_exe().expect("a program");
    let listed = std::process::Command::new(me)
        .args(["--list", "--format", "terse"])
        .output()
        .expect("a list");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for probe_type in ProbeType::ALL {
        for form in Form::ALL {
            tell_cell(probe_type, form, "");
        }
        let name = format!("probes::{probe_type}::the_forms_of_a_server_are_told_apart: test");
        assert!(listed.lines().any(|line| line == name), "there is no {name}");
    }
}
