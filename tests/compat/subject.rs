//! The two programs under comparison, and one run of either.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ipvsd_lab::{cover, require_kernel};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// How long one run may take. The original waits for ever where the kernel forgets an answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Which of the package's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ipvsadm,
    Save,
    Restore,
}

impl Program {
    const ALL: [Self; 3] = [Self::Ipvsadm, Self::Save, Self::Restore];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ipvsadm => "ipvsadm",
            Self::Save => "ipvsadm-save",
            Self::Restore => "ipvsadm-restore",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The exit code; a signal's number negated.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// One of the two: a folder with the three programs, by their names.
#[derive(Debug)]
pub(crate) struct Subject {
    paths: [PathBuf; 3],
}

impl Subject {
    /// Runs a program to its end in the network namespace of the calling thread.
    pub(crate) fn run<S: AsRef<str>>(&self, program: Program, arguments: &[S], input: &str) -> Outcome {
        let stdin = if input.is_empty() {
            Stdio::null()
        } else {
            let mut file = tempfile::tempfile().expect("a file for the input");
            file.write_all(input.as_bytes()).expect("room for the input");
            file.rewind().expect("a file has a beginning");
            file.into()
        };
        let child = Command::new(&self.paths[program as usize])
            // What both call themselves in messages.
            .arg0(program.name())
            .args(arguments.iter().map(S::as_ref))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.name()));
        let pid = child.id();
        watched().lock().unwrap().push((pid, Instant::now() + LIMIT));
        let output = child.wait_with_output().expect("its output");
        watched().lock().unwrap().retain(|(other, _)| *other != pid);
        Outcome {
            code: output
                .status
                .code()
                .unwrap_or_else(|| -output.status.signal().unwrap_or_default()),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Kills what runs longer than it may, so that a hang is a failed case and not a lost guest.
fn watched() -> &'static Mutex<Vec<(u32, Instant)>> {
    static RUNNING: OnceLock<Mutex<Vec<(u32, Instant)>>> = OnceLock::new();
    RUNNING.get_or_init(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(Duration::from_millis(500));
                for (pid, end) in watched().lock().unwrap().iter() {
                    if Instant::now() > *end {
                        // It may have ended this moment.
                        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
                    }
                }
            }
        });
        Mutex::default()
    })
}

/// Both subjects, in a lab whose names are those of `tests/compat/etc`.
#[derive(Debug)]
pub(crate) struct Subjects {
    pub(crate) original: Subject,
    pub(crate) ours: Subject,
    /// Both are the original.
    pub(crate) alike: bool,
    /// Kept open, for the lab's file system forgets the pages of a program that nobody has open.
    _open: Vec<File>,
}

/// The subjects; the first call prepares the lab for them.
///
/// With `COMPAT_SUBJECT=original` both are the original: that is how the suite itself is tested.
pub(crate) fn subjects() -> &'static Subjects {
    static SUBJECTS: OnceLock<Subjects> = OnceLock::new();
    SUBJECTS.get_or_init(|| {
        require_kernel();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/etc");
        for name in ["hosts", "services", "nsswitch.conf"] {
            let target = Path::new("/etc").join(name);
            assert!(target.exists(), "this machine has no {}", target.display());
            cover(&target, &folder.join(name)).expect("names of the suite's own");
        }
        let original = Program::ALL.map(|program| found(program.name()));
        let links = std::env::temp_dir().join(format!("compat-{}", std::process::id()));
        let alike = std::env::var("COMPAT_SUBJECT").is_ok_and(|subject| subject == "original");
        let ours = if alike {
            original.clone()
        } else {
            linked(&links.join("ours"), |_| PathBuf::from(IPVSD))
        };
        // The original's scripts look for it in the usual places only.
        let usual = links.join("original");
        linked(&usual, |program| original[program as usize].clone());
        cover(Path::new("/usr/local/sbin"), &usual).expect("the original in a usual place");
        let open = original
            .iter()
            .chain(&ours)
            .map(|path| File::open(path).expect("a program"))
            .collect();
        Subjects {
            original: Subject { paths: original },
            ours: Subject { paths: ours },
            alike,
            _open: open,
        }
    })
}

fn found(name: &str) -> PathBuf {
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("the lab has no {name}"))
}

fn linked(folder: &Path, target: impl Fn(Program) -> PathBuf) -> [PathBuf; 3] {
    fs::create_dir_all(folder).expect("a folder for links");
    Program::ALL.map(|program| {
        let link = folder.join(program.name());
        symlink(target(program), &link).expect("a link");
        link
    })
}
