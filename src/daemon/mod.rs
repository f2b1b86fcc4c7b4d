//! Wiring of `ipvsd run`: tasks, channels, signals, reload.
//!
//! It connects the director to the world and decides nothing about weights or servers.
//!
//! | file | what |
//! |---|---|
//! | `task` | the loop: events in, actions out; `task::calls`: what callers of the control socket ask of it; `task::reload`: reading the configuration again |
//! | `once` | `plan` and `apply`, without the loop |
//! | `files` | reading the configuration |
//! | `host` | this host's settings before the director starts |
//! | `addresses` | keeping virtual addresses on their devices |
//! | `commands` | running the user's commands, in order |
//! | `presence` | which addresses are on this host |
//! | `instance` | one daemon a network namespace |
//! | `memory` | giving back what parsing leaves behind |
//! | `control`, `journal` | what callers of the control socket ask, what they follow |
//! | `upgrade`, `handover` | another program in this one's place: whether it is good, what it is left |
//! | `record` | what ipvsd owns, under the run directory |
//! | `wishes` | what operators want of servers, beside the record |
//! | `state` | what is known of servers and pools, beside the record |
//! | `vrrp` | what virtual routers leave for the next process, beside the record |
//! | `kept` | files that outlive the process, for all four |
//! | `service_manager` | telling it of readiness and of being alive |
//! | `sync_daemons` | the kernel's sync daemons, as the role wants them |
//! | `watch` | whether the configuration's files change |
//! | `running` | the configuration in use, as it was read |
//! | `packet_filter` | the packet filter, for virtual addresses with `accept = false` |
//! | `report` | the log |

mod addresses;
mod commands;
mod control;
pub mod files;
mod handover;
mod host;
pub mod instance;
mod journal;
mod kept;
pub mod memory;
pub mod once;
mod packet_filter;
mod presence;
pub mod record;
mod report;
pub mod running;
mod service_manager;
pub mod state;
mod sync_daemons;
mod task;
mod upgrade;
pub mod vrrp;
mod watch;
pub mod wishes;

pub use task::{Options, run};
