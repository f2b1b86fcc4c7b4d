//! `ipvsd generate`: man pages and shell completions from the command line's own definition.
//!
//! A hidden verb for packagers and for this repository, whose `docs/man` and `docs/completions` a test compares with
//! what is generated. Writes only below the folder it is given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// The folder that gets `man` and `completions`
    directory: PathBuf,
}

/// Runs the verb.
pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    generate(&args.directory)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `man/ipvsd.8` with one page a verb beside it, and the completions for bash, zsh and fish.
///
/// # Errors
/// A folder or file that cannot be written, with its path.
pub fn generate(directory: &Path) -> anyhow::Result<()> {
    let man = directory.join("man");
    let completions = directory.join("completions");
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut visible(&Cli::command()), "ipvsd", &completions)
            .with_context(|| format!("cannot write completions to {}", completions.display()))?;
    }
    Ok(())
}

/// Writes the page of a command and those of its subcommands, hidden ones left out.
fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_pages(verb, folder)?;
    }
    let source = concat!("ipvsd ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone())
        .section("8")
        .source(source)
        .manual("Linux Virtual Server")
        .generate_to(folder)
        .with_context(|| format!("cannot write a man page to {}", folder.display()))?;
    Ok(())
}

/// The command without its hidden subcommands, which completions would offer all the same.
fn visible(command: &Command) -> Command {
    let hidden: Vec<&str> = command
        .get_subcommands()
        .filter(|verb| verb.is_hide_set())
        .map(Command::get_name)
        .collect();
    let shown = command
        .get_subcommands()
        .filter(|verb| !hidden.contains(&verb.get_name()))
        .cloned();
    Command::new("ipvsd")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about(command.get_about().cloned().unwrap_or_default())
        .args(command.get_arguments().cloned())
        .subcommands(shown)
}
