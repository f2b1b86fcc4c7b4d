//! Files that outlive the process: read within bounds, written whole and renamed into place.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// The most bytes of a file of ours.
const LONGEST: u64 = 64 << 20;

/// What is in the file; `None` where there is none.
///
/// # Errors
/// It is there and cannot be read, or is longer than any of ours.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Whoever opens a pipe waits for somebody at its other end.
    anyhow::ensure!(found.is_file(), "it is no plain file");
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    let length = text.len() as u64;
    anyhow::ensure!(
        length <= LONGEST,
        "{} bytes is more than any file of ours",
        found.len().max(length)
    );
    Ok(Some(text))
}

/// Puts this text into the file, all or nothing, and makes its folder where there is none. Only its owner may read it.
///
/// # Errors
/// The folder cannot be written; the text names the file.
pub(super) fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("json.new");
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&draft)
    };
    let replace = || {
        let mut out = match (open(), path.parent()) {
            (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                open()?
            }
            (opened, _) => opened?,
        };
        out.write_all(text)?;
        out.sync_data()?;
        fs::rename(&draft, path)
    };
    replace()
        .inspect_err(|_| {
            // Where there is no room, it would only take more of it.
            let _ = fs::remove_file(&draft);
        })
        .with_context(|| unwritable(path))
}

/// What is said of a file that cannot be written.
pub(super) fn unwritable(path: &Path) -> String {
    format!(
        "cannot write {} (is the run directory there and writable, and is there room?)",
        path.display()
    )
}
