//! Tests on a real kernel with IPVS, run by `make test` inside the lab; outside of it they fail with the remedy.

mod lab;
mod realserver;
mod vagrant;
