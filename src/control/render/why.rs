//! Why a server is in the state it is in, in sentences first.

use super::{Columns, ago, clock, event};
use crate::model::UnixTime;
use crate::model::control::{CheckReport, KernelDestination, ServerReport, Why};

/// How many services are named one by one.
const MOST_SERVICES: usize = 8;

/// Appends everything about each server that is meant.
pub fn why(out: &mut String, why: &Why) {
    for (number, server) in why.servers.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        report(out, server, why.time);
    }
}

fn report(out: &mut String, server: &ServerReport, now: UnixTime) {
    let (pool, name) = (&server.virtual_server, &server.server);
    out.push_str(&format!(
        "{pool}/{name} is {} for {} (since {})\n",
        server.state,
        ago(server.since, now),
        clock(server.since)
    ));
    for reason in &server.reasons {
        out.push_str(&format!("  because {reason}\n"));
    }
    let mut columns = Columns::default();
    let mut row = |name: &str, value: String| columns.push(vec![name.to_owned(), value]);
    row(
        "serving",
        format!(
            "{}; this server is of tier {}",
            server.serving.as_deref().unwrap_or("nobody"),
            server.tier
        ),
    );
    row("admin", server.admin.clone());
    if let Some(operator) = &server.operator {
        let mut text = operator.state.clone();
        if let Some(percent) = operator.percent {
            text.push_str(&format!(", weight {percent}%"));
        } else if let Some(weight) = operator.weight {
            text.push_str(&format!(", weight {weight}"));
        }
        if operator.until_reload {
            text.push_str(" until the next reload");
        }
        text.push_str(&format!(", said by {} {} ago", operator.by, ago(operator.since, now)));
        if let Some(until) = operator.drain_until {
            text.push_str(&format!(", until {}", clock(until)));
        }
        row("operator", text);
    }
    for advice in &server.advised {
        let weight = advice
            .weight
            .as_ref()
            .map_or_else(String::new, |weight| format!(", weight {weight}"));
        row(
            "advised",
            format!("{}{weight}, by check {}", advice.state, advice.check),
        );
    }
    let effective = match (server.effective_weight, server.admin.as_str(), server.state.as_str()) {
        (_, "maint", _) => "0 in maintenance".to_owned(),
        (_, "drain", _) => "0 while it is drained".to_owned(),
        (_, _, "down") => "0 while it is down".to_owned(),
        (Some(weight), _, _) => format!("{weight}, by {}", server.weight_from),
        (None, _, _) => "as it was found".to_owned(),
    };
    row(
        "weight",
        format!("{effective} (configured: {})", server.configured_weight),
    );
    columns.render(out, "  ");
    kernel(out, &server.kernel);
    for report in &server.checks {
        check(out, report, now);
    }
    if !server.events.is_empty() {
        out.push_str("  of late\n");
        for happened in &server.events {
            out.push_str("    ");
            event(out, happened);
        }
    }
}

fn kernel(out: &mut String, found: &[KernelDestination]) {
    let entry = |entry: &KernelDestination| match entry.weight {
        None => "not there".to_owned(),
        Some(weight) => match (entry.active_connections, entry.inactive_connections) {
            (Some(active), Some(inactive)) => {
                format!("weight {weight}, {active} active and {inactive} inactive connections")
            }
            (None, _) | (_, None) => format!("weight {weight}"),
        },
    };
    let mut columns = Columns::default();
    for destination in found.iter().take(MOST_SERVICES) {
        columns.push(vec![
            "kernel".to_owned(),
            destination.service.to_string(),
            entry(destination),
        ]);
    }
    columns.render(out, "  ");
    if found.len() > MOST_SERVICES {
        out.push_str(&format!(
            "  kernel  and {} more services (--json has them)\n",
            found.len() - MOST_SERVICES
        ));
    }
}

fn check(out: &mut String, check: &CheckReport, now: UnixTime) {
    let turning = match check.against {
        0 => String::new(),
        against => format!(", {against} of {} results against it", check.needed),
    };
    out.push_str(&format!(
        "  check {} ({} to {}) is {} for {}{turning}\n",
        check.name,
        check.probe_type,
        check.target,
        check.state,
        ago(check.since, now)
    ));
    if let Some(trouble) = &check.local_trouble {
        out.push_str(&format!("    this host cannot carry it out: {trouble}\n"));
    }
    if let Some(warning) = &check.warning {
        out.push_str(&format!("    warning: {warning}\n"));
    }
    let mut columns = Columns::default();
    for result in &check.results {
        columns.push(vec![
            format!("{} ago", ago(result.time, now)),
            result.outcome.replace('_', " "),
            format!("{}.{:03} ms", result.latency_us / 1000, result.latency_us % 1000),
            result.cause.clone().unwrap_or_default(),
        ]);
    }
    columns.render(out, "    ");
}
