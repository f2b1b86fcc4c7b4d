//! What takes longer than `make test` may: hundreds of kills and reloads, months of drift, keepalived beside us.
//! Run by `make test-full` inside the lab; outside of it these tests fail with the remedy.
//!
//! Everything random comes from a seed: the same each time, or `IPVSD_SEED` of the environment. What a test measured
//! is shown by the suite as `measured: …`, the seed with it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod beside_keepalived;
mod blow;
mod chance;
mod clocks;
mod deaths;
mod dissected;
mod drift;
#[allow(dead_code, reason = "shared with the tests of tests/kernel, which use all of it")]
#[path = "../kernel/forged.rs"]
mod forged;
mod growth;
mod hold;
mod kills;
mod many;
mod murder;
mod pool;
mod reloads;
#[allow(dead_code, reason = "shared with the tests of tests/kernel, which use all of it")]
#[path = "../kernel/routers.rs"]
mod routers;
mod same_meaning;
#[path = "../kernel/service_manager.rs"]
mod service_manager;
#[allow(dead_code, reason = "shared with the tests of tests/kernel, which use all of it")]
#[path = "../kernel/site.rs"]
mod site;
mod steady;
mod strangers;
mod survivors;
mod traced;
mod vrrp;
mod wanted;
