//! What the director wants done, and how it tells of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AdminState, Command, FailureCause, HoldId, LocalTrouble, Owned, ProbeId, ProbeSpec, ProbeWarning, ServiceKey, Step,
    Table, VirtualAddress, WeightSource,
};

/// Something the director wants done, in the imperative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a probe and report its end as [`super::Event::ProbeFinished`].
    StartProbe {
        /// The name to report under.
        probe: ProbeId,
        /// What is tried, and from where.
        spec: Arc<ProbeSpec>,
        /// Where.
        target: SocketAddr,
        /// How long it may take.
        timeout: Duration,
    },
    /// Open a connection, keep it idle, and report its end as [`super::Event::HoldEnded`].
    OpenHold {
        /// The name to report under.
        hold: HoldId,
        /// From where.
        spec: Arc<ProbeSpec>,
        /// Where to.
        target: SocketAddr,
        /// How long it may take to come about.
        timeout: Duration,
    },
    /// Close a held connection, without a report.
    CloseHold(HoldId),
    /// Read the kernel's table and report [`super::Event::TableRead`].
    ReadTable {
        /// The services whose destinations are compared in full, thresholds included; of the others the cheaply read
        /// columns will do.
        details: Arc<BTreeSet<ServiceKey>>,
        /// What it is thought to be, where nothing is to be done as long as it is; then the report of an equal table is
        /// [`super::Event::TableUnchanged`].
        known: Option<Arc<Table>>,
    },
    /// Write these steps in this order, in one batch, and report [`super::Event::StepsApplied`].
    ApplySteps(Vec<Step>),
    /// Put on record what ipvsd owns from now on, before anything that follows is done.
    RecordOwned(Owned),
    /// Keep these addresses on their devices and take those off; asked again and again, mostly with nothing to do.
    HoldAddresses {
        /// The addresses that have to be there.
        hold: BTreeSet<VirtualAddress>,
        /// The addresses that ipvsd had put there and that the configuration no longer has.
        release: BTreeSet<VirtualAddress>,
    },
    /// Run a command of the user's. Commands of one subject run one after another, in this order; nothing waits for
    /// them.
    RunCommand {
        /// What it is about: a virtual server, or one of its real servers.
        subject: Subject,
        /// The command.
        command: Arc<Command>,
        /// What it is told, as variables of its environment.
        environment: BTreeMap<&'static str, String>,
    },
    /// Look which of these programs run, and report [`super::Event::ProcessesFound`].
    FindProcesses {
        /// Their names as the kernel has them.
        names: &'static [&'static str],
    },
    /// Tell the operator of a change.
    Report(Transition),
    /// The table is as wanted for the first time: tell the service manager that the daemon is ready.
    AnnounceReady,
}

/// Names one member of a pool in logs and reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerId {
    /// The virtual server's name.
    pub virtual_server: String,
    /// The real server's address and port as configured.
    pub server: String,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A pool as a whole, by its virtual server's name.
    Pool(String),
    /// One member of it.
    Server(ServerId),
    /// A virtual router, by its name.
    VirtualRouter(String),
    /// Virtual routers that move together, by their group's name.
    SyncGroup(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(name) => f.write_str(name),
            Self::Server(id) => write!(f, "{} of {}", id.server, id.virtual_server),
            Self::VirtualRouter(name) => write!(f, "virtual router {name}"),
            Self::SyncGroup(name) => write!(f, "sync group {name}"),
        }
    }
}

/// The state of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// No verdict yet.
    #[default]
    Unknown,
    /// Passing.
    Up,
    /// Failing.
    Down,
}

/// The state of one real server: the worst of its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Not every check has reached a verdict, and none has failed.
    Unknown,
    /// All checks pass, or there are none.
    Up,
    /// At least one check fails.
    Down,
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// A change that an operator wants to know of; one line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// A real server changed its state.
    ServerChanged {
        /// Which.
        server: ServerId,
        /// Before.
        from: ServerState,
        /// Now.
        to: ServerState,
        /// The check that decided, and how the last probe failed; `None` where it passed.
        check: String,
        /// Why it is down.
        cause: Option<FailureCause>,
        /// How long the state before had lasted.
        lasted: Duration,
    },
    /// Somebody wants a server used in another way than before: the operator, or an agent, script or file.
    AdminChanged {
        /// Which.
        server: ServerId,
        /// Before.
        from: AdminState,
        /// Now: the worst of all wishes.
        to: AdminState,
    },
    /// The weight of a server was changed by an operator or by advice.
    WeightChanged {
        /// Which.
        server: ServerId,
        /// Before.
        from: u32,
        /// Now.
        to: u32,
        /// Whose it is.
        source: WeightSource,
    },
    /// Another tier of a pool serves now; `None` where nobody is left.
    TierChanged {
        /// The virtual server's name.
        virtual_server: String,
        /// Before; `None` at start and where nobody served.
        from: Option<String>,
        /// Now: `the pool`, `backup tier 1`, `sorry server 192.0.2.20:80`.
        to: Option<String>,
        /// How long the state before had lasted.
        lasted: Duration,
    },
    /// A better tier of a pool could serve again, and the present one is kept as the configuration says.
    ReturnAwaited {
        /// The virtual server's name.
        virtual_server: String,
        /// The better one, as in [`Transition::TierChanged`].
        better: String,
        /// How long it has to be able to; `None` for until the operator says so.
        after: Option<Duration>,
    },
    /// A pool has gained or lost its quorum.
    QuorumChanged {
        /// The virtual server's name.
        virtual_server: String,
        /// Gained.
        held: bool,
        /// The weights of those who are up.
        weight: u64,
        /// The quorum.
        needed: u64,
    },
    /// So few servers of a pool would remain that those which failed last are kept in.
    PanicBegan {
        /// The virtual server's name.
        virtual_server: String,
        /// How many are up.
        up: usize,
        /// Of how many.
        of: usize,
        /// Fewer per cent than this would remain.
        threshold: u32,
    },
    /// Enough servers are up again, or there is nobody to keep in.
    PanicEnded {
        /// The virtual server's name.
        virtual_server: String,
    },
    /// The services of a pool with `program_when = "master"` come into the table, or leave it.
    RoleChanged {
        /// The virtual server's name.
        virtual_server: String,
        /// Its virtual router's.
        router: String,
        /// Whether that one serves on this host.
        serves: bool,
    },
    /// The checks of a pool are suspended because none of its addresses is on this host, or go on again.
    ChecksSuspended {
        /// The virtual server's name.
        virtual_server: String,
        /// Suspended.
        suspended: bool,
    },
    /// This host was at fault; the server's state is left as it is. Said once until a probe succeeds in starting, and
    /// for trouble of the whole host once for all servers.
    LocalTrouble {
        /// Whose probe, or the first one's.
        server: ServerId,
        /// What is wrong.
        trouble: LocalTrouble,
    },
    /// A check changed too often and is held down, whatever its probes find.
    FlapHeld {
        /// Whose check, or the first one's.
        server: ServerId,
        /// The check.
        check: String,
        /// For how long.
        hold: Duration,
    },
    /// This host stood still, or was too busy, so that probes are due that should have started long ago. Their states
    /// stay as they are, and they start spread over some time.
    Halted {
        /// How late the first of them is.
        late: Duration,
        /// How many.
        checks: usize,
    },
    /// An own interface works again; the servers that could not be probed meanwhile are, spread over some time.
    InterfaceBack {
        /// Which.
        device: String,
        /// How many checks.
        checks: usize,
    },
    /// A probe passed and yet found something to see to. Said once until it changes.
    ProbeWarned {
        /// Whose probe.
        server: ServerId,
        /// The check.
        check: String,
        /// What there is to see to.
        warning: ProbeWarning,
    },
    /// What the daemon before knew was taken over.
    StateTakenOver {
        /// The checks that go on as if they had never been interrupted.
        checks: usize,
        /// Of so many that are configured.
        of: usize,
        /// How long ago it was written down.
        age: Duration,
    },
    /// Verdicts of the other director count where this one has none.
    PeerVerdictsTaken {
        /// For so many more checks.
        checks: usize,
        /// Of so many that are configured.
        of: usize,
    },
    /// The kernel refused a step.
    StepRefused {
        /// The step in words, the reason and the remedy.
        message: String,
    },
    /// The kernel's table was not as last written.
    TableDrifted {
        /// What somebody else has done.
        deeds: Vec<Step>,
        /// What has to be done to repair it.
        steps: Vec<Step>,
        /// For how long at most it was wrong: the time since it was last found right.
        within: Duration,
    },
    /// Somebody else keeps changing a service; it is repaired ever more rarely.
    Quarrel {
        /// The virtual server's name; `None` for a service of ipvsd's own.
        virtual_server: Option<String>,
        /// The service.
        service: ServiceKey,
        /// How often he has changed it.
        times: u32,
        /// In how much time.
        within: Duration,
        /// How long the next repair waits.
        pause: Duration,
        /// Who it could be, of the programs that run here.
        suspects: Vec<String>,
    },
    /// Nobody else has touched the service for a long time.
    QuarrelEnded {
        /// The virtual server's name; `None` for a service of ipvsd's own.
        virtual_server: Option<String>,
        /// The service.
        service: ServiceKey,
        /// How long it was quarrelled over, the calm at its end included.
        lasted: Duration,
    },
    /// Nothing is written to the kernel's table, because an operator wants it so; also told while it lasts.
    WritesPaused {
        /// For how long from now on.
        left: Duration,
    },
    /// It is written again.
    WritesResumed {
        /// How long it was not.
        lasted: Duration,
    },
    /// The kernel's table could not be read.
    TableUnreadable {
        /// Why and what to do.
        message: String,
    },
}
