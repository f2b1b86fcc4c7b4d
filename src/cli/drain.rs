//! `ipvsd drain`: a server gets no new connections and keeps those it has; with `--wait` until they have ended.

use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::running::{RunDir, Server, Until, print_change, unexpected};
use crate::config;
use crate::control::Client;
use crate::model::control::{Changed, Reply, Request, ServerReport};
use crate::model::{Protocol, ServiceKey};

/// How often the connections are counted.
const PAUSE: Duration = Duration::from_millis(500);

/// The arguments of `drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    server: Server,
    /// After so long (`90s`, `5m`, `1h`) the server is put in maintenance, and connections that are left are given up
    #[arg(long, value_name = "TIME", value_parser = parse, conflicts_with = "until_reload")]
    deadline: Option<Duration>,
    #[command(flatten)]
    until: Until,
    /// Return when no connection to the server is active any more (of UDP and firewall marks: when none is left), or at
    /// the deadline
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

fn parse(text: &str) -> Result<Duration, String> {
    let whole = |duration: &Duration| duration.subsec_millis() == 0 && duration.as_secs() > 0;
    let deadline = config::parse_duration(text).filter(whole);
    deadline.ok_or_else(|| "a deadline is a number of seconds or more with its unit: 90s, 5m, 1h, 1d".to_owned())
}

/// Runs the verb; 1 where somebody says otherwise while it waits.
pub(super) fn run(args: DrainArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.run_dir.connect()?;
    let request = Request::Drain {
        server: args.server.server,
        deadline: args.deadline,
        lasting: args.until.lasting(),
    };
    let reply = client.ask(&request)?;
    let code = print_change(&reply, args.json)?;
    match &reply {
        Reply::Changed(changed) if args.wait => wait(&mut client, changed),
        _ => Ok(code),
    }
}

/// Waits until none of the servers has a connection any more.
fn wait(client: &mut Client, changed: &Changed) -> anyhow::Result<ExitCode> {
    for server in &changed.servers {
        let name = format!("{}/{}", server.virtual_server, server.server);
        loop {
            let report = match client.ask(&Request::Why { server: name.clone() })? {
                Reply::Why(why) => why.servers.into_iter().next(),
                other => return unexpected(&other),
            };
            let Some(report) = report else {
                bail!("{name} is no longer in the configuration");
            };
            match report
                .operator
                .as_ref()
                .map_or("ready", |operator| operator.state.as_str())
            {
                "drain" => {}
                "maint" => {
                    writeln!(std::io::stderr(), "ipvsd: {name} is in maintenance")?;
                    break;
                }
                other => bail!("{name} is {other} again: somebody else has said so"),
            }
            if connections(&report) == Some(0) {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How many connections go on of a server that gets no new ones; `None` while it may get some.
///
/// The kernel remembers TCP connections for two minutes after their end, so that only active ones count there; of the
/// others nobody can tell.
fn connections(report: &ServerReport) -> Option<u64> {
    let mut sum = 0;
    for found in &report.kernel {
        let is_remembered = match found.service {
            ServiceKey::Address { protocol, .. } => matches!(protocol, Protocol::Tcp | Protocol::Sctp),
            ServiceKey::Fwmark { .. } => false,
        };
        match found.weight {
            None => {}
            Some(0) => {
                let (active, inactive) = (found.active_connections?, found.inactive_connections?);
                sum += u64::from(active) + if is_remembered { 0 } else { u64::from(inactive) };
            }
            Some(_) => return None,
        }
    }
    Some(sum)
}
