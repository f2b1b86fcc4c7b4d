//! keepalived's FIFO: a line for every change, for whoever reads it.

use std::fs::{File, Metadata, OpenOptions, symlink_metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::queue::Queue;

/// How often it is looked whether a full pipe has room again, and for how long.
const AGAIN: Duration = Duration::from_millis(100);
const PATIENCE: u32 = 50;

/// Writes what is told into the pipe, for good, wherever it is at the moment.
pub(super) async fn serve(paths: watch::Receiver<Arc<Path>>, queue: Arc<Queue<String>>) {
    let mut pipe = None;
    let mut said = None;
    let mut lost = 0;
    loop {
        let (line, before) = queue.next().await;
        lost += before;
        let path = Arc::clone(&paths.borrow());
        match tell(&path, &mut pipe, &line).await {
            Ok(()) => {
                if lost > 0 {
                    warn!("{lost} lines for the FIFO {} are lost", path.display());
                }
                (said, lost) = (None, 0);
            }
            Err(problem) => {
                lost += 1;
                let problem = format!("nothing can be written into the FIFO {}: {problem}", path.display());
                if said.as_ref() != Some(&problem) {
                    warn!("{problem}");
                    said = Some(problem);
                }
            }
        }
    }
}

async fn tell(path: &Path, pipe: &mut Option<File>, line: &str) -> io::Result<()> {
    // Shorter than PIPE_BUF, so that a line is written whole or not at all (pipe(7)).
    let mut bytes = line.as_bytes().to_vec();
    bytes.push(b'\n');
    // What nobody has read yet goes with the last one that has it open, so it stays open, full or not.
    let opened = match pipe.take() {
        Some(opened) if is_at(&opened, path) => pipe.insert(opened),
        Some(_) | None => pipe.insert(open(path)?),
    };
    for _ in 0..PATIENCE {
        match opened.write_all(&bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(AGAIN).await,
            other => return other,
        }
    }
    Err(io::Error::other("it is full and nobody reads it"))
}

/// Whether a pipe is still the one that readers find.
fn is_at(pipe: &File, path: &Path) -> bool {
    let number = |found: io::Result<Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    number(pipe.metadata()) == number(symlink_metadata(path))
}

/// Opens the pipe for both sides, so that it stays whether or not somebody reads; it is made where it is missing.
fn open(path: &Path) -> io::Result<File> {
    match nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW;
    let pipe = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(path)?;
    match pipe.metadata()?.file_type().is_fifo() {
        true => Ok(pipe),
        false => Err(io::Error::other("there is something else than a FIFO (take it away)")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn lines_are_there_for_whoever_reads_and_files_are_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fifo");
        let mut pipe = None;
        for line in ["INSTANCE \"VI_1\" BACKUP 100", "INSTANCE \"VI_1\" MASTER 100"] {
            tell(&path, &mut pipe, line).await.expect("a line");
        }
        let mut read = [0; 128];
        let length = pipe.as_mut().expect("a pipe").read(&mut read).expect("lines");
        assert_eq!(
            &read[..length],
            b"INSTANCE \"VI_1\" BACKUP 100\nINSTANCE \"VI_1\" MASTER 100\n"
        );

        // Somebody else has made it anew.
        std::fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("another FIFO");
        let mut reader = open(&path).expect("it opens");
        tell(&path, &mut pipe, "line").await.expect("a line");
        let length = reader.read(&mut read).expect("a line");
        assert_eq!(&read[..length], b"line\n");

        let file = directory.path().join("file");
        std::fs::write(&file, "content").expect("a file");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        for wrong in [&file, &link] {
            assert!(tell(wrong, &mut None, "line").await.is_err(), "{}", wrong.display());
        }
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "content");
    }
}
