//! The configuration that is in use, as its files were read: one text in the run directory, for operators to look at and
//! to go back to when the files have become something else. For root alone, for it may have passwords in it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::kept;
use super::record::Record;
use crate::config::Sources;

const NAME: &str = "running.toml";

/// The file of one network namespace.
#[derive(Debug, Clone)]
pub struct RunningFile(PathBuf);

impl RunningFile {
    /// The one beside a record.
    pub fn beside(record: &Record) -> Self {
        Self(record.beside(NAME))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is in it; `None` where no daemon has put anything there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(&self) -> anyhow::Result<Option<Vec<u8>>> {
        kept::read(&self.0)
    }

    /// Writes the texts of all files one after another, each below a comment with its name.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, sources: &Sources) -> anyhow::Result<()> {
        kept::write(&self.0, text_of(sources).as_bytes())
    }
}

fn text_of(sources: &Sources) -> String {
    let mut text = String::new();
    for (name, bytes) in sources.files() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // Writing to a text cannot fail.
        let _ = writeln!(text, "# ----- {name}");
        text.push_str(&String::from_utf8_lossy(bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Source;

    #[test]
    fn all_files_are_kept_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = RunningFile::beside(&Record::open(folder.path()).expect("a namespace"));
        assert_eq!(file.load().expect("no file"), None);
        let mut sources = Sources::new(Source::new("/etc/ipvsd/ipvsd.toml", "include = \"a.toml\""));
        sources.answer(
            "/etc/ipvsd/a.toml".to_owned(),
            vec![Source::new("/etc/ipvsd/a.toml", "[host]\n")],
        );
        file.save(&sources).expect("writable");
        let text = String::from_utf8(file.load().expect("readable").expect("a file")).expect("a text");
        assert_eq!(
            text,
            "# ----- /etc/ipvsd/ipvsd.toml\ninclude = \"a.toml\"\n# ----- /etc/ipvsd/a.toml\n[host]\n"
        );
        let mode = std::fs::metadata(file.path()).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
