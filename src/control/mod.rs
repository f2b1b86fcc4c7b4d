//! The control socket: how verbs talk to the running daemon of their network namespace.
//!
//! Hands, but for `render`. What is said over it are words of [`crate::model::control`]; who may say it is whoever may write to the
//! socket's file, which the kernel holds; what comes of it is decided elsewhere.
//!
//! | file | what |
//! |---|---|
//! | `socket` | the daemon's side: callers, their requests, bounded in number, length and time |
//! | `client` | the verb's side |
//! | `render` | what verbs print of the daemon's answers; pure |

pub mod client;
mod error;
pub mod render;
pub mod socket;

pub use client::Client;
pub use error::ControlError;
pub use socket::{Answer, Call, Caller, Listener, Patience};

/// The name of the socket's file, beside the record.
pub const SOCKET_NAME: &str = "control.sock";
