//! The control socket: how verbs talk to the running daemon of their network namespace.
//!
//! Hands, but for `render` and `access`. What is said over it are words of [`crate::model::control`]; who may say it, `access` says of
//! whom the kernel names; what comes of it is decided elsewhere.
//!
//! | file | what |
//! |---|---|
//! | `socket` | the daemon's side: callers, their requests, bounded in number, length and time |
//! | `peer` | who a caller is, as the kernel says |
//! | `access` | who may ask what; pure |
//! | `client` | the verb's side |
//! | `render` | what verbs print of the daemon's answers; pure |

pub mod access;
pub mod client;
mod error;
mod peer;
pub mod render;
pub mod socket;

pub use access::Permissions;
pub use client::Client;
pub use error::ControlError;
pub use socket::{Answer, Call, Caller, Listener, Patience};

/// The name of the socket's file, beside the record.
pub const SOCKET_NAME: &str = "control.sock";
