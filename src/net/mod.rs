//! This host's network as the kernel has it: interfaces, addresses, neighbours, settings, modules.
//!
//! Hands: does what it is told, at once and only that, and says what came of it in words that name the interface
//! and the remedy. It never decides which address belongs where; `director` and `realserver::plan` do.
//!
//! Everything happens in the network namespace of the calling thread: sockets are opened by the caller's thread and
//! `/proc/sys/net` follows it. A process has one namespace unless it asks for more, so this only matters to tests.
//!
//! | file | what |
//! |---|---|
//! | `host` | interfaces and addresses, over rtnetlink |
//! | `exchange` | questions over rtnetlink and their answers |
//! | `macvlan` | devices with a hardware address of their own on an interface |
//! | `routing` | routes and rules of ours, over rtnetlink |
//! | `filter` | the packet filter's table that refuses what is for some addresses |
//! | `links` | interfaces that come and go, told as it happens |
//! | `neighbour` | duplicate-address probes and announcements, ARP and neighbour discovery |
//! | `vip` | a director's virtual address: probe, add, announce |
//! | `packet` | the bytes of those, a pure codec |
//! | `reach` | whether an own interface that is down keeps an address from being reached |
//! | `sysctl` | kernel settings |
//! | `module` | kernel modules |
//! | `namespace` | which network namespace this is |
//! | `names` | names of hosts and ports, asked of the system's name service |
//! | `error` | what can go wrong |

mod error;
pub mod exchange;
pub mod filter;
mod host;
pub mod links;
mod macvlan;
pub mod module;
pub mod names;
pub mod namespace;
pub mod neighbour;
mod own;
pub mod packet;
pub mod reach;
pub mod routing;
pub mod sysctl;
pub mod vip;

pub use error::NetError;
pub use host::{AddOptions, Change, HostNetwork, Survey};
pub use macvlan::Layer;
pub use own::own_addresses;
pub use routing::HostRouting;
