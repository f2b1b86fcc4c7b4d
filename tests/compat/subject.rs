//! The two programs under comparison, and one run of either.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, Write, stderr, stdout};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ipvsd_lab::{cover, require_kernel};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup, dup2_stderr, dup2_stdout};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");

/// How long one run may take. The original waits for ever where the kernel forgets an answer.
const LIMIT: Duration = Duration::from_secs(20);

/// The exit code of a process that has panicked.
const PANICKED: i32 = 101;

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

/// One of the two.
#[derive(Debug)]
pub(crate) struct Subject {
    paths: [PathBuf; 3],
    /// Where its libraries are, if not where they usually are.
    libraries: Option<PathBuf>,
    /// A command line may be run by a call into the library, which is what `main` does: a process costs a hundred times
    /// more here.
    callable: bool,
}

impl Subject {
    /// Runs a program to its end in the network namespace of the calling thread: by a call where that can be.
    pub(crate) fn run<S: AsRef<str>>(&self, program: Program, arguments: &[S], input: &str) -> Outcome {
        if self.callable && program == Program::Ipvsadm && input.is_empty() {
            call(program, arguments)
        } else {
            self.start(program, arguments, input)
        }
    }

    /// As [`Subject::run`], always by a process.
    pub(crate) fn start<S: AsRef<str>>(&self, program: Program, arguments: &[S], input: &str) -> Outcome {
        let stdin = if input.is_empty() {
            Stdio::null()
        } else {
            let mut file = tempfile::tempfile().expect("a file for the input");
            file.write_all(input.as_bytes()).expect("room for the input");
            file.rewind().expect("a file has a beginning");
            file.into()
        };
        let mut command = Command::new(&self.paths[program as usize]);
        // What both call themselves in messages.
        command.arg0(program.name()).args(arguments.iter().map(S::as_ref));
        if let Some(folder) = &self.libraries {
            command.env("LD_LIBRARY_PATH", folder);
        }
        finish(command.stdin(stdin))
    }
}

/// Starts a process and waits for its end.
fn finish(command: &mut Command) -> Outcome {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
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

/// Calls ours as its `main` would, with this process's descriptors led into files meanwhile. A panic is an outcome.
fn call<S: AsRef<str>>(program: Program, arguments: &[S]) -> Outcome {
    static DESCRIPTORS: Mutex<()> = Mutex::new(());
    let _one_at_a_time = DESCRIPTORS.lock().unwrap();
    let words: Vec<OsString> = std::iter::once(program.name())
        .chain(arguments.iter().map(S::as_ref))
        .map(OsString::from)
        .collect();
    let kept = (
        dup(stdout()).expect("a descriptor"),
        dup(stderr()).expect("a descriptor"),
    );
    let mut written = (
        tempfile::tempfile().expect("a file"),
        tempfile::tempfile().expect("a file"),
    );
    dup2_stdout(&written.0).expect("a descriptor");
    dup2_stderr(&written.1).expect("a descriptor");
    let status = panic::catch_unwind(|| ipvsd::cli::status_if_called(words.into_iter()));
    dup2_stdout(&kept.0).expect("a descriptor");
    dup2_stderr(&kept.1).expect("a descriptor");
    let text = |file: &mut File| {
        let mut text = Vec::new();
        file.rewind().expect("a file has a beginning");
        file.read_to_end(&mut text).expect("what was written");
        String::from_utf8_lossy(&text).into_owned()
    };
    Outcome {
        code: match status {
            Ok(status) => i32::from(status.expect("called by its name")),
            Err(_) => PANICKED,
        },
        stdout: text(&mut written.0),
        stderr: text(&mut written.1),
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
}

impl Subjects {
    /// `ipvsd ipvsadm` with these arguments.
    pub(crate) fn verb<S: AsRef<str>>(&self, arguments: &[S]) -> Outcome {
        let mut command = Command::new(IPVSD);
        command.arg("ipvsadm").args(arguments.iter().map(S::as_ref));
        finish(command.stdin(Stdio::null()))
    }
}

/// The subjects; the first call prepares the lab for them.
///
/// With `COMPAT_SUBJECT=original` both are the original: that is how the suite itself is tested. With
/// `COMPAT_SUBJECT=process` every run of ours is a process, in several minutes.
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
        let folder = std::env::temp_dir().join(format!("compat-{}", std::process::id()));
        let wish = std::env::var("COMPAT_SUBJECT").unwrap_or_default();
        assert!(
            ["", "original", "process"].contains(&wish.as_str()),
            "COMPAT_SUBJECT={wish}"
        );
        let alike = wish == "original";
        let mut original = Program::ALL.map(|program| found(program.name()));
        let libraries = copy_into_memory(&mut original[Program::Ipvsadm as usize], &folder.join("copy"));
        let ours = if alike {
            original.clone()
        } else {
            linked(&folder.join("ours"), |_| PathBuf::from(IPVSD))
        };
        // The original's scripts look for it in the usual places only.
        let usual = folder.join("usual");
        linked(&usual, |program| original[program as usize].clone());
        cover(Path::new("/usr/local/sbin"), &usual).expect("the original in a usual place");
        Subjects {
            ours: Subject {
                paths: ours,
                libraries: alike.then(|| libraries.clone()),
                callable: wish.is_empty(),
            },
            original: Subject {
                paths: original,
                libraries: Some(libraries),
                callable: false,
            },
            alike,
        }
    })
}

/// Copies a program and its libraries into a folder of the lab's memory, for reading them from this machine's disk each
/// time takes as long as all else that they do. Returns the folder.
fn copy_into_memory(program: &mut PathBuf, folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    // The loader's way to say what it would load.
    let listing = Command::new(&*program)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .output()
        .expect("a list of libraries");
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let libraries = listing
        .lines()
        .filter_map(|line| line.split_once(" => ")?.1.split(" (").next());
    for file in libraries
        .map(Path::new)
        .chain([&**program])
        .filter(|path| path.is_absolute())
    {
        fs::copy(file, folder.join(file.file_name().expect("a name"))).expect("room for a copy");
    }
    *program = folder.join(Program::Ipvsadm.name());
    folder.to_owned()
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
