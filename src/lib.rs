//! `ipvsd`: the userspace half of a layer-4 load balancer whose forwarding is the kernel's IPVS.
//!
//! The rooms, from the bottom up. `main` uses `cli`, `cli` uses `daemon`, `daemon` uses hands and thinking,
//! and all of them use words; hands and thinking never import each other. `tests/rooms.rs` holds this.
//!
//! | kind | rooms | what happens there |
//! |---|---|---|
//! | words | [`model`] | nouns that are shown, parsed, encoded and compared |
//! | thinking | [`config`] | TOML to a configuration, every problem at its place |
//! | thinking | [`plan`] | desired × actual → steps |
//! | thinking | [`health`] | results → verdicts → who serves |
//! | thinking | [`director`] | `handle(event, now)` |
//! | thinking, hands | [`vrrp`] | virtual addresses that are where the master is |
//! | thinking | [`ipvsadm`] | what an ipvsadm(8) command line means |
//! | thinking | [`listing`] | the table as ipvsadm shows it, and as JSON |
//! | thinking, hands | [`doctor`] | what this host lacks |
//! | hands | [`ipvs`] | the kernel's tables over netlink |
//! | thinking, hands | [`realserver`] | what a host needs to be a real server |
//! | hands | [`checkers`] | the probes |
//! | hands | [`control`] | the socket by which verbs talk to the daemon |
//! | hands, thinking | [`peer`] | what two directors tell each other |
//! | hands | [`process`] | programs of the user's, run as an unprivileged user |
//! | hands | [`net`] | interfaces, addresses, neighbours and settings of this host |
//! | wiring | [`daemon`] | tasks, signals, reload |
//! | wiring | [`cli`] | the verbs |
//!
//! The shape to learn first: `let actions = director.handle(event, now);`, and a thin task that turns the world
//! into events and actions into calls.

pub mod checkers;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod director;
pub mod doctor;
pub mod health;
pub mod ipvs;
pub mod ipvsadm;
pub mod listing;
pub mod model;
pub mod net;
pub mod notify;
pub mod peer;
pub mod plan;
pub mod process;
pub mod realserver;
pub mod vrrp;
