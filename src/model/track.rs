//! What a virtual router tracks beside its own interface, what was found of it, and what that adds up to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Something that an instance tracks, and what its failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpTrack {
    /// What.
    pub what: VrrpTracked,
    /// -253 to 253. 0: its failure forbids to be master. Below: added to the priority while it fails. Above: added while
    /// it works.
    pub weight: i32,
}

/// What can be tracked. What is not known yet counts as working; an instance begins when its scripts and processes have
/// been seen once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum VrrpTracked {
    /// An interface of this host, up and with a carrier.
    Interface(String),
    /// The quorum of a virtual server, by its name.
    Quorum(String),
    /// The first tier of a virtual server, by its name: that one serves, and no backup tier or sorry server.
    Tier(String),
    /// A program of the user's that ends with 0.
    Script(Arc<VrrpScript>),
    /// A program that runs.
    Process(Arc<VrrpProcess>),
    /// A file with a number in it.
    File(Arc<VrrpFile>),
    /// This director's own work: the kernel's table can be read and takes what is written.
    Program,
}

impl VrrpTracked {
    /// Whether both are about the same thing, however often and with how much patience it is looked at.
    pub fn is_about_what(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Script(one), Self::Script(other)) => (&one.argv, &one.user) == (&other.argv, &other.user),
            (Self::Process(one), Self::Process(other)) => (&one.name, one.count) == (&other.name, other.count),
            (Self::File(one), Self::File(other)) => one.path == other.path,
            (one, other) => one == other,
        }
    }
}

/// What was found of something that is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VrrpFinding {
    /// Whether it works.
    Works(bool),
    /// The number in a file.
    Value(i64),
}

impl fmt::Display for VrrpTracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Quorum(name) => write!(f, "the quorum of {name}"),
            Self::Tier(name) => write!(f, "the first tier of {name}"),
            Self::Script(script) => f.write_str(script.argv.first().map_or("a script", String::as_str)),
            Self::Process(process) => write!(f, "process {}", process.name),
            Self::File(file) => write!(f, "file {}", file.path.display()),
            Self::Program => f.write_str("programming the kernel"),
        }
    }
}

/// A program that is run again and again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VrrpScript {
    /// Its absolute path and its arguments.
    pub argv: Vec<String>,
    /// As whom.
    pub user: String,
    /// How often, 100 ms to 1 h.
    pub interval: Duration,
    /// It has failed when it has not ended by then; it is killed with all that it has started.
    pub timeout: Duration,
    /// So many successes in a row after a failure make it work again.
    pub rise: u32,
    /// So many failures in a row make it fail.
    pub fall: u32,
}

/// A program that has to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VrrpProcess {
    /// Its name as the kernel has it (`/proc/PID/comm`), at most 15 bytes.
    pub name: String,
    /// How many of it have to run at least.
    pub count: u32,
    /// How often it is looked, 100 ms to 1 h.
    pub interval: Duration,
    /// A change counts once it has lasted for so long.
    pub delay: Duration,
}

/// A file whose number, times the weight, is added to the priority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VrrpFile {
    /// Its absolute path. One that is not there counts as 0.
    pub path: PathBuf,
    /// How often it is looked, 100 ms to 1 h.
    pub interval: Duration,
}

/// What the things that an instance tracks add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VrrpTracking {
    /// One of them forbids it to be master.
    pub fault: bool,
    /// What is added to the priority.
    pub weight: i32,
}
