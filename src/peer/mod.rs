//! What two directors tell each other over TLS with pinned keys, so that a new master does not start blind.
//!
//! It owns one connection to the other director, on a thread of its own: the loop puts down what there is to tell, and is
//! told what the other one has said. Nothing here decides what is made of it; the director does. A link that is down costs
//! nothing but what it would have told.
//!
//! | file | what |
//! |---|---|
//! | `message` | the words, and their bytes |
//! | `choice` | which of two connections lives, how long to wait before the next one |
//! | `picture` | a configuration, as far as two directors have to have the same |
//! | `differences` | where two pictures differ, and when that is worth a word |
//! | `clocks` | how far apart the two clocks are, and when that is worth a word |
//! | `outages` | when it is worth a word that the link is up or down |
//! | `catching_up` | whether enough connections are known to take over |
//! | `key`, `tls` | the keys, and TLS that takes nobody else's |
//! | `link` | one connection, from its handshake to its end |
//! | `complaints` | trouble, said once in a while |
//! | `task` | the thread: listens, connects, keeps one connection |

mod catching_up;
mod choice;
mod clocks;
mod complaints;
mod differences;
pub mod key;
mod link;
pub mod message;
mod outages;
mod picture;
mod task;
mod tls;

pub use catching_up::{caught_up, settle as settle_count};
pub use clocks::{Clocks, Turn};
pub use differences::{Differences, Spoken, compare};
pub use outages::Outages;
pub use picture::picture;
pub use task::{Connected, Handle, Incomparable, MOST_VERDICTS, News, Part, Shown, Told, start};

#[cfg(test)]
mod tests;
