//! What is said over the control socket: requests to the running daemon, and the documents that it answers with.
//!
//! One request is one line of JSON, one reply is one line of JSON, in UTF-8. `docs/control.md` describes both; what
//! `--json` prints is the reply's document.
//!
//! | file | what |
//! |---|---|
//! | `request` | requests, and reading them from bytes of anybody |
//! | `reply` | replies: refusals, outcomes |
//! | `status`, `why`, `event`, `peer` | the larger documents |

mod event;
mod peer;
mod reply;
mod request;
mod status;
mod why;

pub use event::{EventKind, EventRecord, Level};
pub use peer::PeerStatus;
pub use reply::{Changed, ChangedServer, Paused, Plan, Refused, Reloaded, Reply, Trouble, Upgraded, WaitingServer};
pub use request::{BadRequest, LONGEST_REQUEST, Request, VERSION, parse_percent};
pub use status::{
    ConfigurationStatus, ContestedService, Deviation, PoolStatus, RefusedFiles, ServerStatus, SorryStatus, Status,
    VrrpStatus,
};
pub use why::{AdviceReport, CheckReport, KernelDestination, OperatorReport, ProbeReport, ServerReport, Why};

/// The number of the schema of every document here. Members are added without a new number; one that changes its meaning
/// or goes makes it one more.
pub const SCHEMA: u32 = 1;
