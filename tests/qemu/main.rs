//! What needs a distribution's whole kernel: nftables for IP, which the user-mode kernels do not have. Run in QEMU by
//! `tests/lab/suite --target qemu`, and so by `make test-full`; outside of the lab, or on another kernel, these tests
//! fail with the remedy.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod accept;
#[allow(dead_code, reason = "shared with the tests of tests/kernel, which use all of it")]
#[path = "../kernel/routers.rs"]
mod routers;
#[allow(dead_code, reason = "shared with the tests of tests/kernel, which use all of it")]
#[path = "../kernel/site.rs"]
mod site;
