//! Looking at the program that is to take this one's place, before it does.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::control::{Refused, Trouble};
use crate::process::{self, Said};

/// How long the other program may take to read the configuration.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many lines of what it says are passed on.
const MOST_LINES: usize = 100;

/// The file that this program was started from: by the path it was called with, behind which another program may be by
/// now; to be asked for at the start.
pub(super) fn own_program() -> Option<PathBuf> {
    let called = env::args_os().next().map(PathBuf::from);
    called
        .filter(|path| path.is_absolute())
        .or_else(|| env::current_exe().ok())
}

/// Has the program on disk tell its version, and read the configuration.
///
/// # Errors
/// Why it cannot take over: it does not start, knows of no upgrade, or refuses the configuration, with its reasons.
pub(super) async fn examine(program: &Path, config: &Path) -> Result<String, Box<Refused>> {
    let shown = program.display();
    let refuse = |message: String| Box::new(Refused::new(Trouble::BadProgram, message));
    let ask =
        async |arguments: &[&Path]| match tokio::time::timeout(PATIENCE, process::consult(program, arguments)).await {
            Ok(said) => said.map_err(|problem| refuse(problem.to_string())),
            Err(_elapsed) => Err(refuse(format!("{shown} has not answered in {} s", PATIENCE.as_secs()))),
        };
    let version = match ask(&[Path::new("--version")]).await? {
        Said { success: true, text } => text.split_whitespace().nth(1).unwrap_or_default().to_owned(),
        Said { success: false, text } => {
            return Err(refuse(format!("{shown} does not tell its version: {}", first(&text))));
        }
    };
    if !ask(&[Path::new("upgrade"), Path::new("--help")]).await?.success {
        return Err(refuse(format!(
            "{shown} is ipvsd {version}, which cannot take over from a running one (restart the daemon instead: \
             `systemctl restart ipvsd`)"
        )));
    }
    let checked = ask(&[Path::new("check-config"), config]).await?;
    match checked.success {
        true => Ok(version),
        false => Err(Box::new(Refused {
            problems: checked.text.lines().take(MOST_LINES).map(str::to_owned).collect(),
            ..Refused::new(
                Trouble::BadConfiguration,
                format!("ipvsd {version} in {shown} cannot use the configuration; the running one goes on"),
            )
        })),
    }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or("(nothing)")
}
