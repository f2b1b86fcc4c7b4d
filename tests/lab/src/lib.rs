//! Directors, real servers and clients in network namespaces, for the demo, the tests and the benchmarks.
//!
//! A [`Topology`] says who stands on which segment; [`Topology::build`] makes a [`Lab`] of it, whose hosts are
//! namespaces joined by veth pairs and bridges, and gives it back once frames really pass. A [`Host`] runs
//! commands, programs and closures. [`Nginx`] and [`Responder`] answer with their identity, so that a [`Client`]
//! knows which real server it reached; a [`Prober`] keeps asking while something breaks.
//!
//! Everything goes away with the value that made it: processes, namespaces, files. All addresses are from the
//! documentation ranges. Nothing here knows `ipvsd`: real servers and directors are prepared by plain commands,
//! against which the program's own work is judged.

mod by_hand;
mod client;
mod host;
mod kernel;
mod mounts;
mod namespace;
mod prober;
mod process;
mod server;
mod switch;
mod topology;
mod wait;

pub use by_hand::{Forwarding, prepare_director_by_hand, prepare_real_server_by_hand};
pub use client::{Client, Connection, Failure};
pub use host::{Finished, Host, Role};
pub use kernel::{kernel_release, require_kernel};
pub use mounts::cover;
pub use namespace::Namespace;
pub use prober::{Attempt, Prober, Report, Wish};
pub use process::Process;
pub use server::{Nginx, Responder};
pub use topology::{Lab, Segment, Topology};
pub use wait::{wait_in_time, wait_until};
