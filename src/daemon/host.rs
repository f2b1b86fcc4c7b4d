//! This host before the director starts: file limits, kernel settings, what the modes in use need.

use std::collections::BTreeSet;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{error, info, warn};

use crate::doctor;
use crate::ipvs;
use crate::model::{Config, Sysctl, Via};
use crate::net;

/// Raises the soft limit of open files to the hard one: each running probe is one.
pub(super) fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("cannot raise the limit of open files: {error}");
    }
}

/// Sets what the configuration asks for, then says what is still missing; with `observe` it only says.
pub(super) async fn prepare(config: &Config, kernel: &ipvs::Handle, observe: bool) {
    if !observe {
        set_all(&config.ipvs.sysctls);
        prepare_paths(config);
        if let Some(timeouts) = config.ipvs.timeouts.wanted()
            && let Err(problem) = kernel.set_timeouts(timeouts).await
        {
            error!("cannot set the kernel's connection timeouts: {problem}");
        }
    }
    let facts = match doctor::gather::facts(doctor::rules::wanted_sysctls) {
        Ok(facts) => facts,
        Err(problem) => {
            warn!("cannot look at this host's network: {problem}");
            return;
        }
    };
    for finding in doctor::rules::director(config, &facts) {
        if config.host.prepare && !finding.fixes.is_empty() && !observe {
            set_all(&finding.fixes);
        } else {
            warn!(rule = finding.rule, "{finding}");
        }
    }
}

/// Lets in the answers to checks with `via = "path"`, on the devices towards their servers only.
fn prepare_paths(config: &Config) {
    let servers = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let checked = servers.filter(|server| server.checks.iter().any(|check| check.via == Via::Path));
    let devices: BTreeSet<_> = checked
        .filter(|server| server.address.is_ipv4())
        .filter_map(|server| net::reach::device_towards(server.address))
        .collect();
    if devices.is_empty() {
        return;
    }
    let facts = match doctor::gather::facts(doctor::rules::wanted_path_sysctls) {
        Ok(facts) => facts,
        Err(problem) => return warn!("cannot look at this host's network: {problem}"),
    };
    let settings = doctor::rules::path_settings(&devices, &facts);
    if !settings.is_empty() {
        info!("checks with via = \"path\" need these settings, so that the servers' answers are let in:");
        set_all(&settings);
    }
}

fn set_all(sysctls: &[Sysctl]) {
    for sysctl in sysctls {
        match net::sysctl::write(&sysctl.name, &sysctl.value) {
            Ok(()) => info!("set {} = {}", sysctl.name, sysctl.value),
            Err(problem) => error!("{problem}"),
        }
    }
}

/// What this host calls itself.
pub(super) fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
