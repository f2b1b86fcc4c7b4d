//! Tests on a real kernel with IPVS, run by `make test` inside the lab; outside of it they fail with the remedy.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod bad_input;
mod control;
mod daemon;
mod deviations;
mod failover;
mod forged;
mod ipvs;
mod ipvsadm;
mod lab;
mod listing;
mod mariadb;
mod notify;
mod pair;
mod path;
mod peer;
mod policy;
mod probes;
mod realserver;
mod restart;
mod routers;
mod scenario_s1;
mod scenario_s2;
mod scenario_s3;
mod scenario_s4;
mod scenario_s5;
mod scenario_s6;
mod schedulers;
mod site;
mod stop;
mod truth;
mod upgrade;
mod vagrant;
mod vrrp;
mod vrrp_accept;
mod vrrp_addresses;
mod vrrp_hanging;
mod vrrp_obstacles;
mod vrrp_partition;
mod vrrp_roles;
mod vrrp_routes;
mod vrrp_strangers;
mod vrrp_sync;
mod vrrp_tracking;
mod vrrp_vmac;
