//! What a command line asks for.

use crate::listing;
use crate::model::{ServiceKey, Step, SyncDaemon, SyncRole, Timeouts};

/// One command, ready to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `-A`, `-E`, `-D`, `-a`, `-e`, `-d`: one change of the table.
    Change(Step),
    /// `-C`: remove every service.
    Clear,
    /// `-R`: carry out the lines on standard input.
    Restore {
        /// `--atomic`: check all of them first.
        atomic: bool,
    },
    /// `-S`: print the table as lines for `-R`.
    Save {
        /// `-n`: without names.
        numeric: bool,
    },
    /// `-L`, and no words at all: show the table or what else there is to see.
    List(listing::Request),
    /// `-Z`: zero the counters of one service or of all.
    Zero(Option<ServiceKey>),
    /// `--set`: the connection timeouts; 0 leaves one as it is.
    SetTimeouts(Timeouts),
    /// `--start-daemon`
    StartDaemon(SyncDaemon),
    /// `--stop-daemon`
    StopDaemon(SyncRole),
    /// `-h`
    Help,
    /// `-v`
    Version,
}
