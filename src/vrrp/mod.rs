//! Virtual routers: addresses that are where the master is (RFC 9568, RFC 3768).
//!
//! Apart from everything else the daemon does: a thread and a clock of its own, so that no table, reload or storm of
//! probes delays an advert. What is thought here is pure, `handle(event, now) -> actions`, as in the director; whether
//! the parts of it hold together under loss, pauses and partitions is tried in `tests::simulation`.
//!
//! | file | what |
//! |---|---|
//! | `packet` | the bytes of an advert, a pure codec |
//! | `fsm` | one instance: initialize, backup, master, fault |
//! | `sync_group` | instances that move together |
//! | `routers` | all instances and groups of this host |
//! | `tracking` | what is tracked, summed up and clamped |
//! | `complaints` | what is told once and then counted |
//! | `socket` | raw sockets |
//! | `addresses` | the addresses, routes, rules and devices of the master, and what this host's interfaces say |
//! | `task` | the thread |
//! | `turns` | whether the threads still live |

mod addresses;
mod complaints;
pub mod fsm;
pub mod packet;
pub mod routers;
mod socket;
mod sync_group;
pub mod task;
pub mod tracking;
pub mod turns;

pub use fsm::Instance;
pub use routers::Routers;

#[cfg(test)]
mod tests;
