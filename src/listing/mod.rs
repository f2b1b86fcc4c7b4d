//! What a listing looks like: order, scaling of figures, tables, one-liners and JSON.
//!
//! Everything here is byte for byte what ipvsadm(8) 1.31 prints for the same kernel table, its trailing spaces and
//! its wrapping sort included; what the original's manual does not say is in `docs/ipvsadm-quirks.md`. The rendered
//! bytes are appended to one buffer, for a listing may have ten thousands of lines.
//!
//! Pure: the table, the kernel's information and the names of hosts and ports ([`Names`]) are given. Nothing here
//! resolves a name, reads the kernel or prints. [`NeededNames`] tells the caller which names to find first.
//!
//! | file | what |
//! |---|---|
//! | `sort` | the original's comparison and a merge sort that no comparison can upset |
//! | `number` | padding, K/M/G/T scaling, addresses as libc prints them |
//! | `names` | which names a listing needs, and the names found |
//! | `table` | services and destinations, six views |
//! | `request` | what can be asked of a listing |
//! | `connection` | the connection table |
//! | `settings` | timeouts and sync daemons |
//! | `json` | all of it for machines, `docs/json.md` |

mod connection;
mod json;
mod names;
mod number;
mod request;
mod settings;
mod sort;
mod table;

pub use connection::render_connections;
pub use json::{SCHEMA, json_connections, json_daemons, json_services, json_timeouts};
pub use names::{Names, NeededNames};
pub use request::{Columns, Request, What};
pub use settings::{render_daemons, render_timeouts};
pub use sort::{Order, sorted_destinations, sorted_services};
pub use table::{View, render_services, scheduler_flag_list};
