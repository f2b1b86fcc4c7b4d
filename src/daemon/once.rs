//! `plan` and `apply`: the kernel is compared with a configuration once, without a daemon.
//!
//! Nobody probes here, so every real server counts as up.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

use anyhow::Context;

use super::instance::Instance;
use super::record::Record;
use super::{files, memory};
use crate::director::OurDestinations;
use crate::ipvs::{Client, IpvsError};
use crate::model::{Config, DestinationSpec, Owned, ServiceKey, Step, Table, Via, VirtualAddress, VirtualServer};
use crate::net::{self, HostNetwork};
use crate::{director, plan};

/// What `plan` and `apply` were asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Where the record of what is owned lies.
    pub run_dir: PathBuf,
}

/// What differs between a configuration and this host.
#[derive(Debug)]
pub struct Difference {
    /// Warnings about the configuration and the record.
    pub warnings: Vec<String>,
    /// Changes of the kernel's table, in order.
    pub steps: Vec<Step>,
    /// Virtual addresses that are missing on their devices.
    pub missing: BTreeSet<VirtualAddress>,
    /// Virtual addresses that ipvsd had put on devices and that are no longer configured.
    pub superfluous: BTreeSet<VirtualAddress>,
}

impl Difference {
    /// Whether nothing is to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.missing.is_empty() && self.superfluous.is_empty()
    }
}

/// What `apply` has done.
#[derive(Debug)]
pub struct Applied {
    /// What had differed.
    pub difference: Difference,
    /// How many of these changes could not be made.
    pub not_made: usize,
    /// What could not be done, each with its reason and remedy.
    pub problems: Vec<String>,
}

struct Comparison {
    config: Config,
    wanted: Table,
    client: Client,
    record: Record,
    owned: Owned,
    /// The destinations that are ours, of the services where others' stay.
    ours: OurDestinations,
    difference: Difference,
}

/// What `apply` would change; changes nothing.
///
/// # Errors
/// A bad configuration, no IPVS in this kernel, no privilege.
pub fn difference(options: &Options) -> anyhow::Result<Difference> {
    Ok(compare(options)?.difference)
}

/// Makes the kernel match the configuration.
///
/// # Errors
/// As [`difference`], and where a daemon manages this network namespace. What single entries met with is in
/// [`Applied::problems`]: the others are in.
pub fn apply(options: &Options) -> anyhow::Result<Applied> {
    let _instance = Instance::claim().context("`apply` would work against it")?;
    let Comparison {
        config,
        wanted,
        mut client,
        record,
        owned,
        ours,
        difference,
    } = compare(options)?;
    let configured = services_of(&config);
    let hold = addresses_of(&config);
    let mut problems = set_host(&config, &mut client);
    let with_thresholds = director::services_with_thresholds(&config);
    let intended = Owned {
        services: &configured | &owned.services,
        with_thresholds: &with_thresholds | &owned.with_thresholds,
        destinations: ours.clone(),
        addresses: &hold | &owned.addresses,
    };
    if intended != owned {
        record.save(&intended)?;
    }
    let mut left_over = BTreeSet::new();
    let mut not_made = 0;
    if !difference.steps.is_empty() {
        for refused in client.write(&difference.steps).into_iter().filter_map(Result::err) {
            not_made += 1;
            problems.push(refused.refusal.message);
        }
        let still = not_in_force(&mut client, &difference.steps, &wanted, &removable(&config, &intended))
            .context("cannot read the kernel's table back")?;
        left_over.extend(still.iter().map(Step::service).filter(|key| !configured.contains(key)));
        if problems.is_empty() {
            let words = |step: &Step| format!("somebody else changed the table meanwhile; still to do: {step}");
            problems.extend(still.iter().map(words));
        }
    }
    if checks_paths(&config) {
        left_over.extend(owned.services.iter().copied().filter(director::is_path_service));
    }
    let before = problems.len();
    let kept = change_addresses(&difference, &mut problems)?;
    not_made += problems.len() - before;
    let now_owned = Owned {
        services: &configured | &left_over,
        // What could not be taken off is looked for again.
        with_thresholds: match problems.is_empty() {
            true => with_thresholds,
            false => intended.with_thresholds.clone(),
        },
        destinations: ours,
        addresses: &hold | &kept,
    };
    if now_owned != intended {
        record.save(&now_owned)?;
    }
    // The process ends next, and the kernel takes back its memory faster than it is taken apart here entry by entry.
    std::mem::forget((config, wanted));
    Ok(Applied {
        difference,
        not_made,
        problems,
    })
}

fn compare(options: &Options) -> anyhow::Result<Comparison> {
    memory::take_generously();
    // The kernel is read while the file is.
    let reading = thread::spawn(|| {
        let mut client = Client::connect()?;
        let found = client.table(|_| false)?;
        Ok::<_, IpvsError>((client, found))
    });
    let loaded = files::load_once(&options.config)?;
    let mut warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let config = loaded.config;
    let read = reading.join().unwrap_or(Err(IpvsError::ThreadEnded));
    let (mut client, mut found) = read.context("cannot read the kernel's table")?;
    let record = Record::open(&options.run_dir)?;
    let owned = record.load().unwrap_or_else(|problem| {
        warnings.push(format!("{problem:#}"));
        Owned::default()
    });
    let mut details = director::services_with_thresholds(&config);
    details.extend(
        services_of(&config)
            .into_iter()
            .filter(|key| director::may_have_thresholds(key, &owned)),
    );
    details.retain(|key| found.services.contains_key(key));
    found.services.extend(
        client
            .table_of(&details)
            .context("cannot read the kernel's table")?
            .services,
    );
    let mut wanted = director::table_without_checks(&config, &found);
    let ours = director::our_destinations(&config, &owned, &found);
    for (key, service) in &mut wanted.services {
        director::keep_foreign(key, service, &found, &ours);
    }
    let steps = plan::steps(&wanted, &found, &removable(&config, &owned));
    let hold = addresses_of(&config);
    // What a virtual router moves is its own from here on.
    let moves = |vip: &&VirtualAddress| {
        let mut held = config.vrrp_instances.iter().flat_map(|spec| &spec.addresses);
        held.any(|held| held.address == vip.address && held.device == vip.device)
    };
    let superfluous: BTreeSet<_> = owned
        .addresses
        .difference(&hold)
        .filter(|vip| !moves(vip))
        .cloned()
        .collect();
    let missing = if hold.is_empty() {
        BTreeSet::new()
    } else {
        &hold - &addresses_here()?
    };
    let difference = Difference {
        warnings,
        steps,
        missing,
        superfluous,
    };
    std::mem::forget(found);
    Ok(Comparison {
        config,
        wanted,
        client,
        record,
        owned,
        ours,
        difference,
    })
}

/// Reads back what was written and answers with what would still be to do there.
fn not_in_force(
    client: &mut Client,
    written: &[Step],
    wanted: &Table,
    owned: &BTreeSet<ServiceKey>,
) -> Result<Vec<Step>, IpvsError> {
    /// With more services than this, one look at the whole table is cheaper than one at each.
    const FEW: usize = 64;
    let touched: BTreeSet<_> = written.iter().map(Step::service).collect();
    if touched.len() > FEW {
        let thresholds = |spec: &DestinationSpec| spec.upper_threshold != 0 || spec.lower_threshold != 0;
        let found = client.table(|key| {
            let service = wanted.services.get(key);
            service.is_some_and(|service| service.destinations.values().any(thresholds))
        })?;
        return Ok(plan::steps(wanted, &found, owned));
    }
    let found = client.table_of(&touched)?;
    let wanted = touched.iter().filter_map(|key| wanted.services.get_key_value(key));
    let wanted = Table {
        services: wanted.map(|(key, service)| (*key, service.clone())).collect(),
        ..Table::default()
    };
    Ok(plan::steps(&wanted, &found, owned))
}

/// Sets the kernel's own settings that the configuration has; answers with what could not be set.
fn set_host(config: &Config, client: &mut Client) -> Vec<String> {
    let mut problems = Vec::new();
    for sysctl in &config.ipvs.sysctls {
        if let Err(problem) = net::sysctl::write(&sysctl.name, &sysctl.value) {
            problems.push(problem.to_string());
        }
    }
    if let Some(timeouts) = config.ipvs.timeouts.wanted()
        && let Err(problem) = client.set_timeouts(&timeouts)
    {
        problems.push(problem.to_string());
    }
    problems
}

/// The owned services that go where they are not configured. Those of the daemon for its checks stay: nobody probes here.
fn removable(config: &Config, owned: &Owned) -> BTreeSet<ServiceKey> {
    let mut services = owned.services.clone();
    if checks_paths(config) {
        services.retain(|key| !director::is_path_service(key));
    }
    services
}

/// Whether a check goes the way of clients, and the daemon has services for it.
fn checks_paths(config: &Config) -> bool {
    let servers = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    servers
        .flat_map(|server| &server.checks)
        .any(|check| check.via == Via::Path)
}

fn services_of(config: &Config) -> BTreeSet<ServiceKey> {
    config
        .virtual_servers
        .iter()
        .flat_map(|server| server.services.iter().copied())
        .collect()
}

fn addresses_of(config: &Config) -> BTreeSet<VirtualAddress> {
    config
        .virtual_servers
        .iter()
        .flat_map(VirtualServer::virtual_addresses)
        .collect()
}

fn addresses_here() -> anyhow::Result<BTreeSet<VirtualAddress>> {
    Ok(HostNetwork::connect()?
        .addresses()?
        .into_iter()
        .map(|on| VirtualAddress {
            device: on.device,
            address: on.address,
        })
        .collect())
}

/// Puts on what is missing and takes off what is superfluous; answers with what could not be taken off.
fn change_addresses(difference: &Difference, problems: &mut Vec<String>) -> anyhow::Result<BTreeSet<VirtualAddress>> {
    if difference.missing.is_empty() && difference.superfluous.is_empty() {
        return Ok(BTreeSet::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let network = HostNetwork::connect()?;
    runtime.block_on(async {
        let mut kept = BTreeSet::new();
        for vip in &difference.missing {
            if let Err(problem) = net::vip::hold(&network, vip).await {
                problems.push(problem.to_string());
            }
        }
        for vip in &difference.superfluous {
            if let Err(problem) = net::vip::release(&network, vip) {
                problems.push(problem.to_string());
                kept.insert(vip.clone());
            }
        }
        Ok(kept)
    })
}
