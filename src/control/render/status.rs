//! Pools and servers in columns, and what an operator's word has changed.

use super::{Columns, ago, clock, count};
use crate::model::UnixTime;
use crate::model::control::{Changed, Paused, PoolStatus, Status, VrrpStatus};

/// How many services of a pool are named.
const MOST_SERVICES: usize = 4;

/// Appends the daemon in a line and each pool with its servers.
pub fn status(out: &mut String, status: &Status) {
    let servers = status.virtual_servers.iter().flat_map(|pool| &pool.real_servers);
    let in_state = |state: &str| servers.clone().filter(|server| server.state == state).count();
    out.push_str(&format!(
        "ipvsd {}, started {} ago, configured {} ago: {}, real servers: {} up, {} down, {} without a verdict",
        status.version,
        ago(status.started, status.time),
        ago(status.configured, status.time),
        count(status.virtual_servers.len(), "virtual server"),
        in_state("up"),
        in_state("down"),
        in_state("unknown"),
    ));
    if let Some(disabled) = Some(in_state("disabled")).filter(|disabled| *disabled > 0) {
        out.push_str(&format!(", {disabled} disabled"));
    }
    out.push('\n');
    let configuration = &status.configuration;
    match &configuration.refused {
        Some(refused) => out.push_str(&format!(
            "{} was refused {} ago and is not in use: {}\n",
            configuration.file,
            ago(refused.time, status.time),
            refused.why
        )),
        None if configuration.changed => out.push_str(&format!(
            "{} has changed since it was read (`ipvsd plan` shows what a reload would do)\n",
            configuration.file
        )),
        None => {}
    }
    if let Some(trouble) = &status.kernel_trouble {
        out.push_str(&format!("the kernel's table is not known: {trouble}\n"));
    }
    if let Some(until) = status.paused_until {
        out.push_str(&format!(
            "PAUSED: nothing is written to the kernel's table until {}\n",
            clock(until)
        ));
    }
    for deviation in &status.deviations {
        out.push_str(&format!(
            "not as in the files: {}/{}: {} (by {}, {} ago)\n",
            deviation.virtual_server,
            deviation.server,
            deviation.what,
            deviation.by,
            ago(deviation.since, status.time)
        ));
    }
    for contested in &status.contested {
        out.push_str(&format!(
            "somebody else keeps changing {}; it is put right at {} (`ipvsd events` has the guess who)\n",
            contested.service,
            clock(contested.until)
        ));
    }
    if !status.vrrp_instances.is_empty() {
        out.push('\n');
        routers(out, &status.vrrp_instances, status.time);
    }
    for pool in &status.virtual_servers {
        out.push('\n');
        pool_status(out, pool, status.time);
    }
}

/// Virtual routers in columns.
fn routers(out: &mut String, routers: &[VrrpStatus], now: UnixTime) {
    let mut columns = Columns::headed(&["vrrp_instance", "state", "since", "priority", "master", "addresses"]);
    for router in routers {
        let addresses = router.virtual_addresses.iter().take(MOST_SERVICES);
        let mut addresses = addresses.map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Some(more) = router.virtual_addresses.len().checked_sub(MOST_SERVICES + 1) {
            addresses.push_str(&format!(" and {} more", more + 1));
        }
        let dash = || "-".to_owned();
        columns.push(vec![
            router.name.clone(),
            router.state.clone(),
            router.since.map_or_else(dash, |since| ago(since, now)),
            router.priority.to_string(),
            router.master.map_or_else(dash, |master| master.to_string()),
            addresses,
        ]);
    }
    columns.render(out, "");
    for router in routers {
        for (word, all) in [("route", &router.routes), ("rule", &router.rules)] {
            for one in all.iter().take(MOST_SERVICES) {
                out.push_str(&format!("vrrp_instance {} {word}: {one}\n", router.name));
            }
            if let Some(more) = all.len().checked_sub(MOST_SERVICES + 1) {
                out.push_str(&format!(
                    "vrrp_instance {} {word}: and {} more\n",
                    router.name,
                    more + 1
                ));
            }
        }
        if let Some(vmac) = &router.vmac {
            out.push_str(&format!("vrrp_instance {} virtual MAC: {vmac}\n", router.name));
        }
        match &router.accept_trouble {
            Some(trouble) => out.push_str(&format!(
                "vrrp_instance {} may take more than it should (accept = false): {trouble}\n",
                router.name
            )),
            None if !router.accept => out.push_str(&format!(
                "vrrp_instance {} takes nothing but what IPVS forwards (accept = false)\n",
                router.name
            )),
            None => {}
        }
        if let Some(trouble) = &router.trouble {
            out.push_str(&format!("vrrp_instance {} waits: {trouble}\n", router.name));
        }
        if !router.failing.is_empty() {
            let failing = router.failing.join(", ");
            out.push_str(&format!(
                "vrrp_instance {} tracks what does not work: {failing}\n",
                router.name
            ));
        }
    }
}

fn pool_status(out: &mut String, pool: &PoolStatus, now: UnixTime) {
    let mut services: Vec<_> = pool
        .services
        .iter()
        .take(MOST_SERVICES)
        .map(ToString::to_string)
        .collect();
    if pool.services.len() > MOST_SERVICES {
        services.push(format!("{} more", pool.services.len() - MOST_SERVICES));
    }
    let serving = match (&pool.serving, pool.pending) {
        (Some(serving), _) => format!("served by {serving} for {}", ago(pool.serving_since, now)),
        (None, true) => "waits for the first verdicts".to_owned(),
        (None, false) => format!("NOBODY SERVES for {}", ago(pool.serving_since, now)),
    };
    out.push_str(&format!("{} ({}): {serving}\n", pool.name, services.join(", ")));
    let mut remark = |holds: bool, text: &str| {
        if holds {
            out.push_str(&format!("  {text}\n"));
        }
    };
    remark(pool.panic, "PANIC: so few servers are up that failed ones are kept in");
    remark(pool.quorum == Some(false), "the quorum is lost");
    remark(
        pool.suspended,
        "checks are suspended: none of its addresses is on this host",
    );
    remark(
        pool.elsewhere,
        "not in the table: its virtual router is master elsewhere",
    );
    if let Some(awaited) = &pool.awaited {
        out.push_str(&format!("  {awaited} could serve again and is not gone back to yet\n"));
    }
    let tiers = pool.real_servers.iter().any(|server| server.tier != 0);
    let mut headings = vec!["server", "state", "for", "admin", "weight", "kernel"];
    if tiers {
        headings.insert(1, "tier");
    }
    let mut columns = Columns::headed(&headings);
    let number = |weight: Option<u32>| weight.map_or_else(|| "-".to_owned(), |weight| weight.to_string());
    for server in &pool.real_servers {
        let mut row = vec![
            server.server.clone(),
            server.state.clone(),
            ago(server.since, now),
            server.admin.clone(),
            number(server.effective_weight),
            number(server.kernel_weight),
        ];
        if tiers {
            row.insert(1, server.tier.to_string());
        }
        match (&server.check, &server.cause) {
            (Some(check), Some(cause)) => row.push(format!("{check}: {cause}")),
            (Some(check), None) => row.push(check.clone()),
            (None, _) => {}
        }
        columns.push(row);
    }
    if let Some(sorry) = &pool.sorry_server {
        let mut row = vec![
            sorry.server.clone(),
            if sorry.serving { "serves" } else { "waits" }.to_owned(),
            String::new(),
            "sorry".to_owned(),
            String::new(),
            number(sorry.kernel_weight),
        ];
        if tiers {
            row.insert(1, "sorry".to_owned());
            row[4] = String::new();
        }
        columns.push(row);
    }
    columns.render(out, "  ");
}

/// Appends whether the kernel's table is written.
pub fn paused(out: &mut String, paused: &Paused) {
    match paused.until {
        Some(until) => out.push_str(&format!(
            "paused until {}: nothing is written to the kernel's table (`ipvsd resume` ends it)\n",
            clock(until)
        )),
        None => out.push_str("the kernel's table is written\n"),
    }
}

/// Appends a line for each server that was meant.
pub fn changed(out: &mut String, changed: &Changed) {
    for server in &changed.servers {
        let already = if server.changed { "" } else { " (as before)" };
        let weight = match (server.operator_weight, server.operator_percent) {
            (_, Some(percent)) => format!(", weight {percent}%"),
            (Some(weight), None) => format!(", weight {weight}"),
            (None, None) => String::new(),
        };
        if let Some(deviation) = &server.deviation {
            out.push_str(&format!(
                "{}/{}: {deviation}{weight}{already}\n",
                server.virtual_server, server.server
            ));
            continue;
        }
        let worst = match server.admin == server.operator_state {
            true => String::new(),
            false => format!(", its checks advise {}", server.admin),
        };
        out.push_str(&format!(
            "{}/{}: {}{weight}{worst}, {}{already}\n",
            server.virtual_server, server.server, server.operator_state, server.state
        ));
    }
}
