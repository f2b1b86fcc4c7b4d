//! Wiring of `ipvsd run`: tasks, channels, signals, reload.
//!
//! It connects the director to the world and decides nothing about weights or servers.
//!
//! | file | what |
//! |---|---|
//! | `files` | reading the configuration |
//! | `instance` | one daemon a network namespace |
//! | `memory` | giving back what parsing leaves behind |
//! | `record` | what ipvsd owns, under the run directory |
//! | `report` | the log

pub mod files;
pub mod instance;
pub mod memory;
pub mod record;
pub mod report;
