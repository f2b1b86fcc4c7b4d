//! The verbs: one file each, with its arguments and what it does with them.
//!
//! Wiring only. A verb reads its arguments, calls the rooms below, prints, and answers with an exit code: 0 done,
//! 1 failed, 2 usage (clap's own), 3 changes pending (`plan`). Errors go to standard error once, with their chain.

mod add;
mod apply;
mod check_config;
mod config;
pub mod docs;
mod drain;
mod events;
mod ipvsadm;
mod list;
mod maint;
mod names;
mod pause;
mod peer;
mod plan;
mod ready;
mod realserver;
mod rebuild;
mod reload;
mod remove;
mod resume;
mod r#return;
mod run;
mod running;
mod status;
mod upgrade;
mod vrrp;
mod weight;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use ipvsadm::{run_if_called, status_if_called};

/// The command line of `ipvsd`.
#[derive(Debug, Parser)]
#[command(name = "ipvsd", version, about, long_about = None, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// One variant a verb; each carries that verb's own arguments.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the director daemon in the foreground
    Run(run::RunArgs),
    /// Print every problem of a configuration file with its place and a hint
    CheckConfig(check_config::Arguments),
    /// Print the configuration that the running daemon uses, as it was read
    Config(config::ConfigArgs),
    /// Print what a reload of the running daemon would change, or `apply`, one step a line; exit code 3 where something would
    Plan(plan::PlanArgs),
    /// Make the kernel match a configuration once, without a daemon
    Apply(apply::ApplyArgs),
    /// Show the kernel's table as `ipvsadm -L` does, or as JSON
    List(list::ListArgs),
    /// Do what ipvsadm does, with ipvsadm's options
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Ipvsadm(ipvsadm::IpvsadmArgs),
    /// Show the running daemon's pools, and who serves in them
    Status(status::StatusArgs),
    /// Say why a real server is in the state it is in
    Why(why::WhyArgs),
    /// Give a real server no new connections, and let it keep those it has
    Drain(drain::DrainArgs),
    /// Give a real server no traffic, whatever its checks say
    Maint(maint::MaintArgs),
    /// Take `drain` or `maint` back
    Ready(ready::ReadyArgs),
    /// Give a real server another weight than the configured one
    Weight(weight::WeightArgs),
    /// Add a real server to a running pool, beside what the files say
    Add(add::AddArgs),
    /// Remove a real server from a running pool, whatever the files say
    Remove(remove::RemoveArgs),
    /// Bring a pool back from a backup tier or the sorry server to the best tier that can serve
    Return(r#return::ReturnArgs),
    /// Take a pool's real servers out and put them in again in the order that every director has, for hash schedulers
    Rebuild(rebuild::RebuildArgs),
    /// Have the running daemon read its configuration again, and say what came of it
    Reload(reload::ReloadArgs),
    Upgrade(upgrade::UpgradeArgs),
    /// Have the running daemon write nothing to the kernel's table for a while
    Pause(pause::PauseArgs),
    /// End a pause before its time
    Resume(resume::ResumeArgs),
    /// Virtual routers: hand one over to another director
    Vrrp(vrrp::VrrpArgs),
    /// The other director: this one's key for it, how the link is, what differs
    Peer(peer::PeerArgs),
    /// Show what has happened to servers, pools and the kernel's table
    Events(events::EventsArgs),
    /// Prepare this host to be a real server, undo it, or say whether it would work
    Realserver(realserver::RealserverArgs),
    /// Write man pages and shell completions
    #[command(hide = true)]
    Generate(docs::GenerateArgs),
}

/// Runs the verb on the command line.
///
/// # Errors
/// What the verb could not do, with place and remedy, ready to be printed once with its chain.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Run(args) => run::run(args),
        Verb::CheckConfig(args) => check_config::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Apply(args) => apply::run(args),
        Verb::List(args) => list::run(&args),
        Verb::Ipvsadm(args) => Ok(ipvsadm::run(&args)),
        Verb::Status(args) => status::run(args),
        Verb::Why(args) => why::run(args),
        Verb::Drain(args) => drain::run(args),
        Verb::Maint(args) => maint::run(args),
        Verb::Ready(args) => ready::run(args),
        Verb::Weight(args) => weight::run(args),
        Verb::Add(args) => add::run(args),
        Verb::Remove(args) => remove::run(args),
        Verb::Return(args) => r#return::run(args),
        Verb::Rebuild(args) => rebuild::run(args),
        Verb::Reload(args) => reload::run(&args),
        Verb::Upgrade(args) => upgrade::run(&args),
        Verb::Pause(args) => pause::run(&args),
        Verb::Resume(args) => resume::run(&args),
        Verb::Vrrp(args) => vrrp::run(args),
        Verb::Peer(args) => peer::run(args),
        Verb::Events(args) => events::run(&args),
        Verb::Realserver(args) => realserver::run(&args),
        Verb::Generate(args) => docs::run(&args),
    }
}
