//! `ipvsd realserver up|down|status`: prepares this host to be a real server of DR and TUN services, and back.
//!
//! Reads the host, asks `realserver::plan` what to do, does it step by step and says each step. What was there
//! before is put on record before the first step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::daemon::files;
use crate::daemon::record::DEFAULT_RUN_DIR;
use crate::model::AddressScope;
use crate::net::{AddOptions, HostNetwork, NetError, module, namespace, sysctl};
use crate::realserver::state::{self, State};
use crate::realserver::{Host, Mode, Record, Step, Wanted, plan, rules};

/// Prepare this host to be a real server of DR or TUN services, or undo it
///
/// NAT real servers need nothing but a default route through the director.
#[derive(Debug, Args)]
pub(super) struct RealserverArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Put virtual addresses on this host, so that nobody but the director sends it their packets
    ///
    /// Settings come first (arp_ignore and arp_announce; rp_filter and the device for a tunnel), then the addresses.
    /// What was there before is put on record; doing it again changes nothing, other addresses extend it.
    Up {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        place: Place,
    },
    /// Undo every `up`: this host is again as it was before the first
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Say whether this host would work as a real server, and what is wrong
    ///
    /// Exits with 0 where it would work, warnings or not, and with 1 where it would not.
    Status {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Chosen {
    /// A virtual address, or several; `status` without any takes those on record
    #[arg(long = "vip", value_name = "ADDR", num_args = 1.., value_delimiter = ',', conflicts_with = "config")]
    vips: Vec<IpAddr>,
    /// How their packets come: dr (as they are) or tun (inside IP packets)
    #[arg(long, value_name = "MODE", default_value_t = Mode::Dr, conflicts_with = "config")]
    mode: Mode,
    /// The director's configuration, to take addresses and modes of the pools that this host is in
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The device that the addresses go on; never one whose neighbours can ask for them
    #[arg(long, value_name = "DEVICE", default_value = "lo")]
    dev: String,
}

#[derive(Debug, Args)]
struct Place {
    /// Where the record is kept, in a folder named after the network namespace
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR)]
    run_dir: PathBuf,
}

/// Runs the verb.
pub(super) fn run(arguments: &RealserverArgs) -> anyhow::Result<ExitCode> {
    match &arguments.verb {
        Verb::Up { chosen, place } => up(chosen, place),
        Verb::Down { place } => down(place),
        Verb::Status { chosen, place, json } => status(chosen, place, *json),
    }
}

fn up(chosen: &Chosen, place: &Place) -> anyhow::Result<ExitCode> {
    let network = HostNetwork::connect()?;
    let Derived { wanted, notes } = chosen.wanted(&network)?;
    for note in &notes {
        say(note)?;
    }
    if wanted.vips.is_empty() {
        match &chosen.config {
            None => bail!("no virtual address to put on this host (give them with --vip, or the configuration)"),
            Some(file) if notes.is_empty() => bail!(
                "no real server in {} has an address of this host (is it the right file, is the network up?)",
                file.display()
            ),
            Some(_) => {
                say("nothing to put on this host")?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let state = State::lock(&place.run_dir, namespace::current()?)?;
    let earlier = state.read()?;
    for device in plan::tunnel_devices(&wanted) {
        // Whether it came to be shows when the host is read.
        module::summon_device(device);
    }
    let host = read_host(&network, &earlier)?;
    let (steps, record) = match plan::up(&wanted, &host, &earlier) {
        Ok(planned) => planned,
        Err(obstacles) => {
            let lines: Vec<_> = obstacles.iter().map(ToString::to_string).collect();
            bail!("nothing was changed:\n{}", lines.join("\n"));
        }
    };
    state.write(&record)?;
    take(&network, &steps).context("stopped half-way (`ipvsd realserver down` undoes what was done)")?;
    let host = read_host(&network, &record)?;
    let findings = rules::status(&wanted, &host);
    for finding in findings.iter().filter(|finding| finding.remedy.is_some()) {
        say(&finding.to_string())?;
    }
    match rules::works(&findings) {
        true => {
            let count = wanted.vips.len();
            let noun = if count == 1 { "address" } else { "addresses" };
            say(&format!("ready as a real server for {count} virtual {noun}"))?;
            Ok(ExitCode::SUCCESS)
        }
        false => Ok(ExitCode::FAILURE),
    }
}

fn down(place: &Place) -> anyhow::Result<ExitCode> {
    let namespace = namespace::current()?;
    if state::peek(&place.run_dir, &namespace)?.is_empty() {
        say(&format!(
            "nothing to undo: no `ipvsd realserver up` of this network namespace is on record under {}",
            place.run_dir.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let state = State::lock(&place.run_dir, namespace)?;
    let record = state.read()?;
    let network = HostNetwork::connect()?;
    let host = read_host(&network, &record)?;
    let undo = plan::down(&record, &host);
    take(&network, &undo.steps).context("stopped half-way (the record is kept: put that right and run it again)")?;
    for note in &undo.notes {
        say(note)?;
    }
    state.remove()?;
    say("this host is as it was before")?;
    Ok(ExitCode::SUCCESS)
}

fn status(chosen: &Chosen, place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    let network = HostNetwork::connect()?;
    let record = state::peek(&place.run_dir, &namespace::current()?)?;
    let Derived { mut wanted, notes } = chosen.wanted(&network)?;
    if wanted.vips.is_empty() && chosen.config.is_none() {
        wanted = record.wanted();
    }
    if wanted.vips.is_empty() && notes.is_empty() {
        bail!("no virtual address to look at: none is given, none is on record (give them with --vip)");
    }
    let host = read_host(&network, &record)?;
    let findings = rules::status(&wanted, &host);
    let works = rules::works(&findings);
    if json {
        let vips: BTreeMap<_, _> = wanted
            .vips
            .iter()
            .map(|(address, vip)| (address, serde_json::json!({ "device": vip.device, "mode": vip.mode })))
            .collect();
        let shown =
            serde_json::json!({ "works": works, "virtual_addresses": vips, "findings": findings, "notes": notes });
        say(&serde_json::to_string_pretty(&shown)?)?;
    } else {
        let mut text = String::new();
        for note in &notes {
            writeln!(text, "note: {note}")?;
        }
        for finding in &findings {
            writeln!(text, "{finding}")?;
        }
        text.push_str(match works {
            true => "this host works as a real server",
            false => "this host does not work as a real server",
        });
        say(&text)?;
    }
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wanted, and what a person should know about how that came about.
struct Derived {
    wanted: Wanted,
    notes: BTreeSet<String>,
}

impl Chosen {
    fn wanted(&self, network: &HostNetwork) -> anyhow::Result<Derived> {
        let Some(file) = &self.config else {
            let vips = self.vips.iter().map(|vip| (*vip, self.mode));
            return Ok(Derived {
                wanted: Wanted::all_on(&self.dev, vips),
                notes: BTreeSet::new(),
            });
        };
        let loaded = files::load_once(file)?;
        let local: Vec<_> = network.addresses()?.into_iter().map(|held| held.address).collect();
        let derived = plan::wanted_from(&loaded.config, &local);
        Ok(Derived {
            wanted: Wanted::all_on(&self.dev, derived.vips),
            notes: derived.notes,
        })
    }
}

fn read_host(network: &HostNetwork, record: &Record) -> Result<Host, NetError> {
    let links = network.links()?;
    let names: BTreeSet<String> = plan::sysctls_to_read(&links, record);
    Ok(Host {
        addresses: network.addresses()?,
        sysctls: sysctl::read_present(&names)?,
        links,
    })
}

/// Takes the steps in their order, says each, and stops at the first that fails.
fn take(network: &HostNetwork, steps: &[Step]) -> anyhow::Result<()> {
    for step in steps {
        match step {
            Step::SetSysctl { name, value, .. } => sysctl::write(name, value)?,
            Step::SetLink { device, up } => {
                network.set_link(device, *up)?;
            }
            Step::AddAddress { vip, label } => {
                let options = AddOptions {
                    prefix: None,
                    scope: AddressScope::Host,
                    label: label.clone(),
                    owner: AddOptions::OWNER,
                    unrouted: false,
                    deprecated: true,
                };
                network.add_address(vip, &options)?;
            }
            Step::RemoveAddress { vip } => {
                network.remove_address(vip)?;
            }
        }
        say(&step.to_string())?;
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("cannot write to standard output")
}
