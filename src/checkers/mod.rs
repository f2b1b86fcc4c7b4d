//! The probes: one file a protocol. Each connects as it is told and says what it found.
//!
//! A hand: it never decides whether a server is up, never retries and never keeps state between two probes. What is
//! wrong with this host (no file descriptors, no local ports) is told apart from what is wrong with the server.
//! `attempt` is what all probes share: the way to the server, the deadline, bounded reading. `fault` says whose an error
//! is. `packet` has the protocols' own bytes, without any I/O. Plain TCP probes, which are most, go through `connects`
//! where there are many of them; alone they are probes like the others.

mod agent;
mod attempt;
mod connects;
mod dns;
mod fault;
mod file;
mod grpc;
mod hold;
mod http;
mod ldap;
mod mysql;
pub mod packet;
mod ping;
mod postgresql;
mod redis;
mod script;
mod secret;
mod smtp;
mod tcp;
mod tls;
mod udp;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use attempt::Attempt;

pub use connects::Connects;
pub use hold::hold;
pub(crate) use secret::read_secret;
pub(crate) use tls::tls_towards;

use crate::model::{
    Advice, Excerpt, FailureCause, LocalTrouble, Origin, ProbeKind, ProbeOutcome, ProbeResult, ProbeSpec, ProbeWarning,
    ValueTest,
};
use crate::net;

/// What a probe of a server that is well came back with, or what went wrong.
type Verdict = Result<Findings, ProbeOutcome>;

/// What there is to say of a server that is well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Findings {
    warning: Option<ProbeWarning>,
    advice: Option<Advice>,
}

/// Runs one probe to its end, which comes within `timeout`.
pub async fn probe(spec: &ProbeSpec, target: SocketAddr, timeout: Duration) -> ProbeResult {
    let started = Instant::now();
    let attempt = Attempt::new(target, &spec.origin, started + timeout);
    let verdict = match tokio::time::timeout_at(attempt.deadline().into(), run(&spec.kind, &attempt)).await {
        Ok(verdict) => verdict,
        Err(_elapsed) => Err(attempt.out_of_time(&spec.kind)),
    };
    let (outcome, findings) = match verdict {
        Ok(findings) => (ProbeOutcome::Success, findings),
        Err(outcome) => (blame(outcome, target, &spec.origin), Findings::default()),
    };
    ProbeResult {
        outcome,
        latency: started.elapsed(),
        warning: findings.warning,
        advice: findings.advice,
    }
}

/// An interface that is down takes its route along, one without a carrier only keeps silent: the kernel does not say
/// whose fault it is.
fn blame(outcome: ProbeOutcome, target: SocketAddr, origin: &Origin) -> ProbeOutcome {
    match outcome {
        ProbeOutcome::Failure(
            FailureCause::NetworkUnreachable
            | FailureCause::HostUnreachable
            | FailureCause::TimedOut
            | FailureCause::Stalled(_),
        )
        | ProbeOutcome::Local(LocalTrouble::NoRoute)
            if net::reach::is_cut_off(origin.through.unwrap_or(target.ip()), origin) =>
        {
            ProbeOutcome::Local(LocalTrouble::InterfaceDown)
        }
        outcome => outcome,
    }
}

/// Each probe in a box of its own: one TCP connect takes less than a hundredth of the room that a login does.
fn run<'a>(kind: &'a ProbeKind, attempt: &'a Attempt<'_>) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
    match kind {
        ProbeKind::Tcp(steps) => Box::pin(tcp::probe(attempt, steps)),
        ProbeKind::Tls(settings) => Box::pin(tls::probe(attempt, settings)),
        ProbeKind::Http(settings) => Box::pin(http::probe(attempt, settings)),
        ProbeKind::Script(settings) => Box::pin(script::probe(attempt, settings)),
        ProbeKind::File(settings) => Box::pin(file::probe(attempt, settings)),
        ProbeKind::Mysql(settings) => Box::pin(mysql::probe(attempt, settings)),
        ProbeKind::Postgresql(settings) => Box::pin(postgresql::probe(attempt, settings)),
        ProbeKind::Redis(settings) => Box::pin(redis::probe(attempt, settings)),
        ProbeKind::Dns(settings) => Box::pin(dns::probe(attempt, settings)),
        ProbeKind::Udp(settings) => Box::pin(udp::probe(attempt, settings)),
        ProbeKind::Ping => Box::pin(ping::probe(attempt)),
        ProbeKind::Smtp(settings) => Box::pin(smtp::probe(attempt, settings)),
        ProbeKind::Ldap(settings) => Box::pin(ldap::probe(attempt, settings)),
        ProbeKind::Grpc(settings) => Box::pin(grpc::probe(attempt, settings)),
        ProbeKind::Agent(settings) => Box::pin(agent::probe(attempt, settings)),
    }
}

/// Holds what a query answered against what it should have.
fn judge_value(test: Option<&ValueTest>, found: Option<&str>) -> Result<(), ProbeOutcome> {
    let wanted = match (test, found) {
        (None, _) => return Ok(()),
        (Some(ValueTest::Is(wanted)), Some(found)) if found == wanted => return Ok(()),
        (Some(ValueTest::Matches(pattern)), Some(found)) if pattern.is_match(found.as_bytes()) => return Ok(()),
        (Some(ValueTest::Is(wanted)), _) => Excerpt::of(wanted),
        (Some(ValueTest::Matches(pattern)), _) => Excerpt::words(format!("a match of /{}/", pattern.as_str())),
    };
    Err(ProbeOutcome::Failure(FailureCause::Unexpected {
        what: "the query's answer",
        wanted,
        got: found.map_or_else(|| Excerpt::words("nothing"), Excerpt::of),
    }))
}
