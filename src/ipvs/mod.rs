//! The kernel's IPVS, over generic netlink.
//!
//! A hand: it writes what it is told and reads what is there. What to write is decided in `plan` and `director`.
//!
//! | file | kind | what |
//! |---|---|---|
//! | `encode`, `decode` | words | messages and answers of the family `IPVS` (`linux/ip_vs.h`), byte for byte |
//! | `proc` | words | the lines of `/proc/net/ip_vs` and `/proc/net/ip_vs_conn` |
//! | `socket` | hands | one netlink socket with a deadline on every answer |
//! | `client` | hands | requests in batches, each answer to its own request |
//! | `table` | hands | whole tables, by dumps or through `/proc/net/ip_vs` |
//! | `explain` | hands | the kernel's error numbers, in words with a remedy |
//! | `thread` | hands | a client on a thread of its own, for asynchronous callers |

mod client;
pub mod decode;
pub mod encode;
mod error;
mod explain;
mod leisure;
pub mod proc;
mod socket;
mod table;
mod thread;

pub use client::{Client, Refused};
pub use error::IpvsError;
pub use table::{LastLook, count_connections, read_connections, read_plain_listing};
pub use thread::Handle;

#[cfg(test)]
mod tests;
