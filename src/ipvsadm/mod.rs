//! What an ipvsadm(8) command line means: the grammar of the original, its refusals word for word, its save format.
//!
//! Everything here does as ipvsadm 1.31 does, its oddities included (`docs/ipvsadm-quirks.md`): options are taken in
//! order and some of them depend on what came before, so a declarative parser will not do. A command line becomes a
//! [`Command`] or a [`Refusal`] with the text and the exit status of the original.
//!
//! Pure: words are given, host and port names are asked of a [`NameService`]; nothing is looked up, read or printed.
//!
//! | file | what |
//! |---|---|
//! | `meaning` | commands and settings: what an option stands for |
//! | `option` | the options: letters, names, which take a value |
//! | `lexer` | words to options, as popt(3) does |
//! | `value` | numbers, addresses, masks, scheduler flags |
//! | `draft` | what the options say, in their order |
//! | `rule` | which option goes with which command, and with which tunnel |
//! | `grammar` | a command line to a command |
//! | `command` | the commands |
//! | `restore` | the lines of a saved table |
//! | `rehearsal` | whether a saved table would fit, without writing it |
//! | `save` | a table as lines to restore |
//! | `message` | refusals, the kernel's errors in the original's words, help |

mod command;
mod draft;
mod grammar;
mod lexer;
mod meaning;
mod message;
mod option;
mod rehearsal;
mod restore;
mod rule;
mod save;
mod value;

pub use command::Command;
pub use grammar::{NameService, parse};
pub use message::{Refusal, VERSION, help, not_initialized, of_errno};
pub use option::{OPTIONS, OptionEntry, Takes};
pub use rehearsal::Rehearsal;
pub use restore::{is_comment, words};
pub use save::save;
pub use value::endpoint;

#[cfg(test)]
mod tests;
