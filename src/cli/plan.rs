//! `ipvsd plan`: what a reload of the running daemon would do, or without one what `apply` would.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::list::print;
use super::running::{RunDir, print_json, print_refusal, unexpected};
use crate::control::render;
use crate::daemon::instance;
use crate::daemon::once::{self, Difference, Options};
use crate::model::control::{Plan, Reply, Request, SCHEMA, Trouble};

/// Exit code of `plan` when something would change.
pub(super) const CHANGES_PENDING: u8 = 3;

/// Where the configuration is where nobody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/ipvsd/ipvsd.toml";

/// The arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The configuration file [default: the running daemon's, else /etc/ipvsd/ipvsd.toml]; another one than the daemon's
    /// is compared as `apply` does
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not ask a running daemon; every real server counts as up
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// Prints one step a line; 0 where nothing is to do, 3 where something is.
pub(super) fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let asked = match args.offline || !instance::is_running() {
        true => None,
        false => ask(args)?,
    };
    let plan = match asked {
        Some(Reply::Plan(plan)) => plan,
        Some(refused @ Reply::Refused(_)) if args.json => return print_json(&refused),
        Some(Reply::Refused(refused)) => return print_refusal(&refused),
        Some(other) => return unexpected(&other),
        None => {
            let config = args.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
            let options = Options {
                config: config.clone(),
                run_dir: args.run_dir.path().to_owned(),
            };
            plan_of(&config, once::difference(&options)?)
        }
    };
    let code = match plan.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(CHANGES_PENDING),
    };
    let reply = Reply::Plan(plan);
    if args.json {
        print_json(&reply)?;
        return Ok(code);
    }
    if let Reply::Plan(plan) = &reply {
        warn(&plan.warnings)?;
        let mut errors = BufWriter::new(std::io::stderr().lock());
        for waiting in &plan.waiting {
            let (virtual_server, server) = (&waiting.virtual_server, &waiting.server);
            writeln!(errors, "{virtual_server}/{server} comes in once its checks have passed")?;
        }
        errors.flush()?;
        let mut out = String::new();
        render::plan(&mut out, plan);
        print(out.as_bytes())?;
    }
    Ok(code)
}

/// What the running daemon says; nothing where it has another configuration, or is of a version that makes no plans.
fn ask(args: &PlanArgs) -> anyhow::Result<Option<Reply>> {
    let reply = args.run_dir.ask(&Request::Plan)?;
    let other = match (&reply, &args.config) {
        (Reply::Refused(refused), _) if refused.trouble == Trouble::BadRequest => {
            Some("the running daemon is of another version".to_owned())
        }
        (Reply::Plan(plan), Some(config)) => {
            let own = std::fs::canonicalize(config).unwrap_or_else(|_| config.clone());
            let differs = own != Path::new(&plan.configuration);
            differs.then(|| format!("the running daemon uses {}, not this file", plan.configuration))
        }
        _ => None,
    };
    let Some(other) = other else { return Ok(Some(reply)) };
    writeln!(std::io::stderr(), "warning: {other}: every real server counts as up")?;
    Ok(None)
}

/// What `apply` would do, as a daemon says it.
fn plan_of(config: &Path, difference: Difference) -> Plan {
    Plan {
        schema: SCHEMA,
        configuration: std::fs::canonicalize(config)
            .unwrap_or_else(|_| config.to_owned())
            .display()
            .to_string(),
        daemon: false,
        steps: difference.steps.iter().map(ToString::to_string).collect(),
        put: difference.missing.into_iter().collect(),
        take: difference.superfluous.into_iter().collect(),
        waiting: Vec::new(),
        warnings: difference.warnings,
    }
}

/// Prints warnings to standard error.
pub(super) fn warn(warnings: &[String]) -> anyhow::Result<()> {
    let mut errors = BufWriter::new(std::io::stderr().lock());
    for warning in warnings {
        writeln!(errors, "{warning}")?;
    }
    errors.flush()?;
    Ok(())
}

/// Prints warnings to standard error and changes to standard output.
pub(super) fn show(difference: &Difference) -> anyhow::Result<()> {
    warn(&difference.warnings)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for step in &difference.steps {
        writeln!(out, "{step}")?;
    }
    for vip in &difference.missing {
        writeln!(out, "put address {} on {}", vip.address, vip.device)?;
    }
    for vip in &difference.superfluous {
        writeln!(out, "take address {} off {}", vip.address, vip.device)?;
    }
    out.flush()?;
    Ok(())
}
