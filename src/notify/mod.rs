//! Where news goes: keepalived's FIFO, webhooks, mail.
//!
//! A hand: it is told what has happened and whom to tell, and tells them, each in its own time. Nobody waits for it:
//! everybody who is told has a queue of his own that is bounded, and a thread apart from the daemon's loop. What could
//! not be told in the end is a line in the log.
//!
//! | file | what |
//! |---|---|
//! | `lines`, `letter` | the words: keepalived's lines, the text of a mail |
//! | `queue` | what waits to be told |
//! | `fifo`, `webhook`, `mail` | the ways |
//! | `lookup` | where the servers of webhooks and mail are |
//! | `task` | the thread |

mod fifo;
mod letter;
pub mod lines;
mod lookup;
mod mail;
mod queue;
mod task;
mod webhook;

pub use task::Notifier;
